//! From the token of a request to its caller (<https://www.rfc-editor.org/rfc/rfc6750>).
//!
//! | | status | `WWW-Authenticate` |
//! |---|---|---|
//! | no token | 401 | `Bearer` |
//! | two headers, another scheme, a malformed, unknown, expired or withdrawn token | 401 | with `error="invalid_token"` |
//! | a token that allows no access to records | 403 | with `error="insufficient_scope"` |
//!
//! A token is taken from the header `Authorization` only: an address is kept in logs and histories.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::AuthServer;
use super::recognition::{self, Recognised, TokenHash, Withdrawals};
use super::sessions::Session;
use super::tokens::{self, Live};
use crate::base::crypto;
use crate::fhir::access::{Role, ScopeContext, ScopeGrant, holders};
use crate::fhir::caller::{Caller, Granted, Permissions, User};
use crate::fhir::error::{FhirError, Issue, IssueType};

/// Longest token that is looked up. Ours have 43 characters.
const LONGEST: usize = 200;
/// What our own pages are called where a client is named.
const OURSELVES: &str = "medconsult";

/// Why nobody is let in.
#[derive(Debug)]
pub enum Refusal {
    NoToken,
    TwoHeaders,
    /// The header holds something else.
    Malformed,
    /// Unknown, expired or withdrawn: which of these is nobody's business.
    NotValid,
    /// Good, and not given for this.
    InsufficientScope,
    /// The database does not answer.
    Unavailable(FhirError),
}

impl From<FhirError> for Refusal {
    fn from(error: FhirError) -> Refusal {
        Refusal::Unavailable(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let unauthorized = |text| FhirError::new(StatusCode::UNAUTHORIZED, Issue::error(IssueType::Login, text));
        let (error, challenge) = match self {
            Refusal::NoToken => (unauthorized("This server needs an access token."), "Bearer"),
            Refusal::TwoHeaders => (
                unauthorized("There are two Authorization headers."),
                "Bearer error=\"invalid_token\"",
            ),
            Refusal::Malformed => (
                unauthorized("The Authorization header holds no bearer token."),
                "Bearer error=\"invalid_token\"",
            ),
            Refusal::NotValid => (
                unauthorized("The access token is not valid, or not any more."),
                "Bearer error=\"invalid_token\"",
            ),
            Refusal::InsufficientScope => (
                FhirError::forbidden("The token's scopes do not allow this."),
                "Bearer error=\"insufficient_scope\"",
            ),
            Refusal::Unavailable(error) => return error.into_response(),
        };
        let challenge = HeaderValue::from_static(challenge);
        ([(header::WWW_AUTHENTICATE, challenge)], error).into_response()
    }
}

/// Who asks, by the headers of a request to the FHIR API.
///
/// # Errors
/// [`Refusal`]
pub async fn caller(auth: &AuthServer, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let token = crypto::digest(bearer_token(headers)?.ok_or(Refusal::NoToken)?);
    let now = auth.clock.now();
    if let Some(caller) = auth.recognition.recall(&auth.fhir.store, now, &token).await? {
        return Ok(caller);
    }
    let withdrawals = settled(auth).await?;
    let live = look_up(auth, &token).await?.ok_or(Refusal::NotValid)?;
    let recognised = recognise(auth, live).await?;
    if let Some(withdrawals) = withdrawals {
        auth.recognition.remember(token, withdrawals, recognised.clone());
    }
    Ok(recognised.caller)
}

async fn settled(auth: &AuthServer) -> Result<Option<Withdrawals>, FhirError> {
    let mut lease = auth.fhir.store.fixed().await?;
    let withdrawals = recognition::settled(&mut lease).await?;
    lease.release();
    Ok(withdrawals)
}

/// Whoever holds this token.
///
/// # Errors
/// [`Refusal`] of a token that opens no records.
pub async fn caller_of(auth: &AuthServer, live: Live) -> Result<Caller, Refusal> {
    Ok(recognise(auth, live).await?.caller)
}

async fn recognise(auth: &AuthServer, live: Live) -> Result<Recognised, Refusal> {
    let scopes = live.scopes.grants(live.user.as_ref().map(|user| user.profile.as_str()));
    if scopes.is_empty() {
        return Err(Refusal::InsufficientScope);
    }
    let account = live.user.as_ref().map(|user| user.account.clone());
    let (user, until) = match live.user {
        Some(user) => {
            let (user, until) = user_of(auth, user.role, user.profile, user.person).await?;
            (Some(user), until)
        }
        None => (None, None),
    };
    let caller = Caller::granted(Granted {
        token: live.jti,
        client: live.client,
        account,
        user,
        patient: live.context.patient,
        scopes,
        proof: live.proof,
    });
    Ok(Recognised {
        caller,
        until: until.map_or(live.expires_at, |until| until.min(live.expires_at)),
    })
}

/// Somebody who is signed in, looking for what they may see by our own pages.
///
/// # Errors
/// When the database does not answer.
pub async fn person(auth: &AuthServer, session: &Session) -> Result<Caller, FhirError> {
    let account = &session.account;
    let (user, _) = user_of(auth, account.role, account.profile.clone(), account.person.clone()).await?;
    Ok(Caller::granted(Granted {
        token: session.id.clone(),
        client: OURSELVES.to_owned(),
        account: Some(account.id.clone()),
        user: Some(user),
        patient: None,
        scopes: vec![ScopeGrant {
            context: ScopeContext::User,
            resource_type: None,
            permissions: Permissions::LOOK,
            filter: None,
        }],
        proof: Some(session.proof()),
    }))
}

/// A person, with all that stands for them at the moment, and when that will change by itself.
///
/// # Errors
/// When the database does not answer.
pub async fn user_of(
    auth: &AuthServer,
    role: Role,
    fhir_user: String,
    person: String,
) -> Result<(User, Option<Timestamp>), FhirError> {
    let (store, now) = (&auth.fhir.store, auth.clock.now());
    let mut lease = store.fixed().await?;
    let registry = auth.fhir.search.current();
    let (holders, until) = holders(&mut lease, &registry, store.types(), now, &fhir_user, &person).await?;
    lease.release();
    let user = User {
        role,
        fhir_user,
        person,
        holders,
    };
    Ok((user, until))
}

/// What the token of a request stands for.
///
/// # Errors
/// [`Refusal`]
pub async fn live(auth: &AuthServer, headers: &HeaderMap) -> Result<Live, Refusal> {
    let token = bearer_token(headers)?.ok_or(Refusal::NoToken)?;
    let live = look_up(auth, &crypto::digest(token)).await?;
    live.ok_or(Refusal::NotValid)
}

async fn look_up(auth: &AuthServer, token: &TokenHash) -> Result<Option<Live>, FhirError> {
    let mut lease = auth.fhir.store.fixed().await?;
    let live = tokens::look_up(&mut *lease, auth.clock.now(), token).await?;
    lease.release();
    Ok(live)
}

/// The token of the header, `None` if there is no header.
///
/// # Errors
/// [`Refusal`] of a header that is there and holds none.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::TwoHeaders);
    }
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let is_token = |token: &&str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        (1..=LONGEST).contains(&token.len()) && token.bytes().all(is_allowed)
    };
    token.filter(is_token).map(Some).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(values: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match bearer_token(&headers) {
            Ok(token) => Ok(token.map(str::to_owned)),
            Err(refusal) => Err(refusal.into_response().status().as_u16()),
        }
    }

    #[test]
    fn one_header_holds_one_token() {
        assert_eq!(token_of(&[]), Ok(None));
        assert_eq!(token_of(&["Bearer abc-._~+/="]), Ok(Some("abc-._~+/=".to_owned())));
        assert_eq!(token_of(&["bearer  abc "]), Ok(Some("abc".to_owned())));
        for wrong in [
            "abc",
            "Basic abc",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a\"b",
            "Bearer é",
        ] {
            assert_eq!(token_of(&[wrong]), Err(401), "{wrong}");
        }
        assert_eq!(token_of(&[&format!("Bearer {}", "a".repeat(LONGEST + 1))]), Err(401));
        assert_eq!(token_of(&["Bearer abc", "Bearer abc"]), Err(401));
    }
}
