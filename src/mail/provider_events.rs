//! What a provider tells about mails that it took: `POST /mail/events`, SendGrid's event webhook
//! (<https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>).
//!
//! The request is signed: ECDSA on P-256 over the timestamp of a header and the body. Only what that key has signed, at most
//! ten minutes ago, is believed; a request that comes twice changes nothing.

use std::sync::Arc;

use anyhow::{Context, Result};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sqlx::PgPool;

use super::Outbox;
use super::transport::ARGUMENT;
use crate::base::Clock;

/// Of a request: the provider sends hundreds of events at a time, of some hundred bytes each.
pub const LONGEST: usize = 2 << 20;
/// How old a signature may be, or how far ahead the provider's clock.
const FRESH_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Takes a provider's events.
pub struct ProviderEvents {
    key: ParsedPublicKey,
    outbox: Outbox,
    pool: PgPool,
    clock: Clock,
}

impl ProviderEvents {
    /// `key` is as the provider shows it: the key with its algorithm (SubjectPublicKeyInfo), in base64.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn new(key: &str, outbox: Outbox, pool: PgPool, clock: Clock) -> Result<ProviderEvents> {
        const WRONG: &str = "mail.provider_event_key is no public key for ECDSA on P-256 in base64";
        let der = STANDARD.decode(key.trim()).ok().context(WRONG)?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der);
        Ok(ProviderEvents {
            key: key.ok().context(WRONG)?,
            outbox,
            pool,
            clock,
        })
    }

    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(timestamp) = header("x-twilio-email-event-webhook-timestamp") else {
            return false;
        };
        let signature = header("x-twilio-email-event-webhook-signature").map(|text| STANDARD.decode(text));
        let Some(Ok(signature)) = signature else {
            return false;
        };
        let at = timestamp
            .parse()
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok());
        let is_fresh = at.is_some_and(|at| self.clock.now().duration_since(at).abs() <= FRESH_FOR);
        let signed = [timestamp.as_bytes(), body].concat();
        is_fresh && self.key.verify_sig(&signed, &signature).is_ok()
    }
}

/// `POST /mail/events`
///
/// | status | |
/// |---|---|
/// | 204 | done, or nothing about mails of ours |
/// | 403 | not signed by the provider, or too long ago |
/// | 400 | signed, but no list of events |
/// | 503 | the database does not answer; the provider comes again |
pub async fn handle(State(events): State<Arc<ProviderEvents>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !events.is_signed(&headers, &body) {
        return StatusCode::FORBIDDEN;
    }
    let Ok(Value::Array(list)) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for (message_id, reason) in list.iter().filter_map(bounce) {
        let noted = events.outbox.bounced(&events.pool, message_id, &reason).await;
        if noted.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    StatusCode::NO_CONTENT
}

/// The mail that an event says was not delivered. `dropped` is what the provider did not even try, since the address bounced
/// before; what is `blocked` it does not try again either.
fn bounce(event: &Value) -> Option<(&str, String)> {
    let kind = event["event"].as_str()?;
    if kind != "bounce" && kind != "dropped" {
        return None;
    }
    let status = event["status"].as_str().unwrap_or_default();
    let is_code = !status.is_empty() && status.len() <= 11 && status.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let reason = if is_code { status } else { kind };
    Some((event[ARGUMENT].as_str()?, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_not_delivered_is_a_bounce() {
        let event = |kind: &str, status: &str| json!({"event": kind, "status": status, ARGUMENT: "abc", "email": "a@b.example"});
        assert_eq!(bounce(&event("bounce", "5.1.1")), Some(("abc", "5.1.1".to_owned())));
        assert_eq!(bounce(&event("dropped", "")), Some(("abc", "dropped".to_owned())));
        // Text of others is not kept.
        assert_eq!(
            bounce(&event("bounce", "550 ada@clinic.example")),
            Some(("abc", "bounce".to_owned()))
        );
        for kind in ["processed", "deferred", "delivered", "open", "click", "spamreport"] {
            assert_eq!(bounce(&event(kind, "5.1.1")), None, "{kind}");
        }
        assert_eq!(bounce(&json!({"event": "bounce"})), None);
    }
}
