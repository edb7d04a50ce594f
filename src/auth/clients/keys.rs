//! Public keys of applications that sign: checked when they are registered, or fetched from where they are
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use serde_json::Value;

use crate::base::outbound::Outbound;

/// Longest set of keys that is fetched, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long fetched keys are used, unless their answer says a shorter time: a key that was stolen must go out of use soon.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How long an address is left alone after it failed, or after it did not have a key that somebody claims to have: whoever
/// makes up key names must not make us ask it all the time.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Checks a set of public keys that is about to be registered: each needs a `kid` of its own and must fit RS384 or ES384, and
/// none may be a private key that was sent by mistake.
///
/// # Errors
/// A sentence about the first key that is wrong.
pub fn check_keys(keys: &Value) -> Result<(), String> {
    let list = keys["keys"]
        .as_array()
        .ok_or("a JWKS is an object with a list \"keys\"")?;
    if list.is_empty() {
        return Err("there is no key in \"keys\"".to_owned());
    }
    let mut seen = Vec::new();
    for key in list {
        let kid = key["kid"].as_str().filter(|kid| !kid.is_empty());
        let kid = kid.ok_or("a key has no \"kid\"")?;
        if seen.contains(&kid) {
            return Err(format!("two keys have the kid {kid:?}"));
        }
        seen.push(kid);
        if ["d", "p", "q", "k"].iter().any(|member| key.get(member).is_some()) {
            return Err(format!(
                "{kid:?} is a private key; only its public half belongs here, and this one is spoilt now"
            ));
        }
        match (key["kty"].as_str(), key["crv"].as_str()) {
            (Some("RSA"), _) | (Some("EC"), Some("P-384")) => {}
            _ => {
                return Err(format!(
                    "{kid:?} is neither an RSA key (for RS384) nor one on the curve P-384 (for ES384)"
                ));
            }
        }
    }
    let set: Result<JwkSet, _> = serde_json::from_value(keys.clone());
    set.map(|_| ())
        .map_err(|error| format!("the keys cannot be read: {error}"))
}

/// Keys that clients have at addresses of their own, kept for a while.
#[derive(Debug)]
pub struct KeySets {
    outbound: Outbound,
    /// By address. As many as there are clients that were heard of; the inner lock lets one of many requests fetch.
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<JwkSet>,
    /// When they were fetched, or it was tried.
    asked_at: Timestamp,
    good_until: Timestamp,
}

impl KeySets {
    pub fn new(outbound: Outbound) -> KeySets {
        KeySets {
            outbound,
            known: Mutex::default(),
        }
    }

    /// The keys at `address`, as far as they can be used; fetched again when `kid` is not among those that are known, as after
    /// a change of keys. Empty when they cannot be had.
    pub async fn at(&self, now: Timestamp, address: &str, kid: &str) -> Arc<JwkSet> {
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(address.to_owned()).or_default().clone()
        };
        let mut known = known.lock().await;
        let is_good = now < known.good_until;
        let is_here = known
            .keys
            .keys
            .iter()
            .any(|key| key.common.key_id.as_deref() == Some(kid));
        let was_just_asked = now.duration_since(known.asked_at) < PAUSE;
        if is_good && (is_here || was_just_asked) {
            return known.keys.clone();
        }
        *known = match self.outbound.get(address, LONGEST).await {
            Ok((headers, body)) => Known {
                keys: Arc::new(usable_keys(&body)),
                asked_at: now,
                good_until: now.saturating_add(life(&headers)).unwrap_or(now),
            },
            Err(error) => {
                // Where it is was registered by an operator, who will look for the reason here.
                tracing::warn!(address, %error, "a client's keys cannot be fetched");
                Known {
                    keys: Arc::default(),
                    asked_at: now,
                    good_until: now.saturating_add(PAUSE).unwrap_or(now),
                }
            }
        };
        known.keys.clone()
    }
}

/// How long an answer may be kept (<https://www.rfc-editor.org/rfc/rfc9111#section-5.2>).
fn life(headers: &HeaderMap) -> SignedDuration {
    let lines = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let lives = lines.flat_map(|line| line.split(',')).filter_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.split_once('=') {
            Some(("max-age", seconds)) => Some(seconds.trim_matches('"').parse().unwrap_or(0)),
            _ if directive == "no-store" || directive == "no-cache" => Some(0),
            _ => None,
        }
    });
    lives
        .min()
        .map_or(LIFE, |seconds| SignedDuration::from_secs(seconds).min(LIFE))
}

/// The keys of a set that can be read. One of a kind that is unknown here does not spoil the others.
fn usable_keys(body: &[u8]) -> JwkSet {
    let set: Value = serde_json::from_slice(body).unwrap_or_default();
    let keys = set["keys"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    JwkSet { keys: keys.collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_public_named_and_fit_an_algorithm() {
        let rsa = json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"});
        assert_eq!(check_keys(&json!({"keys": [rsa]})), Ok(()));
        let with = |change: Value| {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            check_keys(&json!({"keys": [key]})).unwrap_err()
        };
        assert!(with(json!({"d": "AQAB"})).contains("private"));
        assert!(with(json!({"kid": ""})).contains("no \"kid\""));
        assert!(with(json!({"kty": "EC", "crv": "P-256"})).contains("neither"));
        assert!(with(json!({"kty": "oct", "k": "x"})).contains("private"));
        assert!(
            check_keys(&json!({"keys": [rsa, rsa]}))
                .unwrap_err()
                .contains("two keys")
        );
        assert!(check_keys(&json!({"keys": []})).is_err() && check_keys(&json!([])).is_err());
    }

    #[test]
    fn fetched_keys_are_kept_as_long_as_their_answer_says_and_no_longer_than_five_minutes() {
        for (value, seconds) in [
            ("max-age=60", 60),
            ("public, max-age=60, must-revalidate", 60),
            ("MAX-AGE=\"60\"", 60),
            ("max-age=31536000", 300),
            ("public", 300),
            ("no-store", 0),
            ("no-cache, max-age=60", 0),
            ("max-age=soon", 0),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, value.parse().unwrap())]);
            assert_eq!(life(&headers), SignedDuration::from_secs(seconds), "{value}");
        }
        assert_eq!(life(&HeaderMap::new()), LIFE);
    }

    #[test]
    fn a_key_that_cannot_be_read_does_not_spoil_the_others() {
        let set = json!({"keys": [
            {"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "now", "n": "AQAB", "e": "AQAB"},
        ]});
        assert_eq!(usable_keys(set.to_string().as_bytes()).keys.len(), 1);
        assert!(usable_keys(b"<html>").keys.is_empty() && usable_keys(b"[]").keys.is_empty());
    }
}
