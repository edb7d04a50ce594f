//! The FHIR server without HTTP, for tests of what lies below it.

use std::sync::Arc;
use std::time::Duration;

use medconsult::base::clock::ManualClock;
use medconsult::base::crypto::Vault;
use medconsult::base::database::PoolSizes;
use medconsult::base::objects::{Objects, Place};
use medconsult::base::{Clock, Database, IdGenerator};
use medconsult::fhir::access::policy::Policies;
use medconsult::fhir::hooks::Hooks;
use medconsult::fhir::server::{FhirServer, FhirSettings};
use sqlx::postgres::PgConnectOptions;

use crate::app::{MASTER_KEY, TestDatabase};

/// A server without HTTP on a database of its own.
pub struct Bench {
    pub server: Arc<FhirServer>,
    pub clock: ManualClock,
    pub database: TestDatabase,
}

pub async fn bench() -> Bench {
    bench_with(Hooks::default()).await
}

pub async fn bench_with(hooks: Hooks) -> Bench {
    let database = TestDatabase::new().await;
    bench_through(database.options(), database, hooks).await
}

/// A server that reaches its database in a way of the test's own.
pub async fn bench_through(options: PgConnectOptions, database: TestDatabase, hooks: Hooks) -> Bench {
    let pools = Database::open(options, PoolSizes { write: 16, read: 8 });
    let (clock, hand) = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    let server = FhirServer::open(
        &pools,
        objects(&database, &pools, &clock),
        settings(Policies::default()),
        hooks,
        clock,
        IdGenerator::random(),
    )
    .await
    .unwrap();
    Bench {
        server: Arc::new(server),
        clock: hand,
        database,
    }
}

fn objects(database: &TestDatabase, pools: &Database, clock: &Clock) -> Objects {
    let vault = Vault::new(MASTER_KEY).unwrap();
    Objects::open(
        &Place::Folder(database.objects()),
        pools.write.clone(),
        vault,
        clock.clone(),
    )
    .unwrap()
}

fn settings(policies: Policies) -> FhirSettings {
    FhirSettings {
        base_url: "http://localhost/fhir".to_owned(),
        max_body_bytes: 1 << 20,
        max_content_bytes: 1 << 20,
        default_count: 20,
        max_count: 1000,
        max_counted: 1_000_000,
        search_timeout: Duration::from_secs(30),
        cors: false,
        body_timeout: Duration::from_secs(30),
        full_text: true,
        policies: Arc::new(policies),
        oauth: None,
        provenance: true,
        trail: None,
    }
}

impl Bench {
    /// Another server on the same database and clock, with other policies.
    pub async fn under(&self, policies: Policies, hooks: Hooks) -> Arc<FhirServer> {
        let pools = Database::open(self.database.options(), PoolSizes { write: 4, read: 4 });
        let clock = self.server.clock.clone();
        let objects = objects(&self.database, &pools, &clock);
        let server = FhirServer::open(&pools, objects, settings(policies), hooks, clock, IdGenerator::random()).await;
        Arc::new(server.unwrap())
    }
}
