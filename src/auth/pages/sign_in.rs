//! Signing in and out.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::html;

use super::browser::{Browser, Submitted};
use super::entry::{Next, enter, safe_next};
use super::{PageError, Result, alert, field, passkeys, provider, see_other};
use crate::auth::accounts::{Account, fold_email};
use crate::auth::factors::Shown;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, throttle};
use crate::base::address::household;
use crate::fhir::trail::Kind;

/// `GET /auth/sign-in`
pub async fn show(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    Query(Next { next }): Query<Next>,
) -> Response {
    form(&auth, &browser, "", safe_next(&next), None)
}

pub(super) fn form(auth: &AuthServer, browser: &Browser, email: &str, next: &str, wrong: Option<&str>) -> Response {
    let going_on = html! { input type="hidden" name="next" value=(next); };
    let content = browser.form(
        "/auth/sign-in",
        "Sign in",
        html! {
            (field("E-mail address", "email", "email", "username", email))
            (field("Password", "password", "password", "current-password", ""))
            (going_on)
        },
    );
    browser.page_with_passkeys(
        "Sign in",
        html! {
            (alert(wrong))
            (content)
            (passkeys::show_form(auth, browser, "/auth/passkeys/sign-in", "Sign in with a passkey", going_on))
            (provider::sign_in_links(auth, next))
            p { a href="/auth/forgot" { "Forgot your password?" } }
            p { a href="/auth/sign-up" { "Open an account" } }
        },
    )
}

/// `POST /auth/sign-in`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let next = safe_next(form_sent.get("next"));
    let email = fold_email(form_sent.get("email")).unwrap_or_default();
    if let Some((account, kept)) = right_password(&auth, browser, &email, form_sent.get("password")).await?
        && let Some(response) = enter(&auth, browser, &account, Some(&kept), &Shown::password(), next).await?
    {
        return Ok(response);
    }
    let wrong = Some("The address or the password is wrong.");
    let mut response = form(&auth, browser, form_sent.get("email"), next, wrong);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

/// The account and the hash of its password, if this is the password. Attempts are counted before they are judged, and take
/// the same time for an address without an account.
pub(super) async fn right_password(
    auth: &AuthServer,
    browser: &Browser,
    email: &str,
    password: &str,
) -> Result<Option<(Account, String)>> {
    let now = auth.clock.now();
    let allowed = throttle::PASSWORDS_FROM
        .allows(&auth.pool, now, &household(browser.address).to_string())
        .await?
        && throttle::PASSWORDS.allows(&auth.pool, now, email).await?;
    if !allowed {
        return Err(PageError::Throttled);
    }
    let found = Account::by_email(&auth.pool, email).await?;
    let kept = found.as_ref().map(|(_, kept)| kept.clone());
    if !auth.passwords.verify(password, kept).await? {
        let event = match &found {
            Some((account, _)) => browser.event_of(Kind::Login, account),
            None => browser.event(Kind::Login),
        };
        auth.fhir.trail.note(event.refused("password")).await?;
        return Ok(None);
    }
    throttle::PASSWORDS.forget(&auth.pool, email).await?;
    Ok(found)
}

/// `POST /auth/sign-out`
pub async fn sign_out(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    if let Some(session) = &form_sent.browser.session {
        Session::end(&auth.pool, &session.account.id, &session.id).await?;
        let event = form_sent.browser.event_of(Kind::Logout, &session.account);
        auth.fhir.trail.note(event).await?;
    }
    let mut response = see_other("/auth/sign-in");
    let headers = response.headers_mut();
    form_sent.browser.set_cookie(headers, "");
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}
