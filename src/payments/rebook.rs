//! Books the time of a visit anew that lapsed while it was being paid.
//!
//! It asks as anybody would who books: by `$find` and `$book`, whoever provides them. What they decide holds.

use serde_json::{Value, json};

use super::names::PROPOSAL_TELLS;
use super::till::{Record, Till};
use super::visit;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::parameters::Parameters;
use crate::fhir::preferences::Preferences;
use crate::fhir::summary::Projection;

/// Whether it could be booked again. The new visit refers to the Invoice, and waits for the payment if the policy of its
/// service has it so.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn again(till: Till<'_>, lapsed: &Record, invoice: &Record) -> Result<bool, FhirError> {
    let content = &lapsed.content;
    let actors = ["Practitioner", "HealthcareService", "Patient"].map(|name| visit::reference(content, name));
    let ([Some(practitioner), Some(service), Some(patient)], Some(start)) = (actors, visit::start(content)) else {
        return Ok(false);
    };
    if start <= till.server.clock.now() {
        return Ok(false);
    }
    let after = start.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(start);
    let reference = |name: &str, to: &str| json!({"name": name, "valueReference": {"reference": to}});
    let found = call(
        till,
        "find",
        json!([
            reference("practitioner", practitioner),
            reference("service", service),
            {"name": "start", "valueDateTime": start.to_string()},
            {"name": "end", "valueDateTime": after.to_string()}
        ]),
    );
    let Some(found) = or_refused(found.await)? else {
        return Ok(false);
    };
    let proposals = found["entry"].as_array().into_iter().flatten();
    let mut proposals = proposals.map(|entry| &entry["resource"]);
    let Some(proposal) = proposals.find(|resource| resource["resourceType"] == "Appointment") else {
        return Ok(false);
    };
    let mut wanted = proposal.clone();
    for name in PROPOSAL_TELLS {
        if let Some(told) = content.get(name) {
            wanted[name] = told.clone();
        }
    }
    if !visit::invoices(&wanted).any(|id| id == invoice.id) {
        visit::add_invoice(&mut wanted, &invoice.reference());
    }
    let booked = call(
        till,
        "book",
        json!([{"name": "appointment-resource", "resource": wanted}, reference("patient-reference", patient)]),
    );
    Ok(or_refused(booked.await)?.is_some())
}

/// A no is an answer; only what may be otherwise later is an error.
fn or_refused(answer: Result<Value, FhirError>) -> Result<Option<Value>, FhirError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.status.is_client_error() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `Appointment/$name` of this server.
async fn call(till: Till<'_>, name: &str, parameters: Value) -> Result<Value, FhirError> {
    let operations = &till.server.hooks.operations;
    let operation = operations.iter().find(|operation| {
        let definition = operation.definition();
        let mut types = definition["resource"].as_array().into_iter().flatten();
        definition["code"] == name && types.any(|of| of == "Appointment")
    });
    let operation = operation.ok_or_else(|| FhirError::not_supported("This server books no visits."))?;
    let parameters = Parameters::from_resource(json!({"resourceType": "Parameters", "parameter": parameters}))?;
    parameters.check(operation.definition(), false)?;
    let input = OperationInput {
        resource_type: Some("Appointment"),
        id: None,
        version: None,
        parameters,
        projection: Projection::Whole,
        preferences: Preferences::default(),
    };
    let answer = operation.call(till.server, &till.caller.practice(), input).await?;
    let text = answer.body.unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| FhirError::internal("an operation answers with JSON"))
}
