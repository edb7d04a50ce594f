//! What an answer does to a visit, in the same transaction:
//!
//! | answer | by | |
//! |---|---|---|
//! | AppointmentResponse `accepted` | the practitioner | approved, or pending payment |
//! | AppointmentResponse `declined` | the practitioner | rejected |
//! | AppointmentResponse `declined` | the patient | cancelled |
//! | Task `reschedule-request` becomes `accepted` | the practitioner | the visit moves; the Task is `completed` |
//! | Task `reschedule-offer` becomes `accepted` | the patient | the same |
//!
//! Of two who answer at once, one is told that it was answered already.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;

use super::authority::{self, Side};
use super::desk::Desk;
use super::directory::Directory;
use super::requests::{self, Kind};
use super::{booking, visit};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Target, Write};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Consequence, Draft, Guard};
use crate::fhir::server::FhirServer;

/// See the [module](self).
pub struct Answers(pub Arc<Directory>);

impl Consequence for Answers {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "AppointmentResponse" | "Task")
    }

    fn follows<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        write: &'a Write,
    ) -> BoxFuture<'a, Result<Vec<Op>, FhirError>> {
        let desk = Desk {
            server,
            directory: &self.0,
            caller,
        };
        Box::pin(async move {
            match write {
                Write::Create { resource, .. } if resource["resourceType"] == "AppointmentResponse" => {
                    answer_invitation(desk, resource).await
                }
                Write::Update { target, .. } | Write::Patch { target, .. } => match target {
                    Target::Instance { resource_type, id } if resource_type == "Task" => {
                        answer_request(desk, id, write).await
                    }
                    Target::Instance { .. } | Target::Criteria { .. } => Ok(Vec::new()),
                },
                Write::Create { .. } | Write::Delete { .. } => Ok(Vec::new()),
            }
        })
    }
}

async fn answer_invitation(desk: Desk<'_>, response: &Value) -> Result<Vec<Op>, FhirError> {
    let appointment = response["appointment"]["reference"].as_str();
    let Some(id) = appointment.and_then(|reference| reference.strip_prefix("Appointment/")) else {
        return Ok(Vec::new());
    };
    let found = authority::find(desk.server, desk.caller, "Appointment", id).await?;
    let Some(found) = found.filter(|found| !found.deleted) else {
        // An answer to what is not here, or not for this caller, is a resource like any other.
        return Ok(Vec::new());
    };
    let content: Value =
        serde_json::from_str(&found.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    let known = desk.known(found, content).await?;
    if !visit::is_ours(&known.content) {
        return Ok(Vec::new());
    }
    let actor = response["actor"]["reference"].as_str();
    if actor.is_some_and(|actor| !visit::takes_part(&known.content, actor)) {
        let text = "Nobody of that name takes part in the appointment.";
        return Err(FhirError::conflict(text).at("AppointmentResponse.actor"));
    }
    let (practitioner, patient) = (
        visit::actor(&known.content, "Practitioner"),
        visit::actor(&known.content, "Patient"),
    );
    let comment = response["comment"].as_str();
    match response["participantStatus"].as_str() {
        Some(answer @ ("accepted" | "declined")) if actor.is_some() && actor == practitioner => {
            match (authority::side(desk.caller, practitioner)?, answer) {
                (Side::Practice, "accepted") => desk.agree(&known).await,
                (Side::Practice, _) => booking::reject(&known.visit(), comment),
                (Side::Patient, _) => {
                    let text = "The practitioner answers for the practitioner.";
                    Err(FhirError::forbidden(text).at("AppointmentResponse.actor"))
                }
            }
        }
        Some("declined") if actor.is_some() && actor == patient => {
            authority::side(desk.caller, practitioner)?;
            desk.call_off(&known, Side::Patient, None, comment)
        }
        // Whoever else takes part says so, and nothing moves by it.
        _ => Ok(Vec::new()),
    }
}

async fn answer_request(desk: Desk<'_>, id: &str, write: &Write) -> Result<Vec<Op>, FhirError> {
    let found = authority::find(desk.server, desk.caller, "Task", id).await?;
    let Some(found) = found.filter(|found| !found.deleted) else {
        return Ok(Vec::new());
    };
    let before: Value =
        serde_json::from_str(&found.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    let (Some(kind), true) = (Kind::of(&before), before["status"] == "requested") else {
        return Ok(Vec::new());
    };
    let after = match write {
        Write::Update { resource, .. } => resource.clone(),
        Write::Patch { patch, .. } => {
            let mut after = before.clone();
            patch.apply(&mut after, desk.server.definitions, desk.now())?;
            after
        }
        Write::Create { .. } | Write::Delete { .. } => return Ok(Vec::new()),
    };
    if after["status"] != "accepted" {
        return Ok(Vec::new());
    }
    let focus = requests::focus(&before);
    let known = desk
        .look_up(focus.ok_or_else(|| FhirError::conflict("It is about no appointment."))?)
        .await?;
    let side = authority::side_of(desk.caller, &known.content)?;
    if kind == Kind::Request && side == Side::Patient {
        return Err(FhirError::forbidden("The practitioner answers this request.").at("Task.status"));
    }
    let mut asked = before.clone();
    if let Some(output) = after.get("output") {
        asked["output"] = output.clone();
    }
    let start = requests::accepted_start(&asked).ok_or_else(|| {
        FhirError::conflict("The chosen-start is none of those that were proposed.").at("Task.output")
    })?;
    let offer = desk.offer_of(&known).await?;
    let (ops, _) = desk.shift(&known, &offer, start, None).await?;
    Ok(ops)
}

/// An answer is given once: requests move from `requested` to their end, and no further.
#[derive(Debug)]
pub struct AnsweredOnce;

impl Guard for AnsweredOnce {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "Task" | "Appointment")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            match draft.resource_type {
                "Task" => judge(caller, draft.before, draft.after),
                _ => Ok(()),
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let moved = |id: &str| {
                changes
                    .iter()
                    .any(|change| change.resource_type == "Appointment" && change.id == id)
            };
            if changes.iter().any(|change| begins_late(change)) {
                return Err(FhirError::conflict("A request begins as requested.").at("Task.status"));
            }
            let stayed = changes
                .iter()
                .any(|change| agreed(change).is_some_and(|focus| !moved(focus)));
            match stayed {
                // A conditional update, for which nobody could know beforehand which Task it would meet.
                true => Err(FhirError::conflict(
                    "Accept it by its id: an update or a patch of Task/[id].",
                )),
                false => Ok(()),
            }
        })
    }
}

/// Whether this is a new request that is not one any more.
fn begins_late(change: &Change) -> bool {
    let is_new = change.resource_type == "Task" && change.before.is_none();
    let after = change
        .after
        .as_ref()
        .filter(|after| is_new && Kind::of(after).is_some());
    after.is_some_and(|after| after["status"] != "requested")
}

/// The Appointment that moves by this change of a Task.
fn agreed(change: &Change) -> Option<&str> {
    let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
    let is_answer = before["status"] == "requested" && after["status"] == "completed";
    (change.resource_type == "Task" && is_answer && Kind::of(after).is_some()).then(|| requests::focus(after))?
}

fn judge(caller: &Caller, before: Option<&Value>, after: Option<&mut Value>) -> Result<(), FhirError> {
    let kind = before
        .and_then(Kind::of)
        .or_else(|| after.as_deref().and_then(Kind::of));
    let (Some(kind), Some(after)) = (kind, after) else {
        return Ok(());
    };
    let refuse = |text: &str| Err(FhirError::conflict(text).at("Task.status"));
    let Some(before) = before else {
        return Ok(());
    };
    let fixed = ["code", "focus", "for", "requester", "owner", "input"];
    if fixed.iter().any(|name| before.get(name) != after.get(name)) {
        return refuse("What was asked stays as it was asked: cancel the Task, and ask anew.");
    }
    let by_patient = authority::is_patient(caller);
    match (before["status"].as_str(), after["status"].as_str(), kind) {
        (before, after, _) if before == after => Ok(()),
        (Some("requested"), Some("accepted"), _) => {
            after["status"] = Value::from("completed");
            Ok(())
        }
        (Some("requested"), Some("rejected"), Kind::Request) if by_patient => {
            refuse("The practitioner answers this request. It can be taken back: cancelled.")
        }
        (Some("requested"), Some("rejected" | "cancelled"), _) => Ok(()),
        (Some("requested"), _, _) => refuse("A request can become accepted, rejected or cancelled."),
        _ => refuse("It has been answered already."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::commit::Effect;
    use crate::scheduling::names::TASK_CODES;
    use serde_json::json;

    fn task(status: &str) -> Value {
        json!({"resourceType": "Task", "status": status, "focus": {"reference": "Appointment/a"},
            "code": {"coding": [{"system": TASK_CODES, "code": "reschedule-request"}]}})
    }

    #[test]
    fn a_request_is_answered_once() {
        let caller = Caller::sandbox();
        let mut accepted = task("accepted");
        judge(&caller, Some(&task("requested")), Some(&mut accepted)).unwrap();
        assert_eq!(accepted["status"], "completed");
        for (from, to, allowed) in [
            ("requested", "rejected", true),
            ("requested", "cancelled", true),
            ("requested", "in-progress", false),
            ("completed", "accepted", false),
            ("rejected", "requested", false),
            ("completed", "completed", true),
        ] {
            let answer = judge(&caller, Some(&task(from)), Some(&mut task(to)));
            assert_eq!(answer.is_ok(), allowed, "{from} to {to}");
        }
        let begun = |status: &str| Change {
            resource_type: "Task",
            id: "t".to_owned(),
            rid: 1,
            version: 1,
            effect: Effect::Created,
            before: None,
            after: Some(task(status)),
        };
        assert!(begins_late(&begun("accepted")) && !begins_late(&begun("requested")));
        let mut other = task("requested");
        other["focus"] = json!({"reference": "Appointment/b"});
        assert_eq!(
            judge(&caller, Some(&task("requested")), Some(&mut other))
                .unwrap_err()
                .status,
            409
        );
        let mut foreign = json!({"status": "draft"});
        assert!(judge(&caller, Some(&json!({"status": "completed"})), Some(&mut foreign)).is_ok());
    }
}
