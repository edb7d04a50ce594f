//! What `_include` and `_revinclude` add to a page.
//!
//! One statement: what the page leads to, and then, as far as includes iterate, what that leads to, until nothing new
//! comes or there is enough. `UNION` takes each resource once, so that a cycle ends by itself.

use super::Numbers;
use super::criteria::write_params;
use super::judge::write_test;
use crate::fhir::search::criterion::{Canonical, Criterion, Include, Search};
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::store::COLUMNS;

/// Resources included on one page at most.
pub(in crate::fhir::search) const MAX_INCLUDED: i64 = 1_000;

/// What the includes of `search` add to a page, newest first, at most [`MAX_INCLUDED`] and one more that tells of the rest.
pub(in crate::fhir::search) fn included(search: &Search, numbers: &Numbers, page: &[i64]) -> Sql {
    let includes = &search.includes;
    let allowed = search.includable.as_ref().map(|criterion| (criterion, numbers));
    let mut sql = Sql::default();
    let next = sql.new_alias();
    sql.push("WITH RECURSIVE found (rid) AS (SELECT DISTINCT ")
        .column(next, ".rid FROM unnest(");
    sql.bind(page.to_vec()).push("::bigint[]) AS f (rid)");
    write_steps(&mut sql, includes.iter(), page, next, allowed);
    if includes.iter().any(|include| include.iterates) {
        let next = sql.new_alias();
        sql.push(" UNION SELECT ").column(next, ".rid FROM found f");
        let iterating = includes.iter().filter(|include| include.iterates);
        write_steps(&mut sql, iterating, page, next, allowed);
    }
    sql.push(") SELECT ")
        .push(COLUMNS)
        .push(" FROM (SELECT rid FROM found LIMIT ")
        .bind(MAX_INCLUDED + 1)
        .push(") m JOIN resource r ON r.rid = m.rid ORDER BY r.rid DESC");
    sql
}

/// One step from each resource of `f`, to what is not on the page and is allowed: nothing is reached through what is not.
fn write_steps<'i>(
    sql: &mut Sql,
    includes: impl Iterator<Item = &'i Include>,
    page: &[i64],
    next: Alias,
    allowed: Option<(&Criterion, &Numbers)>,
) {
    sql.push(" CROSS JOIN LATERAL (");
    for (n, include) in includes.enumerate() {
        sql.push(if n == 0 { "" } else { " UNION ALL " });
        match include.reverse {
            false => write_forward(sql, include),
            true => write_reverse(sql, include),
        }
    }
    sql.push(") ").alias(next).push(" WHERE ").column(next, ".rid <> ALL(");
    sql.bind(page.to_vec()).push(")");
    if let Some((criterion, numbers)) = allowed {
        write_test(sql.push(" AND "), criterion, numbers, next, true);
    }
}

/// What `f` refers to.
fn write_forward(sql: &mut Sql, include: &Include) {
    let (row, resource) = (sql.new_alias(), sql.new_alias());
    sql.push("SELECT ")
        .column(row, ".target AS rid FROM idx_reference ")
        .alias(row);
    sql.push(" JOIN resource ").alias(resource).push(" ON ");
    sql.column(resource, ".rid = ").column(row, ".target AND NOT ");
    sql.column(resource, ".deleted");
    if let Some(target) = include.target {
        sql.push(" AND ").column(resource, ".type = ").bind(target);
    }
    sql.push(" WHERE ");
    write_params(sql, row, &include.params);
    sql.push(" AND ")
        .column(row, ".rid = f.rid AND ")
        .column(row, ".target IS NOT NULL");
    if let Some(canonical) = &include.canonical {
        let (row, url) = (sql.new_alias(), sql.new_alias());
        sql.push(" UNION ALL SELECT ")
            .column(url, ".rid FROM idx_reference ")
            .alias(row);
        sql.push(" JOIN idx_uri ").alias(url).push(" ON ");
        write_params(sql, url, &canonical.urls);
        sql.push(" AND ").column(url, ".uri = ").column(row, ".url WHERE ");
        write_params(sql, row, &include.params);
        sql.push(" AND ")
            .column(row, ".rid = f.rid AND ")
            .column(row, ".url > ''");
        write_version(sql, canonical, row, url);
    }
}

/// What refers to `f`.
fn write_reverse(sql: &mut Sql, include: &Include) {
    let row = sql.new_alias();
    sql.push("SELECT ").column(row, ".rid FROM idx_reference ").alias(row);
    sql.push(" WHERE ");
    write_params(sql, row, &include.params);
    sql.push(" AND ").column(row, ".target = f.rid");
    write_type_of_target(sql, include);
    if let Some(canonical) = &include.canonical {
        let (row, url) = (sql.new_alias(), sql.new_alias());
        sql.push(" UNION ALL SELECT ")
            .column(row, ".rid FROM idx_uri ")
            .alias(url);
        sql.push(" JOIN idx_reference ").alias(row).push(" ON ");
        write_params(sql, row, &include.params);
        sql.push(" AND ").column(row, ".url = ").column(url, ".uri WHERE ");
        write_params(sql, url, &canonical.urls);
        sql.push(" AND ").column(url, ".rid = f.rid");
        write_type_of_target(sql, include);
        write_version(sql, canonical, row, url);
    }
}

fn write_type_of_target(sql: &mut Sql, include: &Include) {
    if let Some(target) = include.target {
        let resource = sql.new_alias();
        sql.push(" AND EXISTS (SELECT FROM resource ").alias(resource);
        sql.push(" WHERE ").column(resource, ".rid = f.rid AND ");
        sql.column(resource, ".type = ").bind(target).push(")");
    }
}

/// A canonical with a version leads to that version only. Such a reference has a row without and one with its version:
/// `row` is the one without, `url` that of the resource which has the URL.
fn write_version(sql: &mut Sql, canonical: &Canonical, row: Alias, url: Alias) {
    let versioned = |sql: &mut Sql| -> Alias {
        let other = sql.new_alias();
        sql.push("EXISTS (SELECT FROM idx_reference ")
            .alias(other)
            .push(" WHERE ");
        sql.column(other, ".param = ").column(row, ".param AND ");
        sql.column(other, ".rid = ").column(row, ".rid AND ");
        other
    };
    sql.push(" AND (NOT ");
    let other = versioned(sql);
    sql.push("starts_with(").column(other, ".url, ");
    sql.column(row, ".url || '|')) OR ");
    let other = versioned(sql);
    let version = sql.new_alias();
    sql.push("EXISTS (SELECT FROM idx_token ")
        .alias(version)
        .push(" WHERE ");
    write_params(sql, version, &canonical.versions);
    sql.push(" AND ").column(version, ".rid = ").column(url, ".rid AND ");
    sql.column(other, ".url = ").column(row, ".url || '|' || ");
    sql.column(version, ".code)))");
}
