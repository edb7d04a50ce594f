//! The settings: `medconsult.toml`, overridden by environment variables.
//!
//! A setting `section.key` of the file is `MEDCONSULT_SECTION_KEY` in the environment. The struct is the only list of
//! settings: names, types and defaults are read off its default value. A name that is in neither is an error, which
//! suggests the nearest one, since a misspelt safety setting that is silently ignored is worse than a server that does
//! not start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::base::address::Network;
use crate::base::limits::Budgets;
use crate::base::listen::Bounds;
use crate::base::secrets;
use crate::base::telemetry::LogFormat;

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
    pub search: SearchConfig,
    pub jobs: JobsConfig,
    pub audit: AuditConfig,
    pub log: LogConfig,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host/database`; empty to run a private Postgres. Also `DATABASE_URL`.
    pub url: DatabaseUrl,
    /// A file with the same.
    pub url_file: PathBuf,
    /// Connections for writes and for reads by id.
    pub write_connections: u32,
    /// Connections for searches that are planned each time; as many again for those that are not.
    pub read_connections: u32,
}

/// The private Postgres.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// The folder of PostgreSQL's programs (`initdb`, `pg_ctl`, `postgres`); empty to look for them.
    pub programs: PathBuf,
}

/// What the server takes from a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Longest body of a request, in bytes, after decompression.
    pub max_body_bytes: usize,
    /// How long a client may take to send a body.
    pub body_timeout_seconds: u64,
    /// Longest head of a request, in bytes: its address and its headers.
    pub max_head_bytes: usize,
    /// How long a client may take to send a head, and how long it may keep a connection without a request.
    pub head_timeout_seconds: u64,
    /// How long an answer waits for its client to take more of it.
    pub write_timeout_seconds: u64,
    /// Open connections at most.
    pub max_connections: usize,
    /// Open connections of one address at most. Proxies that are trusted may have more.
    pub max_connections_per_address: usize,
    /// Web origins whose scripts may use this server, beside those of registered applications, as in `https://app.example`; `*`
    /// for all. In the environment, separated by commas.
    pub cors_origins: Vec<String>,
    /// Addresses or networks (`10.0.0.0/8`) of proxies in front of the server, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

/// TLS by the server itself. Without a certificate it speaks plain HTTP.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with the server's certificate and those above it.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// Requests per minute, all instances together; 0 for no limit. Only with `auth = "on"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Of one address, of whatever kind.
    pub per_address: u32,
    /// With the tokens of one application.
    pub per_client: u32,
    /// With the tokens of one person.
    pub per_user: u32,
    /// Of one address, where tokens are given out, withdrawn and explained.
    pub tokens_per_address: u32,
    /// Tokens for one application.
    pub tokens_per_client: u32,
    /// Pages and forms (sign-in, account) of one address.
    pub pages_per_address: u32,
}

/// Accounts and secrets. Only with `auth = "on"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// 32 random bytes in base64, under which secrets in the database are sealed. Several, separated by commas, while one
    /// is being replaced: the first seals, all of them open.
    pub master_key: Secret,
    /// A file with the same; empty for `master.key` in the data directory, which a server with a private database makes.
    pub master_key_file: PathBuf,
    /// Hosts of applications' keys (`jwks_uri`) that may have private addresses. Those of this machine (`127.0.0.1`) may do
    /// without https then.
    pub private_hosts: Vec<String>,
    /// Whether patients may open an account without being invited.
    pub sign_up: bool,
    /// A file with the policies of all roles; empty for the built-in ones (`src/fhir/access/policies.json`).
    pub policies: PathBuf,
    /// For how many minutes after a proof by two factors a person may sign, as a prescription.
    pub sign_within_minutes: u32,
    pub factors: FactorsConfig,
    /// Other OpenID providers that people may sign in at, each by a name of small letters, digits and `-`.
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// An OpenID provider, as in `[identity.providers.clinic]`. In the environment, its settings are
/// `MEDCONSULT_IDENTITY_PROVIDERS_CLINIC_ISSUER` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// What people read on the button; empty for the name.
    pub label: String,
    /// As its metadata spell it.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Secret,
    /// A file with the secret instead.
    pub client_secret_file: PathBuf,
    pub scopes: Vec<String>,
    /// Whether an address that the provider has verified opens the account of that address. Only for a provider that the
    /// practice runs, or trusts like its own mail.
    pub connect_by_email: bool,
}

/// What people must show beside a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactorsConfig {
    /// `optional`, `required` (a second factor of any kind) or `passkey`; also of the two below.
    pub patient: FactorDemand,
    pub practitioner: FactorDemand,
    pub admin: FactorDemand,
    /// Roles that may have their codes by mail.
    pub by_mail: Vec<String>,
}

/// What a role must show beside a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactorDemand {
    Optional,
    Required,
    Passkey,
}

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

/// What the server demands of resources beyond the rules of FHIR.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FhirConfig {
    /// Refuse references that lead nowhere, and the deletion of what others refer to.
    pub referential_integrity: bool,
    /// Store MedConsult's own definitions (`profiles/`) at the start.
    pub profiles: bool,
}

/// How much a search answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Resources per page when the client does not say.
    pub default_count: u32,
    /// Resources per page at most, whatever the client says.
    pub max_count: u32,
    /// Matches that are counted for an accurate total at most; beyond, the client is told to ask for an estimate.
    pub max_counted: u32,
    /// How long each statement of a search may take before it is given up.
    pub timeout_seconds: u64,
    /// Whether `_text` and `_content` can be searched. It costs disk space, and some work after each write.
    pub full_text: bool,
}

/// Background work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Jobs that this process runs at the same time; 0 to leave them to `medconsult worker`.
    pub concurrency: u32,
}

/// The record of who did what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Keep the record with `auth = "off"` as well, where nobody is told apart. With `auth = "on"` it is always kept.
    pub without_auth: bool,
    /// Store a Provenance with what an application writes on behalf of a person.
    pub provenance: bool,
}

/// Log lines, on standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Which lines, as in `info,medconsult::jobs=debug`.
    pub filter: String,
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
            search: SearchConfig::default(),
            jobs: JobsConfig::default(),
            audit: AuditConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            url_file: PathBuf::new(),
            write_connections: 16,
            read_connections: 16,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 50 * 1024 * 1024,
            body_timeout_seconds: 30,
            max_head_bytes: 128 * 1024,
            head_timeout_seconds: 30,
            write_timeout_seconds: 60,
            max_connections: 10_000,
            max_connections_per_address: 1000,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl HttpConfig {
    /// What one client may take of the server.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            head_bytes: self.max_head_bytes,
            head_timeout: Duration::from_secs(self.head_timeout_seconds),
            write_timeout: Duration::from_secs(self.write_timeout_seconds),
            proxies: self.trusted_proxies.clone(),
        }
    }
}

impl TlsConfig {
    /// The files of certificate and key, if the server speaks TLS itself.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        (!self.certificate.as_os_str().is_empty()).then_some((&self.certificate, &self.key))
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            per_address: 30_000,
            per_client: 30_000,
            per_user: 6_000,
            tokens_per_address: 1_200,
            tokens_per_client: 600,
            pages_per_address: 300,
        }
    }
}

impl LimitsConfig {
    pub fn budgets(&self) -> Budgets {
        Budgets {
            per_address: self.per_address,
            per_client: self.per_client,
            per_user: self.per_user,
            tokens_per_address: self.tokens_per_address,
            tokens_per_client: self.tokens_per_client,
            pages_per_address: self.pages_per_address,
        }
    }
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            master_key: Secret::default(),
            master_key_file: PathBuf::new(),
            private_hosts: Vec::new(),
            sign_up: true,
            policies: PathBuf::new(),
            sign_within_minutes: 5,
            factors: FactorsConfig::default(),
            providers: BTreeMap::new(),
        }
    }
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            label: String::new(),
            issuer: String::new(),
            client_id: String::new(),
            client_secret: Secret::default(),
            client_secret_file: PathBuf::new(),
            scopes: ["openid", "email", "profile"].map(str::to_owned).to_vec(),
            connect_by_email: false,
        }
    }
}

impl Default for FactorsConfig {
    fn default() -> Self {
        Self {
            patient: FactorDemand::Optional,
            practitioner: FactorDemand::Required,
            admin: FactorDemand::Required,
            by_mail: vec!["patient".to_owned()],
        }
    }
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

impl Default for FhirConfig {
    fn default() -> Self {
        Self {
            referential_integrity: false,
            profiles: true,
        }
    }
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            default_count: 20,
            max_count: 1000,
            max_counted: 1_000_000,
            timeout_seconds: 10,
            full_text: true,
        }
    }
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self { concurrency: 4 }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            without_auth: false,
            provenance: true,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info,sqlx::postgres::notice=warn".to_owned(),
        }
    }
}

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Auth {
    /// They do not: an open sandbox, on a loopback address.
    Off,
    /// By an access token with every request to the FHIR API.
    On,
}

impl TryFrom<String> for Auth {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            other => Err(format!(
                "auth cannot be {other:?}: it is \"on\", or \"off\" for an open sandbox on a loopback address"
            )),
        }
    }
}

/// A setting that is never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Empty when it was not set.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn masked(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "***" }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.masked())
    }
}

/// A connection string. Shown without its password.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The whole connection string; `None` when no database was named.
    pub fn reveal(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    fn masked(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return if self.0.is_empty() {
                String::new()
            } else {
                "***".to_owned()
            };
        };
        // The query may carry a password as well (`?password=`), so all of it goes.
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((login, host)) => {
                let user = login.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}:***@{host}")
            }
            None => format!("{scheme}://{rest}"),
        }
    }
}

impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

const PREFIX: &str = "MEDCONSULT_";
/// Variables with our prefix that are not settings: where the settings are, and where tests find their data.
const NOT_SETTINGS: [&str; 3] = ["MEDCONSULT_CONFIG", "MEDCONSULT_SHARED", "MEDCONSULT_HL7_PACKAGE"];
const DEFAULT_FILE: &str = "medconsult.toml";

impl Config {
    /// Reads the file named by `file`, else by `MEDCONSULT_CONFIG`, else `medconsult.toml` if there is one, and then the
    /// environment.
    ///
    /// # Errors
    /// A file that cannot be read, a name that does not exist, a value of the wrong type.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let named = file
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("MEDCONSULT_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // A variable that is not UTF-8 cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from_parts(&text, &path, environment)
    }

    fn from_parts(text: &str, path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut table: Table = toml::from_str(text).with_context(|| format!("{} is not valid TOML", path.display()))?;
        let mut environment: Vec<_> = environment.collect();
        let known = known_settings(&provider_names(&table, &environment));
        refuse_unknown(&table, "", &known).with_context(|| format!("in {}", path.display()))?;
        // So that MEDCONSULT_DATABASE_URL, which is more explicit, wins over DATABASE_URL, which other programs read too.
        environment.sort();
        for (name, value) in environment {
            let setting = match name.as_str() {
                "DATABASE_URL" => "database.url".to_owned(),
                _ if !name.starts_with(PREFIX) || NOT_SETTINGS.contains(&name.as_str()) => continue,
                _ => known
                    .iter()
                    .map(|(setting, _)| setting)
                    .find(|setting| variable(setting) == name)
                    .cloned()
                    .with_context(|| unknown("environment variable", &name, known.iter().map(|(s, _)| variable(s))))?,
            };
            let example = known
                .iter()
                .find(|(known, _)| *known == setting)
                .map(|(_, example)| example);
            let value = match example {
                Some(Value::Integer(_)) => Value::Integer(
                    value
                        .parse()
                        .with_context(|| format!("{name} must be a whole number"))?,
                ),
                Some(Value::Boolean(_)) => {
                    Value::Boolean(value.parse().with_context(|| format!("{name} must be true or false"))?)
                }
                Some(Value::Array(_)) => {
                    let elements = value.split(',').map(str::trim).filter(|element| !element.is_empty());
                    Value::Array(elements.map(|element| Value::String(element.to_owned())).collect())
                }
                _ => Value::String(value),
            };
            insert(&mut table, &setting, value);
        }
        let mut config: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.to_string().trim()))?;
        config.read_secret_files()?;
        config.check()?;
        Ok(config)
    }

    /// Reads the secrets that are named by a file, so that none needs to stand in a settings file or an environment, which
    /// other processes of the account can read. (The master key is read where it may have to be made.)
    fn read_secret_files(&mut self) -> Result<()> {
        fn read<S: From<String>>(name: &str, file: &Path, is_set: bool, secret: &mut S) -> Result<()> {
            if file.as_os_str().is_empty() {
                return Ok(());
            }
            if is_set {
                bail!("{name} and {name}_file are both set: leave one of them out");
            }
            *secret = secrets::read(file).with_context(|| format!("{name}_file"))?.into();
            Ok(())
        }
        let (database, mail) = (&mut self.database, &mut self.mail);
        let is_set = database.url.reveal().is_some();
        read("database.url", &database.url_file, is_set, &mut database.url)?;
        let is_set = !mail.server.reveal().is_empty();
        read("mail.server", &mail.server_file, is_set, &mut mail.server)?;
        for (name, provider) in &mut self.identity.providers {
            let name = format!("identity.providers.{name}.client_secret");
            let is_set = !provider.client_secret.reveal().is_empty();
            read(&name, &provider.client_secret_file, is_set, &mut provider.client_secret)?;
        }
        Ok(())
    }

    /// Files that hold secrets, as far as they are named by settings.
    pub fn secret_files(&self) -> Vec<&Path> {
        let files = [
            &self.database.url_file,
            &self.mail.server_file,
            &self.identity.master_key_file,
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
        if self.search.default_count > self.search.max_count {
            bail!("search.default_count is greater than search.max_count");
        }
        if self.search.timeout_seconds == 0 {
            bail!("search.timeout_seconds must be at least 1");
        }
        if self.database.write_connections == 0 || self.database.read_connections == 0 {
            bail!("database.write_connections and database.read_connections must be at least 1");
        }
        Ok(())
    }

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
}

/// The providers that the file or the environment names: the only settings whose names an operator chooses.
fn provider_names(table: &Table, environment: &[(String, String)]) -> BTreeSet<String> {
    let in_file = table.get("identity").and_then(|identity| identity.get("providers"));
    let in_file = in_file
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .cloned();
    let suffixes: Vec<String> = settings_of(&ProviderConfig::default(), "")
        .into_iter()
        .map(|(key, _)| format!("_{}", key.to_uppercase()))
        .collect();
    let in_environment = environment.iter().filter_map(|(variable, _)| {
        let rest = variable.strip_prefix("MEDCONSULT_IDENTITY_PROVIDERS_")?;
        let name = suffixes.iter().find_map(|suffix| rest.strip_suffix(suffix.as_str()))?;
        Some(name.to_lowercase())
    });
    in_file.chain(in_environment).filter(|name| !name.is_empty()).collect()
}

/// Scheme, host and perhaps port, without a path; or all of them.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', '*']))
}

/// Every setting as `section.key`, with its default.
fn known_settings(providers: &BTreeSet<String>) -> Vec<(String, Value)> {
    let mut known = settings_of(&Config::default(), "");
    for name in providers {
        known.extend(settings_of(
            &ProviderConfig::default(),
            &format!("identity.providers.{name}."),
        ));
    }
    known
}

/// The settings in a section, each with its default.
fn settings_of(section: &impl Serialize, prefix: &str) -> Vec<(String, Value)> {
    fn collect(table: &Table, prefix: &str, into: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            match value {
                Value::Table(section) => collect(section, &format!("{prefix}{key}."), into),
                leaf => into.push((format!("{prefix}{key}"), leaf.clone())),
            }
        }
    }
    let mut settings = Vec::new();
    if let Ok(Value::Table(table)) = Value::try_from(section) {
        collect(&table, prefix, &mut settings);
    }
    settings
}

fn refuse_unknown(table: &Table, prefix: &str, known: &[(String, Value)]) -> Result<()> {
    for (key, value) in table {
        let setting = format!("{prefix}{key}");
        let section = format!("{setting}.");
        match value {
            Value::Table(inner) if known.iter().any(|(known, _)| known.starts_with(&section)) => {
                refuse_unknown(inner, &section, known)?;
            }
            Value::Table(inner) if inner.is_empty() => {}
            _ if known.iter().any(|(known, _)| *known == setting) => {}
            _ => bail!(unknown(
                "setting",
                &setting,
                known.iter().map(|(setting, _)| setting.clone())
            )),
        }
    }
    Ok(())
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 4);
    match nearest {
        Some((_, nearest)) => format!("unknown {what} {name}; did you mean {nearest}?"),
        None => format!("unknown {what} {name}; `medconsult config` lists all settings"),
    }
}

fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "_").to_uppercase())
}

fn insert(table: &mut Table, setting: &str, value: Value) {
    match setting.split_once('.') {
        None => {
            table.insert(setting.to_owned(), value);
        }
        Some((section, key)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_parts(text, Path::new("medconsult.toml"), environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "listen = '127.0.0.1:1'\n[search]\nmax_count = 50\ndefault_count = 10\n";
        let environment = [
            ("MEDCONSULT_LISTEN", "127.0.0.1:2"),
            ("MEDCONSULT_SEARCH_MAX_COUNT", "70"),
            ("HOME", "/root"),
        ];
        let config = load(file, &environment).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!((config.search.default_count, config.search.max_count), (10, 70));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_suggests_the_nearest() {
        let error = load("[search]\nmax_cuont = 5", &[]).unwrap_err();
        assert!(
            error.contains("unknown setting search.max_cuont; did you mean search.max_count?"),
            "{error}"
        );
        let error = load("", &[("MEDCONSULT_LISTEM", "127.0.0.1:1")]).unwrap_err();
        assert!(error.contains("did you mean MEDCONSULT_LISTEN?"), "{error}");
        let error = load("frobnicate = true", &[]).unwrap_err();
        assert!(error.contains("`medconsult config` lists"), "{error}");
    }

    #[test]
    fn without_accounts_only_loopback_is_listened_on() {
        for open in ["0.0.0.0:8080", "[::]:8080", "192.168.1.7:80"] {
            let error = load("", &[("MEDCONSULT_LISTEN", open)]).unwrap_err();
            assert!(error.contains("refusing to listen"), "{error}");
        }
        assert!(load("", &[("MEDCONSULT_LISTEN", "[::1]:8080")]).is_ok());
        assert!(
            load("auth = 'maybe'", &[])
                .unwrap_err()
                .contains("auth cannot be \"maybe\"")
        );
    }

    #[test]
    fn tokens_do_not_cross_a_network_in_the_clear() {
        assert!(load("auth = 'on'", &[]).is_ok());
        let open = "auth = 'on'\nlisten = '0.0.0.0:8080'\n";
        assert!(load(open, &[]).unwrap_err().contains("in the clear"));
        assert!(load(&format!("{open}public_url = 'http://clinic.example'"), &[]).is_err());
        assert!(load(&format!("{open}public_url = 'https://clinic.example'"), &[]).is_ok());
        let tls = "[tls]\ncertificate = 'a.pem'\nkey = 'a.key'";
        assert_eq!(
            load(&format!("{open}{tls}"), &[]).unwrap().root_url(),
            "https://0.0.0.0:8080"
        );
        assert!(
            load("[tls]\ncertificate = 'a.pem'", &[])
                .unwrap_err()
                .contains("go together")
        );
        let plain = load(&format!("public_url = 'http://clinic.example'\n{tls}"), &[]);
        assert!(plain.unwrap_err().contains("must begin with https"));
    }

    #[test]
    fn an_origin_has_no_path() {
        for wrong in [
            "https://app.example/",
            "app.example",
            "https://*.example",
            "null",
            "https://",
        ] {
            let error = load(&format!("[http]\ncors_origins = ['{wrong}']"), &[]).unwrap_err();
            assert!(error.contains("is not an origin"), "{error}");
        }
        assert!(load("[http]\ncors_origins = ['*', 'http://localhost:3000']", &[]).is_ok());
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let file = std::env::temp_dir().join(format!("medconsult-secret-{}", std::process::id()));
        fs::write(&file, "smtps://clinic:hunter2@mail.example\n").unwrap();
        let settings = format!("[mail]\nserver_file = '{}'\n", file.display());
        let config = load(&settings, &[]).unwrap();
        assert_eq!(config.mail.server.reveal(), "smtps://clinic:hunter2@mail.example");
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
        let both = load(&settings, &[("MEDCONSULT_MAIL_SERVER", "smtp://other")]);
        assert!(both.unwrap_err().contains("leave one of them out"));
        fs::remove_file(&file).unwrap();
        assert!(load(&settings, &[]).unwrap_err().contains("mail.server_file"));
    }

    #[test]
    fn secrets_are_masked() {
        let url = "postgres://clinic:hunter2@db.example/records?password=hunter2";
        let config = load("", &[("DATABASE_URL", url)]).unwrap();
        assert_eq!(config.database.url.reveal(), Some(url));
        assert!(config.to_toml().contains("postgres://clinic:***@db.example/records"));
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
        let secrets = [
            ("MEDCONSULT_IDENTITY_MASTER_KEY", "hunter2"),
            ("MEDCONSULT_MAIL_SERVER", "smtps://clinic:hunter2@mail.example"),
            ("MEDCONSULT_IDENTITY_SIGN_UP", "false"),
        ];
        let config = load("", &secrets).unwrap();
        assert_eq!(
            (config.identity.master_key.reveal(), config.identity.sign_up),
            ("hunter2", false)
        );
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
    }

    #[test]
    fn a_switch_is_true_or_false_in_the_environment() {
        let config = load("", &[("MEDCONSULT_SEARCH_FULL_TEXT", "false")]).unwrap();
        assert!(!config.search.full_text);
        assert!(load("", &[("MEDCONSULT_SEARCH_FULL_TEXT", "no")]).is_err());
    }

    #[test]
    fn providers_are_named_by_the_operator() {
        let file = "[identity.providers.clinic]\nissuer = 'https://id.clinic.example'\nclient_id = 'medconsult'\n";
        let environment = [
            ("MEDCONSULT_IDENTITY_PROVIDERS_CLINIC_CLIENT_SECRET", "hunter2"),
            ("MEDCONSULT_IDENTITY_PROVIDERS_OTHER_CONNECT_BY_EMAIL", "true"),
        ];
        let config = load(file, &environment).unwrap();
        let (clinic, other) = (
            &config.identity.providers["clinic"],
            &config.identity.providers["other"],
        );
        assert_eq!(
            (clinic.client_id.as_str(), clinic.client_secret.reveal()),
            ("medconsult", "hunter2")
        );
        assert!(other.connect_by_email && !clinic.connect_by_email && clinic.scopes.len() == 3);
        assert!(!config.to_toml().contains("hunter2"));
        assert_eq!(load(&config.to_toml(), &[]).unwrap().identity.providers.len(), 2);
        let error = load("[identity.providers.clinic]\nisuer = ''", &[]).unwrap_err();
        assert!(
            error.contains("did you mean identity.providers.clinic.issuer?"),
            "{error}"
        );
    }

    #[test]
    fn lists_are_separated_by_commas_in_the_environment() {
        let config = load(
            "",
            &[("MEDCONSULT_HTTP_CORS_ORIGINS", "https://a.example, https://b.example")],
        )
        .unwrap();
        assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let printed = load("", &[]).unwrap().to_toml();
        assert_eq!(load(&printed, &[]).unwrap().to_toml(), printed);
    }

    #[test]
    fn the_base_url_follows_the_public_one() {
        assert_eq!(load("", &[]).unwrap().fhir_base(), "http://127.0.0.1:8080/fhir");
        assert_eq!(
            load("public_url = 'https://clinic.example/'", &[]).unwrap().fhir_base(),
            "https://clinic.example/fhir"
        );
    }
}
