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
//!
//! A composite parameter has two layers of such plans ([`composite`]): one finds its instances, others the components of
//! an instance.

mod compile;
mod composite;
mod computed;
mod filter;
mod walk;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::definitions::{Definitions, TypeId};
use super::fhirpath::CompileError;
pub use compile::value_types;
pub use composite::CompositePlan;
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

/// What is around a value.
#[derive(Clone, Copy, Debug)]
pub struct Within<'v> {
    /// The resource that holds it.
    pub resource: &'v Value,
    /// The resource that contains that one, else the same: what `#id` is looked up in.
    pub root: &'v Value,
}

impl<'v> Within<'v> {
    /// A resource that no other one contains.
    pub fn outermost(resource: &'v Value) -> Within<'v> {
        Within {
            resource,
            root: resource,
        }
    }
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
    #[error("the search parameter's expression `{expression}` does not fit {type_name}: {source}")]
    Unfit {
        expression: String,
        type_name: String,
        source: CompileError,
    },
    #[error(
        "the search parameter's expression `{expression}` uses {function}(), so that what it finds would change without \
         the resource"
    )]
    Unsteady { expression: String, function: String },
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

impl<K: PartialEq> ExtractionPlan<K> {
    /// The types that the values of one parameter have. None are known of one that needs the FHIRPath engine.
    pub fn types_of(&self, key: &K) -> Vec<TypeId> {
        fn collect<K: PartialEq>(node: &Node<K>, key: &K, types: &mut Vec<TypeId>) {
            if node.found_by.contains(key) && !types.contains(&node.type_id) {
                types.push(node.type_id);
            }
            let filtered = node.filtered.iter().map(|(_, node)| node);
            for node in filtered.chain(node.children.iter().map(|child| &child.node)) {
                collect(node, key, types);
            }
        }
        let mut types = Vec::new();
        collect(&self.root, key, &mut types);
        types
    }
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
