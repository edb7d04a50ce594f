//! Signing in, proving it again before something important, and signing out.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::browser::{Browser, Submitted};
use super::{PageError, Result, alert, field, see_other};
use crate::auth::accounts::{Account, fold_email};
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, factors, throttle};

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
pub async fn show(browser: Browser, Query(Next { next }): Query<Next>) -> Response {
    form(&browser, "", safe_next(&next), None)
}

fn form(browser: &Browser, email: &str, next: &str, wrong: Option<&str>) -> Response {
    let content = browser.form(
        "/auth/sign-in",
        "Sign in",
        html! {
            (field("E-mail address", "email", "email", "username", email))
            (field("Password", "password", "password", "current-password", ""))
            input type="hidden" name="next" value=(next);
        },
    );
    browser.page(
        "Sign in",
        html! {
            (alert(wrong))
            (content)
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
    let Some(account) = right_password(&auth, browser, &email, form_sent.get("password")).await? else {
        let mut response = form(
            browser,
            form_sent.get("email"),
            next,
            Some("The address or the password is wrong."),
        );
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let now = auth.clock.now();
    let is_remembered = match &browser.remembered {
        Some(secret) => factors::is_remembered(&auth.pool, now, &account.id, secret).await?,
        None => false,
    };
    let complete = match account.has_totp {
        true => is_remembered,
        false => !account.role.needs_second_factor(),
    };
    if let Some(old) = &browser.session {
        Session::end(&auth.pool, &old.account.id, &old.id).await?;
    }
    let secret = Session::begin(&auth.pool, &auth.ids, now, &account.id, complete, &browser.device).await?;
    let mut response = match complete {
        true => see_other(next),
        false if account.has_totp => see_other(&format!("/auth/second-factor?next={}", encoded(next))),
        false => see_other("/auth/second-factor/set-up"),
    };
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(response)
}

pub(super) fn encoded(next: &str) -> String {
    form_urlencoded::byte_serialize(next.as_bytes()).collect()
}

/// The account, if this is its password. Attempts are counted before they are judged, and take the same time for an
/// address without an account.
async fn right_password(auth: &AuthServer, browser: &Browser, email: &str, password: &str) -> Result<Option<Account>> {
    let now = auth.clock.now();
    let allowed = throttle::PASSWORDS_FROM
        .allows(&auth.pool, now, &browser.address.to_string())
        .await?
        && throttle::PASSWORDS.allows(&auth.pool, now, email).await?;
    if !allowed {
        return Err(PageError::Throttled);
    }
    let (account, kept) = Account::by_email(&auth.pool, email).await?.unzip();
    if !auth.passwords.verify(password, kept).await? {
        return Ok(None);
    }
    throttle::PASSWORDS.forget(&auth.pool, email).await?;
    Ok(account)
}

/// `GET /auth/prove`
pub async fn show_prove(browser: Browser) -> Result<Response> {
    let has_totp = browser.signed_in()?.account.has_totp;
    Ok(prove_form(&browser, has_totp, None))
}

fn prove_form(browser: &Browser, has_totp: bool, wrong: Option<&str>) -> Response {
    let content = browser.form(
        "/auth/prove",
        "Go on",
        html! {
            (field("Password", "password", "password", "current-password", ""))
            @if has_totp { (field("Code of your authenticator app", "code", "text", "one-time-code", "")) }
        },
    );
    browser.page(
        "Is it you?",
        html! {
            p { "What you want to do protects your account, so please prove once more who you are." }
            (alert(wrong))
            (content)
        },
    )
}

/// `POST /auth/prove`
pub async fn submit_prove(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.signed_in()?;
    let account = &session.account;
    let known = right_password(&auth, browser, &account.email, form_sent.get("password")).await?;
    let proved = known.is_some()
        && (!account.has_totp || super::second_factor::right_code(&auth, &account.id, form_sent.get("code")).await?);
    if !proved {
        let mut response = prove_form(browser, account.has_totp, Some("That is not right."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    Session::proved(&auth.pool, auth.clock.now(), &session.id).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/sign-out`
pub async fn sign_out(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    if let Some(session) = &form_sent.browser.session {
        Session::end(&auth.pool, &session.account.id, &session.id).await?;
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
