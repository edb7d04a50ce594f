//! The token endpoint (<https://www.rfc-editor.org/rfc/rfc6749#section-3.2>): `POST /auth/token`. What is refused is listed in
//! [`error`](super::error).
//!
//! | `grant_type` | who | gives |
//! |---|---|---|
//! | `authorization_code` | an application, after a person allowed it | access, perhaps refresh and id_token |
//! | `refresh_token` | the same | access and the next refresh token |
//! | `client_credentials` | a back end with keys ([backend services](https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html)) | access |

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::OAuthError;
use super::form::OAuthForm;
use super::{client_auth, id_token, not_to_be_stored};
use crate::auth::AuthServer;
use crate::auth::clients::{Client, Proof};
use crate::auth::launches::Context;
use crate::auth::scopes::{Kind, ScopeError, Scopes};
use crate::auth::tokens::{self, Issued, NewGrant, Redeemed};
use crate::base::crypto;
use crate::fhir::trail::{self, Event, Origin};

pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    origin: Origin,
    headers: HeaderMap,
    form: OAuthForm,
) -> Result<Response, OAuthError> {
    let answered = match form.require("grant_type") {
        Ok("authorization_code") => by_code(&auth, &headers, &form).await,
        Ok("refresh_token") => by_refresh_token(&auth, &headers, &form).await,
        Ok("client_credentials") => by_credentials(&auth, &headers, &form).await,
        Ok(_) => Err(OAuthError::UnsupportedGrantType),
        Err(error) => Err(error),
    };
    let event = match &answered {
        Ok((_, event)) => event.clone(),
        Err(error) => Event::new(trail::Kind::Token).refused(error.clone().into_response().status().as_str()),
    };
    // A token of which there is no record is not handed out.
    let recorded = auth.fhir.trail.note(event.at(&origin)).await;
    recorded.map_err(|_| OAuthError::Unavailable)?;
    answered.map(|(answer, _)| not_to_be_stored(&answer))
}

/// What the trail tells of a token.
fn event(client: &Client, account: Option<&str>, issued: &Issued, scopes: &Scopes, context: &Context) -> Event {
    let event = Event::new(trail::Kind::Token).client(&client.id).token(&issued.jti);
    let event = event.detail("scope", scopes.to_string());
    let event = match account {
        Some(account) => event.account_id(account),
        None => event,
    };
    match &context.patient {
        Some(patient) => event.patient(patient),
        None => event,
    }
}

async fn by_code(auth: &AuthServer, headers: &HeaderMap, form: &OAuthForm) -> Result<(Value, Event), OAuthError> {
    let client = client_auth::authenticate_for_token(auth, headers, form).await?;
    let (code, redirect_uri) = (form.require("code")?, form.require("redirect_uri")?);
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    let Some((grant, bound)) = tokens::redeem_code(&mut transaction, now, code).await? else {
        transaction.commit().await?;
        return Err(OAuthError::InvalidGrant);
    };
    let is_proved = form
        .get("code_verifier")
        .is_some_and(|verifier| fits(verifier, &bound.challenge));
    if grant.expired || grant.client != client.id || redirect_uri != bound.redirect_uri || !is_proved {
        // The code is burnt, and so is all that it could have led to.
        tokens::end_grant(&mut *transaction, &grant.grant).await?;
        transaction.commit().await?;
        return Err(OAuthError::InvalidGrant);
    }
    let issued = tokens::issue(
        &mut transaction,
        &auth.ids,
        now,
        &grant.grant,
        &grant.scopes,
        &grant.scopes,
    )
    .await?;
    transaction.commit().await?;
    let event = event(
        &client,
        grant.account.as_deref(),
        &issued,
        &grant.scopes,
        &grant.context,
    );
    let mut answer = answer(auth, &issued, &grant.scopes, &grant.context);
    if grant.scopes.has(Kind::OpenId) {
        answer["id_token"] = json!(id_token::make(auth, &grant, &issued.access_token, bound.nonce.as_deref()).await?);
    }
    Ok((answer, event))
}

async fn by_refresh_token(
    auth: &AuthServer,
    headers: &HeaderMap,
    form: &OAuthForm,
) -> Result<(Value, Event), OAuthError> {
    let token = form.require("refresh_token")?;
    let client = match client_auth::names_nobody(headers, form) {
        false => client_auth::authenticate_for_token(auth, headers, form).await?,
        // As SMART has it, an application that cannot prove who it is need not say it here: the token is its client's only.
        true => {
            let client = tokens::client_of_refresh_token(&auth.pool, token).await?;
            let client = client.ok_or(OAuthError::InvalidGrant)?;
            let client = Client::find(&auth.pool, &client).await?;
            let client = client.filter(|client| matches!(client.proof, Proof::Public));
            client.ok_or(OAuthError::InvalidClient)?
        }
    };
    let now = auth.clock.now();
    let asked = form.get("scope").map(parse).transpose()?;
    let mut transaction = auth.pool.begin().await?;
    let redeemed = tokens::redeem_refresh_token(&mut transaction, now, &client.id, token).await?;
    let Some(grant) = redeemed.filter(|grant: &Redeemed| !grant.expired) else {
        transaction.commit().await?;
        return Err(OAuthError::InvalidGrant);
    };
    let scopes = match asked {
        Some(asked) if !grant.scopes.cover(&asked) => {
            // Nothing is used up by a question that cannot be answered.
            transaction.rollback().await?;
            return Err(OAuthError::InvalidScope(format!(
                "The grant is for {} only.",
                grant.scopes
            )));
        }
        Some(asked) => asked,
        None => grant.scopes.clone(),
    };
    let issued = tokens::issue(&mut transaction, &auth.ids, now, &grant.grant, &grant.scopes, &scopes).await?;
    transaction.commit().await?;
    let event = event(&client, grant.account.as_deref(), &issued, &scopes, &grant.context);
    let mut answer = answer(auth, &issued, &scopes, &grant.context);
    if scopes.has(Kind::OpenId) {
        answer["id_token"] = json!(id_token::make(auth, &grant, &issued.access_token, None).await?);
    }
    Ok((answer, event))
}

async fn by_credentials(
    auth: &AuthServer,
    headers: &HeaderMap,
    form: &OAuthForm,
) -> Result<(Value, Event), OAuthError> {
    let client = client_auth::authenticate_for_token(auth, headers, form).await?;
    if !client.is_back_end() || !client.has_keys() {
        return Err(OAuthError::UnauthorizedClient);
    }
    let asked = parse(form.require("scope")?)?;
    check_registered(&client, &asked)?;
    if !asked.are_for_back_ends() {
        return Err(OAuthError::InvalidScope(
            "A back end may ask for system scopes only.".to_owned(),
        ));
    }
    asked
        .check_filters(&auth.fhir)
        .map_err(|ScopeError(text)| OAuthError::InvalidScope(text))?;
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    let grant = NewGrant {
        client: &client.id,
        scopes: &asked,
        context: &Context::default(),
        person: None,
    };
    let grant = grant.store(&mut transaction, &auth.ids, now).await?;
    let issued = tokens::issue(&mut transaction, &auth.ids, now, &grant, &asked, &asked).await?;
    transaction.commit().await?;
    let event = event(&client, None, &issued, &asked, &Context::default());
    Ok((answer(auth, &issued, &asked, &Context::default()), event))
}

fn parse(scope: &str) -> Result<Scopes, OAuthError> {
    Scopes::parse(scope).map_err(|ScopeError(text)| OAuthError::InvalidScope(text))
}

fn check_registered(client: &Client, asked: &Scopes) -> Result<(), OAuthError> {
    match client.scopes.cover(asked) {
        true => Ok(()),
        false => Err(OAuthError::InvalidScope(format!(
            "This client is registered for {} only.",
            client.scopes
        ))),
    }
}

/// What a client is given: the tokens, what they allow, and what it is about
/// (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#launch-context-arrives-with-your-access_token>).
fn answer(auth: &AuthServer, issued: &Issued, scopes: &Scopes, context: &Context) -> Value {
    let mut answer = json!({
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in.as_secs(),
        "scope": scopes.to_string(),
    });
    if let Some(token) = &issued.refresh_token {
        answer["refresh_token"] = json!(token);
    }
    if *context != Context::default() {
        context.add_to(&mut answer);
        answer["smart_style_url"] = json!(format!("{}/auth/smart-style.json", auth.issuer));
    }
    answer
}

/// Whether the challenge was made from this verifier (<https://www.rfc-editor.org/rfc/rfc7636#section-4>).
fn fits(verifier: &str, challenge: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_verifier = (43..=128).contains(&verifier.len()) && verifier.bytes().all(is_allowed);
    is_verifier && crypto::equal(&URL_SAFE_NO_PAD.encode(crypto::digest(verifier)), challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_the_standard_fits() {
        // <https://www.rfc-editor.org/rfc/rfc7636#appendix-B>
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(fits(verifier, challenge));
        assert!(!fits(challenge, challenge) && !fits("", challenge) && !fits(&verifier[1..], challenge));
        let long = "a".repeat(129);
        assert!(!fits(&long, &URL_SAFE_NO_PAD.encode(crypto::digest(&long))));
    }
}
