//! Claims jobs, runs them, and decides what becomes of those that fail.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgPool, Row};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::registry::Handler;
use super::{CHANNEL, Job, JobError, Registry, schedule};
use crate::base::{Clock, IdGenerator};

/// How long a job belongs to a worker that is not heard of.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How often a worker extends its lease.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often a worker looks by itself, in case that a wake-up was lost with its connection.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a worker waits for a database that does not answer.
const WAIT_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs the jobs of a [`Registry`].
#[derive(Clone, Debug)]
pub struct Worker {
    pool: PgPool,
    clock: Clock,
    registry: Arc<Registry>,
    id: String,
    concurrency: usize,
}

struct Claimed {
    id: i64,
    kind: String,
    payload: Value,
    depth: i32,
    attempts: i32,
    max_attempts: i32,
}

impl Claimed {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            depth: row.try_get("depth")?,
            attempts: row.try_get("attempts")?,
            max_attempts: row.try_get("max_attempts")?,
        })
    }
}

impl Worker {
    /// A worker that runs at most `concurrency` jobs at the same time.
    pub fn new(pool: PgPool, clock: Clock, ids: &IdGenerator, registry: Arc<Registry>, concurrency: usize) -> Self {
        Self {
            pool,
            clock,
            registry,
            id: ids.next().to_string(),
            concurrency: concurrency.max(1),
        }
    }

    /// Runs jobs until `stop` becomes true or its sender is gone; those that have begun are finished first.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut wake_ups = None;
        let mut running = JoinSet::new();
        let mut installed = false;
        while !*stop.borrow() {
            if wake_ups.is_none() {
                wake_ups = self.listen().await;
            }
            let wait = match self.begin_due(&mut running, &mut installed).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(error = %JobError::from(error), "the job queue is out of reach");
                    WAIT_AFTER_ERROR
                }
            };
            let listener_failed = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(wait) => false,
                _ = running.join_next(), if !running.is_empty() => false,
                heard = hear(&mut wake_ups) => heard.is_err(),
            };
            if listener_failed {
                wake_ups = None;
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Runs all jobs that are due by the clock, and those that they cause, and returns how many ran.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn run_due(&self) -> Result<usize, sqlx::Error> {
        schedule::install(&self.pool, self.clock.now(), &self.registry.schedules).await?;
        let mut count = 0;
        loop {
            schedule::fire_due(&self.pool, self.clock.now(), &self.registry.schedules).await?;
            let claimed = self.claim(self.concurrency).await?;
            if claimed.is_empty() {
                return Ok(count);
            }
            count += claimed.len();
            let mut running = JoinSet::new();
            for job in claimed {
                running.spawn(self.clone().settle(job));
            }
            while running.join_next().await.is_some() {}
        }
    }

    /// Takes up to `limit` due jobs for itself, the longest due first.
    async fn claim(&self, limit: usize) -> Result<Vec<Claimed>, sqlx::Error> {
        let now = self.clock.now();
        // Only kinds that this release knows: during an upgrade, others belong to the newer instances.
        let rows = sqlx::query(
            "UPDATE job SET due_at = $2, attempts = attempts + 1, worker = $3
             WHERE id IN (
                 SELECT id FROM job WHERE dead_at IS NULL AND due_at <= $1 AND kind = ANY($4)
                 ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
             )
             RETURNING id, kind, payload, depth, attempts, max_attempts",
        )
        .bind(now.to_sqlx())
        .bind(lease_from(now).to_sqlx())
        .bind(&self.id)
        .bind(self.registry.kinds())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Claimed::from_row).collect()
    }

    /// Starts as many due jobs as there is room for, and returns how long to wait for the next.
    async fn begin_due(&self, running: &mut JoinSet<()>, installed: &mut bool) -> Result<Duration, sqlx::Error> {
        let now = self.clock.now();
        if !*installed {
            schedule::install(&self.pool, now, &self.registry.schedules).await?;
            *installed = true;
        }
        schedule::fire_due(&self.pool, now, &self.registry.schedules).await?;
        while running.try_join_next().is_some() {}
        let room = self.concurrency - running.len().min(self.concurrency);
        if room == 0 {
            return Ok(LONGEST_WAIT);
        }
        let claimed = self.claim(room).await?;
        let full = claimed.len() == room;
        for job in claimed {
            running.spawn(self.clone().settle(job));
        }
        if full {
            // There may be more, but no room: the end of a job wakes the loop.
            return Ok(LONGEST_WAIT);
        }
        self.until_next().await
    }

    async fn until_next(&self) -> Result<Duration, sqlx::Error> {
        let next: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(
            "SELECT least((SELECT min(due_at) FROM job WHERE dead_at IS NULL AND kind = ANY($1)),
                          (SELECT min(next_at) FROM job_schedule WHERE name = ANY($1)))",
        )
        .bind(self.registry.kinds())
        .fetch_one(&self.pool)
        .await?;
        let wait = next.map_or(LONGEST_WAIT, |next| {
            let wait = next.to_jiff().duration_since(self.clock.now());
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        Ok(wait.min(LONGEST_WAIT))
    }

    /// Runs one job and writes down how it went.
    async fn settle(self, job: Claimed) {
        let (id, kind) = (job.id, job.kind.clone());
        let result = if job.attempts > job.max_attempts {
            // The job took down each worker that ran it, or every one of them lost its connection.
            Err(JobError::Fail(
                "each of its workers died or lost the database".to_owned(),
            ))
        } else {
            self.attempt(&job).await
        };
        let noted = match result {
            Ok(()) => self.finish(id).await,
            Err(JobError::Retry(error)) if job.attempts < job.max_attempts => {
                tracing::warn!(
                    id,
                    kind,
                    attempt = job.attempts,
                    error,
                    "a job failed and will be tried again"
                );
                self.retry(id, job.attempts, &error).await
            }
            Err(JobError::Retry(error) | JobError::Fail(error)) => {
                tracing::error!(id, kind, attempt = job.attempts, error, "a job failed for good");
                self.bury(id, &error).await
            }
        };
        if let Err(error) = noted {
            // Its lease runs out, and it runs once more: hence the handlers' duty to be idempotent.
            tracing::warn!(id, kind, error = %JobError::from(error), "the end of a job could not be noted");
        }
    }

    async fn attempt(&self, job: &Claimed) -> Result<(), JobError> {
        let handler: &Handler = self
            .registry
            .handlers
            .get(job.kind.as_str())
            .ok_or_else(|| JobError::Retry("this release has no handler for it".to_owned()))?;
        let seen = Job {
            id: job.id,
            kind: job.kind.clone(),
            payload: job.payload.clone(),
            depth: job.depth,
            attempt: job.attempts,
        };
        // A panic is the handler's failure, not the worker's.
        let work = AssertUnwindSafe(async { handler(seen).await }).catch_unwind();
        tokio::select! {
            result = work => result.unwrap_or_else(|_| Err(JobError::Retry("the handler panicked".to_owned()))),
            lost = self.keep_lease(job.id) => Err(lost),
        }
    }

    /// Extends the lease for as long as it is polled. Ends only when the job belongs to somebody else.
    async fn keep_lease(&self, id: i64) -> JobError {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.tick().await;
        loop {
            heartbeat.tick().await;
            let extended = sqlx::query("UPDATE job SET due_at = $1 WHERE id = $2 AND worker = $3 AND dead_at IS NULL")
                .bind(lease_from(self.clock.now()).to_sqlx())
                .bind(id)
                .bind(&self.id)
                .execute(&self.pool)
                .await;
            match extended {
                Ok(done) if done.rows_affected() == 0 => {
                    return JobError::Retry("the lease ran out and another worker took over".to_owned());
                }
                // A database that does not answer: there are two more heartbeats before the lease ends.
                Ok(_) | Err(_) => {}
            }
        }
    }

    // The three ends of an attempt. Each asks whether the job is still ours: after a lost lease it is another's to end.

    async fn finish(&self, id: i64) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM job WHERE id = $1 AND worker = $2")
            .bind(id)
            .bind(&self.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn retry(&self, id: i64, attempt: i32, error: &str) -> Result<(), sqlx::Error> {
        let due = self
            .clock
            .now()
            .saturating_add(pause_after(attempt))
            .unwrap_or(Timestamp::MAX);
        sqlx::query("UPDATE job SET due_at = $3, last_error = $4 WHERE id = $1 AND worker = $2")
            .bind(id)
            .bind(&self.id)
            .bind(due.to_sqlx())
            .bind(error)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn bury(&self, id: i64, error: &str) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE job SET dead_at = $3, last_error = $4 WHERE id = $1 AND worker = $2")
            .bind(id)
            .bind(&self.id)
            .bind(self.clock.now().to_sqlx())
            .bind(error)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn listen(&self) -> Option<PgListener> {
        let mut listener = PgListener::connect_with(&self.pool).await.ok()?;
        listener.listen(CHANNEL).await.ok()?;
        Some(listener)
    }
}

/// Waits for a wake-up, or for ever when nobody can bring one.
async fn hear(listener: &mut Option<PgListener>) -> Result<(), sqlx::Error> {
    match listener {
        Some(listener) => listener.recv().await.map(|_| ()),
        None => pending().await,
    }
}

fn lease_from(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}

/// The pause after the given attempt (1 is the first): ten seconds, doubled each time, at most an hour.
pub fn pause_after(attempt: i32) -> SignedDuration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(16);
    SignedDuration::from_secs((10_i64 << doublings).min(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses: Vec<i64> = [1, 2, 3, 9, 10, 1000]
            .map(|attempt| pause_after(attempt).as_secs())
            .to_vec();
        assert_eq!(pauses, [10, 20, 40, 2560, 3600, 3600]);
    }
}
