//! Where an element is inside a resource, and how to change it there.
//!
//! A FHIRPath engine answers with borrowed values. To change one, its address is looked up in the tree and becomes a
//! list of steps from the root, after which the borrow is over and the tree can be written to.
//!
//! A primitive value and its id and extensions are two JSON properties, `x` and `_x`, and two lists in step when the
//! element repeats. [`Cell`] holds both halves, so that they move together.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeKind};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A JSON property without the leading `_`.
    Property(String),
    Index(usize),
}

/// The places of all values in `targets` (addresses of values inside `root`), in the order of the document. A primitive
/// that has extensions only is found by the address of its `_x` half.
pub(super) fn locate(root: &Value, targets: &HashSet<*const Value>) -> Vec<Vec<Step>> {
    fn walk(value: &Value, targets: &HashSet<*const Value>, at: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
        if targets.contains(&std::ptr::from_ref(value)) {
            found.push(at.clone());
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push(Step::Index(index));
                    walk(item, targets, at, found);
                    at.pop();
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    at.push(Step::Property(name.strip_prefix('_').unwrap_or(name).to_owned()));
                    walk(member, targets, at, found);
                    at.pop();
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(root, targets, &mut Vec::new(), &mut found);
    found
}

/// The FHIR type of the element at `steps`. `None` when the resource does not follow the element model there.
pub(super) fn type_at<'d>(root: &Value, steps: &[Step], definitions: &'d Definitions) -> Option<&'d TypeDefinition> {
    let mut value = Some(root);
    let mut at = definitions.resource_type(root["resourceType"].as_str()?)?;
    for step in steps {
        match step {
            Step::Property(name) => {
                // A primitive's children are those of Element.
                let parent = if at.kind == TypeKind::Primitive {
                    definitions.get(definitions.type_id("Element")?)
                } else {
                    at
                };
                at = definitions.get(parent.property(name)?.1.type_id);
                value = value.and_then(|value| value.get(name));
            }
            Step::Index(index) => value = value.and_then(|value| value.get(index)),
        }
        // A contained resource, or one in a Bundle or Parameters, says itself which type it has.
        if let Some(name) = value
            .filter(|_| at.kind == TypeKind::Resource)
            .and_then(|value| value["resourceType"].as_str())
        {
            at = definitions.resource_type(name)?;
        }
    }
    Some(at)
}

/// The JSON object that holds the children of the element at `steps`. For a primitive this is its `_x` half, made
/// when missing. `None` when the steps lead nowhere.
pub(super) fn children_of<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Map<String, Value>> {
    let Some((last, before)) = steps.split_last() else {
        return root.as_object_mut();
    };
    // Named before the borrow: the list `x[index]`, or the single `x`.
    let (parent, name, index) = match (last, before.split_last()) {
        (Step::Property(name), _) => (before, name, None),
        (Step::Index(index), Some((Step::Property(name), parent))) => (parent, name, Some(*index)),
        _ => return None,
    };
    let parent = children_of(root, parent)?;
    let is_complex = match (parent.get(name), index) {
        (Some(Value::Array(items)), Some(index)) => items.get(index).is_some_and(Value::is_object),
        (Some(value), None) => value.is_object(),
        _ => false,
    };
    let half = if is_complex {
        parent.get_mut(name)?
    } else {
        let length = parent.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        let sibling = parent.entry(format!("_{name}")).or_insert(Value::Null);
        if index.is_some() {
            if !sibling.is_array() {
                *sibling = Value::Array(Vec::new());
            }
            let items = sibling.as_array_mut()?;
            if items.len() < length {
                items.resize(length, Value::Null);
            }
        }
        sibling
    };
    let half = match index {
        Some(index) => half.get_mut(index)?,
        None => half,
    };
    if half.is_null() {
        *half = Value::Object(Map::new());
    }
    half.as_object_mut()
}

/// Both halves of one element; `Null` stands for a half that is absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub value: Value,
    /// Id and extensions of a primitive.
    pub sibling: Value,
}

/// Takes the single element `name` out of `parent`.
pub(super) fn remove(parent: &mut Map<String, Value>, name: &str) {
    parent.shift_remove(name);
    parent.shift_remove(&format!("_{name}"));
}

/// Puts a single element into `parent`, in the place of the one that is there.
pub(super) fn set(parent: &mut Map<String, Value>, name: &str, cell: Cell) {
    set_half(parent, name.to_owned(), cell.value);
    set_half(parent, format!("_{name}"), cell.sibling);
}

fn set_half(parent: &mut Map<String, Value>, name: String, value: Value) {
    if value.is_null() {
        parent.shift_remove(&name);
    } else {
        parent.insert(name, value);
    }
}

/// A copy of the repeating element `name` of `parent`; empty when it is absent.
pub(super) fn list(parent: &Map<String, Value>, name: &str) -> Vec<Cell> {
    let half = |name: &str| parent.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (values, siblings) = (half(name), half(&format!("_{name}")));
    let length = values.len().max(siblings.len());
    let (mut values, mut siblings) = (values.into_iter(), siblings.into_iter());
    (0..length)
        .map(|_| Cell {
            value: values.next().unwrap_or_default(),
            sibling: siblings.next().unwrap_or_default(),
        })
        .collect()
}

/// Writes the repeating element `name` of `parent`, each half only when an item has it.
pub(super) fn set_list(parent: &mut Map<String, Value>, name: &str, cells: Vec<Cell>) {
    let (values, siblings): (Vec<Value>, Vec<Value>) = cells.into_iter().map(|cell| (cell.value, cell.sibling)).unzip();
    let whole = |items: Vec<Value>| {
        if items.iter().all(Value::is_null) {
            Value::Null
        } else {
            Value::Array(items)
        }
    };
    set_half(parent, name.to_owned(), whole(values));
    set_half(parent, format!("_{name}"), whole(siblings));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_becomes_steps() {
        let resource = json!({"name": [{"given": ["A", "B"]}], "_birthDate": {"id": "x"}});
        let targets = HashSet::from([
            std::ptr::from_ref(&resource["name"][0]["given"][1]),
            std::ptr::from_ref(&resource["_birthDate"]),
        ]);
        let property = |name: &str| Step::Property(name.to_owned());
        assert_eq!(
            locate(&resource, &targets),
            [
                vec![property("name"), Step::Index(0), property("given"), Step::Index(1)],
                vec![property("birthDate")]
            ]
        );
    }

    #[test]
    fn both_halves_of_a_list_stay_in_step() {
        let mut resource = json!({"given": ["A", null, "C"], "_given": [null, {"id": "b"}]});
        let map = resource.as_object_mut().unwrap();
        let mut cells = list(map, "given");
        cells.remove(0);
        set_list(map, "given", cells);
        assert_eq!(resource, json!({"given": [null, "C"], "_given": [{"id": "b"}, null]}));
    }

    #[test]
    fn a_primitive_gets_its_other_half_when_needed() {
        let mut resource = json!({"birthDate": "1970-01-01", "name": [{"given": ["A", "B"]}]});
        let steps = [Step::Property("birthDate".into())];
        children_of(&mut resource, &steps)
            .unwrap()
            .insert("id".into(), json!("x"));
        let steps = [
            Step::Property("name".into()),
            Step::Index(0),
            Step::Property("given".into()),
            Step::Index(1),
        ];
        children_of(&mut resource, &steps)
            .unwrap()
            .insert("id".into(), json!("y"));
        assert_eq!(
            resource,
            json!({
                "birthDate": "1970-01-01", "_birthDate": {"id": "x"},
                "name": [{"given": ["A", "B"], "_given": [null, {"id": "y"}]}]
            })
        );
    }
}
