//! The jobs of this room. Each asks Stripe how things stand and does what follows, so each may run twice, late, or in another
//! order.
//!
//! | job | looks at |
//! |---|---|
//! | `payments.session` | a page: was it paid? |
//! | `payments.failure` | a try to pay: was it refused? |
//! | `payments.refunds` | a payment: what of it went back? |
//! | [`payments.visit`](super::follow) | a visit that has moved |
//! | `payments.reconcile` | all pages of Invoices that are not paid: every two minutes, for the webhooks that never came |
//!
//! The last one runs more often than a page is followed by the end of its hold (five minutes), so that a payment which
//! nobody told us of still finds its visit.

use std::sync::Arc;

use serde_json::json;

use super::names::SESSION;
use super::stripe::is_number;
use super::till::{Record, Shared, Till, cashier, is_too_late};
use super::visit::{self, Place};
use super::{bill, follow, receipts, refund, settle};
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::jobs::{Job, JobError, NewJob, Registry};

const RECONCILE: &str = "payments.reconcile";
const SCHEDULE: &str = "*/2 * * * *";

/// How often something is looked at again when others change the same.
const ATTEMPTS: u32 = 5;

/// What a job looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Session,
    Failure,
    Refunds,
}

impl Look {
    const ALL: [Look; 3] = [Look::Session, Look::Failure, Look::Refunds];

    fn job(self) -> &'static str {
        match self {
            Look::Session => "payments.session",
            Look::Failure => "payments.failure",
            Look::Refunds => "payments.refunds",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Look::Session => "cs_",
            Look::Failure | Look::Refunds => "pi_",
        }
    }
}

/// The job that looks at what has that number at Stripe, because of an event if there was one. `None` for what is no such
/// number. One that waits already is enough.
pub fn look(look: Look, number: &str, event: Option<&str>) -> Option<NewJob> {
    let payload = json!({"number": number, "event": event});
    is_number(number, look.prefix())
        .then(|| NewJob::new(look.job(), payload).once_per(format!("{}-{number}", look.job())))
}

/// Adds the jobs of this room.
///
/// # Errors
/// None in practice: the pattern of the schedule is fixed.
pub fn register(mut registry: Registry, server: &Arc<FhirServer>, payments: &Shared) -> anyhow::Result<Registry> {
    for look in Look::ALL {
        let (server, payments) = (server.clone(), payments.clone());
        registry = registry.on(look.job(), move |job| {
            let (server, payments) = (server.clone(), payments.clone());
            async move { run(&server, &payments, look, &job).await }
        });
    }
    let (of_visits, of_schedule) = ((server.clone(), payments.clone()), (server.clone(), payments.clone()));
    registry = registry.on(follow::JOB, move |job| {
        let (server, payments) = of_visits.clone();
        async move { run_visit(&server, &payments, &job).await }
    });
    if payments.stripe.is_none() {
        return Ok(registry);
    }
    registry = registry.on(RECONCILE, move |_| {
        let (server, payments) = of_schedule.clone();
        async move { reconcile(&server, &payments).await }
    });
    Ok(registry.every(SCHEDULE, RECONCILE)?)
}

/// The text is kept with the job: it holds codes alone.
fn retry(error: FhirError) -> JobError {
    JobError::Retry(error.to_string())
}

async fn run(server: &FhirServer, payments: &Shared, look: Look, job: &Job) -> Result<(), JobError> {
    let caller = cashier();
    let till = Till {
        server,
        payments,
        caller: &caller,
    };
    let number = job.payload["number"].as_str().unwrap_or_default();
    let event = job.payload["event"].as_str();
    if !is_number(number, look.prefix()) {
        return Err(JobError::Fail("not a number of Stripe's".to_owned()));
    }
    let looked = match look {
        Look::Session => session(till, number, event).await,
        Look::Failure => failure(till, number, event).await,
        Look::Refunds => refund::follow(till, number).await,
    };
    looked.map_err(retry)
}

async fn run_visit(server: &FhirServer, payments: &Shared, job: &Job) -> Result<(), JobError> {
    let caller = cashier();
    let till = Till {
        server,
        payments,
        caller: &caller,
    };
    let (visit, moved) = follow::read(&job.payload).ok_or_else(|| JobError::Fail("no visit is named".to_owned()))?;
    for _ in 1..ATTEMPTS {
        match follow::follow(till, visit, moved).await {
            Err(error) if is_too_late(&error) => {}
            done => return done.map_err(retry),
        }
    }
    follow::follow(till, visit, moved).await.map_err(retry)
}

/// A page that has ended, by a payment or without.
async fn session(till: Till<'_>, number: &str, event: Option<&str>) -> Result<(), FhirError> {
    match till.stripe()?.session(number).await? {
        Some(session) => settle::settle(till, &session, event).await,
        None => Ok(()),
    }
}

/// A try to pay that was refused: entered in the books, so that the payer can be told.
async fn failure(till: Till<'_>, number: &str, event: Option<&str>) -> Result<(), FhirError> {
    let intent = till.stripe()?.intent(number).await?;
    let Some(intent) = intent.filter(|intent| intent.has_failed) else {
        return Ok(());
    };
    let invoice = till
        .find("Invoice", intent.invoice.as_deref().unwrap_or_default())
        .await?;
    let unpaid = |found: &Record| bill::is_ours(&found.content) && found.content["status"] == "issued";
    if let Some(invoice) = invoice.filter(unpaid) {
        let entry = receipts::failure(till, &invoice, number, intent.amount, event);
        till.store(vec![entry]).await?;
    }
    Ok(())
}

async fn reconcile(server: &FhirServer, payments: &Shared) -> Result<(), JobError> {
    let caller = cashier();
    let till = Till {
        server,
        payments,
        caller: &caller,
    };
    let any = format!("{SESSION}|");
    let query = [
        ("status", "issued"),
        ("identifier", any.as_str()),
        ("_sort", "_lastUpdated"),
    ];
    let open = till.search("Invoice", &query).await.map_err(retry)?;
    for invoice in &open {
        // The others are looked at all the same, and the next run looks at this one again.
        if let Err(error) = reconcile_one(till, invoice).await {
            tracing::warn!(invoice = invoice.id, %error, "an open invoice cannot be reconciled now");
        }
    }
    Ok(())
}

async fn reconcile_one(till: Till<'_>, invoice: &Record) -> Result<(), FhirError> {
    let (Some(number), true) = (bill::session(&invoice.content), bill::is_ours(&invoice.content)) else {
        return Ok(());
    };
    if let Some(session) = till
        .stripe()?
        .session(number)
        .await?
        .filter(|session| session.paid.is_some())
    {
        return settle::settle(till, &session, None).await;
    }
    match visit::place(till, invoice).await? {
        Place::Lost(visit) => follow::close(till, &visit, invoice).await,
        Place::Waits(_) | Place::Kept | Place::None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_about_a_number_of_its_kind() {
        assert!(look(Look::Session, "cs_test_1", None).is_some());
        assert!(look(Look::Session, "pi_1", None).is_none());
        assert!(look(Look::Refunds, "pi_1/../x", Some("evt_1")).is_none());
    }
}
