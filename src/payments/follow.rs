//! What becomes of the money when a visit moves: a job that the guard enqueues in the transaction of the move.
//!
//! | the visit | its Invoice is `issued` | its Invoice is `balanced` |
//! |---|---|---|
//! | does not take place, nor another in its stead | the page is closed, the Invoice cancelled | given back by policy |
//! | waits for a payment again, having been moved or agreed to anew | – | it is paid: nobody pays twice |
//!
//! **The policy** is that of the HealthcareService when the job runs: whoever the practice cancels on, or does not answer,
//! gets everything back; who cancels themselves before `cancelNotice` too, and `lateRefundPercent` of it afterwards.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::price::Terms;
use super::stripe::Trouble;
use super::till::{Record, Till};
use super::visit::{self, Place};
use super::{bill, refund, settle};
use crate::fhir::error::FhirError;
use crate::jobs::NewJob;

/// The job.
pub const JOB: &str = "payments.visit";

/// How often it is begun: with the pauses between them, for some days, should the provider be away for long.
const ATTEMPTS: i32 = 40;

/// Who moved a visit, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    pub by_patient: bool,
    pub at: Timestamp,
}

/// The job for a visit that has moved.
pub fn job(visit: &str, moved: Move) -> NewJob {
    let payload = json!({"visit": visit, "byPatient": moved.by_patient, "at": moved.at.to_string()});
    NewJob::new(JOB, payload).max_attempts(ATTEMPTS)
}

/// What the payload of such a job says.
pub fn read(payload: &Value) -> Option<(&str, Move)> {
    let moved = Move {
        by_patient: payload["byPatient"].as_bool()?,
        at: payload["at"].as_str()?.parse().ok()?,
    };
    Some((payload["visit"].as_str()?, moved))
}

/// Does what follows from where a visit stands now.
///
/// # Errors
/// 409 and 412 when others change the same; 503 when database or provider do not answer.
pub async fn follow(till: Till<'_>, visit: &str, moved: Move) -> Result<(), FhirError> {
    let Some(visit) = till.find("Appointment", visit).await? else {
        return Ok(());
    };
    for id in visit::invoices(&visit.content) {
        let invoice = till.find("Invoice", id).await?;
        let Some(invoice) = invoice.filter(|invoice| bill::is_ours(&invoice.content)) else {
            continue;
        };
        if !visit::is_off(&visit.content) {
            settle::already_paid(till, &visit, &invoice.content).await?;
            continue;
        }
        // Another visit may have taken its place, and what is paid stays paid for that.
        if let Place::Lost(_) = visit::place(till, &invoice).await? {
            match invoice.content["status"].as_str() {
                Some("issued") => close(till, &visit, &invoice).await?,
                Some("balanced") => give_back(till, &visit, &invoice, moved).await?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Closes the page of a visit that is off, and calls its Invoice off; if somebody has paid at the last moment, settles that.
///
/// # Errors
/// As [`follow`].
pub async fn close(till: Till<'_>, visit: &Record, invoice: &Record) -> Result<(), FhirError> {
    if let (Some(id), Some(stripe)) = (bill::session(&invoice.content), &till.payments.stripe) {
        let mut session = stripe.session(id).await?;
        if session.as_ref().is_some_and(|session| session.is_open) {
            session = match stripe.close(id).await {
                // Paid or expired while we looked.
                Err(Trouble::Refused { .. }) => stripe.session(id).await?,
                closed => Some(closed?),
            };
        }
        match session {
            Some(session) if session.paid.is_some() => return settle::settle(till, &session, None).await,
            // A payment is on its way. When it arrives, it finds no visit, and goes back.
            Some(session) if !session.is_over => return Ok(()),
            Some(_) | None => {}
        }
    }
    let why = match visit::has_lapsed(&visit.content) {
        true => "It was not paid in time.",
        false => "The visit was cancelled before it was paid.",
    };
    till.store(bill::cancel(till, invoice, why, "aborted").await?).await?;
    Ok(())
}

async fn give_back(till: Till<'_>, visit: &Record, invoice: &Record, moved: Move) -> Result<(), FhirError> {
    let percent = match moved.by_patient {
        true => {
            let service = visit::reference(&visit.content, "HealthcareService");
            let service = till.follow("HealthcareService", service).await?;
            let terms = service.map(|service| Terms::of(&service.content)).unwrap_or_default();
            terms.refund_percent(visit::start(&visit.content), moved.at)
        }
        false => 100,
    };
    let why = "The visit was cancelled.";
    match bill::intent(&invoice.content) {
        Some(intent) => refund::up_to(till, &invoice.id, intent, percent, why).await,
        // One of nothing.
        None => till
            .store(bill::cancel(till, invoice, why, "not-billable").await?)
            .await
            .map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_who_moved_the_visit_and_when() {
        let moved = Move {
            by_patient: true,
            at: "2026-03-01T10:00:00.25Z".parse().unwrap(),
        };
        let payload = json!({"visit": "7", "byPatient": true, "at": moved.at.to_string()});
        assert_eq!(read(&payload), Some(("7", moved)));
        assert_eq!(read(&json!({"visit": "7"})), None);
    }
}
