//! `medconsult schemas`: writes `fhir-schemas/` from HL7's package. For developers; the program has the result built in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::knowledge::generate::{self, Files};

/// Generate fhir-schemas/ from HL7's definitions of R4
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of HL7's unpacked npm package hl7.fhir.r4.examples@4.0.1
    #[arg(long, default_value = "conformance/hl7/node_modules/hl7.fhir.r4.examples")]
    package: PathBuf,
    /// Folder to write to
    #[arg(long, default_value = "fhir-schemas")]
    out: PathBuf,
    /// Write nothing; fail when something would change
    #[arg(long)]
    check: bool,
}

/// Generates all files and brings the folder to that state.
///
/// # Errors
/// When the package cannot be read or is another one, when the folder cannot be written, or when `--check` finds a
/// difference.
pub async fn run(args: Args, _config: Config) -> Result<()> {
    let files = generate::generate(&args.package).context("`npm ci` in conformance/hl7/ fetches the package")?;
    let changes = changes(&args.out, &files)?;
    for path in &changes {
        println!("{}", path.display());
    }
    if args.check {
        if !changes.is_empty() {
            bail!(
                "{} files of {} are not what `medconsult schemas` writes",
                changes.len(),
                args.out.display()
            );
        }
        return Ok(());
    }
    for path in &changes {
        write(&args.out, path, &files)?;
    }
    println!("{} files, {} changed", files.len(), changes.len());
    Ok(())
}

/// Files that differ, are missing, or should not be there; relative to `folder`.
fn changes(folder: &Path, files: &Files) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for (path, text) in files {
        match fs::read_to_string(folder.join(path)) {
            Ok(present) if present == *text => {}
            _ => changed.push(PathBuf::from(path)),
        }
    }
    for subfolder in ["", "schemas"] {
        let Ok(entries) = fs::read_dir(folder.join(subfolder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let path = Path::new(subfolder).join(entry.file_name());
            if entry.file_type()?.is_file() && !files.contains_key(path.to_string_lossy().as_ref()) {
                changed.push(path);
            }
        }
    }
    Ok(changed)
}

fn write(folder: &Path, path: &Path, files: &Files) -> Result<()> {
    let target = folder.join(path);
    let done = match files.get(path.to_string_lossy().as_ref()) {
        Some(text) => fs::create_dir_all(target.parent().unwrap_or(folder)).and_then(|()| fs::write(&target, text)),
        None => fs::remove_file(&target),
    };
    done.with_context(|| target.display().to_string())
}
