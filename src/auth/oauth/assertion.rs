//! How a client proves who it is: by a statement that it signs with its own key, and that is good once, for minutes
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>, RFC 7523).
//!
//! Every failure is the same `invalid_client`: which check failed helps nobody but who is trying keys.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::Value;

use super::error::OAuthError;
use super::form::OAuthForm;
use crate::auth::AuthServer;
use crate::auth::clients::{Client, Proof};

/// The only `client_assertion_type`.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far ahead the end of an assertion may be.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_secs(300);
/// How far a client's clock may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// Longest `jti`, in bytes.
const LONGEST_JTI: usize = 255;

/// What an assertion says, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    pub client: String,
    pub jti: String,
    pub expires_at: Timestamp,
}

/// The client that signed the assertion in this form. It cannot be used again.
///
/// # Errors
/// `invalid_client` whatever is wrong with it; `invalid_request` when there is none.
pub async fn authenticate(auth: &AuthServer, form: &OAuthForm) -> Result<Client, OAuthError> {
    if form.require("client_assertion_type")? != JWT_BEARER {
        return Err(OAuthError::InvalidClient);
    }
    let assertion = form.require("client_assertion")?;
    let (header, claims) =
        read(assertion, &[&auth.endpoints.token, &auth.issuer], auth.clock.now()).ok_or(OAuthError::InvalidClient)?;
    if form.get("client_id").is_some_and(|id| id != claims.client) {
        return Err(OAuthError::InvalidClient);
    }
    let client = Client::find(&auth.pool, &claims.client)
        .await?
        .ok_or(OAuthError::InvalidClient)?;
    let keys = keys(auth, &client, &header).await.ok_or(OAuthError::InvalidClient)?;
    let key = fitting_key(&keys, &header).ok_or(OAuthError::InvalidClient)?;
    if !is_signed_by(assertion, header.alg, key) {
        return Err(OAuthError::InvalidClient);
    }
    // Only now: an assertion that somebody else made up must not use up the name of a real one.
    let added =
        sqlx::query("INSERT INTO used_assertion (client, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(&client.id)
            .bind(&claims.jti)
            .bind(claims.expires_at.to_sqlx())
            .execute(&auth.pool)
            .await?;
    match added.rows_affected() {
        1 => Ok(client),
        _ => Err(OAuthError::InvalidClient),
    }
}

/// Header and claims, if both are as they must be. The signature is yet to be checked. `audiences` are our names.
pub fn read(assertion: &str, audiences: &[&str], now: Timestamp) -> Option<(Header, Claims)> {
    let header = decode_header(assertion).ok()?;
    // A key that comes with the statement proves nothing, and an address of one is only followed if it was registered.
    let brings_key = header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
    // `crit` names extensions that must be understood; we understand none.
    if brings_key || header.crit.is_some() || !matches!(header.alg, Algorithm::RS384 | Algorithm::ES384) {
        return None;
    }
    let claims: Value = insecure_decode_claims(assertion).ok()?;
    let claims = judge(&claims, audiences, now)?;
    Some((header, claims))
}

/// Checks claims (RFC 7523, section 3): who, for whom, until when, which.
fn judge(claims: &Value, audiences: &[&str], now: Timestamp) -> Option<Claims> {
    let client = claims["iss"].as_str().filter(|iss| !iss.is_empty())?;
    // One audience, as text: in a list, others could be meant too.
    let is_for_us = claims["aud"].as_str().is_some_and(|aud| audiences.contains(&aud));
    if claims["sub"].as_str() != Some(client) || !is_for_us {
        return None;
    }
    let jti = claims["jti"]
        .as_str()
        .filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()) && !jti.contains('\0'))?;
    let soon = now.checked_add(SKEW).ok()?;
    let expires_at = instant(&claims["exp"])?;
    let is_current = now < expires_at && expires_at <= soon.checked_add(LONGEST_LIFE).ok()?;
    let has_begun = ["iat", "nbf"].iter().all(|claim| match claims.get(*claim) {
        None => true,
        Some(value) => instant(value).is_some_and(|instant| instant <= soon),
    });
    (is_current && has_begun).then(|| Claims {
        client: client.to_owned(),
        jti: jti.to_owned(),
        expires_at,
    })
}

/// A NumericDate: seconds since 1970, perhaps with a fraction.
fn instant(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite())?;
    Timestamp::from_microsecond((seconds * 1e6) as i64).ok()
}

/// The keys of the client; `None` if it has none, or names another place for them than the one that was registered.
async fn keys(auth: &AuthServer, client: &Client, header: &Header) -> Option<Arc<JwkSet>> {
    let kid = header.kid.as_deref()?;
    match (&client.proof, header.jku.as_deref()) {
        (Proof::Keys(keys), None) => Some(Arc::new(keys.clone())),
        (Proof::KeysAt(address), named) if named.is_none_or(|named| named == address) => {
            Some(auth.key_sets.at(auth.clock.now(), address, kid).await)
        }
        _ => None,
    }
}

/// The one key with the header's `kid` and a kind that fits its algorithm; `None` if there are several.
fn fitting_key<'k>(keys: &'k JwkSet, header: &Header) -> Option<&'k Jwk> {
    let kid = header.kid.as_deref()?;
    let fits = |key: &&Jwk| {
        let kind_fits = match &key.algorithm {
            AlgorithmParameters::RSA(_) => header.alg == Algorithm::RS384,
            AlgorithmParameters::EllipticCurve(curve) => {
                header.alg == Algorithm::ES384 && curve.curve == EllipticCurve::P384
            }
            _ => false,
        };
        key.common.key_id.as_deref() == Some(kid) && kind_fits
    };
    let mut keys = keys.keys.iter().filter(fits);
    match (keys.next(), keys.next()) {
        (Some(key), None) => Some(key),
        _ => None,
    }
}

fn is_signed_by(assertion: &str, algorithm: Algorithm, key: &Jwk) -> bool {
    let Ok(key) = DecodingKey::from_jwk(key) else {
        return false;
    };
    // The claims are judged above, by our own clock.
    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    decode::<Value>(assertion, &key, &signature_only).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const US: [&str; 2] = ["https://clinic.example/auth/token", "https://clinic.example"];

    fn judged(change: Value) -> bool {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut claims = json!({"iss": "app", "sub": "app", "aud": US[0], "exp": 1_000_120, "jti": "1"});
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        judge(&claims, &US, now).is_some()
    }

    #[test]
    fn claims_name_the_client_us_and_a_near_end() {
        assert!(judged(json!({})));
        assert!(judged(json!({"aud": US[1], "iat": 1_000_000, "nbf": 1_000_029})));
        assert!(judged(json!({"exp": 1_000_300})) && judged(json!({"exp": 1_000_060.5})));
    }

    #[test]
    fn other_claims_are_refused() {
        for change in [
            json!({"iss": "other"}),
            json!({"iss": ""}),
            json!({"sub": null}),
            json!({"sub": "other"}),
            json!({"aud": null}),
            json!({"aud": "https://other.example"}),
            json!({"aud": "https://clinic.example/"}),
            json!({"aud": "https://clinic.example/auth/token/x"}),
            json!({"aud": "https://clinic.exampl"}),
            json!({"aud": [US[0]]}),
            json!({"aud": [US[0], "https://other.example"]}),
            json!({"exp": null}),
            json!({"exp": "1000120"}),
            json!({"exp": 1_000_000}),
            json!({"exp": 999_999}),
            json!({"exp": 1_000_331}),
            json!({"exp": 1e300}),
            json!({"iat": 1_000_031}),
            json!({"nbf": 1_000_031}),
            json!({"nbf": "soon"}),
            json!({"jti": null}),
            json!({"jti": ""}),
            json!({"jti": "x".repeat(256)}),
            json!({"jti": "a\u{0}"}),
        ] {
            assert!(!judged(change.clone()), "{change}");
        }
    }
}
