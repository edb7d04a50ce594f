//! `medconsult mail`: mails that come back, and those that wait.

use std::io::Read;

use anyhow::{Context, Result};
use clap::Subcommand;
use sqlx::PgPool;

use super::OpenDatabase;
use crate::app::{self, App};
use crate::base::{Clock, IdGenerator};
use crate::config::{Auth, Config};
use crate::mail::bounces;

/// Take mails back that could not be delivered, and look at those that wait
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a delivery status notification from standard input, as a mail server pipes it
    Bounce,
    /// How many mails are in which state, and since when the oldest waits
    Queue,
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = match args.command {
        Command::Bounce => bounce(&database, config).await,
        Command::Queue => queue(&database.pools.write).await,
    };
    database.close().await;
    result
}

async fn bounce(database: &OpenDatabase, config: Config) -> Result<()> {
    let mut notification = Vec::new();
    let longest = bounces::LONGEST as u64;
    std::io::stdin().take(longest).read_to_end(&mut notification)?;
    // Mail servers send a mail back when the program fails that they gave it to, so what says nothing of ours is no failure.
    let Some(bounce) = bounces::read(&notification) else {
        println!("no notification that a mail of this server was not delivered");
        return Ok(());
    };
    let config = Config {
        auth: Auth::On,
        ..config
    };
    app::migrate(&database.pools.write).await?;
    let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
    let auth = app.auth.as_deref().context("this server writes no mails")?;
    let known = auth
        .outbox
        .bounced(&auth.pool, &bounce.message_id, &bounce.status)
        .await?;
    println!(
        "{}",
        if known {
            "noted"
        } else {
            "no mail of this server, or noted before"
        }
    );
    Ok(())
}

async fn queue(pool: &PgPool) -> Result<()> {
    app::migrate(pool).await?;
    let rows: Vec<(String, i64, jiff_sqlx::Timestamp)> =
        sqlx::query_as("SELECT state, count(*), min(created_at) FROM mail GROUP BY state ORDER BY state")
            .fetch_all(pool)
            .await?;
    for (state, count, oldest) in rows {
        println!(
            "{count:>8}  {state}, the oldest of {}",
            oldest.to_jiff().strftime("%F %R UTC")
        );
    }
    Ok(())
}
