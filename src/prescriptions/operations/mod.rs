//! The operations of this room.
//!
//! | operation | on | |
//! |---|---|---|
//! | [`check`] | MedicationRequest | what stands against prescriptions that are not signed yet; stores nothing |
//! | [`sign`] | MedicationRequest | drafts of one sheet become active, signed and printed |

pub mod check;
pub mod sign;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::office::Office;
use crate::fhir::access::Permissions;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Issue, IssueType, operation_outcome};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;
use crate::knowledge::profiles;

/// The most medicines on one sheet.
const MOST: usize = 20;

struct Check(Arc<Office>);
struct Sign(Arc<Office>);

/// All of them.
pub fn all(office: &Arc<Office>) -> Vec<Box<dyn Operation>> {
    vec![Box::new(Check(office.clone())), Box::new(Sign(office.clone()))]
}

impl Operation for Check {
    fn definition(&self) -> &Value {
        profiles::operation("medicationrequest-check")
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(check::run(server, caller, &self.0, input))
    }
}

impl Operation for Sign {
    fn definition(&self) -> &Value {
        profiles::operation("medicationrequest-sign")
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            caller.require_on(Permissions::UPDATE, "MedicationRequest")?;
            caller.require_on(Permissions::CREATE, "Provenance")?;
            sign::run(server, caller, &self.0, input).await
        })
    }
}

fn require_few(count: usize) -> Result<(), FhirError> {
    match count <= MOST {
        true => Ok(()),
        false => Err(FhirError::unprocessable(format!("A sheet has up to {MOST} medicines."))),
    }
}

/// A warning for each medicine that nothing is known of: that no problem was found says nothing about it.
fn unknown(names: &[&str]) -> Vec<Issue> {
    let warnings = names.iter().map(|name| {
        let text =
            format!("{name} is not known here: it was looked for by its name alone, among what the patient takes.");
        Issue::warning(IssueType::Incomplete, text)
    });
    warnings.collect()
}

/// A Bundle of these, with an OperationOutcome where there is something to say.
fn collection(resources: Vec<Value>, warnings: &[Issue]) -> Value {
    let mut entries: Vec<Value> = resources
        .into_iter()
        .map(|resource| json!({"resource": resource}))
        .collect();
    if !warnings.is_empty() {
        let outcome: Value = serde_json::from_str(&operation_outcome(warnings)).unwrap_or_default();
        entries.push(json!({"resource": outcome}));
    }
    let mut bundle = json!({"resourceType": "Bundle", "type": "collection"});
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}
