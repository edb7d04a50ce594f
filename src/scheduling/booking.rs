//! How a visit comes about and how it moves on: the writes that each step consists of.
//!
//! Nothing is written here. Each function gives the writes of one step, which `commit` stores together or not at all;
//! whoever changed the visit meanwhile makes them fail (`If-Match`).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::availability::Span;
use super::directory::Offer;
use super::names::{APPOINTMENT_PROFILE, CHANGE_PROFILE, DATA_OPERATION, REPLACES, SLOT_PROFILE};
use super::proposal;
use super::rules::{Approval, Payment, Policy};
use super::state::State;
use super::visit::{self, Reason};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Target, Write};
use crate::fhir::error::FhirError;
use crate::fhir::extensions;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;

/// Where a visit stands after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub state: State,
    patient: &'static str,
    practitioner: &'static str,
    /// How long it may stand so, in seconds; without it, until the visit begins.
    waits: Option<i64>,
}

impl Standing {
    /// A time kept while the patient decides.
    pub fn held(policy: &Policy) -> Standing {
        Standing {
            state: State::Held,
            patient: "needs-action",
            practitioner: "needs-action",
            waits: Some(policy.hold),
        }
    }

    /// When the patient has decided.
    pub fn booked(policy: &Policy) -> Standing {
        let practitioner = match policy.approval {
            Approval::Auto => "accepted",
            Approval::Manual => "needs-action",
        };
        match (policy.payment, policy.approval) {
            (Payment::BeforeApproval, _) | (Payment::AfterApproval, Approval::Auto) => {
                Standing::unpaid(practitioner, policy)
            }
            (Payment::None | Payment::AfterApproval, Approval::Manual) => Standing::requested(),
            (Payment::None, Approval::Auto) => Standing::approved(),
        }
    }

    /// When the practitioner has agreed to one that stood at `state`. Where payment comes first, the patient has accepted
    /// by having paid.
    pub fn agreed(policy: &Policy, state: State) -> Standing {
        match (state, policy.payment) {
            (State::PendingPayment, _) | (_, Payment::AfterApproval) => Standing::unpaid("accepted", policy),
            (_, Payment::None | Payment::BeforeApproval) => Standing::approved(),
        }
    }

    fn unpaid(practitioner: &'static str, policy: &Policy) -> Standing {
        Standing {
            state: State::PendingPayment,
            patient: "tentative",
            practitioner,
            waits: Some(policy.hold),
        }
    }

    fn requested() -> Standing {
        Standing {
            state: State::Requested,
            patient: "accepted",
            practitioner: "needs-action",
            waits: None,
        }
    }

    fn approved() -> Standing {
        Standing {
            state: State::Approved,
            patient: "accepted",
            practitioner: "accepted",
            waits: None,
        }
    }

    /// Writes it into the Appointment.
    fn apply(self, appointment: &mut Value, now: Timestamp) {
        appointment["status"] = match self.state {
            State::Approved => json!("booked"),
            _ => json!("pending"),
        };
        visit::set_said(appointment, "Patient", self.patient);
        visit::set_said(appointment, "Practitioner", self.practitioner);
        let expires = self
            .waits
            .and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
        visit::set_expires(appointment, expires);
    }
}

/// Whom a visit is for, and what they say about it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// A Reference to the Patient.
    pub patient: Value,
    /// An Appointment, of which the elements in [`TOLD`] count.
    pub details: Option<Value>,
    pub comment: Option<String>,
}

/// What a patient may say about a visit.
const TOLD: [&str; 6] = [
    "appointmentType",
    "reasonCode",
    "reasonReference",
    "description",
    "supportingInformation",
    "comment",
];

impl Wish {
    fn tell(&self, appointment: &mut Value) {
        for name in TOLD {
            if let Some(told) = self.details.as_ref().and_then(|details| details.get(name)) {
                appointment[name] = told.clone();
            }
        }
        if let Some(comment) = &self.comment {
            appointment["comment"] = json!(comment);
        }
    }
}

/// A visit as its writes need it.
pub struct Visit<'v> {
    pub id: &'v str,
    pub version: i32,
    pub content: &'v Value,
}

impl Visit<'_> {
    fn update(&self, after: Value) -> Op {
        op(Write::Update {
            target: instance("Appointment", self.id),
            resource: after,
            if_match: Some(self.version),
            if_none_match_any: false,
        })
    }

    /// The writes by which its Slots are gone.
    fn leave(&self) -> impl Iterator<Item = Op> {
        visit::slots(self.content).into_iter().map(|id| {
            op(Write::Delete {
                target: instance("Slot", id),
                if_match: None,
            })
        })
    }
}

fn op(write: Write) -> Op {
    Op { write, full_url: None }
}

fn instance(resource_type: &str, id: &str) -> Target {
    Target::Instance {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
    }
}

/// A new visit; the last write is its Appointment.
pub fn begin(server: &FhirServer, offer: &Offer, start: i64, wish: &Wish, standing: Standing) -> Vec<Op> {
    let now = server.clock.now();
    let mut appointment = json!({
        "resourceType": "Appointment",
        "meta": {"profile": [APPOINTMENT_PROFILE]},
        "status": "pending",
        "created": instant(now)
    });
    proposal::describe(&mut appointment, offer);
    wish.tell(&mut appointment);
    let mut participants = vec![visit::taking_part(&wish.patient, None, standing.patient)];
    if let Value::Array(others) = proposal::participants(offer, standing.practitioner) {
        participants.extend(others);
    }
    appointment["participant"] = Value::Array(participants);
    standing.apply(&mut appointment, now);
    let slot = place(server, offer, start, standing.state, &mut appointment);
    vec![
        slot,
        op(Write::Create {
            resource: appointment,
            if_none_exist: None,
        }),
    ]
}

/// Gives an Appointment a time: the write of its Slot.
fn place(server: &FhirServer, offer: &Offer, start: i64, state: State, appointment: &mut Value) -> Op {
    let rules = &offer.terms.rules;
    let time: Span = rules.rhythm.visit(start);
    let name = format!("urn:uuid:{}", server.ids.next());
    visit::set_time(appointment, time, rules.hours.zone.iana_name());
    appointment["slot"] = json!([{"reference": name}]);
    let mut slot = visit::slot(&offer.schedule, time, rules.rhythm.occupies(start), state);
    slot["meta"] = json!({"profile": [SLOT_PROFILE]});
    Op {
        write: Write::Create {
            resource: slot,
            if_none_exist: None,
        },
        full_url: Some(name),
    }
}

/// Another standing at the same time; the first write is the Appointment.
///
/// # Errors
/// 409 when it cannot stand so.
pub fn advance(
    server: &FhirServer,
    visit: &Visit<'_>,
    slots: &[Value],
    wish: Option<&Wish>,
    standing: Standing,
) -> Result<Vec<Op>, FhirError> {
    let mut after = visit.content.clone();
    standing.apply(&mut after, server.clock.now());
    if let Some(wish) = wish {
        wish.tell(&mut after);
    }
    // One that is not paid yet can be agreed to, and stays unpaid.
    if State::of(visit.content) != Some(standing.state) || standing.state != State::PendingPayment {
        require_move(visit.content, standing.state)?;
    }
    let mut ops = vec![visit.update(after)];
    let status = standing.state.slot_status();
    for slot in slots.iter().filter(|slot| slot["status"].as_str() != status) {
        let mut slot = slot.clone();
        slot["status"] = json!(status);
        ops.push(op(Write::Update {
            target: instance("Slot", slot["id"].as_str().unwrap_or_default()),
            resource: slot,
            if_match: None,
            if_none_match_any: false,
        }));
    }
    Ok(ops)
}

/// The end of a visit that does not take place; the first write is the Appointment.
///
/// # Errors
/// 409 when it is not open.
pub fn call_off(visit: &Visit<'_>, reason: Value, comment: Option<&str>) -> Result<Vec<Op>, FhirError> {
    require_move(visit.content, State::Cancelled)?;
    let mut after = visit.content.clone();
    visit::cancel(&mut after, reason);
    if let Some(comment) = comment {
        after["comment"] = json!(comment);
    }
    Ok([visit.update(after)].into_iter().chain(visit.leave()).collect())
}

/// The practitioner's no; the first write is the Appointment.
///
/// # Errors
/// 409 when there is nothing to refuse any more.
pub fn reject(visit: &Visit<'_>, comment: Option<&str>) -> Result<Vec<Op>, FhirError> {
    require_move(visit.content, State::Rejected)?;
    let mut after = visit.content.clone();
    visit::cancel(&mut after, Reason::Rejected.concept());
    visit::set_said(&mut after, "Practitioner", "declined");
    if let Some(comment) = comment {
        after["comment"] = json!(comment);
    }
    Ok([visit.update(after)].into_iter().chain(visit.leave()).collect())
}

/// Another time in the same calendar: the same Appointment, with what was agreed and paid. The first write is the
/// Appointment, the last one the Provenance.
///
/// # Errors
/// 409 when it is not open.
pub fn shift(
    server: &FhirServer,
    caller: &Caller,
    visit: &Visit<'_>,
    offer: &Offer,
    start: i64,
    comment: Option<&str>,
) -> Result<Vec<Op>, FhirError> {
    let state = require_open(visit.content)?;
    let mut after = visit.content.clone();
    let slot = place(server, offer, start, state, &mut after);
    if let Some(comment) = comment {
        after["comment"] = json!(comment);
    }
    let mut ops = vec![visit.update(after), slot];
    ops.extend(visit.leave());
    ops.push(provenance(server, caller, visit));
    Ok(ops)
}

/// A time with another practitioner, or for another service: a new Appointment, with what was told and paid, in place of one
/// that is cancelled. The last but one write is the new Appointment, the last one the Provenance.
///
/// # Errors
/// 409 when it is not open.
pub fn replace(
    server: &FhirServer,
    caller: &Caller,
    visit: &Visit<'_>,
    offer: &Offer,
    start: i64,
    comment: Option<&str>,
) -> Result<Vec<Op>, FhirError> {
    let state = require_open(visit.content)?;
    let patient = visit::participant(visit.content, "Patient").map(|patient| patient["actor"].clone());
    let wish = Wish {
        patient: patient.ok_or_else(|| FhirError::conflict("Nobody is to be seen in this appointment."))?,
        details: Some(visit.content.clone()),
        comment: comment.map(str::to_owned),
    };
    // Who has paid does not pay again; whoever is new to the visit is asked all the same.
    let policy = &offer.terms.policy;
    let standing = match (state, policy.approval) {
        (State::Approved, Approval::Auto) => Standing::approved(),
        (State::Approved | State::Requested, Approval::Manual) => Standing::requested(),
        _ => Standing::booked(policy),
    };
    let mut ops = call_off(visit, Reason::Rescheduled.concept(), None)?;
    let mut new = begin(server, offer, start, &wish, standing);
    if let Some(Op {
        write: Write::Create { resource, .. },
        ..
    }) = new.last_mut()
    {
        let reference = json!({"reference": format!("Appointment/{}", visit.id)});
        extensions::set(resource, json!({"url": REPLACES, "valueReference": reference}));
    }
    ops.append(&mut new);
    ops.push(provenance(server, caller, visit));
    Ok(ops)
}

/// Who changed a visit, and which version it was before.
fn provenance(server: &FhirServer, caller: &Caller, visit: &Visit<'_>) -> Op {
    let who = match caller.user() {
        Some(user) => json!({"reference": user.fhir_user}),
        None => json!({"display": caller.grant().map_or("The practice", |granted| granted.client.as_str())}),
    };
    op(Write::Create {
        resource: json!({
            "resourceType": "Provenance",
            "meta": {"profile": [CHANGE_PROFILE]},
            "target": [{"reference": format!("Appointment/{}", visit.id)}],
            "recorded": instant(server.clock.now()),
            "activity": {"coding": [{"system": DATA_OPERATION, "code": "UPDATE"}]},
            "agent": [{"who": who}],
            "entity": [{
                "role": "revision",
                "what": {"reference": format!("Appointment/{}/_history/{}", visit.id, visit.version)}
            }]
        }),
        if_none_exist: None,
    })
}

/// # Errors
/// 409, naming the moves that are legal.
pub fn require_move(appointment: &Value, next: State) -> Result<(), FhirError> {
    let state = State::of(appointment).ok_or_else(|| FhirError::conflict("It has no status."))?;
    if state != next && state.may_become(next) {
        return Ok(());
    }
    let text = match state == next {
        true => format!("It is {} already. {}", state.name(), state.moves()),
        false => format!("It cannot become {}. {}", next.name(), state.moves()),
    };
    Err(FhirError::conflict(text).at("Appointment.status"))
}

/// # Errors
/// 409 for a visit that has begun or does not take place.
pub fn require_open(appointment: &Value) -> Result<State, FhirError> {
    match State::of(appointment) {
        Some(state) if state.is_open() => Ok(state),
        Some(state) => {
            Err(FhirError::conflict(format!("It can no longer be moved. {}", state.moves())).at("Appointment.status"))
        }
        None => Err(FhirError::conflict("It has no status.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(approval: Approval, payment: Payment) -> Policy {
        Policy {
            approval,
            payment,
            hold: 600,
            reschedule_notice: 0,
        }
    }

    #[test]
    fn a_booking_waits_for_whom_the_policy_names() {
        for (approval, payment, state, patient, practitioner) in [
            (Approval::Auto, Payment::None, State::Approved, "accepted", "accepted"),
            (
                Approval::Manual,
                Payment::None,
                State::Requested,
                "accepted",
                "needs-action",
            ),
            (
                Approval::Manual,
                Payment::AfterApproval,
                State::Requested,
                "accepted",
                "needs-action",
            ),
            (
                Approval::Auto,
                Payment::AfterApproval,
                State::PendingPayment,
                "tentative",
                "accepted",
            ),
            (
                Approval::Auto,
                Payment::BeforeApproval,
                State::PendingPayment,
                "tentative",
                "accepted",
            ),
            (
                Approval::Manual,
                Payment::BeforeApproval,
                State::PendingPayment,
                "tentative",
                "needs-action",
            ),
        ] {
            let standing = Standing::booked(&policy(approval, payment));
            let said = (standing.state, standing.patient, standing.practitioner);
            assert_eq!(said, (state, patient, practitioner), "{approval:?} {payment:?}");
            assert_eq!(standing.waits.is_some(), state == State::PendingPayment);
        }
    }

    #[test]
    fn who_has_paid_is_not_asked_to_pay_again() {
        let before = policy(Approval::Manual, Payment::BeforeApproval);
        // Paid, and therefore requested.
        assert_eq!(Standing::agreed(&before, State::Requested), Standing::approved());
        // Agreed to before it is paid.
        let unpaid = Standing::agreed(&before, State::PendingPayment);
        assert_eq!((unpaid.state, unpaid.practitioner), (State::PendingPayment, "accepted"));
        let after = policy(Approval::Manual, Payment::AfterApproval);
        assert_eq!(Standing::agreed(&after, State::Requested).state, State::PendingPayment);
        let free = policy(Approval::Manual, Payment::None);
        assert_eq!(Standing::agreed(&free, State::Requested), Standing::approved());
    }

    #[test]
    fn a_standing_is_written_as_its_state_reads() {
        for standing in [
            Standing::held(&policy(Approval::Auto, Payment::None)),
            Standing::booked(&policy(Approval::Manual, Payment::BeforeApproval)),
            Standing::booked(&policy(Approval::Manual, Payment::None)),
            Standing::approved(),
        ] {
            let mut appointment = json!({"participant": [
                {"actor": {"reference": "Patient/p"}, "status": "needs-action"},
                {"actor": {"reference": "Practitioner/d"}, "status": "needs-action"},
                {"actor": {"reference": "HealthcareService/s"}, "status": "accepted"}]});
            standing.apply(&mut appointment, Timestamp::UNIX_EPOCH);
            assert_eq!(State::of(&appointment), Some(standing.state));
            assert_eq!(appointment["participant"][2]["status"], "accepted");
            let expires = standing.waits.map(|seconds| Timestamp::from_second(seconds).unwrap());
            assert_eq!(visit::expires(&appointment), expires);
        }
    }
}
