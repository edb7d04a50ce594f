//! patch: `PATCH [base]/[type]/[id]` (<https://hl7.org/fhir/R4/http.html#patch>), and conditional patch.
//!
//! | Content-Type | what the body is |
//! |---|---|
//! | `application/json-patch+json` | JSON Patch |
//! | `application/fhir+json` | FHIRPath Patch, a Parameters resource |
//! | `application/merge-patch+json` | JSON Merge Patch |
//!
//! | | status |
//! |---|---|
//! | patched, or nothing changed by it | 200 |
//! | the patch is malformed | 400 |
//! | nothing there to be patched | 404 or 410 |
//! | `If-Match` names another version; the criteria match several | 412 |
//! | another Content-Type | 415, with `Accept-Patch` |
//! | an operation does not fit the resource, the result is not valid, or the patch is too large | 422 |

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::answer::Answer;
use super::create::write;
use super::extract::{Ask, InstancePath, Server, TypePath};
use super::negotiation::{self, BodyType};
use super::update::criteria_target;
use super::{body, conditions};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Target, Write};
use crate::fhir::error::{FhirError, Result};
use crate::fhir::patch::Patch;
use crate::fhir::server::FhirServer;

/// Media types of patches, as `Accept-Patch` and the CapabilityStatement list them.
pub const FORMATS: [&str; 3] = [
    "application/json-patch+json",
    "application/fhir+json",
    "application/merge-patch+json",
];

pub async fn handle(
    State(server): Server,
    caller: Caller,
    path: InstancePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let work = async {
        ask.check_parameters(&[])?;
        let target = Target::Instance {
            resource_type: path.resource_type.to_owned(),
            id: path.id,
        };
        patch(&server, &caller, target, &ask, &headers, body).await
    };
    respond(work.await)
}

/// `PATCH [base]/[type]?criteria`
pub async fn handle_conditional(
    State(server): Server,
    caller: Caller,
    TypePath(resource_type): TypePath,
    ask: Ask,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let work = async {
        let target = criteria_target(resource_type, &ask)?;
        patch(&server, &caller, target, &ask, &headers, body).await
    };
    respond(work.await)
}

async fn patch(
    server: &FhirServer,
    caller: &Caller,
    target: Target,
    ask: &Ask,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer> {
    let if_match = conditions::if_match(headers)?;
    let read = match negotiation::body_type(headers)? {
        BodyType::JsonPatch => Patch::json,
        BodyType::Fhir => Patch::fhirpath,
        BodyType::MergePatch => Patch::merge,
        BodyType::Form | BodyType::Other => return Err(negotiation::unsupported(headers, &FORMATS.join(", "))),
    };
    let patch = read(body::read_json(server, headers, body).await?)?;
    let outcome = write(
        server,
        caller,
        Write::Patch {
            target,
            patch,
            if_match,
        },
        None,
    )
    .await?;
    Answer::of_write(server, outcome, &ask.preferences).await
}

/// Adds to a 415 what would be taken (RFC 5789, 2.2).
fn respond(outcome: Result<Answer, FhirError>) -> Response {
    let mut response = outcome.into_response();
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
        && let Ok(formats) = HeaderValue::try_from(FORMATS.join(", "))
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("accept-patch"), formats);
    }
    response
}
