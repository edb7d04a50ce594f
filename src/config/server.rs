//! The sections about connections and requests: `[http]`, `[tls]`, `[limits]`, `[log]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::address::Network;
use crate::base::limits::Budgets;
use crate::base::listen::Bounds;
use crate::base::telemetry::LogFormat;

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

/// TLS by the server itself. Without a certificate it speaks plain HTTP.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with the server's certificate and those above it.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

impl TlsConfig {
    /// The files of certificate and key, if the server speaks TLS itself.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        (!self.certificate.as_os_str().is_empty()).then_some((&self.certificate, &self.key))
    }
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

/// Log lines, on standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Which lines, as in `info,medconsult::jobs=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info,sqlx::postgres::notice=warn".to_owned(),
        }
    }
}
