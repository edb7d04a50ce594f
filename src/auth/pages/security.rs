//! What protects the account: password, address, factors.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::browser::{Browser, Submitted};
use super::{Problems, Result, passkeys, provider, see_other, tell};
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, fold_email};
use crate::auth::factors::{self, paper};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::auth::passwords::check_strength;
use crate::auth::sessions::Session;

/// `GET /auth/account/security`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = browser.signed_in()?;
    page(&auth, &browser, session, &Problems::default()).await
}

async fn page(auth: &AuthServer, browser: &Browser, session: &Session, problems: &Problems) -> Result<Response> {
    let account = &session.account;
    let passkeys = factors::passkeys::list(&auth.pool, &account.id).await?;
    let providers = provider::section(auth, browser, account).await?;
    let codes_left = paper::left(&auth.pool, &account.id).await?;
    Ok(browser.page(
        "Password, address and factors",
        html! {
            (problems.summary())
            h2 { "Password" }
            (browser.form("/auth/account/password", "Change it",
                problems.field("New password", "password", "password", "new-password", "")))

            h2 { "E-mail address" }
            p { (account.email) }
            (browser.form("/auth/account/email", "Change it",
                problems.field("New e-mail address", "email", "email", "email", "")))

            @if auth.relying_party.is_some() {
                h2 { "Passkeys" }
                @if passkeys.is_empty() { p { "There are none." } } @else { (passkeys::list(browser, &passkeys)) }
                p { a href="/auth/passkeys" { "Make a passkey" } }
            }

            h2 { "Authenticator app" }
            (authenticator(auth, browser, account))

            @if auth.factors.may_have_codes_by_mail(account.role) {
                h2 { "Codes by mail" }
                (codes_by_mail(browser, account))
            }

            @if account.has_totp || account.passkeys > 0 {
                h2 { "Backup codes" }
                p { (codes_left) " of them are left." }
                (browser.form("/auth/second-factor/backup-codes", "Make new backup codes", html! {}))
            }
            (providers)
            p { a href="/auth/account" { "Back" } }
        },
    ))
}

fn authenticator(auth: &AuthServer, browser: &Browser, account: &Account) -> Markup {
    let without = Account {
        has_totp: false,
        ..account.clone()
    };
    let may_go = auth.factors.may_do_without(account.role) || auth.factors.has_second_factor(&without);
    html! {
        @if account.has_totp {
            p { "One is set up. " a href="/auth/second-factor/set-up" { "Set up another one" } }
            @if may_go { (browser.form("/auth/second-factor/remove", "Remove the authenticator", html! {})) }
        } @else {
            p { "There is none. " a href="/auth/second-factor/set-up" { "Set up an authenticator app" } }
        }
    }
}

fn codes_by_mail(browser: &Browser, account: &Account) -> Markup {
    let (state, button, chosen) = match account.mail_codes {
        true => (
            "Signing in can ask for a code that is mailed to you.",
            "Turn them off",
            "no",
        ),
        false => (
            "Signing in can ask for a code that is mailed to you. That is better than the password alone, and weaker than a \
             passkey or an app: whoever reads your mail can read it.",
            "Turn them on",
            "yes",
        ),
    };
    html! {
        p { (state) }
        (browser.form("/auth/second-factor/mail-codes", button, html! {
            input type="hidden" name="chosen" value=(chosen);
        }))
    }
}

/// `POST /auth/account/password`
pub async fn password(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    let password = form_sent.get("password");
    if let Err(sentence) = check_strength(password, &[&account.email, &account.given, &account.family]) {
        let problems = Problems::one("password", sentence);
        let mut response = page(&auth, &form_sent.browser, session, &problems).await?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let hash = auth.passwords.hash(password).await?;
    let mut transaction = auth.pool.begin().await?;
    // Every session ends, this one too: whoever else knew the old password is out.
    Account::set_password(&mut transaction, &account.id, &hash).await?;
    tell(&auth, &form_sent.browser, &mut transaction, account, "password").await?;
    transaction.commit().await?;
    Ok(see_other("/auth/sign-in"))
}

/// `POST /auth/account/email`
pub async fn email(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    let Some(email) = fold_email(form_sent.get("email")) else {
        let problems = Problems::one("email", "That is not an e-mail address.");
        let mut response = page(&auth, &form_sent.browser, session, &problems).await?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
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
    Mail::change_email(&email, &auth.issuer, &secret)
        .enqueue(&mut transaction, &auth, &form_sent.browser.languages)
        .await?;
    tell(
        &auth,
        &form_sent.browser,
        &mut transaction,
        account,
        "address asked for",
    )
    .await?;
    transaction.commit().await?;
    Ok(see_other("/auth/check-mail"))
}
