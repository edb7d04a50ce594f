//! Changing a resource by saying what to change: JSON Patch, FHIRPath Patch and JSON Merge Patch.
//!
//! <https://hl7.org/fhir/R4/http.html#patch>. A patch is read once ([`Patch::json`], [`Patch::fhirpath`],
//! [`Patch::merge`]), which refuses a malformed one with 400, and applied inside the transaction that stores the result:
//! an operation that does not fit the resource is a 422. The result is validated by `commit` like any other write.

mod fhirpath;
pub mod json;
mod location;

use jiff::Timestamp;
use serde_json::Value;

use crate::fhir::error::{FhirError, Result};
use crate::knowledge::definitions::Definitions;

/// Most operations that one patch may hold: each may walk the whole resource.
const MAX_OPERATIONS: usize = 1000;

/// A patch that has been read and not yet applied.
#[derive(Debug, Clone)]
pub enum Patch {
    /// <https://www.rfc-editor.org/rfc/rfc6902>
    Json(json_patch::Patch),
    /// <https://hl7.org/fhir/R4/fhirpatch.html>
    FhirPath(Vec<fhirpath::Operation>),
    /// <https://www.rfc-editor.org/rfc/rfc7396>
    Merge(Value),
}

impl Patch {
    /// Reads a JSON Patch: an array of operations.
    pub fn json(document: Value) -> Result<Patch> {
        json::parse(document).map(Patch::Json)
    }

    /// Reads a FHIRPath Patch: a Parameters resource with a parameter `operation` for each step.
    pub fn fhirpath(parameters: Value) -> Result<Patch> {
        fhirpath::parse(&parameters).map(Patch::FhirPath)
    }

    /// Reads a JSON Merge Patch. Anything but an object would replace the resource as a whole, which is what PUT is for.
    pub fn merge(document: Value) -> Result<Patch> {
        match document {
            Value::Object(_) => Ok(Patch::Merge(document)),
            _ => Err(FhirError::bad_request(
                "A JSON Merge Patch of a resource is a JSON object.",
            )),
        }
    }

    /// Reads the patch of a Bundle entry: a Parameters resource is a FHIRPath Patch, a Binary holds one of the other
    /// two, told apart by its `contentType` (<https://hl7.org/fhir/R4/http.html#transaction>).
    pub fn from_resource(resource: Value) -> Result<Patch> {
        use base64::Engine as _;
        match resource["resourceType"].as_str() {
            Some("Parameters") => Patch::fhirpath(resource),
            Some("Binary") => {
                let data = resource["data"].as_str().unwrap_or_default();
                let data = base64::engine::general_purpose::STANDARD
                    .decode(data)
                    .map_err(|_| FhirError::bad_value("The data of the Binary is not base64.").at("Binary.data"))?;
                let document = serde_json::from_slice(&data)
                    .map_err(|_| FhirError::malformed("The data of the Binary is not JSON.").at("Binary.data"))?;
                match resource["contentType"].as_str() {
                    Some("application/json-patch+json") => Patch::json(document),
                    Some("application/merge-patch+json") => Patch::merge(document),
                    _ => Err(FhirError::bad_request(
                        "A patch in a Binary has the contentType application/json-patch+json or \
                         application/merge-patch+json.",
                    )
                    .at("Binary.contentType")),
                }
            }
            _ => Err(FhirError::bad_request(
                "The resource of a PATCH entry is a Parameters (FHIRPath Patch) or a Binary (JSON Patch or JSON Merge \
                 Patch).",
            )),
        }
    }

    /// Changes `resource`. On an error it may be half changed: the caller throws it away.
    ///
    /// JSON Patch and JSON Merge Patch know nothing of FHIR and leave an empty list where the last item was removed;
    /// FHIR has no empty lists and objects, so what a patch has emptied is dropped. `now` is what `now()` says in the
    /// paths of a FHIRPath Patch.
    pub fn apply(&self, resource: &mut Value, definitions: &'static Definitions, now: Timestamp) -> Result<()> {
        let identity = |resource: &Value| (resource["resourceType"].clone(), resource["id"].clone());
        let before = identity(resource);
        match self {
            Patch::Json(patch) => json::apply(patch, resource)?,
            Patch::FhirPath(operations) => fhirpath::apply(operations, resource, definitions, now)?,
            Patch::Merge(patch) => json_patch::merge(resource, patch),
        }
        drop_empty(resource);
        if identity(resource) != before {
            return Err(FhirError::unprocessable(
                "A patch may not change the type or the id of a resource.",
            ));
        }
        Ok(())
    }
}

/// Removes empty objects and lists from `value`, deepest first. Nulls stay: in a list of primitives they keep the
/// places of values and their extensions in step.
fn drop_empty(value: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(drop_empty);
            items.retain(|item| !is_empty(item));
        }
        Value::Object(members) => {
            members.values_mut().for_each(drop_empty);
            members.retain(|_, member| !is_empty(member));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_patch_empties_is_dropped() {
        let mut resource = json!({"resourceType": "Patient", "id": "p", "name": [{"given": ["A"]}]});
        let patch = Patch::json(json!([{"op": "remove", "path": "/name/0/given/0"}])).unwrap();
        patch
            .apply(&mut resource, Definitions::r4(), Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(resource, json!({"resourceType": "Patient", "id": "p"}));
    }

    #[test]
    fn merge_patch_sets_and_removes() {
        let mut resource = json!({"resourceType": "Patient", "id": "p", "active": true, "gender": "male"});
        let patch = Patch::merge(json!({"active": null, "birthDate": "1970-01-01"})).unwrap();
        patch
            .apply(&mut resource, Definitions::r4(), Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(
            resource,
            json!({"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1970-01-01"})
        );
        assert_eq!(Patch::merge(json!([])).unwrap_err().status, 400);
    }

    #[test]
    fn type_and_id_are_out_of_reach() {
        for patch in [
            Patch::json(json!([{"op": "replace", "path": "/id", "value": "q"}])),
            Patch::json(json!([{"op": "remove", "path": "/resourceType"}])),
            Patch::merge(json!({"id": "q"})),
            Patch::merge(json!({"resourceType": "Group"})),
        ] {
            let mut resource = json!({"resourceType": "Patient", "id": "p"});
            let error = patch
                .unwrap()
                .apply(&mut resource, Definitions::r4(), Timestamp::UNIX_EPOCH)
                .unwrap_err();
            assert_eq!(error.status, 422);
        }
    }

    #[test]
    fn a_bundle_entry_carries_a_patch_in_parameters_or_binary() {
        let binary = |content_type: &str, data: &str| json!({"resourceType": "Binary", "contentType": content_type, "data": data});
        // "[]" and "{}" in base64.
        assert!(matches!(
            Patch::from_resource(binary("application/json-patch+json", "W10=")),
            Ok(Patch::Json(_))
        ));
        assert!(matches!(
            Patch::from_resource(binary("application/merge-patch+json", "e30=")),
            Ok(Patch::Merge(_))
        ));
        assert!(matches!(
            Patch::from_resource(json!({"resourceType": "Parameters"})),
            Ok(Patch::FhirPath(_))
        ));
        for refused in [
            binary("text/plain", "W10="),
            binary("application/json-patch+json", "%"),
            binary("application/json-patch+json", "eA=="),
            json!({"resourceType": "Patient"}),
        ] {
            assert_eq!(Patch::from_resource(refused).unwrap_err().status, 400);
        }
    }
}
