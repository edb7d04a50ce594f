//! Statements that say of given resources, or of given versions of them, whether they meet a criterion.
//!
//! The rows of a resource as it is now are in the database. Those of a version of the past are not: they are made of its
//! content and sent along, and the statement reads them together with the tables, under the same names. A version has a
//! number below zero there, which no resource has, so that neither is taken for the other.

use super::Numbers;
use super::group::{Group, Home};
use crate::fhir::search::criterion::{Criterion, Types};
use crate::fhir::search::index::IndexRows;
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::store::{COLUMNS, Micros};

/// `SELECT rid …` of those that meet it; `None` if none can.
pub(in crate::fhir::search) fn those_of(criterion: &Criterion, numbers: &Numbers, rids: &[i64]) -> Option<Sql> {
    let mut group = Group::of_home(Home::Alone, criterion, numbers)?;
    group.ask_singly();
    let mut sql = Sql::default();
    let given = sql.new_alias();
    sql.push("SELECT ")
        .column(given, ".rid FROM unnest(")
        .bind(rids.to_vec());
    sql.push("::bigint[]) AS ").alias(given).push(" (rid) WHERE ");
    group.write_as_test(&mut sql, given);
    Some(sql)
}

/// `SELECT rid …` of up to `limit` that meet it and are there; `None` if none can.
pub(in crate::fhir::search) fn some_of(criterion: &Criterion, numbers: &Numbers, limit: i64) -> Option<Sql> {
    let group = Group::of_home(Home::Alone, criterion, numbers)?;
    let mut sql = Sql::default();
    sql.push("SELECT m.rid FROM (");
    group.write_set(&mut sql, true, None, None);
    sql.push(" LIMIT ").bind(limit).push(") m");
    Some(sql)
}

/// A page of those of some types that meet it, newest first, up to the rid `highest`; `None` if none can.
pub(in crate::fhir::search) fn newest_of(
    criterion: &Criterion,
    numbers: &Numbers,
    types: &Types,
    highest: i64,
    limit: i64,
) -> Option<Sql> {
    let group = Group::new(Home::Alone, types, [criterion], numbers)?;
    let mut sql = Sql::default();
    sql.push("SELECT ").push(COLUMNS).push(" FROM (");
    let rid = group.write_set(&mut sql, true, Some(highest.saturating_add(1)), None);
    sql.push(" ORDER BY ").column(rid, ".rid DESC LIMIT ").bind(limit);
    sql.push(") m JOIN resource r ON r.rid = m.rid ORDER BY r.rid DESC");
    Some(sql)
}

/// Whether the resource of `outer`, which is one of `few` or of many, meets it.
pub(in crate::fhir::search) fn write_test(
    sql: &mut Sql,
    criterion: &Criterion,
    numbers: &Numbers,
    outer: Alias,
    few: bool,
) {
    match Group::of_home(Home::Alone, criterion, numbers) {
        Some(mut group) => {
            if few {
                group.ask_singly();
            }
            group.write_as_test(sql, outer);
        }
        None => _ = sql.push("false"),
    }
}

/// Versions, a Vec per column.
#[derive(Default)]
pub(in crate::fhir::search) struct Versions {
    /// Below zero, each its own.
    pub rid: Vec<i64>,
    /// What they are versions of.
    pub resource: Vec<i64>,
    pub type_id: Vec<i16>,
    pub id: Vec<String>,
    pub version: Vec<i32>,
    pub last_updated: Vec<Micros>,
    pub rows: IndexRows,
}

impl Versions {
    /// `SELECT rid …` of those that meet `criterion`; `None` if none can.
    pub(in crate::fhir::search) fn that_meet(self, criterion: &Criterion, numbers: &Numbers) -> Option<Sql> {
        let mut group = Group::of_home(Home::Version, criterion, numbers)?;
        group.ask_singly();
        let IndexRows {
            token,
            reference,
            string,
            date,
            uri,
            ..
        } = self.rows;
        let mut sql = Sql::default();
        sql.push(
            "WITH version (rid, resource, type, id, version, last_updated) AS MATERIALIZED (SELECT * FROM unnest(",
        );
        sql.bind(self.rid)
            .push("::bigint[], ")
            .bind(self.resource)
            .push("::bigint[], ");
        sql.bind(self.type_id)
            .push("::smallint[], ")
            .bind(self.id)
            .push("::text[], ");
        sql.bind(self.version)
            .push("::integer[], ")
            .bind(self.last_updated)
            .push("::timestamptz[]))");
        // Not materialised, so that each look-up goes to the indexes of the table. Texts are compared as the table has them.
        sql.push(", idx_token (rid, system, param, code) AS NOT MATERIALIZED (");
        sql.push("SELECT a, b, c, d COLLATE \"C\" FROM unnest(")
            .bind(token.rid)
            .push("::bigint[], ");
        sql.bind(token.system)
            .push("::integer[], ")
            .bind(token.param)
            .push("::smallint[], ")
            .bind(token.code);
        sql.push("::text[]) AS n (a, b, c, d) UNION ALL SELECT rid, system, param, code FROM idx_token)");
        sql.push(", idx_reference (rid, target, param, url) AS NOT MATERIALIZED (");
        sql.push("SELECT a, b, c, d COLLATE \"C\" FROM unnest(")
            .bind(reference.rid)
            .push("::bigint[], ");
        sql.bind(reference.target)
            .push("::bigint[], ")
            .bind(reference.param)
            .push("::smallint[], ")
            .bind(reference.url);
        sql.push("::text[]) AS n (a, b, c, d) UNION ALL SELECT rid, target, param, url FROM idx_reference)");
        sql.push(", idx_string (rid, param, norm, exact) AS NOT MATERIALIZED (");
        sql.push("SELECT a, b, c COLLATE \"C\", d COLLATE \"C\" FROM unnest(")
            .bind(string.rid)
            .push("::bigint[], ");
        sql.bind(string.param)
            .push("::smallint[], ")
            .bind(string.norm)
            .push("::text[], ")
            .bind(string.exact);
        sql.push("::text[]) AS n (a, b, c, d) UNION ALL SELECT rid, param, norm, exact FROM idx_string)");
        sql.push(", idx_date (rid, param, low, high) AS NOT MATERIALIZED (");
        sql.push("SELECT * FROM unnest(")
            .bind(date.rid)
            .push("::bigint[], ")
            .bind(date.param)
            .push("::smallint[], ");
        sql.bind(date.low).push("::timestamptz[], ").bind(date.high);
        sql.push("::timestamptz[]) UNION ALL SELECT rid, param, low, high FROM idx_date)");
        sql.push(", idx_uri (rid, param, uri) AS NOT MATERIALIZED (");
        sql.push("SELECT a, b, c COLLATE \"C\" FROM unnest(")
            .bind(uri.rid)
            .push("::bigint[], ");
        sql.bind(uri.param).push("::smallint[], ").bind(uri.uri);
        sql.push("::text[]) AS n (a, b, c) UNION ALL SELECT rid, param, uri FROM idx_uri)");
        let version = sql.new_alias();
        sql.push(" SELECT ")
            .column(version, ".rid FROM version ")
            .alias(version);
        group.write_as_test(sql.push(" WHERE "), version);
        Some(sql)
    }
}
