//! What profiles come to: rules over the JSON of a resource, made once by [`compile`](super::compile), walked by
//! [`check`](super::check).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::knowledge::definitions::TypeId;
use crate::knowledge::fhirpath::Expression;

/// What a profile asks of resources that claim it.
#[derive(Debug)]
pub struct Profile {
    pub url: String,
    pub resource_type: String,
    pub rules: Rules,
}

/// What an extension must be, wherever a resource has it.
#[derive(Debug)]
pub struct Extension {
    pub url: String,
    /// The resource types that may have it.
    pub contexts: Vec<String>,
    /// How often one resource may have it; `None`: any number of times.
    pub max: Option<u32>,
    pub rules: Rules,
}

/// What is asked of a value: a resource, an element, an item of a list.
#[derive(Debug, Default)]
pub struct Rules {
    pub expected: Option<Expected>,
    /// Codes of a required binding, each with its system.
    pub codes: Option<Codes>,
    /// Types of resources that a reference may point at.
    pub targets: Vec<String>,
    pub elements: Vec<ElementRules>,
    pub constraints: Vec<Constraint>,
}

/// A code system's URL and one of its codes, for every code of a value set.
#[derive(Clone, Debug)]
pub struct Codes {
    pub value_set: String,
    pub codes: Arc<BTreeSet<(String, String)>>,
}

/// A value that the profile prescribes.
#[derive(Debug)]
pub enum Expected {
    /// `fixed[x]`: exactly this.
    Fixed(Value),
    /// `pattern[x]`: at least this.
    Pattern(Value),
}

/// What is asked of an element: how often it is there, and what each of its values is.
#[derive(Debug)]
pub struct ElementRules {
    /// As FHIRPath names it: `value`, where JSON has `valueInstant`.
    pub name: String,
    /// How JSON names it: several for a choice of types.
    pub properties: Vec<Property>,
    pub min: u32,
    pub max: Option<u32>,
    pub rules: Rules,
    pub slicing: Option<Slicing>,
}

#[derive(Debug)]
pub struct Property {
    /// `valueInstant`
    pub name: String,
    /// `_valueInstant`, where a primitive has its extensions.
    pub sibling: String,
    pub type_id: TypeId,
    /// Whether the profile lets the choice have this type.
    pub is_allowed: bool,
}

/// How the items of a list are told apart (<https://hl7.org/fhir/R4/profiling.html#slicing>).
#[derive(Debug)]
pub struct Slicing {
    /// Whether every item must be of one of the slices.
    pub is_closed: bool,
    pub slices: Vec<Slice>,
}

#[derive(Debug)]
pub struct Slice {
    pub name: String,
    /// What an item of this slice has, and where: names of elements from the item on; none means the item itself.
    pub marks: Vec<(Vec<String>, Expected)>,
    pub min: u32,
    pub max: Option<u32>,
    pub rules: Rules,
}

/// A sentence that must hold, as FHIRPath.
#[derive(Debug)]
pub struct Constraint {
    pub key: String,
    /// The sentence for people.
    pub human: String,
    pub expression: Expression,
}

impl Expected {
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Expected::Fixed(fixed) => value == fixed,
            Expected::Pattern(pattern) => contains(value, pattern),
        }
    }
}

/// Whether `value` has all that `pattern` has; of a list, each item of the pattern in any place
/// (<https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_>).
fn contains(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(value), Value::Object(pattern)) => pattern
            .iter()
            .all(|(name, part)| value.get(name).is_some_and(|value| contains(value, part))),
        (Value::Array(values), Value::Array(pattern)) => pattern
            .iter()
            .all(|part| values.iter().any(|value| contains(value, part))),
        (value, pattern) => value == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_is_the_least_that_a_value_has() {
        let pattern = Expected::Pattern(json!({"coding": [{"system": "s", "code": "a"}]}));
        assert!(
            pattern.accepts(
                &json!({"text": "x", "coding": [{"code": "b"}, {"system": "s", "code": "a", "display": "A"}]})
            )
        );
        assert!(!pattern.accepts(&json!({"coding": [{"system": "s", "code": "b"}, {"system": "t", "code": "a"}]})));
        assert!(!pattern.accepts(&json!({"text": "a"})));
    }

    #[test]
    fn what_is_fixed_is_nothing_else() {
        let fixed = Expected::Fixed(json!({"system": "s"}));
        assert!(fixed.accepts(&json!({"system": "s"})));
        assert!(!fixed.accepts(&json!({"system": "s", "value": "1"})));
    }
}
