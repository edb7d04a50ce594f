//! Parameters that need the FHIRPath engine.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::{Found, Within};
use crate::knowledge::definitions::Definitions;
use crate::knowledge::fhirpath::ast::Expr;
use crate::knowledge::fhirpath::values::DateTime;
use crate::knowledge::fhirpath::{CompileError, Environment, Expression, Item};

static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);

#[derive(Debug)]
pub(super) struct Computed<K> {
    key: K,
    /// A result may borrow from its expression as well as from the resource. Never freed, it lets callers keep what is
    /// found for as long as they keep the resource.
    expression: &'static Expression,
}

/// Compiled branches by the text of their expression and their place in it. Each is made once, however often plans are
/// compiled anew.
type Compiled = HashMap<(String, usize), &'static Expression>;

impl<K: Copy> Computed<K> {
    /// Which parameter this is.
    #[cfg(test)]
    pub fn key(&self) -> K {
        self.key
    }

    /// `branch` is the part of `expression` that is to be evaluated.
    pub fn compile(
        key: K,
        expression: &str,
        branch: &Expr,
        definitions: &'static Definitions,
    ) -> Result<Self, CompileError> {
        static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (expression.to_owned(), branch.position);
        if let Some(&expression) = compiled.get(&place) {
            return Ok(Computed { key, expression });
        }
        let expression: &'static Expression = Box::leak(Box::new(Expression::of(branch, definitions)?));
        compiled.insert(place, expression);
        Ok(Computed { key, expression })
    }

    /// Yields the elements and the booleans that the expression gives for `focus`. Other computed values have no place in
    /// the resource to borrow from, and no parameter of R4 gives one. An expression that fails on this resource finds
    /// nothing.
    pub fn evaluate<'v>(
        &self,
        focus: Found<'v>,
        within: Within<'v>,
        definitions: &'static Definitions,
        sink: &mut dyn FnMut(K, Found<'v>),
    ) {
        // What is indexed must not depend on the day, so an expression that asks for the time always gets the same.
        let Some(now) = DateTime::from_timestamp(Timestamp::UNIX_EPOCH, 0) else {
            return;
        };
        let item = |resource| Item::resource(resource, definitions);
        let (Some(resource), Some(root), Some(boolean)) =
            (item(within.resource), item(within.root), definitions.type_id("boolean"))
        else {
            return;
        };
        let environment = Environment::new(now).within(resource).contained_in(root);
        let focus = Item::element(focus.value, None, focus.type_id);
        let Ok(items) = self.expression.evaluate(&focus, &environment) else {
            return;
        };
        for item in &items {
            let found = match item {
                Item::Element(element) if !element.value.is_null() => Found {
                    value: element.value,
                    type_id: element.type_id,
                },
                Item::Boolean(answer) => Found {
                    value: if *answer { &TRUE } else { &FALSE },
                    type_id: boolean,
                },
                _ => continue,
            };
            sink(self.key, found);
        }
    }
}
