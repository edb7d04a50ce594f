//! The operations of this room. `$find`, `$hold` and `$book` are those of IHE's Scheduling profile
//! (<https://profiles.ihe.net/ITI/Scheduling/>); the others stand beside them.
//!
//! | operation | on | |
//! |---|---|---|
//! | [`find`] | Appointment | the times that are free, as proposed Appointments |
//! | [`hold`] | Appointment | keeps one of them for some minutes |
//! | [`book`] | Appointment | asks for one, held before or not |
//! | [`confirm`] | one Appointment | the practitioner agrees |
//! | [`cancel`] | one Appointment | it does not take place |
//! | [`reschedule`] | one Appointment | another time, at once or as a request |
//! | [`block`] | one Schedule | an absence, with the visits that it hits and new times for them |
//! | [`calendar`] | one Appointment, one Patient or Practitioner | a calendar file, the address of one |

pub mod block;
pub mod book;
pub mod calendar;
pub mod cancel;
pub mod confirm;
pub mod find;
pub mod hold;
pub mod reschedule;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::availability::Opening;
use super::booking::Wish;
use super::desk::Desk;
use super::directory::{Directory, Offer};
use super::proposal::{self, ProposalId};
use super::{authority, rules};
use crate::fhir::access::Permissions;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::resource::{Method, StoredResource, to_json};
use crate::fhir::searchset::Searchset;
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;
use crate::knowledge::profiles;

type Run = for<'a> fn(Desk<'a>, OperationInput) -> BoxFuture<'a, Result<Answer, FhirError>>;

/// One of them.
struct AtDesk {
    definition: &'static Value,
    /// What the token must allow, on which type.
    letters: (Permissions, &'static str),
    directory: Arc<Directory>,
    run: Run,
}

impl Operation for AtDesk {
    fn definition(&self) -> &Value {
        self.definition
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        let desk = Desk {
            server,
            directory: &self.directory,
            caller,
        };
        Box::pin(async move {
            let (letters, resource_type) = self.letters;
            caller.require_on(letters, resource_type)?;
            (self.run)(desk, input).await
        })
    }
}

/// All of them.
pub fn all(directory: &Arc<Directory>) -> Vec<Box<dyn Operation>> {
    const LOOK: (Permissions, &str) = (Permissions::LOOK, "Appointment");
    const TAKE: (Permissions, &str) = (Permissions::CREATE, "Appointment");
    const MOVE: (Permissions, &str) = (Permissions::UPDATE, "Appointment");
    const BLOCK: (Permissions, &str) = (Permissions::CREATE, "Slot");
    const FIND: (Permissions, &str) = (Permissions::LOOK, "Schedule");
    let runs: [(&str, (Permissions, &'static str), Run); 9] = [
        ("appointment-find", FIND, |desk, input| Box::pin(find::run(desk, input))),
        ("appointment-hold", TAKE, |desk, input| Box::pin(hold::run(desk, input))),
        ("appointment-book", TAKE, |desk, input| Box::pin(book::run(desk, input))),
        ("appointment-confirm", MOVE, |desk, input| {
            Box::pin(confirm::run(desk, input))
        }),
        ("appointment-cancel", MOVE, |desk, input| {
            Box::pin(cancel::run(desk, input))
        }),
        ("appointment-reschedule", MOVE, |desk, input| {
            Box::pin(reschedule::run(desk, input))
        }),
        ("schedule-block", BLOCK, |desk, input| Box::pin(block::run(desk, input))),
        ("appointment-calendar", LOOK, |desk, input| {
            Box::pin(calendar::run(desk, input))
        }),
        ("calendar-feed", LOOK, |desk, input| {
            Box::pin(calendar::run_feed(desk, input))
        }),
    ];
    let operation = |(name, letters, run): (&str, _, Run)| -> Box<dyn Operation> {
        Box::new(AtDesk {
            definition: profiles::operation(name),
            letters,
            directory: directory.clone(),
            run,
        })
    };
    runs.into_iter().map(operation).collect()
}

/// What a client points at: a proposal, or a visit that is there.
enum Pointed {
    Proposal(ProposalId),
    Visit(String),
}

/// What `appointment-reference` or `appointment-resource` point at, of which there must be one, and the resource.
fn pointed(input: &OperationInput) -> Result<(Pointed, Option<&Value>), FhirError> {
    let resource = input.parameters.value("appointment-resource");
    let reference = input.parameters.references("appointment-reference").next();
    let id = match (reference, resource) {
        (Some(reference), None) => {
            let mut parts = reference.rsplit('/');
            let id = parts.next().filter(|_| parts.next() == Some("Appointment"));
            id.ok_or_else(|| bad_reference("appointment-reference", "Appointment", reference))?
        }
        (None, Some(resource)) => resource["id"].as_str().ok_or_else(|| {
            FhirError::bad_request("The Appointment has no id: send one that $find or $hold has answered.")
                .at("Parameters.parameter.where(name = 'appointment-resource')")
        })?,
        (None, None) | (Some(_), Some(_)) => {
            return Err(FhirError::bad_request(
                "Say which appointment: by 'appointment-reference' or by 'appointment-resource', one of both.",
            ));
        }
    };
    let pointed = match ProposalId::read(id) {
        Some(proposal) => Pointed::Proposal(proposal),
        None => Pointed::Visit(id.to_owned()),
    };
    Ok((pointed, resource))
}

/// The proposal that they point at.
fn proposed(input: &OperationInput) -> Result<(ProposalId, Option<&Value>), FhirError> {
    match pointed(input)? {
        (Pointed::Proposal(id), resource) => Ok((id, resource)),
        (Pointed::Visit(_), _) => Err(FhirError::bad_request(
            "Point at a proposal, as Appointment/$find answers them: its id begins with 'p-'.",
        )),
    }
}

fn bad_reference(parameter: &str, resource_type: &str, found: &str) -> FhirError {
    let text = format!(
        "'{}' is no reference to a {resource_type}: {resource_type}/[id].",
        excerpt(found)
    );
    FhirError::bad_value(text).at(format!("Parameters.parameter.where(name = '{parameter}')"))
}

/// The id in a reference of that type.
fn id_in<'r>(parameter: &str, resource_type: &str, reference: &'r str) -> Result<&'r str, FhirError> {
    let mut parts = reference.rsplit('/');
    let id = parts
        .next()
        .filter(|id| !id.is_empty() && parts.next() == Some(resource_type));
    id.ok_or_else(|| bad_reference(parameter, resource_type, reference))
}

/// Whom the visit is for: the patient who is named, in the parameter or the resource, else the caller.
async fn wish(desk: Desk<'_>, input: &OperationInput, details: Option<&Value>) -> Result<Wish, FhirError> {
    let named = input.parameters.references("patient-reference").next();
    let in_details = details.and_then(|details| super::visit::actor(details, "Patient"));
    let own = authority::own_patient(desk.caller);
    let reference = named.or(in_details).or(own.as_deref()).ok_or_else(|| {
        FhirError::bad_request("Say whom it is for: 'patient-reference'.")
            .at("Parameters.parameter.where(name = 'patient-reference')")
    })?;
    let id = id_in("patient-reference", "Patient", reference)?;
    // Who may not read a patient's record cannot book for them, nor learn whether they are here.
    authority::read(desk.server, desk.caller, "Patient", id).await?;
    Ok(Wish {
        patient: json!({"reference": format!("Patient/{id}")}),
        details: details.cloned(),
        comment: input.parameters.text("comment").map(str::to_owned),
    })
}

/// A searchset of resources, each with its `search.mode`.
fn bundle(desk: Desk<'_>, entries: &[(&str, StoredResource)]) -> Result<Answer, FhirError> {
    let matches = entries.iter().filter(|(mode, _)| *mode == "match").count();
    let resources = entries.iter().map(|(_, resource)| resource);
    let mut bundle = Searchset::new(desk.server, Some(matches as u64), resources.clone());
    for (mode, resource) in entries {
        bundle.entry(resource, mode, &Projection::Whole)?;
    }
    let stored = resources.filter(|resource| resource.rid != 0);
    Ok(Answer::with_body(bundle.finish()).showing(stored))
}

/// A proposal as an entry.
fn as_entry(offer: &Offer, opening: Opening, zone: &jiff::tz::TimeZone) -> StoredResource {
    let proposal = proposal::proposal(offer, opening, zone);
    StoredResource {
        rid: 0,
        resource_type: "Appointment",
        id: ProposalId::new(offer, opening.start).text(),
        version: 0,
        last_updated: jiff::Timestamp::UNIX_EPOCH,
        deleted: false,
        method: Method::Post,
        json: to_json(&proposal),
        content: None,
    }
}

/// The zone in which the caller wants times: the one that is named, else the one of their settings.
async fn viewer_zone(desk: Desk<'_>, named: Option<&str>) -> Result<Option<jiff::tz::TimeZone>, FhirError> {
    if let Some(name) = named {
        let zone = rules::time_zone(name);
        let refuse = || {
            let text = format!(
                "'{}' is no time zone that this server knows; one is 'Europe/Berlin'.",
                excerpt(name)
            );
            FhirError::bad_value(text).at("Parameters.parameter.where(name = 'time-zone')")
        };
        return zone.map(Some).ok_or_else(refuse);
    }
    let user = desk.caller.user().and_then(|user| user.fhir_user.split_once('/'));
    let Some((resource_type, id)) = user else {
        return Ok(None);
    };
    let found = authority::find(desk.server, &desk.caller.practice(), resource_type, id).await?;
    let content: Option<Value> = found.and_then(|found| serde_json::from_str(&found.json).ok());
    Ok(content.and_then(|content| rules::chosen_zone(&content)))
}
