//! Who callers are, and what is kept of what they do: `auth`, `[identity]`, `[audit]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

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

/// What a role must show beside a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactorDemand {
    Optional,
    Required,
    Passkey,
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

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            without_auth: false,
            provenance: true,
        }
    }
}
