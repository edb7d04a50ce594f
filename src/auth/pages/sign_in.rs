//! Signing in and out.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::browser::{Browser, Submitted};
use super::{PageError, Result, alert, field, passkeys, provider, see_other};
use crate::auth::accounts::{Account, fold_email};
use crate::auth::factors::policy::{Demand, Missing};
use crate::auth::factors::{Shown, devices};
use crate::auth::sessions::{NewSession, Session};
use crate::auth::{AuthServer, throttle};
use crate::base::address::household;
use crate::fhir::trail::Kind;

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub struct Next {
    #[serde(default)]
    pub next: String,
}

/// A page of ours, whatever somebody wrote into a link: never another site.
pub(super) fn safe_next(next: &str) -> &str {
    let is_ours = next.starts_with("/auth/") && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { next } else { "/auth/account" }
}

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

/// Begins the session of somebody who showed a factor, or both, and sends them on: to what is missing, or to `next`. `None` if
/// the account was closed or its password changed in this moment.
pub(super) async fn enter(
    auth: &AuthServer,
    browser: &Browser,
    account: &Account,
    password: Option<&str>,
    shown: &Shown,
    next: &str,
) -> Result<Option<Response>> {
    let now = auth.clock.now();
    let mut missing = auth.factors.missing(account, shown.assurance);
    if missing == Some(Missing::Show)
        && auth.factors.demand(account.role) != Demand::Passkey
        && let Some(secret) = &browser.remembered
        && devices::is_remembered(&auth.pool, now, &account.id, secret).await?
    {
        missing = None;
    }
    let new = NewSession {
        account: &account.id,
        password,
        shown,
        complete: missing.is_none(),
        device: &browser.device,
    };
    let Some(secret) = Session::begin(&auth.pool, &auth.ids, now, &new).await? else {
        return Ok(None);
    };
    if missing.is_none() {
        let event = browser.event_of(Kind::Login, account);
        let event = event.detail("methods", shown.methods.join(" "));
        auth.fhir.trail.note(event).await?;
    }
    if let Some(old) = &browser.session {
        Session::end(&auth.pool, &old.account.id, &old.id).await?;
    }
    let mut response = match missing {
        None => see_other(next),
        Some(Missing::Show) => see_other(&format!("/auth/second-factor?next={}", encoded(next))),
        Some(Missing::SetUp) => see_other("/auth/second-factor/set-up"),
        Some(Missing::SetUpPasskey) => see_other("/auth/passkeys"),
    };
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(Some(response))
}

/// Records that somebody showed what was still missing, or proved it again.
pub(super) async fn note(auth: &AuthServer, browser: &Browser, session: &Session, shown: &Shown) -> Result<()> {
    let event = browser.event_of(Kind::Login, &session.account);
    let event = event.detail("methods", shown.methods.join(" "));
    let event = match session.complete {
        true => event.detail("again", "yes"),
        false => event,
    };
    Ok(auth.fhir.trail.note(event).await?)
}

/// An address of ours as a parameter of another.
pub fn encoded(next: &str) -> String {
    form_urlencoded::byte_serialize(next.as_bytes()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(safe_next("/auth/authorize?a=1&b=%2F"), "/auth/authorize?a=1&b=%2F");
        for elsewhere in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/auth/",
            "/auth\\..\\x",
            "/authx",
            "/auth/\r\nx",
            "/auth/ x",
        ] {
            assert_eq!(safe_next(elsewhere), "/auth/account", "{elsewhere:?}");
        }
    }
}
