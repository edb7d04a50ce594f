//! Signing in at another OpenID provider, and connecting an account with one. What is checked is told in
//! [`provider`](crate::auth::provider).

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::browser::{Browser, Submitted};
use super::entry::{self, Next, encoded, safe_next};
use super::{PageError, Result, see_other, tell, tell_by};
use crate::auth::accounts::Account;
use crate::auth::factors::Shown;
use crate::auth::mail::Mail;
use crate::auth::provider::links::{self, NotConnected};
use crate::auth::provider::visit::{Answer, Purpose, Returned};
use crate::auth::provider::{Provider, ProviderError};
use crate::auth::{AuthServer, throttle};
use crate::base::address::household;
use crate::fhir::trail::Kind;

impl From<ProviderError> for PageError {
    fn from(error: ProviderError) -> PageError {
        match error {
            ProviderError::Unavailable => PageError::ProviderUnavailable,
            ProviderError::NotAVisit | ProviderError::Denied => PageError::NotAVisit,
            ProviderError::Untrusted(why) => {
                tracing::warn!(why, "the answer of an OpenID provider was not believed");
                PageError::NotAVisit
            }
            ProviderError::Database(error) => error.into(),
        }
    }
}

impl From<NotConnected> for PageError {
    fn from(error: NotConnected) -> PageError {
        match error {
            NotConnected::Taken => PageError::ConnectedElsewhere,
            NotConnected::Database(error) => error.into(),
        }
    }
}

fn named<'a>(auth: &'a AuthServer, name: &str) -> Result<&'a Provider> {
    let provider = auth.providers.iter().find(|provider| provider.settings.name == name);
    provider.ok_or(PageError::NoSuchProvider)
}

/// Links to the providers of this deployment, for the page where people sign in.
pub(super) fn sign_in_links(auth: &AuthServer, next: &str) -> Markup {
    html! {
        @for provider in &auth.providers {
            p {
                a class="button" href={ "/auth/provider/" (provider.settings.name) "?next=" (encoded(next)) } {
                    "Sign in at " (provider.settings.label)
                }
            }
        }
    }
}

/// `GET /auth/provider/{name}`: to the provider, to sign in.
pub async fn start(
    State(auth): State<Arc<AuthServer>>,
    Path(name): Path<String>,
    browser: Browser,
    Query(Next { next }): Query<Next>,
) -> Result<Response> {
    let provider = named(&auth, &name)?;
    let network = household(browser.address).to_string();
    if !throttle::VISITS_FROM
        .allows(&auth.pool, auth.clock.now(), &network)
        .await?
    {
        return Err(PageError::Throttled);
    }
    let purpose = Purpose {
        browser: &browser.secret,
        session: None,
        next: safe_next(&next),
    };
    let there = provider.send(&auth, &purpose).await?;
    Ok(browser.wrapped(see_other(&there)))
}

/// `POST /auth/provider/{name}/connect`: a page with a link to the provider, which leads back to connect the account. Only a
/// form of ours begins this: else somebody could have a person's account connected with a name of their own there.
pub async fn connect(
    State(auth): State<Arc<AuthServer>>,
    Path(name): Path<String>,
    form_sent: Submitted,
) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let provider = named(&auth, &name)?;
    let purpose = Purpose {
        browser: &browser.secret,
        session: Some(&session.id),
        next: "/auth/account/security",
    };
    let there = provider.send(&auth, &purpose).await?;
    let label = &provider.settings.label;
    Ok(browser.page(
        "Connect your account",
        html! {
            p { "Sign in at " (label) " as yourself. From then on you can come in here that way, too." }
            p { a class="button" href=(there) { "Go to " (label) } }
            p { a href="/auth/account/security" { "Back" } }
        },
    ))
}

/// `GET /auth/provider/{name}/callback`: back from the provider.
pub async fn callback(
    State(auth): State<Arc<AuthServer>>,
    Path(name): Path<String>,
    browser: Browser,
    Query(answer): Query<Answer>,
) -> Result<Response> {
    let provider = named(&auth, &name)?;
    let returned = provider.receive(&auth, &browser.secret, &answer).await?;
    match &returned.session {
        Some(session) => connect_account(&auth, &browser, provider, &returned, session).await,
        None => let_in(&auth, &browser, provider, &returned).await,
    }
}

async fn connect_account(
    auth: &AuthServer,
    browser: &Browser,
    provider: &Provider,
    returned: &Returned,
    session_id: &str,
) -> Result<Response> {
    let session = browser.signed_in()?;
    if session.id != session_id {
        return Err(PageError::NotAVisit);
    }
    connect_and_tell(auth, browser, provider, &returned.said.subject, &session.account).await?;
    Ok(see_other(safe_next(&returned.next)))
}

async fn connect_and_tell(
    auth: &AuthServer,
    browser: &Browser,
    provider: &Provider,
    subject: &str,
    account: &Account,
) -> Result<()> {
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    links::connect(&mut *transaction, now, &provider.settings.issuer, subject, &account.id).await?;
    let change = "provider connected";
    let mail = Mail::notice(&account.email, &auth.issuer, change).naming_provider(&provider.settings.label);
    tell_by(auth, browser, &mut transaction, account, (change, mail)).await?;
    transaction.commit().await?;
    Ok(())
}

async fn let_in(auth: &AuthServer, browser: &Browser, provider: &Provider, returned: &Returned) -> Result<Response> {
    let (issuer, said) = (&provider.settings.issuer, &returned.said);
    let mut account = links::account_of(&auth.pool, issuer, &said.subject).await?;
    if account.is_none()
        && provider.settings.connect_by_email
        && let Some(email) = &said.email
        && let Some((found, _)) = Account::by_email(&auth.pool, email).await?
    {
        connect_and_tell(auth, browser, provider, &said.subject, &found).await?;
        account = Some(found);
    }
    let next = safe_next(&returned.next);
    if let Some(account) = account
        && let Some(response) = entry::enter(auth, browser, &account, None, &Shown::provider(), next).await?
    {
        return Ok(response);
    }
    auth.fhir
        .trail
        .note(browser.event(Kind::Login).refused("not connected"))
        .await?;
    let label = &provider.settings.label;
    let mut response = browser.page(
        "Not connected yet",
        html! {
            p { "Nobody has connected their account with this name at " (label) "." }
            p {
                "Do you have an account here? " a href="/auth/sign-in?next=/auth/account/security" { "Sign in" }
                " with its password, and connect it with " (label) "."
            }
        },
    );
    *response.status_mut() = StatusCode::FORBIDDEN;
    Ok(response)
}

/// `POST /auth/account/disconnect`
pub async fn disconnect(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    let mut transaction = auth.pool.begin().await?;
    if links::disconnect(&mut *transaction, &account.id, form_sent.get("issuer")).await? {
        tell(
            &auth,
            &form_sent.browser,
            &mut transaction,
            account,
            "provider disconnected",
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(see_other("/auth/account/security"))
}

/// The providers that an account is connected with, and those that it could be.
pub(super) async fn section(auth: &AuthServer, browser: &Browser, account: &Account) -> Result<Markup> {
    let connected = links::of_account(&auth.pool, &account.id).await?;
    let label_of = |issuer: &str| {
        let provider = auth
            .providers
            .iter()
            .find(|provider| provider.settings.issuer == issuer);
        provider.map_or(issuer.to_owned(), |provider| provider.settings.label.clone())
    };
    let is_connected = |provider: &Provider| connected.iter().any(|(issuer, _)| *issuer == provider.settings.issuer);
    Ok(html! {
        @if !connected.is_empty() || !auth.providers.is_empty() {
            h2 { "Signing in elsewhere" }
            ul {
                @for (issuer, since) in &connected {
                    li class="row" {
                        span { (label_of(issuer)) br; span class="hint" { "connected on " (since.strftime("%F")) } }
                        (browser.form("/auth/account/disconnect", "Disconnect it", html! {
                            input type="hidden" name="issuer" value=(issuer);
                        }))
                    }
                }
                @for provider in auth.providers.iter().filter(|provider| !is_connected(provider)) {
                    li class="row" {
                        span { (provider.settings.label) }
                        (browser.form(&format!("/auth/provider/{}/connect", provider.settings.name), "Connect it", html! {}))
                    }
                }
            }
        }
    })
}
