//! HL7's official suite for R4, where the shared folder holds it. docs/fhirpath.md argues the exceptions.

use std::collections::HashMap;
use std::fs;

use serde_json::{Value, json};

use super::super::values::Decimal;
use super::super::{Expression, Item};
use super::{describe, environment, shared_folder};
use crate::knowledge::definitions::Definitions;

/// The tests that are not met, and that docs/fhirpath.md lists with the reasons.
const EXCEPTIONS: [&str; 0] = [];

#[test]
fn the_official_suite_is_met_but_for_the_listed_exceptions() {
    let folder = shared_folder().join("data/fhirpath-r4");
    let Ok(text) = fs::read_to_string(folder.join("tests-fhir-r4.json")) else {
        println!("skipped: the official suite is not at {}", folder.display());
        return;
    };
    let tests: Vec<Value> = serde_json::from_str(&text).expect("the suite is a JSON array");
    let mut inputs: HashMap<String, Value> = HashMap::from([("".to_owned(), json!({"resourceType": "Basic"}))]);
    for test in &tests {
        let name = test["input"].as_str().unwrap_or_default();
        inputs.entry(name.to_owned()).or_insert_with(|| {
            let text = fs::read_to_string(folder.join("input").join(name)).expect("a test's input is there");
            serde_json::from_str(&text).expect("a test's input is JSON")
        });
    }
    let mut failed = Vec::new();
    for test in &tests {
        let input = &inputs[test["input"].as_str().unwrap_or_default()];
        if let Err(reason) = run(test, input) {
            let (name, expression) = (test["name"].as_str().unwrap_or_default(), &test["expr"]);
            println!("{name}: {expression}: {reason}");
            failed.push(name);
        }
    }
    println!(
        "{} of {} tests of the official suite are met",
        tests.len() - failed.len(),
        tests.len()
    );
    assert_eq!(failed, EXCEPTIONS);
}

fn run(test: &Value, input: &Value) -> Result<(), String> {
    let definitions = Definitions::r4();
    let source = test["expr"].as_str().unwrap_or_default();
    let focus = Item::resource(input, definitions).ok_or("the input is no resource")?;
    let compiled = match (test["mode"].as_str(), &focus) {
        (Some("strict"), Item::Element(element)) => Expression::compile_strict(source, element.type_id, definitions),
        _ => Expression::compile(source, definitions),
    };
    let expects_error = test["invalid"].as_str();
    let expression = match compiled {
        Ok(_) if matches!(expects_error, Some("syntax")) => return Err("compiles".to_owned()),
        Ok(expression) => expression,
        Err(error) => return expects_error.map(|_| ()).ok_or_else(|| error.to_string()),
    };
    let environment = environment();
    let result = match expression.evaluate(&focus, &environment) {
        Ok(_) if expects_error.is_some() => return Err("evaluates".to_owned()),
        Ok(result) => result,
        Err(error) => return expects_error.map(|_| ()).ok_or_else(|| error.to_string()),
    };
    let mut found: Vec<(String, String)> = result.iter().map(|item| describe(item, definitions)).collect();
    if test["predicate"] == true {
        found = vec![("boolean".to_owned(), (!found.is_empty()).to_string())];
    }
    let mut expected: Vec<(Option<&str>, &str)> = test["out"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|output| (output["type"].as_str(), output["value"].as_str().unwrap_or_default()))
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
