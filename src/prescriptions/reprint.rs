//! A sheet is printed again when one of its medicines is stopped, held, resumed, completed or withdrawn: the same sheet as it was
//! signed, saying what became of each. The new print replaces the former one among the documents.
//!
//! A job does that after the change is stored; the page behind the code reads the present state and does not wait for it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::documents::{About, Print};
use super::names::SHEETS;
use super::office::Office;
use super::record::{self, Record};
use super::sheet::{Item, Paper, Sheet};
use super::signer::fingerprint_of;
use super::state::{self, State};
use crate::fhir::caller::Caller;
use crate::fhir::commit::commit;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Reaction};
use crate::fhir::server::FhirServer;
use crate::jobs::{JobError, NewJob, Registry};

const JOB: &str = "prescriptions.print";

/// Asks for another print of a sheet whose medicines have moved.
#[derive(Debug)]
pub struct Reprints;

impl Reaction for Reprints {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "MedicationRequest"
    }

    fn job(&self, change: &Change) -> Option<NewJob> {
        let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
        let number = state::sheet(before)?;
        let (was, is) = (State::of(before)?, State::of(after)?);
        let has_moved = was != State::Draft && was != is;
        has_moved.then(|| NewJob::new(JOB, json!({"sheet": number})).once_per(format!("{JOB} {number}")))
    }
}

/// Adds the job of this file.
pub fn register(registry: Registry, server: &Arc<FhirServer>, office: &Arc<Office>) -> Registry {
    let (server, office) = (server.clone(), office.clone());
    registry.on(JOB, move |job| {
        let (server, office) = (server.clone(), office.clone());
        async move {
            let number = job.payload["sheet"].as_str().unwrap_or_default();
            print(&server, &office, number)
                .await
                .map_err(|error| JobError::Retry(error.to_string()))
        }
    })
}

/// A sheet that was signed, as it is known by its signature.
pub struct Signed {
    pub provenance: Record,
    pub signed_at: Timestamp,
    /// Each medicine as it was signed, and as it is.
    pub items: Vec<(Record, Record)>,
}

impl Signed {
    /// The sheet of that number; `None` if none was signed under it.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn find(server: &FhirServer, number: &str) -> Result<Option<Signed>, FhirError> {
        let practice = Caller::server();
        let mut lease = server.store.fixed().await?;
        let row: Option<(String, jiff_sqlx::Timestamp)> =
            sqlx::query_as("SELECT provenance, signed_at FROM prescription_sheet WHERE number = $1")
                .bind(number)
                .fetch_optional(&mut *lease)
                .await?;
        lease.release();
        let Some((id, signed_at)) = row else {
            return Ok(None);
        };
        let provenance = record::read(server, &practice, "Provenance", &id).await?;
        let mut items = Vec::new();
        for target in provenance.content["target"].as_array().into_iter().flatten() {
            let reference = target["reference"].as_str().unwrap_or_default();
            let signed = record::follow(server, &practice, reference, "MedicationRequest").await?;
            let present = record::read(server, &practice, "MedicationRequest", &signed.stored.id).await?;
            items.push((signed, present));
        }
        Ok(Some(Signed {
            provenance,
            signed_at: signed_at.to_jiff(),
            items,
        }))
    }

    /// The present status of each medicine.
    pub fn states(&self) -> Vec<State> {
        let present = self.items.iter().map(|(_, present)| State::of(&present.content));
        present.map(|state| state.unwrap_or(State::Unknown)).collect()
    }

    /// Somebody of whom the sheet speaks, as they were when it was signed.
    async fn source(&self, server: &FhirServer, resource_type: &str) -> Result<Record, FhirError> {
        let entities = self.provenance.content["entity"].as_array().into_iter().flatten();
        let mut references = entities.filter_map(|entity| entity["what"]["reference"].as_str());
        let found = references.find(|reference| reference.split('/').next() == Some(resource_type));
        let reference = found.ok_or_else(|| FhirError::internal("a signature does not name what it is of"))?;
        record::follow(server, &Caller::server(), reference, resource_type).await
    }
}

async fn print(server: &FhirServer, office: &Office, number: &str) -> Result<(), FhirError> {
    let Some(signed) = Signed::find(server, number).await? else {
        return Ok(());
    };
    let states = signed.states();
    let Some((former, paper)) = current(server, number, &states).await? else {
        return Ok(());
    };
    let patient = signed.source(server, "Patient").await?;
    let practitioner = signed.source(server, "Practitioner").await?;
    let organization = signed.source(server, "Organization").await?;
    let contents: Vec<(&str, &Value)> = signed
        .items
        .iter()
        .map(|(record, _)| (record.stored.id.as_str(), &record.content))
        .collect();
    let items = signed.items.iter().zip(&states).map(|((signed, present), state)| Item {
        signed: &signed.content,
        state: *state,
        since: present.stored.last_updated,
    });
    let sheet = Sheet {
        number,
        paper,
        items: items.collect(),
        patient: &patient.content,
        practitioner: &practitioner.content,
        organization: &organization.content,
        signed_at: signed.signed_at,
        fingerprint: &fingerprint_of(&contents),
        reprinted: Some(server.clock.now()),
    };
    let print = Print::new(server);
    let pdf = office.printer.print(&sheet.data()?, &print.url(server)).await?;
    let references: Vec<String> = signed.items.iter().map(|(_, present)| present.reference()).collect();
    let about = About {
        number,
        patient: &patient.reference(),
        practitioner: &practitioner.reference(),
        organization: &organization.reference(),
        provenance: &signed.provenance.reference(),
        prescriptions: &references,
        paper,
        states: &states,
        replaces: Some(&former),
    };
    print.announce(server, &about).await?;
    let ops = print.ops(server, &about, &pdf);
    commit(server, &Caller::server(), ops)
        .await
        .map(|_| ())
        .map_err(|error| error.error)
}

/// The print that is current, and its paper; `None` when it says what is the case already.
async fn current(server: &FhirServer, number: &str, states: &[State]) -> Result<Option<(Record, Paper)>, FhirError> {
    let identifier = format!("{SHEETS}|{number}");
    let criteria = [("identifier", identifier.as_str()), ("status", "current")];
    let found = record::find(server, &Caller::server(), "DocumentReference", &criteria).await?;
    let Some(former) = found.into_iter().next() else {
        return Ok(None);
    };
    let mut lease = server.store.fixed().await?;
    let row: Option<(String, Vec<String>)> =
        sqlx::query_as("SELECT paper, states FROM prescription_print WHERE document = $1")
            .bind(&former.stored.id)
            .fetch_optional(&mut *lease)
            .await?;
    lease.release();
    let Some((paper, printed)) = row else {
        return Ok(None);
    };
    let is_told = printed
        .iter()
        .map(String::as_str)
        .eq(states.iter().map(|state| state.code()));
    let paper = Paper::of_code(&paper).unwrap_or(Paper::A4);
    Ok((!is_told).then_some((former, paper)))
}
