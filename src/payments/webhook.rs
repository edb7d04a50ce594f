//! `POST /payments/stripe`: what Stripe tells by itself (<https://docs.stripe.com/webhooks>). `GET /payments/return`: where
//! the payer comes back to.
//!
//! Both only cause a look: the job that they enqueue asks Stripe how things stand. So a forged, replayed or misordered
//! message moves no money, and one that is lost is made up for by [`jobs`](super::jobs). A webhook is answered when the job is
//! stored.
//!
//! | webhook | status |
//! |---|---|
//! | stored, or nothing to be done | 200 |
//! | the signature is none of ours, or too old; the body is no event | 400 |
//! | no secret is set | 404 |
//! | longer than an event | 413 |
//! | the database does not answer: Stripe sends it again | 503 |

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, html};
use serde::Deserialize;
use serde_json::Value;

use super::jobs::{self as work, Look};
use super::names::SESSION;
use super::stripe::is_number;
use super::till::{Shared, Till, cashier};
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::jobs::{self, NewJob};

/// Events are some kilobytes long.
pub const LONGEST: usize = 1 << 20;

/// What the routes need.
pub struct Door {
    pub server: Arc<FhirServer>,
    pub payments: Shared,
}

/// As much of an event as is believed.
#[derive(Deserialize)]
struct Event {
    id: String,
    r#type: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

/// Not all that events are about has a number, or one payment.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    id: String,
    #[serde(default)]
    payment_intent: Value,
}

pub async fn handle(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    if door.payments.stripe.is_none() || door.payments.secrets.is_empty() {
        return (StatusCode::NOT_FOUND, "no webhooks are taken here\n");
    }
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let now = door.server.clock.now();
    if !door
        .payments
        .secrets
        .have_signed(signature.unwrap_or_default(), &body, now)
    {
        tracing::warn!("a webhook without a valid signature was refused");
        return (StatusCode::BAD_REQUEST, "the signature is not valid now\n");
    }
    let Some(event) = serde_json::from_slice::<Event>(&body).ok() else {
        return (StatusCode::BAD_REQUEST, "this is no event\n");
    };
    match event.job() {
        None => (StatusCode::OK, "nothing to be done\n"),
        Some(job) => match enqueue(&door.server, job).await {
            Ok(()) => (StatusCode::OK, "noted\n"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it cannot be noted now\n"),
        },
    }
}

impl Event {
    /// What is to be looked at because of it (<https://docs.stripe.com/api/events/types>).
    fn job(&self) -> Option<NewJob> {
        let event = Some(self.id.as_str()).filter(|id| is_number(id, "evt_"));
        let object = &self.data.object;
        let (look, number) = match self.r#type.as_str() {
            "checkout.session.completed"
            | "checkout.session.async_payment_succeeded"
            | "checkout.session.async_payment_failed"
            | "checkout.session.expired" => (Look::Session, Some(object.id.as_str())),
            "payment_intent.payment_failed" => (Look::Failure, Some(object.id.as_str())),
            "charge.refunded" | "refund.created" | "refund.updated" | "refund.failed" => {
                (Look::Refunds, object.payment_intent.as_str())
            }
            _ => return None,
        };
        work::look(look, number?, event)
    }
}

async fn enqueue(server: &FhirServer, job: NewJob) -> Result<(), FhirError> {
    let mut lease = server.store.fixed().await?;
    jobs::enqueue(&mut lease, server.clock.now(), &[job]).await?;
    lease.release();
    Ok(())
}

#[derive(Deserialize)]
pub struct Returned {
    #[serde(default)]
    session: String,
}

/// Sends the payer on, or has a word for them. That they are here is a reason to look, should the webhook not come.
pub async fn come_back(State(door): State<Arc<Door>>, Query(Returned { session }): Query<Returned>) -> Response {
    // What cannot be looked at now is looked at by the schedule.
    let _ = look_at(&door, &session).await;
    let next = door.payments.return_url.as_str();
    if !next.is_empty() {
        let joint = if next.contains('?') { '&' } else { '?' };
        return match session.is_empty() {
            true => Redirect::to(&format!("{next}{joint}cancelled=1")).into_response(),
            false => Redirect::to(next).into_response(),
        };
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Payment – MedConsult" }
            }
            body {
                main {
                    @if session.is_empty() {
                        h1 { "Not paid" }
                        p { "Nothing was charged. You can close this page, and pay later as long as the time is held." }
                    } @else {
                        h1 { "Thank you" }
                        p { "You can close this page. As soon as the payment has arrived, your appointment shows it." }
                    }
                }
            }
        }
    };
    Html(page.into_string()).into_response()
}

async fn look_at(door: &Door, session: &str) -> Result<(), FhirError> {
    let Some(job) = work::look(Look::Session, session, None) else {
        return Ok(());
    };
    let till = Till {
        server: &door.server,
        payments: &door.payments,
        caller: &cashier(),
    };
    let token = format!("{SESSION}|{session}");
    let open = till
        .search("Invoice", &[("identifier", &token), ("status", "issued")])
        .await?;
    match open.is_empty() {
        true => Ok(()),
        false => enqueue(&door.server, job).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Option<String> {
        let event: Event = serde_json::from_str(text).unwrap();
        event.job().map(|job| format!("{job:?}"))
    }

    #[test]
    fn an_event_causes_a_look_at_what_it_is_about() {
        let event = |name: &str, object: &str| {
            format!(r#"{{"id": "evt_1", "type": "{name}", "data": {{"object": {object}}}}}"#)
        };
        let completed = job(&event(
            "checkout.session.completed",
            r#"{"id": "cs_1", "amount_total": 1}"#,
        ))
        .unwrap();
        assert!(completed.contains("cs_1") && completed.contains("evt_1"), "{completed}");
        let refunded = job(&event("refund.failed", r#"{"id": "re_1", "payment_intent": "pi_1"}"#)).unwrap();
        assert!(refunded.contains("pi_1"), "{refunded}");
        for nothing in [
            event("customer.created", r#"{"id": "cus_1"}"#),
            event("refund.created", r#"{"id": "re_1"}"#),
            event("balance.available", r#"{"object": "balance"}"#),
            event("checkout.session.completed", r#"{"id": "../../v1/refunds"}"#),
            event("checkout.session.completed", r#"{"id": "pi_1"}"#),
        ] {
            assert_eq!(job(&nothing), None, "{nothing}");
        }
        assert!(!is_number("cs_", "cs_") && !is_number(&format!("cs_{}", "a".repeat(201)), "cs_"));
    }
}
