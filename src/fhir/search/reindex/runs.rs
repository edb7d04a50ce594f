//! Runs as they are told: to those who ask for their status, and to those whose search they concern.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

use crate::fhir::error::FhirError;

/// Why a run was ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A SearchParameter came, or changed.
    Parameter,
    /// An operator asked for it.
    Request,
    /// A release with other rules of indexing, or another base URL.
    Upgrade,
}

impl Reason {
    pub fn code(self) -> &'static str {
        match self {
            Reason::Parameter => "parameter",
            Reason::Request => "request",
            Reason::Upgrade => "upgrade",
        }
    }
}

/// Where a run stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub id: i64,
    /// The code of its [`Reason`].
    pub reason: String,
    /// Names of the types that it walks.
    pub types: Vec<String>,
    /// Codes of its parameters; none: all of each type.
    pub parameters: Vec<String>,
    pub cancelled: bool,
    /// Resources to walk; `None` before it has begun.
    pub total: Option<i64>,
    pub done: i64,
    pub ordered: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// Why its job was given up, if it was.
    pub failure: Option<String>,
}

impl FromRow<'_, PgRow> for Run {
    fn from_row(row: &PgRow) -> Result<Run, sqlx::Error> {
        let instant = |name: &str| {
            let at: Option<jiff_sqlx::Timestamp> = row.try_get(name)?;
            Ok::<_, sqlx::Error>(at.map(|at| at.to_jiff()))
        };
        Ok(Run {
            id: row.try_get("id")?,
            reason: row.try_get("reason")?,
            types: row.try_get("types")?,
            parameters: row.try_get("parameters")?,
            cancelled: row.try_get("cancelled")?,
            total: row.try_get("total")?,
            done: row.try_get("done")?,
            ordered: instant("created_at")?.unwrap_or(Timestamp::UNIX_EPOCH),
            started: instant("started_at")?,
            ended: instant("finished_at")?,
            failure: row.try_get("failure")?,
        })
    }
}

impl Run {
    /// Newest first: unfinished ones and the last twenty, or the one that is named.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(connection: &mut PgConnection, run: Option<i64>) -> Result<Vec<Run>, FhirError> {
        const SQL: &str = "SELECT x.id, x.reason, x.cancelled, x.total, x.done, x.created_at, x.started_at, x.finished_at, \
             ARRAY(SELECT t.name FROM resource_type t WHERE t.id = ANY(x.types) ORDER BY t.name) AS types, \
             ARRAY(SELECT DISTINCT p.code FROM search_parameter p WHERE p.id = ANY(x.params) ORDER BY p.code) AS parameters, \
             (SELECT j.last_error FROM job j WHERE j.kind = 'search.reindex' AND j.dead_at IS NOT NULL \
              AND (j.payload->>'run')::bigint = x.id ORDER BY j.id DESC LIMIT 1) AS failure \
             FROM reindex x WHERE CASE WHEN $1::bigint IS NULL THEN x.finished_at IS NULL \
                  OR x.id > (SELECT coalesce(max(id), 0) - 20 FROM reindex) ELSE x.id = $1 END \
             ORDER BY x.id DESC";
        Ok(sqlx::query_as(SQL).bind(run).fetch_all(connection).await?)
    }

    /// Whole percents of the resources that were there when it began. 100 only when it has ended.
    pub fn percent(&self) -> u8 {
        percent(self.done, self.total, self.ended.is_some() && !self.cancelled)
    }

    pub fn state(&self) -> &'static str {
        match self {
            Run { cancelled: true, .. } => "cancelled",
            Run { ended: Some(_), .. } => "finished",
            Run { failure: Some(_), .. } => "failed",
            Run { started: Some(_), .. } => "running",
            _ => "waiting",
        }
    }
}

pub(super) fn percent(done: i64, total: Option<i64>, finished: bool) -> u8 {
    if finished {
        return 100;
    }
    let total = total.unwrap_or_default().max(1);
    u8::try_from(done.saturating_mul(100) / total).unwrap_or(99).min(99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_whole_only_when_it_has_ended() {
        assert_eq!(percent(0, None, false), 0);
        assert_eq!(percent(1, Some(3), false), 33);
        assert_eq!(
            percent(3, Some(3), false),
            99,
            "its last batch is written, its end is not"
        );
        assert_eq!(percent(900, Some(3), false), 99, "resources came while it ran");
        assert_eq!(percent(2, Some(3), true), 100, "resources went while it ran");
    }
}
