//! Signing up, and asking for another password.
//!
//! Both answer the same, and after the same work, whether or not the address has an account: what is the case is told by a
//! mail, to whoever reads mail there.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::browser::{Browser, Submitted};
use super::{PageError, Problems, Result, field, see_other};
use crate::auth::accounts::{Account, Found, fold_email, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::auth::passwords::check_strength;
use crate::auth::{AuthServer, background, throttle};
use crate::base::address::household;

/// `GET /auth/sign-up`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    if !auth.sign_up {
        return Err(PageError::Forbidden);
    }
    Ok(form(&browser, ["", "", ""], &Problems::default()))
}

fn form(browser: &Browser, [email, given, family]: [&str; 3], problems: &Problems) -> Response {
    let content = browser.form(
        "/auth/sign-up",
        "Sign up",
        html! {
            (problems.field("Given name", "given", "text", "given-name", given))
            (problems.field("Family name", "family", "text", "family-name", family))
            (problems.field("E-mail address", "email", "email", "username", email))
            (problems.field("Password", "password", "password", "new-password", ""))
        },
    );
    browser.page(
        "Sign up",
        html! {
            (problems.summary())
            (content)
            p { a href="/auth/sign-in" { "Sign in instead" } }
        },
    )
}

/// `POST /auth/sign-up`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    if !auth.sign_up {
        return Err(PageError::Forbidden);
    }
    let browser = &form_sent.browser;
    let filled = [form_sent.get("email"), form_sent.get("given"), form_sent.get("family")];
    let [email, given, family] = [fold_email(filled[0]), tidy_name(filled[1]), tidy_name(filled[2])];
    let mut problems = Problems::default();
    if given.is_none() {
        problems.add("given", "Fill in your given name.");
    }
    if family.is_none() {
        problems.add("family", "Fill in your family name.");
    }
    if email.is_none() {
        problems.add("email", "Fill in an e-mail address.");
    }
    let password = form_sent.get("password");
    if let Err(sentence) = check_strength(password, &filled) {
        problems.add("password", sentence);
    }
    let (true, Some(email), Some(given), Some(family)) = (problems.is_empty(), email, given, family) else {
        return Ok(form(browser, filled, &problems));
    };
    check_throttle(&auth, browser, &email).await?;

    let now = auth.clock.now();
    let link = Link {
        email: email.clone(),
        purpose: Purpose::SignUp {
            given,
            family,
            password: auth.passwords.hash(password).await?,
        },
    };
    let mut transaction = auth.pool.begin().await?;
    let secret = link.store(&mut *transaction, now).await?;
    let mail = match Account::look_up(&mut *transaction, now, &email).await? {
        Some(Found::Open(_) | Found::Reopenable(_)) => Mail::already_signed_up(&email, &auth.issuer),
        Some(Found::Closed(_)) => Mail::closed(&email),
        None => Mail::sign_up(&email, &auth.issuer, &secret),
    };
    mail.enqueue(&mut transaction, &auth, &browser.languages).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/check-mail"))
}

/// `GET /auth/forgot`
pub async fn show_forgot(browser: Browser) -> Response {
    let content = browser.form(
        "/auth/forgot",
        "Send me a link",
        field("E-mail address", "email", "email", "username", ""),
    );
    browser.page("Choose another password", content)
}

/// `POST /auth/forgot`
pub async fn submit_forgot(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let Some(email) = fold_email(form_sent.get("email")) else {
        return Ok(see_other("/auth/forgot"));
    };
    check_throttle(&auth, &form_sent.browser, &email).await?;
    // Whether there is such an account is looked at by the job, when nobody can measure how long it takes.
    let mut transaction = auth.pool.begin().await?;
    let job = background::forgotten(&auth.vault, &email, &form_sent.browser.languages);
    crate::jobs::enqueue(&mut transaction, auth.clock.now(), &[job]).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/check-mail"))
}

async fn check_throttle(auth: &AuthServer, browser: &Browser, email: &str) -> Result<()> {
    let now = auth.clock.now();
    let allowed = throttle::FORMS_FROM
        .allows(&auth.pool, now, &household(browser.address).to_string())
        .await?
        && throttle::MAILS.allows(&auth.pool, now, email).await?;
    allowed.then_some(()).ok_or(PageError::Throttled)
}

/// `GET /auth/check-mail`
pub async fn check_mail(browser: Browser) -> Response {
    browser.page("Look into your mail", html! {
        p { "We have sent you a mail. Follow the link in it to go on." }
        p class="hint" { "Nothing there after a few minutes? Look among the unwanted mails, and check the address." }
    })
}
