//! Proving it again: before something that protects the account is changed, and when an application asks for it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::browser::{Browser, Submitted};
use super::entry::{self, safe_next};
use super::second_factor::{mail_form, right_code};
use super::sign_in::right_password;
use super::{Result, alert, field, passkeys, see_other};
use crate::auth::AuthServer;
use crate::auth::factors::Shown;
use crate::auth::sessions::Session;
use crate::fhir::step_up::Assurance;

/// What is to be proved, and why.
#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    next: String,
    /// `passkey` where nothing less will do.
    #[serde(default)]
    by: String,
}

/// `GET /auth/prove`
pub async fn show(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    Query(Asked { next, by }): Query<Asked>,
) -> Result<Response> {
    let session = browser.signed_in()?;
    let only_passkey = by == "passkey" && session.account.passkeys > 0;
    Ok(form(&auth, &browser, session, (safe_next(&next), only_passkey), None))
}

fn form(
    auth: &AuthServer,
    browser: &Browser,
    session: &Session,
    (next, only_passkey): (&str, bool),
    wrong: Option<&str>,
) -> Response {
    let account = &session.account;
    let going_on = html! { input type="hidden" name="next" value=(next); };
    // Without a second factor of this kind there is nothing to type.
    let by_app = account.has_totp;
    let by_mail = auth.factors.mails_codes_to(account);
    let content = browser.form(
        "/auth/prove",
        "Go on",
        html! {
            (field("Password", "password", "password", "current-password", ""))
            @if by_app || by_mail || account.passkeys > 0 {
                (field(if by_app { "Code of your authenticator app" } else { "Code" }, "code", "text", "one-time-code", ""))
            }
            (going_on)
        },
    );
    browser.page_with_passkeys(
        "Is it you?",
        html! {
            p { "What you want to do asks for a fresh proof of who you are." }
            (alert(wrong))
            @if account.passkeys > 0 {
                (passkeys::show_form(auth, browser, "/auth/passkeys/prove", "Use a passkey", going_on))
            }
            @if !only_passkey && auth.factors.assurance_of(account) < Assurance::Passkey { (content) }
            @if by_mail && !only_passkey { (mail_form(browser, "/auth/prove", next)) }
        },
    )
}

/// `POST /auth/prove`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.signed_in()?;
    let account = &session.account;
    let next = safe_next(form_sent.get("next"));
    let known = right_password(&auth, browser, &account.email, form_sent.get("password")).await?;
    let shown = match known {
        None => None,
        Some(_) if !auth.factors.has_second_factor(account) => Some(Shown::password()),
        Some(_) => right_code(&auth, browser, session, form_sent.get("code"))
            .await?
            .map(|kind| Shown::code_after(&Shown::password().methods, kind)),
    };
    let Some(shown) = shown else {
        let mut response = form(&auth, browser, session, (next, false), Some("That is not right."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let secret = Session::proved(&auth.pool, auth.clock.now(), &session.id, &shown, true).await?;
    entry::note(&auth, browser, session, &shown).await?;
    let mut response = see_other(next);
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(response)
}
