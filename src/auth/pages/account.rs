//! A person's own account: password, address, second factor, sessions, closing it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::browser::{Browser, Submitted};
use super::{PageError, Result, alert, field, see_other};
use crate::auth::accounts::{Account, Role, fold_email};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::auth::passwords::check_strength;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, tokens};

/// `GET /auth/account`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = browser.signed_in()?.clone();
    overview(&auth, &browser, &session, None).await
}

async fn overview(auth: &AuthServer, browser: &Browser, session: &Session, wrong: Option<&str>) -> Result<Response> {
    let account = &session.account;
    let sessions = Session::list(&auth.pool, auth.clock.now(), &account.id).await?;
    let applications = tokens::applications_of(&auth.pool, auth.clock.now(), &account.id).await?;
    Ok(browser.page("Your account", html! {
        (alert(wrong))
        p { (account.given) " " (account.family) ", " (account.role) br; (account.email) }
        @if account.role == Role::Admin { p { a href="/auth/invite" { "Invite somebody" } } }
        (browser.form("/auth/sign-out", "Sign out", html! {}))

        h2 { "Password" }
        (browser.form("/auth/account/password", "Change it", field("New password", "password", "password", "new-password", "")))

        h2 { "E-mail address" }
        (browser.form("/auth/account/email", "Change it", field("New e-mail address", "email", "email", "email", "")))

        h2 { "Second factor" }
        (second_factor(browser, account))

        h2 { "Where you are signed in" }
        ul {
            @for listed in &sessions {
                li class="row" {
                    span {
                        (listed.device) br;
                        span class="hint" {
                            @if listed.id == session.id { "this browser" } @else { "last used " (listed.last_seen_at.strftime("%F %H:%M UTC")) }
                        }
                    }
                    (browser.form("/auth/account/end-session", "Sign it out", html! {
                        input type="hidden" name="session" value=(listed.id);
                    }))
                }
            }
        }
        (browser.form("/auth/account/end-sessions", "Sign out everywhere else", html! {}))

        h2 { "Applications with access" }
        @if applications.is_empty() { p { "There are none." } }
        ul {
            @for (name, client) in &applications {
                li class="row" {
                    span { (name) }
                    (browser.form("/auth/account/end-application", "Take its access away", html! {
                        input type="hidden" name="client" value=(client);
                    }))
                }
            }
        }

        h2 { "Close the account" }
        p { "Nobody can sign in with it any more. Your records stay with the practice, which must keep them." }
        (browser.form("/auth/account/close", "Close my account", html! {}))
    }))
}

fn second_factor(browser: &Browser, account: &Account) -> Markup {
    html! {
        @if account.has_totp {
            p { "An authenticator app is set up. " a href="/auth/second-factor/set-up" { "Set up another one" } }
            (browser.form("/auth/second-factor/backup-codes", "Make new backup codes", html! {}))
            @if !account.role.needs_second_factor() {
                (browser.form("/auth/second-factor/remove", "Remove the authenticator", html! {}))
            }
        } @else {
            p { "There is none. " a href="/auth/second-factor/set-up" { "Set up an authenticator app" } }
        }
    }
}

/// `POST /auth/account/password`
pub async fn password(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth)?;
    let account = &session.account;
    let password = form_sent.get("password");
    if let Err(sentence) = check_strength(password, &[&account.email, &account.given, &account.family]) {
        let mut response = overview(&auth, &form_sent.browser, session, Some(&sentence)).await?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let hash = auth.passwords.hash(password).await?;
    let mut transaction = auth.pool.begin().await?;
    // Every session ends, this one too: whoever else knew the old password is out.
    Account::set_password(&mut *transaction, &account.id, &hash).await?;
    let notice = Mail::notice(
        &account.email,
        &auth.issuer,
        "The password of your MedConsult account was changed.",
    );
    notice.enqueue(&mut transaction, &auth.vault, auth.clock.now()).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/sign-in"))
}

/// `POST /auth/account/email`
pub async fn email(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth)?;
    let account = &session.account;
    let Some(email) = fold_email(form_sent.get("email")) else {
        return overview(
            &auth,
            &form_sent.browser,
            session,
            Some("That is not an e-mail address."),
        )
        .await;
    };
    let now = auth.clock.now();
    let link = Link {
        email: email.clone(),
        purpose: Purpose::ChangeEmail {
            account: account.id.clone(),
        },
    };
    let mut transaction = auth.pool.begin().await?;
    let secret = link.store(&mut *transaction, now).await?;
    let what = "Somebody asked for another e-mail address for your MedConsult account.";
    Mail::change_email(&email, &auth.issuer, &secret)
        .enqueue(&mut transaction, &auth.vault, now)
        .await?;
    Mail::notice(&account.email, &auth.issuer, what)
        .enqueue(&mut transaction, &auth.vault, now)
        .await?;
    transaction.commit().await?;
    Ok(see_other("/auth/check-mail"))
}

/// `POST /auth/account/end-session`
pub async fn end_session(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    Session::end(&auth.pool, &session.account.id, form_sent.get("session")).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/account/end-sessions`
pub async fn end_sessions(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    form_sent.browser.signed_in()?.end_others(&auth.pool).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/account/end-application`
pub async fn end_application(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    tokens::end_application(&auth.pool, &session.account.id, form_sent.get("client")).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/account/close`
pub async fn close(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth)?;
    Account::deactivate(&auth.pool, &session.account.id).await?;
    Err(PageError::SignIn)
}
