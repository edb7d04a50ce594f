//! JSON Patch (RFC 6902) by the `json-patch` crate, with errors that name the operation.

use json_patch::PatchOperation;
use serde_json::Value;

use super::MAX_OPERATIONS;
use crate::fhir::error::{FhirError, Result};

/// Most JSON values that `copy` may add in one patch: copying an object into itself doubles it each time.
const MAX_COPIED: usize = 100_000;

/// Reads an array of operations, of which none has been applied yet.
///
/// # Errors
/// 400 when it is not a JSON Patch, and when it holds too many operations.
pub fn parse(document: Value) -> Result<json_patch::Patch> {
    let Value::Array(operations) = document else {
        return Err(FhirError::bad_request(
            "A JSON Patch is a JSON array of operations (RFC 6902).",
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(FhirError::too_costly(format!(
            "A patch may have at most {MAX_OPERATIONS} operations."
        )));
    }
    operations
        .into_iter()
        .enumerate()
        .map(|(index, operation)| {
            serde_json::from_value(operation).map_err(|error| {
                FhirError::bad_request(format!(
                    "Operation {} of the JSON Patch is malformed: {error}.",
                    index + 1
                ))
            })
        })
        .collect::<Result<Vec<PatchOperation>>>()
        .map(json_patch::Patch)
}

/// Applies the operations one after the other; on an error the document may be half changed.
///
/// # Errors
/// 422 when an operation does not fit the document.
pub fn apply(patch: &json_patch::Patch, document: &mut Value) -> Result<()> {
    let mut copied = 0;
    for (index, operation) in patch.0.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation
            && let Ok(source) = copy.from.resolve(document)
        {
            copied += size(source);
            if copied > MAX_COPIED {
                return Err(FhirError::too_costly(
                    "The copy operations of the JSON Patch make too much data.",
                ));
            }
        }
        json_patch::patch(document, std::slice::from_ref(operation)).map_err(|error| {
            FhirError::unprocessable(format!(
                "Operation {} of the JSON Patch at '{}' cannot be done: {}.",
                index + 1,
                operation.path(),
                error.kind
            ))
        })?;
    }
    Ok(())
}

/// How many JSON values `value` is made of.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_malformed_patch_is_refused_before_it_runs() {
        for document in [
            json!({}),
            json!([1]),
            json!([{"op": "frobnicate", "path": "/a"}]),
            json!([{"op": "add", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "move", "path": "/a"}]),
        ] {
            assert_eq!(parse(document.clone()).unwrap_err().status, 400, "{document}");
        }
        assert_eq!(
            parse(json!(vec![json!({"op": "remove", "path": "/a"}); 1001]))
                .unwrap_err()
                .status,
            422
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        let patch =
            parse(serde_json::from_str(r#"[{"op": "add", "path": "/value", "value": 1.500}]"#).unwrap()).unwrap();
        let mut document = json!({});
        apply(&patch, &mut document).unwrap();
        assert_eq!(document.to_string(), r#"{"value":1.500}"#);
    }

    #[test]
    fn copies_cannot_grow_without_bound() {
        let patch = parse(json!(vec![json!({"op": "copy", "from": "/a", "path": "/a/b"}); 60])).unwrap();
        let mut document = json!({"a": {"c": [1, 2, 3]}});
        apply(&patch, &mut document).expect("a member that is replaced does not add up");
        let doubling = json!(vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 60]);
        let error = apply(&parse(doubling).unwrap(), &mut json!({"a": [1]})).unwrap_err();
        assert_eq!(error.status, 422);
    }
}
