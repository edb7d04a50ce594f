//! A person's own account: where they are signed in, which applications they let in, closing it.

use std::borrow::Cow;
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
        ul class="choices" {
            @for listed in &sessions {
                li class="row" {
                    span {
                        span title=(listed.device) { (browser_name(&listed.device)) } br;
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
        div class="row" { (browser.form("/auth/account/end-sessions", "Sign out everywhere else", html! {})) }

        h2 { "Applications with access" }
        p { a href="/auth/apps" { "Open an application" } }
        @if applications.is_empty() { p { "There are none." } }
        ul class="choices" {
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
        div class="row" { (browser.form("/auth/account/close", "Close my account", html! {})) }
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

/// What people call a browser and what it runs on, by its User-Agent. Browsers name their forerunners as well, so the order matters.
/// What is not known is shown as it calls itself.
fn browser_name(user_agent: &str) -> Cow<'_, str> {
    let named = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(word, _)| user_agent.contains(word));
        found.map(|(_, name)| *name)
    };
    let browser = named(&[
        ("Firefox/", "Firefox"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = named(&[
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "a Mac"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}").into(),
        (Some(browser), None) => browser.into(),
        _ => user_agent.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::browser_name;

    #[test]
    fn browsers_have_the_names_people_know() {
        let mozilla = |rest: &str| format!("Mozilla/5.0 {rest}");
        for (user_agent, name) in [
            (
                mozilla("(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
                "Firefox on Linux",
            ),
            (
                mozilla(
                    "(Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36 Edg/141.0",
                ),
                "Edge on Windows",
            ),
            (
                mozilla(
                    "(Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Mobile Safari/537.36",
                ),
                "Chrome on Android",
            ),
            (
                mozilla(
                    "(iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/26.0 Mobile Safari/604.1",
                ),
                "Safari on an iPhone",
            ),
            ("curl/8.5.0".to_owned(), "curl/8.5.0"),
        ] {
            assert_eq!(browser_name(&user_agent), name);
        }
    }
}
