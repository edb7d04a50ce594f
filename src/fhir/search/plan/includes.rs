//! What `_include` and `_revinclude` add to a page.

use crate::fhir::search::criterion::Include;
use crate::fhir::search::sql::Sql;
use crate::fhir::store::COLUMNS;

/// Resources included on one page at most.
pub(in crate::fhir::search) const MAX_INCLUDED: i64 = 1_000;

/// What `includes` add to a page, newest first, at most [`MAX_INCLUDED`] and one more that tells of the rest.
pub(in crate::fhir::search) fn included(includes: &[Include], page: &[i64]) -> Sql {
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
