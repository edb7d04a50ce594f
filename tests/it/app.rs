//! The harness: a real server with a database of its own for every test.
//!
//! One private Postgres serves the whole test process. It is started by the first test, with a template database that has
//! been migrated once; each test gets a copy, which takes some milliseconds, and may therefore run beside all others. A
//! watchdog stops this Postgres when the test process ends, in whatever way it ends.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::{env, fs, process, thread};

use medconsult::app::{App, migrate};
use medconsult::base::database::PoolSizes;
use medconsult::base::postgres::{Cluster, ClusterOptions, Durability};
use medconsult::base::{Clock, Database, IdGenerator};
use medconsult::config::Config;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The Postgres of this test process.
struct TestCluster {
    cluster: Cluster,
    /// The cluster's watch and the template's connections live on this runtime: those of the tests end with their tests.
    _runtime: Runtime,
}

static CLUSTER: LazyLock<TestCluster> = LazyLock::new(|| {
    // Tests are themselves inside a runtime, where another may not block.
    thread::spawn(start_cluster)
        .join()
        .expect("the private Postgres of the tests starts")
});

/// What seals the keys of objects.
pub const MASTER_KEY: &str = "bm90IGEgc2VjcmV0IGF0IGFsbDogaXQgaXMgYSB0ZXM=";

const TEMPLATE: &str = "template_of_tests";

fn start_cluster() -> TestCluster {
    let parent = clusters_directory();
    remove_old_clusters(&parent);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let cluster = runtime.block_on(async {
        let data_dir = parent.join(process::id().to_string());
        let options = ClusterOptions {
            data_dir: data_dir.clone(),
            programs: None,
            durability: Durability::Throwaway,
        };
        let cluster = Cluster::start(&options).await.expect("a private Postgres");
        stop_with_this_process(&data_dir);
        administer(&cluster, &format!("CREATE DATABASE {TEMPLATE} OWNER medconsult")).await;
        let sizes = PoolSizes { write: 2, read: 1 };
        let template = Database::open(cluster.connect_options().database(TEMPLATE), sizes);
        migrate(&template.write).await.expect("the migrations run");
        template.close().await;
        cluster
    });
    TestCluster {
        cluster,
        _runtime: runtime,
    }
}

/// Not below the repository: the account that runs Postgres when the tests run as root may not be let in there.
pub fn clusters_directory() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let directory = env::temp_dir().join(format!("medconsult-tests-{user}"));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A process that cannot be caught (`kill -9`, a crash of the machine) may have left its directory.
fn remove_old_clusters(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        // Directories are called after their process, perhaps with a suffix.
        let name = entry.file_name().to_string_lossy().into_owned();
        let alive = Path::new("/proc")
            .join(name.split('-').next().unwrap_or_default())
            .exists();
        if cfg!(target_os = "linux") && !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Starts a shell that waits for the end of this process (whose end of the pipe is closed by then, whatever happened),
/// kills the Postgres and removes its files.
#[expect(clippy::zombie_processes, reason = "the watchdog outlives this process")]
pub fn stop_with_this_process(data_dir: &Path) {
    let script = r#"read -r _
        if read -r pid < "$0/postgres/postmaster.pid"; then
            kill -QUIT "$pid"
            while [ -e "/proc/$pid" ]; do sleep 0.05; done
        fi
        rm -rf "$0""#;
    let mut watchdog = Command::new("sh")
        .args(["-c", script])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut pipe = watchdog.stdin.take().unwrap();
    pipe.flush().unwrap();
    std::mem::forget(pipe); // open for as long as this process lives
}

async fn administer(cluster: &Cluster, statement: &str) {
    let mut connection = cluster.administrator_options().connect().await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

/// A server of a test's own, and the client that talks to it.
pub struct TestApp {
    /// `http://127.0.0.1:<port>`
    pub address: String,
    /// `http://127.0.0.1:<port>/fhir`
    pub base: String,
    pub client: Client,
    pub app: Arc<App>,
    database: Arc<TestDatabase>,
    stop: watch::Sender<bool>,
}

/// Starts a server with the default settings.
pub async fn spawn_app() -> TestApp {
    spawn_app_with(|_| {}).await
}

/// Starts a server with other settings than the default ones.
pub async fn spawn_app_with(change: impl FnOnce(&mut Config)) -> TestApp {
    spawn(Arc::new(TestDatabase::new().await), change).await
}

/// Starts a server on a database that the test has prepared.
pub async fn spawn_app_on(database: TestDatabase) -> TestApp {
    spawn(Arc::new(database), |_| {}).await
}

async fn spawn(database: Arc<TestDatabase>, change: impl FnOnce(&mut Config)) -> TestApp {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config {
        listen: listener.local_addr().unwrap(),
        ..Config::default()
    };
    config.database.write_connections = 8;
    config.database.read_connections = 4;
    config.objects.folder = database.objects();
    config.identity.master_key = MASTER_KEY.to_owned().into();
    // Tests count what is there; those of search parameters turn it on.
    config.fhir.profiles = false;
    // Whether somebody has built the apps must not change what tests find.
    config.apps.folder = "/nonexistent".into();
    config.mail.events = false;
    change(&mut config);
    let sizes = PoolSizes {
        write: config.database.write_connections,
        read: config.database.read_connections,
    };
    let pools = Database::open(database.options(), sizes);
    let app = App::build(config, pools, Clock::system(), IdGenerator::random())
        .await
        .expect("the server is put together");
    app.prepare().await.expect("the server is prepared");
    let (stop, stopped) = watch::channel(false);
    let address = format!("http://{}", app.config.listen);
    let tls = medconsult::app::tls(&app.config).expect("the certificate can be used");
    tokio::spawn(app.clone().serve(listener, tls, stopped));
    let client = Client::builder().no_proxy().build().unwrap();
    let base = app.config.fhir_base();
    TestApp {
        address,
        base,
        client,
        app,
        database,
        stop,
    }
}

impl TestApp {
    /// Starts another server on the same database.
    pub async fn beside(&self) -> TestApp {
        self.beside_with(|_| {}).await
    }

    /// Starts another server on the same database, with other settings than the default ones.
    pub async fn beside_with(&self, change: impl FnOnce(&mut Config)) -> TestApp {
        spawn(self.database.clone(), change).await
    }

    /// A request for `path`: one that starts with `/` is from the root of the server, any other from the FHIR base.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http://") {
            path.to_owned()
        } else if path.starts_with('/') {
            format!("{}{path}", self.address)
        } else {
            format!("{}/{path}", self.base)
        };
        self.client.request(method, url)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// All files of this server's database and of the journal that it shares with others, after everything was written to them.
    pub async fn files_of_database(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        const OID: &str = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
        administer(&CLUSTER.cluster, "CHECKPOINT").await;
        let oid: String = sqlx::query_scalar(OID)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap();
        let files = |folder: &str| {
            let folder = clusters_directory()
                .join(process::id().to_string())
                .join("postgres")
                .join(folder);
            let entries = fs::read_dir(folder).unwrap().flatten();
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_file())
                .collect()
        };
        (files(&format!("base/{oid}")), files("pg_wal"))
    }

    /// A connection to this server's database, for looking behind the curtain.
    pub async fn connection(&self) -> PgConnection {
        self.database.options().connect().await.unwrap()
    }
}

impl Drop for TestApp {
    /// Stops the server, and fails the test if it leaves a job that nobody ran: a test that causes a job runs it, by a
    /// worker of its own ([`App::worker`]).
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if !thread::panicking() {
            let left = self.database.leftover_jobs();
            assert!(left.is_empty(), "jobs were left over: {left:?}");
        }
    }
}

/// What tests do with a request.
pub trait Ask {
    /// Gives the request a FHIR resource as its body.
    fn fhir(self, resource: &Value) -> Self;

    /// Sends the request and reads the answer to its end.
    fn answer(self) -> impl Future<Output = Answer>;
}

impl Ask for RequestBuilder {
    fn fhir(self, resource: &Value) -> Self {
        self.header("content-type", "application/fhir+json")
            .body(resource.to_string())
    }

    async fn answer(self) -> Answer {
        let response = self.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            bytes: response.bytes().await.expect("the answer is complete"),
        }
    }
}

/// An answer of the server, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: bytes::Bytes,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A header, or the empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails the test, showing the body, unless the status is the expected one; gives the answer back.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

/// A migrated, empty database, dropped with this value.
pub struct TestDatabase {
    name: String,
}

static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

impl TestDatabase {
    pub async fn new() -> Self {
        Self::copy_of_the_template("").await
    }

    /// A database without anything in it.
    pub async fn empty() -> Self {
        let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        administer(&CLUSTER.cluster, &format!("CREATE DATABASE {name} OWNER medconsult")).await;
        Self { name }
    }

    /// A database whose files are in `directory`, which must be on a disk of its own and writable by everybody.
    pub async fn on_disk(directory: &Path) -> Self {
        let tablespace = format!("disk_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        let files = directory.join("files");
        fs::create_dir(&files).unwrap();
        let owner = CLUSTER
            .cluster
            .postmaster()
            .map(|pid| fs::metadata(format!("/proc/{pid}")).unwrap())
            .unwrap();
        std::os::unix::fs::chown(&files, Some(owner.uid()), Some(owner.gid())).unwrap();
        let statement = format!("CREATE TABLESPACE {tablespace} LOCATION '{}'", files.display());
        administer(&CLUSTER.cluster, &statement).await;
        Self::copy_of_the_template(&format!("TABLESPACE {tablespace}")).await
    }

    async fn copy_of_the_template(options: &str) -> Self {
        let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        let statement = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER medconsult {options}");
        // The first access starts the cluster, which takes a second or two of this test's time.
        administer(&CLUSTER.cluster, &statement).await;
        Self { name }
    }

    pub fn options(&self) -> PgConnectOptions {
        CLUSTER.cluster.connect_options().database(&self.name)
    }

    /// The folder of what belongs to this database and does not lie in it; removed with the Postgres of the tests.
    pub fn objects(&self) -> PathBuf {
        clusters_directory()
            .join(process::id().to_string())
            .join("objects")
            .join(&self.name)
    }

    fn leftover_jobs(&self) -> Vec<String> {
        let options = self.options();
        in_own_runtime(async move {
            let mut connection = options.connect().await.unwrap();
            let left = sqlx::query_scalar("SELECT kind FROM job ORDER BY id")
                .fetch_all(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            left
        })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        in_own_runtime(async move {
            let mut connection = CLUSTER.cluster.administrator_options().connect().await.unwrap();
            // While another test fills a disk, PostgreSQL can make no checkpoint, which this needs. What then stays goes with
            // the cluster.
            let _ = connection.execute(sqlx::AssertSqlSafe(statement)).await;
            connection.close().await.unwrap();
        });
    }
}

/// Runs asynchronous work from a `drop`, which is inside the test's runtime but cannot wait in it.
fn in_own_runtime<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    };
    thread::spawn(runtime).join().expect("the work succeeds")
}
