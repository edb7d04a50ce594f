//! What a provider says about who signed in there (<https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation>).

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::{Provider, ProviderError};
use crate::auth::accounts::fold_email;
use crate::base::crypto;

/// How far the provider's clock may be off.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// How old an id_token may be that was just asked for.
const OLDEST: SignedDuration = SignedDuration::from_mins(10);
/// Longest `sub`, by the standard.
const LONGEST_SUBJECT: usize = 255;

/// What is known of somebody who came back from a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The provider's name for them, which stays theirs.
    pub subject: String,
    /// An address that the provider has verified.
    pub email: Option<String>,
}

/// Checks the id_token of a visit: who signed it, for whom, when, and that it answers our question.
///
/// # Errors
/// `Untrusted` with what is wrong; `Unavailable` when the provider's keys cannot be read.
pub async fn read(provider: &Provider, now: Timestamp, token: &str, nonce: &str) -> Result<Said, ProviderError> {
    let header = decode_header(token).map_err(|_| ProviderError::Untrusted("it is no JWT"))?;
    if header.crit.is_some() {
        return Err(ProviderError::Untrusted("it names extensions that must be understood"));
    }
    let key = provider.key(now, header.kid.as_deref()).await?;
    if !fits(&key, header.alg) || !is_signed_by(token, header.alg, &key) {
        return Err(ProviderError::Untrusted("its signature is not right"));
    }
    let claims: Value =
        insecure_decode_claims(token).map_err(|_| ProviderError::Untrusted("its claims cannot be read"))?;
    let settings = &provider.settings;
    judge(&claims, &settings.issuer, &settings.client_id, nonce, now).map_err(ProviderError::Untrusted)
}

/// Whether a key of this kind makes signatures of this kind. Never `none`, and no secret that both sides know.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, ES256 | ES384),
        AlgorithmParameters::OctetKeyPair(_) => algorithm == EdDSA,
        _ => false,
    }
}

fn is_signed_by(token: &str, algorithm: Algorithm, key: &Jwk) -> bool {
    let Ok(key) = DecodingKey::from_jwk(key) else {
        return false;
    };
    // The claims are judged by our own clock.
    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    decode::<Value>(token, &key, &signature_only).is_ok()
}

fn judge(claims: &Value, issuer: &str, client: &str, nonce: &str, now: Timestamp) -> Result<Said, &'static str> {
    if claims["iss"].as_str() != Some(issuer) {
        return Err("it is another issuer's");
    }
    let is_for_us = match &claims["aud"] {
        Value::String(audience) => audience == client,
        // Among several, the one that asked must be named.
        Value::Array(audiences) => {
            audiences.iter().any(|audience| audience == client)
                && (audiences.len() == 1 || claims["azp"].as_str() == Some(client))
        }
        _ => false,
    };
    if !is_for_us || claims["azp"].as_str().is_some_and(|azp| azp != client) {
        return Err("it is for another client");
    }
    let instant = |name: &str| Timestamp::from_second(claims[name].as_f64()? as i64).ok();
    let (Some(expires_at), Some(issued_at)) = (instant("exp"), instant("iat")) else {
        return Err("it does not say how long it is good");
    };
    let age = now.duration_since(issued_at);
    if now.duration_since(expires_at) > SKEW || age > OLDEST + SKEW || age < -SKEW {
        return Err("it is not of now");
    }
    if !claims["nonce"].as_str().is_some_and(|said| crypto::equal(said, nonce)) {
        return Err("it answers another question");
    }
    let subject = claims["sub"].as_str().unwrap_or_default();
    if !(1..=LONGEST_SUBJECT).contains(&subject.len()) || subject.contains('\0') {
        return Err("it does not say who it is about");
    }
    Ok(Said {
        subject: subject.to_owned(),
        email: verified_email(claims),
    })
}

/// The address in these claims, if the provider has verified it.
pub fn verified_email(claims: &Value) -> Option<String> {
    let email = claims["email"].as_str().and_then(fold_email);
    email.filter(|_| claims["email_verified"] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.clinic.example";

    fn good() -> Value {
        json!({
            "iss": ISSUER, "aud": "medconsult", "sub": "ada", "nonce": "n", "iat": 1000, "exp": 1300,
            "email": "Ada@Clinic.example", "email_verified": true,
        })
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<Said, &'static str> {
        let mut claims = good();
        change(&mut claims);
        judge(
            &claims,
            ISSUER,
            "medconsult",
            "n",
            Timestamp::from_second(1010).unwrap(),
        )
    }

    #[test]
    fn what_is_said_is_believed_if_all_of_it_fits() {
        let said = judged(|_| {}).unwrap();
        assert_eq!(
            (said.subject.as_str(), said.email.as_deref()),
            ("ada", Some("ada@clinic.example"))
        );
        assert!(judged(|claims| claims["aud"] = json!(["medconsult"])).is_ok());
        let several = json!(["other", "medconsult"]);
        assert!(judged(|claims| claims["aud"] = several.clone()).is_err());
        let named = |claims: &mut Value| {
            claims["aud"] = several.clone();
            claims["azp"] = json!("medconsult");
        };
        assert!(judged(named).is_ok());
        for unverified in [json!(false), json!("true"), Value::Null] {
            assert_eq!(
                judged(|claims| claims["email_verified"] = unverified).unwrap().email,
                None
            );
        }
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://id.clinic.example/")),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("azp", json!("other")),
            ("nonce", json!("m")),
            ("nonce", Value::Null),
            ("sub", json!("")),
            ("sub", json!("x".repeat(256))),
            ("exp", json!(940)),
            ("exp", Value::Null),
            ("iat", json!(200)),
            ("iat", json!(1100)),
        ] {
            assert!(judged(|claims| claims[name] = value.clone()).is_err(), "{name} {value}");
        }
    }
}
