//! The handlers of jobs, by name.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use croner::errors::CronError;
use futures::future::BoxFuture;
use serde_json::Value;

use super::schedule::Schedule;

/// A job as its handler sees it.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: i64,
    pub kind: String,
    pub payload: Value,
    /// How many jobs in a row caused this one.
    pub depth: i32,
    /// 1 on the first run.
    pub attempt: i32,
}

/// Why a handler failed, and thereby what becomes of the job. The text is kept with the job: no personal data.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may work later: try again after a pause.
    #[error("{0}")]
    Retry(String),
    /// It will never work: keep the job for a person to look at.
    #[error("{0}")]
    Fail(String),
}

impl From<sqlx::Error> for JobError {
    /// A database that does not answer now may do so later. Only the kind of error is told, since its details may quote
    /// the data.
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        Self::Retry(code.map_or_else(
            || "the database did not answer".to_owned(),
            |code| format!("database error {code}"),
        ))
    }
}

pub(super) type Handler = Arc<dyn Fn(Job) -> BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

/// Which handler runs which kind of job, and which jobs come with the clock. Filled in `app/hooks.rs`.
#[derive(Default)]
pub struct Registry {
    pub(super) handlers: HashMap<&'static str, Handler>,
    pub(super) schedules: Vec<Schedule>,
}

impl Registry {
    /// A registry without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs jobs of `kind` by `handler`, which must be idempotent: see the [module](super).
    #[must_use]
    pub fn on<F, R>(mut self, kind: &'static str, handler: F) -> Self
    where
        F: Fn(Job) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.handlers.insert(kind, Arc::new(move |job| Box::pin(handler(job))));
        self
    }

    /// Enqueues a job of `kind` (with `{}` as payload) whenever `pattern` matches, in UTC. The pattern is that of cron,
    /// with an optional field for seconds in front.
    ///
    /// # Errors
    /// When the pattern cannot be read.
    pub fn every(mut self, pattern: &str, kind: &'static str) -> Result<Self, CronError> {
        self.schedules.push(Schedule {
            kind,
            cron: Cron::from_str(pattern)?,
            pattern: pattern.to_owned(),
        });
        Ok(self)
    }

    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.handlers.keys().copied().collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("kinds", &self.kinds())
            .field("schedules", &self.schedules)
            .finish()
    }
}
