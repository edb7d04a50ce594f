//! What became of everything: the counts, and a file of what was refused and why.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::unit::{Unit, UnitKey};

/// What the destination made of a unit.
#[derive(Debug, Default)]
pub struct UnitOutcome {
    pub created: u64,
    pub updated: u64,
    /// Was there already, just so.
    pub unchanged: u64,
    pub refusals: Vec<Refusal>,
}

/// Something that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Place in the file, from 0; `None` for the whole unit.
    pub index: Option<usize>,
    /// HTTP status.
    pub status: u16,
    /// `OperationOutcome.issue`.
    pub issues: Vec<Value>,
}

/// A unit with what was refused of it.
#[derive(Debug)]
pub struct RefusedUnit {
    pub key: UnitKey,
    path: PathBuf,
    entries: u64,
    refusals: Vec<Refusal>,
}

impl RefusedUnit {
    pub fn new(unit: &Unit, refusals: Vec<Refusal>) -> RefusedUnit {
        RefusedUnit {
            key: unit.key.clone(),
            path: unit.path.clone(),
            entries: unit.len() as u64,
            refusals,
        }
    }
}

/// The counts at the end.
#[derive(Clone, Debug)]
pub struct Tally {
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    /// Entries that were not stored.
    pub refused: u64,
    begun: Instant,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = self.created + self.updated;
        let seconds = self.begun.elapsed().as_secs_f64();
        write!(
            f,
            "{} stored ({} created, {} updated) in {seconds:.1} s, {:.0} a second; {} unchanged, {} refused.",
            counted(stored, "resource", "resources"),
            self.created,
            self.updated,
            stored as f64 / seconds.max(0.001),
            self.unchanged,
            self.refused
        )
    }
}

/// `1 entry`, `2 entries`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Counts, and writes down what was refused.
pub struct Report {
    tally: Tally,
    path: PathBuf,
    /// Made when the first thing is refused.
    file: Option<BufWriter<File>>,
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    /// Line of the file, or entry of the Bundle, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<usize>,
    status: u16,
    issue: &'a [Value],
}

impl Report {
    pub fn new(path: PathBuf) -> Report {
        let tally = Tally {
            created: 0,
            updated: 0,
            unchanged: 0,
            refused: 0,
            begun: Instant::now(),
        };
        Report {
            tally,
            path,
            file: None,
        }
    }

    /// Adds what was stored; what was refused counts when it is final ([`Report::refuse`]).
    pub fn count(&mut self, outcome: &UnitOutcome) {
        self.tally.created += outcome.created;
        self.tally.updated += outcome.updated;
        self.tally.unchanged += outcome.unchanged;
    }

    /// How many resources were stored so far.
    pub fn stored(&self) -> u64 {
        self.tally.created + self.tally.updated
    }

    /// For the progress bar.
    pub fn progress(&self) -> String {
        let rate = self.stored() as f64 / self.tally.begun.elapsed().as_secs_f64().max(0.001);
        format!("{}, {rate:.0}/s", counted(self.stored(), "resource", "resources"))
    }

    /// Writes down what stays refused.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn refuse(&mut self, units: Vec<RefusedUnit>) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        for unit in units {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(BufWriter::new(File::create(&self.path).with_context(cannot)?)),
            };
            let name = unit.path.to_string_lossy();
            for refusal in &unit.refusals {
                self.tally.refused += if refusal.index.is_some() { 1 } else { unit.entries };
                let line = Line {
                    file: &name,
                    entry: refusal.index,
                    status: refusal.status,
                    issue: &refusal.issues,
                };
                serde_json::to_writer(&mut *file, &line).with_context(cannot)?;
                writeln!(file).with_context(cannot)?;
            }
        }
        Ok(())
    }

    /// The counts and the file's path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<(Tally, PathBuf)> {
        if let Some(mut file) = self.file {
            file.flush()
                .with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        Ok((self.tally, self.path))
    }
}
