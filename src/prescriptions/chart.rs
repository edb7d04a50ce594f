//! What a prescription is held against: the patient's medicines and allergies, as far as the caller may see them. What
//! somebody may not read is not there for them, here as everywhere; a token that may not read it at all is refused, rather
//! than told that nothing was found.

use serde_json::Value;

use super::checks::{Allergy, Medicine};
use super::concept;
use super::formulary::{Formulary, Severity};
use super::record::{self, Record};
use super::state::{self, State};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// A patient's record, as far as it matters here.
pub struct Chart {
    /// MedicationRequests and MedicationStatements that are active, on hold or drafts, with what is known of them.
    medicines: Vec<(Record, Medicine)>,
    pub allergies: Vec<Allergy>,
    allergy_records: Vec<Record>,
}

impl Chart {
    /// Reads the chart of `Patient/…`.
    ///
    /// # Errors
    /// 403 for a token that may not read all of it.
    pub async fn read(
        server: &FhirServer,
        caller: &Caller,
        formulary: &Formulary,
        patient: &str,
    ) -> Result<Chart, FhirError> {
        let open = [("patient", patient), ("status", "active,on-hold,draft")];
        let mut records = record::find(server, caller, "MedicationRequest", &open).await?;
        let taken = [("patient", patient), ("status", "active,intended")];
        records.extend(record::find(server, caller, "MedicationStatement", &taken).await?);
        let mut medicines = Vec::new();
        for record in records {
            let concept = medication(server, caller, &record.content).await?;
            let medicine = medicine(formulary, record.reference(), &record.content, &concept);
            medicines.push((record, medicine));
        }
        let allergy_records = record::find(server, caller, "AllergyIntolerance", &[("patient", patient)]).await?;
        let allergies = allergy_records.iter().filter_map(|record| allergy(formulary, record));
        Ok(Chart {
            allergies: allergies.collect(),
            medicines,
            allergy_records,
        })
    }

    /// What the patient takes, without `except` (references): what is prescribed now, and what that replaces.
    pub fn taken(&self, except: &[String]) -> Vec<Medicine> {
        let counts = |record: &Record| match record.stored.resource_type {
            "MedicationRequest" => State::of(&record.content).is_some_and(State::counts),
            _ => true,
        };
        let taken = self.medicines.iter().filter(|(record, _)| counts(record));
        let taken = taken.filter(|(_, medicine)| !except.contains(&medicine.reference));
        taken.map(|(_, medicine)| medicine.clone()).collect()
    }

    /// References of what else is on that sheet.
    pub fn others_on(&self, sheet: &str, except: &[String]) -> Vec<String> {
        let on_sheet = self
            .medicines
            .iter()
            .filter(|(record, _)| state::sheet(&record.content) == Some(sheet));
        let references = on_sheet.map(|(_, medicine)| medicine.reference.clone());
        references.filter(|reference| !except.contains(reference)).collect()
    }

    /// What was looked at.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let medicines = self.medicines.iter().map(|(record, _)| record);
        medicines.chain(&self.allergy_records)
    }
}

/// A medicine by its resource and its concept.
pub fn medicine(formulary: &Formulary, reference: String, resource: &Value, concept: &Value) -> Medicine {
    let dosage = resource["dosageInstruction"]
        .as_array()
        .or(resource["dosage"].as_array());
    Medicine {
        reference,
        name: concept::words(concept)
            .unwrap_or("A medicine without a name")
            .to_owned(),
        known: formulary.recognise(concept),
        dosage: dosage.cloned().unwrap_or_default(),
    }
}

/// The CodeableConcept of what is taken: in the resource, contained in it, or a Medication of its own.
async fn medication(server: &FhirServer, caller: &Caller, resource: &Value) -> Result<Value, FhirError> {
    if let Some(concept) = resource.get("medicationCodeableConcept") {
        return Ok(concept.clone());
    }
    let reference = resource["medicationReference"]["reference"]
        .as_str()
        .unwrap_or_default();
    if let Some(id) = reference.strip_prefix('#') {
        let mut contained = resource["contained"].as_array().into_iter().flatten();
        let found = contained.find(|contained| contained["id"] == id);
        return Ok(found.map(|found| found["code"].clone()).unwrap_or_default());
    }
    match record::follow(server, caller, reference, "Medication").await {
        Ok(found) => Ok(found.content["code"].clone()),
        // What is elsewhere or gone has at least a name.
        Err(error) if error.status.is_client_error() && error.status != 403 => {
            Ok(serde_json::json!({"text": resource["medicationReference"]["display"]}))
        }
        Err(error) => Err(error),
    }
}

/// What somebody must not have; `None` for what is over or was never so.
fn allergy(formulary: &Formulary, record: &Record) -> Option<Allergy> {
    let content = &record.content;
    let is = |element: &str, codes: &[&str]| {
        let mut codings = content[element]["coding"].as_array().into_iter().flatten();
        codings.any(|coding| coding["code"].as_str().is_some_and(|code| codes.contains(&code)))
    };
    if is("clinicalStatus", &["inactive", "resolved"]) || is("verificationStatus", &["refuted", "entered-in-error"]) {
        return None;
    }
    let mut named = formulary.named(&content["code"]);
    for reaction in content["reaction"].as_array().into_iter().flatten() {
        let more = formulary.named(&reaction["substance"]);
        named.ingredients.extend(more.ingredients);
        named.classes.extend(more.classes);
    }
    // Where nobody says how bad it is, it may be bad.
    let is_mild = content["criticality"] == "low" || content["type"] == "intolerance";
    let severity = match is_mild && content["criticality"] != "high" {
        true => Severity::Moderate,
        false => Severity::High,
    };
    Some(Allergy {
        reference: record.reference(),
        name: concept::words(&content["code"]).unwrap_or("A substance").to_owned(),
        ingredients: named.ingredients,
        classes: named.classes,
        severity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::resource::{Method, StoredResource};
    use serde_json::json;

    fn record(content: Value) -> Record {
        Record {
            stored: StoredResource {
                rid: 1,
                resource_type: "AllergyIntolerance",
                id: "a".to_owned(),
                version: 1,
                last_updated: jiff::Timestamp::UNIX_EPOCH,
                deleted: false,
                method: Method::Post,
                json: String::new(),
                content: None,
            },
            content,
        }
    }

    #[test]
    fn an_allergy_counts_while_it_is_one_and_as_bad_as_it_may_be() {
        let formulary = Formulary::built_in();
        let status =
            |name: &str, code: &str| json!({name: {"coding": [{"code": code}]}, "code": {"text": "Penicillin"}});
        let severity = |content: Value| allergy(&formulary, &record(content)).map(|allergy| allergy.severity);
        assert_eq!(severity(json!({"code": {"text": "Penicillin"}})), Some(Severity::High));
        assert_eq!(severity(status("clinicalStatus", "active")), Some(Severity::High));
        assert_eq!(severity(status("clinicalStatus", "resolved")), None);
        assert_eq!(severity(status("verificationStatus", "refuted")), None);
        assert_eq!(
            severity(json!({"criticality": "low", "code": {"text": "Penicillin"}})),
            Some(Severity::Moderate)
        );
        let intolerance = json!({"type": "intolerance", "criticality": "high", "code": {"text": "Codeine"}});
        assert_eq!(severity(intolerance), Some(Severity::High));
        let by_substance =
            json!({"code": {"text": "Antibiotic"}, "reaction": [{"substance": {"text": "amoxicillin"}}]});
        assert_eq!(allergy(&formulary, &record(by_substance)).unwrap().ingredients.len(), 1);
    }
}
