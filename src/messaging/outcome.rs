//! What became of a mail: a Communication (<https://hl7.org/fhir/R4/communication.html>), which answers the
//! CommunicationRequest.
//!
//! | the mail | Communication | CommunicationRequest |
//! |---|---|---|
//! | was taken by whoever delivers it | `completed`, with `sent` | `completed` |
//! | came back | `not-done`, `bounced` | `completed` |
//! | was refused, or given up | `not-done`, `refused`, `given-up` | `revoked` |
//! | had nothing to say any more | `not-done`, `opted-out`, `no-address`, `overtaken` | `revoked` |

use serde_json::{Value, json};

use super::names::{FAILURES, MAIL_PROFILE};
use super::requests::id_of;
use super::{Messaging, not_now};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Target, Write, commit};
use crate::fhir::resource::instant;
use crate::jobs::JobError;
use crate::mail::outbox::{Fate, State};

/// The job that notes what became of a mail.
pub const NOTE: &str = "messaging.note";

/// Notes what is so now: of several that run late or twice, each writes the same.
pub(super) async fn note(messaging: &Messaging, payload: &Value) -> Result<(), JobError> {
    let key = payload["key"].as_str().unwrap_or_default();
    let Some(fate) = messaging.outbox.fate(&messaging.pool, key).await? else {
        return Ok(());
    };
    let id = id_of(key);
    let Some(mut request) = messaging.read(&format!("CommunicationRequest/{id}")).await? else {
        return Ok(());
    };
    let Some(communication) = communication(&id, &request, &fate) else {
        return Ok(());
    };
    match fate.state {
        State::Sent | State::Bounced => request["status"] = json!("completed"),
        _ => {
            request["status"] = json!("revoked");
            request["statusReason"] = communication["statusReason"].clone();
        }
    }
    let update = |resource_type: &str, resource: Value| Op {
        write: Write::Update {
            target: Target::Instance {
                resource_type: resource_type.to_owned(),
                id: id.clone(),
            },
            resource,
            if_match: None,
            if_none_match_any: false,
        },
        full_url: None,
    };
    let ops = vec![
        update("CommunicationRequest", request),
        update("Communication", communication),
    ];
    let noted = commit(&messaging.fhir, &Caller::server(), ops).await;
    noted.map(|_| ()).map_err(|failed| not_now(&failed.error))
}

/// `None` while nothing has become of it.
fn communication(id: &str, request: &Value, fate: &Fate) -> Option<Value> {
    let failure = match fate.state {
        State::Queued | State::Sending => return None,
        State::Sent => None,
        State::Bounced | State::Refused | State::GivenUp => Some(fate.state.name()),
        State::Withdrawn => fate.reason.as_deref(),
    };
    let mut communication = json!({
        "resourceType": "Communication",
        "id": id,
        "meta": {"profile": [MAIL_PROFILE]},
        "identifier": request["identifier"],
        "basedOn": [{"reference": format!("CommunicationRequest/{id}")}],
        "status": if failure.is_some() { "not-done" } else { "completed" },
    });
    let Value::Object(members) = &mut communication else {
        return None;
    };
    if let Some(code) = failure {
        let concept = json!({"coding": [{"system": FAILURES, "code": code}]});
        members.insert("statusReason".to_owned(), concept);
    }
    for name in ["category", "medium", "subject", "about", "recipient", "reasonCode"] {
        if let Some(same) = request.get(name) {
            members.insert(name.to_owned(), same.clone());
        }
    }
    if let (State::Sent, Some(at)) = (fate.state, fate.at) {
        members.insert("sent".to_owned(), json!(instant(at)));
    }
    Some(communication)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_communication_says_what_became_of_the_mail() {
        let request = json!({"identifier": [{"value": "x"}], "recipient": [{"reference": "Patient/1"}]});
        let of = |state: State, reason: Option<&str>| {
            let fate = Fate {
                state,
                reason: reason.map(str::to_owned),
                at: Some("2026-03-30T12:00:00Z".parse().unwrap()),
            };
            communication("mail-1", &request, &fate)
        };
        assert_eq!((of(State::Queued, None), of(State::Sending, None)), (None, None));
        let sent = of(State::Sent, None).unwrap();
        assert_eq!(
            (&sent["status"], &sent["statusReason"]),
            (&json!("completed"), &Value::Null)
        );
        assert!(sent["sent"].as_str().unwrap().starts_with("2026-03-30T12:00:00"));
        for (state, reason, code) in [
            (State::Bounced, Some("5.1.1"), "bounced"),
            (State::Refused, Some("smtp 550"), "refused"),
            (State::GivenUp, Some("smtp 450"), "given-up"),
            (State::Withdrawn, Some("opted-out"), "opted-out"),
        ] {
            let failed = of(state, reason).unwrap();
            assert_eq!((&failed["status"], failed.get("sent")), (&json!("not-done"), None));
            assert_eq!(failed["statusReason"]["coding"][0]["code"], code);
            assert_eq!(failed["recipient"], request["recipient"]);
        }
    }
}
