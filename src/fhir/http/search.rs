//! search: `GET [base]/[type]?…` and `POST [base]/[type]/_search` with a form (<https://hl7.org/fhir/R4/http.html#search>);
//! the same over all types (`GET [base]?…`) and in a compartment (`GET [base]/Patient/[id]/[type]?…`, where the type may
//! be `*`). What it finds, and how, is [`search`](crate::fhir::search)'s.
//!
//! | | status |
//! |---|---|
//! | a page of matches, which may be none | 200 |
//! | a type or a compartment that R4 does not have | 404 |
//! | a value or modifier that cannot be read; with `handling=strict` an unknown parameter | 400 |

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::Answer;
use super::body;
use super::extract::{Ask, CompartmentPath, Server, TypePath};
use super::negotiation::{self, BodyType};
use super::query::Query;
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::search::{self, Scope, page_bundle};
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

pub async fn search(server: &FhirServer, caller: &Caller, scope: Scope<'_>, ask: Ask) -> Result<Answer> {
    let answer = async {
        let search = search::parse(server, scope, &ask.query.0, ask.preferences.handling)?;
        let mut page = search::search(server, caller, &search).await?;
        let found = page.matches.iter_mut().chain(&mut page.included);
        content::give_back(server, found.collect()).await?;
        let answer = page_bundle(server, &search, &page, &ask.projection).map(Answer::with_body)?;
        Ok(answer.showing(page.matches.iter().chain(&page.included)))
    };
    let answer = answer.await;
    let event = || {
        let (kind, path) = match scope {
            Scope::System => (Kind::SearchSystem, String::new()),
            Scope::Type(name) => (Kind::SearchType, name.to_owned()),
            Scope::Compartment { owner, id, member } => {
                (Kind::SearchType, format!("{owner}/{id}/{}", member.unwrap_or("*")))
            }
        };
        Event::new(kind).request(ask.query.behind(path))
    };
    server.trail.record(caller, event, answer).await
}

/// `GET [base]?…`
pub async fn handle_system(State(server): Server, caller: Caller, ask: Ask) -> Result<Answer> {
    search(&server, &caller, Scope::System, ask).await
}

/// `POST [base]/_search`
pub async fn handle_system_form(
    State(server): Server,
    caller: Caller,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let ask = with_form(&server, ask, &headers, body).await?;
    search(&server, &caller, Scope::System, ask).await
}

/// `GET [base]/[type]`
pub async fn handle(State(server): Server, caller: Caller, path: TypePath, ask: Ask) -> Result<Answer> {
    search(&server, &caller, Scope::Type(path.0), ask).await
}

/// `POST [base]/[type]/_search`
pub async fn handle_form(
    State(server): Server,
    caller: Caller,
    path: TypePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let ask = with_form(&server, ask, &headers, body).await?;
    search(&server, &caller, Scope::Type(path.0), ask).await
}

/// `GET [base]/[compartment]/[id]/[type]`
pub async fn handle_compartment(
    State(server): Server,
    caller: Caller,
    path: CompartmentPath,
    ask: Ask,
) -> Result<Answer> {
    search(&server, &caller, path.scope(), ask).await
}

/// `POST [base]/[compartment]/[id]/[type]/_search`
pub async fn handle_compartment_form(
    State(server): Server,
    caller: Caller,
    path: CompartmentPath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let ask = with_form(&server, ask, &headers, body).await?;
    search(&server, &caller, path.scope(), ask).await
}

/// Adds the parameters of a form to those in the URL; both count alike.
async fn with_form(server: &FhirServer, ask: Ask, headers: &HeaderMap, body: Body) -> Result<Ask> {
    let form = body::read(server, headers, body).await?;
    let form = match form.is_empty() {
        true => "",
        false if negotiation::body_type(headers)? == BodyType::Form => {
            std::str::from_utf8(&form).map_err(|_| FhirError::bad_request("The form is not UTF-8."))?
        }
        false => return Err(negotiation::unsupported(headers, "application/x-www-form-urlencoded")),
    };
    let form = Query::parse(form)?;
    negotiation::check_accept(headers, form.get("_format"))?;
    let mut query = ask.query;
    query.0.extend(form.without_format().0);
    let projection = query.projection()?;
    Ok(Ask {
        query,
        projection,
        ..ask
    })
}
