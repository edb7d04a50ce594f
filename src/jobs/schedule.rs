//! Jobs that come with the clock.
//!
//! The row of a schedule in the database says when it fires next. Whoever moves that instant forward enqueues the job, in
//! the same transaction: once, however many instances try. What came due while nobody ran fires once, not once per miss.

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jiff_sqlx::ToSqlx;
use serde_json::json;
use sqlx::PgPool;

use super::{NewJob, enqueue};

/// One line of [`Registry::every`](super::Registry::every).
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) kind: &'static str,
    pub(super) cron: Cron,
    pub(super) pattern: String,
}

impl Schedule {
    /// The first match after `instant`; the end of time for a pattern that never matches again.
    fn next_after(&self, instant: Timestamp) -> Timestamp {
        let next = self.cron.find_next_occurrence(&instant.to_zoned(TimeZone::UTC), false);
        next.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }
}

/// Makes sure that every schedule has a row; a changed pattern counts from `now`.
pub(super) async fn install(pool: &PgPool, now: Timestamp, schedules: &[Schedule]) -> Result<(), sqlx::Error> {
    for schedule in schedules {
        sqlx::query(
            "INSERT INTO job_schedule (name, pattern, next_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET pattern = excluded.pattern, next_at = excluded.next_at
             WHERE job_schedule.pattern <> excluded.pattern",
        )
        .bind(schedule.kind)
        .bind(&schedule.pattern)
        .bind(schedule.next_after(now).to_sqlx())
        .execute(pool)
        .await?;
    }
    Ok(())
}

/// Enqueues the jobs of all schedules that are due.
pub(super) async fn fire_due(pool: &PgPool, now: Timestamp, schedules: &[Schedule]) -> Result<(), sqlx::Error> {
    for schedule in schedules {
        let mut transaction = pool.begin().await?;
        let fired = sqlx::query("UPDATE job_schedule SET next_at = $3 WHERE name = $1 AND next_at <= $2")
            .bind(schedule.kind)
            .bind(now.to_sqlx())
            .bind(schedule.next_after(now).to_sqlx())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if fired > 0 {
            // Two runs that wait at the same time would do the same thing.
            let job = NewJob::new(schedule.kind, json!({})).once_per(format!("schedule:{}", schedule.kind));
            enqueue(&mut transaction, now, &[job]).await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}
