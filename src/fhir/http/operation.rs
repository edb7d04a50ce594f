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
use serde_json::Value;

use super::answer::Answer;
use super::body;
use super::extract::{Ask, OperationPath, Server};
use super::negotiation::{self, BodyType};
use super::query::Query;
use crate::fhir::caller::{Caller, Permissions};
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::parameters::Parameters;
use crate::fhir::resource;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

/// Runs an operation that changes nothing, with its parameters in the query.
pub async fn get(server: &FhirServer, caller: &Caller, path: OperationPath, ask: Ask) -> Result<Answer> {
    let operation = find(server, &path)?;
    if operation.definition()["affectsState"] == true {
        let text = format!("{} changes something: call it by POST.", excerpt(&path.name));
        return Err(FhirError::method_not_allowed(text));
    }
    let parameters = parameters(&ask);
    call(server, caller, operation, path, parameters, &ask).await
}

/// What the query says to the operation, rather than about the answer.
fn parameters(ask: &Ask) -> Parameters {
    let mut query = ask.query.clone();
    query.0.retain(|(name, _)| name != "_summary" && name != "_elements");
    Parameters::from_query(&query.0)
}

async fn call(
    server: &FhirServer,
    caller: &Caller,
    operation: &dyn Operation,
    path: OperationPath,
    parameters: Parameters,
    ask: &Ask,
) -> Result<Answer> {
    let event = event(&path, operation, &parameters);
    let answer = async {
        if operation.definition()["affectsState"] == true && !operation.judges_its_caller() {
            caller.require(Permissions::ALL)?;
        }
        parameters.check(operation.definition(), operation.takes_search_parameters())?;
        let input = OperationInput {
            resource_type: path.resource_type,
            id: path.id,
            version: path.version,
            parameters,
            projection: ask.projection.clone(),
            preferences: ask.preferences,
        };
        operation.call(server, caller, input).await
    };
    let answer = answer.await;
    server.trail.record(caller, || event, answer).await
}

/// A whole record at once is a disclosure.
fn event(path: &OperationPath, operation: &dyn Operation, parameters: &Parameters) -> Event {
    let code = operation.definition()["code"].as_str().unwrap_or_default();
    let kind = if code == "everything" {
        Kind::Disclosure
    } else {
        Kind::Operation
    };
    let name = format!("${code}");
    let segments = [path.resource_type, path.id.as_deref(), Some(&name)];
    let address: Vec<&str> = segments.into_iter().flatten().collect();
    let event = Event::new(kind).request(Query(parameters.pairs()).behind(address.join("/")));
    match (path.resource_type, &path.id) {
        (Some(resource_type), Some(id)) => event.resource(resource_type, id, None),
        _ => event,
    }
}

/// The operation of that name on this level; `name` may have its `$`.
fn find<'s>(server: &'s FhirServer, path: &OperationPath) -> Result<&'s dyn Operation> {
    let code = path.name.trim_start_matches('$');
    let (resource_type, on_instance) = (path.resource_type, path.id.is_some());
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
            && (path.version.is_none() || operation.takes_versions())
            && resource_type.is_none_or(|wanted| types.any(|name| name == wanted || name == "Resource"))
    };
    let mut operations = server.hooks.operations.iter().map(AsRef::as_ref);
    operations
        .find(|operation: &&dyn Operation| fits(*operation))
        .ok_or_else(|| {
            let at = match (resource_type, on_instance, &path.version) {
                (None, ..) => "on the whole server".to_owned(),
                (Some(name), false, _) => format!("on the type {name}"),
                (Some(name), true, None) => format!("on one {name}"),
                (Some(name), true, Some(_)) => format!("on a version of one {name}"),
            };
            let text = format!(
                "There is no operation ${} {at}. /metadata lists those there are.",
                excerpt(code)
            );
            FhirError::no_such_address(text)
        })
}

pub async fn handle_get(State(server): Server, caller: Caller, path: OperationPath, ask: Ask) -> Response {
    let mut response = get(&server, &caller, path, ask).await.into_response();
    if response.status() == axum::http::StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Parameters in the URL and in the body count alike.
pub async fn handle_post(
    State(server): Server,
    caller: Caller,
    path: OperationPath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer> {
    let operation = find(&server, &path)?;
    let bytes = body::read(&server, &headers, body).await?;
    let mut parameters = parameters(&ask);
    // An operation without input may be called without a body.
    if !bytes.is_empty() {
        if negotiation::body_type(&headers)? != BodyType::Fhir {
            return Err(negotiation::unsupported(&headers, "application/fhir+json"));
        }
        let body = resource::parse(&bytes)?;
        // To an operation on the type Parameters, a Parameters resource may be what it is about.
        match body["resourceType"] == "Parameters" && path.resource_type != Some("Parameters") {
            true => parameters.append(Parameters::from_resource(body)?),
            false => parameters.set_body(operation.definition(), body)?,
        }
    }
    call(&server, &caller, operation, path, parameters, &ask).await
}
