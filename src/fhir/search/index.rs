//! The index rows of a resource.
//!
//! [`SearchRegistry::rows`] walks a resource once and yields [`ResourceRows`]: borrowed from the resource, sorted, each
//! row once, with systems and references still by name. `commit` compares those of the old and the new version to touch
//! only what changed, and turns rows into the columns of one statement with [`IndexRows::push`].
//!
//! Resources that are contained in others have rows of their own ([`SearchRegistry::contained`]).

use std::collections::HashMap;

use serde_json::Value;

use super::contained::{self, ContainedRows};
use super::registry::{Family, SearchRegistry};
use super::types::{composite, date, quantity, reference, string, token, uri};
use crate::fhir::error::FhirError;
use crate::fhir::store::{Ids, TypeNames};
use crate::knowledge::extraction::Within;

/// Raise it whenever the same resource would make other rows than before. A server with another number than the one before
/// it has all resources indexed anew in the background; rows that another number made are replaced as a whole when their
/// resource is written.
pub const INDEX_VERSION: i32 = 2;

/// What one resource is found by.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ResourceRows<'v> {
    pub token: Vec<token::Row<'v>>,
    pub reference: Vec<reference::Row<'v>>,
    pub string: Vec<string::Row<'v>>,
    pub date: Vec<date::Row>,
    pub quantity: Vec<quantity::Row<'v>>,
    pub uri: Vec<uri::Row<'v>>,
    pub composite: Vec<composite::Row<'v>>,
    /// Where it is contained, if it is.
    pub contained: Vec<contained::Row<'v>>,
}

impl SearchRegistry {
    /// The index rows of `resource`. A type that R4 does not have has none.
    ///
    /// # Errors
    /// 422 for a resource of which a composite parameter would make too many rows; 500 when a search parameter of the type
    /// cannot be compiled.
    pub fn rows<'v>(&self, resource_type: &str, resource: &'v Value) -> Result<ResourceRows<'v>, FhirError> {
        self.rows_within(resource_type, Within::outermost(resource), |param| param)
    }

    /// The index rows of each resource that `resource` contains, in order; those of types that R4 does not have are left
    /// out.
    ///
    /// # Errors
    /// As for [`SearchRegistry::rows`].
    pub fn contained<'v>(&self, types: &TypeNames, resource: &'v Value) -> Result<Vec<ContainedRows<'v>>, FhirError> {
        let mut all: Vec<ContainedRows<'v>> = Vec::new();
        let resources = resource.get("contained").and_then(Value::as_array);
        for (position, inner) in resources.into_iter().flatten().enumerate() {
            let text = |name: &str| inner.get(name).and_then(Value::as_str);
            let Some((resource_type, type_id)) = text("resourceType").and_then(|name| Some((name, types.id(name)?)))
            else {
                continue;
            };
            let local_id = text("id").unwrap_or_default();
            let within = Within {
                resource: inner,
                root: resource,
            };
            all.push(ContainedRows {
                row: contained::Row {
                    type_id,
                    position: i32::try_from(position).unwrap_or(i32::MAX),
                    local_id,
                },
                occurrence: all.iter().filter(|other| other.row.local_id == local_id).count(),
                rows: self.rows_within(resource_type, within, |param| -param)?,
            });
        }
        Ok(all)
    }

    /// `number` makes the number under which rows stand of that of their parameter.
    fn rows_within<'v>(
        &self,
        resource_type: &str,
        within: Within<'v>,
        number: impl Fn(i16) -> i16,
    ) -> Result<ResourceRows<'v>, FhirError> {
        let mut rows = ResourceRows::default();
        let Some(layout) = self.layout(resource_type)? else {
            return Ok(rows);
        };
        let locator = self.locator();
        layout.values.walk_within(within.resource, within, &mut |key, found| {
            let param = number(key.id);
            let type_name = self.definitions().get(found.type_id).name.as_str();
            match key.family {
                Family::Token => {
                    token::index(param, type_name, found.value, &mut rows.token);
                    token::texts(param, type_name, found.value, &mut rows.string);
                    if type_name == "Identifier" {
                        token::of_type(param, found.value, &mut rows.uri);
                    }
                }
                Family::Reference => {
                    reference::index(param, locator, found.value, &mut rows.reference, &mut rows.token);
                }
                Family::String => string::index(param, type_name, found.value, &mut rows.string),
                Family::Date => date::index(param, type_name, found.value, &mut rows.date),
                Family::Quantity => quantity::index(param, type_name, found.value, &mut rows.quantity),
                Family::Uri => uri::index(param, type_name, found.value, &mut rows.uri),
                // Those have instances, not values.
                Family::Composite => {}
            }
        });
        layout.composites.walk(within, &mut |param, values| {
            if let Some(families) = layout.families.get(&param) {
                composite::index(number(param), families, values, locator, &mut rows.composite);
            }
        });
        if rows.composite.len() > composite::MAX_ROWS {
            return Err(FhirError::too_costly(format!(
                "The codes and values of this resource have more than {} combinations to search for.",
                composite::MAX_ROWS
            )));
        }
        rows.ground(within.root);
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
        tidy(&mut self.composite);
    }

    /// Makes references to contained resources that are not there lead nowhere. Otherwise the same row would stand for
    /// something else once there is one.
    fn ground(&mut self, root: &Value) {
        let contained = || root.get("contained").and_then(Value::as_array).into_iter().flatten();
        let is_there =
            |id: &str| id.is_empty() || contained().any(|inner| inner.get("id").and_then(Value::as_str) == Some(id));
        let parts = self.composite.iter_mut().flat_map(|row| &mut row.parts);
        let parts = parts.filter_map(|part| match part {
            composite::Part::Reference(target) => Some(target),
            _ => None,
        });
        for target in self.reference.iter_mut().map(|row| &mut row.target).chain(parts) {
            if matches!(target, reference::Target::Contained(id) if !is_there(id)) {
                *target = reference::Target::Url("".into());
            }
        }
    }

    /// Keeps the rows of the parameters that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(i16) -> bool) {
        self.token.retain(|row| keep(row.param));
        self.reference.retain(|row| keep(row.param));
        self.string.retain(|row| keep(row.param));
        self.date.retain(|row| keep(row.param));
        self.quantity.retain(|row| keep(row.param));
        self.uri.retain(|row| keep(row.param));
        self.composite.retain(|row| keep(row.param));
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
            composite: without(&self.composite, &other.composite),
            contained: without(&self.contained, &other.contained),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
            && self.reference.is_empty()
            && self.string.is_empty()
            && self.date.is_empty()
            && self.quantity.is_empty()
            && self.uri.is_empty()
            && self.composite.is_empty()
            && self.contained.is_empty()
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
    /// Composites that need few columns, and the others.
    pub pair: composite::PairColumns,
    pub wide: composite::WideColumns,
    pub contained: contained::Columns,
}

impl IndexRows {
    /// Adds the rows of one resource, or of one that is contained: `near` knows the rids of what is in the same one, by
    /// local id, and under `''` that of the one that contains them. What `ids` does not know yet becomes 0: intern it and
    /// push again into fresh columns.
    pub fn push(&mut self, rid: i64, rows: &ResourceRows<'_>, near: &HashMap<&str, i64>, ids: &mut Ids<'_>) {
        let near_by = |id: &str| near.get(id).copied();
        for row in &rows.token {
            self.token.rid.push(rid);
            self.token.param.push(row.param);
            self.token.code.push(row.code.clone().into_owned());
            self.token.system.push(ids.system(row.system));
        }
        for row in &rows.reference {
            let (target, url) = row.target.columns(near_by, ids);
            self.reference.rid.push(rid);
            self.reference.param.push(row.param);
            self.reference.target.push(target);
            self.reference.url.push(url);
        }
        for row in &rows.string {
            self.string.rid.push(rid);
            self.string.param.push(row.param);
            self.string.norm.push(row.norm.clone().into_owned());
            self.string.exact.push(row.exact.clone().into_owned());
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
        for row in &rows.composite {
            if row.is_pair() {
                self.pair.push(rid, row, ids);
            } else {
                self.wide.push(rid, row, near_by, ids);
            }
        }
        for row in &rows.contained {
            self.contained.push(rid, near_by("").unwrap_or_default(), row);
        }
    }
}
