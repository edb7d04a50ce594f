//! Finding the programs of PostgreSQL on this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ClusterError, OLDEST_MAJOR};

/// The folder of one installed PostgreSQL server.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    pub(super) major: u32,
}

impl Programs {
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// The programs to use: of version `wanted` when there is data of that version, else the first that are new enough.
    /// `folder`, when given, is the only place to look.
    pub(super) fn find(folder: Option<&Path>, wanted: Option<u32>) -> Result<Self, Missing> {
        let folders = folder.map_or_else(candidates, |folder| vec![folder.to_owned()]);
        let looked_in = folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        folders
            .into_iter()
            .filter_map(Self::in_folder)
            .find(|programs| wanted.map_or(programs.major >= OLDEST_MAJOR, |wanted| programs.major == wanted))
            .ok_or(Missing { looked_in })
    }

    fn in_folder(folder: PathBuf) -> Option<Self> {
        // Client packages install only some of the programs.
        if !["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
        {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, major })
    }
}

/// Nothing suitable in any of the places.
#[derive(Debug)]
pub(super) struct Missing {
    looked_in: String,
}

impl Missing {
    /// The error for a machine where nothing was found though any version would do.
    pub(super) fn not_installed(self) -> ClusterError {
        let install = if cfg!(target_os = "macos") {
            "brew install postgresql@17"
        } else if Path::new("/etc/debian_version").exists() {
            "sudo apt-get install postgresql"
        } else if Path::new("/etc/alpine-release").exists() {
            "apk add postgresql17"
        } else {
            "your package manager's postgresql-server (Debian: apt-get install postgresql; Fedora: dnf install postgresql-server)"
        };
        ClusterError::NotInstalled {
            looked_in: format!("looked in {}", self.looked_in),
            install,
        }
    }
}

/// Reads `15` out of `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, and `18` out of `… 18beta1`.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_once("PostgreSQL)")?.1.trim_start();
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Where to look, best first: what the user's own environment points at, then where packages put it, newest first.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !folder.is_empty() {
            folders.push(PathBuf::from(folder));
        }
    }
    if let Some(path) = env::var_os("PATH") {
        folders.extend(env::split_paths(&path).filter(|folder| folder.join("postgres").is_file()));
    }
    folders.extend(versioned("/usr/lib/postgresql", "")); // Debian
    folders.extend(versioned("/usr", "pgsql-")); // the PostgreSQL project's RPMs
    folders.extend(versioned("/opt/homebrew/opt", "postgresql@"));
    folders.extend(versioned("/usr/local/opt", "postgresql@"));
    folders.extend(versioned("/home/linuxbrew/.linuxbrew/opt", "postgresql@"));
    let mut seen = Vec::new();
    folders.retain(|folder| {
        let new = !seen.contains(folder);
        seen.push(folder.clone());
        new
    });
    folders
}

/// The `bin` folders of `parent/<prefix><number>`, highest number first.
fn versioned(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_program_prints() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("zsh: command not found"), None);
    }

    #[test]
    fn a_folder_without_the_programs_is_not_an_installation() {
        let nowhere = Path::new("/nonexistent");
        let error = Programs::find(Some(nowhere), None).unwrap_err().not_installed();
        let message = error.to_string();
        assert!(
            message.contains("looked in /nonexistent") && message.contains("Install it:"),
            "{message}"
        );
    }
}
