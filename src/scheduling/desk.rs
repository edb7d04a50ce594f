//! The desk of the practice: what the operations and the answers to requests have in common.
//!
//! It looks with the eyes of the practice, since a patient sees neither Slots nor the visits of others, and writes in its
//! name. Whoever comes to the desk has been judged before ([`authority`](super::authority)).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::availability::{Opening, Span};
use super::booking::{self, Standing, Visit, Wish};
use super::calendar;
use super::directory::{Directory, Offer};
use super::state::State;
use super::visit::{self, Reason};
use super::{authority, expiry};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, commit};
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;

/// Where one caller is served.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    pub server: &'a FhirServer,
    pub directory: &'a Arc<Directory>,
    pub caller: &'a Caller,
}

/// A visit in one of the calendars.
pub struct Known {
    pub id: String,
    pub version: i32,
    pub content: Value,
    /// The Slots that it fills.
    pub slots: Vec<Value>,
}

impl Known {
    pub fn visit(&self) -> Visit<'_> {
        Visit {
            id: &self.id,
            version: self.version,
            content: &self.content,
        }
    }

    pub fn state(&self) -> Option<State> {
        State::of(&self.content)
    }
}

impl Desk<'_> {
    pub fn now(&self) -> Timestamp {
        self.server.clock.now()
    }

    /// A visit that has been read, with its Slots.
    pub async fn known(&self, stored: StoredResource, content: Value) -> Result<Known, FhirError> {
        let practice = self.caller.practice();
        let mut slots = Vec::new();
        for id in visit::slots(&content) {
            let (_, slot) = authority::read(self.server, &practice, "Slot", id).await?;
            slots.push(slot);
        }
        Ok(Known {
            id: stored.id,
            version: stored.version,
            content,
            slots,
        })
    }

    /// The visit of that id, seen by the practice.
    pub async fn look_up(&self, id: &str) -> Result<Known, FhirError> {
        let (stored, content) = authority::read(self.server, &self.caller.practice(), "Appointment", id).await?;
        self.known(stored, content).await
    }

    /// The terms on which a visit was made, as they are today.
    ///
    /// # Errors
    /// 409 for a visit that is in no calendar.
    pub async fn offer_of(&self, known: &Known) -> Result<Offer, FhirError> {
        let schedule = known
            .slots
            .first()
            .and_then(|slot| slot["schedule"]["reference"].as_str());
        let schedule = schedule
            .and_then(|reference| reference.strip_prefix("Schedule/"))
            .ok_or_else(|| {
                FhirError::conflict("This appointment is in none of the practice's calendars: change it by update.")
            })?;
        let service = visit::actor(&known.content, "HealthcareService");
        let service = service.and_then(|reference| reference.strip_prefix("HealthcareService/"));
        let practice = self.caller.practice();
        self.directory.offer(self.server, &practice, schedule, service).await
    }

    /// The first openings of an offer in `range`, as far as it can be booked now, beside what is taken and `beside`.
    pub async fn openings(
        &self,
        offer: &Offer,
        range: Span,
        ignoring: Option<&str>,
        beside: Option<Span>,
        most: usize,
    ) -> Result<Vec<Opening>, FhirError> {
        let now = self.now();
        let rules = &offer.terms.rules;
        let range = rules.bookable(range, now.as_second());
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let around = Span {
            start: rules.rhythm.occupies(range.start).start,
            end: rules.rhythm.occupies(range.end).end,
        };
        let mut lease = self.server.store.fixed().await?;
        let mut busy = calendar::busy(&mut lease, &[offer.calendar], around, now, ignoring).await?;
        lease.release();
        let mut busy = busy.remove(&offer.calendar).unwrap_or_default();
        busy.extend(beside);
        busy.sort_unstable();
        Ok(rules.openings(range, &busy).take(most).collect())
    }

    /// Makes sure that a visit can begin at `start`. With `force`, the hours of the practice do not count, only what is
    /// taken.
    ///
    /// # Errors
    /// 409 when it cannot.
    pub async fn require_free(
        &self,
        offer: &Offer,
        start: i64,
        ignoring: Option<&str>,
        force: bool,
    ) -> Result<(), FhirError> {
        // What has lapsed is free, and goes before somebody else comes.
        expiry::sweep_calendar(self.server, offer.calendar).await?;
        let moment = Span {
            start,
            end: start.saturating_add(1),
        };
        if force || !self.openings(offer, moment, ignoring, None, 1).await?.is_empty() {
            return Ok(());
        }
        let rules = &offer.terms.rules;
        let range = rules.bookable(moment, self.now().as_second());
        let offered = range.start < range.end && rules.openings(range, &[]).next().is_some();
        match offered {
            true => Err(calendar::taken()),
            false => Err(FhirError::conflict(
                "No visit can begin at this time: it is outside of the practitioner's hours, too soon or too far ahead. \
                 Ask Appointment/$find for the times that are free.",
            )),
        }
    }

    /// A hold of the same patient on the same time.
    pub async fn own_hold(&self, offer: &Offer, start: i64, patient: &str) -> Result<Option<Known>, FhirError> {
        let time = offer.terms.rules.rhythm.visit(start);
        let mut lease = self.server.store.fixed().await?;
        let ids = calendar::visits(&mut lease, offer.calendar, time).await?;
        lease.release();
        for id in ids {
            let known = self.look_up(&id).await?;
            let is_same = known.state() == Some(State::Held)
                && visit::time(&known.content).is_some_and(|held| held.start == start)
                && visit::actor(&known.content, "Patient") == Some(patient)
                && visit::expires(&known.content).is_some_and(|expires| expires > self.now());
            if is_same {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// The writes by which the practitioner agrees.
    ///
    /// # Errors
    /// 409 when there is nothing to agree to.
    pub async fn agree(&self, known: &Known) -> Result<Vec<Op>, FhirError> {
        let state = known.state().unwrap_or(State::Proposed);
        let waits =
            visit::participant(&known.content, "Practitioner").is_some_and(|found| found["status"] == "needs-action");
        if !waits || !matches!(state, State::Requested | State::PendingPayment) {
            let text = format!("Nobody waits for an approval. {}", state.moves());
            return Err(FhirError::conflict(text).at("Appointment.status"));
        }
        let offer = self.offer_of(known).await?;
        let standing = Standing::agreed(&offer.terms.policy, state);
        booking::advance(self.server, &known.visit(), &known.slots, None, standing)
    }

    /// The writes by which a held visit is wished for.
    ///
    /// # Errors
    /// 409 when it is not held.
    pub async fn decide(&self, known: &Known, wish: &Wish) -> Result<Vec<Op>, FhirError> {
        if known.state() != Some(State::Held) {
            let state = known.state().unwrap_or(State::Proposed);
            let text = format!("It is {} already. {}", state.name(), state.moves());
            return Err(FhirError::conflict(text).at("Appointment.status"));
        }
        if visit::expires(&known.content).is_none_or(|expires| expires <= self.now()) {
            return Err(FhirError::conflict(
                "The time was held for too short: the hold has run out. Ask Appointment/$find what is free now.",
            ));
        }
        let offer = self.offer_of(known).await?;
        let standing = Standing::booked(&offer.terms.policy);
        booking::advance(self.server, &known.visit(), &known.slots, Some(wish), standing)
    }

    /// The writes by which a visit moves to what is offered at `start`: the same visit where it stays with the
    /// practitioner and the service, else a new one that replaces it. Also which of them is the visit from then on.
    ///
    /// # Errors
    /// 409 when it is not open, or the time is not free.
    pub async fn shift(
        &self,
        known: &Known,
        offer: &Offer,
        start: i64,
        comment: Option<&str>,
    ) -> Result<(Vec<Op>, usize), FhirError> {
        if booking::require_open(&known.content)? == State::Held {
            let text = "It is held, not booked: hold another time by $hold, or book it by $book.";
            return Err(FhirError::conflict(text).at("Appointment.status"));
        }
        let former = self.offer_of(known).await?;
        self.require_free(offer, start, Some(&known.id), false).await?;
        let visit = known.visit();
        if former.calendar == offer.calendar && former.service == offer.service {
            let ops = booking::shift(self.server, self.caller, &visit, offer, start, comment)?;
            return Ok((ops, 0));
        }
        let ops = booking::replace(self.server, self.caller, &visit, offer, start, comment)?;
        let new = ops.len() - 2;
        Ok((ops, new))
    }

    /// The writes by which it does not take place, for one side.
    ///
    /// # Errors
    /// 409 when it is not open.
    pub fn call_off(
        &self,
        known: &Known,
        side: authority::Side,
        reason: Option<&Value>,
        comment: Option<&str>,
    ) -> Result<Vec<Op>, FhirError> {
        let is_undecided = matches!(known.state(), Some(State::Requested | State::PendingPayment));
        match side {
            // Before it was agreed to, that is a no.
            authority::Side::Practice if is_undecided && reason.is_none() => booking::reject(&known.visit(), comment),
            authority::Side::Practice => {
                let reason = reason.map_or_else(|| Reason::ByPractice.concept(), Reason::given);
                booking::call_off(&known.visit(), reason, comment)
            }
            authority::Side::Patient => {
                let reason = reason.map_or_else(|| Reason::ByPatient.concept(), Reason::given);
                booking::call_off(&known.visit(), reason, comment)
            }
        }
    }

    /// Stores what was decided, in the name of the practice, and answers the resource of the write at `which`.
    ///
    /// # Errors
    /// 409 when somebody was faster.
    pub async fn store(&self, ops: Vec<Op>, which: usize) -> Result<StoredResource, FhirError> {
        let mut outcomes = commit(self.server, &self.caller.practice(), ops)
            .await
            .map_err(|error| too_late(error.error))?;
        Ok(outcomes.swap_remove(which).stored)
    }
}

/// That the version has changed is news about the visit, not about a header that the client never sent.
fn too_late(error: FhirError) -> FhirError {
    match error.status.as_u16() {
        412 => FhirError::conflict("Somebody changed this appointment at the same moment. Read it and try again."),
        _ => error,
    }
}
