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
    /// A PEM file of the authority that vouches for the SMTP server, where that is none that this machine knows.
    pub authority: PathBuf,
    /// Instead of an SMTP server: the address of a provider that is spoken to as SendGrid is, `https://api.sendgrid.com`.
    pub provider: String,
    /// What the provider lets us in by.
    pub provider_key: Secret,
    /// A file with the same.
    pub provider_key_file: PathBuf,
    /// The public key that the provider signs its events with, as it shows it. With it, `POST /mail/events` takes them.
    pub provider_event_key: String,
    /// Who sends them, as in `Clinic <no-reply@clinic.example>`.
    pub from: String,
    /// The address that undeliverable mails go back to; empty for that of `from`.
    pub return_path: String,
    /// The language of those who have not chosen one that there are templates in.
    pub language: String,
    /// A folder whose templates take the place of those with the same name, or add languages.
    pub templates: PathBuf,
    /// How many mails are being handed over at the same time.
    pub connections: u32,
    /// Whether people are told of visits, payments, documents and prescriptions. Mails about their accounts always leave.
    pub events: bool,
    /// Where the applications are that such a mail leads to: `{apps}/patient/open/…`. Empty for this server's own.
    pub apps: String,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            server: Secret::default(),
            server_file: PathBuf::new(),
            authority: PathBuf::new(),
            provider: String::new(),
            provider_key: Secret::default(),
            provider_key_file: PathBuf::new(),
            provider_event_key: String::new(),
            from: "MedConsult <no-reply@localhost>".to_owned(),
            return_path: String::new(),
            language: "en".to_owned(),
            templates: PathBuf::new(),
            connections: 4,
            events: true,
            apps: String::new(),
        }
    }
}
