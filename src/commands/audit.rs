//! `medconsult audit`: proof that the trail is whole.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Subcommand;

use super::OpenDatabase;
use crate::app;
use crate::audit::anchor::AnchorFile;
use crate::audit::chain::Head;
use crate::audit::{key, verify};
use crate::config::Config;

/// Prove that no AuditEvent was changed, added or taken away
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at every AuditEvent; fails when something is not as the server left it
    Verify {
        /// A link that was the end of the trail once, as this command prints it: the trail must still have it. Besides that
        /// in the data directory
        #[arg(long)]
        anchor: Vec<Head>,
        /// Files with such links, as `audit.anchor` of other servers on the same database
        #[arg(long)]
        anchor_file: Vec<PathBuf>,
    },
}

/// Runs the command, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had, or the trail is not whole.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = run_on(&database, args.command, &config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: &Config) -> Result<()> {
    app::migrate(&database.pools.write).await?;
    match command {
        Command::Verify { anchor, anchor_file } => {
            let mut anchors = anchor;
            anchors.extend(AnchorFile::of(&config.data_dir).read()?);
            for path in anchor_file {
                anchors.extend(AnchorFile::at(path).read()?);
            }
            let pool = &database.pools.write;
            let key = key::load(pool, &app::vault(config)?).await?;
            let report = verify::verify(pool, &key, &anchors).await?;
            for finding in &report.findings {
                println!("{finding}");
            }
            if report.unlisted > 0 {
                println!("and {} more of these", report.unlisted);
            }
            println!(
                "{} AuditEvents are as they were made; {} records wait to become some; {} anchors were compared",
                report.proved,
                report.waiting,
                anchors.len()
            );
            if report.head.seq > 0 {
                println!("the trail ends with {}", report.head);
            }
            ensure!(report.findings.is_empty(), "the audit trail is not whole");
            Ok(())
        }
    }
}
