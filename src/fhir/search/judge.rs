//! Whether resources that are named, rather than found, meet a criterion: as they are, or as they were in a version of the
//! past, whose index rows are made anew of its content.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::criterion::{Criterion, ResourceType, Types};
use super::plan::{self, Numbers, Versions};
use super::sql::Sql;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::store::{COLUMNS, Ids};

/// Whom a criterion is asked for, and where.
pub(in crate::fhir) struct Judge<'s> {
    pub server: &'s FhirServer,
    pub caller: &'s Caller,
    pub criterion: &'s Criterion,
    /// Resources that tie the caller to nobody: those that the caller is writing.
    pub ignored: &'s [i64],
    /// Whether nothing that is found may be undone with a transaction.
    pub is_committed: bool,
}

impl Judge<'_> {
    async fn numbers(&self, connection: &mut PgConnection) -> Result<Numbers, FhirError> {
        let Judge {
            server,
            caller,
            criterion,
            ..
        } = *self;
        let numbers = Numbers::of_criterion(server, caller, connection, criterion, self.is_committed).await?;
        Ok(numbers.ignoring(self.ignored))
    }

    /// Those of the resources, by rid, that meet it as they are now. What is deleted is nothing any more.
    pub async fn of_resources(&self, connection: &mut PgConnection, rids: &[i64]) -> Result<HashSet<i64>, FhirError> {
        let numbers = self.numbers(connection).await?;
        let Some(sql) = plan::those_of(self.criterion, &numbers, rids) else {
            return Ok(HashSet::new());
        };
        let rows = sql.query()?.fetch_all(connection).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// The current version of a resource, as a row of [`COLUMNS`], and whether it meets it.
    pub async fn of_current(
        &self,
        connection: &mut PgConnection,
        type_id: i16,
        id: &str,
    ) -> Result<Option<(PgRow, bool)>, FhirError> {
        let numbers = self.numbers(connection).await?;
        let mut sql = Sql::default();
        let resource = sql.new_alias();
        sql.push("SELECT ").push(COLUMNS).push(", ");
        plan::write_test(&mut sql, self.criterion, &numbers, resource, true);
        sql.push(" FROM resource r CROSS JOIN LATERAL (SELECT r.rid) ")
            .alias(resource);
        sql.push(" (rid) WHERE r.type = ")
            .bind(type_id)
            .push(" AND r.id = ")
            .bind(id.to_owned());
        sql.push(" AND r.version > 0");
        let row = sql.query()?.fetch_optional(connection).await?;
        Ok(match row {
            None => None,
            Some(row) => {
                let meets = row.try_get(8)?;
                Some((row, meets))
            }
        })
    }

    /// Up to `limit` resources that meet it, by rid.
    pub async fn some(&self, connection: &mut PgConnection, limit: i64) -> Result<Vec<i64>, FhirError> {
        let numbers = self.numbers(connection).await?;
        let Some(sql) = plan::some_of(self.criterion, &numbers, limit) else {
            return Ok(Vec::new());
        };
        let rows = sql.query()?.fetch_all(connection).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Those of one type that meet it, newest first, up to a rid, as rows of [`COLUMNS`].
    pub async fn newest(
        &self,
        connection: &mut PgConnection,
        ty: ResourceType,
        highest: i64,
        limit: i64,
    ) -> Result<Vec<PgRow>, FhirError> {
        let numbers = self.numbers(connection).await?;
        match plan::newest_of(self.criterion, &numbers, &Types::One(ty), highest, limit) {
            Some(sql) => Ok(sql.query()?.fetch_all(connection).await?),
            None => Ok(Vec::new()),
        }
    }

    /// `meta` of the newest resource with each label, among those that meet it and have rows under these parameters.
    pub async fn labels(&self, connection: &mut PgConnection, params: Vec<i16>) -> Result<Vec<Value>, FhirError> {
        let numbers = self.numbers(connection).await?;
        let mut sql = Sql::default();
        let (token, uri) = (sql.new_alias(), sql.new_alias());
        sql.push("SELECT DISTINCT r.content->'meta' FROM (SELECT max(")
            .column(token, ".rid) AS rid FROM idx_token ");
        sql.alias(token)
            .push(" WHERE ")
            .column(token, ".param = ANY(")
            .bind(params.clone())
            .push(") AND ");
        plan::write_test(&mut sql, self.criterion, &numbers, token, false);
        sql.push(" GROUP BY ")
            .column(token, ".param, ")
            .column(token, ".code, ")
            .column(token, ".system");
        sql.push(" UNION SELECT max(").column(uri, ".rid) FROM idx_uri ");
        sql.alias(uri)
            .push(" WHERE ")
            .column(uri, ".param = ANY(")
            .bind(params)
            .push(") AND ");
        plan::write_test(&mut sql, self.criterion, &numbers, uri, false);
        sql.push(" GROUP BY ").column(uri, ".param, ").column(uri, ".uri");
        sql.push(") m JOIN resource r ON r.rid = m.rid WHERE NOT r.deleted");
        let rows = sql.query()?.fetch_all(connection).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Which of the versions meet it, by their own content. A deletion has none, and is judged by what it deleted.
    pub async fn of_versions(
        &self,
        connection: &mut PgConnection,
        versions: &[StoredResource],
    ) -> Result<Vec<bool>, FhirError> {
        let contents = contents(connection, versions).await?;
        let numbers = self.numbers(connection).await?;
        let registry = self.server.search.current();
        let mut params = HashSet::new();
        self.criterion.visit_params(&mut |param| _ = params.insert(param));
        let mut rows = Vec::with_capacity(versions.len());
        for (version, content) in versions.iter().zip(&contents) {
            rows.push(match content {
                Some(content) => {
                    let mut rows = registry.rows(version.resource_type, content)?;
                    rows.retain(|param| params.contains(&param));
                    Some(rows)
                }
                None => None,
            });
        }
        let mut ids = Ids::new(&self.server.store);
        let columns = |ids: &mut Ids<'_>| {
            let mut columns = Versions::default();
            for (n, (version, rows)) in versions.iter().zip(&rows).enumerate() {
                let Some(rows) = rows else { continue };
                let number = number_of(n);
                columns.rid.push(number);
                columns.resource.push(version.rid);
                columns
                    .type_id
                    .push(self.server.store.types().id(version.resource_type).unwrap_or_default());
                columns.id.push(version.id.clone());
                columns.version.push(version.version);
                columns.last_updated.push(version.last_updated.into());
                columns.rows.push(number, rows, &HashMap::new(), ids);
            }
            columns
        };
        let mut all = columns(&mut ids);
        if !ids.is_complete() {
            ids.find(connection).await?;
            all = columns(&mut ids);
        }
        let Some(sql) = all.that_meet(self.criterion, &numbers) else {
            return Ok(vec![false; versions.len()]);
        };
        // As many shapes as there are rules; the plan is made for the rows at hand.
        let found = sql.query()?.persistent(false).fetch_all(connection).await?;
        let found: BTreeSet<i64> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok((0..versions.len()).map(|n| found.contains(&number_of(n))).collect())
    }
}

/// By which the statement knows the version at a place.
fn number_of(place: usize) -> i64 {
    -1 - i64::try_from(place).unwrap_or(i64::MAX - 1)
}

/// The content by which each version is judged; `None` where there never was one.
async fn contents(connection: &mut PgConnection, versions: &[StoredResource]) -> Result<Vec<Option<Value>>, FhirError> {
    const BEFORE: &str = "SELECT w.rid, w.version, (SELECT coalesce(h.exact, h.content::text) FROM resource_history h \
         WHERE h.rid = w.rid AND h.version < w.version AND NOT h.deleted ORDER BY h.version DESC LIMIT 1) \
         FROM unnest($1::bigint[], $2::integer[]) AS w (rid, version)";
    let deletions = versions.iter().filter(|version| version.deleted);
    let (rids, numbers): (Vec<i64>, Vec<i32>) = deletions.map(|version| (version.rid, version.version)).unzip();
    let mut before: HashMap<(i64, i32), String> = HashMap::new();
    if !rids.is_empty() {
        let rows: Vec<(i64, i32, Option<String>)> = sqlx::query_as(BEFORE)
            .bind(rids)
            .bind(numbers)
            .fetch_all(connection)
            .await?;
        let found = rows
            .into_iter()
            .filter_map(|(rid, version, text)| Some(((rid, version), text?)));
        before.extend(found);
    }
    let content = |version: &StoredResource| {
        let text = match version.deleted {
            false => Some(&version.json),
            true => before.get(&(version.rid, version.version)),
        };
        let read =
            |text: &String| serde_json::from_str(text).map_err(|_| FhirError::internal("stored content is not JSON"));
        text.map(read).transpose()
    };
    versions.iter().map(content).collect()
}
