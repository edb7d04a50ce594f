//! The walk of a run.
//!
//! Batch by batch: lock the resources, compute their rows, replace them, note the place, commit. Writers of the same
//! resources wait for a batch as for each other, some tens of milliseconds.

use std::collections::HashSet;

use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::walk_job;
use crate::fhir::commit::{Anew, reindex};
use crate::fhir::error::FhirError;
use crate::fhir::search::registry::{SearchRegistry, change};
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;
use crate::jobs;

/// Most resources of a batch.
const BATCH: i64 = 200;
/// Most bytes of a batch, as they are stored: compressed. One resource is always taken.
const BATCH_BYTES: i64 = 4 << 20;
/// Batches of one job.
const BATCHES: usize = 25;
/// When to try again what belongs to servers with other rules.
const LATER: SignedDuration = SignedDuration::from_secs(5);

/// How a batch ended.
enum Step {
    More,
    /// The run has come to its end, or is not this server's to walk.
    Ended,
    /// The registry has changed: nothing was done.
    Outdated,
}

/// The columns of [`Place`], in its order.
type Columns = (Vec<i16>, Option<Vec<i16>>, Option<i32>, i16, i64);

/// A run as the walk sees it.
struct Place {
    types: Vec<i16>,
    params: Option<Vec<i16>>,
    mark: Option<i32>,
    at_type: i16,
    at_rid: i64,
}

impl Place {
    /// Where a run is that has not ended, locked: of two workers that walk it, one waits for the other's batch.
    async fn of(transaction: &mut PgConnection, run: i64) -> Result<Option<Place>, FhirError> {
        const SQL: &str = "SELECT types, params, mark, at_type, at_rid FROM reindex \
             WHERE id = $1 AND finished_at IS NULL FOR UPDATE";
        let row: Option<Columns> = sqlx::query_as(SQL).bind(run).fetch_optional(transaction).await?;
        Ok(row.map(|(types, params, mark, at_type, at_rid)| Place {
            types,
            params,
            mark,
            at_type,
            at_rid,
        }))
    }
}

/// Does the next batches of a run, and orders a job for the others.
pub async fn walk(server: &FhirServer, run: i64) -> Result<(), FhirError> {
    begin(server, run).await?;
    let mut batches = 0;
    while batches < BATCHES {
        match batch(server, run, batches + 1 == BATCHES).await? {
            Step::More => batches += 1,
            Step::Outdated => server.search.refresh(&server.store).await?,
            Step::Ended => {
                // The registry may have changed with it. Should this fail, the next look finds out.
                let _ = server.search.refresh(&server.store).await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Counts what there is to walk, once. A parameter's resources may be contained in others, of other types.
async fn begin(server: &FhirServer, run: i64) -> Result<(), FhirError> {
    const START: &str = "UPDATE reindex SET started_at = $2, types = ARRAY(\
             SELECT unnest(types) UNION SELECT r.type FROM contained c JOIN resource r ON r.rid = c.container \
             WHERE params IS NOT NULL AND c.type = ANY(types) ORDER BY 1) \
         WHERE id = $1 AND started_at IS NULL";
    const COUNT: &str = "UPDATE reindex SET total = (SELECT count(*) FROM resource r \
             WHERE r.type = ANY(types) AND NOT r.deleted AND (mark IS NULL OR r.index_version <> mark)) \
         WHERE id = $1 AND total IS NULL";
    let mut lease = server.store.fixed().await?;
    let now = server.clock.now().to_sqlx();
    sqlx::query(START).bind(run).bind(now).execute(&mut *lease).await?;
    sqlx::query(COUNT).bind(run).execute(&mut *lease).await?;
    lease.release();
    Ok(())
}

async fn batch(server: &FhirServer, run: i64, is_last: bool) -> Result<Step, FhirError> {
    let mut lease = server.store.fixed().await?;
    let mut ids = Ids::new(&server.store);
    let mut transaction = lease.begin().await?;
    let step = batch_in(server, &mut transaction, &mut ids, run, is_last).await?;
    if let Step::Outdated = step {
        transaction.rollback().await?;
        lease.release();
        return Ok(step);
    }
    transaction.commit().await?;
    lease.release();
    ids.publish();
    Ok(step)
}

async fn batch_in(
    server: &FhirServer,
    transaction: &mut PgConnection,
    ids: &mut Ids<'_>,
    run: i64,
    is_last: bool,
) -> Result<Step, FhirError> {
    let registry = server.search.current();
    // As a statement that writes resources does: while this is held the registry cannot change.
    sqlx::query("LOCK TABLE resource IN ROW EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    let generation: i64 = sqlx::query_scalar("SELECT generation FROM search_registry")
        .fetch_one(&mut *transaction)
        .await?;
    if generation != registry.generation() {
        return Ok(Step::Outdated);
    }
    let Some(mut place) = Place::of(transaction, run).await? else {
        return Ok(Step::Ended);
    };
    let now = server.clock.now();
    if place.mark.is_some_and(|mark| mark != server.index_version) {
        let later = now.saturating_add(LATER).unwrap_or(now);
        jobs::enqueue(transaction, now, &[walk_job(run).due_at(later)]).await?;
        return Ok(Step::Ended);
    }
    let Some(rids) = next_resources(transaction, &mut place).await? else {
        return finish(server, transaction, run).await;
    };
    let Some(count) = index(server, transaction, ids, &registry, &place, &rids).await? else {
        return Ok(Step::Outdated);
    };
    sqlx::query("UPDATE reindex SET at_type = $2, at_rid = $3, done = done + $4, batches = batches + 1 WHERE id = $1")
        .bind(run)
        .bind(place.at_type)
        .bind(rids.last())
        .bind(count)
        .execute(&mut *transaction)
        .await?;
    if is_last {
        jobs::enqueue(transaction, now, &[walk_job(run)]).await?;
    }
    Ok(Step::More)
}

/// The rids of the next batch, after moving the place to their type; `None` at the end.
async fn next_resources(transaction: &mut PgConnection, place: &mut Place) -> Result<Option<Vec<i64>>, FhirError> {
    const SQL: &str = "SELECT rid, pg_column_size(content)::bigint FROM resource \
         WHERE type = $1 AND NOT deleted AND rid > $2 AND ($3::integer IS NULL OR index_version <> $3) \
         ORDER BY rid LIMIT $4";
    let ahead: Vec<i16> = place.types.iter().copied().filter(|&ty| ty >= place.at_type).collect();
    for ty in ahead {
        if ty > place.at_type {
            (place.at_type, place.at_rid) = (ty, 0);
        }
        let found: Vec<(i64, i64)> = sqlx::query_as(SQL)
            .bind(place.at_type)
            .bind(place.at_rid)
            .bind(place.mark)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        if found.is_empty() {
            continue;
        }
        let mut bytes = 0;
        let fits = found.into_iter().take_while(|(_, size)| {
            let is_first = bytes == 0;
            bytes += size;
            is_first || bytes <= BATCH_BYTES
        });
        return Ok(Some(fits.map(|(rid, _)| rid).collect()));
    }
    Ok(None)
}

/// Replaces the rows of some resources of one type, and answers of how many; `None` if the registry is another one by now,
/// since a run that ends changes it as well.
async fn index(
    server: &FhirServer,
    transaction: &mut PgConnection,
    ids: &mut Ids<'_>,
    registry: &SearchRegistry,
    place: &Place,
    rids: &[i64],
) -> Result<Option<i64>, FhirError> {
    // What was deleted since is left out.
    let texts: Vec<(i64, String)> = sqlx::query_as(
        "SELECT rid, coalesce(exact, content::text) FROM resource WHERE rid = ANY($1) AND NOT deleted \
         ORDER BY rid FOR NO KEY UPDATE",
    )
    .bind(rids)
    .fetch_all(&mut *transaction)
    .await?;
    let unknown = || FhirError::internal("unknown type id");
    let resource_type = server.store.types().name(place.at_type).ok_or_else(unknown)?;
    let mut resources: Vec<(i64, Value)> = Vec::with_capacity(texts.len());
    for (rid, text) in &texts {
        let content = serde_json::from_str(text).map_err(|_| FhirError::internal("stored content is not JSON"))?;
        resources.push((*rid, content));
    }
    let only: Option<HashSet<i16>> = place.params.as_ref().map(|params| params.iter().copied().collect());
    let resources = (resource_type, resources.as_slice());
    let what = only.as_ref().map_or(Anew::Everything, Anew::Parameters);
    let done = reindex(server, registry, transaction, ids, resources, what).await?;
    Ok(done.then(|| i64::try_from(resources.1.len()).unwrap_or(i64::MAX)))
}

/// All resources are indexed: searches need not say otherwise any more.
async fn finish(server: &FhirServer, transaction: &mut PgConnection, run: i64) -> Result<Step, FhirError> {
    sqlx::query("UPDATE reindex SET finished_at = $2 WHERE id = $1")
        .bind(run)
        .bind(server.clock.now().to_sqlx())
        .execute(&mut *transaction)
        .await?;
    let completed = sqlx::query("UPDATE search_parameter SET reindex = NULL WHERE reindex = $1")
        .bind(run)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    if completed > 0 {
        change::raise_generation(transaction).await?;
    }
    Ok(Step::Ended)
}
