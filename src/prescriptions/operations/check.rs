//! `MedicationRequest/$check`: what stands against prescriptions, before they are signed. Nothing is stored.
//!
//! | | status |
//! |---|---|
//! | a Bundle of DetectedIssues, perhaps with an OperationOutcome about what is not known | 200 |
//! | prescriptions of several patients, or of none | 400 |
//! | a token that may not read the patient's medicines and allergies | 403 |

use serde_json::Value;

use super::{collection, require_few, unknown};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;
use crate::prescriptions::chart::{self, Chart};
use crate::prescriptions::checks::{self, Medicine};
use crate::prescriptions::issues;
use crate::prescriptions::office::Office;
use crate::prescriptions::record;

pub async fn run(
    server: &FhirServer,
    caller: &Caller,
    office: &Office,
    input: OperationInput,
) -> Result<Answer, FhirError> {
    let wanted: Vec<&Value> = input.parameters.values("prescription").collect();
    require_few(wanted.len())?;
    let patient = wanted.first().and_then(|first| first["subject"]["reference"].as_str());
    let patient = patient
        .filter(|patient| wanted.iter().all(|other| other["subject"]["reference"] == *patient))
        .ok_or_else(|| {
            FhirError::bad_request("Prescriptions of one patient are checked: the same subject in each.")
                .at("MedicationRequest.subject")
        })?;
    record::follow(server, caller, patient, "Patient").await?;
    let chart = Chart::read(server, caller, &office.formulary, patient).await?;
    let medicines: Vec<Medicine> = wanted
        .iter()
        .enumerate()
        .map(|(index, resource)| {
            // What is not stored has no address: its place stands for it.
            let reference = resource["id"].as_str().map_or_else(
                || format!("MedicationRequest/{}", index + 1),
                |id| format!("MedicationRequest/{id}"),
            );
            chart::medicine(
                &office.formulary,
                reference,
                resource,
                &resource["medicationCodeableConcept"],
            )
        })
        .collect();
    let replaced = wanted
        .iter()
        .filter_map(|resource| resource["priorPrescription"]["reference"].as_str());
    let mut except: Vec<String> = medicines.iter().map(|medicine| medicine.reference.clone()).collect();
    except.extend(replaced.map(str::to_owned));
    let taken = chart.taken(&except);
    let findings = checks::check(&office.formulary, &medicines, &taken, &chart.allergies);
    let now = server.clock.now();
    let resources = findings
        .iter()
        .map(|finding| issues::resource(finding, patient, None, now));
    let unknown_names: Vec<&str> = medicines
        .iter()
        .filter(|medicine| medicine.known.is_unknown())
        .map(|medicine| medicine.name.as_str())
        .collect();
    let bundle = collection(resources.collect(), &unknown(&unknown_names));
    let seen = chart.records().map(|record| &record.stored);
    Ok(Answer::with_value(&bundle).showing(seen))
}
