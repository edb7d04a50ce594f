//! `medconsult load`: puts records into a server, from files.
//!
//! | file | how it is stored |
//! |---|---|
//! | Bundle of type transaction | all of it or nothing, in one transaction |
//! | Bundle of type batch | entry by entry |
//! | Bundle of type collection, searchset or document | each resource as an update of its id |
//! | `.ndjson`, `.jsonl`: a resource per line | each resource as an update of its id |
//! | `.json`: a single resource | as an update of its id |
//!
//! **Loading twice changes nothing.** A create (POST) without a condition would make a second copy when a load that was
//! cut off is started again. So the loader gives the id: that of the entry's `urn:uuid:` where it has one, else one made
//! from the file's hash and the entry's place in it ([`unit`]). A [`journal`] of what is done lets a second run skip it.
//!
//! **Order.** Conditional references (`Practitioner?identifier=…`) only resolve when their target is there. What is refused
//! and has such references is tried again after everything else, for as long as each round stores something new.
//!
//! **Memory.** NDJSON is streamed. A Bundle is held whole, since a transaction must be; all files in work together hold at
//! most [`IN_FLIGHT_KIB`], or one larger file alone.

mod destination;
mod journal;
mod report;
mod source;
mod unit;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Mutex, Semaphore, mpsc};

use self::destination::Destination;
use self::journal::Journal;
use self::report::{Report, Tally};
use self::source::{Input, Reader};
use self::unit::{Unit, UnitKey};
use crate::config::Config;

/// Text of files in work at one time, in KiB.
const IN_FLIGHT_KIB: u32 = 64 * 1024;

/// Load Bundles and NDJSON, from files or folders
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundles or resources (.json), one resource per line (.ndjson, .jsonl), or folders of such files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Load into the server at this base URL [default: the server that runs here, else directly into the database]
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// A file with the access token of a server that wants one; its scope must be system/*.cruds or user/*.cruds
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Bundles or groups of resources to store at one time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Where to write what was refused and why, a line of JSON each [default: load-refused.ndjson in the data folder]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Loads everything and prints what became of it.
///
/// # Errors
/// When a path cannot be read, the destination is out of reach, or something was refused.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let inputs = source::find(&args.paths)?;
    ensure!(
        !inputs.is_empty(),
        "there is no .json, .ndjson or .jsonl file in what was named"
    );
    let destination = Destination::open(args.base.as_deref(), args.token_file.as_deref(), &config).await?;
    let state = config.data_dir.join("load");
    let report = args
        .report
        .unwrap_or_else(|| config.data_dir.join("load-refused.ndjson"));
    let loaded = load(inputs, &destination, &state, report, usize::from(args.jobs)).await;
    destination.close().await;
    let (tally, report) = loaded?;
    println!("{tally}");
    if tally.refused > 0 {
        bail!(
            "{} refused; why is in {}",
            report::counted(tally.refused, "entry", "entries"),
            report.display()
        );
    }
    Ok(())
}

async fn load(
    inputs: Vec<Input>,
    destination: &Destination,
    state: &Path,
    report: PathBuf,
    jobs: usize,
) -> Result<(Tally, PathBuf)> {
    let bar = progress(&inputs);
    let loader = Loader {
        destination,
        journal: Mutex::new(Journal::open(state, destination.identity())?),
        report: Mutex::new(Report::new(report)),
        bar,
        jobs,
    };
    loader.load_all(inputs).await?;
    loader.bar.finish_and_clear();
    let (tally, path) = loader.report.into_inner().finish()?;
    if tally.refused == 0 {
        loader.journal.into_inner().remove()?;
    }
    Ok((tally, path))
}

/// Bytes read, and what they turned into; drawn only on a terminal.
fn progress(inputs: &[Input]) -> ProgressBar {
    let bar = ProgressBar::new(inputs.iter().map(|input| input.bytes).sum());
    let style = "{bar:40} {bytes}/{total_bytes} {elapsed} ({eta} left) {msg}";
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// One run of the command.
struct Loader<'a> {
    destination: &'a Destination,
    journal: Mutex<Journal>,
    report: Mutex<Report>,
    bar: ProgressBar,
    jobs: usize,
}

impl Loader<'_> {
    async fn load_all(&self, inputs: Vec<Input>) -> Result<()> {
        // What others usually refer to comes first, one at a time; the rest as it comes.
        let (first, rest): (Vec<_>, Vec<_>) = inputs.into_iter().partition(Input::is_referred_to);
        let mut later = self.round(&first, None, 1).await?;
        later.extend(self.round(&rest, None, self.jobs).await?);
        let all = [first, rest].concat();
        while !later.is_empty() {
            let before = self.report.lock().await.stored();
            let again: HashSet<UnitKey> = later.iter().map(|refused| refused.key.clone()).collect();
            let still = self.round(&all, Some(again), self.jobs).await?;
            if self.report.lock().await.stored() == before {
                self.report.lock().await.refuse(still)?;
                break;
            }
            later = still;
        }
        Ok(())
    }

    /// Stores every unit of `inputs`, or those in `only`. Returns what was refused and may be accepted once more is there.
    async fn round(
        &self,
        inputs: &[Input],
        only: Option<HashSet<UnitKey>>,
        jobs: usize,
    ) -> Result<Vec<report::RefusedUnit>> {
        let repeated = only.is_some();
        let done = self.journal.lock().await.done();
        let wanted = move |key: &UnitKey| {
            only.as_ref()
                .map_or_else(|| !done.contains(key), |only| only.contains(key))
        };
        let (sender, units) = mpsc::channel(jobs);
        let units = stream::unfold(units, |mut units| async { Some((units.recv().await?, units)) });
        let budget = Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize));
        let reader = Reader {
            budget,
            sender,
            wanted,
            bar: (!repeated).then(|| self.bar.clone()),
        };
        let inputs = inputs.to_vec();
        let reading = tokio::task::spawn_blocking(move || reader.read_all(&inputs));

        let mut later = Vec::new();
        let mut stored = pin!(units.map(|unit| self.store(unit)).buffer_unordered(jobs));
        while let Some(refused) = stored.next().await {
            later.extend(refused?);
        }
        reading.await.context("reading stopped unexpectedly")??;
        Ok(later)
    }

    async fn store(&self, unit: Unit) -> Result<Option<report::RefusedUnit>> {
        let outcome = self.destination.store(&unit).await?;
        let mut report = self.report.lock().await;
        report.count(&outcome);
        self.bar.set_message(report.progress());
        if outcome.refusals.is_empty() {
            self.journal.lock().await.add(&unit.key)?;
            return Ok(None);
        }
        let refused = report::RefusedUnit::new(&unit, outcome.refusals);
        if unit.has_conditional_references() {
            return Ok(Some(refused));
        }
        report.refuse(vec![refused])?;
        Ok(None)
    }
}
