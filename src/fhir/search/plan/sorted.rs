//! Pages in the order of `_sort`.

use super::Plan;
use super::criteria::{Scans, value_column, write_params};
use crate::fhir::search::criterion::{SortBy, SortKey};
use crate::fhir::search::cursor::{Cursor, cast};
use crate::fhir::search::registry::Family;
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::search::text;
use crate::fhir::search::types::quantity;
use crate::fhir::store::COLUMNS;

impl Plan<'_> {
    /// A page in the order of `_sort`, of the resources that have the first key, or of those that lack it.
    ///
    /// Each row ends with the sort values as text, for the cursor.
    pub(in crate::fhir::search) fn sorted(&self, after: Option<&Cursor>, lacking_first: bool, limit: i64) -> Sql {
        let mut sql = Sql::default();
        let mut keys = self.search.sort.iter();
        let first = &self.search.sort[0];
        let descending = first.descending;
        let driver = sql.new_alias();
        let mut values: Vec<Value<'_>> = Vec::new();
        if lacking_first {
            keys.next();
        } else if let SortBy::Parameter { family, .. } = &first.by {
            keys.next();
            let column = value_column(*family);
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
        for key in keys {
            values.push(match &key.by {
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
                SortBy::Score => Value {
                    table: sql.new_alias(),
                    column: ".value",
                    key,
                    nullable: false,
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
        for set in &self.group.sets {
            sql.push(" AND ").column(driver, ".rid IN (");
            set.write(&mut sql, None, Scans::Merged);
            sql.push(")");
        }
        if on_resource {
            self.group.write_columns(&mut sql, driver);
        } else if !self.group.columns.is_empty() {
            let held = sql.new_alias();
            sql.push(" AND EXISTS (SELECT FROM resource ")
                .alias(held)
                .push(" WHERE ")
                .column(held, ".rid = ");
            sql.column(driver, ".rid");
            self.group.write_columns(&mut sql, held);
            sql.push(")");
        }
        self.group.write_tests(&mut sql, driver, false, None);
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
    fn write_tables(&self, sql: &mut Sql, driver: Alias, resource: Alias, values: &[Value<'_>]) {
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
            let inner = sql.new_alias();
            let (params, family) = match &value.key.by {
                SortBy::Parameter { params, family } => (params, *family),
                SortBy::Score => {
                    write_score(sql.push(" CROSS JOIN LATERAL (SELECT "), inner, &self.search.texts());
                    sql.push(" AS value FROM resource_text ")
                        .alias(inner)
                        .push(" WHERE ")
                        .column(inner, ".rid = ")
                        .column(driver, ".rid) ")
                        .alias(value.table);
                    continue;
                }
                SortBy::Id | SortBy::LastUpdated => continue,
            };
            sql.push(" CROSS JOIN LATERAL (SELECT ")
                .push(if value.key.descending { "max(" } else { "min(" });
            sql.column(inner, value_column(family))
                .push(") AS value FROM")
                .push(family.table())
                .alias(inner);
            sql.push(" WHERE ");
            write_params(sql, inner, params);
            sql.push(" AND ").column(inner, ".rid = ");
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
    fn write_driver_condition(&self, sql: &mut Sql, driver: Alias, first: &SortKey, on_resource: bool, lacking: bool) {
        sql.push(" WHERE true");
        if on_resource {
            self.group.write_live(sql, driver);
        }
        if first.by == SortBy::LastUpdated {
            // Its index leaves out what is only referred to. All that is live is in it, but the planner does not know that.
            sql.push(" AND ").column(driver, ".version > 0");
        }
        let SortBy::Parameter { params, family } = &first.by else {
            return;
        };
        let family = *family;
        let other = sql.new_alias();
        if on_resource {
            debug_assert!(lacking, "a key with rows drives, unless its lack is asked for");
            sql.push(" AND NOT EXISTS (SELECT FROM")
                .push(family.table())
                .alias(other)
                .push(" WHERE ");
            write_params(sql, other, params);
            sql.push(" AND ").column(other, ".rid = ").column(driver, ".rid");
            self.write_as_written(sql, other, family);
            sql.push(")");
            return;
        }
        sql.push(" AND ");
        write_params(sql, driver, params);
        self.write_as_written(sql, driver, family);
        sql.push(" AND NOT EXISTS (SELECT FROM")
            .push(family.table())
            .alias(other)
            .push(" WHERE ");
        write_params(sql, other, params);
        sql.push(" AND ").column(other, ".rid = ").column(driver, ".rid");
        self.write_as_written(sql, other, family);
        sql.push(" AND ");
        write_row(sql, other, family);
        sql.push(if first.descending { " > " } else { " < " });
        write_row(sql, driver, family);
        sql.push(")");
    }

    /// ` AND …`: the rows that are sorted by. Quantities are sorted by the number as written, not by rows of converted
    /// units; references by the resource of this server that they lead to.
    fn write_as_written(&self, sql: &mut Sql, table: Alias, family: Family) {
        if family == Family::Reference {
            sql.push(" AND ").column(table, ".target IS NOT NULL");
        }
        if family == Family::Quantity
            && let Some(&converted) = self.numbers.systems.get(quantity::CANONICAL)
        {
            sql.push(" AND ").column(table, ".system <> ").bind(converted);
        }
    }
}
/// How well the words of `table` match, from 0 to 1: the mean over what is searched for. Six digits are what the rank has,
/// and the same in a cursor as in the database.
pub(super) fn write_score(sql: &mut Sql, table: Alias, texts: &[&text::Query]) {
    sql.push("round(((");
    for (n, query) in texts.iter().enumerate() {
        sql.push(if n == 0 { "ts_rank(" } else { " + ts_rank(" });
        sql.push(query.scope.weights()).push(", ");
        sql.column(table, ".words, ").bind(query.tsquery.clone());
        // 32: as a part of one.
        sql.push("::text::tsquery, 32)");
    }
    sql.push(") / ")
        .bind(i32::try_from(texts.len()).unwrap_or(1))
        .push("::int)::numeric, 6)");
}

/// What a statement orders by.
struct Value<'k> {
    table: Alias,
    column: &'static str,
    key: &'k SortKey,
    nullable: bool,
}

/// All of a row but its resource, beginning with the sort value: which of a resource's rows is the first.
fn write_row(sql: &mut Sql, table: Alias, family: Family) {
    let columns: &[&'static str] = match family {
        Family::Token => &[".code", ".system"],
        Family::Reference => &[".target"],
        Family::String => &[".norm", ".exact"],
        Family::Date => &[".low", ".high"],
        Family::Quantity => &[".low", ".high", ".code", ".system"],
        Family::Uri => &[".uri"],
        Family::Composite => &[".code1"],
    };
    for (n, column) in columns.iter().enumerate() {
        sql.push(if n == 0 { "(" } else { ", " }).column(table, column);
    }
    // What unites several parameters may have the same row under two numbers.
    sql.push(", ").column(table, ".param)");
}

/// `NULLS LAST` only where there can be any: with it an index cannot be read backwards.
fn direction(value: &Value<'_>) -> &'static str {
    match (value.key.descending, value.nullable) {
        (true, true) => " DESC NULLS LAST, ",
        (true, false) => " DESC, ",
        (false, _) => ", ",
    }
}

/// Whether a row comes after the cursor, in the order of `values` and then of rid.
fn write_after(
    sql: &mut Sql,
    driver: Alias,
    values: &[Value<'_>],
    known: &[Option<String>],
    rid: i64,
    descending: bool,
) {
    let (Some((value, values)), Some((last, known))) = (values.split_first(), known.split_first()) else {
        sql.column(driver, if descending { ".rid < " } else { ".rid > " })
            .bind(rid);
        return;
    };
    let compare = |sql: &mut Sql, operator: &'static str, text: &String| {
        sql.column(value.table, value.column)
            .push(operator)
            .bind(text.clone())
            .push(cast(&value.key.by));
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
