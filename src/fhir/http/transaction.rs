//! batch and transaction: `POST [base]` with a Bundle (<https://hl7.org/fhir/R4/http.html#transaction>). What happens to
//! the entries is [`bundle`]'s.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::Answer;
use super::body;
use super::extract::{Ask, Server};
use super::negotiation::{self, BodyType};
use crate::fhir::bundle;
use crate::fhir::caller::Caller;
use crate::fhir::error::Result;

pub async fn handle(State(server): Server, caller: Caller, ask: Ask, headers: HeaderMap, body: Body) -> Result<Answer> {
    if negotiation::body_type(&headers)? != BodyType::Fhir {
        return Err(negotiation::unsupported(&headers, "a Bundle as application/fhir+json"));
    }
    let bundle = body::read_json(&server, &headers, body).await?;
    body::check_type(&bundle, "Bundle")?;
    bundle::process(&server, &caller, bundle, &ask.preferences)
        .await
        .map(Answer::with_body)
}
