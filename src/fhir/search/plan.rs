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

use std::collections::HashMap;

use sqlx::PgConnection;

use super::cursor::{Cursor, cast};
use super::parse::{Criterion, Include, Matches, Search, SortBy, SortKey};
use super::registry::Family;
use super::sql::{Alias, Sql};
use super::types::{Branch, Prefix, date, quantity, reference, string, token, uri};
use crate::fhir::error::FhirError;
use crate::fhir::store::{COLUMNS, Store};

/// Resources included on one page at most.
pub(super) const MAX_INCLUDED: i64 = 1_000;

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
                match criterion {
                    Criterion::Rows {
                        matches: Matches::Token(tokens),
                        ..
                    } => systems.extend(token::systems(tokens)),
                    Criterion::Rows {
                        matches: Matches::Quantity(quantities),
                        ..
                    } => {
                        systems.extend(quantity::systems(quantities));
                    }
                    Criterion::Rows {
                        matches: Matches::Reference(references),
                        ..
                    } => {
                        targets.extend(reference::targets(references));
                    }
                    _ => {}
                }
            }
            if search.sort.iter().any(|key| {
                matches!(
                    key.by,
                    SortBy::Parameter {
                        family: Family::Quantity,
                        ..
                    }
                )
            }) {
                systems.push(quantity::CANONICAL);
            }
        }
        let systems = store.find_systems(connection, &systems, remember).await?;
        let rids = store.find_targets(connection, &targets, remember).await?;
        Ok(Numbers { systems, rids })
    }
}

/// A criterion over index rows, ready to be written.
struct Condition<'s> {
    param: i16,
    family: Family,
    branches: Vec<Branch<'s>>,
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
                param,
                matches,
                negated,
            } = criterion
            else {
                plan.columns.push(criterion);
                continue;
            };
            let branches = match matches {
                Matches::Any(_) => vec![Branch::new(|sql, _| _ = sql.push("true"))],
                Matches::Token(tokens) => token::branches(tokens, &numbers.systems),
                Matches::Reference(references) => reference::branches(references, &numbers.rids),
                Matches::String(strings) => string::branches(strings),
                Matches::Date(dates) => date::branches(dates),
                Matches::Quantity(quantities) => quantity::branches(quantities, &numbers.systems),
                Matches::Uri(uris) => uri::branches(uris),
            };
            let condition = Condition {
                param: *param,
                family: matches.family(),
                branches,
            };
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
        self.write_negative(sql, anchor);
        anchor
    }

    /// A page in the order of `_sort`, of the resources that have the first key, or of those that lack it.
    ///
    /// Each row ends with the sort values as text, for the cursor.
    pub(super) fn sorted(&self, after: Option<&Cursor>, lacking_first: bool, limit: i64) -> Sql {
        let mut sql = Sql::default();
        let mut keys = self.search.sort.iter();
        let first = self.search.sort[0];
        let descending = first.descending;
        let driver = sql.new_alias();
        let mut values: Vec<Value> = Vec::new();
        if lacking_first {
            keys.next();
        } else if let SortBy::Parameter { family, .. } = first.by {
            keys.next();
            let column = value_column(family);
            values.push(Value {
                table: driver,
                column,
                key: first,
                nullable: false,
            });
        }
        let on_resource = values.is_empty();
        // Further keys: columns of the resource, or the first value of the resource in the order asked for.
        let resource = if on_resource { driver } else { sql.new_alias() };
        for &key in keys {
            values.push(match key.by {
                SortBy::Id => Value {
                    table: resource,
                    column: ".id",
                    key,
                    nullable: false,
                },
                SortBy::LastUpdated => Value {
                    table: resource,
                    column: ".last_updated",
                    key,
                    nullable: false,
                },
                SortBy::Parameter { .. } => Value {
                    table: sql.new_alias(),
                    column: ".value",
                    key,
                    nullable: true,
                },
            });
        }
        let names: Vec<Alias> = values.iter().map(|_| sql.new_alias()).collect();

        sql.push("SELECT ").push(COLUMNS);
        for name in &names {
            sql.push(", m.").alias(*name).push("::text");
        }
        sql.push(" FROM (SELECT ").column(driver, ".rid");
        for (value, name) in values.iter().zip(&names) {
            sql.push(", ")
                .column(value.table, value.column)
                .push(" AS ")
                .alias(*name);
        }
        self.write_tables(&mut sql, driver, resource, &values);
        self.write_driver_condition(&mut sql, driver, first, on_resource, lacking_first);
        for condition in &self.positive {
            sql.push(" AND ").column(driver, ".rid IN (");
            condition.write_rids(&mut sql, None, Scans::Merged);
            sql.push(")");
        }
        if on_resource {
            self.write_columns(&mut sql, driver);
        } else if !self.columns.is_empty() {
            let held = sql.new_alias();
            sql.push(" AND EXISTS (SELECT FROM resource ")
                .alias(held)
                .push(" WHERE ")
                .column(held, ".rid = ");
            sql.column(driver, ".rid");
            self.write_columns(&mut sql, held);
            sql.push(")");
        }
        self.write_negative(&mut sql, driver);
        if let Some(cursor) = after {
            let known = &cursor.values[usize::from(lacking_first)..];
            sql.push(" AND ");
            write_after(&mut sql, driver, &values, known, cursor.rid, descending);
        }
        sql.push(" ORDER BY ");
        for value in &values {
            sql.column(value.table, value.column).push(direction(value));
        }
        sql.column(driver, ".rid").push(if descending { " DESC" } else { "" });
        sql.push(" LIMIT ")
            .bind(limit)
            .push(") m JOIN resource r ON r.rid = m.rid ORDER BY ");
        for (value, name) in values.iter().zip(&names) {
            sql.push("m.").alias(*name).push(direction(value));
        }
        sql.push("m.rid").push(if descending { " DESC" } else { "" });
        sql
    }

    /// `FROM` the driving rows and what the other keys need.
    fn write_tables(&self, sql: &mut Sql, driver: Alias, resource: Alias, values: &[Value]) {
        sql.push(" FROM ");
        match values.first() {
            Some(Value {
                key:
                    SortKey {
                        by: SortBy::Parameter { family, .. },
                        ..
                    },
                table,
                ..
            }) if *table == driver => {
                sql.push(family.table()).alias(driver);
            }
            _ => {
                sql.push("resource ").alias(driver);
            }
        }
        for value in values.iter().filter(|value| value.table != driver) {
            let SortBy::Parameter { param, family } = value.key.by else {
                continue;
            };
            let inner = sql.new_alias();
            sql.push(" CROSS JOIN LATERAL (SELECT ")
                .push(if value.key.descending { "max(" } else { "min(" });
            sql.column(inner, value_column(family))
                .push(") AS value FROM")
                .push(family.table())
                .alias(inner);
            sql.push(" WHERE ")
                .column(inner, ".param = ")
                .bind(param)
                .push(" AND ")
                .column(inner, ".rid = ");
            sql.column(driver, ".rid");
            self.write_as_written(sql, inner, family);
            sql.push(") ").alias(value.table);
        }
        if resource != driver && values.iter().any(|value| value.table == resource) {
            sql.push(" JOIN resource ")
                .alias(resource)
                .push(" ON ")
                .column(resource, ".rid = ")
                .column(driver, ".rid");
        }
    }

    /// What makes a row of the driving table count: the first of its resource, or a resource with or without the key.
    fn write_driver_condition(&self, sql: &mut Sql, driver: Alias, first: SortKey, on_resource: bool, lacking: bool) {
        sql.push(" WHERE true");
        if on_resource {
            self.write_live(sql, driver);
        }
        let SortBy::Parameter { param, family } = first.by else {
            return;
        };
        let other = sql.new_alias();
        if on_resource {
            debug_assert!(lacking, "a key with rows drives, unless its lack is asked for");
            sql.push(" AND NOT EXISTS (SELECT FROM")
                .push(family.table())
                .alias(other)
                .push(" WHERE ");
            sql.column(other, ".param = ")
                .bind(param)
                .push(" AND ")
                .column(other, ".rid = ")
                .column(driver, ".rid");
            sql.push(")");
            return;
        }
        sql.push(" AND ").column(driver, ".param = ").bind(param);
        self.write_as_written(sql, driver, family);
        sql.push(" AND NOT EXISTS (SELECT FROM")
            .push(family.table())
            .alias(other)
            .push(" WHERE ");
        sql.column(other, ".param = ")
            .bind(param)
            .push(" AND ")
            .column(other, ".rid = ")
            .column(driver, ".rid");
        self.write_as_written(sql, other, family);
        sql.push(" AND ");
        write_row(sql, other, family);
        sql.push(if first.descending { " > " } else { " < " });
        write_row(sql, driver, family);
        sql.push(")");
    }

    /// Quantities are sorted by the number as written, not by rows of converted units.
    fn write_as_written(&self, sql: &mut Sql, table: Alias, family: Family) {
        if family == Family::Quantity
            && let Some(&converted) = self.numbers.systems.get(quantity::CANONICAL)
        {
            sql.push(" AND ").column(table, ".system <> ").bind(converted);
        }
    }

    fn write_live(&self, sql: &mut Sql, resource: Alias) {
        sql.push(" AND ").column(resource, ".type = ").bind(self.search.type_id);
        sql.push(" AND NOT ").column(resource, ".deleted");
    }

    fn write_columns(&self, sql: &mut Sql, resource: Alias) {
        for criterion in &self.columns {
            sql.push(" AND ");
            match criterion {
                Criterion::Ids { ids, negated } => {
                    sql.column(resource, ".type = ").bind(self.search.type_id).push(" AND ");
                    sql.column(resource, if *negated { ".id <> ALL(" } else { ".id = ANY(" })
                        .bind(ids.clone())
                        .push(")");
                }
                Criterion::LastUpdated(dates) => {
                    // Lets the index on (type, last_updated) be used: it leaves placeholders out.
                    sql.column(resource, ".version > 0 AND (");
                    for (n, m) in dates.iter().enumerate() {
                        sql.push(if n == 0 { "" } else { " OR " });
                        write_updated(sql, resource, *m);
                    }
                    sql.push(")");
                }
                Criterion::Rows { .. } => _ = sql.push("true"),
            }
        }
    }

    fn write_negative(&self, sql: &mut Sql, outer: Alias) {
        for condition in &self.negative {
            condition.write_absence(sql, outer);
        }
    }
}

/// How the branches of a condition are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scans {
    /// By one scan, whose size the planner can judge against other criteria.
    Merged,
    /// By a scan each.
    Each,
    /// By a scan each, of which so many newest resources are enough.
    Limited(i64),
}

impl Condition<'_> {
    /// `SELECT rid …`, with further `UNION ALL SELECT rid …` for branches that have a scan of their own.
    fn write_rids(&self, sql: &mut Sql, after: Option<i64>, scans: Scans) {
        // Of an inequality on rid the planner learns nothing through a join, so each scan is told.
        let write_after = |sql: &mut Sql, table: Alias| {
            if let Some(after) = after {
                sql.push(" AND ").column(table, ".rid < ").bind(after);
            }
        };
        if scans == Scans::Merged && self.branches.iter().all(|branch| branch.joins.is_none()) {
            let table = sql.new_alias();
            sql.push("SELECT ")
                .column(table, ".rid FROM")
                .push(self.family.table())
                .alias(table);
            sql.push(" WHERE ")
                .column(table, ".param = ")
                .bind(self.param)
                .push(" AND (");
            for (n, branch) in self.branches.iter().enumerate() {
                sql.push(if n == 0 { "(" } else { " OR (" });
                (branch.condition)(sql, table);
                sql.push(")");
            }
            sql.push(")");
            write_after(sql, table);
            return;
        }
        for (n, branch) in self.branches.iter().enumerate() {
            sql.push(if n == 0 { "" } else { " UNION ALL " });
            let table = sql.new_alias();
            sql.push(if let Scans::Limited(_) = scans {
                "(SELECT DISTINCT "
            } else {
                "SELECT "
            })
            .column(table, ".rid");
            self.write_branch(sql, branch, table);
            write_after(sql, table);
            if let Scans::Limited(limit) = scans {
                sql.push(" ORDER BY ")
                    .column(table, ".rid DESC LIMIT ")
                    .bind(limit)
                    .push(")");
            }
        }
    }

    /// ` AND NOT EXISTS (…)` for each branch, for the resource of `outer`.
    fn write_absence(&self, sql: &mut Sql, outer: Alias) {
        for branch in &self.branches {
            sql.push(" AND NOT EXISTS (SELECT");
            let table = sql.new_alias();
            self.write_branch(sql, branch, table);
            sql.push(" AND ")
                .column(table, ".rid = ")
                .column(outer, ".rid")
                .push(")");
        }
    }

    fn write_branch(&self, sql: &mut Sql, branch: &Branch<'_>, table: Alias) {
        sql.push(" FROM").push(self.family.table()).alias(table);
        if let Some(joins) = &branch.joins {
            joins(sql, table);
        }
        sql.push(" WHERE ")
            .column(table, ".param = ")
            .bind(self.param)
            .push(" AND ");
        (branch.condition)(sql, table);
    }
}

/// What a statement orders by.
struct Value {
    table: Alias,
    column: &'static str,
    key: SortKey,
    nullable: bool,
}

fn value_column(family: Family) -> &'static str {
    match family {
        Family::Token => ".code",
        Family::Reference => ".target",
        Family::String => ".norm",
        Family::Date | Family::Quantity => ".low",
        Family::Uri => ".uri",
    }
}

/// All of a row but its resource, beginning with the sort value: which of a resource's rows is the first.
fn write_row(sql: &mut Sql, table: Alias, family: Family) {
    let columns: &[&'static str] = match family {
        Family::Token => &[".code", ".system"],
        Family::Reference => &[".target", ".url"],
        Family::String => &[".norm", ".exact"],
        Family::Date => &[".low", ".high"],
        Family::Quantity => &[".low", ".high", ".code", ".system"],
        Family::Uri => &[".uri"],
    };
    for (n, column) in columns.iter().enumerate() {
        sql.push(if n == 0 { "(" } else { ", " }).column(table, column);
    }
    sql.push(")");
}

/// `NULLS LAST` only where there can be any: with it an index cannot be read backwards.
fn direction(value: &Value) -> &'static str {
    match (value.key.descending, value.nullable) {
        (true, true) => " DESC NULLS LAST, ",
        (true, false) => " DESC, ",
        (false, _) => ", ",
    }
}

/// Whether a row comes after the cursor, in the order of `values` and then of rid.
fn write_after(sql: &mut Sql, driver: Alias, values: &[Value], known: &[Option<String>], rid: i64, descending: bool) {
    let (Some((value, values)), Some((last, known))) = (values.split_first(), known.split_first()) else {
        sql.column(driver, if descending { ".rid < " } else { ".rid > " })
            .bind(rid);
        return;
    };
    let compare = |sql: &mut Sql, operator: &'static str, text: &String| {
        sql.column(value.table, value.column)
            .push(operator)
            .bind(text.clone())
            .push(cast(value.key.by));
    };
    match last {
        Some(text) => {
            // The first comparison follows from the others, but bounds the scan of an index.
            sql.push("(");
            if value.nullable {
                sql.column(value.table, value.column).push(" IS NULL OR ");
            } else {
                compare(sql, if value.key.descending { " <= " } else { " >= " }, text);
                sql.push(" AND (");
            }
            compare(sql, if value.key.descending { " < " } else { " > " }, text);
            sql.push(" OR ");
            compare(sql, " = ", text);
            sql.push(" AND ");
            write_after(sql, driver, values, known, rid, descending);
            sql.push(if value.nullable { ")" } else { "))" });
        }
        None => {
            sql.push("(").column(value.table, value.column).push(" IS NULL AND ");
            write_after(sql, driver, values, known, rid, descending);
            sql.push(")");
        }
    }
}

/// `last_updated` is an instant: the rules of `types::date` for a value without extent.
fn write_updated(sql: &mut Sql, resource: Alias, m: date::Match) {
    let (low, high) = (m.span.low, m.span.high);
    match m.prefix {
        Prefix::Eq | Prefix::Ap => {
            sql.push("(").column(resource, ".last_updated >= ").bind(low);
            sql.push(" AND ")
                .column(resource, ".last_updated < ")
                .bind(high)
                .push(")");
        }
        Prefix::Ne => {
            sql.push("(").column(resource, ".last_updated < ").bind(low);
            sql.push(" OR ")
                .column(resource, ".last_updated >= ")
                .bind(high)
                .push(")");
        }
        Prefix::Gt | Prefix::Sa => _ = sql.column(resource, ".last_updated >= ").bind(high),
        Prefix::Ge => _ = sql.column(resource, ".last_updated >= ").bind(low),
        Prefix::Lt | Prefix::Eb => _ = sql.column(resource, ".last_updated < ").bind(low),
        Prefix::Le => _ = sql.column(resource, ".last_updated < ").bind(high),
    }
}

/// What `includes` add to a page, newest first, at most [`MAX_INCLUDED`] and one more that tells of the rest.
pub(super) fn included(includes: &[Include], page: &[i64]) -> Sql {
    let mut sql = Sql::default();
    sql.push("SELECT ")
        .push(COLUMNS)
        .push(" FROM (SELECT DISTINCT u.rid FROM (");
    for (n, include) in includes.iter().enumerate() {
        let row = sql.new_alias();
        sql.push(if n == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.column(row, if include.reverse { ".rid" } else { ".target" })
            .push(" AS rid FROM idx_reference ")
            .alias(row);
        if let Some(target) = include.target {
            let resource = sql.new_alias();
            sql.push(" JOIN resource ")
                .alias(resource)
                .push(" ON ")
                .column(resource, ".rid = ")
                .column(row, ".target AND ");
            sql.column(resource, ".type = ").bind(target);
        }
        sql.push(" WHERE ")
            .column(row, ".param = ANY(")
            .bind(include.params.clone())
            .push(") AND ");
        sql.column(row, if include.reverse { ".target" } else { ".rid" })
            .push(" = ANY(")
            .bind(page.to_vec());
        sql.push(") AND ").column(row, ".target IS NOT NULL");
    }
    sql.push(") u WHERE u.rid <> ALL(").bind(page.to_vec()).push(")) m ");
    sql.push("JOIN resource r ON r.rid = m.rid WHERE NOT r.deleted ORDER BY r.rid DESC LIMIT ")
        .bind(MAX_INCLUDED + 1);
    sql
}
