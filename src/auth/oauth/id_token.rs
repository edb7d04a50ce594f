//! Who signed in, told to an application in a form that it can check (<https://openid.net/specs/openid-connect-core-1_0.html>).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::OAuthError;
use crate::auth::AuthServer;
use crate::auth::accounts::{self, Account};
use crate::auth::keys;
use crate::auth::scopes::{Kind, Scopes};
use crate::auth::tokens::Redeemed;
use crate::base::crypto;

/// How long an application may take to read it, in seconds.
const LIFE: i64 = 300;

/// The id_token of a grant.
///
/// # Errors
/// When the database does not answer, or nothing can be signed.
pub async fn make(
    auth: &AuthServer,
    grant: &Redeemed,
    access_token: &str,
    nonce: Option<&str>,
) -> Result<String, OAuthError> {
    let sql = format!(
        "SELECT {} FROM account a WHERE a.id = $1 AND a.active",
        accounts::COLUMNS
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&grant.account)
        .fetch_optional(&auth.pool)
        .await?;
    let account = Account::of_row(&row.ok_or(OAuthError::InvalidGrant)?)?;
    let mut claims = about(
        auth,
        &grant.scopes,
        &account.id,
        &account.profile,
        &account.given,
        &account.family,
    );
    let now = auth.clock.now().as_second();
    claims["iss"] = json!(auth.issuer);
    claims["aud"] = json!(grant.client);
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + LIFE);
    claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&crypto::digest(access_token)[..16]));
    if let Some(proof) = grant.proof {
        claims["auth_time"] = json!(proof.at.as_second());
        claims["acr"] = json!(proof.assurance.acr());
    }
    if let Some(methods) = &grant.methods {
        claims["amr"] = json!(methods);
    }
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    keys::sign(auth, &claims).await.map_err(|error| {
        tracing::error!(%error, "an id_token could not be signed");
        OAuthError::Unavailable
    })
}

/// What is told about a person, as far as the scopes allow.
pub fn about(auth: &AuthServer, scopes: &Scopes, account: &str, profile: &str, given: &str, family: &str) -> Value {
    let mut claims = json!({"sub": account});
    if scopes.has(Kind::FhirUser) {
        claims["fhirUser"] = json!(format!("{}/{profile}", auth.fhir.settings.base_url));
    }
    if scopes.has(Kind::Profile) {
        claims["name"] = json!(format!("{given} {family}"));
        claims["given_name"] = json!(given);
        claims["family_name"] = json!(family);
    }
    claims
}
