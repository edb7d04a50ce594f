//! Searches are read with the search parameters of a server, and these are in a database: so there is one.

#![no_main]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use medconsult::app::{App, migrate};
use medconsult::base::database::PoolSizes;
use medconsult::base::postgres::{Cluster, ClusterOptions, Durability};
use medconsult::base::{Clock, Database, IdGenerator};
use medconsult::config::Config;
use medconsult::fhir::server::FhirServer;
use tokio::runtime::Runtime;

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each program runs one of the targets")]
mod targets;

/// A server, with what must live as long as it.
struct Fixture {
    server: std::sync::Arc<FhirServer>,
    _cluster: Cluster,
    _runtime: Runtime,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let (server, cluster) = runtime.block_on(async {
        let data_dir = std::env::temp_dir().join(format!("medconsult-fuzz-{}", std::process::id()));
        let options = ClusterOptions {
            data_dir: data_dir.clone(),
            programs: None,
            durability: Durability::Throwaway,
        };
        let cluster = Cluster::start(&options).await.expect("a private Postgres");
        stop_with_this_process(data_dir);
        let database = Database::open(cluster.connect_options(), PoolSizes { write: 2, read: 2 });
        migrate(&database.write).await.expect("the migrations run");
        let app = App::build(Config::default(), database, Clock::system(), IdGenerator::random());
        (app.await.expect("a server").fhir.clone(), cluster)
    });
    Fixture {
        server,
        _cluster: cluster,
        _runtime: runtime,
    }
});

/// The fuzzer ends its process without a word; a shell that sees its pipe close ends the Postgres.
fn stop_with_this_process(data_dir: PathBuf) {
    let script = r#"read -r _; read -r pid < "$0/postgres/postmaster.pid" && kill -QUIT "$pid"; rm -rf "$0""#;
    let watchdog = Command::new("sh")
        .args(["-c", script])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    std::mem::forget(watchdog);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::searches(&FIXTURE.server, data));
