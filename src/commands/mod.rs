//! The commands of the program, one file each: the arguments, and what is done.

pub mod access;
pub mod audit;
pub mod bench;
pub mod client;
pub mod config;
pub mod conformance;
mod demo;
pub mod key;
pub mod load;
pub mod mail;
pub mod migrate;
pub mod objects;
mod operator;
pub mod schemas;
pub mod serve;
pub mod user;
pub mod worker;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnectOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::base::Database;
use crate::base::database::PoolSizes;
use crate::base::postgres::{Cluster, ClusterError, ClusterOptions, Durability};
use crate::config::Config;

/// The database that the settings name: a running one, or a private one, which then belongs to this process.
pub struct OpenDatabase {
    pub pools: Database,
    private: Option<Cluster>,
}

impl OpenDatabase {
    /// # Errors
    /// When the connection string cannot be read, or the private Postgres cannot run.
    pub async fn open(config: &Config) -> Result<Self> {
        let (options, private) = if let Some(url) = config.database.url.reveal() {
            // The error would quote the string, and the password with it.
            let options: PgConnectOptions = url
                .parse()
                .ok()
                .context("database.url (or DATABASE_URL) is not a connection string of PostgreSQL")?;
            (options, None)
        } else {
            let programs = &config.postgres.programs;
            let cluster = Cluster::start(&ClusterOptions {
                data_dir: config.data_dir.clone(),
                programs: (!programs.as_os_str().is_empty()).then(|| programs.clone()),
                durability: Durability::Durable,
            })
            .await?;
            (cluster.connect_options(), Some(cluster))
        };
        let sizes = PoolSizes {
            write: config.database.write_connections,
            read: config.database.read_connections,
        };
        Ok(Self {
            pools: Database::open(options, sizes),
            private,
        })
    }

    /// The same, for a short look: the private Postgres of a server that is running is used beside it, through its socket.
    ///
    /// # Errors
    /// When the connection string cannot be read, or the private Postgres neither runs nor can run.
    pub async fn open_beside_server(config: &Config) -> Result<Self> {
        let error = match Self::open(config).await {
            Err(error) => error,
            opened => return opened,
        };
        if !matches!(error.downcast_ref(), Some(ClusterError::InUse(_))) {
            return Err(error);
        }
        let options = Cluster::of_running_server(&config.data_dir)?;
        Ok(Self {
            pools: Database::open(options, PoolSizes { write: 1, read: 1 }),
            private: None,
        })
    }

    /// Where the data is, for a person to read.
    pub fn place(&self, config: &Config) -> String {
        match &self.private {
            Some(_) => format!("a private PostgreSQL in {}", config.data_dir.display()),
            None => format!("{:?}", config.database.url),
        }
    }

    /// Closes the connections, and stops the private Postgres.
    pub async fn close(self) {
        self.pools.close().await;
        if let Some(cluster) = self.private {
            cluster.stop().await;
        }
    }
}

/// Becomes true when the process is asked to end (SIGTERM, or Ctrl-C).
///
/// # Errors
/// When the operating system does not let us listen to signals.
pub fn stop_signal() -> Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // A second Ctrl-C does not wait for anybody.
        interrupt.recv().await;
        std::process::exit(130);
    });
    Ok(receiver)
}
