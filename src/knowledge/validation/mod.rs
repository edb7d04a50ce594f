//! Structural validation: whether a resource is what R4's definition of its type allows.
//!
//! The rules are the JSON Schemas of `fhir-schemas/`; a value that meets them costs microseconds. Only when one does
//! not, [`report`] looks for what is wrong and says it with a FHIRPath expression and a sentence. Invariants
//! (<https://hl7.org/fhir/R4/conformance-rules.html#constraints>) are not checked here, and profiles are by
//! [`profiles`](super::profiles).

mod compiled;
mod nulls;
mod presence;
mod report;

use serde_json::Value;

use crate::knowledge::definitions::Definitions;
use compiled::TypeSchema;

/// Checks resources against R4's structural rules. Cheap to make and to share between threads: compiled schemas belong
/// to the process, and each type's is compiled when a value of that type is first checked.
#[derive(Clone, Copy, Debug)]
pub struct Validator {
    definitions: &'static Definitions,
}

/// One thing that is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: FindingCode,
    /// Where, as FHIRPath: `Patient.name[0].given[1]`. A property that does not exist is named as it was written.
    pub expression: String,
    /// What is wrong and what would be right. Holds none of the resource's values.
    pub message: String,
}

/// What sort of fault it is; each is a code of <https://hl7.org/fhir/R4/valueset-issue-type.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingCode {
    /// An element that does not exist, may not be here, or is a list where it should be single (`structure`).
    Structure,
    /// An element that must be there is not (`required`).
    Required,
    /// A value that is not of its type (`value`).
    Value,
    /// A code outside the value set that the element is bound to (`code-invalid`).
    CodeInvalid,
    /// A constraint of a profile that does not hold (`invariant`).
    Invariant,
}

/// One step of the way from a resource to a value within it.
#[derive(Debug, Clone, Copy)]
enum Step<'v> {
    Property(&'v str),
    Index(usize),
}

impl Validator {
    pub fn new(definitions: &'static Definitions) -> Validator {
        Validator { definitions }
    }

    /// What is structurally wrong with `resource`, at most 100 findings; empty when it is valid.
    ///
    /// `resourceType` says what it should be. Resources within (contained, entries of a Bundle, parameters) are
    /// checked as their own type.
    pub fn validate(&self, resource: &Value) -> Vec<Finding> {
        match self.schema_of(resource) {
            Some(schema) if schema.is_valid(resource) && !nulls::contains_null(resource) => Vec::new(),
            _ => report::report(self.definitions, resource),
        }
    }

    fn schema_of(&self, resource: &Value) -> Option<&'static TypeSchema> {
        let name = resource.get("resourceType")?.as_str()?;
        self.definitions.resource_type(name)?;
        TypeSchema::of(name)
    }
}

#[cfg(test)]
mod tests;
