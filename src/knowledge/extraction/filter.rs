//! Conditions on a single value that need no FHIRPath engine.

use serde_json::Value;

use crate::knowledge::definitions::{Definitions, TypeId};

/// A condition inside of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    /// `where(system='email')`: the value of one of these JSON properties is that text.
    Text { property: &'static str, text: String },
    /// `where(resolve() is Patient)`. A reference tells by its text what it refers to; nothing is looked up but the
    /// resource's own contained ones.
    RefersTo(TypeId),
    /// `ofType(Patient)` of a resource in a resource.
    Resource(TypeId),
    /// `[0]`: the place in its array.
    Position(usize),
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'v> {
    pub definitions: &'static Definitions,
    /// The resource that is walked, or the one that contains it.
    pub root: &'v Value,
    /// Index in the array; 0 for what does not repeat.
    pub position: usize,
}

impl Filter {
    pub fn accepts(&self, value: &Value, place: Place<'_>) -> bool {
        let is_a = |name: &str, wanted: TypeId| {
            place
                .definitions
                .type_id(name)
                .is_some_and(|found| place.definitions.is_a(found, wanted))
        };
        match self {
            Filter::Text { property, text } => value.get(property).and_then(Value::as_str) == Some(text),
            Filter::RefersTo(wanted) => referred_type(value, place.root).is_some_and(|name| is_a(name, *wanted)),
            Filter::Resource(wanted) => resource_type(value).is_some_and(|name| is_a(name, *wanted)),
            Filter::Position(position) => place.position == *position,
        }
    }
}

pub(super) fn resource_type(resource: &Value) -> Option<&str> {
    resource.get("resourceType")?.as_str()
}

/// The name of the type that a Reference, canonical or uri refers to
/// (<https://hl7.org/fhir/R4/references.html#literal>): from `Patient/1`, `http://example.org/fhir/Patient/1/_history/2`,
/// the contained resource of `#p`, the one that contains it of `#`; else from `Reference.type`, as for `urn:uuid:…`.
fn referred_type<'v>(value: &'v Value, root: &'v Value) -> Option<&'v str> {
    let literal = value.as_str().or_else(|| value.get("reference")?.as_str());
    literal
        .and_then(|literal| type_in_literal(literal, root))
        .or_else(|| value.get("type")?.as_str())
}

fn type_in_literal<'v>(literal: &'v str, root: &'v Value) -> Option<&'v str> {
    if let Some(id) = literal.strip_prefix('#') {
        if id.is_empty() {
            return resource_type(root);
        }
        let contained = root.get("contained")?.as_array()?;
        let has_id = |resource: &&Value| resource.get("id").and_then(Value::as_str) == Some(id);
        return resource_type(contained.iter().find(has_id)?);
    }
    let unversioned = literal
        .split_once("/_history/")
        .map_or(literal, |(resource, _)| resource);
    let (before_id, _) = unversioned.rsplit_once('/')?;
    Some(before_id.rsplit_once('/').map_or(before_id, |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reference_tells_its_type() {
        let root = json!({"resourceType": "List", "contained": [{"resourceType": "Group", "id": "g"}]});
        let of = |reference: Value| referred_type(&reference, &root).map(str::to_owned);
        assert_eq!(of(json!({"reference": "Patient/1"})).unwrap(), "Patient");
        assert_eq!(
            of(json!({"reference": "http://example.org/fhir/Patient/1/_history/2"})).unwrap(),
            "Patient"
        );
        assert_eq!(of(json!({"reference": "#g"})).unwrap(), "Group");
        assert_eq!(of(json!({"reference": "#"})).unwrap(), "List");
        assert_eq!(of(json!("Library/l")).unwrap(), "Library");
        assert_eq!(
            of(json!({"type": "Device", "identifier": {"value": "7"}})).unwrap(),
            "Device"
        );
        assert_eq!(
            of(json!({"reference": "urn:uuid:0", "type": "Patient"})).unwrap(),
            "Patient"
        );
        for nothing in [
            json!({"reference": "urn:uuid:0"}),
            json!({"reference": "#x"}),
            json!({"display": "x"}),
            json!(1),
        ] {
            assert_eq!(of(nothing), None);
        }
    }
}
