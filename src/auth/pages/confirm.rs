//! What a mailed link leads to.
//!
//! Opening it changes nothing, since mail programs open links to look for harm; the button on the page does.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::browser::{Browser, Submitted};
use super::{PageError, Result, alert, field, see_other};
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, NewAccount, NotCreated, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::auth::passwords::check_strength;

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
    Ok(form(&browser, &link, &secret, ["", ""], None))
}

fn form(browser: &Browser, link: &Link, secret: &str, [given, family]: [&str; 2], wrong: Option<&str>) -> Response {
    let (title, button, fields) = match link.purpose {
        Purpose::SignUp { .. } => ("Confirm your e-mail address", "Open my account", html! {}),
        Purpose::ChangeEmail { .. } => ("Confirm your new e-mail address", "Use this address", html! {}),
        Purpose::Reset { .. } => (
            "Choose another password",
            "Use this password",
            field("New password", "password", "password", "new-password", ""),
        ),
        Purpose::Invitation { .. } => (
            "Open your account",
            "Open my account",
            html! {
                (field("Given name", "given", "text", "given-name", given))
                (field("Family name", "family", "text", "family-name", family))
                (field("Password", "password", "password", "new-password", ""))
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
            (alert(wrong))
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
    let again = |sentence: &str| Ok(form(&form_sent.browser, &link, secret, names, Some(sentence)));
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
            open_account(&auth, secret, new).await
        }
        Purpose::Invitation { role } => {
            let [Some(given), Some(family)] = names.map(tidy_name) else {
                return again("Fill in your names.");
            };
            if let Err(sentence) = check_strength(form_sent.get("password"), &[&email, &given, &family]) {
                return again(&sentence);
            }
            let password = auth.passwords.hash(form_sent.get("password")).await?;
            let new = NewAccount {
                email,
                role: *role,
                given,
                family,
                password,
            };
            open_account(&auth, secret, new).await
        }
        Purpose::Reset { account } => {
            if let Err(sentence) = check_strength(form_sent.get("password"), &[&email]) {
                return again(&sentence);
            }
            let password = auth.passwords.hash(form_sent.get("password")).await?;
            take(&auth, secret).await?;
            let mut transaction = auth.pool.begin().await?;
            Account::set_password(&mut *transaction, account, &password).await?;
            let notice = Mail::notice(
                &email,
                &auth.issuer,
                "The password of your MedConsult account was changed.",
            );
            notice.enqueue(&mut transaction, &auth.vault, auth.clock.now()).await?;
            transaction.commit().await?;
            Ok(see_other("/auth/sign-in"))
        }
        Purpose::ChangeEmail { account } => {
            take(&auth, secret).await?;
            let changed = sqlx::query(
                "UPDATE account SET email = $2 WHERE id = $1 AND NOT EXISTS (SELECT FROM account WHERE email = $2)",
            )
            .bind(account)
            .bind(&email)
            .execute(&auth.pool)
            .await?;
            match changed.rows_affected() {
                1 => Ok(see_other("/auth/account")),
                _ => Err(PageError::NoSuchLink),
            }
        }
    }
}

/// Uses the link up, or refuses whoever comes second.
async fn take(auth: &AuthServer, secret: &str) -> Result<()> {
    match Link::take(&auth.pool, secret).await? {
        true => Ok(()),
        false => Err(PageError::NoSuchLink),
    }
}

async fn open_account(auth: &AuthServer, secret: &str, new: NewAccount) -> Result<Response> {
    // The link is used up last: if the server stops in between, following it again finds the account or makes it.
    match Account::create(auth, new).await {
        Ok(_) | Err(NotCreated::Taken) => {
            Link::take(&auth.pool, secret).await?;
            Ok(see_other("/auth/sign-in"))
        }
        Err(NotCreated::Failed) => Err(PageError::Unavailable),
    }
}
