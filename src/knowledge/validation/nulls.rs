//! `null` in arrays of primitives (<https://hl7.org/fhir/R4/json.html#primitive>).
//!
//! `given` and `_given` are two arrays read side by side; `null` fills the place of a value that only its sibling has.
//! JSON Schema cannot compare two arrays, so this is checked here. Everywhere else the schemas refuse `null`.

use serde_json::{Map, Value};

use super::Step;

/// Calls `found` with the place of each item of an array that has neither a value nor a sibling.
pub fn find_orphans<'v>(value: &'v Value, at: &mut Vec<Step<'v>>, found: &mut dyn FnMut(&[Step<'v>])) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        at.push(Step::Property(name));
        match member {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push(Step::Index(index));
                    if item.is_null() && counterpart(members, name, index).is_none_or(Value::is_null) {
                        found(at);
                    } else {
                        find_orphans(item, at, found);
                    }
                    at.pop();
                }
            }
            other => find_orphans(other, at, found),
        }
        at.pop();
    }
}

/// The item of `_given` that belongs to `given[index]`, and the other way round.
fn counterpart<'v>(members: &'v Map<String, Value>, name: &str, index: usize) -> Option<&'v Value> {
    let other = match name.strip_prefix('_') {
        Some(plain) => members.get(plain),
        None => members.get(&format!("_{name}")),
    };
    other?.get(index)
}

/// Whether there is any `null` within: cheaper than [`find_orphans`], and usually there is none.
pub fn contains_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(contains_null),
        Value::Object(members) => members.values().any(contains_null),
        _ => false,
    }
}
