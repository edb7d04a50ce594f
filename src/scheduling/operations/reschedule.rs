//! `Appointment/[id]/$reschedule`: another time. What was agreed and paid stays; the version before is in the history, and
//! a Provenance says who moved it.
//!
//! A patient moves a visit alone until the notice of the service; later, or when the practice has to agree, a Task asks the
//! practitioner, and the visit stays where it is until that is answered ([`answers`](crate::scheduling::answers)).
//!
//! | | status |
//! |---|---|
//! | moved: the Appointment; asked: the Task | 200 |
//! | another practitioner's patient | 403 |
//! | the time is not free, the visit is no longer open, or a request waits already | 409 |

use super::{bundle, proposed};
use crate::fhir::commit::{Effect, Op, Write, commit};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::resource::StoredResource;
use crate::scheduling::authority::{self, Side};
use crate::scheduling::desk::{Desk, Known};
use crate::scheduling::directory::Offer;
use crate::scheduling::names::TASK_CODES;
use crate::scheduling::requests::{self, Kind};
use crate::scheduling::state::State;
use crate::scheduling::visit;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let id = input.id.as_deref().unwrap_or_default();
    let (stored, content, side) = authority::visit(desk.server, desk.caller, id).await?;
    let (proposal, _) = proposed(&input)?;
    let offer = proposal.offer(desk.server, desk.caller, desk.directory).await?;
    let known = desk.known(stored, content).await?;
    let comment = input.parameters.text("comment");
    let stored = match is_late(desk, &known, side).await? {
        false => {
            let (ops, which) = desk.shift(&known, &offer, proposal.start, comment).await?;
            desk.store(ops, which).await?
        }
        true => ask(desk, &known, &offer, proposal.start, comment).await?,
    };
    bundle(desk, &[("match", stored)])
}

/// Whether this caller has to ask. What nobody has agreed to yet is moved freely.
async fn is_late(desk: Desk<'_>, known: &Known, side: Side) -> Result<bool, FhirError> {
    if side == Side::Practice || known.state() != Some(State::Approved) {
        return Ok(false);
    }
    let notice = desk.offer_of(known).await?.terms.policy.reschedule_notice;
    let start = visit::time(&known.content).map_or(i64::MIN, |time| time.start);
    Ok(start.saturating_sub(notice) < desk.now().as_second())
}

async fn ask(
    desk: Desk<'_>,
    known: &Known,
    offer: &Offer,
    start: i64,
    comment: Option<&str>,
) -> Result<StoredResource, FhirError> {
    let present = desk.offer_of(known).await?;
    if (present.calendar, present.service) != (offer.calendar, offer.service) {
        return Err(FhirError::conflict(
            "So late, a visit can only be moved to another time with the same practitioner and service.",
        ));
    }
    let begins = visit::time(&known.content).map_or(i64::MIN, |time| time.start);
    if begins <= desk.now().as_second() {
        return Err(
            FhirError::conflict("The time of this visit has come: it can no longer be moved.").at("Appointment.start"),
        );
    }
    desk.require_free(offer, start, Some(&known.id), false).await?;
    let task = requests::task(Kind::Request, known, &[start], desk.now(), comment);
    // One request at a time, however often it is sent.
    let criteria = format!(
        "focus=Appointment/{}&status=requested&code={TASK_CODES}|{}",
        known.id,
        Kind::Request.code()
    );
    let write = Write::Create {
        resource: task,
        if_none_exist: Some(criteria),
    };
    let outcomes = commit(desk.server, &desk.caller.practice(), vec![Op { write, full_url: None }]).await;
    let outcome = outcomes.map_err(|error| error.error)?.swap_remove(0);
    match outcome.effect {
        Effect::Created => Ok(outcome.stored),
        _ => Err(FhirError::conflict(format!(
            "Task/{} asks already: wait for the answer, or take it back by making it cancelled.",
            outcome.stored.id
        ))),
    }
}
