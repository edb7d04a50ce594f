//! Letting somebody in who has shown who they are, and where they go from there.

use axum::response::Response;
use serde::Deserialize;

use super::browser::Browser;
use super::{Result, see_other};
use crate::auth::AuthServer;
use crate::auth::accounts::Account;
use crate::auth::factors::policy::{Demand, Missing};
use crate::auth::factors::{Shown, devices};
use crate::auth::sessions::{NewSession, Session};
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
