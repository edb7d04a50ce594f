//! `$validate`: would this be accepted? (<https://hl7.org/fhir/R4/resource-operation-validate.html>)
//!
//! Checks what every write is checked for: the structure that R4 gives the type, and the profiles of MedConsult that the
//! resource claims, or that the caller names. Asked for another profile, it says so instead of passing over it.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::fhir::caller::Caller;
use crate::fhir::commit::{check_content, refuse};
use crate::fhir::error::{FhirError, Issue, operation_outcome};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;
use crate::knowledge::profiles::Package;

/// The operation `$validate` on a type or an instance.
#[derive(Debug)]
pub struct Validate;

static DEFINITION: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "resourceType": "OperationDefinition",
        "id": "validate",
        "url": "http://hl7.org/fhir/OperationDefinition/Resource-validate",
        "name": "Validate",
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": "validate",
        "resource": ["Resource"],
        "system": false,
        "type": true,
        "instance": true,
        "parameter": [
            {"name": "resource", "use": "in", "min": 0, "max": "1", "type": "Resource"},
            {"name": "mode", "use": "in", "min": 0, "max": "1", "type": "code"},
            {"name": "profile", "use": "in", "min": 0, "max": "1", "type": "uri"},
            {"name": "return", "use": "out", "min": 1, "max": "1", "type": "OperationOutcome"}
        ]
    })
});

impl Operation for Validate {
    fn definition(&self) -> &Value {
        &DEFINITION
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            let issues = match validate(server, caller, &input).await {
                Ok(issues) => issues,
                // What is wrong with the resource is the answer; what is wrong with the question is an error.
                Err(Refusal::Resource(error)) => error.issues,
                Err(Refusal::Request(error)) => return Err(error),
            };
            Ok(Answer::with_body(operation_outcome(&issues)))
        })
    }
}

enum Refusal {
    Resource(FhirError),
    Request(FhirError),
}

async fn validate(server: &FhirServer, caller: &Caller, input: &OperationInput) -> Result<Vec<Issue>, Refusal> {
    let expected = input.resource_type.unwrap_or_default();
    let parameters = &input.parameters;
    let stored: Value;
    let resource = match (parameters.value("resource"), &input.id) {
        (Some(resource), _) => resource,
        (None, Some(id)) => {
            let found = server.read(caller, expected, id).await.map_err(Refusal::Request)?;
            match found.filter(|found| !found.deleted) {
                // A delete needs no more than that there is something to delete; what is stored was valid when it came.
                Some(_) if parameters.text("mode") == Some("delete") => return Ok(Vec::new()),
                Some(found) => {
                    stored = serde_json::from_str(&found.json)
                        .map_err(|_| Refusal::Request(FhirError::internal("stored content is not JSON")))?;
                    &stored
                }
                None => return Err(Refusal::Request(FhirError::not_found(expected, id))),
            }
        }
        (None, None) => {
            let error = FhirError::bad_request("Send the resource, alone or as the parameter 'resource'.");
            return Err(Refusal::Request(error));
        }
    };
    if resource["resourceType"] != expected {
        let error = FhirError::bad_request(format!(
            "This is the address for a {expected}; the resource is of another type."
        ));
        return Err(Refusal::Resource(error.at("resourceType")));
    }
    check_content(server, resource).map_err(Refusal::Resource)?;
    let findings = match parameters.text("profile") {
        None => Package::medconsult().check(resource),
        Some(profile) => Package::medconsult()
            .check_against(resource, profile)
            .ok_or_else(|| Refusal::Request(unknown_profile()))?,
    };
    refuse(findings).map_err(Refusal::Resource)?;
    Ok(Vec::new())
}

fn unknown_profile() -> FhirError {
    let text = "This server validates against R4 itself and the profiles that its CapabilityStatement names.";
    FhirError::not_supported(text).at("Parameters.parameter.where(name = 'profile')")
}
