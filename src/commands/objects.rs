//! `medconsult objects`: the encrypted content of files.

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use super::OpenDatabase;
use crate::app;
use crate::base::Clock;
use crate::base::objects::ObjectId;
use crate::config::Config;
use crate::fhir::content::Held;

/// Replace the master key of files, and erase files for good
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Seal the keys of all objects under the first master key, so that the others can be taken away. Objects stay as they are
    Rewrap,
    /// Remove objects that nobody needs, as the server does by itself each hour
    Collect,
    /// Destroy the content of all versions of a Binary: nobody can read it any more, whoever has a copy of the store
    Erase {
        /// Its address: Binary/[id]
        #[arg(value_name = "BINARY")]
        address: String,
    },
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database or the object store cannot be had, a master key is missing, or there is no such Binary.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = run_on(&database, args.command, &config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: &Config) -> Result<()> {
    app::migrate(&database.pools.write).await?;
    let objects = app::objects(config, &database.pools, &Clock::system())?;
    match command {
        Command::Rewrap => {
            let count = objects.rewrap().await?;
            println!("sealed {count} keys anew; the first master key opens all objects now");
        }
        Command::Collect => println!("removed {} objects", objects.collect().await?),
        Command::Erase { address } => {
            let id = address.strip_prefix("Binary/").context("name a Binary: Binary/[id]")?;
            let named: Vec<Option<String>> = sqlx::query_scalar(
                "SELECT v.content->>'data' FROM resource r JOIN resource_type t ON t.id = r.type AND t.name = 'Binary' \
                 JOIN LATERAL (SELECT r.content UNION ALL SELECT h.content FROM resource_history h WHERE h.rid = r.rid) v \
                 ON true WHERE r.id = $1",
            )
            .bind(id)
            .fetch_all(&database.pools.write)
            .await?;
            ensure!(!named.is_empty(), "there is no {address}");
            let ids: Vec<ObjectId> = named.iter().flatten().filter_map(|mark| object_in(mark)).collect();
            let count = objects.erase(&ids).await?;
            objects
                .collect()
                .await
                .context("its key is destroyed; its bytes are removed later")?;
            println!("erased {count} objects of {address}; its versions stay, and say that their content is gone");
        }
    }
    Ok(())
}

fn object_in(mark: &str) -> Option<ObjectId> {
    Held::of_mark(mark).map(|held| held.id)
}
