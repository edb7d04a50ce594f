//! Passkeys: signing in by one, showing one as the second factor, making, naming and removing them.
//!
//! The challenge is part of the page, and the answer part of a form, so that these forms are protected as all others are; the
//! script between them only asks the authenticator.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use maud::{Markup, html};

use super::browser::{Browser, Submitted};
use super::entry::{self, safe_next};
use super::second_factor::{check_enough, codes_page, may_set_up};
use super::sign_in;
use super::{PageError, Problems, Result, see_other, tell};
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, tidy_name};
use crate::auth::factors::passkeys::{self, Answer, Challenge, Refused, RelyingParty};
use crate::auth::factors::policy::Demand;
use crate::auth::factors::{Shown, paper};
use crate::auth::sessions::Session;
use crate::fhir::trail::Kind;

impl From<Refused> for PageError {
    fn from(refused: Refused) -> PageError {
        match refused {
            Refused::NotRight => PageError::NotOurForm,
            Refused::NoMore => PageError::NoMorePasskeys,
            Refused::Database(error) => error.into(),
        }
    }
}

fn relying_party(auth: &AuthServer) -> Result<&RelyingParty> {
    auth.relying_party.as_ref().ok_or(PageError::NoPasskeys)
}

/// A form whose answer an authenticator gives; hidden until the script finds that the browser can ask one.
fn form(browser: &Browser, action: &str, button: &str, way: &str, challenge: &Challenge, fields: Markup) -> Markup {
    html! {
        form method="post" action=(action) data-passkey=(way) data-options=(challenge.options) hidden {
            input type="hidden" name="form_token" value=(browser.form_token());
            input type="hidden" name="challenge" value=(STANDARD.encode(&challenge.sealed));
            input type="hidden" name="answer";
            (fields)
            p class="alert" role="alert" {}
            button { (button) }
        }
    }
}

/// A form by which a passkey is shown; nothing where there are none.
pub(super) fn show_form(auth: &AuthServer, browser: &Browser, action: &str, button: &str, fields: Markup) -> Markup {
    let party = auth.relying_party.as_ref();
    let challenge = party.and_then(|party| party.ask(&auth.vault, &browser.challenge_place()).ok());
    html! {
        @if let Some(challenge) = &challenge { (form(browser, action, button, "get", challenge, fields)) }
    }
}

/// The account whose passkey was shown, or `None` if it was not right.
async fn shown_account(auth: &AuthServer, form_sent: &Submitted) -> Result<Option<String>> {
    let sealed = STANDARD.decode(form_sent.get("challenge")).unwrap_or_default();
    let place = form_sent.browser.challenge_place();
    let answer = Answer {
        place: &place,
        sealed: &sealed,
        json: form_sent.get("answer"),
    };
    let mut transaction = auth.pool.begin().await?;
    let taken = relying_party(auth)?
        .take(&mut transaction, &auth.vault, auth.clock.now(), answer)
        .await;
    match taken {
        Ok(account) => {
            transaction.commit().await?;
            Ok(Some(account))
        }
        Err(Refused::Database(error)) => Err(error.into()),
        Err(Refused::NotRight | Refused::NoMore) => Ok(None),
    }
}

/// `POST /auth/passkeys/sign-in`
pub async fn sign_in(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let next = safe_next(form_sent.get("next"));
    let account = match shown_account(&auth, &form_sent).await? {
        Some(id) => Account::by_id(&auth.pool, &id).await?,
        None => None,
    };
    if let Some(account) = account
        && let Some(response) = entry::enter(&auth, browser, &account, None, &Shown::passkey(), next).await?
    {
        return Ok(response);
    }
    auth.fhir
        .trail
        .note(browser.event(Kind::Login).refused("passkey"))
        .await?;
    let wrong = Some("This passkey is not known here. Was it removed from your account?");
    let mut response = sign_in::form(&auth, browser, "", next, wrong);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

/// `POST /auth/passkeys/prove`: as the second factor, and to prove it again.
pub async fn prove(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.begun()?;
    let account = &session.account;
    if shown_account(&auth, &form_sent).await?.as_ref() != Some(&account.id) {
        let event = browser.event_of(Kind::Login, account).refused("passkey");
        auth.fhir.trail.note(event).await?;
        return Err(PageError::OtherPasskey);
    }
    let now = auth.clock.now();
    // Also where the password came first: a passkey is as much without it.
    let secret = Session::proved(&auth.pool, now, &session.id, &Shown::passkey(), true).await?;
    entry::note(&auth, browser, session, &Shown::passkey()).await?;
    let mut response = see_other(safe_next(form_sent.get("next")));
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(response)
}

/// `GET /auth/passkeys`: make one.
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = may_set_up(&auth, &browser)?;
    new_form(&auth, &browser, session, &Problems::default()).await
}

async fn new_form(auth: &AuthServer, browser: &Browser, session: &Session, problems: &Problems) -> Result<Response> {
    let party = relying_party(auth)?;
    let place = browser.challenge_place();
    let challenge = party
        .ask_for_new(&auth.pool, &auth.vault, &session.account, &place)
        .await?;
    let fields = problems.field("What to call it, as in “My phone”", "name", "text", "off", "");
    let may_use_app = auth.factors.demand(session.account.role) != Demand::Passkey;
    Ok(browser.page_with_passkeys(
        "Make a passkey",
        html! {
            (problems.summary())
            p {
                "A passkey is kept by your phone, computer or security key, which asks for your fingerprint, your face or a PIN. \
                 It lets you in by itself, and no other site can ask for it."
            }
            (form(browser, "/auth/passkeys", "Make it", "create", &challenge, fields))
            noscript { p class="alert" { "Passkeys need JavaScript." } }
            @if may_use_app {
                p { a href="/auth/second-factor/set-up" { "Use an authenticator app instead" } }
            }
        },
    ))
}

/// `POST /auth/passkeys`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = may_set_up(&auth, browser)?;
    let account = &session.account;
    let Some(name) = tidy_name(form_sent.get("name")) else {
        return new_form(
            &auth,
            browser,
            session,
            &Problems::one("name", "Give it a name of up to 100 characters."),
        )
        .await;
    };
    let sealed = STANDARD.decode(form_sent.get("challenge")).unwrap_or_default();
    let place = browser.challenge_place();
    let answer = Answer {
        place: &place,
        sealed: &sealed,
        json: form_sent.get("answer"),
    };
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    relying_party(&auth)?
        .take_new(&mut transaction, &auth.vault, now, account, answer, &name)
        .await?;
    crate::auth::factors::changed(&mut transaction, &account.id).await?;
    let is_first = !account.has_totp && account.passkeys == 0;
    let codes = match is_first {
        true => paper::renew(&mut transaction, &account.id).await?,
        false => Vec::new(),
    };
    // Making it took what showing it takes.
    let secret = Session::proved(&mut *transaction, now, &session.id, &Shown::passkey(), true).await?;
    tell(&auth, &form_sent.browser, &mut transaction, account, "passkey added").await?;
    transaction.commit().await?;
    let mut response = match is_first {
        true => codes_page(browser, &codes),
        false => see_other("/auth/account/security"),
    };
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(response)
}

fn id_of(form_sent: &Submitted) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(form_sent.get("passkey"))
        .map_err(|_| PageError::NotOurForm)
}

/// `POST /auth/passkeys/rename`
pub async fn rename(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    let name = tidy_name(form_sent.get("name")).ok_or(PageError::NotOurForm)?;
    passkeys::rename(&auth.pool, &session.account.id, &id_of(&form_sent)?, &name).await?;
    Ok(see_other("/auth/account/security"))
}

/// `POST /auth/passkeys/remove`
pub async fn remove(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    let after = Account {
        passkeys: account.passkeys - 1,
        ..account.clone()
    };
    check_enough(&auth, &after)?;
    if auth.factors.demand(account.role) == Demand::Passkey && after.passkeys == 0 {
        return Err(PageError::Forbidden);
    }
    let mut transaction = auth.pool.begin().await?;
    if passkeys::remove(&mut transaction, &account.id, &id_of(&form_sent)?).await? {
        tell(&auth, &form_sent.browser, &mut transaction, account, "passkey removed").await?;
    }
    transaction.commit().await?;
    Ok(see_other("/auth/account/security"))
}

/// The passkeys of an account, each with what can be done with it.
pub(super) fn list(browser: &Browser, listed: &[passkeys::Listed]) -> Markup {
    html! {
        ul {
            @for passkey in listed {
                @let id = URL_SAFE_NO_PAD.encode(&passkey.id);
                li {
                    span {
                        (passkey.name) br;
                        span class="hint" {
                            "made on " (passkey.created_at.strftime("%F"))
                            @if let Some(used) = passkey.last_used_at { ", last used on " (used.strftime("%F")) }
                        }
                    }
                    div class="row" {
                        (browser.form("/auth/passkeys/rename", "Rename it", html! {
                            input type="hidden" name="passkey" value=(id);
                            input name="name" value=(passkey.name) required maxlength="100" aria-label={ "New name of " (passkey.name) };
                        }))
                        (browser.form("/auth/passkeys/remove", "Remove it", html! {
                            input type="hidden" name="passkey" value=(id);
                        }))
                    }
                }
            }
        }
    }
}
