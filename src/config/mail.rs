//! How people are written to: `[mail]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// How mails leave the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// `smtps://user:password@mail.example`, or `smtp://mail.example:587?tls=required`; empty to write mails into the folder
    /// `mail` of the data directory, for development.
    pub server: Secret,
    /// A file with the same.
    pub server_file: PathBuf,
    /// Who sends them, as in `Clinic <no-reply@clinic.example>`.
    pub from: String,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            server: Secret::default(),
            server_file: PathBuf::new(),
            from: "MedConsult <no-reply@localhost>".to_owned(),
        }
    }
}
