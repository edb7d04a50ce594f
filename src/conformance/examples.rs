//! HL7's official examples: each is sent to a server by update and read back.
//!
//! A case passes when the server accepts the example and gives back the same JSON, digit for digit, apart from
//! `meta.versionId` and `meta.lastUpdated`, which the server sets (<https://hl7.org/fhir/R4/resource.html#Meta>).

use std::io;
use std::path::Path;

use futures::{StreamExt, stream};
use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;

use super::{CaseResult, SuiteResult};

/// The largest example is a Bundle of 35 MB: a server needs this much room for a body to take them all.
pub const LARGEST_BYTES: usize = 64 << 20;

/// Requests under way at once.
const CONCURRENCY: usize = 4;

/// Resource types whose instances in HL7's package *define* FHIR rather than show how it is used; the package holds
/// thousands of them.
pub const DEFINITIONAL: [&str; 13] = [
    "CapabilityStatement",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "ImplementationGuide",
    "NamingSystem",
    "OperationDefinition",
    "SearchParameter",
    "StructureDefinition",
    "StructureMap",
    "TerminologyCapabilities",
    "TestScript",
    "ValueSet",
];

/// One example as HL7 publishes it.
pub struct Example {
    /// `Patient/example`.
    pub name: String,
    pub resource: Value,
}

/// The examples in an unpacked `hl7.fhir.r4.examples` package, by name.
///
/// # Errors
/// When the folder or a file in it cannot be read or is not JSON.
pub fn read(package: &Path) -> io::Result<Vec<Example>> {
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(package)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let resource_type = file.split('-').next().unwrap_or_default();
        if !file.ends_with(".json") || DEFINITIONAL.contains(&resource_type) {
            continue;
        }
        let resource: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let (Some(resource_type), Some(id)) = (resource["resourceType"].as_str(), resource["id"].as_str()) else {
            continue;
        };
        if !DEFINITIONAL.contains(&resource_type) {
            examples.push(Example {
                name: format!("{resource_type}/{id}"),
                resource,
            });
        }
    }
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(examples)
}

/// Sends every example to the server at `base` and reads it back.
pub async fn run(base: &str, examples: &[Example]) -> SuiteResult {
    let client = Client::new();
    let mut cases: Vec<CaseResult> = stream::iter(examples)
        .map(|example| round_trip(&client, base, example))
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    SuiteResult {
        suite: "examples",
        title: "HL7's examples (npm `hl7.fhir.r4.examples@4.0.1`), written and read back",
        cases,
    }
}

async fn round_trip(client: &Client, base: &str, example: &Example) -> CaseResult {
    match send_and_compare(client, base, example).await {
        Ok(None) => CaseResult::passed(&example.name),
        Ok(Some(difference)) => CaseResult::failed(&example.name, difference),
        Err(error) => CaseResult::failed(&example.name, error.without_url().to_string()),
    }
}

async fn send_and_compare(client: &Client, base: &str, example: &Example) -> reqwest::Result<Option<String>> {
    let url = format!("{base}/{}", example.name);
    let put = client
        .put(&url)
        .header(CONTENT_TYPE, "application/fhir+json")
        .body(example.resource.to_string())
        .send()
        .await?;
    if !put.status().is_success() {
        let status = put.status();
        let outcome: Value = put.json().await.unwrap_or_default();
        let texts: Vec<String> = outcome["issue"]
            .as_array()
            .into_iter()
            .flatten()
            .take(3)
            .map(|issue| {
                format!(
                    "{} {}",
                    issue["expression"][0].as_str().unwrap_or_default(),
                    issue["diagnostics"].as_str().unwrap_or_default()
                )
            })
            .collect();
        return Ok(Some(format!("{status}: {}", texts.join("; "))));
    }
    let get = client.get(&url).header(ACCEPT, "application/fhir+json").send().await?;
    if !get.status().is_success() {
        return Ok(Some(format!("accepted, but reading it answers {}", get.status())));
    }
    let returned: Value = get.json().await?;
    Ok(difference(
        &without_server_fields(&example.resource),
        &without_server_fields(&returned),
        &example.name,
    ))
}

/// `resource` without `meta.versionId` and `meta.lastUpdated`, and without a `meta` that held nothing else.
pub fn without_server_fields(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(object) = resource.as_object_mut()
        && let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut)
    {
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
        if meta.is_empty() {
            object.shift_remove("meta");
        }
    }
    resource
}

/// The first place where two JSON values differ, as a sentence; numbers are compared by their text, members in any order.
pub fn difference(sent: &Value, returned: &Value, at: &str) -> Option<String> {
    match (sent, returned) {
        (Value::Object(a), Value::Object(b)) => {
            if let Some(key) = a.keys().find(|k| !b.contains_key(*k)) {
                return Some(format!("{at}.{key} was sent and is not returned"));
            }
            if let Some(key) = b.keys().find(|k| !a.contains_key(*k)) {
                return Some(format!("{at}.{key} was not sent and is returned"));
            }
            a.iter()
                .find_map(|(key, value)| difference(value, &b[key], &format!("{at}.{key}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (a, b))| difference(a, b, &format!("{at}[{i}]"))),
        (a, b) if a == b => None,
        _ => Some(format!("{at} differs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_named_by_their_place() {
        let sent: Value = serde_json::from_str(r#"{"a":[{"b":1.10}]}"#).unwrap();
        let fewer_digits: Value = serde_json::from_str(r#"{"a":[{"b":1.1}]}"#).unwrap();
        assert_eq!(difference(&sent, &fewer_digits, "R"), Some("R.a[0].b differs".into()));
        assert_eq!(difference(&sent, &sent.clone(), "R"), None);
        assert_eq!(
            difference(&json!({"a": 1}), &json!({}), "R"),
            Some("R.a was sent and is not returned".into())
        );
    }

    #[test]
    fn only_what_the_server_sets_is_left_out() {
        let resource =
            json!({"resourceType": "Patient", "meta": {"versionId": "1", "lastUpdated": "2024-01-01T00:00:00Z"}});
        assert_eq!(without_server_fields(&resource), json!({"resourceType": "Patient"}));
        let tagged = json!({"meta": {"versionId": "1", "tag": [{"code": "x"}]}});
        assert_eq!(
            without_server_fields(&tagged),
            json!({"meta": {"tag": [{"code": "x"}]}})
        );
    }
}
