//! What a load has done so far, so that one that was cut off goes on where it was.
//!
//! A file of lines `<hash of the file> <number of the unit>` per destination, removed when everything is stored. It may
//! lack the last few units, since it is written after they are stored: storing those again changes nothing.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::unit::UnitKey;

/// The journal of one destination.
pub struct Journal {
    path: PathBuf,
    file: File,
    done: HashSet<UnitKey>,
}

impl Journal {
    /// Opens the journal in `folder` of the destination with that identity.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, identity: &str) -> Result<Journal> {
        let name: String = Sha256::digest(identity)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = folder.join(format!("{name}.journal"));
        let cannot = || format!("cannot keep a journal in {}", folder.display());
        fs::create_dir_all(folder).with_context(cannot)?;
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(cannot)?,
        };
        // A line that was cut off by a crash is not one of ours any more and is passed over.
        let key = |line: &str| {
            let (file, number) = line.split_once(' ')?;
            (file.len() == 64).then_some(UnitKey {
                file: file.to_owned(),
                number: number.parse().ok()?,
            })
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let done = whole.lines().filter_map(key).collect();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(cannot)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file).with_context(cannot)?;
        }
        Ok(Journal { path, file, done })
    }

    /// What is done.
    pub fn done(&self) -> HashSet<UnitKey> {
        self.done.clone()
    }

    /// Notes that a unit is stored.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, key: &UnitKey) -> Result<()> {
        writeln!(self.file, "{} {}", key.file, key.number).context("cannot write the journal")
    }

    /// Everything is stored: there is nothing to go on with.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).context("cannot remove the journal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_remembers_until_it_is_removed() {
        let folder = std::env::temp_dir().join(format!("medconsult-journal-{}", std::process::id()));
        let key = |number| UnitKey {
            file: "a".repeat(64),
            number,
        };
        let mut journal = Journal::open(&folder, "here").unwrap();
        journal.add(&key(1)).unwrap();
        journal.add(&key(2)).unwrap();
        // As a crash in the middle of a write leaves it.
        write!(journal.file, "{} 1", "b".repeat(64)).unwrap();
        drop(journal);

        let mut journal = Journal::open(&folder, "here").unwrap();
        assert_eq!(journal.done(), HashSet::from([key(1), key(2)]));
        journal.add(&key(3)).unwrap();
        drop(journal);
        let journal = Journal::open(&folder, "here").unwrap();
        assert_eq!(journal.done().len(), 4);
        assert!(Journal::open(&folder, "elsewhere").unwrap().done().is_empty());
        journal.remove().unwrap();
        assert!(Journal::open(&folder, "here").unwrap().done().is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
