//! Trie + resource → values.

use serde_json::Value;

use super::filter::{self, Place};
use super::{ExtractionPlan, Found, Node, Within, property_order};
use crate::knowledge::definitions::{Definitions, TypeId};

impl<K: Copy> ExtractionPlan<K> {
    /// Gives `sink` every value that a parameter indexes, in the order of the JSON text, each place once per parameter.
    /// A primitive that has extensions but no value is left out: there is nothing to index.
    ///
    /// The resource need not be valid; what is not where it should be is not found.
    pub fn walk<'v>(&self, resource: &'v Value, sink: &mut dyn FnMut(K, Found<'v>)) {
        self.walk_within(resource, Within::outermost(resource), sink);
    }

    /// The same from `focus`, of the type that the plan starts at, which is in a resource that may be contained in another.
    pub fn walk_within<'v>(&self, focus: &'v Value, within: Within<'v>, sink: &mut dyn FnMut(K, Found<'v>)) {
        let place = Place {
            definitions: self.definitions,
            root: within.root,
            position: 0,
        };
        self.root.visit(focus, place, sink);
        for computed in &self.computed {
            let focus = Found {
                value: focus,
                type_id: self.root.type_id,
            };
            computed.evaluate(focus, within, self.definitions, sink);
        }
    }
}

impl<K: Copy> Node<K> {
    fn visit<'v>(&self, value: &'v Value, place: Place<'v>, sink: &mut dyn FnMut(K, Found<'v>)) {
        for &key in &self.found_by {
            sink(
                key,
                Found {
                    value,
                    type_id: type_of(value, self.type_id, place.definitions),
                },
            );
        }
        for (filter, node) in &self.filtered {
            if filter.accepts(value, place) {
                node.visit(value, place, sink);
            }
        }
        if self.children.is_empty() {
            return;
        }
        let Value::Object(properties) = value else { return };
        for (name, value) in properties {
            let Some(node) = self.child(name) else { continue };
            match value {
                Value::Array(values) => {
                    for (position, value) in values.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                        node.visit(value, Place { position, ..place }, sink);
                    }
                }
                Value::Null => {}
                value => node.visit(value, Place { position: 0, ..place }, sink),
            }
        }
    }

    fn child(&self, property: &str) -> Option<&Node<K>> {
        let order = property_order(property);
        let at = self
            .children
            .binary_search_by(|child| property_order(child.property).cmp(&order))
            .ok()?;
        Some(&self.children[at].node)
    }
}

/// The declared type, or for a resource in a resource its own.
fn type_of(value: &Value, declared: TypeId, definitions: &Definitions) -> TypeId {
    if !definitions.get(declared).is_abstract {
        return declared;
    }
    let own = filter::resource_type(value).and_then(|name| definitions.resource_type(name));
    own.map_or(declared, |own| own.id)
}
