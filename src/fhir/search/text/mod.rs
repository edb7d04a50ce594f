//! Full text: `_text` and `_content` (<https://hl7.org/fhir/R4/search.html#text>).
//!
//! Collecting the words of a resource costs more than all its other index rows, and hardly any search needs them. So a
//! commit only notes that a resource was written (`text_pending`). The words are collected by a job, or by a search for
//! text that comes before it ([`catch_up`]): a resource is found as soon as it was written, and who does not search for
//! text does not wait for it.

mod query;
mod words;

use futures::TryStreamExt;
use serde_json::Value;
use sqlx::Connection;

pub use self::query::{Query, Scope, parse};
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::server::FhirServer;
use crate::fhir::store::Store;
use crate::jobs::JobError;

/// The job that collects words, and how often it comes: what it leaves to searches is little, whatever is written.
pub const JOB: &str = "search.text";
pub const SCHEDULE: &str = "*/10 * * * * *";

/// Resources whose words are collected in one transaction.
const BATCH: i64 = 500;

/// How many batches a search collects before it answers without the rest.
const BATCHES_PER_SEARCH: usize = 4;

/// One collects at a time: others would wait for the same rows, or answer without what the first one has taken.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('search.text'), 0)";

/// Longer JSON than this, in bytes, is read on a thread of its own.
const LONG: usize = 200_000;

/// Collects the words of what was written lately. Answers a warning if that is too much for one search.
///
/// # Errors
/// 503 when the database cannot answer.
pub(super) async fn catch_up(store: &Store) -> Result<Option<Issue>, FhirError> {
    for _ in 0..BATCHES_PER_SEARCH {
        if !collect(store).await? {
            return Ok(None);
        }
    }
    let mut lease = store.fixed().await?;
    let left: i64 = sqlx::query_scalar("SELECT count(DISTINCT rid) FROM text_pending")
        .fetch_one(&mut *lease)
        .await?;
    lease.release();
    let text = format!(
        "The words of {left} resources that were written lately are still being collected; _text and _content do not find \
         them yet."
    );
    Ok((left > 0).then(|| Issue::warning(IssueType::Incomplete, text)))
}

/// The handler of [`JOB`].
///
/// # Errors
/// To be tried again when the database cannot answer.
pub async fn job(server: &FhirServer) -> Result<(), JobError> {
    let collect = || collect(&server.store);
    while collect()
        .await
        .map_err(|error| JobError::Retry(format!("status {}", error.status)))?
    {}
    Ok(())
}

/// Brings the tables in line with the setting: with full text off they are emptied; once it is on again, whatever is there
/// waits for its words.
///
/// # Errors
/// 503 when the database cannot answer.
pub async fn prepare(store: &Store, is_on: bool) -> Result<(), FhirError> {
    const ALL: &str = "INSERT INTO text_pending SELECT rid FROM resource WHERE NOT deleted \
         AND NOT EXISTS (SELECT FROM resource_text) AND NOT EXISTS (SELECT FROM text_pending)";
    const NONE: &str = "DO $$ BEGIN IF EXISTS (SELECT FROM resource_text) OR EXISTS (SELECT FROM text_pending) \
         THEN TRUNCATE resource_text, text_pending; END IF; END $$";
    let mut lease = store.planned().await?;
    sqlx::query(if is_on { ALL } else { NONE }).execute(&mut *lease).await?;
    lease.release();
    Ok(())
}

/// Collects one batch; answers whether there was anything to collect.
async fn collect(store: &Store) -> Result<bool, FhirError> {
    // A resource that is written meanwhile is noted again by its own transaction, so nothing is missed.
    const TAKE: &str = "DELETE FROM text_pending \
         WHERE rid IN (SELECT rid FROM text_pending ORDER BY rid LIMIT $1) RETURNING rid";
    const READ: &str = "SELECT rid, coalesce(exact, content::text) FROM resource WHERE rid = ANY ($1) AND NOT deleted";
    const FORGET: &str = "DELETE FROM resource_text WHERE rid = ANY ($1)";
    const WRITE: &str = "INSERT INTO resource_text (rid, words) \
         SELECT rid, words::tsvector FROM unnest($1::bigint[], $2::text[]) AS new (rid, words) \
         ON CONFLICT (rid) DO UPDATE SET words = excluded.words";
    let mut lease = store.fixed().await?;
    let mut transaction = lease.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    let mut taken: Vec<i64> = sqlx::query_scalar(TAKE)
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
    taken.sort_unstable();
    taken.dedup();
    let (mut rids, mut vectors) = (Vec::new(), Vec::new());
    let mut contents = sqlx::query_as::<_, (i64, String)>(READ)
        .bind(&taken)
        .fetch(&mut *transaction);
    // One at a time: a batch may hold hundreds of megabytes.
    while let Some((rid, json)) = contents.try_next().await? {
        rids.push(rid);
        vectors.push(if json.len() > LONG {
            tokio::task::spawn_blocking(move || vector(&json))
                .await
                .map_err(FhirError::internal)??
        } else {
            vector(&json)?
        });
    }
    drop(contents);
    let gone: Vec<i64> = taken.iter().filter(|rid| !rids.contains(rid)).copied().collect();
    if !gone.is_empty() {
        sqlx::query(FORGET).bind(gone).execute(&mut *transaction).await?;
    }
    if !rids.is_empty() {
        sqlx::query(WRITE)
            .bind(rids)
            .bind(vectors)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    lease.release();
    Ok(!taken.is_empty())
}

fn vector(json: &str) -> Result<String, FhirError> {
    let resource: Value = serde_json::from_str(json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    Ok(words::vector(&resource))
}
