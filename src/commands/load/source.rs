//! The files: which there are, and what is in them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::IN_FLIGHT_KIB;
use super::unit::{self, FileId, Unit, UnitKey};

/// Resources that are stored together where the file leaves it open.
pub const GROUP: usize = 100;

/// One file.
#[derive(Clone, Debug)]
pub struct Input {
    pub path: PathBuf,
    pub bytes: u64,
}

impl Input {
    /// Synthea writes hospitals and practitioners into files of their own, to which all patients refer.
    pub fn is_referred_to(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("hospitalInformation") || name.contains("practitionerInformation")
    }

    fn is_lines(&self) -> bool {
        has_extension(&self.path, &["ndjson", "jsonl"])
    }
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|have| extensions.iter().any(|wanted| have.eq_ignore_ascii_case(wanted)))
}

/// The files that are named, and the JSON and NDJSON files in the folders that are named, in order of their names.
///
/// # Errors
/// When a path does not exist or cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in paths {
        let about = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if about.is_dir() {
            find_in(path, &mut inputs)?;
        } else {
            inputs.push(Input {
                path: path.clone(),
                bytes: about.len(),
            });
        }
    }
    Ok(inputs)
}

fn find_in(folder: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .with_context(cannot_read)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let about = fs::metadata(entry.path()).with_context(cannot_read)?;
        if about.is_dir() {
            find_in(&entry.path(), inputs)?;
        } else if has_extension(&entry.path(), &["json", "ndjson", "jsonl"]) {
            inputs.push(Input {
                path: entry.path(),
                bytes: about.len(),
            });
        }
    }
    Ok(())
}

/// Cuts files into units and hands over those that are wanted, no faster than they are stored.
pub struct Reader<W> {
    /// In KiB.
    pub budget: Arc<Semaphore>,
    pub sender: mpsc::Sender<Unit>,
    pub wanted: W,
    pub bar: Option<ProgressBar>,
}

impl<W: Fn(&UnitKey) -> bool> Reader<W> {
    /// To be run on a thread that may block. Ends early when nobody listens any more.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_all(self, inputs: &[Input]) -> Result<()> {
        for input in inputs {
            let read = if input.is_lines() {
                self.read_lines(input)
            } else {
                self.read_bundle(input)
            };
            read.with_context(|| format!("cannot read {}", input.path.display()))?;
        }
        Ok(())
    }

    fn read_bundle(&self, input: &Input) -> Result<()> {
        // The budget is held while the file is read and cut; each unit then takes over its share.
        let waiting = self.reserve(input.bytes)?;
        let bytes = fs::read(&input.path)?;
        let file = FileId {
            path: input.path.clone(),
            hash: Sha256::digest(&bytes).into(),
        };
        let units = unit::cut_json(&file, &bytes);
        drop(bytes);
        drop(waiting);
        for unit in units {
            self.send(unit)?;
        }
        self.advance(input.bytes);
        Ok(())
    }

    fn read_lines(&self, input: &Input) -> Result<()> {
        let file = FileId {
            path: input.path.clone(),
            hash: hash_of(&input.path)?,
        };
        let mut lines = BufReader::new(File::open(&input.path)?);
        let mut group = Vec::with_capacity(GROUP);
        let mut group_bytes = 0;
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let read = lines.read_until(b'\n', &mut line)? as u64;
            let blank = line.trim_ascii().is_empty();
            if !blank {
                group.push((number, line));
            }
            number += 1;
            group_bytes += read;
            if group.len() == GROUP || (read == 0 && !group.is_empty()) {
                self.send(unit::from_lines(&file, std::mem::take(&mut group)))?;
                self.advance(std::mem::take(&mut group_bytes));
            }
            if read == 0 {
                self.advance(group_bytes);
                return Ok(());
            }
        }
    }

    fn send(&self, mut unit: Unit) -> Result<()> {
        if !(self.wanted)(&unit.key) {
            return Ok(());
        }
        unit.reserved = Some(self.reserve(unit.bytes as u64)?);
        // An error means that storing has failed, which is reported where it happened.
        let _ = self.sender.blocking_send(unit);
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> Result<tokio::sync::OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024))
            .unwrap_or(u32::MAX)
            .clamp(1, IN_FLIGHT_KIB);
        Ok(Handle::current().block_on(self.budget.clone().acquire_many_owned(kib))?)
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }
}

fn hash_of(path: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&block[..read]),
        }
    }
}
