//! Money that goes back: `Invoice/[id]/$refund`, what the policy gives back when a visit is off, and what somebody gave back
//! at Stripe by hand. Each refund is a PaymentReconciliation of the type `adjustment`; with the last one the Invoice is
//! `cancelled` and its ChargeItem `not-billable`.
//!
//! The truth about refunds is at Stripe, so it is asked first, and what the books lack is entered. Only then more is given
//! back, under a key that names how much went back before: whatever is lost on the way, nothing goes back twice.
//!
//! | `$refund` | status |
//! |---|---|
//! | given back; the PaymentReconciliation | 200 |
//! | an amount that is none, or in another currency | 400 |
//! | a patient | 403 |
//! | not paid, or less left than that; the books were behind | 409 |
//! | the server takes no payments | 501 |
//! | the provider does not answer | 503 |

use serde_json::{Value, json};

use super::bill;
use super::money::Money;
use super::names::{INTENT, REFUND};
use super::receipts;
use super::stripe::Returned;
use super::till::{Record, Shared, Till, is_too_late};
use crate::fhir::access::{self, Permissions};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;

const BY_HAND: &str = "Given back at the payment provider.";

/// How often it is looked again when others change the same Invoice.
const ATTEMPTS: u32 = 6;

/// What went back of a payment, as the books have it now.
struct State {
    received: Money,
    gone: Money,
    /// Whether the books lacked some of it until now.
    was_behind: bool,
}

impl State {
    fn left(&self) -> Money {
        self.received.less(self.gone)
    }
}

/// Gives back whatever is left of a payment.
///
/// # Errors
/// 503 when database or provider do not answer.
pub async fn all(till: Till<'_>, invoice: &str, intent: &str, why: &str) -> Result<(), FhirError> {
    let state = enter(till, invoice, intent, why).await?;
    if state.left().is_positive() {
        give(till, invoice, intent, &state, state.left(), why).await?;
    }
    Ok(())
}

/// Gives back as much as is missing to that part of what was paid.
///
/// # Errors
/// 503 when database or provider do not answer.
pub async fn up_to(till: Till<'_>, invoice: &str, intent: &str, percent: u32, why: &str) -> Result<(), FhirError> {
    let state = enter(till, invoice, intent, why).await?;
    let missing = state.received.percent(percent).less(state.gone);
    if missing.is_positive() {
        give(till, invoice, intent, &state, missing, why).await?;
    }
    Ok(())
}

/// Enters what went back by other ways, and takes back what did not reach the payer.
///
/// # Errors
/// 503 when database or provider do not answer.
pub async fn follow(till: Till<'_>, intent: &str) -> Result<(), FhirError> {
    let Some(entry) = receipts::find(till, INTENT, intent).await? else {
        return Ok(());
    };
    let invoice = receipts::invoice(&entry.content).and_then(|reference| reference.strip_prefix("Invoice/"));
    if let Some(invoice) = invoice {
        enter(till, invoice, intent, BY_HAND).await?;
    }
    Ok(())
}

async fn enter(till: Till<'_>, invoice: &str, intent: &str, why: &str) -> Result<State, FhirError> {
    let stripe = till.stripe()?;
    let payment = stripe.intent(intent).await?;
    let payment = payment.ok_or_else(|| FhirError::internal("a payment that the provider does not know"))?;
    let refunds = stripe.returned(intent).await?;
    let good = refunds.iter().filter(|refund| !refund.has_failed);
    let mut state = State {
        received: payment.received,
        gone: good.fold(Money::zero(payment.received.currency), |sum, refund| {
            sum.plus(refund.amount)
        }),
        was_behind: false,
    };
    for refund in &refunds {
        let known = receipts::find(till, REFUND, &refund.id).await?;
        match (known, refund.has_failed) {
            (None, false) => {
                state.was_behind = true;
                let is_all = !state.left().is_positive();
                record(till, invoice, intent, refund, is_all, why).await?;
            }
            (Some(entry), true) if entry.content["status"] == "active" => take_back(till, &entry).await?,
            (Some(_) | None, _) => {}
        }
    }
    Ok(state)
}

async fn give(
    till: Till<'_>,
    invoice: &str,
    intent: &str,
    state: &State,
    amount: Money,
    why: &str,
) -> Result<Record, FhirError> {
    let refund = till.stripe()?.give_back(intent, amount, state.gone).await?;
    let is_all = !state.left().less(amount).is_positive();
    record(till, invoice, intent, &refund, is_all, why).await
}

/// Enters a refund of a payment, once; with the one that makes it `all`, the Invoice that it paid is called off.
async fn record(
    till: Till<'_>,
    invoice: &str,
    intent: &str,
    refund: &Returned,
    all: bool,
    why: &str,
) -> Result<Record, FhirError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let found = till.find("Invoice", invoice).await?;
        let found = found.ok_or_else(|| FhirError::internal("a payment for an invoice that is not here"))?;
        let mut ops = vec![receipts::adjustment(till, &found, refund, why)];
        let is_paid_by_it = bill::intent(&found.content) == Some(intent) && found.content["status"] == "balanced";
        if all && is_paid_by_it {
            ops.extend(bill::cancel(till, &found, why, "not-billable").await?);
        }
        match till.store(ops).await {
            Ok(mut outcomes) => return Record::of(outcomes.swap_remove(0).stored),
            Err(error) if is_too_late(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| FhirError::unavailable("Others change the same invoice all the time.")))
}

/// A refund that did not reach the payer counts no more.
async fn take_back(till: Till<'_>, entry: &Record) -> Result<(), FhirError> {
    tracing::error!(
        entry = entry.id,
        "a refund did not reach the payer: pay it back by another way"
    );
    let mut after = entry.content.clone();
    after["status"] = json!("cancelled");
    after["disposition"] = json!("The refund did not reach the payer.");
    till.store(vec![entry.update(after)]).await.map(|_| ())
}

/// `$refund`
///
/// # Errors
/// Those in the table above.
pub async fn run(
    server: &FhirServer,
    caller: &Caller,
    payments: &Shared,
    input: &OperationInput,
) -> Result<Answer, FhirError> {
    let till = Till {
        server,
        payments,
        caller,
    };
    access::require(server, caller, Permissions::UPDATE, "Invoice")?;
    let id = input.id.as_deref().unwrap_or_default();
    let found = server.read(caller, "Invoice", id).await?;
    let found = found.ok_or_else(|| FhirError::not_found("Invoice", id))?;
    if found.deleted {
        return Err(FhirError::gone("Invoice", id));
    }
    till.stripe()?;
    let invoice = Record::of(found)?;
    let intent = bill::intent(&invoice.content).filter(|_| bill::is_ours(&invoice.content));
    let intent =
        intent.ok_or_else(|| FhirError::conflict("Nothing was paid for this invoice.").at("Invoice.status"))?;
    let why = input.parameters.text("reason").unwrap_or_default();
    let state = enter(till, &invoice.id, intent, BY_HAND).await?;
    if state.was_behind {
        let text = "The payment provider knew of refunds that the books did not have. They are entered now: look at \
                    them, and ask again if more is to go back.";
        return Err(FhirError::conflict(text).at("Invoice.status"));
    }
    let amount = match input.parameters.value("amount") {
        None => state.left(),
        Some(amount) => asked(amount, state.left())?,
    };
    if !amount.is_positive() {
        return Err(FhirError::conflict("All of it was given back already.").at("Invoice.status"));
    }
    let entry = give(till, &invoice.id, intent, &state, amount, why).await?;
    Ok(Answer::with_value(&entry.content))
}

/// An amount that somebody asks for, of what is left.
fn asked(amount: &Value, left: Money) -> Result<Money, FhirError> {
    let place = "Parameters.parameter.where(name = 'amount')";
    let read = Money::read(amount).filter(|amount| amount.is_positive() && amount.currency == left.currency);
    let amount = read.filter(|amount| amount.at_stripe().is_some()).ok_or_else(|| {
        let text = format!("The amount is a part of what was paid, in {}.", left.currency.code());
        FhirError::bad_value(text).at(place)
    })?;
    match left.covers(amount) {
        true => Ok(amount),
        false => {
            let left = left.to_json();
            let text = format!(
                "Only {} {} are left of the payment.",
                left["value"],
                left["currency"].as_str().unwrap_or_default()
            );
            Err(FhirError::conflict(text).at(place))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_goes_back_than_there_is() {
        let money = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let left = Money::read(&money(r#"{"value": 40, "currency": "EUR"}"#)).unwrap();
        assert_eq!(
            asked(&money(r#"{"value": 40.00, "currency": "EUR"}"#), left).unwrap(),
            left
        );
        for (text, status) in [
            (r#"{"value": 40.01, "currency": "EUR"}"#, 409),
            (r#"{"value": 0, "currency": "EUR"}"#, 400),
            (r#"{"value": -1, "currency": "EUR"}"#, 400),
            (r#"{"value": 1.005, "currency": "EUR"}"#, 400),
            (r#"{"value": 40, "currency": "USD"}"#, 400),
        ] {
            assert_eq!(asked(&money(text), left).unwrap_err().status, status, "{text}");
        }
    }
}
