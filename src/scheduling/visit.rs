//! Appointments and their Slots as JSON: what is read off them, and how they are made and changed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::availability::{Span, instant};
use super::names::{HL7_REASONS, HL7_TIME_ZONE, HOLD_EXPIRES, LABELS, OCCUPIES, PARTICIPATION, REASONS};
use super::state::State;
use crate::fhir::extensions;

/// The first participant whose actor is of that type.
pub fn participant<'v>(appointment: &'v Value, resource_type: &str) -> Option<&'v Value> {
    let participants = appointment["participant"].as_array().into_iter().flatten();
    participants
        .into_iter()
        .find(|participant| actor_type(participant) == Some(resource_type))
}

fn actor_type(participant: &Value) -> Option<&str> {
    let actor = &participant["actor"];
    let by_reference = actor["reference"]
        .as_str()
        .and_then(|text| text.split('/').rev().nth(1));
    by_reference.or_else(|| actor["type"].as_str())
}

/// `Type/id` of the first participant of that type.
pub fn actor<'v>(appointment: &'v Value, resource_type: &str) -> Option<&'v str> {
    participant(appointment, resource_type)?["actor"]["reference"].as_str()
}

/// Whether `actor` (`Type/id`) is one of the participants.
pub fn takes_part(appointment: &Value, actor: &str) -> bool {
    let mut participants = appointment["participant"].as_array().into_iter().flatten();
    participants.any(|participant| participant["actor"]["reference"] == actor)
}

/// Notes what a participant says now: `accepted`, `declined`, `tentative`, `needs-action`.
pub fn set_said(appointment: &mut Value, resource_type: &str, status: &str) {
    let participants = appointment["participant"].as_array_mut().into_iter().flatten();
    for participant in participants.filter(|participant| actor_type(participant) == Some(resource_type)) {
        participant["status"] = json!(status);
    }
}

/// Ids of the Slots that it fills.
pub fn slots(appointment: &Value) -> Vec<&str> {
    let slots = appointment["slot"].as_array().into_iter().flatten();
    slots
        .filter_map(|slot| slot["reference"].as_str()?.strip_prefix("Slot/"))
        .collect()
}

/// Whether it is, or was, in a calendar of ours: it fills Slots, or has the tag that the server gave it when it did.
pub fn is_ours(appointment: &Value) -> bool {
    let mut tags = appointment["meta"]["tag"].as_array().into_iter().flatten();
    !slots(appointment).is_empty() || tags.any(|tag| tag["system"] == LABELS)
}

/// From `start` to `end` of an Appointment or a Slot.
pub fn time(resource: &Value) -> Option<Span> {
    let at = |name: &str| Some(resource[name].as_str()?.parse::<Timestamp>().ok()?.as_second());
    Some(Span {
        start: at("start")?,
        end: at("end")?,
    })
}

/// What a Slot takes out of the calendar.
pub fn occupied(slot: &Value) -> Option<Span> {
    let own = time(slot)?;
    let Some(extension) = extensions::find(slot, OCCUPIES) else {
        return Some(own);
    };
    let around = time(&extension["valuePeriod"])?;
    // What is kept free lies around the visit, never inside.
    (around.start <= own.start && own.end <= around.end).then_some(around)
}

/// When its time is given to others.
pub fn expires(appointment: &Value) -> Option<Timestamp> {
    extensions::find(appointment, HOLD_EXPIRES)?["valueInstant"]
        .as_str()?
        .parse()
        .ok()
}

/// When it lapses if nobody settles it: at the end of its hold, and when it would begin at the latest.
pub fn lapses_at(appointment: &Value) -> Option<Timestamp> {
    let start = time(appointment).map(|time| instant(time.start));
    [expires(appointment), start].into_iter().flatten().min()
}

pub fn set_expires(appointment: &mut Value, at: Option<Timestamp>) {
    match at {
        Some(at) => extensions::set(
            appointment,
            json!({"url": HOLD_EXPIRES, "valueInstant": format!("{at:.0}")}),
        ),
        None => extensions::remove(appointment, HOLD_EXPIRES),
    }
}

/// Moves it in time. `zone` is the zone of the place it is made for.
pub fn set_time(appointment: &mut Value, time: Span, zone: Option<&str>) {
    appointment["start"] = json!(utc(time.start));
    appointment["end"] = json!(utc(time.end));
    appointment["minutesDuration"] = json!((time.end - time.start) / 60);
    if let Some(zone) = zone {
        appointment["_start"] = json!({"extension": [{"url": HL7_TIME_ZONE, "valueCode": zone}]});
    }
}

/// An instant as it is stored: UTC, whole seconds.
pub fn utc(seconds: i64) -> String {
    format!("{:.0}", instant(seconds))
}

/// The Slot for a visit of this state.
pub fn slot(schedule: &str, visit: Span, occupies: Span, state: State) -> Value {
    let mut slot = json!({
        "resourceType": "Slot",
        "schedule": {"reference": format!("Schedule/{schedule}")},
        "status": state.slot_status().unwrap_or("free"),
        "start": utc(visit.start),
        "end": utc(visit.end)
    });
    if occupies != visit {
        let period = json!({"start": utc(occupies.start), "end": utc(occupies.end)});
        extensions::set(&mut slot, json!({"url": OCCUPIES, "valuePeriod": period}));
    }
    slot
}

/// A participant of a visit.
pub fn taking_part(actor: &Value, role: Option<&str>, said: &str) -> Value {
    let mut participant = json!({"actor": actor, "required": "required", "status": said});
    if let Some(role) = role {
        participant["type"] = json!([{"coding": [{"system": PARTICIPATION, "code": role}]}]);
    }
    participant
}

/// Why a visit does not take place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    ByPatient,
    ByPractice,
    Rejected,
    HoldExpired,
    PaymentExpired,
    RequestExpired,
    Rescheduled,
}

impl Reason {
    /// A reason that somebody gave, as a Coding.
    pub fn given(coding: &Value) -> Value {
        json!({"coding": [coding]})
    }

    /// As `Appointment.cancelationReason` says it: ours where HL7 has no such code, with the one of HL7 that is nearest.
    pub fn concept(self) -> Value {
        let (ours, hl7) = match self {
            Reason::ByPatient => (None, "pat-cpp"),
            Reason::ByPractice => (None, "prov"),
            Reason::Rejected => (Some("rejected"), "prov"),
            Reason::HoldExpired => (Some("hold-expired"), "pat"),
            Reason::PaymentExpired => (Some("payment-expired"), "oth-fin"),
            Reason::RequestExpired => (Some("request-expired"), "prov"),
            Reason::Rescheduled => (Some("rescheduled"), "pat"),
        };
        let ours = ours.map(|code| json!({"system": REASONS, "code": code}));
        let codings: Vec<Value> = ours
            .into_iter()
            .chain([json!({"system": HL7_REASONS, "code": hl7})])
            .collect();
        json!({"coding": codings})
    }
}

/// Makes it one that does not take place: it has no Slots and lapses no more.
pub fn cancel(appointment: &mut Value, reason: Value) {
    appointment["status"] = json!("cancelled");
    appointment["cancelationReason"] = reason;
    set_expires(appointment, None);
    if let Some(members) = appointment.as_object_mut() {
        members.shift_remove("slot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_are_known_by_their_reference_or_their_type() {
        let appointment = json!({"participant": [
            {"actor": {"type": "Practitioner", "identifier": {"value": "7"}}, "status": "accepted"},
            {"actor": {"reference": "https://other.example/fhir/Patient/1"}, "status": "tentative"}]});
        assert_eq!(participant(&appointment, "Patient").unwrap()["status"], "tentative");
        assert_eq!(participant(&appointment, "Practitioner").unwrap()["status"], "accepted");
        assert_eq!(actor(&appointment, "Practitioner"), None);
    }

    #[test]
    fn a_slot_takes_its_buffers_out_of_the_calendar() {
        let visit = Span {
            start: 36_000,
            end: 37_800,
        };
        let around = Span {
            start: 35_700,
            end: 38_400,
        };
        let buffered = slot("s", visit, around, State::Held);
        assert_eq!((time(&buffered), occupied(&buffered)), (Some(visit), Some(around)));
        assert_eq!(buffered["status"], "busy-tentative");
        let plain = slot("s", visit, visit, State::Approved);
        assert_eq!((plain.get("extension"), occupied(&plain)), (None, Some(visit)));
        let smaller = json!({"start": "1970-01-01T10:00:00Z", "end": "1970-01-01T10:30:00Z", "extension": [
            {"url": OCCUPIES, "valuePeriod": {"start": "1970-01-01T10:10:00Z", "end": "1970-01-01T10:20:00Z"}}]});
        assert_eq!(occupied(&smaller), None);
    }

    #[test]
    fn times_are_stored_in_utc_whatever_offset_they_came_with() {
        let mut appointment = json!({"start": "2026-03-29T03:30:00+02:00", "end": "2026-03-29T04:00:00+02:00"});
        let span = time(&appointment).unwrap();
        set_time(&mut appointment, span, Some("Europe/Berlin"));
        assert_eq!(
            (&appointment["start"], &appointment["minutesDuration"]),
            (&json!("2026-03-29T01:30:00Z"), &json!(30))
        );
        assert_eq!(appointment["_start"]["extension"][0]["valueCode"], "Europe/Berlin");
    }

    #[test]
    fn a_cancelled_visit_has_no_slot_and_does_not_lapse() {
        let mut appointment = json!({"status": "pending", "slot": [{"reference": "Slot/1"}]});
        set_expires(&mut appointment, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(expires(&appointment), Some(Timestamp::UNIX_EPOCH));
        cancel(&mut appointment, Reason::PaymentExpired.concept());
        let expected = json!({"status": "cancelled", "cancelationReason": {"coding": [
            {"system": REASONS, "code": "payment-expired"}, {"system": HL7_REASONS, "code": "oth-fin"}]}});
        assert_eq!(appointment, expected);
    }
}
