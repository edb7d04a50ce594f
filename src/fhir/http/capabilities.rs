//! capabilities: `GET [base]/metadata` (<https://hl7.org/fhir/R4/http.html#capabilities>).

use axum::extract::State;

use super::answer::Answer;
use super::extract::{Ask, Server};
use crate::fhir::error::Result;
use crate::fhir::metadata;
use crate::fhir::server::FhirServer;

pub fn capabilities(server: &FhirServer) -> Answer {
    let registry = server.search.current();
    let statement = registry
        .capabilities
        .get_or_init(|| metadata::capability_statement(server, &registry));
    Answer::with_body(statement.clone())
}

/// Open to everyone, hence without a caller: a client reads this to find out how to identify itself.
pub async fn handle(State(server): Server, _: Ask) -> Result<Answer> {
    Ok(capabilities(&server))
}
