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
use crate::base::objects::ObjectId;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Outcome, Write, commit_placed};
use crate::fhir::error::{FhirError, Result};
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

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
    let received = read_resource(&server, &caller, resource_type, None, &headers, body).await?;
    let create = Write::Create {
        resource: received.resource,
        if_none_exist,
    };
    let outcome = write(&server, &caller, create, received.content).await?;
    Answer::of_write(&server, outcome, &ask.preferences).await
}

/// What the body of a create or update stands for.
pub(super) struct Received {
    pub resource: Value,
    /// The object that holds the content of a Binary that came as bytes.
    pub content: Option<ObjectId>,
}

/// The resource in the body of a create or update, with the type that the URL says.
pub(super) async fn read_resource(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    id: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received> {
    let (resource, content) = match negotiation::body_type(headers)? {
        BodyType::Fhir => (body::read_json(server, headers, body).await?, None),
        _ if resource_type == "Binary" => match binary::receive(server, caller, headers, body, id).await {
            Ok(received) => received,
            Err(error) => return Err(recorded(server, caller, id, error).await),
        },
        _ => return Err(negotiation::unsupported(headers, "application/fhir+json")),
    };
    body::check_type(&resource, resource_type)?;
    Ok(Received { resource, content })
}

/// Content that was refused never comes to a commit, which would record that.
async fn recorded(server: &FhirServer, caller: &Caller, id: Option<&str>, error: FhirError) -> FhirError {
    let kind = match id {
        Some(_) => Kind::Update,
        None => Kind::Create,
    };
    let event = Event::new(kind).resource("Binary", id.unwrap_or_default(), None);
    let failed: Result<Answer> = Err(error);
    match server.trail.record(caller, || event, failed).await {
        Ok(_) => FhirError::internal("what was refused is no answer"),
        Err(error) => error,
    }
}

/// Commits one write, of a Binary perhaps whose content is in the store.
pub(super) async fn write(
    server: &FhirServer,
    caller: &Caller,
    write: Write,
    content: Option<ObjectId>,
) -> Result<Outcome> {
    let placed = content.into_iter().map(|object| (0, object)).collect();
    let outcomes = commit_placed(server, caller, vec![Op { write, full_url: None }], placed)
        .await
        .map_err(|failed| failed.error)?;
    outcomes
        .into_iter()
        .next()
        .ok_or_else(|| FhirError::internal("a commit of one write has no outcome"))
}
