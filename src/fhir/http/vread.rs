//! vread: `GET [base]/[type]/[id]/_history/[vid]` (<https://hl7.org/fhir/R4/http.html#vread>).
//!
//! | | status |
//! |---|---|
//! | that version | 200 |
//! | the client has it | 304 |
//! | no such version, or no such resource | 404 |
//! | the version is a deletion | 410 |

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::answer::Answer;
use super::binary;
use super::extract::{Ask, Server, VersionPath};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

pub async fn vread(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    id: &str,
    version: &str,
    ask: Ask,
) -> Result<Answer> {
    let answer = async {
        ask.check_parameters(&[])?;
        let mut stored = version_of(server, caller, resource_type, id, version).await?;
        if ask.conditions.are_met_by(&stored) {
            return Ok(Answer::not_modified(&stored));
        }
        content::give_back(server, vec![&mut stored]).await?;
        Answer::with_resource(server, stored, ask.resource_projection()?)
    };
    let answer = answer.await;
    server.trail.record(caller, || event(resource_type, id), answer).await
}

fn event(resource_type: &str, id: &str) -> Event {
    Event::new(Kind::Vread).resource(resource_type, id, None)
}

async fn version_of(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    id: &str,
    version: &str,
) -> Result<StoredResource> {
    let unknown = || FhirError::version_not_found(resource_type, id, version);
    // Version ids are our own numbers, written without sign and leading zeros.
    let number: i32 = version.parse().map_err(|_| unknown())?;
    if number.to_string() != version {
        return Err(unknown());
    }
    match server.vread(caller, resource_type, id, number).await? {
        None => Err(unknown()),
        Some(stored) if stored.deleted => Err(FhirError::gone(resource_type, id)),
        Some(stored) => Ok(stored),
    }
}

pub async fn handle(
    State(server): Server,
    caller: Caller,
    path: VersionPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let VersionPath {
        resource_type,
        id,
        version,
    } = path;
    if resource_type == "Binary" {
        let stored = version_of(&server, &caller, resource_type, &id, &version).await;
        let stored = server
            .trail
            .record(&caller, || event(resource_type, &id), stored)
            .await?;
        return binary::answer(&server, stored, query.as_deref(), &headers).await;
    }
    let ask = Ask::checked(query.as_deref(), &headers)?;
    Ok(vread(&server, &caller, resource_type, &id, &version, ask)
        .await?
        .into_response())
}
