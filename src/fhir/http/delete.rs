//! delete: `DELETE [base]/[type]/[id]` (<https://hl7.org/fhir/R4/http.html#delete>), and conditional delete of a single
//! match.
//!
//! | | status |
//! |---|---|
//! | deleted, or not there in the first place | 204; 200 with an OperationOutcome if that is preferred |
//! | `If-Match` names another version; the criteria match several | 412 |

use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::Answer;
use super::conditions;
use super::create::write;
use super::extract::{Ask, InstancePath, Server, TypePath};
use super::update::criteria_target;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Target, Write};
use crate::fhir::error::Result;

pub async fn handle(
    State(server): Server,
    caller: Caller,
    path: InstancePath,
    ask: Ask,
    headers: HeaderMap,
) -> Result<Answer> {
    ask.check_parameters(&[])?;
    let target = Target::Instance {
        resource_type: path.resource_type.to_owned(),
        id: path.id,
    };
    let if_match = conditions::if_match(&headers)?;
    let outcome = write(&server, &caller, Write::Delete { target, if_match }, None).await?;
    Answer::of_write(&server, outcome, &ask.preferences).await
}

/// `DELETE [base]/[type]?criteria`
pub async fn handle_conditional(
    State(server): Server,
    caller: Caller,
    TypePath(resource_type): TypePath,
    ask: Ask,
    headers: HeaderMap,
) -> Result<Answer> {
    let target = criteria_target(resource_type, &ask)?;
    let if_match = conditions::if_match(&headers)?;
    let outcome = write(&server, &caller, Write::Delete { target, if_match }, None).await?;
    Answer::of_write(&server, outcome, &ask.preferences).await
}
