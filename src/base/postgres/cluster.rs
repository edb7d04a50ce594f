//! The life of the private cluster: make it, take over what a dead server left, start it, watch it, stop it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::account::{self, Account};
use super::programs::Programs;
use super::settings::{Durability, settings};
use super::{ClusterError, During};

/// Linux allows 107 bytes, macOS 103, without the final zero.
pub(super) const LONGEST_SOCKET_PATH: usize = 103;
/// Names the socket file; nothing listens on a TCP port.
const PORT: u16 = 5432;
/// The cluster's administrator, and the role and the database of the server.
const ADMINISTRATOR: &str = "postgres";
const OWN_NAME: &str = "medconsult";
/// How long a fast shutdown may take before the cluster is told to drop everything and recover at the next start.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Everything of the cluster lives below this directory, which is made if it is not there.
    pub data_dir: PathBuf,
    /// The folder of PostgreSQL's programs; `None` to look for them.
    pub programs: Option<PathBuf>,
    pub durability: Durability,
}

/// A private Postgres cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    socket_directory: PathBuf,
    /// The process id of the postmaster now, `None` between its death and its restart.
    pid: watch::Receiver<Option<u32>>,
    stop: Option<oneshot::Sender<oneshot::Sender<()>>>,
    /// Held, not read: the operating system frees it when this process ends, however it ends.
    _lock: File,
}

impl Cluster {
    /// Starts the cluster of the data directory, making it first if need be, and returns when it accepts connections and
    /// has the server's database.
    ///
    /// # Errors
    /// See [`ClusterError`]. After an error nothing is left running.
    pub async fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let recipe = Recipe::prepare(options)?;
        let lock = recipe.lock()?;
        recipe.make_if_absent().await?;
        recipe.stop_leftover().await?;
        recipe.write_access_rules()?;
        let child = recipe.start().await?;
        let socket_directory = recipe.socket_directory.clone();

        let (pid_sender, pid) = watch::channel(child.id());
        let (stop, stop_requested) = oneshot::channel();
        tokio::spawn(watch_over(recipe, child, pid_sender, stop_requested));
        let cluster = Self {
            socket_directory,
            pid,
            stop: Some(stop),
            _lock: lock,
        };
        if let Err(error) = cluster.make_database().await {
            cluster.stop().await;
            return Err(error.into());
        }
        Ok(cluster)
    }

    /// How to connect to the database of a server that runs on this data directory: the socket lets in only the account
    /// that runs the server.
    pub fn of_running_server(data_dir: &Path) -> io::Result<PgConnectOptions> {
        let directory = fs::canonicalize(data_dir)?;
        Ok(connect_options(&directory.join("run"), OWN_NAME, OWN_NAME))
    }

    /// How to connect to the server's own database, as its owner.
    pub fn connect_options(&self) -> PgConnectOptions {
        connect_options(&self.socket_directory, OWN_NAME, OWN_NAME)
    }

    /// How to connect as the cluster's administrator, to the database `postgres`.
    pub fn administrator_options(&self) -> PgConnectOptions {
        connect_options(&self.socket_directory, ADMINISTRATOR, "postgres")
    }

    /// The process id of the postmaster, unless it is just being restarted.
    pub fn postmaster(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Ends every connection and shuts the cluster down cleanly. Close the pools first.
    pub async fn stop(mut self) {
        let Some(stop) = self.stop.take() else { return };
        let (stopped_sender, stopped) = oneshot::channel();
        if stop.send(stopped_sender).is_ok() {
            // An error means that the watch is gone with its runtime; there is nobody left to ask.
            let _ = stopped.await;
        }
    }

    async fn make_database(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.administrator_options().connect().await?;
        let there: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(OWN_NAME)
            .fetch_optional(&mut connection)
            .await?;
        if there.is_none() {
            connection
                .execute(
                    "DO $$ BEGIN CREATE ROLE medconsult LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
                )
                .await?;
            connection
                .execute("CREATE DATABASE medconsult OWNER medconsult")
                .await?;
        }
        connection.close().await
    }
}

impl Drop for Cluster {
    /// For the paths on which [`Cluster::stop`] is not reached. Nobody waits for the cluster here; the next start does.
    fn drop(&mut self) {
        if self.stop.is_some()
            && let Some(pid) = self.postmaster()
        {
            signal(pid, Signal::INT);
        }
    }
}

fn connect_options(socket_directory: &Path, user: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_directory)
        .port(PORT)
        .username(user)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Everything that is known about the cluster before it runs.
struct Recipe {
    account: Account,
    programs: Programs,
    durability: Durability,
    directory: PathBuf,
    cluster_directory: PathBuf,
    socket_directory: PathBuf,
}

impl Recipe {
    fn prepare(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let account = Account::choose()?;
        // The account's own directory is made private to it. One that was there before keeps its owner and its mode.
        if !options.data_dir.is_dir() {
            make_private_directory(&options.data_dir)?;
            account.own(&options.data_dir)?;
        }
        let directory = fs::canonicalize(&options.data_dir)
            .during(|| format!("cannot find the data directory {}", options.data_dir.display()))?;
        account.check_reach(&directory)?;

        let cluster_directory = directory.join("postgres");
        let wanted = fs::read_to_string(cluster_directory.join("PG_VERSION"))
            .ok()
            .and_then(|v| v.trim().parse().ok());
        let programs = Programs::find(options.programs.as_deref(), wanted).map_err(|missing| match wanted {
            Some(wanted) => ClusterError::WrongVersion {
                directory: cluster_directory.clone(),
                wanted,
            },
            None => missing.not_installed(),
        })?;

        let socket_directory = directory.join("run");
        let socket = socket_path(&socket_directory);
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(ClusterError::PathTooLong(socket));
        }
        Ok(Self {
            account,
            programs,
            durability: options.durability,
            directory,
            cluster_directory,
            socket_directory,
        })
    }

    /// Makes sure that this is the only server on the data directory.
    fn lock(&self) -> Result<File, ClusterError> {
        let path = self.directory.join("lock");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .during(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(ClusterError::InUse(self.directory.clone())),
            Err(fs::TryLockError::Error(source)) => Err(source).during(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Makes the cluster under another name first, so that one that was not finished is never taken for one that was.
    async fn make_if_absent(&self) -> Result<(), ClusterError> {
        if !self.socket_directory.is_dir() {
            make_private_directory(&self.socket_directory)?;
        }
        fs::set_permissions(&self.socket_directory, fs::Permissions::from_mode(0o700))
            .during(|| format!("cannot close {} to others", self.socket_directory.display()))?;
        self.account.own(&self.socket_directory)?;
        if self.cluster_directory.is_dir() {
            return Ok(());
        }
        tracing::info!(directory = %self.cluster_directory.display(), major = self.programs.major, "making a private Postgres");
        let unfinished = self.directory.join("postgres.unfinished");
        let mut result = Ok(());
        // Not every system has C.UTF-8. What we compare, we compare by code point (COLLATE "C"), so C serves as well.
        for locale in ["C.UTF-8", "C"] {
            remove_directory(&unfinished)?;
            make_private_directory(&unfinished)?;
            self.account.own(&unfinished)?;
            result = self.initdb(&unfinished, locale).await;
            if result.is_ok() {
                return fs::rename(&unfinished, &self.cluster_directory)
                    .during(|| format!("cannot rename {}", unfinished.display()));
            }
        }
        result
    }

    async fn initdb(&self, directory: &Path, locale: &str) -> Result<(), ClusterError> {
        let mut command = self.account.command(self.programs.path("initdb"), directory);
        command
            .arg("--pgdata")
            .arg(directory)
            .args(["--username", ADMINISTRATOR, "--encoding", "UTF8", "--locale", locale])
            .args(["--auth", "peer", "--data-checksums"]);
        if self.durability == Durability::Throwaway {
            command.arg("--no-sync");
        }
        run("initdb", command).await
    }

    /// A server that was killed leaves its Postgres running, perhaps with transactions in flight. It is shut down, so that
    /// there is one way to run: as our child, with the settings of this release.
    async fn stop_leftover(&self) -> Result<(), ClusterError> {
        // Somebody listening on the socket is the proof that the process id in postmaster.pid is a postmaster's; on a
        // stale file, pg_ctl would signal whoever has that id today.
        if UnixStream::connect(socket_path(&self.socket_directory)).is_err() {
            return self.remove_stale_pid_file();
        }
        tracing::info!("stopping the private Postgres that a server left behind");
        let mut command = self.account.command(self.programs.path("pg_ctl"), &self.directory);
        command
            .args(["stop", "--mode", "fast", "--wait", "--timeout", "120", "--pgdata"])
            .arg(&self.cluster_directory);
        run("pg_ctl", command).await
    }

    /// Postgres removes a stale postmaster.pid by itself, unless its process id has meanwhile been given to another
    /// program of the same account, which happens in containers where ids start again from 1.
    fn remove_stale_pid_file(&self) -> Result<(), ClusterError> {
        let path = self.cluster_directory.join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let pid = text.lines().next().unwrap_or_default().trim();
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(program) if program.trim() != "postgres" => {
                fs::remove_file(&path).during(|| format!("cannot remove the stale {}", path.display()))
            }
            // The process is gone, or it is a Postgres, or there is no /proc: Postgres knows best.
            _ => Ok(()),
        }
    }

    /// Lets in whom the operating system says to be the server's account, or the cluster's owner.
    fn write_access_rules(&self) -> Result<(), ClusterError> {
        let mut map = String::from("# Written by MedConsult at each start. Map, account, role.\n");
        let server = account::own_name().unwrap_or_else(|| self.account.name.clone());
        for account in [&server, &self.account.name] {
            for role in [OWN_NAME, ADMINISTRATOR] {
                map.push_str(&format!("own \"{account}\" {role}\n"));
            }
        }
        let rules = "# Written by MedConsult at each start. Unix socket only; whoever else connects is refused.\n\
                     local all all peer map=own\n";
        for (name, text) in [("pg_ident.conf", map.as_str()), ("pg_hba.conf", rules)] {
            let path = self.cluster_directory.join(name);
            if fs::read_to_string(&path).is_ok_and(|current| current == text) {
                continue;
            }
            fs::write(&path, text).during(|| format!("cannot write {}", path.display()))?;
            self.account.own(&path)?;
        }
        Ok(())
    }

    /// Starts the postmaster and returns when it accepts connections.
    async fn start(&self) -> Result<Child, ClusterError> {
        let mut child = self.spawn()?;
        let options = connect_options(&self.socket_directory, ADMINISTRATOR, "postgres");
        let mut next_report = Instant::now() + Duration::from_secs(5);
        // No deadline: recovery after a crash takes as long as it takes, and while the postmaster lives there is hope.
        loop {
            if let Some(status) = child
                .try_wait()
                .during(|| "cannot ask for the state of postgres".to_owned())?
            {
                return Err(self.died(status));
            }
            match options.connect().await {
                Ok(connection) => {
                    let _: Result<(), _> = connection.close().await;
                    return Ok(child);
                }
                Err(error) if !is_starting(&error) => {
                    if let Some(pid) = child.id() {
                        signal(pid, Signal::INT);
                        let _status = child.wait().await;
                    }
                    return Err(error.into());
                }
                Err(_) => {}
            }
            if Instant::now() >= next_report {
                tracing::info!("waiting for the private Postgres to recover from a crash");
                next_report += Duration::from_secs(5);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn spawn(&self) -> Result<Child, ClusterError> {
        let path = self.log_path();
        // What is there is from the run before. A failure to keep it is no reason not to start.
        let _ = fs::rename(&path, path.with_extension("log.1"));
        let log = File::create(&path).during(|| format!("cannot write {}", path.display()))?;
        let errors = log.try_clone().during(|| format!("cannot write {}", path.display()))?;
        let mut command = self.account.command(self.programs.path("postgres"), &self.directory);
        command.arg("-D").arg(&self.cluster_directory);
        for setting in settings(&self.socket_directory, self.durability) {
            command.arg("-c").arg(setting);
        }
        // A group of its own, so that Ctrl-C in a terminal reaches the server alone: it lets requests finish first.
        command
            .process_group(0)
            .stdin(std::process::Stdio::null())
            .stdout(log)
            .stderr(errors);
        tokio::process::Command::from(command)
            .spawn()
            .during(|| "cannot run postgres".to_owned())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    fn died(&self, status: ExitStatus) -> ClusterError {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let output = lines[lines.len().saturating_sub(20)..].join("\n");
        ClusterError::Program {
            program: "postgres",
            status: status.to_string(),
            output,
        }
    }
}

/// Restarts the postmaster whenever it dies, until asked to stop it. The server lives on meanwhile and answers 503.
async fn watch_over(
    recipe: Recipe,
    mut child: Child,
    pid: watch::Sender<Option<u32>>,
    mut stop_requested: oneshot::Receiver<oneshot::Sender<()>>,
) {
    loop {
        tokio::select! {
            request = &mut stop_requested => {
                // Without a request, the `Cluster` was dropped and has sent the signal itself.
                if let Ok(stopped) = request {
                    shut_down(&mut child).await;
                    let _ = stopped.send(());
                }
                return;
            }
            status = child.wait() => {
                pid.send_replace(None);
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::error!(status, "the private Postgres died; starting it again");
            }
        }
        let mut pause = Duration::from_millis(100);
        loop {
            match recipe.start().await {
                Ok(started) => {
                    child = started;
                    pid.send_replace(child.id());
                    tracing::info!("the private Postgres runs again");
                    break;
                }
                // A dying backend may still hold the shared memory; it takes a moment to notice that it is alone.
                Err(error) => tracing::error!(%error, "the private Postgres does not start"),
            }
            tokio::select! {
                request = &mut stop_requested => {
                    if let Ok(stopped) = request {
                        let _ = stopped.send(());
                    }
                    return;
                }
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
            }
        }
    }
}

/// A fast shutdown: open transactions are rolled back, everything else reaches the disk.
async fn shut_down(child: &mut Child) {
    let Some(pid) = child.id() else { return };
    signal(pid, Signal::INT);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("the private Postgres does not stop; it will recover at the next start");
        signal(pid, Signal::QUIT);
        let _status = child.wait().await;
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // An error means that the process has just ended.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a failed connection means that the postmaster is not ready yet, rather than that it refuses us.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // cannot_connect_now: starting up, or in recovery.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57P03"),
        _ => false,
    }
}

fn socket_path(directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{PORT}"))
}

fn make_private_directory(path: &Path) -> Result<(), ClusterError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).during(|| format!("cannot make {}", parent.display()))?;
    }
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .during(|| format!("cannot make {}", path.display()))
}

fn remove_directory(path: &Path) -> Result<(), ClusterError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => io::Result::Ok(()),
    }
    .during(|| format!("cannot remove {}", path.display()))
}

async fn run(program: &'static str, command: std::process::Command) -> Result<(), ClusterError> {
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .during(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(ClusterError::Program {
        program,
        status: output.status.to_string(),
        output: text.trim().to_owned(),
    })
}
