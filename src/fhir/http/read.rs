//! read: `GET [base]/[type]/[id]` (<https://hl7.org/fhir/R4/http.html#read>), and conditional read (`#cread`).
//!
//! | | status |
//! |---|---|
//! | the current version | 200 |
//! | the client has it (`If-None-Match`, `If-Modified-Since`) | 304 |
//! | never there | 404 |
//! | deleted | 410 |
//!
//! Without `_summary`, `_elements` and `_pretty` the stored text is passed through unread.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::answer::Answer;
use super::binary;
use super::extract::{Ask, InstancePath, Server};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

pub async fn read(server: &FhirServer, caller: &Caller, resource_type: &str, id: &str, ask: Ask) -> Result<Answer> {
    let answer = async {
        ask.check_parameters(&[])?;
        let mut stored = current(server, caller, resource_type, id).await?;
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
    Event::new(Kind::Read).resource(resource_type, id, None)
}

async fn current(server: &FhirServer, caller: &Caller, resource_type: &str, id: &str) -> Result<StoredResource> {
    match server.look(caller, resource_type, id).await? {
        None => Err(FhirError::not_found(resource_type, id)),
        Some(stored) if stored.deleted => Err(FhirError::gone(resource_type, id)),
        Some(stored) => Ok(stored),
    }
}

pub async fn handle(
    State(server): Server,
    caller: Caller,
    path: InstancePath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let InstancePath { resource_type, id } = path;
    if resource_type == "Binary" {
        let stored = current(&server, &caller, resource_type, &id).await;
        let stored = server
            .trail
            .record(&caller, || event(resource_type, &id), stored)
            .await?;
        return binary::answer(&server, stored, query.as_deref(), &headers).await;
    }
    let ask = Ask::checked(query.as_deref(), &headers)?;
    Ok(read(&server, &caller, resource_type, &id, ask).await?.into_response())
}
