//! The cases for FHIRPath Patch and JSON Patch from FHIR/fhir-test-cases, applied by our patch code in this process.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::examples::difference;
use super::xml::Node;
use super::{CaseResult, SuiteResult};
use crate::fhir::error::FhirError;
use crate::fhir::patch::{Patch, json};
use crate::knowledge::definitions::Definitions;

/// What a server answers to a patch that does not fit the resource.
const UNPROCESSABLE: u16 = 422;

/// Runs `patch/fhir-patch-tests.xml`: an input, a Parameters resource with the operations, and what comes out.
///
/// # Errors
/// When the file cannot be read or is not what it should be.
pub fn run_fhirpath(folder: &Path) -> Result<SuiteResult> {
    // XML counts both line ends as one; the quick_xml crate leaves that to its callers.
    let tests = Node::parse(&read(&folder.join("fhir-patch-tests.xml"))?.replace("\r\n", "\n"))?;
    let mut cases = Vec::new();
    for case in &tests.children {
        let name = case.attribute("name").unwrap_or_default();
        let resource = |part: &str| -> Result<Option<Value>> {
            case.child(part)
                .and_then(|part| part.children.first())
                .map(Node::to_resource)
                .transpose()
        };
        let mut patched = resource("input")?.with_context(|| format!("{name} has no input"))?;
        let operations = resource("diff")?.with_context(|| format!("{name} has no operations"))?;
        let outcome = Patch::fhirpath(operations)
            .and_then(|patch| patch.apply(&mut patched, Definitions::r4(), Timestamp::UNIX_EPOCH));
        cases.push(verdict(name, outcome, &patched, resource("output")?.as_ref()));
    }
    Ok(SuiteResult {
        suite: "fhirpath-patch",
        title: "FHIRPath Patch (FHIR/fhir-test-cases)",
        cases,
    })
}

/// Runs `patch/json-patch-tests.json`: the examples of RFC 6902 and a few more.
///
/// # Errors
/// When the file cannot be read or is not what it should be.
pub fn run_json(folder: &Path) -> Result<SuiteResult> {
    let tests: Vec<Value> = serde_json::from_str(&read(&folder.join("json-patch-tests.json"))?)?;
    let cases = tests
        .into_iter()
        .map(|mut case| {
            let mut document = case["doc"].take();
            // The documents are not FHIR, so what `Patch` does for resources after the patch has no place here.
            let outcome = json::parse(case["patch"].take()).and_then(|patch| json::apply(&patch, &mut document));
            let name = case["comment"].as_str().unwrap_or_default();
            verdict(name, outcome, &document, case.get("expected"))
        })
        .collect();
    Ok(SuiteResult {
        suite: "json-patch",
        title: "JSON Patch (FHIR/fhir-test-cases)",
        cases,
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A case without an expected result is one that must be refused.
fn verdict(name: &str, outcome: Result<(), FhirError>, patched: &Value, expected: Option<&Value>) -> CaseResult {
    match (outcome, expected) {
        (Ok(()), Some(expected)) if expected == patched => CaseResult::passed(name),
        (Err(error), None) if error.status == UNPROCESSABLE => CaseResult::passed(name),
        (Ok(()), Some(expected)) => {
            let place = difference(expected, patched, "the result").unwrap_or_default();
            CaseResult::failed(name, format!("{place}: made {patched} instead of {expected}"))
        }
        (Ok(()), None) => CaseResult::failed(name, format!("is not refused, but makes {patched}")),
        (Err(error), _) => CaseResult::failed(name, format!("answers {error}")),
    }
}
