//! `MedicationRequest/$sign`: the drafts of one sheet become active.
//!
//! They are checked once more, signed by the practice's key in the name of the prescriber, and printed; prescriptions, signature,
//! findings and sheet are stored in one transaction. Printing comes before it, so that a sheet that cannot be printed is
//! not signed, and no signed prescription is without its sheet ([decision 14](../../../docs/decisions/0014-printing.md)).
//!
//! | | status |
//! |---|---|
//! | the MedicationRequests, the Provenance, the DocumentReference, the DetectedIssues | 200 |
//! | a proof of the prescriber that is too weak or too old (RFC 9470) | 401 |
//! | somebody who may not prescribe, or not in that name | 403 |
//! | what is not a draft, or of two sheets; more of the same sheet; a number that was used | 409 |
//! | a problem of high severity without a reason; what a sheet must say and does not; characters without a font | 422 |

use serde_json::{Value, json};

use super::{collection, require_few, unknown};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Outcome, commit};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::resource::{StoredResource, instant};
use crate::fhir::server::FhirServer;
use crate::prescriptions::authority::Prescriber;
use crate::prescriptions::chart::{self, Chart};
use crate::prescriptions::checks::{self, Medicine};
use crate::prescriptions::documents::{About, Print, put};
use crate::prescriptions::issues::{self, Reasons};
use crate::prescriptions::names::{
    AUTHORS_SIGNATURE, DOCUMENT_COMPLETION, PARTICIPANTS, SIGNATURE_PROFILE, SIGNATURE_TYPES,
};
use crate::prescriptions::office::Office;
use crate::prescriptions::people;
use crate::prescriptions::record::{self, Record};
use crate::prescriptions::sheet::{self, Item, Paper, Sheet};
use crate::prescriptions::state::{self, State};

/// The drafts that are to be signed together.
struct Drafts {
    records: Vec<Record>,
    number: String,
    patient: String,
    requester: String,
}

pub async fn run(
    server: &FhirServer,
    caller: &Caller,
    office: &Office,
    input: OperationInput,
) -> Result<Answer, FhirError> {
    let references: Vec<&str> = input.parameters.references("prescription").collect();
    let drafts = Drafts::read(server, caller, &references).await?;
    let prescriber = Prescriber::of(server, caller, &drafts.requester, &office.prescribers).await?;
    let patient = record::follow(server, caller, &drafts.patient, "Patient").await?;
    let paper = match input.parameters.text("paper") {
        None => Paper::of_practice(&prescriber.organization.content),
        Some(code) => Paper::of_code(code).ok_or_else(|| {
            FhirError::bad_value("Paper is 'a4' or 'letter'.").at("Parameters.parameter.where(name = 'paper')")
        })?,
    };
    let reasons = Reasons::read(input.parameters.values("issue"))?;
    let replaced = replaced(server, caller, &drafts).await?;
    let (found, warnings) = drafts
        .check(server, caller, office, &replaced, &reasons, &prescriber)
        .await?;

    let now = server.clock.now();
    let contents = drafts.signed_contents(server, office, &prescriber, &found);
    let to_sign: Vec<(&str, &Value)> = drafts
        .records
        .iter()
        .zip(&contents)
        .map(|(record, content)| (record.stored.id.as_str(), content))
        .collect();
    let signed = office.signer.sign(&to_sign, now).await.map_err(|error| {
        tracing::error!(%error, "the key of prescriptions cannot be used");
        FhirError::unavailable("Prescriptions cannot be signed at the moment.")
    })?;
    let items = contents.iter().map(|content| Item {
        signed: content,
        state: State::Active,
        since: now,
    });
    let sheet = Sheet {
        number: &drafts.number,
        paper,
        items: items.collect(),
        patient: &patient.content,
        practitioner: &prescriber.practitioner.content,
        organization: &prescriber.organization.content,
        signed_at: now,
        fingerprint: &signed.fingerprint,
        reprinted: None,
    };
    let print = Print::new(server);
    let pdf = office.printer.print(&sheet.data()?, &print.url(server)).await?;

    let provenance = provenance(server, &drafts, &patient, &prescriber, &signed.data);
    let provenance_reference = format!("Provenance/{}", provenance["id"].as_str().unwrap_or_default());
    let prescriptions: Vec<String> = drafts.records.iter().map(Record::reference).collect();
    let states = vec![State::Active; contents.len()];
    let about = About {
        number: &drafts.number,
        patient: &drafts.patient,
        practitioner: &prescriber.practitioner.reference(),
        organization: &prescriber.organization.reference(),
        provenance: &provenance_reference,
        prescriptions: &prescriptions,
        paper,
        states: &states,
        replaces: None,
    };
    print.announce(server, &about).await?;
    let shown = contents.len() + 1 + found.len();
    let versions: Vec<i32> = drafts.records.iter().map(|record| record.stored.version).collect();
    let mut ops: Vec<Op> = contents
        .into_iter()
        .zip(versions)
        .map(|(content, version)| put(content, Some(version)))
        .collect();
    ops.push(put(provenance, None));
    ops.extend(found.into_iter().map(|issue| put(issue, None)));
    ops.extend(print.ops(server, &about, &pdf));
    ops.extend(replaced.iter().map(stopped));
    let outcomes = commit(server, &caller.practice(), ops).await;
    let outcomes = outcomes.map_err(|error| too_late(error.error))?;
    Ok(answer(outcomes, shown, &warnings))
}

impl Drafts {
    async fn read(server: &FhirServer, caller: &Caller, references: &[&str]) -> Result<Drafts, FhirError> {
        require_few(references.len())?;
        let mut records: Vec<Record> = Vec::new();
        for reference in references {
            let record = record::follow(server, caller, relative(reference), "MedicationRequest").await?;
            if records.iter().any(|known| known.stored.id == record.stored.id) {
                return Err(FhirError::bad_request("Name each prescription once."));
            }
            let state = State::of(&record.content).unwrap_or(State::Unknown);
            if state != State::Draft {
                return Err(
                    FhirError::conflict(format!("It is {} already. {}", state.code(), state.moves()))
                        .at(record.reference()),
                );
            }
            records.push(record);
        }
        let same = |text: fn(&Value) -> Option<&str>, what: &str| {
            let first = records.first().and_then(|record| text(&record.content));
            let is_same = records.iter().all(|record| text(&record.content) == first);
            let value = first.filter(|_| is_same).map(str::to_owned);
            value.ok_or_else(|| FhirError::conflict(format!("What is signed together has the same {what}.")))
        };
        Ok(Drafts {
            number: same(state::sheet, "groupIdentifier: a number of a sheet")?,
            patient: same(|draft| draft["subject"]["reference"].as_str(), "subject")?,
            requester: same(|draft| draft["requester"]["reference"].as_str(), "requester")?,
            records,
        })
    }

    fn references(&self) -> Vec<String> {
        self.records.iter().map(Record::reference).collect()
    }

    /// The findings to be stored, and warnings about what is not known.
    async fn check(
        &self,
        server: &FhirServer,
        caller: &Caller,
        office: &Office,
        replaced: &[Record],
        reasons: &Reasons,
        prescriber: &Prescriber,
    ) -> Result<(Vec<Value>, Vec<crate::fhir::error::Issue>), FhirError> {
        let formulary = &office.formulary;
        let chart = Chart::read(server, caller, formulary, &self.patient).await?;
        let own = self.references();
        let others = chart.others_on(&self.number, &own);
        if !others.is_empty() {
            let text = format!(
                "{} {} on this sheet too: sign all of a sheet at once, or take another number.",
                others.join(", "),
                if others.len() == 1 { "is" } else { "are" }
            );
            return Err(FhirError::conflict(text).at("MedicationRequest.groupIdentifier"));
        }
        let medicines: Vec<Medicine> = self
            .records
            .iter()
            .map(|record| {
                let concept = &record.content["medicationCodeableConcept"];
                chart::medicine(formulary, record.reference(), &record.content, concept)
            })
            .collect();
        let mut except = own;
        except.extend(replaced.iter().map(Record::reference));
        let findings = checks::check(formulary, &medicines, &chart.taken(&except), &chart.allergies);
        let author = prescriber.practitioner.reference();
        let mut found = issues::settle(&findings, reasons, &self.patient, &author, server.clock.now())?;
        for issue in &mut found {
            issue["id"] = json!(server.ids.next().to_string());
        }
        let names = medicines.iter().filter(|medicine| medicine.known.is_unknown());
        let names: Vec<&str> = names.map(|medicine| medicine.name.as_str()).collect();
        Ok((found, unknown(&names)))
    }

    /// Each draft as it is signed: active, valid for some time, with what was found about it.
    fn signed_contents(
        &self,
        server: &FhirServer,
        office: &Office,
        prescriber: &Prescriber,
        found: &[Value],
    ) -> Vec<Value> {
        let practitioner = &prescriber.practitioner.content;
        let contents = self.records.iter().map(|record| {
            let mut content = record.content.clone();
            content["status"] = json!("active");
            // Words that the signature does not cover, and that might say something else.
            content.as_object_mut().and_then(|members| members.shift_remove("text"));
            if content["dispenseRequest"]["validityPeriod"]["end"].is_null() {
                let validity = sheet::validity(practitioner, server.clock.now(), office.valid_days);
                content["dispenseRequest"]["validityPeriod"] = validity;
            }
            let reference = record.reference();
            let about = found.iter().filter(|issue| {
                let mut implicated = issue["implicated"].as_array().into_iter().flatten();
                implicated.any(|implicated| implicated["reference"] == reference.as_str())
            });
            let about: Vec<Value> = about
                .map(
                    |issue| json!({"reference": format!("DetectedIssue/{}", issue["id"].as_str().unwrap_or_default())}),
                )
                .collect();
            if !about.is_empty() {
                content["detectedIssue"] = Value::Array(about);
            }
            content
        });
        contents.collect()
    }
}

/// `MedicationRequest/7`, also of an address on this server.
fn relative(reference: &str) -> &str {
    let start = reference.rfind("MedicationRequest/").unwrap_or(0);
    &reference[start..]
}

/// What the drafts replace and is still in force.
async fn replaced(server: &FhirServer, caller: &Caller, drafts: &Drafts) -> Result<Vec<Record>, FhirError> {
    let mut found: Vec<Record> = Vec::new();
    for draft in &drafts.records {
        let Some(reference) = draft.content["priorPrescription"]["reference"].as_str() else {
            continue;
        };
        let prior = record::follow(server, caller, reference, "MedicationRequest").await?;
        if prior.content["subject"]["reference"] != drafts.patient.as_str() {
            return Err(FhirError::conflict("It replaces a prescription of another patient.")
                .at("MedicationRequest.priorPrescription"));
        }
        let counts = State::of(&prior.content).is_some_and(State::counts);
        if counts && found.iter().all(|known| known.stored.id != prior.stored.id) {
            found.push(prior);
        }
    }
    Ok(found)
}

/// The end of what is replaced.
fn stopped(prior: &Record) -> Op {
    let mut content = prior.content.clone();
    content["status"] = json!("stopped");
    content["statusReason"] = json!({"text": "Replaced by another prescription"});
    put(content, Some(prior.stored.version))
}

/// The signature, and who and what it speaks of, each in the version of now.
fn provenance(server: &FhirServer, drafts: &Drafts, patient: &Record, prescriber: &Prescriber, data: &str) -> Value {
    let now = instant(server.clock.now());
    let practitioner = &prescriber.practitioner;
    let who = json!({"reference": practitioner.reference(), "display": people::name(&practitioner.content)});
    let targets = drafts.records.iter().map(|record| {
        let version = record.stored.version + 1;
        json!({"reference": format!("{}/_history/{version}", record.reference())})
    });
    let sources = [patient, practitioner, &prescriber.organization];
    let sources = sources.map(|source| json!({"role": "source", "what": {"reference": source.version_reference()}}));
    json!({
        "resourceType": "Provenance",
        "id": server.ids.next().to_string(),
        "meta": {"profile": [SIGNATURE_PROFILE]},
        "target": targets.collect::<Vec<_>>(),
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": DOCUMENT_COMPLETION, "code": "LA", "display": "legally authenticated"}]},
        "agent": [{
            "type": {"coding": [{"system": PARTICIPANTS, "code": "author"}]},
            "who": who,
            "onBehalfOf": {
                "reference": prescriber.organization.reference(),
                "display": prescriber.organization.content["name"],
            },
        }],
        "entity": sources,
        "signature": [{
            "type": [{"system": SIGNATURE_TYPES, "code": AUTHORS_SIGNATURE, "display": "Author's Signature"}],
            "when": now,
            "who": who,
            "targetFormat": "application/fhir+json",
            "sigFormat": "application/jose",
            "data": data,
        }],
    })
}

/// The resources that people ask for: not the superseded, nor the bytes.
fn answer(outcomes: Vec<Outcome>, shown: usize, warnings: &[crate::fhir::error::Issue]) -> Answer {
    let is_sheet = |stored: &StoredResource| stored.resource_type == "DocumentReference";
    let stored: Vec<StoredResource> = outcomes
        .into_iter()
        .enumerate()
        .filter(|(index, outcome)| *index < shown || is_sheet(&outcome.stored))
        .map(|(_, outcome)| outcome.stored)
        .collect();
    let resources = stored
        .iter()
        .filter_map(|stored| serde_json::from_str(&stored.json).ok());
    let bundle = collection(resources.collect(), warnings);
    Answer::with_value(&bundle).showing(&stored)
}

/// That a version has changed is news about the prescription, not about a header that the client never sent.
fn too_late(error: FhirError) -> FhirError {
    match error.status.as_u16() {
        412 => FhirError::conflict(
            "Somebody changed one of these prescriptions at the same moment. Read it and try again.",
        ),
        _ => error,
    }
}
