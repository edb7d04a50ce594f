//! What the ops of a commit meet in the database, locked until the end of the transaction.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::prepare::{Action, Prepared, Step};
use super::{AtOp, Stop};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::search;
use crate::fhir::server::FhirServer;
use crate::fhir::store::COLUMNS;

/// A row of `resource`: a live resource, a deletion (its `json` is empty) or a placeholder (version 0).
#[derive(Clone)]
pub struct Current {
    pub stored: StoredResource,
    pub index_version: i32,
}

impl Current {
    pub fn is_live(&self) -> bool {
        !self.stored.deleted
    }

    /// The content of a live resource; that of a Binary as its mark.
    pub fn content(&self) -> Result<Option<Value>, FhirError> {
        if !self.is_live() {
            return Ok(None);
        }
        let mut content: Value =
            serde_json::from_str(&self.stored.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
        if let Some(held) = self.stored.content {
            content["data"] = held.mark();
        }
        Ok(Some(content))
    }
}

/// All that was found, by identity; and which id each of the criteria matched.
pub struct Found {
    rows: HashMap<(i16, String), Current>,
    /// In the order of [`Prepared::criteria`].
    matches: Vec<Option<String>>,
}

impl Found {
    /// The row that a step is about, if there is one.
    pub fn row(&self, step: &Step) -> Option<&Current> {
        let id = self.id(step)?;
        self.rows.get(&(step.type_id, id.to_owned()))
    }

    /// The id of what the step's criteria matched, else its own.
    pub fn id<'a>(&'a self, step: &'a Step) -> Option<&'a str> {
        match step.criteria {
            Some(index) => self.matches[index].as_deref(),
            None => step.id.as_deref(),
        }
    }

    /// The row with the id that the client put into the body of a conditional update.
    pub fn row_of_body(&self, step: &Step) -> Option<&Current> {
        self.rows.get(&(step.type_id, step.id.clone()?))
    }
}

impl Prepared {
    /// Takes the locks of all criteria, then of all rows.
    pub(super) async fn resolve(
        &self,
        server: &FhirServer,
        caller: &Caller,
        transaction: &mut PgConnection,
    ) -> Result<Found, Stop> {
        let mut matches = Vec::new();
        if !self.criteria.is_empty() {
            self.lock_criteria(transaction).await?;
            matches = self.find_matches(server, caller, transaction).await?;
        }
        let rows = self.lock_rows(server, transaction, &matches).await?;
        if matches.iter().any(Option::is_some) {
            // Someone who names the resource by its id takes no lock on criteria, and may have changed it between the
            // search and the lock on its row. What is locked now must still be what matches.
            if self.find_matches(server, caller, transaction).await? != matches {
                return Err(Stop::Crossed);
            }
        }
        Ok(Found { rows, matches })
    }

    async fn lock_criteria(&self, transaction: &mut PgConnection) -> Result<(), Stop> {
        // In the order of the array, which is the same for everybody. A statement of its own: one that searched as well
        // would not see what the former holder of the lock has just committed.
        let keys: Vec<i64> = self.criteria.iter().map(|criteria| criteria.lock).collect();
        sqlx::query("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS wanted (key)")
            .bind(keys)
            .execute(transaction)
            .await?;
        Ok(())
    }

    /// What each of the criteria matches. Several matches are an error of the first op that uses them.
    async fn find_matches(
        &self,
        server: &FhirServer,
        caller: &Caller,
        transaction: &mut PgConnection,
    ) -> Result<Vec<Option<String>>, Stop> {
        let wanted: Vec<(String, String)> = self
            .criteria
            .iter()
            .map(|c| (c.resource_type.to_owned(), c.query.clone()))
            .collect();
        let user_of = |index| {
            self.steps
                .iter()
                .find(|step| step.criteria == Some(index))
                .map_or(0, |step| step.op)
        };
        let found = matches_all(transaction, server, caller, &wanted)
            .await
            .map_err(|(index, error)| match index {
                Some(index) => Stop::from(Err::<(), _>(error).at_op(user_of(index)).unwrap_err()),
                None => Stop::from(error),
            })?;
        let mut matches = Vec::with_capacity(found.len());
        for (index, mut ids) in found.into_iter().enumerate() {
            if ids.len() > 1 {
                let text = "The criteria match several resources; this interaction is for one. Make them narrower.";
                return Err(FhirError::multiple_matches(text))
                    .at_op(user_of(index))
                    .map_err(Stop::from);
            }
            matches.push(ids.pop());
        }
        Ok(matches)
    }

    async fn lock_rows(
        &self,
        server: &FhirServer,
        transaction: &mut PgConnection,
        matches: &[Option<String>],
    ) -> Result<HashMap<(i16, String), Current>, Stop> {
        let mut wanted = BTreeSet::new();
        for step in &self.steps {
            let matched = step.criteria.and_then(|index| matches[index].as_deref());
            let own = step.id.as_deref().filter(|_| !matches!(step.action, Action::Create(_)));
            wanted.extend(
                [matched, own]
                    .into_iter()
                    .flatten()
                    .map(|id| (step.type_id, id.to_owned())),
            );
        }
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let (types, ids): (Vec<i16>, Vec<String>) = wanted.into_iter().unzip();
        let sql = format!(
            "SELECT {COLUMNS}, r.index_version FROM unnest($1::smallint[], $2::text[]) AS wanted (type, id) \
             JOIN resource r ON r.type = wanted.type AND r.id = wanted.id ORDER BY r.rid FOR UPDATE OF r"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(types)
            .bind(ids)
            .fetch_all(transaction)
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let current = Current {
                stored: server.store.resource_of(row)?,
                index_version: row.try_get(8)?,
            };
            found.insert((row.try_get(1)?, current.stored.id.clone()), current);
        }
        Ok(found)
    }
}

/// The ids that each of `criteria` (type, query) matches, at most two, found in one statement by a plan made for it.
///
/// # Errors
/// With the index of the criteria that cannot be understood.
pub async fn matches_all(
    transaction: &mut PgConnection,
    server: &FhirServer,
    caller: &Caller,
    criteria: &[(String, String)],
) -> Result<Vec<Vec<String>>, (Option<usize>, FhirError)> {
    // The connection keeps one plan per statement, which suits writes; a search wants one for its values. It holds locks
    // meanwhile, so it has no more time than any other search.
    plan_for_values(server, transaction, true)
        .await
        .map_err(|error| (None, error))?;
    let found = search::matches_all(transaction, server, caller, criteria).await?;
    plan_for_values(server, transaction, false)
        .await
        .map_err(|error| (None, error))?;
    Ok(found
        .into_iter()
        .map(|matches| matches.into_iter().map(|(_, id)| id).collect())
        .collect())
}

async fn plan_for_values(server: &FhirServer, transaction: &mut PgConnection, yes: bool) -> Result<(), FhirError> {
    let sql = match yes {
        true => {
            let timeout = server.settings.search_timeout.as_millis();
            format!("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL statement_timeout = {timeout}")
        }
        false => "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL statement_timeout = 0".to_owned(),
    };
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(transaction).await?;
    Ok(())
}

/// The instant of a commit, in the milliseconds that `meta.lastUpdated` tells.
pub fn instant_of(server: &FhirServer) -> Timestamp {
    let now = server.clock.now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// When the version after `current` was made: versions of one resource never share an instant, since history is paged
/// by it.
pub fn instant_after(now: Timestamp, current: Option<&Current>) -> Timestamp {
    let Some(current) = current.filter(|current| current.stored.version > 0) else {
        return now;
    };
    let next = current.stored.last_updated.as_millisecond().saturating_add(1);
    now.max(Timestamp::from_millisecond(next).unwrap_or(now))
}
