//! `medconsult audit`: proof that the trail is whole, and files for its oldest part.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::OpenDatabase;
use crate::app;
use crate::audit::anchor::AnchorFile;
use crate::audit::chain::Head;
use crate::audit::{archive, key, verify};
use crate::base::Clock;
use crate::config::Config;
use crate::fhir::trail::{Key, Trail};

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
    /// Prove the trail, then move what was recorded before a day (UTC) into a file
    Archive {
        #[arg(long, value_name = "DATE")]
        before: Date,
        /// The file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Prove a file that `archive` wrote
    VerifyFile { file: PathBuf },
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
    let key = key::load(&database.pools.write, &app::vault(config)?).await?;
    match command {
        Command::Verify { anchor, anchor_file } => {
            let mut anchors = anchor;
            for path in anchor_file {
                anchors.extend(AnchorFile::at(path).read()?);
            }
            prove(database, &key, anchors, config).await
        }
        Command::Archive { before, to } => {
            prove(database, &key, Vec::new(), config).await?;
            let before = before.to_zoned(TimeZone::UTC)?.timestamp();
            move_into_file(database, key, before, to).await
        }
        Command::VerifyFile { file } => {
            let reader = BufReader::new(File::open(&file).with_context(|| format!("cannot read {}", file.display()))?);
            let (count, head) = archive::verify_file(reader, &key)?;
            println!("{count} AuditEvents are as they were made; the file ends with {head}");
            Ok(())
        }
    }
}

async fn prove(database: &OpenDatabase, key: &Key, mut anchors: Vec<Head>, config: &Config) -> Result<()> {
    anchors.extend(AnchorFile::of(&config.data_dir).read()?);
    let report = verify::verify(&database.pools.write, key, &anchors).await?;
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

async fn move_into_file(database: &OpenDatabase, key: Key, before: Timestamp, to: PathBuf) -> Result<()> {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(&to);
    let mut file = BufWriter::new(file.with_context(|| format!("cannot write {}", to.display()))?);
    let trail = Trail::new(&database.pools, Clock::system(), key);
    let moved = archive::archive(&database.pools.write, &trail, before, &mut file).await;
    if !matches!(moved, Ok(1..)) {
        fs::remove_file(&to)?;
    }
    println!("{} AuditEvents were moved into {}", moved?, to.display());
    Ok(())
}
