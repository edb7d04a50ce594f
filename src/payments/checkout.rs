//! `Appointment/[id]/$pay`: opens a page of the payment provider for a visit that waits for its payment.
//!
//! The first call issues the Invoice and its ChargeItem, in the transaction that makes the Appointment refer to it. The time
//! of the visit stays held for some minutes longer than the page lives, so that whoever pays at the last moment still has
//! it. A page is opened under a key made of the Invoice, of when the page ends, and of the page before it, which all are
//! stored before: calls that cross each other, and those whose answer was lost, come to the same page.
//!
//! | | status |
//! |---|---|
//! | `url`, `expires` and `invoice`; asked again, the same page | 200 |
//! | not for this caller, or not there | 404 |
//! | nothing is to be paid for it: free, paid, not booked yet, cancelled; or it was tried for too long | 409 |
//! | the server takes no payments | 501 |
//! | the provider does not answer | 503 |

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::names::SESSION;
use super::price::{Price, Terms};
use super::stripe::Session;
use super::till::{Record, Shared, Till, is_too_late};
use super::{bill, settle, visit};
use crate::fhir::access::{self, Permissions};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;

/// How long a page lives. Stripe wants half an hour by its own clock
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at>), which may be ahead of ours.
const PAGE_LIVES: SignedDuration = SignedDuration::from_mins(35);
/// The least that is left of it when it is opened.
const PAGE_LIVES_AT_LEAST: SignedDuration = SignedDuration::from_mins(31);
/// The most, which is a day.
const PAGE_LIVES_AT_MOST: SignedDuration = SignedDuration::from_mins(24 * 60 - 5);
/// How long the time of the visit is held after that: for what was paid at the last moment to be heard of.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long pages are opened anew for one Invoice: nobody holds a time for ever by not paying.
const TRIES_LAST: SignedDuration = SignedDuration::from_hours(2);

/// How often it is looked again when others change the same visit.
const ATTEMPTS: u32 = 6;

/// Where somebody pays, until when, and what.
struct Page {
    url: String,
    expires: Timestamp,
    invoice: String,
}

/// The page, or why there is none. An error beside it may be otherwise when it is tried again.
type Verdict = Result<Page, FhirError>;

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
    access::require(server, caller, Permissions::UPDATE, "Appointment")?;
    let id = input.id.as_deref().unwrap_or_default();
    let found = server.read(caller, "Appointment", id).await?;
    let found = found.ok_or_else(|| FhirError::not_found("Appointment", id))?;
    if found.deleted {
        return Err(FhirError::gone("Appointment", id));
    }
    till.stripe()?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(till, id).await {
            Ok(Ok(page)) => return Ok(answer(&page)),
            Ok(Err(refusal)) => return Err(refusal),
            Err(error) if is_too_late(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| FhirError::unavailable("Others change the same visit all the time.")))
}

fn answer(page: &Page) -> Answer {
    Answer::with_value(&json!({
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": page.url},
            {"name": "expires", "valueInstant": instant(page.expires)},
            {"name": "invoice", "valueReference": {"reference": page.invoice}}
        ]
    }))
}

async fn attempt(till: Till<'_>, id: &str) -> Result<Verdict, FhirError> {
    let visit = till.find("Appointment", id).await?;
    let visit = visit.ok_or_else(|| FhirError::not_found("Appointment", id))?;
    let invoice = current(till, &visit.content).await?;
    if !visit::waits_for_payment(&visit.content) {
        return Ok(Err(nothing_to_pay(&visit.content, invoice.as_ref())));
    }
    match invoice {
        Some(invoice) => again(till, &visit, invoice).await,
        None => first(till, &visit).await,
    }
}

/// The Invoice of a visit that is to be paid, or is paid.
async fn current(till: Till<'_>, visit: &Value) -> Result<Option<Record>, FhirError> {
    for id in visit::invoices(visit) {
        let found = till.find("Invoice", id).await?;
        let counts = |found: &Record| {
            let status = found.content["status"].as_str();
            bill::is_ours(&found.content) && matches!(status, Some("issued" | "balanced"))
        };
        if let Some(found) = found.filter(counts) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn nothing_to_pay(visit: &Value, invoice: Option<&Record>) -> FhirError {
    let is_paid = invoice.is_some_and(|invoice| invoice.content["status"] == "balanced");
    let text = match visit["status"].as_str() {
        _ if is_paid => "It is paid.",
        Some("cancelled") => "It is cancelled: nothing is to be paid for it.",
        Some("pending") => {
            "Nothing is to be paid for it now. A time that is held is booked by $book first, and what is paid after its \
             approval waits for that."
        }
        _ => "Nothing is to be paid for it.",
    };
    FhirError::conflict(text).at("Appointment.participant.status")
}

/// A page for a visit that has no Invoice yet.
async fn first(till: Till<'_>, visit: &Record) -> Result<Verdict, FhirError> {
    let service = visit::reference(&visit.content, "HealthcareService");
    let service = till.follow("HealthcareService", service).await?;
    let service = service.map_or(Value::Null, |service| service.content);
    let Some(canonical) = Terms::of(&service).price else {
        till.store(visit::paid(till, visit).await?).await?;
        let text = "It costs nothing, and does not wait for a payment any more.";
        return Ok(Err(FhirError::conflict(text).at("Appointment.participant.status")));
    };
    let Some((definition, price)) = price(till, &canonical).await? else {
        let text = "The practice has laid down no price for this service that could be charged. Ask the practice.";
        return Ok(Err(FhirError::conflict(text)));
    };
    let now = till.server.clock.now();
    let expires = page_end(visit::expires(&visit.content), now);
    let name = format!("urn:uuid:{}", till.server.ids.next());
    let mut ops = bill::issue(till, visit, &service, &definition, &price, &name);
    let mut after = visit.content.clone();
    visit::add_invoice(&mut after, &name);
    hold(&mut after, expires);
    ops.push(visit.update(after));
    let outcomes = till.store(ops).await?;
    // The Invoice is the second write.
    let invoice = outcomes.into_iter().nth(1).map(|outcome| Record::of(outcome.stored));
    let invoice = invoice.ok_or_else(|| FhirError::internal("a write without an outcome"))??;
    if !price.gross.is_positive() {
        return without_a_page(till, &visit.id, &invoice).await;
    }
    open(till, invoice, expires).await.map(Ok)
}

/// The page that is open for an Invoice, or another one.
async fn again(till: Till<'_>, visit: &Record, invoice: Record) -> Result<Verdict, FhirError> {
    let refuse = |text: &str| Ok(Err(FhirError::conflict(text).at("Appointment.participant.status")));
    if settle::already_paid(till, visit, &invoice.content).await? {
        return refuse("It is paid.");
    }
    if !bill::total(&invoice.content)?.is_positive() {
        return without_a_page(till, &visit.id, &invoice).await;
    }
    let now = till.server.clock.now();
    if let Some(id) = bill::session(&invoice.content) {
        match till.stripe()?.session(id).await? {
            Some(session) if session.paid.is_some() => {
                settle::settle(till, &session, None).await?;
                return refuse("It is paid.");
            }
            Some(session) if session.is_open && session.expires > now => return Ok(page(session, &invoice)),
            Some(session) if !session.is_open && !session.is_over => {
                return refuse("A payment is on its way. It can take some days until it arrives.");
            }
            // It is over, or was opened at another account.
            Some(_) | None => {}
        }
    }
    let is_late = bill::issued_at(&invoice.content).is_none_or(|at| now.duration_since(at) > TRIES_LAST);
    if is_late {
        return refuse("It was to be paid long ago: cancel it, and book another time.");
    }
    let expires = page_end(visit::expires(&visit.content), now);
    let mut after = visit.content.clone();
    hold(&mut after, expires);
    till.store(vec![visit.update(after)]).await?;
    open(till, invoice, expires).await.map(Ok)
}

/// Opens a page, and notes its number in the Invoice.
async fn open(till: Till<'_>, invoice: Record, expires: Timestamp) -> Result<Page, FhirError> {
    let amount = bill::total(&invoice.content)?;
    let (former, back) = (bill::session(&invoice.content), &till.payments.back);
    let session = till.stripe()?.open(&invoice.id, amount, expires, former, back).await?;
    let mut after = invoice.content.clone();
    bill::set_identifier(&mut after, SESSION, &session.id);
    till.store(vec![invoice.update(after)]).await?;
    page(session, &invoice)
}

fn page(session: Session, invoice: &Record) -> Result<Page, FhirError> {
    let none = || FhirError::unavailable("The payment provider has closed its page just now. Try again.");
    Ok(Page {
        url: session.url.ok_or_else(none)?,
        expires: session.expires,
        invoice: invoice.reference(),
    })
}

/// What costs nothing is settled at once; there is nothing to see but where a payer would come back to.
async fn without_a_page(till: Till<'_>, visit: &str, invoice: &Record) -> Result<Verdict, FhirError> {
    let visit = till.find("Appointment", visit).await?;
    let visit = visit.ok_or_else(|| FhirError::conflict("It is there no more."))?;
    settle::free(till, &visit, invoice).await?;
    Ok(Ok(Page {
        url: till.payments.back.paid.replace("{CHECKOUT_SESSION_ID}", ""),
        expires: till.server.clock.now(),
        invoice: invoice.reference(),
    }))
}

/// When a page ends that is opened now: with the hold as it is, where that is long enough, so that whoever asks at the same
/// moment means the same page.
fn page_end(hold: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let by_hold = hold.and_then(|hold| hold.checked_sub(MARGIN).ok());
    let fits = |end: &Timestamp| {
        let left = end.duration_since(now);
        left >= PAGE_LIVES_AT_LEAST && left <= PAGE_LIVES_AT_MOST
    };
    let end = by_hold.filter(fits).or_else(|| now.checked_add(PAGE_LIVES).ok());
    // Stripe counts in whole seconds.
    end.and_then(|end| Timestamp::from_second(end.as_second()).ok())
        .unwrap_or(now)
}

/// Holds the time of a visit for longer than a page lives.
fn hold(visit: &mut Value, page_end: Timestamp) {
    let needed = page_end.checked_add(MARGIN).unwrap_or(page_end);
    if visit::expires(visit).is_none_or(|held| held < needed) {
        visit::set_expires(visit, needed);
    }
}

/// The price of that canonical URL, worked out: an active one first, then the one that was changed last.
async fn price(till: Till<'_>, canonical: &str) -> Result<Option<(Value, Price)>, FhirError> {
    let (url, version) = canonical.split_once('|').unwrap_or((canonical, ""));
    let mut query = vec![("url", url), ("status", "active"), ("_sort", "-_lastUpdated")];
    if !version.is_empty() {
        query.push(("version", version));
    }
    let Some(found) = till.search("ChargeItemDefinition", &query).await?.into_iter().next() else {
        tracing::warn!("a service names a price that is not there, or not active");
        return Ok(None);
    };
    match Price::of(&found.content) {
        Ok(price) if price.gross.at_stripe().is_some() => Ok(Some((found.content, price))),
        Ok(_) => Ok(None),
        Err(fault) => {
            tracing::warn!(definition = found.id, fault, "a price cannot be charged");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_held_for_longer_than_the_page_lives() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let in_minutes = |minutes| now + SignedDuration::from_mins(minutes);
        for (held, end, hold_after) in [
            (None, 35, 40),
            (Some(10), 35, 40),
            (Some(35), 35, 40),
            (Some(36), 31, 36),
            (Some(40), 35, 40),
            (Some(120), 115, 120),
            (Some(3 * 24 * 60), 35, 3 * 24 * 60),
        ] {
            let held = held.map(in_minutes);
            let page_end = page_end(held, now);
            assert_eq!(page_end, in_minutes(end), "{held:?}");
            let mut visit = json!({});
            if let Some(held) = held {
                visit::set_expires(&mut visit, held);
            }
            hold(&mut visit, page_end);
            assert_eq!(visit::expires(&visit), Some(in_minutes(hold_after)), "{held:?}");
        }
    }

    #[test]
    fn calls_that_cross_each_other_mean_the_same_page() {
        let now: Timestamp = "2026-03-01T10:00:00.75Z".parse().unwrap();
        let first = page_end(None, now);
        let mut visit = json!({});
        hold(&mut visit, first);
        for later in [0, 1, 200] {
            let again = page_end(visit::expires(&visit), now + SignedDuration::from_secs(later));
            assert_eq!(again, first, "{later}");
        }
    }
}
