//! Visits as this room sees them: Appointments of R4, with the Invoices that they refer to.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::names::{HOLD_EXPIRES, REASONS};
use super::till::{Record, Till};
use crate::fhir::commit::Op;
use crate::fhir::error::FhirError;
use crate::fhir::extensions;

/// The first participant whose actor is of that type.
pub fn participant<'v>(appointment: &'v Value, resource_type: &str) -> Option<&'v Value> {
    let mut participants = appointment["participant"].as_array().into_iter().flatten();
    participants.find(|participant| actor(participant).is_some_and(|actor| is_of(actor, resource_type)))
}

/// `Type/id` of the first participant of that type.
pub fn reference<'v>(appointment: &'v Value, resource_type: &str) -> Option<&'v str> {
    participant(appointment, resource_type).and_then(actor)
}

fn actor(participant: &Value) -> Option<&str> {
    participant["actor"]["reference"].as_str()
}

fn is_of(reference: &str, resource_type: &str) -> bool {
    reference
        .strip_prefix(resource_type)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether it waits for its payment: that is what the patient's `tentative` means.
pub fn waits_for_payment(appointment: &Value) -> bool {
    let said = participant(appointment, "Patient").and_then(|patient| patient["status"].as_str());
    appointment["status"] == "pending" && said == Some("tentative")
}

/// Whether it does not take place.
pub fn is_off(appointment: &Value) -> bool {
    matches!(appointment["status"].as_str(), Some("cancelled" | "entered-in-error"))
}

/// Whether it is off because it was not paid in time.
pub fn has_lapsed(appointment: &Value) -> bool {
    let mut codings = appointment["cancelationReason"]["coding"]
        .as_array()
        .into_iter()
        .flatten();
    is_off(appointment) && codings.any(|coding| coding["system"] == REASONS && coding["code"] == "payment-expired")
}

/// When it begins.
pub fn start(appointment: &Value) -> Option<Timestamp> {
    appointment["start"].as_str()?.parse().ok()
}

/// When its time is given to others.
pub fn expires(appointment: &Value) -> Option<Timestamp> {
    extensions::find(appointment, HOLD_EXPIRES)?["valueInstant"]
        .as_str()?
        .parse()
        .ok()
}

pub fn set_expires(appointment: &mut Value, at: Timestamp) {
    let at = format!("{at:.0}");
    extensions::set(appointment, json!({"url": HOLD_EXPIRES, "valueInstant": at}));
}

/// Ids of the Invoices that it refers to, the last one first: earlier ones were called off.
pub fn invoices(appointment: &Value) -> impl DoubleEndedIterator<Item = &str> {
    let references = appointment["supportingInformation"].as_array().into_iter().flatten();
    references
        .rev()
        .filter_map(|reference| reference["reference"].as_str()?.strip_prefix("Invoice/"))
}

/// Makes it refer to an Invoice.
pub fn add_invoice(appointment: &mut Value, reference: &str) {
    let mut references = match appointment["supportingInformation"].take() {
        Value::Array(references) => references,
        _ => Vec::new(),
    };
    references.push(json!({"reference": reference}));
    appointment["supportingInformation"] = Value::Array(references);
}

/// Where the visits of an Invoice stand.
pub enum Place {
    /// One waits for the payment.
    Waits(Record),
    /// One takes place, or has, or is to be approved, without waiting for the payment.
    Kept,
    /// None takes place; the last one that would have.
    Lost(Record),
    /// There never was one.
    None,
}

/// Looks for the visits of an Invoice.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn place(till: Till<'_>, invoice: &Record) -> Result<Place, FhirError> {
    let mut visits = till
        .search(
            "Appointment",
            &[("supporting-info", &invoice.reference()), ("_sort", "-_lastUpdated")],
        )
        .await?;
    if let Some(found) = visits.iter().position(|visit| waits_for_payment(&visit.content)) {
        return Ok(Place::Waits(visits.swap_remove(found)));
    }
    if visits.iter().any(|visit| !is_off(&visit.content)) {
        return Ok(Place::Kept);
    }
    Ok(visits.into_iter().next().map_or(Place::None, Place::Lost))
}

/// The writes by which a visit that waited is paid: booked where everybody else has accepted, else requested. `more` changes
/// the Appointment further.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn paid(till: Till<'_>, visit: &Record) -> Result<Vec<Op>, FhirError> {
    let mut after = visit.content.clone();
    for participant in after["participant"].as_array_mut().into_iter().flatten() {
        if actor(participant).is_some_and(|actor| is_of(actor, "Patient")) {
            participant["status"] = json!("accepted");
        }
    }
    extensions::remove(&mut after, HOLD_EXPIRES);
    let mut participants = after["participant"].as_array().into_iter().flatten();
    if !participants.all(|participant| participant["status"] == "accepted") {
        return Ok(vec![visit.update(after)]);
    }
    after["status"] = json!("booked");
    let mut ops = Vec::new();
    for slot in visit.content["slot"].as_array().into_iter().flatten() {
        if let Some(slot) = till.follow("Slot", slot["reference"].as_str()).await? {
            let mut taken = slot.content.clone();
            taken["status"] = json!("busy");
            ops.push(slot.update(taken));
        }
    }
    ops.insert(0, visit.update(after));
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_waits_for_payment_by_what_r4_says() {
        let visit = |status: &str, patient: &str| {
            json!({"status": status, "participant": [
                {"actor": {"reference": "PractitionerRole/x"}, "status": "accepted"},
                {"actor": {"reference": "Patient/p"}, "status": patient}]})
        };
        assert!(waits_for_payment(&visit("pending", "tentative")));
        for (status, patient) in [
            ("pending", "accepted"),
            ("pending", "needs-action"),
            ("cancelled", "tentative"),
        ] {
            assert!(!waits_for_payment(&visit(status, patient)), "{status} {patient}");
        }
        let role = visit("booked", "accepted");
        assert_eq!(reference(&role, "Patient"), Some("Patient/p"));
        assert_eq!(reference(&role, "Practitioner"), None);
    }

    #[test]
    fn the_last_invoice_counts() {
        let mut visit =
            json!({"supportingInformation": [{"reference": "DocumentReference/d"}, {"reference": "Invoice/1"}]});
        add_invoice(&mut visit, "Invoice/2");
        assert_eq!(invoices(&visit).collect::<Vec<_>>(), ["2", "1"]);
        let mut bare = json!({});
        add_invoice(&mut bare, "Invoice/3");
        assert_eq!(invoices(&bare).collect::<Vec<_>>(), ["3"]);
    }
}
