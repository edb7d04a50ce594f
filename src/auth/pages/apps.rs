//! Opening an application from within MedConsult: a launch as the guide calls it from an EHR
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch>).

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::browser::{Browser, Submitted};
use super::choose::{self, Answers, Choice, Question, Wanted};
use super::{PageError, Result, page_for_app, see_other};
use crate::auth::AuthServer;
use crate::auth::clients::{self, Client};
use crate::auth::launches;
use crate::auth::oauth::launch::launch_url;
use crate::fhir::trail::Kind;

/// Which application.
#[derive(Debug, Deserialize)]
pub struct App {
    client: String,
}

/// `GET /auth/apps`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    browser.signed_in()?;
    let applications = clients::launchable(&auth.pool).await?;
    Ok(browser.page(
        "Applications",
        html! {
            @if applications.is_empty() { p { "There are none that can be opened from here." } }
            ul {
                @for application in &applications {
                    @let query = form_urlencoded::Serializer::new(String::new()).append_pair("client", &application.id).finish();
                    li { a href=(format!("/auth/apps/open?{query}")) { (application.name) } }
                }
            }
            p { a href="/auth/account" { "Your account" } }
        },
    ))
}

/// `GET /auth/apps/open`
pub async fn show_one(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    Query(App { client }): Query<App>,
) -> Result<Response> {
    let session = browser.signed_in()?;
    let client = find(&auth, &client).await?;
    // Nothing is opened by following a link, even if there is nothing to ask: the first question is whether.
    let content = html! {
        p { "It will ask before it sees anything." }
        form method="post" action="/auth/apps/open" {
            input type="hidden" name="form_token" value=(browser.form_token());
            input type="hidden" name="client" value=(client.id);
            p { button { "Open it" } }
        }
        p { a href="/auth/apps" { "Other applications" } }
        p class="hint" { "You are signed in as " (session.account.email) "." }
    };
    Ok(page_for_app(
        &format!("Open {}", client.name),
        content,
        client.launch_url.as_deref(),
    ))
}

/// `POST /auth/apps/open`
pub async fn open(State(auth): State<Arc<AuthServer>>, form: Submitted) -> Result<Response> {
    let session = form.browser.signed_in()?;
    let client = find(&auth, form.get("client")).await?;
    let mut choice = Choice::default();
    // A patient that was chosen on an earlier page comes back with the form; who may see them is asked again.
    let wanted = Wanted {
        patient: true,
        encounter: true,
        optional: true,
    };
    match choose::settle(&auth, session, wanted, &mut choice, &Answers::of(&form)).await? {
        None => {
            let by = form.browser.event_of(Kind::Launch, &session.account);
            let launch = launches::make(&auth, &client.id, &session.id, &choice.context, by).await?;
            Ok(see_other(&launch_url(&auth, &client, &launch)))
        }
        Some(Question { title, fields }) => {
            let content = html! {
                p { "To open " strong { (client.name) } "." }
                form method="post" action="/auth/apps/open" {
                    input type="hidden" name="form_token" value=(form.browser.form_token());
                    input type="hidden" name="client" value=(client.id);
                    @if let Some(patient) = &choice.context.patient { input type="hidden" name="patient" value=(patient); }
                    (fields)
                }
            };
            Ok(page_for_app(title, content, client.launch_url.as_deref()))
        }
    }
}

async fn find(auth: &AuthServer, id: &str) -> Result<Client> {
    let client = match id.contains('\0') {
        true => None,
        false => Client::find(&auth.pool, id).await?,
    };
    client
        .filter(|client| client.launch_url.is_some())
        .ok_or(PageError::Forbidden)
}
