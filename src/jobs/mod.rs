//! A durable queue in the database. Knows no job type: the rooms above register handlers by name.
//!
//! A job is enqueued in the transaction that makes it necessary, so that it exists exactly when that transaction
//! committed. Workers in any number of processes claim jobs with `FOR UPDATE SKIP LOCKED` and hold them by a lease, which
//! they extend while the handler runs. A worker that dies lets its leases run out, and others take over.
//!
//! **Handlers must be idempotent.** A job runs at least once: a worker may die after the work is done and before that is
//! noted. Do the work and its mark in one transaction, or make doing it twice the same as doing it once (a fixed key at
//! the payment provider, an upsert, a check of what is there).
//!
//! Instants come from the injected [`Clock`](crate::base::Clock). With several instances, their clocks may differ by less
//! than the lease (a minute) without harm beyond a job that starts early or late by the difference.
//!
//! | file | concern |
//! |---|---|
//! | [`registry`] | the handlers, what they get and how they fail |
//! | [`worker`] | claim, run, retry, give up |
//! | [`schedule`] | jobs that come with the clock |

pub mod registry;
pub mod schedule;
pub mod worker;

use std::borrow::Cow;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;

pub use registry::{Job, JobError, Registry};
pub use worker::Worker;

/// The channel on which workers hear of new jobs.
const CHANNEL: &str = "medconsult_job";

/// How often a job is begun before it is given up, unless it says otherwise. With the pauses of
/// [`worker::pause_after`], the last attempt is about two hours after the first.
const DEFAULT_MAX_ATTEMPTS: i32 = 10;

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    kind: Cow<'static, str>,
    payload: Value,
    key: Option<String>,
    depth: i32,
    due_at: Option<Timestamp>,
    max_attempts: i32,
}

impl NewJob {
    /// A job for the handler `kind`, to be run as soon as its transaction has committed.
    pub fn new(kind: impl Into<Cow<'static, str>>, payload: Value) -> Self {
        Self {
            kind: kind.into(),
            payload,
            key: None,
            depth: 0,
            due_at: None,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
        }
    }

    /// Not before `instant`.
    pub fn due_at(mut self, instant: Timestamp) -> Self {
        self.due_at = Some(instant);
        self
    }

    /// Do nothing if a job with the same key still waits for its first run: it will see what this one would have seen.
    pub fn once_per(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Caused by a job (or a resource written by one) of this depth; handlers that cause writes refuse to go too deep.
    pub fn caused_at_depth(mut self, depth: i32) -> Self {
        self.depth = depth.saturating_add(1);
        self
    }

    /// How often the job is begun at most; at least once.
    pub fn max_attempts(mut self, attempts: i32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }
}

/// Adds `jobs` to the queue in the caller's transaction, in one statement.
///
/// Workers are woken when the transaction commits. Postgres makes transactions that wake somebody commit one after the
/// other, which is why nothing is notified when `jobs` is empty.
///
/// # Errors
/// Those of the database.
pub async fn enqueue(connection: &mut PgConnection, now: Timestamp, jobs: &[NewJob]) -> Result<(), sqlx::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH added AS (
             INSERT INTO job (kind, payload, key, depth, created_at, due_at, max_attempts)
             SELECT kind, payload::jsonb, key, depth, $1, coalesce(due_at, $1), max_attempts
             FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::int[])
                  AS new (kind, payload, key, depth, due_at, max_attempts)
             ON CONFLICT (key) WHERE attempts = 0 AND dead_at IS NULL DO NOTHING
         )
         SELECT pg_notify($8, '')",
    )
    .bind(now.to_sqlx())
    .bind(jobs.iter().map(|job| &*job.kind).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.payload.to_string()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.key.clone()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.depth).collect::<Vec<_>>())
    .bind(
        jobs.iter()
            .map(|job| job.due_at.map(ToSqlx::to_sqlx))
            .collect::<Vec<_>>(),
    )
    .bind(jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>())
    .bind(CHANNEL)
    .execute(connection)
    .await?;
    Ok(())
}
