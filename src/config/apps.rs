//! The section `[apps]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The apps for browsers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppsConfig {
    /// Where they were built; each is in `<name>/dist`. Empty: `apps` beside the program, or else below the working directory. A
    /// folder without apps serves none.
    pub folder: PathBuf,
}
