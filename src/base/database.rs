//! The connections to Postgres.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

/// Two pools on one database, since the two kinds of statement want different plans.
///
/// They serve migrations and background work, and tell the FHIR store where to connect and how often: it keeps stacks of
/// its own, because sqlx's pool asks each connection how it is when it comes back, a round trip that every request would
/// pay.
#[derive(Clone, Debug)]
pub struct Database {
    /// For statements with one good plan, whatever the values: reads by id, jobs, and everything that writes.
    pub write: PgPool,
    /// For searches, whose best plan depends on the values: Postgres plans each anew.
    pub read: PgPool,
}

/// How many connections each pool may open.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    pub write: u32,
    pub read: u32,
}

/// How long a request waits for a free connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

impl Database {
    /// Prepares the pools. Connections are opened when they are first needed, so this does not fail and does not tell
    /// whether the database is there.
    pub fn open(options: PgConnectOptions, sizes: PoolSizes) -> Self {
        let options = options
            .application_name("medconsult")
            // A transaction whose server vanished without a word must not keep its locks.
            .options([("idle_in_transaction_session_timeout", "60s"), ("jit", "off")]);
        let pool = |size| {
            PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
        };
        Self {
            write: pool(sizes.write).connect_lazy_with(options.clone()),
            read: pool(sizes.read).connect_lazy_with(options.options([("plan_cache_mode", "force_custom_plan")])),
        }
    }

    /// A pool of its own on the same database, for work that must not take connections from requests.
    pub fn apart(&self, size: u32) -> PgPool {
        let options = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT);
        options.connect_lazy_with(self.write.connect_options().as_ref().clone())
    }

    /// Waits until every connection is back and closes it.
    pub async fn close(&self) {
        tokio::join!(self.write.close(), self.read.close());
    }
}

/// Lets Postgres look at what our tables hold, which it does by itself only after a minute. Until then it plans some
/// searches badly.
///
/// # Errors
/// When the database does not answer.
pub async fn analyze(pool: &PgPool) -> Result<(), sqlx::Error> {
    // Without names it would try every table of the system too, and warn of each that is not ours.
    const TABLES: &str = "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    let tables: Option<String> = sqlx::query_scalar(TABLES).fetch_one(pool).await?;
    let statement = format!("ANALYZE {}", tables.unwrap_or_default());
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await?;
    Ok(())
}
