//! A server of this program with a private database of its own, to be measured and thrown away.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::processes::Processes;
use crate::base::postgres::{Cluster, ClusterOptions, Durability};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database, in a folder that goes away in the end.
pub struct Scratch {
    folder: PathBuf,
    cluster: Option<Cluster>,
}

/// A running server.
pub struct Server {
    child: Child,
    pub base: String,
    // Kept open: a server must not fail because nobody reads what it says.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Scratch {
    /// Makes the database, as durable as a real one.
    ///
    /// # Errors
    /// When Postgres cannot be started in `parent`.
    pub async fn new(parent: &Path, programs: Option<PathBuf>) -> Result<Scratch> {
        let folder = parent.join(format!("medconsult-bench-{}", std::process::id()));
        let options = ClusterOptions {
            data_dir: folder.clone(),
            programs,
            durability: Durability::Durable,
        };
        let cluster = Cluster::start(&options).await?;
        Ok(Scratch {
            folder,
            cluster: Some(cluster),
        })
    }

    /// Connections for the floor, as many as there are clients.
    ///
    /// # Errors
    /// When the database was stopped.
    pub async fn pool(&self, connections: u32) -> Result<PgPool> {
        let cluster = self.cluster.as_ref().context("the database is stopped")?;
        let options = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .test_before_acquire(false);
        Ok(options.connect_with(cluster.connect_options()).await?)
    }

    /// A server on this database.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn serve(&self) -> Result<Server> {
        self.serve_with(&[]).await
    }

    /// The same with other settings than the default ones, as variables of its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn serve_with(&self, settings: &[(&str, String)]) -> Result<Server> {
        let url = format!(
            "postgres://medconsult@localhost/medconsult?host={}",
            self.folder.join("run").display()
        );
        let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let data_dir = self.folder.join("server");
        let start = |command: &mut Command| {
            command
                .env("DATABASE_URL", url)
                .env("MEDCONSULT_DATA_DIR", data_dir)
                .envs(settings);
        };
        Server::start(start).await
    }

    /// The process that all of its database descend from.
    pub fn postmaster(&self) -> Option<u32> {
        self.cluster.as_ref().and_then(Cluster::postmaster)
    }

    /// What is running.
    pub fn processes(&self, server: &Server) -> Processes {
        Processes {
            server: server.id(),
            postmaster: self.postmaster(),
        }
    }

    /// How long a server takes that starts this database itself, until it is ready; the second of two, so that the
    /// files are in the cache as after any restart.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn warm_start(&mut self) -> Result<Duration> {
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await;
        }
        let folder = self.folder.clone();
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let begun = Instant::now();
            let server =
                Server::start(|command| _ = command.env_remove("DATABASE_URL").env("MEDCONSULT_DATA_DIR", &folder))
                    .await?;
            took = begun.elapsed();
            server.stop().await?;
        }
        Ok(took)
    }

    /// Stops the database and removes its folder.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn remove(self) -> Result<()> {
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

impl Server {
    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    async fn start(configure: impl FnOnce(&mut Command)) -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .env("MEDCONSULT_LISTEN", "127.0.0.1:0")
            .env("MEDCONSULT_LOG_FILTER", "error");
        command
            .env_remove("MEDCONSULT_PUBLIC_URL")
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        configure(&mut command);
        let mut child = command.spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?).lines();
        let ready = tokio::time::timeout(PATIENCE, output.next_line())
            .await
            .context("the server does not get ready")??;
        let base = ready
            .as_deref()
            .and_then(|line| line.split_whitespace().find(|word| word.starts_with("http://")));
        let base = base.context("the server ended")?.to_owned();
        Ok(Server {
            child,
            base,
            _output: output,
        })
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not, or reports a failure.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(process) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(process, Signal::TERM)?;
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .context("the server does not stop")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}
