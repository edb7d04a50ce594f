//! `medconsult config`: the settings as the other commands would see them.

use anyhow::Result;

use crate::config::Config;

/// Print the effective settings, with secrets masked
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints, and ends.
///
/// # Errors
/// None of its own.
pub async fn run(_args: Args, config: Config) -> Result<()> {
    print!("{}", config.to_toml());
    Ok(())
}
