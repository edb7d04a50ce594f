//! A person's own account: where they are signed in, which applications they let in, closing it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::browser::{Browser, Submitted};
use super::{Result, see_other};
use crate::auth::accounts::{Account, ClosedBy, Role};
use crate::auth::mail::Mail;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, tokens};
use crate::fhir::trail::Kind;

/// `GET /auth/account`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = browser.signed_in()?;
    let account = &session.account;
    let sessions = Session::list(&auth.pool, auth.clock.now(), &account.id).await?;
    let applications = tokens::applications_of(&auth.pool, auth.clock.now(), &account.id).await?;
    Ok(browser.page("Your account", html! {
        p { (account.given) " " (account.family) ", " (account.role) br; (account.email) }
        nav aria-label="Your account" {
            ul {
                li { a href="/auth/account/details" { "Your details" } }
                    li { a href="/auth/account/security" { "Password, address and factors" } }
                @if account.role == Role::Admin { li { a href="/auth/invite" { "Invite somebody" } } }
            }
        }
        (browser.form("/auth/sign-out", "Sign out", html! {}))

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
        p { a href="/auth/apps" { "Open an application" } }
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
        p {
            "Nobody can sign in with it any more. For a month you can open it again by a mail. Your records stay with the practice, \
             which must keep them."
        }
        (browser.form("/auth/account/close", "Close my account", html! {}))
    }))
}

/// `POST /auth/account/end-session`
pub async fn end_session(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    Session::end(&auth.pool, &session.account.id, form_sent.get("session")).await?;
    note_logout(&auth, &form_sent.browser, session).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/account/end-sessions`
pub async fn end_sessions(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    session.end_others(&auth.pool).await?;
    note_logout(&auth, &form_sent.browser, session).await?;
    Ok(see_other("/auth/account"))
}

async fn note_logout(auth: &AuthServer, browser: &Browser, session: &Session) -> Result<()> {
    let event = browser.event_of(Kind::Logout, &session.account);
    Ok(auth.fhir.trail.note(event.detail("of", "other browsers")).await?)
}

/// `POST /auth/account/end-application`
pub async fn end_application(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    tokens::end_application(&auth.pool, &session.account.id, form_sent.get("client")).await?;
    Ok(see_other("/auth/account"))
}

/// `POST /auth/account/close`
pub async fn close(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account")?;
    let account = &session.account;
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    Account::close(&mut transaction, now, &account.id, ClosedBy::Owner).await?;
    let event = form_sent.browser.event_of(Kind::Account, account);
    let event = event.detail("change", "closed");
    auth.fhir.trail.write(&mut transaction, &[event]).await?;
    Mail::goodbye(&account.email, &auth.issuer)
        .enqueue(&mut transaction, &auth, &form_sent.browser.languages)
        .await?;
    transaction.commit().await?;
    Ok(see_other("/auth/sign-in"))
}
