//! `medconsult key`: the keys that id_tokens are signed with.

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use super::OpenDatabase;
use crate::app::{self, App};
use crate::auth::keys;
use crate::base::{Clock, IdGenerator};
use crate::config::{Auth, Config};

/// Look at the keys that id_tokens are signed with, and withdraw one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys
    List,
    /// Withdraw a key that may be known to others: what it signed is worthless from now on
    Revoke {
        /// As it is listed; it may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had, or there is no such key.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = run_on(&database, args.command, config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: Config) -> Result<()> {
    app::migrate(&database.pools.write).await?;
    let pool = &database.pools.write;
    match command {
        Command::List => {
            let rows: Vec<(String, String, jiff_sqlx::Timestamp)> =
                sqlx::query_as("SELECT kid, state, since FROM signing_key ORDER BY since, kid")
                    .fetch_all(pool)
                    .await?;
            for (kid, state, since) in rows {
                println!("{kid}  {state} since {}", since.to_jiff());
            }
        }
        Command::Revoke { kid } => {
            let config = Config {
                auth: Auth::On,
                ..config
            };
            let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
            let auth = app.auth.as_deref().context("this server has no keys")?;
            ensure!(keys::revoke(auth, &kid).await?, "there is no key {kid}");
        }
    }
    Ok(())
}
