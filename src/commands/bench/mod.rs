//! `medconsult bench`: how fast a FHIR server is.
//!
//! With `--base` it measures any FHIR R4 server that lets it create, read, update, search and import. Without, it starts
//! this program's own server on a private database that is thrown away afterwards, and measures the [`floor`] as well:
//! the same rows by bare SQL, a bare read by key, and a static HTTP answer, from the same clients and on the same machine.
//! What the issue of speed comes down to is then the ratio.
//!
//! | file | concern |
//! |---|---|
//! | [`access`] | what it costs to know who asks, to show them what is theirs, and to record it |
//! | [`records`] | made-up records |
//! | [`driver`] | clients at work, and their watch |
//! | [`workload`] | the operations on a FHIR server |
//! | [`searches`] | thirty searches of different kinds, at several sizes of the store |
//! | [`floor`] | the same work without one |
//! | [`processes`] | CPU and memory |
//! | [`server`] | a server to throw away |
//! | [`table`] | the figures for people and for programs |

mod access;
mod driver;
mod floor;
mod processes;
mod records;
mod searches;
mod server;
mod table;
mod workload;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::postgres::PgPool;

use self::access::Costs;
use self::driver::{Bounds, Measure};
use self::processes::Processes;
use self::server::Scratch;
use self::table::{Figures, SearchesAt};
use self::workload::Workload;
use crate::base::database::analyze;
use crate::config::Config;

/// Measure the speed of a FHIR server
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server [default: one of our own, on a database that is thrown away, and the floor beside it]
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// Clients that send at one time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Longest time for each measurement, in seconds; a tenth of it for each search
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Most operations in each measurement
    #[arg(long, default_value_t = 200_000)]
    operations: u64,
    /// Import until there are this many resources, stopping at each power of ten from 10,000 to measure the searches; not
    /// limited by --seconds
    #[arg(long, default_value_t = 100_000)]
    resources: u64,
    /// Measure instead what access control and the trail cost, by the same requests to servers with and without them, on
    /// --resources made by statements; a million takes ten minutes
    #[arg(long, conflicts_with = "base")]
    access: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder in which the database of our own server is made
    #[arg(long, default_value = "/var/tmp", value_name = "FOLDER", conflicts_with = "base")]
    scratch: PathBuf,
    /// Process id of the server at --base, to count its CPU time
    #[arg(long, requires = "base")]
    server_pid: Option<u32>,
    /// Process id of its postmaster, to count the CPU time of the database
    #[arg(long, requires = "base")]
    database_pid: Option<u32>,
}

/// Measures, and prints a table.
///
/// # Errors
/// When the server cannot be reached or started, or refuses everything of a kind.
pub async fn run(args: Args, config: Config) -> Result<()> {
    if args.access {
        return show(&args, measure_access(&args, &config).await?);
    }
    let figures = match &args.base {
        Some(base) => {
            let processes = Processes {
                server: args.server_pid,
                postmaster: args.database_pid,
            };
            let mut workload = Workload::new(base.trim_end_matches('/'), args.bounds(), processes)?;
            let mut figures = Figures::new(args.concurrency);
            measure_searches(&args, &mut workload, None, &mut figures).await?;
            measure_operations(&mut workload, processes, &mut figures).await?;
            figures
        }
        None => measure_own(&args, &config).await?,
    };
    show(&args, figures)
}

/// Prints the figures, and writes them as JSON where the arguments say so.
fn show(args: &Args, figures: impl Display + Serialize) -> Result<()> {
    println!("{figures}");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn measure_access(args: &Args, config: &Config) -> Result<Costs> {
    let scratch = args.scratch(config).await?;
    let measured = access::measure(&scratch, args.resources, args.concurrency as usize).await;
    scratch.remove().await?;
    measured
}

impl Args {
    /// A database that is thrown away.
    async fn scratch(&self, config: &Config) -> Result<Scratch> {
        let programs = &config.postgres.programs;
        let programs = (!programs.as_os_str().is_empty()).then(|| programs.clone());
        Scratch::new(&self.scratch, programs).await
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            concurrency: self.concurrency as usize,
            time: Duration::from_secs(self.seconds),
            operations: self.operations,
        }
    }
}

/// The searches at each size of the store, on the way to the largest.
async fn measure_searches(
    args: &Args,
    workload: &mut Workload,
    database: Option<&PgPool>,
    figures: &mut Figures,
) -> Result<()> {
    workload.prepare().await?;
    for size in sizes(args.resources) {
        if let Some(import) = workload.grow(size).await? {
            figures.add(import);
        }
        if let Some(database) = database {
            figures.add(words_collected(database, workload.processes()).await?);
            analyze(database).await?;
        }
        let time = args.bounds().time / 10;
        figures.add_searches(SearchesAt {
            resources: workload.stored(),
            searches: workload.searches(time).await?,
        });
    }
    Ok(())
}

/// Waits until the words of all resources are collected for full-text search, which is done beside other work.
async fn words_collected(database: &PgPool, processes: Processes) -> Result<Measure> {
    const WAITING: &str = "SELECT count(*) FROM text_pending";
    let (before, begun) = (processes.cpu(), Instant::now());
    let count: i64 = sqlx::query_scalar(WAITING).fetch_one(database).await?;
    let mut waiting = count;
    while waiting > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        waiting = sqlx::query_scalar(WAITING).fetch_one(database).await?;
    }
    let operations = count.unsigned_abs();
    let cpu = processes.cpu().since(before, operations);
    Ok(Measure {
        name: "words collected, per resource that waited".to_owned(),
        operations,
        errors: 0,
        per_second: operations as f64 / begun.elapsed().as_secs_f64(),
        p50_ms: 0.0,
        p99_ms: 0.0,
        server_cpu_ms: cpu.server,
        database_cpu_ms: cpu.database,
    })
}

/// Powers of ten from ten thousand, and the largest size itself.
fn sizes(largest: u64) -> Vec<u64> {
    let mut sizes: Vec<u64> = std::iter::successors(Some(10_000), |size| Some(size * 10))
        .take_while(|size| *size < largest)
        .collect();
    sizes.push(largest);
    sizes
}

async fn measure_operations(workload: &mut Workload, processes: Processes, figures: &mut Figures) -> Result<()> {
    figures.add(workload.create().await?);
    let (more, rows) = workload.create_with_more_rows().await?;
    figures.add_more_rows(more, rows);
    figures.add(workload.read().await?);
    figures.add(workload.update().await?);
    figures.add(workload.import().await?);
    figures.add(workload.compressed().await?);
    figures.server_peak_mib = processes.server_peak_mib();
    Ok(())
}

async fn measure_own(args: &Args, config: &Config) -> Result<Figures> {
    let mut scratch = args.scratch(config).await?;
    let measured = measure_scratch(args, &mut scratch).await;
    scratch.remove().await?;
    measured
}

async fn measure_scratch(args: &Args, scratch: &mut Scratch) -> Result<Figures> {
    let server = scratch.serve().await?;
    let processes = scratch.processes(&server);
    let bounds = args.bounds();
    let mut workload = Workload::new(&server.base, bounds, processes)?;
    let mut figures = Figures::new(args.concurrency);
    let pool = scratch.pool(args.concurrency).await?;
    measure_searches(args, &mut workload, Some(&pool), &mut figures).await?;
    measure_operations(&mut workload, processes, &mut figures).await?;

    let floor = Processes {
        server: None,
        ..processes
    };

    let body = workload.example().await?;
    figures.add(
        workload::fetch(
            "floor: static HTTP",
            floor::static_server(body).await?,
            false,
            bounds,
            floor,
        )
        .await?,
    );
    let ids = workload.ids();
    figures.add(floor::reads(&pool, ids.clone(), bounds, floor).await?);
    let (create, import, index_rows) = floor::writes(&pool, &ids, bounds, floor).await?;
    figures.add(create);
    figures.add(import);
    figures.index_rows = Some(index_rows);
    pool.close().await;
    server.stop().await?;
    figures.warm_start_s = Some(scratch.warm_start().await?.as_secs_f64());
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_ten_up_to_the_largest() {
        assert_eq!(sizes(1_000_000), [10_000, 100_000, 1_000_000]);
        assert_eq!(sizes(30_000), [10_000, 30_000]);
        assert_eq!(sizes(500), [500]);
    }
}
