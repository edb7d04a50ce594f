//! The schemas of `fhir-schemas/`, compiled by the `jsonschema` crate.
//!
//! A schema refers to the schemas of its elements' types. Were `$ref` left to the crate, each resource type would be
//! compiled together with a copy of every data type, since Extension reaches them all. So a reference to another file
//! becomes the keyword `fhirType`, which hands the value to that type's own schema: each type is compiled once, when a
//! value of it is first met, and `Resource` picks the schema by the value's `resourceType`.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use jsonschema::paths::Location;
use jsonschema::{Keyword, PatternOptions, ValidationError};
use serde_json::{Map, Value};

use super::presence::Presence;
use crate::knowledge::definitions::SCHEMAS;

/// Keyword: the value is of another type, which has its own schema.
pub const TYPE_KEYWORD: &str = "fhirType";
/// Keyword of the generated schemas: a number without fraction and exponent.
pub const NUMERAL_KEYWORD: &str = "wholeNumeral";
/// The standard keyword whose work [`Presence`] does.
pub const PRESENCE_KEYWORD: &str = "allOf";

/// Name of the schema that stands for any resource.
pub const ANY_RESOURCE: &str = "Resource";
const FILE_SUFFIX: &str = ".schema.json";

/// One type's schema; compiled on first use and kept for the life of the process.
pub struct TypeSchema {
    source: &'static str,
    compiled: OnceLock<jsonschema::Validator>,
}

impl TypeSchema {
    /// The schema of a concrete resource type or data type.
    pub fn of(type_name: &str) -> Option<&'static TypeSchema> {
        static ALL: LazyLock<HashMap<&'static str, TypeSchema>> = LazyLock::new(|| {
            let schemas = SCHEMAS.iter().filter(|(name, _)| *name != ANY_RESOURCE);
            schemas
                .map(|&(name, source)| {
                    (
                        name,
                        TypeSchema {
                            source,
                            compiled: OnceLock::new(),
                        },
                    )
                })
                .collect()
        });
        ALL.get(type_name)
    }

    /// The schema that a value's `resourceType` names.
    pub fn of_resource(value: &Value) -> Option<&'static TypeSchema> {
        TypeSchema::of(value.get("resourceType")?.as_str()?)
    }

    /// Whether the value meets the schema, those of the types within it included.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.validator().is_valid(value)
    }

    /// The compiled schema.
    ///
    /// # Panics
    /// When the embedded schema is not one; a test compiles them all.
    pub fn validator(&self) -> &jsonschema::Validator {
        self.compiled.get_or_init(|| {
            let mut schema: Value = serde_json::from_str(self.source).expect("generated schemas are JSON");
            redirect_references(&mut schema);
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .with_pattern_options(PatternOptions::regex())
                .with_keyword(TYPE_KEYWORD, type_keyword)
                .with_keyword(NUMERAL_KEYWORD, |_, _, _| Ok(Box::new(WholeNumeral)))
                .with_keyword(PRESENCE_KEYWORD, |_, rules, _| Ok(Box::new(Presence::compile(rules))))
                .build(&schema)
                .expect("generated schemas are valid")
        })
    }
}

/// Turns `{"$ref": "HumanName.schema.json"}` into `{"fhirType": "HumanName"}`, everywhere.
fn redirect_references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let target = members
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_suffix(FILE_SUFFIX));
            if let Some(target) = target.map(str::to_owned) {
                members.shift_remove("$ref");
                members.insert(TYPE_KEYWORD.to_owned(), Value::String(target));
            }
            members.values_mut().for_each(redirect_references);
        }
        Value::Array(items) => items.iter_mut().for_each(redirect_references),
        _ => {}
    }
}

fn type_keyword<'a>(
    _: &'a Map<String, Value>,
    target: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let name = target.as_str().unwrap_or_default();
    if name == ANY_RESOURCE {
        return Ok(Box::new(AnyResource));
    }
    match TypeSchema::of(name) {
        Some(schema) => Ok(Box::new(OfType {
            name: name.to_owned(),
            schema,
        })),
        None => Err(ValidationError::custom(format!("there is no schema of {name}"))),
    }
}

struct OfType {
    name: String,
    schema: &'static TypeSchema,
}

impl<'i> Keyword<'i> for OfType {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        outcome(self.schema.is_valid(value), &self.name)
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        self.schema.is_valid(value)
    }
}

struct AnyResource;

impl<'i> Keyword<'i> for AnyResource {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        outcome(Keyword::<'i>::is_valid(self, value), ANY_RESOURCE)
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        // The schema of a data type refuses the property `resourceType`.
        TypeSchema::of_resource(value).is_some_and(|schema| schema.is_valid(value))
    }
}

/// JSON Schema counts `1.0` and `1e0` among the integers.
struct WholeNumeral;

impl<'i> Keyword<'i> for WholeNumeral {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        outcome(Keyword::<'i>::is_valid(self, value), NUMERAL_KEYWORD)
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        let Value::Number(number) = value else { return true };
        let text = number.as_str();
        !text.contains(['.', 'e', 'E']) && text != "-0"
    }
}

/// An error that carries `detail` and no more: what is wrong within is for [`super::report`] to find.
pub fn outcome<'i>(is_valid: bool, detail: &str) -> Result<(), ValidationError<'i>> {
    match is_valid {
        true => Ok(()),
        false => Err(ValidationError::custom(detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles() {
        for (name, _) in SCHEMAS.iter().filter(|(name, _)| *name != ANY_RESOURCE) {
            TypeSchema::of(name).expect(name).validator();
        }
    }
}
