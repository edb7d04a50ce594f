//! Documents: files in patients' records, as pairs of a DocumentReference and the Binary that holds the file
//! (<https://hl7.org/fhir/R4/documentreference.html>).
//!
//! | file | |
//! |---|---|
//! | [`intake`] | what passes before a file is stored: [`kinds`] tells what it is, its metadata go, the [`scanner`] looks at it |
//! | [`guard`] | what must hold between the two resources; size and hash |
//! | [`replacing`] | a document that replaces another one supersedes it |
//! | [`upload`] | `DocumentReference/$upload`: both resources at once, by a form or Parameters |
//! | [`presigned`] | `Binary/[id]/$presigned-url`: an address that opens by itself, once |
//!
//! Where files lie, and that nobody can read them there, is the concern of [`objects`](crate::base::objects), and holds for the
//! content of every Binary.

pub mod guard;
pub mod housekeeping;
pub mod intake;
mod kinds;
pub mod presigned;
pub mod replacing;
pub mod scanner;
pub mod upload;

use serde_json::Value;

/// The profile of a document's DocumentReference.
pub const DOCUMENT: &str = "https://medconsult.example/fhir/StructureDefinition/document";
/// The profile of its Binary.
pub const CONTENT: &str = "https://medconsult.example/fhir/StructureDefinition/document-content";
const CATEGORIES: &str = "https://medconsult.example/fhir/CodeSystem/document-category";

/// Whether a resource claims a profile.
fn claims(resource: &Value, profile: &str) -> bool {
    let profiles = resource["meta"]["profile"].as_array();
    profiles
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|claimed| claimed.split('|').next() == Some(profile))
}

/// Whether a Binary holds the file of a document: it says so, or who may see a DocumentReference may see it. A link to an entry of a
/// transaction may lead to one, so it is taken for that.
fn is_document_content(binary: &Value) -> bool {
    let context = binary["securityContext"]["reference"].as_str().unwrap_or_default();
    claims(binary, CONTENT) || context.contains("DocumentReference") || context.starts_with("urn:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_of_a_document_is_told_by_its_profile_or_its_context() {
        for (binary, expected) in [
            (json!({"meta": {"profile": [CONTENT]}}), true),
            (json!({"meta": {"profile": [format!("{CONTENT}|1.0.0")]}}), true),
            (json!({"securityContext": {"reference": "DocumentReference/7"}}), true),
            (json!({"securityContext": {"reference": "urn:uuid:7"}}), true),
            (json!({"securityContext": {"reference": "Patient/7"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_document_content(&binary), expected, "{binary}");
        }
    }
}
