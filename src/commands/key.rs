//! `medconsult key`: the keys that id_tokens are signed with.

use anyhow::{Result, ensure};
use clap::Subcommand;

use super::OpenDatabase;
use super::operator::Operator;
use crate::app;
use crate::auth::keys;
use crate::base::Clock;
use crate::config::Config;
use crate::fhir::trail::Kind;

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
    let result = run_on(&database, args.command, &config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: &Config) -> Result<()> {
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
            let operator = Operator::at(database, config).await?;
            let mut transaction = pool.begin().await?;
            ensure!(keys::revoke(&mut transaction, &kid).await?, "there is no key {kid}");
            let event = operator
                .did(Kind::Configuration, "signing key withdrawn")
                .detail("key", &kid);
            operator.commit(transaction, event).await?;
            keys::tend(pool, &app::vault(config)?, Clock::system().now()).await?;
        }
    }
    Ok(())
}
