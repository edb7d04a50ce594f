//! `Appointment/[id]/$calendar`: one visit as a calendar file. `Patient/[id]/$calendar-feed`,
//! `Practitioner/[id]/$calendar-feed`: the address of all of somebody's visits ([`feed`](crate::scheduling::feed)).
//!
//! | | status |
//! |---|---|
//! | a Binary with the file; the address | 200 |
//! | the calendar of somebody else | 403 |
//! | a visit without a time | 409 |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::fhir::access::Role;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::scheduling::desk::Desk;
use crate::scheduling::icalendar::{Event, calendar};
use crate::scheduling::{authority, feed};

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let id = input.id.as_deref().unwrap_or_default();
    let (stored, content) = authority::read(desk.server, desk.caller, "Appointment", id).await?;
    let event = Event::of(&content, feed::host(desk.server));
    let event = event.ok_or_else(|| FhirError::conflict("It has no time that a calendar could show."))?;
    let file = calendar(&[event], feed::root(desk.server));
    Ok(Answer::with_value(&json!({
        "resourceType": "Binary",
        "contentType": "text/calendar",
        "data": STANDARD.encode(file)
    }))
    .showing([&stored]))
}

pub async fn run_feed(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let (resource_type, id) = (
        input.resource_type.unwrap_or_default(),
        input.id.as_deref().unwrap_or_default(),
    );
    authority::read(desk.server, desk.caller, resource_type, id).await?;
    let actor = format!("{resource_type}/{id}");
    // An address that works without signing in is made by its owner alone.
    let is_own = desk
        .caller
        .user()
        .is_none_or(|user| user.fhir_user == actor || user.role == Role::Admin);
    if !is_own {
        return Err(FhirError::forbidden(
            "Everybody makes the address of their own calendar.",
        ));
    }
    let url = feed::open(desk.server, &actor).await?;
    Ok(Answer::with_value(&json!({
        "resourceType": "Parameters",
        "parameter": [{"name": "url", "valueUri": url}]
    })))
}
