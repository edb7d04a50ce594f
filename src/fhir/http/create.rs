//! create: `POST [base]/[type]` (<https://hl7.org/fhir/R4/http.html#create>), and conditional create (`#ccreate`).
//!
//! | | status |
//! |---|---|
//! | stored under a new id | 201 |
//! | `If-None-Exist` has one match, which stays as it is | 200 |
//! | malformed, or of another type than the URL says | 400 |
//! | `If-None-Exist` has several matches | 412 |
//! | not a valid resource | 422 |

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::Value;

use super::answer::Answer;
use super::body;
use super::extract::{Ask, Server, TypePath};
use super::negotiation::{self, BodyType};
use super::{binary, conditions};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Outcome, Write, commit};
use crate::fhir::error::{FhirError, Result};
use crate::fhir::server::FhirServer;

pub async fn handle(
    State(server): Server,
    caller: Caller,
    TypePath(resource_type): TypePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    ask.check_parameters(&[])?;
    let if_none_exist = conditions::if_none_exist(&headers)?;
    let resource = read_resource(&server, resource_type, None, &headers, body).await?;
    let outcome = write(
        &server,
        &caller,
        Write::Create {
            resource,
            if_none_exist,
        },
    )
    .await?;
    Ok(Answer::of_write(&server, outcome, &ask.preferences))
}

/// The resource in the body of a create or update, with the type that the URL says.
pub(super) async fn read_resource(
    server: &FhirServer,
    resource_type: &str,
    id: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Value> {
    let resource = match negotiation::body_type(headers)? {
        BodyType::Fhir => body::read_json(server, headers, body).await?,
        _ if resource_type == "Binary" => {
            let bytes = body::read(server, headers, body).await?;
            binary::from_content(headers, &bytes, id)?
        }
        _ => return Err(negotiation::unsupported(headers, "application/fhir+json")),
    };
    body::check_type(&resource, resource_type)?;
    Ok(resource)
}

/// Commits one write.
pub(super) async fn write(server: &FhirServer, caller: &Caller, write: Write) -> Result<Outcome> {
    let outcomes = commit(server, caller, vec![Op { write, full_url: None }])
        .await
        .map_err(|failed| failed.error)?;
    outcomes
        .into_iter()
        .next()
        .ok_or_else(|| FhirError::internal("a commit of one write has no outcome"))
}
