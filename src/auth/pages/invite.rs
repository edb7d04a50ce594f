//! Administrators invite people, of any role, to open an account.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::browser::{Browser, Submitted};
use super::{PageError, Problems, Result, see_other};
use crate::auth::AuthServer;
use crate::auth::accounts::{Role, fold_email};
use crate::auth::links::{Link, Purpose};
use crate::auth::mail::Mail;
use crate::fhir::trail::Kind;

fn check_role(browser: &Browser) -> Result<()> {
    match browser.signed_in()?.account.role {
        Role::Admin => Ok(()),
        Role::Patient | Role::Practitioner => Err(PageError::Forbidden),
    }
}

/// `GET /auth/invite`
pub async fn show(browser: Browser) -> Result<Response> {
    check_role(&browser)?;
    Ok(form(&browser, "", &Problems::default()))
}

fn form(browser: &Browser, email: &str, problems: &Problems) -> Response {
    let content = browser.form(
        "/auth/invite",
        "Send the invitation",
        html! {
            (problems.field("E-mail address", "email", "email", "off", email))
            p {
                label for="role" { "Role" }
                select id="role" name="role" {
                    @for role in [Role::Practitioner, Role::Admin, Role::Patient] { option { (role) } }
                }
            }
        },
    );
    browser.page(
        "Invite somebody",
        html! { (problems.summary()) (content) p { a href="/auth/account" { "Back" } } },
    )
}

/// `POST /auth/invite`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    check_role(&form_sent.browser)?;
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/invite")?;
    let (Some(email), Ok(role)) = (fold_email(form_sent.get("email")), form_sent.get("role").parse()) else {
        return Ok(form(
            &form_sent.browser,
            form_sent.get("email"),
            &Problems::one("email", "That is not an e-mail address."),
        ));
    };
    let link = Link {
        email: email.clone(),
        purpose: Purpose::Invitation { role },
    };
    let mut transaction = auth.pool.begin().await?;
    let secret = link.store(&mut *transaction, auth.clock.now()).await?;
    let mail = Mail::invitation(&email, &auth.issuer, &secret);
    // Whoever is invited has said nothing yet about their language; the one who invites is the nearest to know it.
    mail.enqueue(&mut transaction, &auth, &form_sent.browser.languages)
        .await?;
    let event = form_sent.browser.event_of(Kind::Account, &session.account);
    let event = event
        .detail("change", "invited")
        .detail("role", role.name())
        .detail("email", email);
    auth.fhir.trail.write(&mut transaction, &[event]).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/account"))
}
