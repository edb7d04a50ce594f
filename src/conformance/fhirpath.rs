//! HL7's FHIRPath suite for R4 (`fhirpath-r4/tests-fhir-r4.json`), run on our engine in this process.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{CaseResult, SuiteResult};
use crate::knowledge::definitions::Definitions;
use crate::knowledge::fhirpath::values::{DateTime, Decimal};
use crate::knowledge::fhirpath::{Element, Environment, Expression, Item};

/// The moment at which every case is evaluated: no case may depend on the clock of the machine.
const NOW: &str = "2026-03-01T10:15:30.500+01:00";

/// Runs the cases in `folder`, which holds `tests-fhir-r4.json` and the resources it names in `input/`.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn run(folder: &Path) -> Result<SuiteResult> {
    let tests = read(&folder.join("tests-fhir-r4.json"))?;
    let tests = tests.as_array().context("the suite is not a JSON array")?;
    // A case without an input is evaluated on some resource or other.
    let mut inputs: HashMap<&str, Value> = HashMap::from([("", json!({"resourceType": "Basic"}))]);
    for test in tests {
        let name = text(&test["input"]);
        if !inputs.contains_key(name) {
            inputs.insert(name, read(&folder.join("input").join(name))?);
        }
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let cases = tests
        .iter()
        .map(|test| {
            let name = text(&test["name"]);
            let count = seen.entry(name).or_default();
            *count += 1;
            // Some names stand for several cases.
            let name = if *count == 1 {
                name.to_owned()
            } else {
                format!("{name} #{count}")
            };
            let failure = evaluate(test, &inputs[text(&test["input"])])
                .err()
                .map(|seen| format!("{}: {seen}", text(&test["expr"])));
            CaseResult { name, failure }
        })
        .collect();
    Ok(SuiteResult {
        suite: "fhirpath",
        title: "FHIRPath for R4 (FHIR/fhir-test-cases)",
        cases,
    })
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `Err` says what came out instead of what the case expects.
fn evaluate(test: &Value, input: &Value) -> Result<(), String> {
    let definitions = Definitions::r4();
    let source = text(&test["expr"]);
    let focus = Item::resource(input, definitions).ok_or("the input is no resource")?;
    let compiled = match (test["mode"].as_str(), &focus) {
        (Some("strict"), Item::Element(element)) => Expression::compile_strict(source, element.type_id, definitions),
        _ => Expression::compile(source, definitions),
    };
    let expects_error = test["invalid"].as_str();
    let expression = match compiled {
        Ok(_) if expects_error == Some("syntax") => return Err("compiles".to_owned()),
        Ok(expression) => expression,
        Err(error) => return expects_error.map(|_| ()).ok_or_else(|| error.to_string()),
    };
    let environment = Environment::new(DateTime::parse(NOW).ok_or("no moment")?);
    let result = match expression.evaluate(&focus, &environment) {
        Ok(_) if expects_error.is_some() => return Err("evaluates".to_owned()),
        Ok(result) => result,
        Err(error) => return expects_error.map(|_| ()).ok_or_else(|| error.to_string()),
    };
    let found: Vec<(String, String)> = result.iter().map(|item| describe(item, definitions)).collect();
    compare(test, found)
}

fn compare(test: &Value, mut found: Vec<(String, String)>) -> Result<(), String> {
    if test["predicate"] == true {
        found = vec![("boolean".to_owned(), (!found.is_empty()).to_string())];
    }
    let mut expected: Vec<(Option<&str>, &str)> = test["out"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|output| (output["type"].as_str(), text(&output["value"])))
        .collect();
    if test["ordered"] == "false" || test["ordered"] == false {
        found.sort_by(|left, right| left.1.cmp(&right.1));
        expected.sort_by_key(|(_, value)| *value);
    }
    let is_same = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|((ty, value), (expected_type, expected_value))| {
                expected_type.is_none_or(|expected| expected.eq_ignore_ascii_case(ty))
                    && (value == expected_value || is_same_number(value, expected_value))
            });
    is_same
        .then_some(())
        .ok_or_else(|| format!("gives {found:?} instead of {expected:?}"))
}

/// The suite writes a zero as `-0.0` in one place; a decimal has no second zero.
fn is_same_number(left: &str, right: &str) -> bool {
    match (Decimal::parse(left), Decimal::parse(right)) {
        (Some(left), Some(right)) => left == right && left.scale() == right.scale(),
        _ => false,
    }
}

/// An item's type as the suite writes it, and its value as text.
fn describe(item: &Item<'_>, definitions: &'static Definitions) -> (String, String) {
    let text = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
    match item {
        Item::Boolean(value) => text("boolean", value),
        Item::Integer(value) => text("integer", value),
        Item::Decimal(value) => text("decimal", value),
        Item::String(value) => text("string", value),
        Item::Date(value) => text("date", &format!("@{value}")),
        Item::DateTime(value) => text("dateTime", &format!("@{value}")),
        Item::Time(value) => text("time", &format!("@T{value}")),
        Item::Quantity(value) => text("Quantity", value),
        Item::Type(value) => text("TypeInfo", value),
        Item::Element(Element { value, type_id, .. }) => {
            let name = definitions.get(*type_id).name.as_str();
            match value {
                Value::String(value) if matches!(name, "date" | "dateTime") => text(name, &format!("@{value}")),
                Value::String(value) => text(name, value),
                value => text(name, value),
            }
        }
    }
}
