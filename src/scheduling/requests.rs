//! Tasks about another time for a visit: what a patient asks for late (`reschedule-request`, answered by the practitioner)
//! and what the practice offers when an absence hits a visit (`reschedule-offer`, answered by the patient).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::desk::Known;
use super::names::{OFFER_PROFILE, REQUEST_PROFILE, TASK_CODES, TASK_PARAMETERS};
use super::visit;
use crate::fhir::resource::instant;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Request,
    Offer,
}

impl Kind {
    pub fn of(task: &Value) -> Option<Kind> {
        let codings = task["code"]["coding"].as_array()?;
        let code = codings.iter().find(|coding| coding["system"] == TASK_CODES)?["code"].as_str()?;
        [Kind::Request, Kind::Offer]
            .into_iter()
            .find(|kind| kind.code() == code)
    }

    pub fn code(self) -> &'static str {
        match self {
            Kind::Request => "reschedule-request",
            Kind::Offer => "reschedule-offer",
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Kind::Request => REQUEST_PROFILE,
            Kind::Offer => OFFER_PROFILE,
        }
    }
}

/// The Task that asks for one of `starts` (seconds since 1970).
pub fn task(kind: Kind, known: &Known, starts: &[i64], now: Timestamp, comment: Option<&str>) -> Value {
    let actor = |name: &str| visit::participant(&known.content, name).map(|found| found["actor"].clone());
    let (patient, practitioner) = (actor("Patient"), actor("Practitioner"));
    let (requester, owner) = match kind {
        Kind::Request => (&patient, &practitioner),
        Kind::Offer => (&practitioner, &patient),
    };
    let inputs: Vec<Value> = starts
        .iter()
        .map(|start| json!({"type": parameter("proposed-start"), "valueInstant": visit::utc(*start)}))
        .collect();
    let mut task = json!({
        "resourceType": "Task",
        "meta": {"profile": [kind.profile()]},
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODES, "code": kind.code()}]},
        "focus": {"reference": format!("Appointment/{}", known.id)},
        "authoredOn": instant(now),
        "input": inputs
    });
    for (name, reference) in [("for", &patient), ("requester", requester), ("owner", owner)] {
        if let Some(reference) = reference {
            task[name] = reference.clone();
        }
    }
    if let Some(comment) = comment {
        task["note"] = json!([{"text": comment}]);
    }
    task
}

fn parameter(code: &str) -> Value {
    json!({"coding": [{"system": TASK_PARAMETERS, "code": code}]})
}

/// When the visit is to begin, by who has accepted: the time that they chose, else the first that was proposed. `None` for
/// a time that was never proposed.
pub fn accepted_start(task: &Value) -> Option<i64> {
    let values = |list: &str, code: &str| -> Vec<i64> {
        let entries = task[list].as_array().into_iter().flatten();
        let of_code = entries.filter(|entry| {
            let codings = entry["type"]["coding"].as_array().into_iter().flatten();
            codings
                .into_iter()
                .any(|coding| coding["system"] == TASK_PARAMETERS && coding["code"] == code)
        });
        of_code
            .filter_map(|entry| Some(entry["valueInstant"].as_str()?.parse::<Timestamp>().ok()?.as_second()))
            .collect()
    };
    let proposed = values("input", "proposed-start");
    match values("output", "chosen-start").first() {
        Some(chosen) => proposed.contains(chosen).then_some(*chosen),
        None => proposed.first().copied(),
    }
}

/// The id of the Appointment that it is about.
pub fn focus(task: &Value) -> Option<&str> {
    task["focus"]["reference"].as_str()?.strip_prefix("Appointment/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            id: "a".to_owned(),
            version: 1,
            content: json!({"participant": [
                {"actor": {"reference": "Patient/p"}, "status": "accepted"},
                {"actor": {"reference": "Practitioner/d"}, "status": "accepted"}]}),
            slots: Vec::new(),
        }
    }

    #[test]
    fn a_request_goes_to_the_practitioner_and_an_offer_to_the_patient() {
        let request = task(
            Kind::Request,
            &known(),
            &[0, 1800],
            Timestamp::UNIX_EPOCH,
            Some("I am ill."),
        );
        assert_eq!((Kind::of(&request), focus(&request)), (Some(Kind::Request), Some("a")));
        assert_eq!(request["owner"]["reference"], "Practitioner/d");
        assert_eq!(
            (&request["for"], &request["requester"]),
            (&json!({"reference": "Patient/p"}), &json!({"reference": "Patient/p"}))
        );
        let offer = task(Kind::Offer, &known(), &[0], Timestamp::UNIX_EPOCH, None);
        assert_eq!(
            (Kind::of(&offer), &offer["owner"]["reference"]),
            (Some(Kind::Offer), &json!("Patient/p"))
        );
        assert_eq!(
            Kind::of(&json!({"code": {"coding": [{"code": "reschedule-request"}]}})),
            None
        );
    }

    #[test]
    fn who_accepts_takes_a_time_that_was_proposed() {
        let mut request = task(Kind::Request, &known(), &[3600, 1800], Timestamp::UNIX_EPOCH, None);
        assert_eq!(accepted_start(&request), Some(3600));
        let chosen = |at: &str| json!([{"type": parameter("chosen-start"), "valueInstant": at}]);
        request["output"] = chosen("1970-01-01T01:30:00+01:00");
        assert_eq!(accepted_start(&request), Some(1800));
        request["output"] = chosen("1970-01-01T02:00:00Z");
        assert_eq!(accepted_start(&request), None);
    }
}
