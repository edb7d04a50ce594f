//! What goes wrong around the server: it is killed, its database dies, the disk fills up. What was acknowledged stays, what
//! fails says so, and what can still be done is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, process};

use reqwest::{Client, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::app::{Answer, Ask, TestDatabase, clusters_directory, spawn_app, spawn_app_on, stop_with_this_process};

/// Nothing here takes this long, not even on a busy machine; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

const SYSTEM: &str = "http://example.org/batch";

/// The program itself, with a private Postgres in a directory of its own.
pub struct Server {
    child: Child,
    pub base: String,
    pub client: Client,
}

/// The program itself, with none of the settings of whoever runs the tests.
pub fn program(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medconsult"));
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("MEDCONSULT_") || name == "DATABASE_URL") {
        command.env_remove(name);
    }
    // Away from the repository, where a developer may have a medconsult.toml.
    command
        .current_dir(clusters_directory())
        .env("MEDCONSULT_DATA_DIR", data_dir)
        .kill_on_drop(true);
    command
        .env("MEDCONSULT_LISTEN", "127.0.0.1:0")
        .env("MEDCONSULT_LOG_FILTER", "warn");
    command.stdin(Stdio::null());
    command
}

/// A directory that is removed, with the Postgres in it stopped, when this test process ends.
pub fn data_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = clusters_directory().join(name);
    stop_with_this_process(&directory);
    directory
}

impl Server {
    async fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[]).await
    }

    /// The same, with settings from the environment.
    pub async fn start_with(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = program(data_dir)
            .envs(settings.iter().copied())
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http")) {
                    return url.to_owned();
                }
            }
            panic!("the server ended before it was ready");
        });
        let base = base.await.expect("the server gets ready");
        // Whatever else it prints goes nowhere, but must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            base,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    async fn ended(mut self) -> std::process::ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("the server ends")
            .unwrap()
    }

    async fn count(&self, batch: u32) -> usize {
        let url = format!("{}/Patient?identifier={SYSTEM}|{batch}&_summary=count", self.base);
        let bundle = once_recovered(|| self.client.get(&url)).await.json();
        bundle["total"].as_u64().unwrap().try_into().unwrap()
    }
}

/// The answer with status 200. Each connection that broke with the database may fail one more request with a 503.
async fn once_recovered(request: impl Fn() -> RequestBuilder) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = request().answer().await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return answer.expect(200);
        }
        assert!(
            Instant::now() < deadline,
            "the server does not recover: {}",
            answer.text()
        );
    }
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).expect("the process is there");
}

fn postmaster(data_dir: &Path) -> Option<u32> {
    fs::read_to_string(data_dir.join("postgres/postmaster.pid"))
        .ok()?
        .lines()
        .next()?
        .parse()
        .ok()
}

fn patient(batch: u32) -> Value {
    json!({
        "resourceType": "Patient",
        "identifier": [{ "system": SYSTEM, "value": batch.to_string() }],
        "name": [{ "family": "Okafor", "given": ["Ada"] }],
    })
}

const PER_BATCH: usize = 10;

fn transaction(batch: u32) -> Value {
    let entry = json!({ "resource": patient(batch), "request": { "method": "POST", "url": "Patient" } });
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": vec![entry; PER_BATCH] })
}

/// Clients that write transactions until they are stopped, and what came of each.
struct Load {
    stop: Arc<AtomicBool>,
    /// The status of each numbered batch; `None` when the connection broke, so that nobody knows.
    batches: Arc<Mutex<BTreeMap<u32, Option<StatusCode>>>>,
    /// Answers that were neither a success nor what a failure must look like.
    strange: Arc<Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let (stop, batches, strange) = (
            Arc::<AtomicBool>::default(),
            Arc::<Mutex<BTreeMap<_, _>>>::default(),
            Arc::default(),
        );
        let next = Arc::new(AtomicU32::new(1));
        let clients = (0..6)
            .map(|_| {
                let (base, client) = (server.base.clone(), server.client.clone());
                let (stop, batches, next, strange) =
                    (stop.clone(), batches.clone(), next.clone(), Arc::clone(&strange));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let batch = next.fetch_add(1, Ordering::Relaxed);
                        let answer = client.post(&base).fhir(&transaction(batch)).send().await;
                        let status = match answer {
                            Ok(response) => {
                                let status = response.status();
                                check(status, response.text().await.unwrap_or_default(), &strange);
                                Some(status)
                            }
                            Err(_) => None,
                        };
                        batches.lock().unwrap().insert(batch, status);
                        if status != Some(StatusCode::OK) {
                            // Do not let a dead server spin the test; the length of the pause decides nothing.
                            sleep(Duration::from_millis(5)).await;
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            batches,
            strange,
            clients,
        }
    }

    fn acknowledged(&self) -> usize {
        self.batches
            .lock()
            .unwrap()
            .values()
            .filter(|status| **status == Some(StatusCode::OK))
            .count()
    }

    fn refused(&self) -> usize {
        self.batches
            .lock()
            .unwrap()
            .values()
            .filter(|status| **status == Some(StatusCode::SERVICE_UNAVAILABLE))
            .count()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            assert!(
                Instant::now() < deadline,
                "waited too long for {what}: {:?}",
                self.strange.lock().unwrap()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> BTreeMap<u32, Option<StatusCode>> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        assert_eq!(*self.strange.lock().unwrap(), Vec::<String>::new());
        let batches = self.batches.lock().unwrap();
        batches.clone()
    }
}

/// While its database is away, a server answers 503 with an OperationOutcome, and with nothing else.
fn check(status: StatusCode, body: String, strange: &Mutex<Vec<String>>) {
    let outcome = serde_json::from_str::<Value>(&body).is_ok_and(|body| body["resourceType"] == "OperationOutcome");
    if status != StatusCode::OK && !(status == StatusCode::SERVICE_UNAVAILABLE && outcome) {
        strange.lock().unwrap().push(format!("{status}: {body}"));
    }
}

/// All of an acknowledged transaction is there; of any other, all or nothing.
async fn nothing_is_lost(server: &Server, batches: &BTreeMap<u32, Option<StatusCode>>) {
    for (batch, status) in batches {
        let count = server.count(*batch).await;
        if *status == Some(StatusCode::OK) {
            assert_eq!(count, PER_BATCH, "transaction {batch} was acknowledged");
        } else {
            assert!(
                count == 0 || count == PER_BATCH,
                "transaction {batch} is there in part: {count}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    let data_dir = data_dir();
    let server = Server::start(&data_dir).await;
    let load = Load::start(&server);
    load.until("acknowledged transactions", |load| load.acknowledged() >= 20)
        .await;
    kill(server.pid(), Signal::KILL);
    server.ended().await;
    let batches = load.end().await;
    assert!(postmaster(&data_dir).is_some(), "its Postgres is left behind");

    let server = Server::start(&data_dir).await;
    nothing_is_lost(&server, &batches).await;
    server
        .client
        .post(&server.base)
        .fhir(&transaction(1_000_000))
        .answer()
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_postgres_dies_under_load_requests_fail_with_503_and_recover() {
    let data_dir = data_dir();
    let server = Server::start(&data_dir).await;
    let load = Load::start(&server);
    load.until("acknowledged transactions", |load| load.acknowledged() >= 10)
        .await;
    // Once as an administrator would do it, once as the kernel does when memory is short.
    for signal in [Signal::INT, Signal::KILL] {
        let (refused, dead) = (load.refused(), postmaster(&data_dir).expect("a postmaster"));
        kill(dead, signal);
        load.until("refused requests", |load| load.refused() > refused).await;
        let acknowledged = load.acknowledged();
        load.until("recovery", |load| load.acknowledged() >= acknowledged + 10)
            .await;
    }
    let batches = load.end().await;
    nothing_is_lost(&server, &batches).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_stops_its_postgres_too() {
    let data_dir = data_dir();
    let server = Server::start(&data_dir).await;
    let postgres = postmaster(&data_dir).expect("a postmaster");
    kill(server.pid(), Signal::TERM);
    assert!(server.ended().await.success());
    assert_eq!(
        postmaster(&data_dir),
        None,
        "Postgres removes its pid file when it ends"
    );
    assert!(!Path::new("/proc").join(postgres.to_string()).exists());
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let data_dir = data_dir();
    let first = Server::start(&data_dir).await;
    let second = run(program(&data_dir).arg("serve")).await;
    assert!(!second.status.success());
    assert!(
        said(&second).contains("another MedConsult server is running"),
        "{}",
        said(&second)
    );
    first
        .client
        .get(format!("{}/metadata", first.base))
        .answer()
        .await
        .expect(200);
}

#[tokio::test]
async fn without_accounts_the_server_refuses_to_listen_to_the_world() {
    let refused = run(program(&data_dir()).arg("serve").env("MEDCONSULT_LISTEN", "0.0.0.0:0")).await;
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("refusing to listen on 0.0.0.0:0"),
        "{}",
        said(&refused)
    );
}

#[tokio::test]
async fn without_postgres_the_server_says_what_to_install() {
    let nowhere = clusters_directory();
    let refused = run(program(&data_dir())
        .arg("serve")
        .env("MEDCONSULT_POSTGRES_PROGRAMS", nowhere))
    .await;
    assert!(!refused.status.success());
    assert!(said(&refused).contains("Install it:"), "{}", said(&refused));
}

async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.stdout(Stdio::piped()).stderr(Stdio::piped()).output())
        .await
        .expect("it ends")
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_read_only_database_refuses_writes_and_answers_reads() {
    let app = spawn_app().await;
    let created = app.post("Patient").fhir(&patient(1)).answer().await.expect(201).json();
    let path = format!("Patient/{}", created["id"].as_str().unwrap());

    let mut connection = app.connection().await;
    let statements = [
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
        // The setting counts for new connections.
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    ];
    for statement in statements {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    once_recovered(|| app.get(&path)).await;
    once_recovered(|| app.get("Patient?family=okafor")).await;
    for refused in [
        app.post("Patient").fhir(&patient(2)),
        app.put(&path)
            .fhir(&json!({ "resourceType": "Patient", "id": created["id"], "active": true })),
        app.delete(&path),
    ] {
        let outcome = refused.answer().await.expect(503).json();
        assert_eq!(outcome["issue"][0]["code"], "transient", "{outcome}");
    }
    app.get(&path).answer().await.expect(200);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_answers_reads() {
    let Some(disk) = SmallDisk::mount("disk", "32m") else {
        skipped!("a_full_disk_refuses_writes_and_answers_reads (a small file system can be mounted only by root)");
        return;
    };
    let app = spawn_app_on(TestDatabase::on_disk(&disk.directory).await).await;
    let created = app.post("Patient").fhir(&patient(1)).answer().await.expect(201).json();
    let path = format!("Patient/{}", created["id"].as_str().unwrap());

    let mut connection = app.connection().await;
    // What compresses well would not fill the disk.
    for statement in [
        "CREATE TABLE filler (data text)",
        "ALTER TABLE filler ALTER COLUMN data SET STORAGE EXTERNAL",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let fill = "INSERT INTO filler SELECT repeat('x', 100000) FROM generate_series(1, 10)";
    while sqlx::query(fill).execute(&mut connection).await.is_ok() {}

    // There may be room left in pages that have begun; not for long.
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        let answer = app.post("Patient").fhir(&patient(2)).answer().await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
        assert!(Instant::now() < deadline, "the disk does not fill up");
    };
    assert_eq!(refused.expect(503).json()["resourceType"], "OperationOutcome");
    once_recovered(|| app.get(&path)).await;
    once_recovered(|| app.get("Patient?family=okafor&_count=5")).await;
}

/// A file system of a few megabytes.
pub struct SmallDisk {
    pub directory: PathBuf,
}

impl SmallDisk {
    /// One of this size, as `mount` has it; `None` where it cannot be mounted.
    pub fn mount(name: &str, size: &str) -> Option<Self> {
        let directory = clusters_directory().join(format!("{}-{name}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mounted = process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "tmpfs"])
            .arg(&directory)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self { directory })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since Postgres may hold a file a moment longer.
        let _ = process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.directory)
            .status();
        let _ = fs::remove_dir(&self.directory);
    }
}
