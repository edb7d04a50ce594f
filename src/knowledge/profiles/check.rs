//! A resource held against rules. Walks only what the rules name; text is made only for what is wrong.

use std::fmt::Write as _;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::rules::{Codes, ElementRules, Expected, Extension, Profile, Rules, Slicing};
use crate::knowledge::definitions::TypeId;
use crate::knowledge::fhirpath::values::DateTime;
use crate::knowledge::fhirpath::{Environment, Item};
use crate::knowledge::validation::{Finding, FindingCode};

/// More findings than these help nobody.
const MAX_FINDINGS: usize = 100;
/// A list of codes up to this length is spelled out.
const MAX_LISTED: usize = 15;

/// Constraints ask for no time, which `compile` sees to; an evaluation needs one all the same.
static NO_TIME: LazyLock<DateTime> =
    LazyLock::new(|| DateTime::from_timestamp(Timestamp::UNIX_EPOCH, 0).expect("1970 comes before the year 10000"));

/// One resource that is being checked.
pub struct Check<'r> {
    resource: Item<'r>,
    resource_type: &'r str,
    /// URL of the profile or extension whose rules are looked at.
    source: &'r str,
    findings: Vec<Finding>,
}

/// The way from the resource to a value.
#[derive(Clone, Copy)]
enum Place<'p> {
    Root(&'p str),
    Element(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

/// A value, and what JSON does not say of it.
#[derive(Clone, Copy)]
struct Found<'r> {
    /// `null` where a primitive has extensions only.
    value: &'r Value,
    sibling: Option<&'r Value>,
    type_id: TypeId,
    /// Its index, where the element is a list.
    index: Option<usize>,
    is_allowed: bool,
}

impl<'r> Check<'r> {
    pub fn new(resource: Item<'r>, resource_type: &'r str) -> Check<'r> {
        Check {
            resource,
            resource_type,
            source: "",
            findings: Vec::new(),
        }
    }

    pub fn findings(self) -> Vec<Finding> {
        self.findings
    }

    pub fn add(&mut self, code: FindingCode, expression: String, message: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                code,
                expression,
                message,
            });
        }
    }

    pub fn profile(&mut self, profile: &'r Profile) {
        self.source = &profile.url;
        let place = Place::Root(self.resource_type);
        if let Some(root) = self.resource.as_element() {
            self.value(&profile.rules, Found::alone(root.value, root.type_id), &place);
        }
    }

    /// The extension at this index of the resource.
    pub fn extension(&mut self, extension: &'r Extension, value: &'r Value, index: usize, type_id: TypeId) {
        self.source = &extension.url;
        let root = Place::Root(self.resource_type);
        let list = Place::Element(&root, "extension");
        self.value(
            &extension.rules,
            Found::alone(value, type_id),
            &Place::Item(&list, index),
        );
    }

    fn value(&mut self, rules: &Rules, found: Found<'r>, place: &Place<'_>) {
        match &rules.expected {
            Some(expected) if !expected.accepts(found.value) => {
                let (what, expected) = match expected {
                    Expected::Fixed(value) => ("is", value),
                    Expected::Pattern(value) => ("holds", value),
                };
                self.wrong(FindingCode::Value, place, &format!("{what} {expected}"));
            }
            _ => {}
        }
        if let Some(codes) = &rules.codes
            && !has_code(found.value, codes)
        {
            self.wrong(FindingCode::CodeInvalid, place, &one_of(codes));
        }
        if !rules.targets.is_empty()
            && let Some(target) = target_type(found.value)
            && !rules.targets.iter().any(|known| known == target)
        {
            self.wrong(
                FindingCode::Value,
                place,
                &format!("refers to {}", rules.targets.join(" or ")),
            );
        }
        if let Value::Object(object) = found.value {
            for element in &rules.elements {
                self.element(element, object, place);
            }
        }
        for constraint in &rules.constraints {
            let environment = Environment::new(*NO_TIME).within(self.resource.clone());
            let focus = Item::element(found.value, found.sibling, found.type_id);
            // What fails, since something is there twice say, does not hold either.
            if !matches!(constraint.expression.holds(&focus, &environment), Ok(Some(true) | None)) {
                let message = format!("{} ({}, of {})", constraint.human, constraint.key, self.source);
                self.add(FindingCode::Invariant, place.expression(), message);
            }
        }
    }

    fn element(&mut self, rules: &ElementRules, object: &'r Map<String, Value>, parent: &Place<'_>) {
        let list = Place::Element(parent, &rules.name);
        let found = find(rules, object);
        let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
        if count < rules.min {
            let text = match rules.min {
                1 => "is required".to_owned(),
                min => format!("is there {min} times or more"),
            };
            self.wrong(FindingCode::Required, &list, &text);
        }
        if rules.max.is_some_and(|max| count > max) {
            self.wrong(FindingCode::Structure, &list, &at_most(rules.max));
        }
        for found in &found {
            let place = found.index.map_or(list, |index| Place::Item(&list, index));
            match found.is_allowed {
                true => self.value(&rules.rules, *found, &place),
                false => {
                    let allowed = rules.properties.iter().filter(|property| property.is_allowed);
                    let names: Vec<&str> = allowed.map(|property| property.name.as_str()).collect();
                    self.wrong(
                        FindingCode::Structure,
                        &place,
                        &format!("is written as {}", names.join(" or ")),
                    );
                }
            }
        }
        if let Some(slicing) = &rules.slicing {
            self.slices(slicing, &found, &list, count < rules.min);
        }
    }

    fn slices(&mut self, slicing: &Slicing, items: &[Found<'r>], list: &Place<'_>, is_short: bool) {
        let mut counts = vec![0u32; slicing.slices.len()];
        for item in items {
            let place = item.index.map_or(*list, |index| Place::Item(list, index));
            let of = slicing.slices.iter().position(|slice| {
                let has = |(path, mark): &(Vec<String>, Expected)| has_mark(item.value, path, mark);
                slice.marks.iter().all(has)
            });
            match of {
                Some(index) => {
                    counts[index] += 1;
                    self.value(&slicing.slices[index].rules, *item, &place);
                }
                None if slicing.is_closed => {
                    let names: Vec<&str> = slicing.slices.iter().map(|slice| slice.name.as_str()).collect();
                    self.wrong(
                        FindingCode::Structure,
                        &place,
                        &format!("is one of {}", names.join(", ")),
                    );
                }
                None => {}
            }
        }
        for (slice, count) in slicing.slices.iter().zip(counts) {
            // That the list is too short has been said.
            if count < slice.min && !is_short {
                self.wrong(
                    FindingCode::Required,
                    list,
                    &format!("has {} {}", slice.min, slice.name),
                );
            }
            if slice.max.is_some_and(|max| count > max) {
                let text = format!(
                    "has {} {}",
                    at_most(slice.max).trim_start_matches("is there "),
                    slice.name
                );
                self.wrong(FindingCode::Structure, list, &text);
            }
        }
    }

    /// Adds a finding whose sentence goes on after the element's name.
    fn wrong(&mut self, code: FindingCode, place: &Place<'_>, rule: &str) {
        let expression = place.expression();
        let message = format!("{}: {} {rule}.", self.source, place.name());
        self.add(code, expression, message);
    }
}

impl<'r> Found<'r> {
    fn alone(value: &'r Value, type_id: TypeId) -> Found<'r> {
        Found {
            value,
            sibling: None,
            type_id,
            index: None,
            is_allowed: true,
        }
    }
}

impl Place<'_> {
    /// As FHIRPath: `Task.input[0].value`.
    fn expression(&self) -> String {
        match self {
            Place::Root(name) => (*name).to_owned(),
            Place::Element(parent, name) => format!("{}.{name}", parent.expression()),
            Place::Item(list, index) => {
                let mut expression = list.expression();
                let _ = write!(expression, "[{index}]");
                expression
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Place::Root(name) | Place::Element(_, name) => name,
            Place::Item(list, _) => list.name(),
        }
    }
}

/// The values of an element, whichever of its types they have.
fn find<'r>(rules: &ElementRules, object: &'r Map<String, Value>) -> Vec<Found<'r>> {
    let mut all = Vec::new();
    for property in &rules.properties {
        let (value, sibling) = (object.get(&property.name), object.get(&property.sibling));
        let found = |value, sibling, index| Found {
            value,
            sibling,
            type_id: property.type_id,
            index,
            is_allowed: property.is_allowed,
        };
        match (value, sibling) {
            (None, None) => {}
            (Some(Value::Array(_)), _) | (None, Some(Value::Array(_))) => {
                let list = |value: Option<&'r Value>| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let (values, siblings) = (list(value), list(sibling));
                for index in 0..values.len().max(siblings.len()) {
                    let value = values.get(index).unwrap_or(&Value::Null);
                    all.push(found(
                        value,
                        siblings.get(index).filter(|sibling| !sibling.is_null()),
                        Some(index),
                    ));
                }
            }
            (value, sibling) => all.push(found(value.unwrap_or(&Value::Null), sibling, None)),
        }
    }
    all
}

/// Whether what stands at the end of `path` is what the mark says; in lists, in any of their items.
fn has_mark(value: &Value, path: &[String], mark: &Expected) -> bool {
    match (value, path) {
        (value, []) => mark.accepts(value),
        (Value::Array(items), path) => items.iter().any(|item| has_mark(item, path, mark)),
        (value, [name, rest @ ..]) => value.get(name).is_some_and(|value| has_mark(value, rest, mark)),
    }
}

/// Whether a code, a Coding or one coding of a CodeableConcept is in the value set.
fn has_code(value: &Value, codes: &Codes) -> bool {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let has = |coding: &Value| codes.codes.contains(&(text(coding, "system"), text(coding, "code")));
    match value {
        Value::String(code) => codes.codes.iter().any(|(_, known)| known == code),
        Value::Object(object) => match object.get("coding") {
            Some(Value::Array(codings)) => codings.iter().any(has),
            _ => has(value),
        },
        _ => false,
    }
}

fn one_of(codes: &Codes) -> String {
    match codes.codes.len() <= MAX_LISTED {
        true => {
            let names: Vec<&str> = codes.codes.iter().map(|(_, code)| code.as_str()).collect();
            format!("is one of {}", names.join(", "))
        }
        false => format!("is one of the codes of {}", codes.value_set),
    }
}

fn at_most(max: Option<u32>) -> String {
    match max {
        Some(0) => "is not there".to_owned(),
        Some(1) => "is there once at most".to_owned(),
        max => format!("is there {} times at most", max.unwrap_or_default()),
    }
}

/// The type of the resource that a Reference points at, if that can be seen: `Patient` of `http://…/Patient/7/_history/2`.
fn target_type(reference: &Value) -> Option<&str> {
    if let Some(stated) = reference.get("type").and_then(Value::as_str) {
        return Some(stated);
    }
    let text = reference.get("reference").and_then(Value::as_str)?;
    let plain = text.split_once("/_history/").map_or(text, |(plain, _)| plain);
    let (rest, _) = plain.rsplit_once('/')?;
    let name = rest.rsplit_once('/').map_or(rest, |(_, name)| name);
    name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_type_of_a_target_is_seen_where_it_can_be() {
        for (reference, expected) in [
            (json!({"reference": "Patient/7"}), Some("Patient")),
            (
                json!({"reference": "https://a.example/fhir/Patient/7/_history/2"}),
                Some("Patient"),
            ),
            (json!({"type": "Device", "identifier": {"value": "x"}}), Some("Device")),
            (json!({"reference": "#inner"}), None),
            (json!({"reference": "urn:uuid:1"}), None),
            (json!({"display": "x"}), None),
        ] {
            assert_eq!(target_type(&reference), expected, "{reference}");
        }
    }
}
