//! From a typed [`Search`] to SQL.
//!
//! Every criterion is a set of rids that some index yields in order of rid. Two shapes of statement follow:
//!
//! - **Newest first** (no `_sort`): positive criteria are joined on rid and the planner picks which one drives: it reads
//!   the indexes backwards, merging or probing, and stops when the page is full. A resource may have several rows that
//!   match, hence `DISTINCT`, which over ordered rows only compares neighbours.
//! - **Sorted**: the rows of the first key drive, in the order of their own index; criteria are semi-joins. Of several
//!   rows of one resource the first in the order counts. Resources without the key come last, by a second statement.
//!
//! A criterion of few values that stands alone is one scan per value (`UNION ALL`), because the scan of a single value keeps
//! the order of the index and the union merges ordered scans. Content is joined after the limit.

mod criteria;
mod includes;
mod sorted;

use std::collections::HashMap;

use sqlx::PgConnection;

pub(super) use self::includes::{MAX_INCLUDED, included};

use self::criteria::{Condition, Scans};
use super::criterion::{Criterion, Matches, Search, SortBy, Total, Types};
use super::registry::Family;
use super::sql::{Alias, Sql};
use super::types::{quantity, reference, token};
use crate::fhir::error::FhirError;
use crate::fhir::store::{COLUMNS, Store};

/// Numbers of the systems and resources that searches name. What is not here was never stored.
#[derive(Default)]
pub(super) struct Numbers {
    systems: HashMap<String, i32>,
    rids: HashMap<(String, String), i64>,
}

impl Numbers {
    /// Looks up all that `searches` name; `remember` what is found unless it may be undone with a transaction.
    pub(super) async fn look_up<'s>(
        store: &Store,
        connection: &mut PgConnection,
        searches: impl IntoIterator<Item = &'s Search>,
        remember: bool,
    ) -> Result<Numbers, FhirError> {
        let mut systems: Vec<&str> = Vec::new();
        let mut targets: Vec<(&str, &str)> = Vec::new();
        for search in searches {
            for criterion in &search.criteria {
                criterion.visit_matches(&mut |matches| match matches {
                    Matches::Token(tokens) => systems.extend(token::systems(tokens)),
                    Matches::Quantity(quantities) => systems.extend(quantity::systems(quantities)),
                    Matches::Reference(references) => targets.extend(reference::targets(references)),
                    Matches::Any(_)
                    | Matches::String(_)
                    | Matches::Date(_)
                    | Matches::Uri(_)
                    | Matches::OfType(_)
                    // Its parts are visited themselves.
                    | Matches::Composite(_) => {}
                });
            }
            let by_quantity = |by: &SortBy| {
                matches!(
                    by,
                    SortBy::Parameter {
                        family: Family::Quantity,
                        ..
                    }
                )
            };
            if search.sort.iter().any(|key| by_quantity(&key.by)) {
                systems.push(quantity::CANONICAL);
            }
        }
        let systems = store.find_systems(connection, &systems, remember).await?;
        let rids = store.find_targets(connection, &targets, remember).await?;
        Ok(Numbers { systems, rids })
    }
}

/// The criteria of one search by how they are written.
pub(super) struct Plan<'s> {
    search: &'s Search,
    numbers: &'s Numbers,
    positive: Vec<Condition<'s>>,
    negative: Vec<Condition<'s>>,
    /// Those on columns of the resource itself.
    columns: Vec<&'s Criterion>,
}

impl<'s> Plan<'s> {
    /// `None` when nothing can match: a criterion names only what was never stored.
    pub(super) fn new(search: &'s Search, numbers: &'s Numbers) -> Option<Plan<'s>> {
        let mut plan = Plan {
            search,
            numbers,
            positive: Vec::new(),
            negative: Vec::new(),
            columns: Vec::new(),
        };
        for criterion in &search.criteria {
            let Criterion::Rows {
                params,
                matches,
                negated,
            } = criterion
            else {
                plan.columns.push(criterion);
                continue;
            };
            let condition = Condition::new(params, matches, numbers);
            match (negated, condition.branches.is_empty()) {
                (false, false) => plan.positive.push(condition),
                (false, true) => return None,
                (true, false) => plan.negative.push(condition),
                // No resource has it: all match.
                (true, true) => {}
            }
        }
        Some(plan)
    }

    /// Whether one plan is the best whatever is searched for: an index has all matches in the order of the answer.
    pub(super) fn has_one_best(&self) -> bool {
        let alone = self.columns.is_empty() && self.negative.is_empty() && self.search.sort.is_empty();
        let ordered = match &self.positive[..] {
            [] => matches!(self.search.types, Types::One(_)),
            [only] => only.is_ordered(),
            _ => false,
        };
        // An estimate is what the planner thinks of the values.
        alone && ordered && self.search.total != Total::Estimate
    }

    /// A page of matches, newest first.
    pub(super) fn newest_first(&self, after: Option<i64>, limit: i64) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT ").push(COLUMNS).push(" FROM (");
        let rid = self.matching(&mut sql, after, Some(limit));
        sql.push(" ORDER BY ").column(rid, ".rid DESC LIMIT ").bind(limit);
        sql.push(") m JOIN resource r ON r.rid = m.rid ORDER BY r.rid DESC");
        sql
    }

    /// Number, rid and id of up to `limit` matches, in no order.
    pub(super) fn any(&self, sql: &mut Sql, number: i32, limit: i64) {
        sql.push("(SELECT ").bind(number).push("::int, r.rid, r.id FROM (");
        self.matching(sql, None, None);
        sql.push(" LIMIT ")
            .bind(limit)
            .push(") m JOIN resource r ON r.rid = m.rid)");
    }

    /// How many match, counted up to `limit` if there is one.
    pub(super) fn count(&self, limit: Option<i64>) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT count(*) FROM (");
        self.matching(&mut sql, None, None);
        if let Some(limit) = limit {
            sql.push(" LIMIT ").bind(limit);
        }
        sql.push(") m");
        sql
    }

    /// How many the planner expects to match: a statement that answers with its plan as JSON.
    pub(super) fn estimate(&self) -> Sql {
        let mut sql = Sql::default();
        sql.push("EXPLAIN (FORMAT JSON) ");
        self.matching(&mut sql, None, None);
        sql
    }

    /// `SELECT DISTINCT rid …` of all matches, below `after` and only the `newest` so many if given. Answers the table
    /// whose `rid` is selected.
    fn matching(&self, sql: &mut Sql, after: Option<i64>, newest: Option<i64>) -> Alias {
        let alone = self.positive.len() == 1 && self.columns.is_empty() && self.negative.is_empty();
        let scans = match newest {
            Some(limit) if alone && self.positive[0].branches.len() > 1 => Scans::Limited(limit),
            _ if alone => Scans::Each,
            _ => Scans::Merged,
        };
        let tables: Vec<Alias> = self.positive.iter().map(|_| sql.new_alias()).collect();
        let needs_resource = tables.is_empty() || !self.columns.is_empty();
        let resource = needs_resource.then(|| sql.new_alias());
        let anchor = resource.or(tables.first().copied()).unwrap_or_else(|| sql.new_alias());

        sql.push(if tables.is_empty() {
            "SELECT "
        } else {
            "SELECT DISTINCT "
        })
        .column(anchor, ".rid FROM ");
        for (n, (condition, table)) in self.positive.iter().zip(&tables).enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" });
            condition.write_rids(sql, after, scans);
            sql.push(") ").alias(*table);
        }
        if let Some(resource) = resource {
            sql.push(if tables.is_empty() { "resource " } else { ", resource " })
                .alias(resource);
        }
        sql.push(" WHERE true");
        for table in tables.into_iter().filter(|table| *table != anchor) {
            sql.push(" AND ").column(table, ".rid = ").column(anchor, ".rid");
        }
        if let Some(resource) = resource {
            self.write_live(sql, resource);
            if let Some(after) = after {
                sql.push(" AND ").column(resource, ".rid < ").bind(after);
            }
            self.write_columns(sql, resource);
        }
        let beside = newest.is_some() && self.positive.is_empty() && self.columns.is_empty();
        for condition in &self.negative {
            condition.write_absence(sql, anchor, beside, after);
        }
        anchor
    }
}
