//! A payment that has arrived: PaymentReconciliation, PaymentNotice, Invoice `balanced`, ChargeItem `billed`, and the visit
//! paid for, in one transaction or not at all.
//!
//! What is done follows from what is there, never from the message that caused it. So it does not matter whether Stripe's
//! webhook comes once, twice, late, in another order or never, nor where the server was when it was killed.
//!
//! | the visit | |
//! |---|---|
//! | waits for its payment | booked, or requested where the practitioner has not agreed yet |
//! | takes place, or was agreed to without payment | stays |
//! | lapsed while it was being paid, and its time is free | booked anew |
//! | does not take place, or its Invoice was called off | everything goes back |
//!
//! A second payment for the same Invoice goes back whole.

use serde_json::{Value, json};

use super::names::{INTENT, REPLACES};
use super::stripe::{Paid, Session};
use super::till::{Record, Till, is_too_late};
use super::visit::Place;
use super::{bill, rebook, receipts, refund, visit};
use crate::fhir::error::FhirError;
use crate::fhir::extensions;

/// How often it is looked again when others change the same.
const ATTEMPTS: u32 = 6;

const LOST: &str = "The payment came when the visit was off already. All of it was given back.";
const TWICE: &str = "It was paid twice. The second payment was given back.";

/// What to do next.
enum Next {
    Done,
    /// Something has changed: look again.
    Again,
}

/// Takes a paid page into account; does nothing for one that is not paid, or not ours.
///
/// # Errors
/// 503 when database or provider do not answer; 409 when others were in the way too often.
pub async fn settle(till: Till<'_>, session: &Session, event: Option<&str>) -> Result<(), FhirError> {
    let (Some(paid), Some(invoice)) = (&session.paid, &session.invoice) else {
        return Ok(());
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(till, invoice, paid, event).await {
            Ok(Next::Done) => return Ok(()),
            Ok(Next::Again) => {}
            Err(error) if is_too_late(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| FhirError::unavailable("Others change the same visit all the time.")))
}

async fn attempt(till: Till<'_>, invoice: &str, paid: &Paid, event: Option<&str>) -> Result<Next, FhirError> {
    let Some(invoice) = till
        .find("Invoice", invoice)
        .await?
        .filter(|found| bill::is_ours(&found.content))
    else {
        tracing::warn!("a payment for an invoice that is not here");
        return Ok(Next::Done);
    };
    let is_recorded = receipts::find(till, INTENT, &paid.intent).await?.is_some();
    if bill::intent(&invoice.content).is_some_and(|known| known != paid.intent) {
        if !is_recorded {
            till.store(vec![receipts::surplus(till, &invoice, paid, event)]).await?;
        }
        refund::all(till, &invoice.id, &paid.intent, TWICE).await?;
        return Ok(Next::Done);
    }
    if paid.amount != bill::total(&invoice.content)? {
        // Totals do not change once they are issued, so this is for a person to look at: the job fails, and is kept.
        return Err(FhirError::internal("a payment of another amount than the invoice"));
    }
    let is_due = matches!(invoice.content["status"].as_str(), Some("issued" | "balanced"));
    let place = match is_due {
        true => visit::place(till, &invoice).await?,
        // Called off by the practice: a visit that still waits is billed anew.
        false => Place::None,
    };
    if let Place::Lost(visit) = &place
        && !is_recorded
        && visit::has_lapsed(&visit.content)
        && rebook::again(till, visit, &invoice).await?
    {
        return Ok(Next::Again);
    }
    let mut ops = Vec::new();
    if !is_recorded {
        ops.extend(receipts::payment(till, &invoice, paid, event));
        let mut after = invoice.content.clone();
        bill::set_identifier(&mut after, INTENT, &paid.intent);
        if after["status"] == "issued" {
            after["status"] = json!("balanced");
        }
        ops.push(invoice.update(after));
        ops.extend(bill::charge(till, &invoice, "billed").await?);
    }
    if let Place::Waits(visit) = &place {
        ops.extend(visit::paid(till, &in_place_of(till, visit, &invoice).await?).await?);
    }
    if !ops.is_empty() {
        till.store(ops).await?;
    }
    if let Place::Lost(_) | Place::None = place {
        refund::all(till, &invoice.id, &paid.intent, LOST).await?;
    }
    Ok(Next::Done)
}

/// A visit that was booked anew says which one it replaces.
async fn in_place_of(till: Till<'_>, visit: &Record, invoice: &Record) -> Result<Record, FhirError> {
    let mut visit = visit.clone();
    if extensions::find(&visit.content, REPLACES).is_some() {
        return Ok(visit);
    }
    let all = till
        .search(
            "Appointment",
            &[("supporting-info", &invoice.reference()), ("_sort", "-_lastUpdated")],
        )
        .await?;
    let lapsed = all.iter().find(|other| visit::has_lapsed(&other.content));
    if let Some(lapsed) = lapsed {
        let reference = json!({"reference": lapsed.reference()});
        extensions::set(
            &mut visit.content,
            json!({"url": REPLACES, "valueReference": reference}),
        );
    }
    Ok(visit)
}

/// A visit that waits for a payment which came long ago, since it was moved or agreed to anew: nobody pays twice.
///
/// # Errors
/// As [`settle`].
pub async fn already_paid(till: Till<'_>, visit: &Record, invoice: &Value) -> Result<bool, FhirError> {
    if invoice["status"] != "balanced" || !visit::waits_for_payment(&visit.content) {
        return Ok(false);
    }
    till.store(visit::paid(till, visit).await?).await?;
    Ok(true)
}

/// An Invoice of nothing needs no payment: it is balanced as it is, and its visit paid.
///
/// # Errors
/// 412 when somebody changed one of them meanwhile.
pub async fn free(till: Till<'_>, visit: &Record, invoice: &Record) -> Result<(), FhirError> {
    let mut after = invoice.content.clone();
    after["status"] = json!("balanced");
    let mut ops = vec![invoice.update(after)];
    ops.extend(bill::charge(till, invoice, "billed").await?);
    ops.extend(visit::paid(till, visit).await?);
    till.store(ops).await.map(|_| ())
}
