//! Secrets that stand in files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The text of a file, without the line break at its end.
///
/// # Errors
/// With the name of the file, when it cannot be read; of the kind of the original error.
pub fn read(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Warns of files whose secrets everybody with an account on the machine can read. They are used nevertheless: where secrets
/// are mounted into a container, that is how they come.
pub fn warn_of_open<'f>(files: impl IntoIterator<Item = &'f Path>) {
    for file in files {
        let mode = fs::metadata(file).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            tracing::warn!(file = %file.display(), "everybody on this machine can read this secret: chmod o= it");
        }
    }
}
