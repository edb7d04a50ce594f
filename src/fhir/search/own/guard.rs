//! What storing or deleting a SearchParameter does to the registry, in the same transaction.
//!
//! A change of the registry must not cross a write that indexes by the registry before: the job that indexes what was
//! there would miss it. So the change waits until every transaction that has written resources has ended, and keeps others
//! from writing until it has ended itself, which takes milliseconds; and the generation that it raises makes every later
//! write look at the registry again.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;

use super::check::{check, taken_by};
use super::definition::{concrete_types, in_use, indexes_alike};
use crate::base::Clock;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};
use crate::fhir::search::registry::change;
use crate::fhir::search::reindex::{self, Reason};
use crate::jobs;
use crate::knowledge::definitions::{Definitions, SearchParameter};

/// Checks SearchParameters and brings them into the registry.
pub struct OwnSearchParameters {
    definitions: &'static Definitions,
    clock: Clock,
}

impl OwnSearchParameters {
    pub fn new(clock: Clock) -> OwnSearchParameters {
        OwnSearchParameters {
            definitions: Definitions::r4(),
            clock,
        }
    }

    fn in_use(&self, resource: Option<&Value>) -> Option<SearchParameter> {
        in_use(self.definitions, resource)
    }
}

impl Guard for OwnSearchParameters {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "SearchParameter"
    }

    fn before<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let after = draft.after.as_deref();
            if let Some(after) = after {
                check(self.definitions, after)?;
            }
            if self.in_use(draft.before).is_some() || self.in_use(after).is_some() {
                // Two changes that both had written would wait for each other.
                change::take_turn(transaction).await?;
            }
            Ok(())
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let mut wanted = Wanted::default();
            for change in changes {
                let before = self.in_use(change.before.as_ref());
                let after = self.in_use(change.after.as_ref());
                match (before, after) {
                    (Some(before), Some(after)) if before == after => {}
                    (Some(before), Some(after)) if indexes_alike(&before, &after) => wanted.edited.push(change.rid),
                    (before, after) => {
                        wanted.gone.extend(before.map(|_| change.rid));
                        wanted.come.extend(after.map(|after| (change.rid, after)));
                    }
                }
            }
            wanted.apply(self.definitions, &self.clock, transaction).await
        })
    }
}

/// What the changes of a transaction come to, by the rids of the SearchParameters.
#[derive(Default)]
struct Wanted {
    gone: Vec<i64>,
    come: Vec<(i64, SearchParameter)>,
    /// Still with the same index rows.
    edited: Vec<i64>,
}

impl Wanted {
    async fn apply(
        self,
        definitions: &'static Definitions,
        clock: &Clock,
        transaction: &mut PgConnection,
    ) -> Result<(), FhirError> {
        if self.gone.is_empty() && self.come.is_empty() && self.edited.is_empty() {
            return Ok(());
        }
        let now = clock.now();
        if !(self.gone.is_empty() && self.come.is_empty()) {
            change::wait_for_writers(transaction).await?;
        }
        let generation = change::raise_generation(transaction).await?;
        sqlx::query("UPDATE search_parameter SET generation = $1 WHERE source = ANY($2) AND NOT dropped")
            .bind(generation)
            .bind(&self.edited)
            .execute(&mut *transaction)
            .await?;
        if !self.gone.is_empty() {
            drop_parameters(transaction, &self.gone, now).await?;
            jobs::enqueue(transaction, now, &[reindex::purge_job()]).await?;
        }
        for (rid, parameter) in &self.come {
            add_parameter(definitions, transaction, generation, *rid, parameter, now).await?;
        }
        Ok(())
    }
}

/// Takes the parameters of these SearchParameters out of use, and ends the runs that were to index by them.
async fn drop_parameters(
    transaction: &mut PgConnection,
    sources: &[i64],
    now: jiff::Timestamp,
) -> Result<(), FhirError> {
    let dropped: Vec<i16> = sqlx::query_scalar(
        "UPDATE search_parameter SET dropped = true, reindex = NULL WHERE source = ANY($1) AND NOT dropped RETURNING id",
    )
    .bind(sources)
    .fetch_all(&mut *transaction)
    .await?;
    sqlx::query("UPDATE reindex SET cancelled = true, finished_at = $2 WHERE finished_at IS NULL AND params <@ $1")
        .bind(dropped)
        .bind(now.to_sqlx())
        .execute(transaction)
        .await?;
    Ok(())
}

/// Gives the parameter a number for each of its types, and orders the resources that are there to be indexed by it.
async fn add_parameter(
    definitions: &'static Definitions,
    transaction: &mut PgConnection,
    generation: i64,
    source: i64,
    parameter: &SearchParameter,
    now: jiff::Timestamp,
) -> Result<(), FhirError> {
    // The smallest free numbers, which are below the count of all. Those of dropped parameters are free when their rows
    // are gone.
    const ADD: &str = "INSERT INTO search_parameter (id, type, code, url, source, generation) \
         SELECT free.id, t.id, $2, $3, $4, $5 \
         FROM (SELECT n::smallint AS id, row_number() OVER (ORDER BY n) AS place \
               FROM generate_series(1, least(32767, (SELECT count(*) FROM search_parameter) + cardinality($1))) AS n \
               WHERE NOT EXISTS (SELECT FROM search_parameter p WHERE p.id = n)) free \
         JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM resource_type WHERE name = ANY($1)) t \
              USING (place) \
         RETURNING id, type";
    let at_code = |text: String| FhirError::unprocessable(text).at("SearchParameter.code");
    let types: Vec<&str> = concrete_types(definitions, &parameter.base)
        .into_iter()
        .map(|ty| ty.name.as_str())
        .collect();
    let taken: Option<(String, String)> = sqlx::query_as(
        "SELECT t.name, coalesce('SearchParameter/' || r.id, p.url) FROM search_parameter p \
         JOIN resource_type t ON t.id = p.type LEFT JOIN resource r ON r.rid = p.source \
         WHERE NOT p.dropped AND p.code = $1 AND t.name = ANY($2) ORDER BY t.name LIMIT 1",
    )
    .bind(&parameter.code)
    .bind(&types)
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some((resource_type, owner)) = taken {
        return Err(at_code(taken_by(&resource_type, &parameter.code, &owner)));
    }
    let added: Vec<(i16, i16)> = sqlx::query_as(ADD)
        .bind(&types)
        .bind(&parameter.code)
        .bind(&parameter.url)
        .bind(source)
        .bind(generation)
        .fetch_all(&mut *transaction)
        .await?;
    if added.len() < types.len() {
        let text = "This server has no numbers left for search parameters: there are 32,767 pairs of type and code.";
        return Err(at_code(text.to_owned()));
    }
    let params: Vec<i16> = added.iter().map(|(id, _)| *id).collect();
    let types: BTreeSet<i16> = added.iter().map(|(_, ty)| *ty).collect();
    let types = reindex::populated(transaction, &types).await?;
    if !types.is_empty() {
        let run = reindex::order(transaction, now, Reason::Parameter, &types, Some(&params), None).await?;
        sqlx::query("UPDATE search_parameter SET reindex = $1 WHERE id = ANY($2)")
            .bind(run)
            .bind(&params)
            .execute(transaction)
            .await?;
    }
    Ok(())
}
