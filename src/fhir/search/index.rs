//! The index rows of a resource.
//!
//! [`SearchRegistry::rows`] walks a resource once and yields [`ResourceRows`]: borrowed from the resource, sorted, each
//! row once, with systems and references still by name. `commit` compares those of the old and the new version to touch
//! only what changed, and turns rows into the columns of one statement with [`IndexRows::push`].

use serde_json::Value;

use super::registry::{Family, SearchRegistry};
use super::types::{date, quantity, reference, string, token, uri};
use crate::fhir::error::FhirError;
use crate::fhir::store::Ids;

/// Raise it whenever the same resource would make other rows than before. Rows that an older number wrote are replaced
/// as a whole when their resource is written next.
pub const INDEX_VERSION: i32 = 1;

/// What one resource is found by.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ResourceRows<'v> {
    pub token: Vec<token::Row<'v>>,
    pub reference: Vec<reference::Row<'v>>,
    pub string: Vec<string::Row<'v>>,
    pub date: Vec<date::Row>,
    pub quantity: Vec<quantity::Row<'v>>,
    pub uri: Vec<uri::Row<'v>>,
}

impl SearchRegistry {
    /// The index rows of `resource`. A type that R4 does not have has none.
    ///
    /// # Errors
    /// 500 when a search parameter of the type cannot be compiled.
    pub fn rows<'v>(&self, resource_type: &str, resource: &'v Value) -> Result<ResourceRows<'v>, FhirError> {
        let mut rows = ResourceRows::default();
        let Some(plan) = self.plan(resource_type)? else {
            return Ok(rows);
        };
        let locator = self.locator();
        plan.walk(resource, &mut |key, found| {
            let type_name = self.definitions().get(found.type_id).name.as_str();
            match key.family {
                Family::Token => token::index(key.id, type_name, found.value, &mut rows.token),
                Family::Reference => {
                    reference::index(key.id, locator, found.value, &mut rows.reference, &mut rows.token);
                }
                Family::String => string::index(key.id, type_name, found.value, &mut rows.string),
                Family::Date => date::index(key.id, type_name, found.value, &mut rows.date),
                Family::Quantity => quantity::index(key.id, type_name, found.value, &mut rows.quantity),
                Family::Uri => uri::index(key.id, type_name, found.value, &mut rows.uri),
            }
        });
        rows.tidy();
        Ok(rows)
    }
}

impl<'v> ResourceRows<'v> {
    fn tidy(&mut self) {
        fn tidy<T: Ord>(rows: &mut Vec<T>) {
            rows.sort_unstable();
            rows.dedup();
        }
        tidy(&mut self.token);
        tidy(&mut self.reference);
        tidy(&mut self.string);
        tidy(&mut self.date);
        tidy(&mut self.quantity);
        tidy(&mut self.uri);
    }

    /// The rows that are here and not in `other`.
    pub fn without(&self, other: &ResourceRows<'v>) -> ResourceRows<'v> {
        fn without<T: Ord + Clone>(rows: &[T], others: &[T]) -> Vec<T> {
            rows.iter()
                .filter(|row| others.binary_search(row).is_err())
                .cloned()
                .collect()
        }
        ResourceRows {
            token: without(&self.token, &other.token),
            reference: without(&self.reference, &other.reference),
            string: without(&self.string, &other.string),
            date: without(&self.date, &other.date),
            quantity: without(&self.quantity, &other.quantity),
            uri: without(&self.uri, &other.uri),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
            && self.reference.is_empty()
            && self.string.is_empty()
            && self.date.is_empty()
            && self.quantity.is_empty()
            && self.uri.is_empty()
    }
}

/// Rows of any number of resources, as the columns that `unnest()` takes.
#[derive(Default, Debug)]
pub struct IndexRows {
    pub token: token::Columns,
    pub reference: reference::Columns,
    pub string: string::Columns,
    pub date: date::Columns,
    pub quantity: quantity::Columns,
    pub uri: uri::Columns,
}

impl IndexRows {
    /// Adds the rows of one resource. What `ids` does not know yet becomes 0: intern it and push again into fresh
    /// columns.
    pub fn push(&mut self, rid: i64, rows: &ResourceRows<'_>, ids: &mut Ids<'_>) {
        for row in &rows.token {
            self.token.rid.push(rid);
            self.token.param.push(row.param);
            self.token.code.push(row.code.clone().into_owned());
            self.token.system.push(ids.system(row.system));
        }
        for row in &rows.reference {
            let (target, url) = match &row.target {
                reference::Target::Local(resource_type, id) => (Some(ids.target(resource_type, id)), None),
                reference::Target::Url(url) => (None, Some(url.clone().into_owned())),
            };
            self.reference.rid.push(rid);
            self.reference.param.push(row.param);
            self.reference.target.push(target);
            self.reference.url.push(url);
        }
        for row in &rows.string {
            self.string.rid.push(rid);
            self.string.param.push(row.param);
            self.string.norm.push(row.norm.clone().into_owned());
            self.string.exact.push(row.exact.to_owned());
        }
        for row in &rows.date {
            self.date.rid.push(rid);
            self.date.param.push(row.param);
            self.date.low.push(row.span.low);
            self.date.high.push(row.span.high);
        }
        for row in &rows.quantity {
            self.quantity.rid.push(rid);
            self.quantity.param.push(row.param);
            self.quantity.low.push(row.low.clone());
            self.quantity.high.push(row.high.clone());
            self.quantity.system.push(ids.system(row.system));
            self.quantity.code.push(row.code.clone().into_owned());
        }
        for row in &rows.uri {
            self.uri.rid.push(rid);
            self.uri.param.push(row.param);
            self.uri.uri.push(row.uri.clone().into_owned());
        }
    }
}
