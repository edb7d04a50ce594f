//! Operations: `$name` on the base, a type or an instance (<https://hl7.org/fhir/R4/operations.html>). Which there are is
//! what [`Hooks`](crate::fhir::hooks::Hooks) lists.
//!
//! | | status |
//! |---|---|
//! | done | 200 |
//! | no operation of that name is defined there | 404 |
//! | GET for one that changes something | 405 |

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Answer;
use super::body;
use super::extract::{Ask, OperationPath, Server};
use super::negotiation::{self, BodyType};
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::resource;
use crate::fhir::server::FhirServer;

/// Runs an operation that changes nothing, with its parameters in the query.
pub async fn get(
    server: &FhirServer,
    caller: &Caller,
    resource_type: Option<&str>,
    id: Option<&str>,
    name: &str,
    ask: Ask,
) -> Result<Answer> {
    let operation = find(server, resource_type, id.is_some(), name)?;
    if operation.definition()["affectsState"] == true {
        let text = format!("{} changes something: call it by POST.", excerpt(name));
        return Err(FhirError::method_not_allowed(text));
    }
    let parameters: Vec<Value> = ask
        .query
        .0
        .iter()
        .map(|(name, value)| json!({"name": name, "valueString": value}))
        .collect();
    let body = json!({"resourceType": "Parameters", "parameter": parameters});
    call(server, caller, operation, resource_type, id, Some(body)).await
}

async fn call(
    server: &FhirServer,
    caller: &Caller,
    operation: &dyn Operation,
    resource_type: Option<&str>,
    id: Option<&str>,
    body: Option<Value>,
) -> Result<Answer> {
    let input = OperationInput {
        resource_type: resource_type.map(str::to_owned),
        id: id.map(str::to_owned),
        body,
    };
    let result = operation.call(server, caller, input).await?;
    Ok(Answer::with_body(resource::to_json(&result)))
}

/// The operation of that name on this level; `name` may have its `$`.
fn find<'s>(
    server: &'s FhirServer,
    resource_type: Option<&str>,
    on_instance: bool,
    name: &str,
) -> Result<&'s dyn Operation> {
    let code = name.trim_start_matches('$');
    let fits = |operation: &dyn Operation| {
        let definition = operation.definition();
        let level = match (resource_type, on_instance) {
            (None, _) => "system",
            (Some(_), false) => "type",
            (Some(_), true) => "instance",
        };
        let mut types = definition["resource"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        definition["code"] == code
            && definition[level] == true
            && resource_type.is_none_or(|wanted| types.any(|name| name == wanted || name == "Resource"))
    };
    let mut operations = server.hooks.operations.iter().map(AsRef::as_ref);
    operations
        .find(|operation: &&dyn Operation| fits(*operation))
        .ok_or_else(|| {
            let at = match (resource_type, on_instance) {
                (None, _) => "on the whole server".to_owned(),
                (Some(name), false) => format!("on the type {name}"),
                (Some(name), true) => format!("on one {name}"),
            };
            let text = format!(
                "There is no operation ${} {at}. /metadata lists those there are.",
                excerpt(code)
            );
            FhirError::no_such_address(text)
        })
}

pub async fn handle_get(State(server): Server, caller: Caller, path: OperationPath, ask: Ask) -> Response {
    let OperationPath {
        resource_type,
        id,
        name,
    } = path;
    let outcome = get(&server, &caller, resource_type, id.as_deref(), &name, ask).await;
    let mut response = outcome.into_response();
    if response.status() == axum::http::StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

pub async fn handle_post(
    State(server): Server,
    caller: Caller,
    path: OperationPath,
    _: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let OperationPath {
        resource_type,
        id,
        name,
    } = path;
    let operation = find(&server, resource_type, id.is_some(), &name)?;
    let bytes = body::read(&server, &headers, body).await?;
    // An operation without input may be called without a body.
    let body = match bytes.is_empty() {
        true => None,
        false if negotiation::body_type(&headers)? == BodyType::Fhir => Some(resource::parse(&bytes)?),
        false => return Err(negotiation::unsupported(&headers, "application/fhir+json")),
    };
    call(&server, &caller, operation, resource_type, id.as_deref(), body).await
}
