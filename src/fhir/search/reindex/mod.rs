//! Index rows for resources that were there before: after a search parameter came, when an operator asks for it
//! (`$reindex`), and after a release or a base URL that makes other rows.
//!
//! **A run** ([`runs`]) names types and, if not all are meant, parameters. It is a row, and its work a job: [`walk`] goes
//! through the resources by type and rid, in batches that commit their rows together with the place that was reached. So
//! it survives a crash, goes on in whichever process takes the job, and shows how far it is. A job does a limited number of
//! batches and then orders the next one, which keeps a server that is to stop from waiting for it.
//!
//! **Nothing is missed.** What is written after the registry changed is indexed by the write itself. What was written before
//! is there to be walked, since the change waited for all writes before it ([`own::guard`](super::own::guard)). What is
//! written meanwhile and walked as well is locked by one after the other, and its rows are replaced, not added to.
//!
//! **Nothing under-matches in silence.** Until the run has ended, its parameters are [incomplete](super::SearchRegistry::incomplete), and
//! every search that asks them says so ([`honesty`]). A run that an operator ordered replaces rows that are there, so
//! searches go on as before.

pub mod honesty;
mod purge;
pub mod runs;
mod upgrade;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::json;
use sqlx::PgConnection;

pub use runs::Reason;
pub use upgrade::take_charge;

use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::jobs::{self, JobError, NewJob, Registry};

/// The job that walks, and the one that removes the rows of parameters that are no longer used.
const WALK: &str = "search.reindex";
const PURGE: &str = "search.purge";

/// Registers the handlers of this room's jobs.
pub fn handlers(registry: Registry, server: &Arc<FhirServer>) -> Registry {
    let (walks, purges) = (server.clone(), server.clone());
    registry
        .on(WALK, move |job| {
            let server = walks.clone();
            async move {
                let run = job.payload["run"].as_i64();
                let run = run.ok_or_else(|| JobError::Fail("the job names no run".to_owned()))?;
                walk::walk(&server, run).await.map_err(retry)
            }
        })
        .on(PURGE, move |_| {
            let server = purges.clone();
            async move { purge::purge(&server).await.map_err(retry) }
        })
}

/// Only the status is told, which holds nothing of a resource.
fn retry(error: FhirError) -> JobError {
    JobError::Retry(error.to_string())
}

/// Of `types`, those that have resources, alone or contained in others.
pub async fn populated(connection: &mut PgConnection, types: &BTreeSet<i16>) -> Result<BTreeSet<i16>, FhirError> {
    let types: Vec<i16> = types.iter().copied().collect();
    let populated: Vec<i16> = sqlx::query_scalar(
        "SELECT t FROM unnest($1::smallint[]) AS t \
         WHERE EXISTS (SELECT FROM resource r WHERE r.type = t AND NOT r.deleted) \
            OR EXISTS (SELECT FROM contained c WHERE c.type = t)",
    )
    .bind(types)
    .fetch_all(connection)
    .await?;
    Ok(populated.into_iter().collect())
}

/// Orders a run and answers its number. `params` limits it to some parameters; `mark` lets it pass over resources that
/// were indexed by these rules already.
pub async fn order(
    transaction: &mut PgConnection,
    now: Timestamp,
    reason: Reason,
    types: &BTreeSet<i16>,
    params: Option<&[i16]>,
    mark: Option<i32>,
) -> Result<i64, FhirError> {
    let types: Vec<i16> = types.iter().copied().collect();
    let run: i64 = sqlx::query_scalar(
        "INSERT INTO reindex (reason, types, params, mark, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    )
    .bind(reason.code())
    .bind(types)
    .bind(params)
    .bind(mark)
    .bind(now.to_sqlx())
    .fetch_one(&mut *transaction)
    .await?;
    jobs::enqueue(transaction, now, &[walk_job(run)]).await?;
    Ok(run)
}

fn walk_job(run: i64) -> NewJob {
    NewJob::new(WALK, json!({"run": run})).once_per(format!("{WALK}:{run}"))
}

/// The job that removes the rows of all parameters that were dropped.
pub fn purge_job() -> NewJob {
    NewJob::new(PURGE, json!({})).once_per(PURGE)
}
