//! Runs one operation again and again, from several clients at one time, and measures.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;
use tokio::task::JoinSet;

use super::processes::Processes;

/// How much is done: what is reached first ends it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Clients; each sends its next request when it has the answer to the last.
    pub concurrency: usize,
    pub time: Duration,
    pub operations: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    pub name: String,
    pub operations: u64,
    pub errors: u64,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU milliseconds for each operation, where the process is known.
    pub server_cpu_ms: Option<f64>,
    pub database_cpu_ms: Option<f64>,
}

/// Runs `operation` within `bounds`; it is given its number, from 0. What fails is counted and not timed.
///
/// # Errors
/// When every operation failed: with the reason of the first.
pub async fn drive<F, Ready>(name: &str, bounds: Bounds, processes: Processes, operation: F) -> Result<Measure>
where
    F: Fn(u64) -> Ready + Send + Sync + 'static,
    Ready: Future<Output = Result<()>> + Send,
{
    let operation = Arc::new(operation);
    let next = Arc::new(AtomicU64::new(0));
    let (before, begun) = (processes.cpu(), Instant::now());
    let mut clients = JoinSet::new();
    for _ in 0..bounds.concurrency {
        let (operation, next) = (operation.clone(), next.clone());
        clients.spawn(async move {
            let (mut times, mut failures) = (Vec::new(), Vec::new());
            while begun.elapsed() < bounds.time {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= bounds.operations {
                    break;
                }
                let sent = Instant::now();
                match operation(number).await {
                    Ok(()) => times.push(sent.elapsed()),
                    Err(error) => failures.push(error),
                }
            }
            (times, failures)
        });
    }
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    for (some_times, some_failures) in clients.join_all().await {
        times.extend(some_times);
        failures.extend(some_failures);
    }
    let elapsed = begun.elapsed();
    let operations = times.len() as u64;
    let errors = failures.len() as u64;
    if operations == 0 {
        return Err(failures
            .pop()
            .unwrap_or_else(|| anyhow!("there was no time for even one"))
            .context(name.to_owned()));
    }
    let cpu = processes.cpu().since(before, operations);
    times.sort_unstable();
    let percentile = |of_hundred: usize| times[(times.len() - 1) * of_hundred / 100].as_secs_f64() * 1e3;
    Ok(Measure {
        name: name.to_owned(),
        operations,
        errors,
        per_second: operations as f64 / elapsed.as_secs_f64(),
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        server_cpu_ms: cpu.server,
        database_cpu_ms: cpu.database,
    })
}

impl Measure {
    /// The same work counted in other units, as the resources of a Bundle.
    pub fn per(mut self, name: &str, units: u64) -> Measure {
        self.name = name.to_owned();
        self.operations *= units;
        self.per_second *= units as f64;
        self.server_cpu_ms = self.server_cpu_ms.map(|cpu| cpu / units as f64);
        self.database_cpu_ms = self.database_cpu_ms.map(|cpu| cpu / units as f64);
        self
    }
}
