//! Which change of a record is an event that people are told of, whom, and whether it is still true.
//!
//! | event | the change | told |
//! |---|---|---|
//! | `appointment-requested` | a visit becomes `requested` | both |
//! | `appointment-approved` | it becomes `approved` | the patient; the practitioner unless that was their own answer |
//! | | it becomes `pending-payment` by the practitioner's answer | the patient |
//! | `appointment-rejected` | it becomes `rejected` | the patient |
//! | `appointment-rescheduled` | it begins at another time | both |
//! | `appointment-cancelled` | it becomes `cancelled`, or lapses unpaid | both; the practitioner if they knew of it |
//! | | it makes room for one with somebody else | its practitioner |
//! | `reschedule-requested` | a Task asks for another time | the one who is to answer |
//! | `reschedule-declined` | the practitioner says no to it | the patient |
//! | `payment-succeeded` | a PaymentNotice says that it was paid | the patient |
//! | `payment-failed`, `payment-refunded` | a PaymentReconciliation with an error, or an adjustment | the patient |
//! | `document-added` | a DocumentReference becomes current | the patient; where they brought it, the practitioner |
//! | `prescription-added` | a prescription becomes active | the patient, once for all of one sheet |
//!
//! A patient who is only holding a time, or is asked to pay on the spot, is in the middle of booking and gets no mail.
//!
//! Pure. `is_still_true` is asked when a mail leaves: of a visit that was approved and cancelled while the mail server was away,
//! only the second is told.

use serde_json::Value;

use super::names::{LABELS, PAYMENT_TYPES, PRESCRIPTION_PROFILE, TASK_CODES};

/// On which side of a visit somebody stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Patient,
    Practitioner,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Patient => "patient",
            Role::Practitioner => "practitioner",
        }
    }

    /// The type of the resources that stand for them.
    pub fn resource_type(self) -> &'static str {
        match self {
            Role::Patient => "Patient",
            Role::Practitioner => "Practitioner",
        }
    }

    pub fn of_name(name: &str) -> Option<Role> {
        [Role::Patient, Role::Practitioner]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// An event, and who is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// A code of the system `mail-event`, and the name of its template.
    pub code: &'static str,
    pub whom: Vec<Role>,
    /// What it happens to as a whole, where several changes are one event; otherwise each version is one of its own.
    pub once: Option<String>,
}

use Role::{Patient, Practitioner};

/// Types whose changes may be events.
pub const TYPES: [&str; 6] = [
    "Appointment",
    "DocumentReference",
    "MedicationRequest",
    "PaymentNotice",
    "PaymentReconciliation",
    "Task",
];

/// The event that this change is, if it is one.
pub fn of_change(resource_type: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Event> {
    let after = after?;
    let before = before.unwrap_or(&Value::Null);
    let (code, whom) = match resource_type {
        "Appointment" => of_visit(before, after)?,
        "Task" => of_task(before, after)?,
        "PaymentNotice" => (
            became(before, after, is_paid).then_some("payment-succeeded")?,
            vec![Patient],
        ),
        "PaymentReconciliation" if became(before, after, has_failed) => ("payment-failed", vec![Patient]),
        "PaymentReconciliation" => (
            became(before, after, is_refund).then_some("payment-refunded")?,
            vec![Patient],
        ),
        "DocumentReference" if became(before, after, is_document) => match is_brought_by_patient(after) {
            true => ("document-added", vec![Practitioner]),
            false => ("document-added", vec![Patient]),
        },
        "MedicationRequest" if became(before, after, is_prescribed) => ("prescription-added", vec![Patient]),
        _ => return None,
    };
    let sheet = after["groupIdentifier"]["value"].as_str();
    Some(Event {
        code,
        whom,
        once: sheet
            .filter(|_| resource_type == "MedicationRequest")
            .map(str::to_owned),
    })
}

/// Whether what was an event of `then` still is one, now that the record says `now` (`None` if it is gone).
pub fn is_still_true(code: &str, then: &Value, now: Option<&Value>) -> bool {
    let Some(now) = now else { return false };
    let same_place = || label(then) == label(now) && then["start"] == now["start"];
    match code {
        "appointment-requested" | "appointment-approved" => same_place(),
        "appointment-rescheduled" => is_open(label(now)) && then["start"] == now["start"],
        "appointment-rejected" | "appointment-cancelled" => now["status"] == "cancelled",
        "reschedule-requested" => now["status"] == "requested",
        "reschedule-declined" => now["status"] == "rejected",
        "payment-succeeded" => is_paid(now),
        "payment-failed" => has_failed(now),
        "payment-refunded" => is_refund(now),
        "document-added" => is_document(now),
        "prescription-added" => is_prescribed(now),
        _ => false,
    }
}

/// Where a visit stands, by the tag that the server gives it; empty for one that it does not keep.
pub fn label(appointment: &Value) -> &str {
    let mut tags = appointment["meta"]["tag"].as_array().into_iter().flatten();
    let tag = tags.find(|tag| tag["system"] == LABELS);
    tag.and_then(|tag| tag["code"].as_str()).unwrap_or_default()
}

/// The references (`Type/id`) of those who take part in a visit, of one type.
pub fn participants(appointment: &Value, role: Role) -> impl Iterator<Item = &str> {
    let participants = appointment["participant"].as_array().into_iter().flatten();
    let references = participants.filter_map(|participant| participant["actor"]["reference"].as_str());
    references.filter(move |reference| is_of(reference, role.resource_type()))
}

/// Whether a reference is to that type, on this server.
pub fn is_of(reference: &str, resource_type: &str) -> bool {
    reference
        .split_once('/')
        .is_some_and(|(kind, id)| kind == resource_type && !id.contains('/'))
}

fn of_visit(before: &Value, after: &Value) -> Option<(&'static str, Vec<Role>)> {
    let (was, is) = (label(before), label(after));
    let both = || vec![Patient, Practitioner];
    if is_open(was) && is_open(is) && before["start"] != after["start"] {
        return Some(("appointment-rescheduled", both()));
    }
    if was == is {
        return None;
    }
    let knows = was == "requested" || was == "approved" || was == "waiting-room" || has_accepted(before);
    match is {
        "requested" => Some(("appointment-requested", both())),
        "approved" if was == "requested" => Some(("appointment-approved", vec![Patient])),
        "approved" => Some(("appointment-approved", both())),
        "pending-payment" if was == "requested" => Some(("appointment-approved", vec![Patient])),
        "rejected" => Some(("appointment-rejected", vec![Patient])),
        // Nobody was told of it before.
        "cancelled" | "payment-expired" if was.is_empty() || was == "held" => None,
        "cancelled" | "payment-expired" if knows => Some(("appointment-cancelled", both())),
        "cancelled" | "payment-expired" => Some(("appointment-cancelled", vec![Patient])),
        "rescheduled" if knows => Some(("appointment-cancelled", vec![Practitioner])),
        _ => None,
    }
}

fn is_open(label: &str) -> bool {
    matches!(label, "requested" | "pending-payment" | "approved")
}

fn has_accepted(appointment: &Value) -> bool {
    let mut participants = appointment["participant"].as_array().into_iter().flatten();
    participants.any(|participant| {
        let reference = participant["actor"]["reference"].as_str().unwrap_or_default();
        is_of(reference, "Practitioner") && participant["status"] == "accepted"
    })
}

fn of_task(before: &Value, after: &Value) -> Option<(&'static str, Vec<Role>)> {
    let mut codings = after["code"]["coding"].as_array().into_iter().flatten();
    let coding = codings.find(|coding| coding["system"] == TASK_CODES)?;
    if before["status"] == after["status"] {
        return None;
    }
    match (coding["code"].as_str()?, after["status"].as_str()?) {
        ("reschedule-request", "requested") => Some(("reschedule-requested", vec![Practitioner])),
        ("reschedule-offer", "requested") => Some(("reschedule-requested", vec![Patient])),
        ("reschedule-request", "rejected") => Some(("reschedule-declined", vec![Patient])),
        _ => None,
    }
}

fn became(before: &Value, after: &Value, is: fn(&Value) -> bool) -> bool {
    !is(before) && is(after)
}

fn is_paid(notice: &Value) -> bool {
    let mut codings = notice["paymentStatus"]["coding"].as_array().into_iter().flatten();
    notice["status"] == "active" && codings.any(|coding| coding["code"] == "paid" || coding["code"] == "cleared")
}

fn has_failed(reconciliation: &Value) -> bool {
    reconciliation["status"] == "active" && reconciliation["outcome"] == "error"
}

fn is_refund(reconciliation: &Value) -> bool {
    let mut details = reconciliation["detail"].as_array().into_iter().flatten();
    let is_adjustment = |detail: &Value| {
        let mut codings = detail["type"]["coding"].as_array().into_iter().flatten();
        codings.any(|coding| coding["system"] == PAYMENT_TYPES && coding["code"] == "adjustment")
    };
    reconciliation["status"] == "active" && reconciliation["outcome"] == "complete" && details.any(is_adjustment)
}

/// A document that can be read, and that is not the sheet of a prescription, of which another mail tells.
fn is_document(document: &Value) -> bool {
    let mut related = document["context"]["related"].as_array().into_iter().flatten();
    let is_sheet = related.any(|related| {
        let reference = related["reference"].as_str();
        reference.is_some_and(|reference| is_of(reference, "MedicationRequest"))
    });
    document["status"] == "current" && document["docStatus"] != "preliminary" && !is_sheet
}

fn is_brought_by_patient(document: &Value) -> bool {
    let mut authors = document["author"].as_array().into_iter().flatten();
    authors.any(|author| author["reference"].is_string() && author["reference"] == document["subject"]["reference"])
}

fn is_prescribed(request: &Value) -> bool {
    let mut profiles = request["meta"]["profile"].as_array().into_iter().flatten();
    let is_ours = profiles.any(|profile| {
        let url = profile.as_str().and_then(|profile| profile.split('|').next());
        url == Some(PRESCRIPTION_PROFILE)
    });
    is_ours && request["status"] == "active"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn visit(label: &str, start: &str, practitioner: &str) -> Value {
        json!({
            "resourceType": "Appointment", "start": start, "meta": {"tag": [{"system": LABELS, "code": label}]},
            "status": if ["cancelled", "rejected", "rescheduled", "payment-expired"].contains(&label) { "cancelled" } else { "booked" },
            "participant": [
                {"actor": {"reference": "Patient/p"}, "status": "accepted"},
                {"actor": {"reference": "Practitioner/d"}, "status": practitioner},
                {"actor": {"reference": "HealthcareService/s"}, "status": "accepted"},
            ],
        })
    }

    fn told(before: Option<&Value>, after: &Value) -> Option<(&'static str, Vec<Role>)> {
        of_change("Appointment", before, Some(after)).map(|event| (event.code, event.whom))
    }

    #[test]
    fn a_visit_tells_those_who_do_not_know_yet() {
        let at = "2026-03-30T09:00:00Z";
        let both = || vec![Patient, Practitioner];
        for (was, practitioner, is, expected) in [
            ("", "", "held", None),
            ("", "", "requested", Some(("appointment-requested", both()))),
            (
                "held",
                "needs-action",
                "requested",
                Some(("appointment-requested", both())),
            ),
            ("", "", "pending-payment", None),
            (
                "requested",
                "needs-action",
                "approved",
                Some(("appointment-approved", vec![Patient])),
            ),
            (
                "requested",
                "needs-action",
                "pending-payment",
                Some(("appointment-approved", vec![Patient])),
            ),
            (
                "pending-payment",
                "accepted",
                "approved",
                Some(("appointment-approved", both())),
            ),
            (
                "held",
                "needs-action",
                "approved",
                Some(("appointment-approved", both())),
            ),
            (
                "requested",
                "needs-action",
                "rejected",
                Some(("appointment-rejected", vec![Patient])),
            ),
            ("held", "needs-action", "hold-expired", None),
            ("held", "needs-action", "cancelled", None),
            (
                "pending-payment",
                "needs-action",
                "payment-expired",
                Some(("appointment-cancelled", vec![Patient])),
            ),
            (
                "pending-payment",
                "accepted",
                "payment-expired",
                Some(("appointment-cancelled", both())),
            ),
            (
                "requested",
                "needs-action",
                "cancelled",
                Some(("appointment-cancelled", both())),
            ),
            (
                "approved",
                "accepted",
                "cancelled",
                Some(("appointment-cancelled", both())),
            ),
            (
                "approved",
                "accepted",
                "rescheduled",
                Some(("appointment-cancelled", vec![Practitioner])),
            ),
            ("approved", "accepted", "waiting-room", None),
            ("waiting-room", "accepted", "completed", None),
            ("approved", "accepted", "approved", None),
        ] {
            let before = (!was.is_empty()).then(|| visit(was, at, practitioner));
            assert_eq!(
                told(before.as_ref(), &visit(is, at, "accepted")),
                expected,
                "{was} → {is}"
            );
        }
    }

    #[test]
    fn another_time_is_told_whatever_else_changes() {
        let (early, late) = ("2026-03-30T09:00:00Z", "2026-03-30T11:00:00Z");
        for (was, is) in [
            ("approved", "approved"),
            ("approved", "requested"),
            ("requested", "pending-payment"),
        ] {
            let moved = told(Some(&visit(was, early, "accepted")), &visit(is, late, "accepted"));
            assert_eq!(
                moved,
                Some(("appointment-rescheduled", vec![Patient, Practitioner])),
                "{was} → {is}"
            );
        }
        // A time that is only being held is nobody's yet.
        assert_eq!(
            told(
                Some(&visit("held", early, "accepted")),
                &visit("held", late, "accepted")
            ),
            None
        );
        assert_eq!(
            of_change("Appointment", Some(&visit("approved", early, "accepted")), None),
            None
        );
    }

    #[test]
    fn what_is_no_longer_so_is_not_told() {
        let (early, late) = ("2026-03-30T09:00:00Z", "2026-03-30T11:00:00Z");
        let approved = visit("approved", early, "accepted");
        let moved = visit("approved", late, "accepted");
        let cancelled = visit("cancelled", early, "accepted");
        assert!(is_still_true("appointment-approved", &approved, Some(&approved)));
        assert!(!is_still_true("appointment-approved", &approved, Some(&cancelled)));
        assert!(!is_still_true("appointment-approved", &approved, Some(&moved)));
        assert!(!is_still_true("appointment-approved", &approved, None));
        let requested = visit("requested", early, "needs-action");
        assert!(!is_still_true("appointment-requested", &requested, Some(&approved)));
        assert!(is_still_true("appointment-rescheduled", &moved, Some(&moved)));
        assert!(!is_still_true("appointment-rescheduled", &moved, Some(&approved)));
        assert!(!is_still_true("appointment-rescheduled", &moved, Some(&cancelled)));
        assert!(is_still_true("appointment-cancelled", &cancelled, Some(&cancelled)));
        assert!(!is_still_true("unheard-of", &cancelled, Some(&cancelled)));
    }

    #[test]
    fn tasks_tell_who_is_to_answer_and_who_was_refused() {
        let task = |code: &str, status: &str| json!({"status": status, "code": {"coding": [{"system": TASK_CODES, "code": code}]}});
        let of = |before: Option<Value>, after: Value| {
            of_change("Task", before.as_ref(), Some(&after)).map(|event| (event.code, event.whom))
        };
        assert_eq!(
            of(None, task("reschedule-request", "requested")),
            Some(("reschedule-requested", vec![Practitioner]))
        );
        assert_eq!(
            of(None, task("reschedule-offer", "requested")),
            Some(("reschedule-requested", vec![Patient]))
        );
        let asked = || Some(task("reschedule-request", "requested"));
        assert_eq!(
            of(asked(), task("reschedule-request", "rejected")),
            Some(("reschedule-declined", vec![Patient]))
        );
        assert_eq!(of(asked(), task("reschedule-request", "completed")), None);
        assert_eq!(of(asked(), task("reschedule-request", "requested")), None);
        assert_eq!(
            of(
                None,
                json!({"status": "requested", "code": {"text": "Call the pharmacy"}})
            ),
            None
        );
    }

    #[test]
    fn payments_documents_and_prescriptions_tell_once() {
        let notice = json!({"status": "active", "paymentStatus": {"coding": [{"code": "paid"}]}});
        let cleared = json!({"status": "active", "paymentStatus": {"coding": [{"code": "cleared"}]}});
        let code = |kind: &str, before: Option<&Value>, after: &Value| {
            of_change(kind, before, Some(after)).map(|event| (event.code, event.whom))
        };
        assert_eq!(
            code("PaymentNotice", None, &notice),
            Some(("payment-succeeded", vec![Patient]))
        );
        assert_eq!(code("PaymentNotice", Some(&notice), &cleared), None);
        let reconciliation = |outcome: &str, kind: &str| json!({"status": "active", "outcome": outcome, "detail": [{"type": {"coding": [{"system": PAYMENT_TYPES, "code": kind}]}}]});
        let of = |outcome: &str, kind: &str| {
            code("PaymentReconciliation", None, &reconciliation(outcome, kind)).map(|(code, _)| code)
        };
        assert_eq!(of("complete", "payment"), None);
        assert_eq!(of("complete", "adjustment"), Some("payment-refunded"));
        assert_eq!(of("error", "payment"), Some("payment-failed"));
        assert_eq!(of("queued", "adjustment"), None);

        let document = |author: &str, related: &str| {
            json!({"status": "current", "subject": {"reference": "Patient/p"}, "author": [{"reference": author}],
                   "context": {"related": [{"reference": related}]}})
        };
        let by_doctor = document("Practitioner/d", "Appointment/a");
        assert_eq!(
            code("DocumentReference", None, &by_doctor),
            Some(("document-added", vec![Patient]))
        );
        let by_patient = document("Patient/p", "Appointment/a");
        assert_eq!(
            code("DocumentReference", None, &by_patient),
            Some(("document-added", vec![Practitioner]))
        );
        assert_eq!(
            code(
                "DocumentReference",
                None,
                &document("Practitioner/d", "MedicationRequest/m")
            ),
            None
        );
        let mut scanned = by_doctor.clone();
        scanned["docStatus"] = json!("preliminary");
        assert_eq!(code("DocumentReference", None, &scanned), None);
        assert_eq!(
            code("DocumentReference", Some(&scanned), &by_doctor),
            Some(("document-added", vec![Patient]))
        );
        assert_eq!(code("DocumentReference", Some(&by_doctor), &by_doctor), None);

        let prescription = |status: &str| json!({"status": status, "meta": {"profile": [format!("{PRESCRIPTION_PROFILE}|1.0.0")]}, "groupIdentifier": {"value": "R-1"}});
        let signed = of_change(
            "MedicationRequest",
            Some(&prescription("draft")),
            Some(&prescription("active")),
        );
        assert_eq!(signed.as_ref().map(|event| event.code), Some("prescription-added"));
        assert_eq!(signed.and_then(|event| event.once), Some("R-1".to_owned()));
        assert_eq!(of_change("MedicationRequest", None, Some(&prescription("draft"))), None);
        // One that another practice wrote is a record, not a prescription of ours.
        assert_eq!(
            of_change("MedicationRequest", None, Some(&json!({"status": "active"}))),
            None
        );
    }
}
