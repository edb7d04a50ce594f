//! The settings: `medconsult.toml`, overridden by environment variables.
//!
//! A setting `section.key` of the file is `MEDCONSULT_SECTION_KEY` in the environment. The struct is the only list of
//! settings: names, types and defaults are read off its default value. A name that is in neither is an error, which
//! suggests the nearest one, since a misspelt safety setting that is silently ignored is worse than a server that does
//! not start.

//!
//! Each section of the file is a struct in a file of this folder; `load` reads them all.

mod apps;
mod documents;
mod fhir;
mod identity;
mod load;
mod mail;
mod payments;
mod prescriptions;
mod secret;
mod server;
mod storage;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub use apps::AppsConfig;
pub use documents::{DocumentsConfig, ObjectsConfig};
pub use fhir::{FhirConfig, JobsConfig, SearchConfig};
pub use identity::{AuditConfig, Auth, FactorDemand, FactorsConfig, IdentityConfig, ProviderConfig};
pub use mail::MailConfig;
pub use payments::PaymentsConfig;
pub use prescriptions::PrescriptionsConfig;
pub use secret::{DatabaseUrl, Secret};
pub use server::{HttpConfig, LimitsConfig, LogConfig, TlsConfig};
pub use storage::{DatabaseConfig, PostgresConfig};

/// Everything that can be set, with what holds when it is not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the server. Loopback only, unless callers must prove who they are by TLS: the server's own, or that
    /// of a proxy, which makes `public_url` https.
    pub listen: SocketAddr,
    /// What clients call this server, as in `https://clinic.example`; empty for the listening address.
    pub public_url: String,
    /// Where everything that must last is kept, the private Postgres above all.
    pub data_dir: PathBuf,
    /// How callers prove who they are.
    pub auth: Auth,
    pub database: DatabaseConfig,
    pub postgres: PostgresConfig,
    pub http: HttpConfig,
    pub tls: TlsConfig,
    pub limits: LimitsConfig,
    pub fhir: FhirConfig,
    pub identity: IdentityConfig,
    pub mail: MailConfig,
    pub payments: PaymentsConfig,
    pub prescriptions: PrescriptionsConfig,
    pub objects: ObjectsConfig,
    pub documents: DocumentsConfig,
    pub search: SearchConfig,
    pub jobs: JobsConfig,
    pub audit: AuditConfig,
    pub apps: AppsConfig,
    pub log: LogConfig,
    /// Whether this is the demo (`serve --demo`), which no file and no variable can say.
    #[serde(skip)]
    pub demo: bool,
}

impl Default for Config {
    fn default() -> Self {
        // Root's home is closed to the account that Postgres runs under.
        let data_dir = if rustix::process::geteuid().is_root() {
            "/var/lib/medconsult"
        } else {
            "data"
        };
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: String::new(),
            data_dir: data_dir.into(),
            auth: Auth::Off,
            database: DatabaseConfig::default(),
            postgres: PostgresConfig::default(),
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            limits: LimitsConfig::default(),
            fhir: FhirConfig::default(),
            identity: IdentityConfig::default(),
            mail: MailConfig::default(),
            payments: PaymentsConfig::default(),
            prescriptions: PrescriptionsConfig::default(),
            objects: ObjectsConfig::default(),
            documents: DocumentsConfig::default(),
            search: SearchConfig::default(),
            jobs: JobsConfig::default(),
            audit: AuditConfig::default(),
            apps: AppsConfig::default(),
            log: LogConfig::default(),
            demo: false,
        }
    }
}

impl Config {
    /// Whether requests leave a record.
    pub fn is_audited(&self) -> bool {
        self.auth == Auth::On || self.audit.without_auth
    }

    /// What every URL that the server hands out begins with: no slash at the end.
    pub fn root_url(&self) -> String {
        match self.public_url.trim_end_matches('/') {
            "" if self.tls.files().is_some() => format!("https://{}", self.listen),
            "" => format!("http://{}", self.listen),
            public => public.to_owned(),
        }
    }

    /// The base of every FHIR URL.
    pub fn fhir_base(&self) -> String {
        format!("{}/fhir", self.root_url())
    }

    /// The settings as a file, secrets masked.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Files that hold secrets, as far as they are named by settings.
    pub fn secret_files(&self) -> Vec<&Path> {
        let files = [
            &self.database.url_file,
            &self.mail.server_file,
            &self.mail.provider_key_file,
            &self.payments.stripe_key_file,
            &self.payments.webhook_secret_file,
            &self.identity.master_key_file,
            &self.objects.access_key_file,
            &self.objects.secret_key_file,
            &self.tls.key,
        ];
        let of_providers = self
            .identity
            .providers
            .values()
            .map(|provider| &provider.client_secret_file);
        let named = files
            .into_iter()
            .chain(of_providers)
            .filter(|file| !file.as_os_str().is_empty());
        named.map(PathBuf::as_path).collect()
    }

    /// What no single setting can tell to be wrong.
    fn check(&self) -> Result<()> {
        match self.auth {
            Auth::Off if !self.listen.ip().is_loopback() => bail!(
                "refusing to listen on {}: with auth = \"off\" whoever can reach that address could read and change every \
                 record. Set auth = \"on\", or listen on a loopback address, such as 127.0.0.1:{}.",
                self.listen,
                self.listen.port()
            ),
            Auth::On if !self.listen.ip().is_loopback() && !self.root_url().starts_with("https://") => bail!(
                "refusing to listen on {}: tokens would cross the network in the clear. Name a certificate (tls.certificate \
                 and tls.key), or put a proxy that speaks TLS in front and its address as public_url = \"https://…\", or listen \
                 on a loopback address.",
                self.listen
            ),
            Auth::Off | Auth::On => {}
        }
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            bail!("tls.certificate and tls.key go together: set both, or neither");
        }
        if self.tls.files().is_some() && !self.root_url().starts_with("https://") {
            bail!("with a certificate (tls.certificate), public_url must begin with https://");
        }
        let http = &self.http;
        if http.head_timeout_seconds == 0 || http.write_timeout_seconds == 0 || http.body_timeout_seconds == 0 {
            bail!("http.head_timeout_seconds, write_timeout_seconds and body_timeout_seconds must be at least 1");
        }
        if http.max_connections == 0 || http.max_connections_per_address == 0 || http.max_head_bytes < 8192 {
            bail!(
                "http.max_connections and max_connections_per_address must be at least 1, max_head_bytes at least 8192"
            );
        }
        if let Some(origin) = http.cors_origins.iter().find(|origin| !is_origin(origin)) {
            bail!("http.cors_origins: {origin:?} is not an origin, as https://app.example, nor *");
        }
        if !self.payments.is_private() {
            bail!("payments.stripe_url must begin with https://, or be on this machine: the secret key goes there");
        }
        if !self.objects.bucket.is_empty() && !self.objects.folder.as_os_str().is_empty() {
            bail!("objects.bucket and objects.folder are both set: leave one of them out");
        }
        if !(1..=300).contains(&self.documents.presigned_seconds) {
            bail!("documents.presigned_seconds is 1 to 300");
        }
        if self.search.default_count > self.search.max_count {
            bail!("search.default_count is greater than search.max_count");
        }
        if self.search.timeout_seconds == 0 {
            bail!("search.timeout_seconds must be at least 1");
        }
        if !self.mail.server.reveal().is_empty() && !self.mail.provider.is_empty() {
            bail!("mails leave by mail.server or by mail.provider: leave one of them out");
        }
        if self.mail.connections == 0 {
            bail!("mail.connections must be at least 1");
        }
        if self.database.write_connections == 0 || self.database.read_connections == 0 {
            bail!("database.write_connections and database.read_connections must be at least 1");
        }
        Ok(())
    }
}

/// Scheme, host and perhaps port, without a path; or all of them.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', '*']))
}
