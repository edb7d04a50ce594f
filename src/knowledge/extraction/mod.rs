//! What search parameters find in a resource, as plans instead of programs.
//!
//! R4's 1,375 parameters (<https://hl7.org/fhir/R4/searchparameter-registry.html>) say in FHIRPath which elements they
//! index. Nearly all of them are paths, with a type or a simple condition here and there. [`ExtractionPlan`] compiles all
//! parameters of a resource type to one prefix trie of JSON properties ([`compile`]), which is walked once per resource
//! ([`walk`]): `Patient.name` and `Patient.name.family` meet in the same node, and nothing is looked at that no parameter
//! asks for. Types are resolved beforehand, so the walk knows that `valueQuantity` holds a Quantity.
//!
//! An expression that is more than that is left to the FHIRPath engine ([`computed`]); in R4 that is one, whether a
//! patient is deceased. A test compares what the plans find with what the engine finds.

mod compile;
mod computed;
mod filter;
mod walk;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::definitions::{Definitions, TypeId};
use super::fhirpath::CompileError;
use computed::Computed;
use filter::Filter;

/// All search parameters of one resource type. `K` tells the parameters apart.
#[derive(Debug)]
pub struct ExtractionPlan<K> {
    definitions: &'static Definitions,
    root: Node<K>,
    computed: Vec<Computed<K>>,
}

/// A value that a parameter indexes.
#[derive(Clone, Copy, Debug)]
pub struct Found<'v> {
    pub value: &'v Value,
    /// The value's FHIR type, never a choice: `CodeableConcept`, `Period`, `string`, … For a resource in a resource it
    /// is the type of that.
    pub type_id: TypeId,
}

/// Why a search parameter cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the search parameter's expression `{expression}` is not FHIRPath: {source}")]
    Syntax { expression: String, source: CompileError },
    #[error(
        "the search parameter's expression `{expression}` names the element `{element}`, which {type_name} does not have"
    )]
    UnknownElement {
        expression: String,
        element: String,
        type_name: String,
    },
}

/// An element, or an element under a condition, and where to go from it.
#[derive(Debug)]
struct Node<K> {
    type_id: TypeId,
    /// Parameters that index the value here.
    found_by: Vec<K>,
    /// Further nodes for the same value, if a condition holds.
    filtered: Vec<(Filter, Node<K>)>,
    /// Sorted by [`property_order`].
    children: Vec<Child<K>>,
}

#[derive(Debug)]
struct Child<K> {
    property: &'static str,
    node: Node<K>,
}

/// Cheap to compare, and most names already differ in length.
fn property_order(name: &str) -> (usize, &str) {
    (name.len(), name)
}

impl<K> Node<K> {
    fn new(type_id: TypeId) -> Self {
        Node {
            type_id,
            found_by: Vec::new(),
            filtered: Vec::new(),
            children: Vec::new(),
        }
    }
}
