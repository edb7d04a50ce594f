//! The sections of the file that tell where everything is kept: `[database]`, `[postgres]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::DatabaseUrl;

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

/// The private Postgres.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// The folder of PostgreSQL's programs (`initdb`, `pg_ctl`, `postgres`); empty to look for them.
    pub programs: PathBuf,
}
