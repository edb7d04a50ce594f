//! `medconsult migrate`: the database's layout, ahead of a deployment. `serve` does the same at its start.

use anyhow::Result;

use super::OpenDatabase;
use crate::app;
use crate::config::Config;

/// Bring the database up to this release
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Migrates, and ends.
///
/// # Errors
/// When the database cannot be had, or was changed by a newer release.
pub async fn run(_args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open(&config).await?;
    let result = app::migrate(&database.pools.write).await;
    database.close().await;
    result
}
