//! search: `GET [base]/[type]?…` and `POST [base]/[type]/_search` with a form (<https://hl7.org/fhir/R4/http.html#search>).
//! What it finds, and how, is [`search`](crate::fhir::search)'s.
//!
//! | | status |
//! |---|---|
//! | a page of matches, which may be none | 200 |
//! | a value or modifier that cannot be read; with `handling=strict` an unknown parameter | 400 |

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::Answer;
use super::body;
use super::extract::{Ask, Server, TypePath};
use super::negotiation::{self, BodyType};
use super::query::Query;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::search::{self, page_bundle};
use crate::fhir::server::FhirServer;

/// `resource_type` is `None` for a search over all types, which is refused.
pub async fn search(server: &FhirServer, caller: &Caller, resource_type: Option<&str>, ask: Ask) -> Result<Answer> {
    let Some(resource_type) = resource_type else {
        return Err(over_all_types());
    };
    let search = search::parse(server, resource_type, &ask.query.0, ask.preferences.handling)?;
    let page = search::search(server, caller, &search).await?;
    page_bundle(server, &search, &page, &ask.projection).map(Answer::with_body)
}

fn over_all_types() -> FhirError {
    FhirError::not_supported("A search over all types is not supported: search one type, as in /Patient?name=x.")
}

/// `GET [base]/[type]`
pub async fn handle(State(server): Server, caller: Caller, path: TypePath, ask: Ask) -> Result<Answer> {
    search(&server, &caller, Some(path.0), ask).await
}

/// `POST [base]/[type]/_search`: parameters in the URL and in the form count alike.
pub async fn handle_form(
    State(server): Server,
    caller: Caller,
    path: TypePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let form = body::read(&server, &headers, body).await?;
    let form = match form.is_empty() {
        true => "",
        false if negotiation::body_type(&headers)? == BodyType::Form => {
            std::str::from_utf8(&form).map_err(|_| FhirError::bad_request("The form is not UTF-8."))?
        }
        false => return Err(negotiation::unsupported(&headers, "application/x-www-form-urlencoded")),
    };
    let form = Query::parse(form)?;
    negotiation::check_accept(&headers, form.get("_format"))?;
    let mut query = ask.query;
    query.0.extend(form.without_format().0);
    let projection = query.projection()?;
    search(
        &server,
        &caller,
        Some(path.0),
        Ask {
            query,
            projection,
            ..ask
        },
    )
    .await
}

/// `GET [base]?…` and `POST [base]/_search`
pub async fn handle_system(_: Ask) -> FhirError {
    over_all_types()
}
