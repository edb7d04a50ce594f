//! `medconsult worker`: background work in a process of its own, beside servers whose `jobs.concurrency` is 0.

use anyhow::{Result, ensure};

use super::{OpenDatabase, stop_signal};
use crate::app::App;
use crate::base::{Clock, IdGenerator};
use crate::config::Config;

/// Run background jobs, without a server
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs jobs until told to stop.
///
/// # Errors
/// When no database is named, or it cannot be had.
pub async fn run(_args: Args, config: Config) -> Result<()> {
    ensure!(
        config.database.url.reveal().is_some(),
        "a worker needs the database of its servers: name it with DATABASE_URL. With a private PostgreSQL, the server \
         runs the jobs itself"
    );
    let stop = stop_signal()?;
    let database = OpenDatabase::open(&config).await?;
    let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
    tracing::info!(concurrency = app.config.jobs.concurrency, "waiting for jobs");
    app.worker().run(stop).await;
    database.close().await;
    Ok(())
}
