//! What a mailed link leads to.
//!
//! Opening it changes nothing, since mail programs open links to look for harm; the button on the page does.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use sqlx::PgConnection;

use super::browser::{Browser, Submitted};
use super::{PageError, Problems, Result, see_other, tell};
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, NewAccount, NotCreated, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::auth::passwords::check_strength;
use crate::fhir::trail::Kind;

#[derive(Debug, Deserialize)]
pub struct Followed {
    #[serde(default)]
    link: String,
}

/// `GET /auth/confirm?link=…`
pub async fn show(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    Query(Followed { link: secret }): Query<Followed>,
) -> Result<Response> {
    let link = Link::find(&auth.pool, auth.clock.now(), &secret)
        .await?
        .ok_or(PageError::NoSuchLink)?;
    Ok(form(&browser, &link, &secret, ["", ""], &Problems::default()))
}

fn form(browser: &Browser, link: &Link, secret: &str, [given, family]: [&str; 2], problems: &Problems) -> Response {
    let (title, button, fields) = match link.purpose {
        Purpose::SignUp { .. } => ("Confirm your e-mail address", "Open my account", html! {}),
        Purpose::ChangeEmail { .. } => ("Confirm your new e-mail address", "Use this address", html! {}),
        Purpose::Reset { .. } => (
            "Choose another password",
            "Use this password",
            problems.field("New password", "password", "password", "new-password", ""),
        ),
        Purpose::Reopen { .. } => (
            "Open your account again",
            "Open it again",
            problems.field("New password", "password", "password", "new-password", ""),
        ),
        Purpose::Invitation { .. } => (
            "Open your account",
            "Open my account",
            html! {
                (problems.field("Given name", "given", "text", "given-name", given))
                (problems.field("Family name", "family", "text", "family-name", family))
                (problems.field("Password", "password", "password", "new-password", ""))
            },
        ),
    };
    let content = browser.form(
        "/auth/confirm",
        button,
        html! {
            input type="hidden" name="link" value=(secret);
            (fields)
        },
    );
    browser.page(
        title,
        html! {
            p { "For the address " strong { (link.email) } }
            (problems.summary())
            (content)
        },
    )
}

/// `POST /auth/confirm`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let secret = form_sent.get("link");
    let link = Link::find(&auth.pool, auth.clock.now(), secret)
        .await?
        .ok_or(PageError::NoSuchLink)?;
    let names = [form_sent.get("given"), form_sent.get("family")];
    let again = |problems: Problems| Ok(form(&form_sent.browser, &link, secret, names, &problems));
    let email = link.email.clone();
    match &link.purpose {
        Purpose::SignUp {
            given,
            family,
            password,
        } => {
            let new = NewAccount {
                email,
                role: crate::auth::accounts::Role::Patient,
                given: given.clone(),
                family: family.clone(),
                password: password.clone(),
            };
            open_account(&auth, &form_sent.browser, secret, new).await
        }
        Purpose::Invitation { role } => {
            let [given, family] = names.map(tidy_name);
            let mut problems = Problems::default();
            if given.is_none() {
                problems.add("given", "Fill in your given name.");
            }
            if family.is_none() {
                problems.add("family", "Fill in your family name.");
            }
            if let Err(sentence) = check_strength(form_sent.get("password"), &[&email, names[0], names[1]]) {
                problems.add("password", sentence);
            }
            let (true, Some(given), Some(family)) = (problems.is_empty(), given, family) else {
                return again(problems);
            };
            let password = auth.passwords.hash(form_sent.get("password")).await?;
            let new = NewAccount {
                email,
                role: *role,
                given,
                family,
                password,
            };
            open_account(&auth, &form_sent.browser, secret, new).await
        }
        Purpose::Reset { account } | Purpose::Reopen { account } => {
            if let Err(sentence) = check_strength(form_sent.get("password"), &[&email]) {
                return again(Problems::one("password", sentence));
            }
            let password = auth.passwords.hash(form_sent.get("password")).await?;
            let mut transaction = auth.pool.begin().await?;
            take(&mut transaction, secret).await?;
            let change = match link.purpose {
                Purpose::Reopen { .. } => {
                    Account::reopen(&mut *transaction, account).await?;
                    "reopened"
                }
                _ => "password reset",
            };
            Account::set_password(&mut transaction, account, &password).await?;
            let account = Account::by_id(&mut *transaction, account).await?;
            let account = account.ok_or(PageError::NoSuchLink)?;
            tell(&auth, &form_sent.browser, &mut transaction, &account, change).await?;
            transaction.commit().await?;
            Ok(see_other("/auth/sign-in"))
        }
        Purpose::ChangeEmail { account } => {
            let mut transaction = auth.pool.begin().await?;
            take(&mut transaction, secret).await?;
            // What was mailed to the old address is worth nothing now.
            sqlx::query("DELETE FROM mailed_link WHERE account = $1")
                .bind(account)
                .execute(&mut *transaction)
                .await?;
            let changed = sqlx::query("UPDATE account SET email = $2 WHERE id = $1")
                .bind(account)
                .bind(&email)
                .execute(&mut *transaction)
                .await;
            match changed {
                Ok(_) => {
                    let event = form_sent.browser.event(Kind::Account);
                    let event = match Account::by_id(&mut *transaction, account).await? {
                        Some(account) => event.account(&account.id, &account.profile),
                        None => event,
                    };
                    let event = event.detail("change", "address");
                    auth.fhir.trail.write(&mut transaction, &[event]).await?;
                    transaction.commit().await?;
                    Ok(see_other("/auth/account"))
                }
                Err(error)
                    if error
                        .as_database_error()
                        .is_some_and(|error| error.is_unique_violation()) =>
                {
                    Err(PageError::NoSuchLink)
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Uses the link up, or refuses whoever comes second.
async fn take(transaction: &mut PgConnection, secret: &str) -> Result<()> {
    match Link::take(transaction, secret).await? {
        true => Ok(()),
        false => Err(PageError::NoSuchLink),
    }
}

async fn open_account(auth: &AuthServer, browser: &Browser, secret: &str, new: NewAccount) -> Result<Response> {
    // The link is used up last: if the server stops in between, following it again finds the account or makes it.
    match Account::create(auth, new).await {
        Ok(account) => {
            let event = browser.event_of(Kind::Account, &account);
            auth.fhir.trail.note(event.detail("change", "opened")).await?;
            let mut transaction = auth.pool.begin().await?;
            // Of two that follow the link at the same time, one is told.
            if Link::take(&mut *transaction, secret).await? {
                Mail::verified(&account.email, &auth.issuer)
                    .enqueue(&mut transaction, auth, &browser.languages)
                    .await?;
            }
            transaction.commit().await?;
            Ok(see_other("/auth/sign-in"))
        }
        Err(NotCreated::Taken) => {
            Link::take(&auth.pool, secret).await?;
            Ok(see_other("/auth/sign-in"))
        }
        Err(NotCreated::Failed) => Err(PageError::Unavailable),
    }
}
