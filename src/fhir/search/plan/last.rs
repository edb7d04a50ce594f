//! The statement of `$lastn`: of each kind of Observation the latest ones
//! (<https://hl7.org/fhir/R4/observation-operation-lastn.html>).

use super::Plan;
use crate::fhir::search::sql::Sql;
use crate::fhir::store::COLUMNS;

/// Numbers of the parameters of Observation by which kinds and times are told.
#[derive(Clone, Copy, Debug)]
pub(in crate::fhir::search) struct LastParameters {
    pub code: i16,
    pub date: i16,
}

impl Plan<'_> {
    /// The `max` latest of each kind among the matches, with those that have the same time as the last of them; kinds by
    /// their latest, at most `limit` resources in all.
    ///
    /// `keys` are the codes of each match, or its text where it has none. Two keys are linked when some match has both;
    /// `reach` follows the links as far as they go, and the least key that is reached names the kind. There are as many
    /// links as there are codes in use, however many observations have them.
    pub(in crate::fhir::search) fn last_of_each(&self, parameters: LastParameters, max: i64, limit: i64) -> Sql {
        let mut sql = Sql::default();
        sql.push("WITH RECURSIVE matches AS MATERIALIZED (");
        self.group.write_set(&mut sql, true, None, None);
        sql.push(
            "), coded AS MATERIALIZED (SELECT t.rid, t.system || '|' || t.code AS key \
             FROM matches m JOIN idx_token t ON t.rid = m.rid AND t.param = ",
        )
        .bind(parameters.code)
        .push(
            " AND t.code <> ''), keys AS MATERIALIZED (SELECT rid, key FROM coded UNION ALL \
             SELECT r.rid, coalesce('text|' || (r.content->'code'->>'text'), 'none|' || r.rid) \
             FROM matches m JOIN resource r ON r.rid = m.rid WHERE NOT EXISTS (SELECT FROM coded c WHERE c.rid = m.rid)\
             ), links AS MATERIALIZED (SELECT DISTINCT a.key AS one, b.key AS other FROM keys a JOIN keys b ON b.rid = a.rid\
             ), reach (one, other) AS (SELECT one, other FROM links \
             UNION SELECT r.one, l.other FROM reach r JOIN links l ON l.one = r.other\
             ), kinds AS (SELECT one AS key, min(other) AS kind FROM reach GROUP BY one\
             ), dated AS (SELECT DISTINCT k.rid, n.kind, (SELECT max(d.low) FROM idx_date d WHERE d.param = ",
        )
        .bind(parameters.date)
        .push(
            " AND d.rid = k.rid) AS at FROM keys k JOIN kinds n ON n.key = k.key\
             ), ranked AS (SELECT rid, kind, at, max(at) OVER (PARTITION BY kind) AS latest, \
             rank() OVER (PARTITION BY kind ORDER BY at DESC NULLS LAST, CASE WHEN at IS NULL THEN rid END DESC) AS place \
             FROM dated) SELECT ",
        )
        .push(COLUMNS)
        .push(" FROM (SELECT * FROM ranked WHERE place <= ")
        .bind(max)
        .push(" ORDER BY latest DESC NULLS LAST, kind, at DESC NULLS LAST, rid DESC LIMIT ")
        .bind(limit)
        .push(
            ") l JOIN resource r ON r.rid = l.rid \
             ORDER BY l.latest DESC NULLS LAST, l.kind, l.at DESC NULLS LAST, l.rid DESC",
        );
        sql
    }
}
