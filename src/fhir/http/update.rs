//! update: `PUT [base]/[type]/[id]` (<https://hl7.org/fhir/R4/http.html#update>), and conditional update (`#cond-update`).
//!
//! | | status |
//! |---|---|
//! | a new version, or the same content again | 200 |
//! | created under the id that the client chose | 201 |
//! | malformed, of another type, or its id is not that of the URL | 400 |
//! | `If-Match` names another version; the criteria match several | 412 |
//! | not a valid resource | 422 |

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::Value;

use super::answer::Answer;
use super::conditions;
use super::create::{Received, read_resource, write};
use super::extract::{Ask, InstancePath, Server, TypePath};
use super::query::criteria;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Target, Write};
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::server::FhirServer;

pub async fn handle(
    State(server): Server,
    caller: Caller,
    path: InstancePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    ask.check_parameters(&[])?;
    let InstancePath { resource_type, id } = path;
    let received = read_resource(&server, &caller, resource_type, Some(&id), &headers, body).await?;
    check_id(&received.resource, &id)?;
    let target = Target::Instance {
        resource_type: resource_type.to_owned(),
        id,
    };
    store(&server, &caller, &ask, &headers, target, received).await
}

/// `PUT [base]/[type]?criteria`
pub async fn handle_conditional(
    State(server): Server,
    caller: Caller,
    TypePath(resource_type): TypePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let target = criteria_target(resource_type, &ask)?;
    let received = read_resource(&server, &caller, resource_type, None, &headers, body).await?;
    store(&server, &caller, &ask, &headers, target, received).await
}

async fn store(
    server: &FhirServer,
    caller: &Caller,
    ask: &Ask,
    headers: &HeaderMap,
    target: Target,
    received: Received,
) -> Result<Answer> {
    let update = Write::Update {
        target,
        resource: received.resource,
        if_match: conditions::if_match(headers)?,
        if_none_match_any: conditions::if_none_match_any(headers)?,
    };
    let outcome = write(server, caller, update, received.content).await?;
    Answer::of_write(server, outcome, &ask.preferences).await
}

/// What the query of a conditional update, patch or delete selects.
///
/// # Errors
/// 400 without criteria: a slip of the pen must not become a change to whatever is found first.
pub(super) fn criteria_target(resource_type: &str, ask: &Ask) -> Result<Target> {
    let query = criteria(&ask.raw_query);
    if query.is_empty() {
        let text =
            format!("Give the id of a resource ({resource_type}/[id]) or criteria ({resource_type}?name=value).");
        return Err(FhirError::bad_request(text));
    }
    Ok(Target::Criteria {
        resource_type: resource_type.to_owned(),
        query,
    })
}

fn check_id(resource: &Value, id: &str) -> Result<()> {
    match resource.get("id").and_then(Value::as_str) {
        Some(own) if own == id => Ok(()),
        Some(own) => {
            let text = format!(
                "The id in the body is '{}', the URL says '{}'.",
                excerpt(own),
                excerpt(id)
            );
            Err(FhirError::bad_request(text).at("id"))
        }
        None => {
            let text = format!(
                "The body of an update needs the id that the URL has: '{}'.",
                excerpt(id)
            );
            Err(FhirError::bad_request(text).at("id"))
        }
    }
}
