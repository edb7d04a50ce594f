//! What holds of calendars, whoever writes and by whichever way: every write passes here, in its transaction.
//!
//! - Time that a Slot takes is taken once; a Slot that is filled stays until its Appointment lets it go.
//! - An Appointment moves only as [`State`] allows; otherwise 409, with the moves that are legal.
//! - An Appointment and its Slots agree: same time, `busy-tentative` until it is booked, and none once it is cancelled.
//! - The tag with the state is the server's.
//! - Patients move nothing by hand. They ask: `$hold`, `$book`, `$cancel`, `$reschedule`.
//!
//! The operations write as anybody could who may write Slots and Appointments; there is no back door.
//!
//! Appointments without Slots, such as records of other systems, are held to the legal moves alone.

use std::collections::{HashMap, HashSet};

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::authority;
use super::calendar::{self, Entry};
use super::names::LABELS;
use super::state::State;
use super::{rules, visit};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};

/// The guard of Appointments, Slots, and what lays down when there can be any.
#[derive(Debug)]
pub struct Calendars;

impl Guard for Calendars {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "Appointment" | "Slot" | "Schedule" | "HealthcareService")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            match (draft.resource_type, draft.after) {
                ("Appointment", after) => {
                    if authority::is_patient(caller) {
                        refuse_by_hand(draft.before, after.as_deref())?;
                    }
                    match after {
                        Some(after) => judge(draft.before, after),
                        None => Ok(()),
                    }
                }
                _ => Ok(()),
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let of_type = |name: &'static str| {
                changes
                    .iter()
                    .copied()
                    .filter(move |change| change.resource_type == name)
            };
            let parameters = of_type("Schedule").chain(of_type("HealthcareService"));
            parameters
                .filter_map(|change| change.after.as_ref())
                .try_for_each(rules::check)?;
            let appointments: HashSet<i64> = of_type("Appointment").map(|change| change.rid).collect();
            let touched = move_slots(transaction, &of_type("Slot").collect::<Vec<_>>(), &appointments).await?;
            for change in of_type("Appointment") {
                settle(transaction, change, touched.contains(&change.rid)).await?;
            }
            Ok(())
        })
    }
}

/// A patient's own write may change what is written about a visit, not where it stands.
fn refuse_by_hand(before: Option<&Value>, after: Option<&Value>) -> Result<(), FhirError> {
    let is_wish = |appointment: &Value| matches!(State::of(appointment), Some(State::Proposed | State::Waitlist));
    let stands = |appointment: &Value| {
        [
            "status",
            "start",
            "end",
            "slot",
            "participant",
            "cancelationReason",
            "extension",
            "minutesDuration",
        ]
        .map(|name| appointment.get(name).cloned())
    };
    let allowed = match (before, after) {
        (None, Some(after)) => is_wish(after) && after.get("slot").is_none(),
        (Some(before), Some(after)) => stands(before) == stands(after),
        (_, None) => false,
    };
    if allowed {
        return Ok(());
    }
    let moves = match before.and_then(State::of) {
        None => "Ask for a time by Appointment/$find, and take it by $hold or $book.".to_owned(),
        Some(state) if state.is_open() => {
            format!(
                "It is {}: ask for another time by $reschedule, or give it up by $cancel.",
                state.name()
            )
        }
        Some(state) => format!("It is {}, and stays so.", state.name()),
    };
    Err(FhirError::conflict(format!("Patients do not move appointments by hand. {moves}")).at("Appointment.status"))
}

/// Holds an Appointment against the one that it replaces, and writes the tag.
fn judge(before: Option<&Value>, after: &mut Value) -> Result<(), FhirError> {
    let Some(state) = State::of(after) else {
        // Validation says what is wrong with the status.
        return Ok(());
    };
    let former = before.and_then(State::of);
    if let Some(former) = former.filter(|former| !former.may_become(state)) {
        let text = format!("It cannot become {}. {}", state.name(), former.moves());
        return Err(FhirError::conflict(text).at("Appointment.status"));
    }
    let is_ours = !visit::slots(after).is_empty() || before.is_some_and(visit::is_ours);
    let label = state.label(after).filter(|_| is_ours);
    set_label(after, label);
    Ok(())
}

/// Whether nobody is left whose answer is waited for.
fn is_settled(appointment: &Value) -> bool {
    let mut participants = appointment["participant"].as_array().into_iter().flatten();
    participants.all(|participant| participant["status"] == "accepted")
}

fn set_label(appointment: &mut Value, label: Option<&str>) {
    let Some(members) = appointment.as_object_mut() else {
        return;
    };
    let meta = members.entry("meta").or_insert_with(|| Value::Object(Map::new()));
    let Some(meta) = meta.as_object_mut() else { return };
    let mut tags = match meta.shift_remove("tag") {
        Some(Value::Array(tags)) => tags,
        // What is no list is for validation to refuse.
        Some(other) => {
            meta.insert("tag".to_owned(), other);
            return;
        }
        None => Vec::new(),
    };
    tags.retain(|tag| tag["system"] != LABELS);
    tags.extend(label.map(|code| json!({"system": LABELS, "code": code})));
    if !tags.is_empty() {
        meta.insert("tag".to_owned(), Value::Array(tags));
    }
    if meta.is_empty() {
        members.shift_remove("meta");
    }
}

/// Takes and frees the time of Slots, and answers the Appointments whose Slots changed. `appointments` are written in the
/// same transaction, and judged after this.
async fn move_slots(
    transaction: &mut PgConnection,
    slots: &[&Change],
    appointments: &HashSet<i64>,
) -> Result<HashSet<i64>, FhirError> {
    let former: Vec<i64> = slots
        .iter()
        .filter(|change| change.before.as_ref().is_some_and(takes_time))
        .map(|change| change.rid)
        .collect();
    let keepers = match former.is_empty() {
        true => HashMap::new(),
        false => calendar::free(transaction, &former).await?,
    };
    let stands = |slot: Option<&Value>| {
        ["status", "start", "end", "schedule", "extension"].map(|name| slot.and_then(|slot| slot.get(name)).cloned())
    };
    let mut entries = Vec::new();
    for change in slots {
        let is_kept = keepers
            .get(&change.rid)
            .is_some_and(|keeper| !appointments.contains(keeper));
        if is_kept && stands(change.before.as_ref()) != stands(change.after.as_ref()) {
            let text = "An Appointment fills this Slot. Cancel or move that ($cancel, $reschedule).";
            return Err(FhirError::conflict(text).at("Slot.status"));
        }
        if let Some(slot) = change.after.as_ref().filter(|after| takes_time(after)) {
            entries.push(entry(change.rid, slot));
        }
    }
    calendar::take(transaction, &entries, &keepers).await?;
    Ok(keepers.into_values().collect())
}

fn takes_time(slot: &Value) -> bool {
    matches!(
        slot["status"].as_str(),
        Some("busy" | "busy-tentative" | "busy-unavailable")
    )
}

fn entry(rid: i64, slot: &Value) -> Entry {
    let schedule = slot["schedule"]["reference"].as_str();
    Entry {
        slot: rid,
        // One of another server is no calendar of ours.
        schedule: schedule
            .and_then(|text| text.strip_prefix("Schedule/"))
            .unwrap_or_default()
            .to_owned(),
        taken: visit::occupied(slot).filter(|span| span.start < span.end),
        blocked: slot["status"] == "busy-unavailable",
    }
}

/// Makes an Appointment and its Slots agree, or refuses. `touched`: its Slots have changed.
async fn settle(transaction: &mut PgConnection, change: &Change, touched: bool) -> Result<(), FhirError> {
    let nothing = Value::Null;
    let (before, after) = (
        change.before.as_ref().unwrap_or(&nothing),
        change.after.as_ref().unwrap_or(&nothing),
    );
    let (former, state) = (State::of(before), State::of(after));
    let (had, has) = (visit::slots(before), visit::slots(after));
    let stands = |appointment: &Value| {
        let participants = appointment.get("participant").cloned();
        (
            State::of(appointment),
            visit::time(appointment),
            visit::expires(appointment),
            participants,
        )
    };
    if !touched && had == has && stands(before) == stands(after) {
        return Ok(());
    }
    if !has.is_empty() {
        let filled = calendar::fill(transaction, change.rid, &has).await?;
        if filled.is_empty() && !calendar::any_entry(transaction, &has).await? {
            return Ok(());
        }
        agree(after, state, &has, &filled)?;
    }
    if !had.is_empty() && had != has && calendar::filled(transaction, change.rid).await? != has.len() {
        let text = "A Slot that it leaves is still there: delete it in the same transaction, as $cancel and \
                    $reschedule do.";
        return Err(FhirError::conflict(text).at("Appointment.slot"));
    }
    let lapses = |state: Option<State>| state.is_some_and(State::lapses);
    if (lapses(state) && !has.is_empty()) || (lapses(former) && !had.is_empty()) {
        let at = visit::lapses_at(after).filter(|_| lapses(state) && !has.is_empty());
        calendar::set_expiry(transaction, change.rid, at).await?;
    }
    Ok(())
}

fn agree(
    appointment: &Value,
    state: Option<State>,
    has: &[&str],
    filled: &[calendar::Filled],
) -> Result<(), FhirError> {
    let refuse = |text: &str| Err(FhirError::conflict(text).at("Appointment.slot"));
    if filled.len() != has.len() {
        return refuse("A Slot of it is not here, takes no time, or is filled by another Appointment.");
    }
    let name = state.map_or("", State::name);
    let Some(wanted) = state.and_then(State::slot_status) else {
        return refuse(&format!(
            "An appointment that is {name} takes no time: leave out its slot, and delete the Slot in the same \
             transaction. $cancel does both."
        ));
    };
    if state == Some(State::Requested) && is_settled(appointment) {
        return refuse("Everybody has accepted, so it is booked: $confirm says so, for the Slot too.");
    }
    if filled.iter().any(|slot| slot.status != wanted) {
        return refuse(&format!("Its Slots must be {wanted} while it is {name}."));
    }
    let spans: Option<Vec<_>> = filled
        .iter()
        .map(|slot| visit::time(&json!({"start": slot.start, "end": slot.end})))
        .collect();
    let spans = spans.unwrap_or_default();
    let (start, end) = (
        spans.iter().map(|span| span.start).min(),
        spans.iter().map(|span| span.end).max(),
    );
    match visit::time(appointment) {
        Some(time) if Some(time.start) == start && Some(time.end) == end => Ok(()),
        _ => refuse("It begins and ends as its Slots do."),
    }
}
