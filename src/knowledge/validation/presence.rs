//! Which properties must, and which may not, stand together.
//!
//! The schemas say it in standard words: `oneOf` branches that each require a property, one branch per type of a
//! `value[x]`, and `anyOf` for a primitive that may be there as `_name` only. Tried branch by branch, an Extension
//! would be asked for its 50 types on each visit; this looks once at the properties that are there.

use std::collections::HashMap;

use jsonschema::{Keyword, ValidationError};
use serde_json::Value;

use super::compiled::{PRESENCE_KEYWORD, outcome};

/// The rules of one type: its schema's `allOf`.
pub struct Presence(Vec<Rule>);

enum Rule {
    /// At least one of the properties: `status` or `_status`.
    Any(Vec<String>),
    /// At most one alternative of a choice, or exactly one.
    Choice {
        /// What the names of all its properties begin with: `value`.
        prefix: String,
        /// Property, or `_` sibling → which alternative it belongs to.
        alternatives: HashMap<String, usize>,
        is_required: bool,
    },
}

impl Presence {
    /// Reads the rules from the value of `allOf`.
    pub fn compile(rules: &Value) -> Presence {
        Presence(members(rules).map(Rule::compile).collect())
    }
}

impl Rule {
    fn compile(rule: &Value) -> Rule {
        let Some(branches) = rule.get("oneOf") else {
            return Rule::Any(required_names(rule));
        };
        let mut is_required = true;
        let mut alternatives = HashMap::new();
        for (index, branch) in members(branches).enumerate() {
            // The branch that forbids all the properties stands for the choice not made.
            is_required &= branch.get("properties").is_none();
            alternatives.extend(required_names(branch).into_iter().map(|name| (name, index)));
        }
        Rule::Choice {
            prefix: common_prefix(alternatives.keys()),
            alternatives,
            is_required,
        }
    }

    fn is_met(&self, object: &serde_json::Map<String, Value>) -> bool {
        match self {
            Rule::Any(names) => names.iter().any(|name| object.contains_key(name)),
            Rule::Choice {
                prefix,
                alternatives,
                is_required,
            } => {
                let mut chosen = None;
                for name in object.keys() {
                    if !name.strip_prefix('_').unwrap_or(name).starts_with(prefix.as_str()) {
                        continue;
                    }
                    match (alternatives.get(name.as_str()), chosen) {
                        (None, _) => {}
                        (Some(this), None) => chosen = Some(this),
                        (Some(this), Some(other)) if this == other => {}
                        (Some(_), Some(_)) => return false,
                    }
                }
                chosen.is_some() || !is_required
            }
        }
    }
}

fn members(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// The names in `{"required": […]}` or in an `anyOf` of such.
fn required_names(schema: &Value) -> Vec<String> {
    let direct = schema.get("required").into_iter();
    let nested = schema
        .get("anyOf")
        .into_iter()
        .flat_map(members)
        .filter_map(|branch| branch.get("required"));
    direct
        .chain(nested)
        .flat_map(members)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn common_prefix<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let common = |a: &str, b: &str| {
        a.chars()
            .zip(b.chars())
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a)
            .collect()
    };
    let names = names.map(|name| name.trim_start_matches('_').to_owned());
    names.reduce(|a, b| common(&a, &b)).unwrap_or_default()
}

impl<'i> Keyword<'i> for Presence {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        outcome(Keyword::<'i>::is_valid(self, value), PRESENCE_KEYWORD)
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        value
            .as_object()
            .is_none_or(|object| self.0.iter().all(|rule| rule.is_met(object)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meets(rules: &Value, value: Value) -> bool {
        let object = value.as_object().unwrap();
        Presence::compile(rules).0.iter().all(|rule| rule.is_met(object))
    }

    #[test]
    fn a_choice_is_made_at_most_once_and_a_required_one_exactly_once() {
        let date = json!({"anyOf": [{"required": ["valueDate"]}, {"required": ["_valueDate"]}]});
        let age = json!({"required": ["valueAge"]});
        let none = json!({"properties": {"valueDate": false, "_valueDate": false, "valueAge": false}});
        let optional = json!([{"oneOf": [none, date, age]}]);
        let required = json!([{"oneOf": [date, age]}]);
        for rules in [&optional, &required] {
            assert!(meets(rules, json!({"valueDate": 1, "_valueDate": 1, "values": 1})));
            assert!(meets(rules, json!({"_valueDate": 1})));
            assert!(!meets(rules, json!({"valueDate": 1, "valueAge": 1})));
            assert!(!meets(rules, json!({"_valueDate": 1, "valueAge": 1})));
        }
        assert!(meets(&optional, json!({"url": 1})));
        assert!(!meets(&required, json!({"url": 1})));
    }

    #[test]
    fn a_required_primitive_may_be_its_sibling_only() {
        let rules = json!([{"anyOf": [{"required": ["status"]}, {"required": ["_status"]}]}]);
        assert!(meets(&rules, json!({"status": 1})));
        assert!(meets(&rules, json!({"_status": 1})));
        assert!(!meets(&rules, json!({"state": 1})));
    }
}
