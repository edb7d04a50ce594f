//! What nobody has settled lapses: holds that were not booked, visits that were not paid in time, and requests whose time
//! has come without an answer.
//!
//! A job looks every minute; whoever wants a time that has lapsed does not wait for it.

use std::sync::Arc;

use serde_json::Value;

use super::booking::{self, Visit};
use super::state::State;
use super::visit::{self, Reason};
use super::{authority, calendar};
use crate::fhir::caller::Caller;
use crate::fhir::commit::commit;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::jobs::{JobError, Registry};

const JOB: &str = "scheduling.expire";
const SCHEDULE: &str = "* * * * *";

/// How many lapse between two looks.
const BATCH: i64 = 100;

/// Adds the job of this file.
///
/// # Errors
/// None in practice: the pattern of the schedule is fixed.
pub fn register(registry: Registry, server: &Arc<FhirServer>) -> anyhow::Result<Registry> {
    let server = server.clone();
    let registry = registry.on(JOB, move |_| {
        let server = server.clone();
        async move {
            sweep(&server, None)
                .await
                .map_err(|error| JobError::Retry(error.to_string()))
        }
    });
    Ok(registry.every(SCHEDULE, JOB)?)
}

/// Gives back the times of one calendar (the rid of its Schedule) that have lapsed.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn sweep_calendar(server: &FhirServer, calendar: i64) -> Result<(), FhirError> {
    sweep(server, Some(calendar)).await
}

async fn sweep(server: &FhirServer, calendar: Option<i64>) -> Result<(), FhirError> {
    let now = server.clock.now();
    loop {
        let mut lease = server.store.fixed().await?;
        let lapsed = calendar::lapsed(&mut lease, now, calendar, BATCH).await?;
        lease.release();
        let mut done = 0;
        for id in &lapsed {
            match lapse(server, id).await {
                Ok(()) => done += 1,
                // Somebody booked, paid or cancelled it this moment.
                Err(error) if matches!(error.status.as_u16(), 409 | 410 | 412) => {}
                Err(error) => return Err(error),
            }
        }
        // What cannot be given back now is tried again by the next run.
        if (lapsed.len() as i64) < BATCH || done == 0 {
            return Ok(());
        }
    }
}

async fn lapse(server: &FhirServer, id: &str) -> Result<(), FhirError> {
    let practice = Caller::server();
    let (stored, content) = authority::read(server, &practice, "Appointment", id).await?;
    let is_due = visit::lapses_at(&content).is_some_and(|at| at <= server.clock.now());
    let Some(reason) = reason(&content).filter(|_| is_due) else {
        return Ok(());
    };
    let visit = Visit {
        id: &stored.id,
        version: stored.version,
        content: &content,
    };
    let ops = booking::call_off(&visit, reason.concept(), None)?;
    commit(server, &practice, ops)
        .await
        .map(|_| ())
        .map_err(|error| error.error)
}

fn reason(appointment: &Value) -> Option<Reason> {
    match State::of(appointment)? {
        State::Held => Some(Reason::HoldExpired),
        State::PendingPayment => Some(Reason::PaymentExpired),
        State::Requested => Some(Reason::RequestExpired),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_not_settled_lapses() {
        let with = |status: &str, patient: &str| json!({"status": status, "participant": [{"actor": {"reference": "Patient/p"}, "status": patient}]});
        for (status, patient, expected) in [
            ("pending", "needs-action", Some(Reason::HoldExpired)),
            ("pending", "tentative", Some(Reason::PaymentExpired)),
            ("pending", "accepted", Some(Reason::RequestExpired)),
            ("booked", "accepted", None),
            ("cancelled", "accepted", None),
        ] {
            let appointment = with(status, patient);
            assert_eq!(reason(&appointment), expected, "{status}");
            assert_eq!(State::of(&appointment).is_some_and(State::lapses), expected.is_some());
        }
    }
}
