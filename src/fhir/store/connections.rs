//! A stack of open connections.
//!
//! sqlx's own pool asks a connection whether it still lives each time it comes back, which is one more round trip for
//! each request; on a read by id that is a fifth of the whole. Here a connection is kept when its user says that it
//! finished cleanly, and closed otherwise: a cancelled request or a broken link never reaches the next user.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    options: PgConnectOptions,
    /// Each with the number of failures that were known when it last proved itself.
    idle: Mutex<Vec<(PgConnection, u64)>>,
    turns: Arc<Semaphore>,
    /// Leases that did not end cleanly. Where one connection broke, all may have: after a failure each idle one is asked
    /// once whether it still lives, so that a restart of the database fails the requests in flight and hardly any more.
    failures: AtomicU64,
}

impl Connections {
    /// As many connections, to the same database, as `pool` may have, with these settings on top of its own.
    pub fn new(pool: &PgPool, settings: &[(&str, &str)]) -> Connections {
        Connections::limited(pool, settings, pool.options().get_max_connections() as usize)
    }

    /// The same, with a number of connections of their own.
    pub fn limited(pool: &PgPool, settings: &[(&str, &str)], turns: usize) -> Connections {
        let options = PgConnectOptions::clone(&pool.connect_options())
            .options(settings.iter().copied())
            // Each kind of write has a statement of its own, depending on the families of rows that it touches.
            .statement_cache_capacity(512);
        let turns = Arc::new(Semaphore::new(turns.max(1)));
        Connections(Arc::new(Shared {
            options,
            idle: Mutex::default(),
            turns,
            failures: AtomicU64::new(0),
        }))
    }

    /// A connection for one request. Never ask for a second one while holding one: with as many requests as connections
    /// all would wait for each other.
    pub async fn lease(&self) -> Result<Lease, sqlx::Error> {
        let turn = self.0.turns.clone();
        let permit = match tokio::time::timeout(PATIENCE, turn.acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(sqlx::Error::PoolClosed),
            Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        let mut connection = None;
        while let Some((mut idle, seen)) = self.0.pop() {
            if seen == self.0.failures.load(Relaxed) || idle.ping().await.is_ok() {
                connection = Some(idle);
                break;
            }
        }
        let connection = match connection {
            Some(connection) => connection,
            None => {
                let connecting = self.0.options.connect();
                tokio::time::timeout(PATIENCE, connecting)
                    .await
                    .map_err(|_| sqlx::Error::PoolTimedOut)??
            }
        };
        let failures = self.0.failures.load(Relaxed);
        Ok(Lease {
            connection: Some(connection),
            failures,
            home: self.0.clone(),
            _permit: permit,
        })
    }
}

impl Shared {
    fn pop(&self) -> Option<(PgConnection, u64)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A connection on loan. [`Lease::release`] keeps it for the next request; dropping it closes it.
pub struct Lease {
    /// Always there until the lease ends.
    connection: Option<PgConnection>,
    failures: u64,
    home: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the connection back. Only after the last statement succeeded and outside of any transaction.
    pub fn release(mut self) {
        if let Some(connection) = self.connection.take() {
            self.home
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((connection, self.failures));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.home.failures.fetch_add(1, Relaxed);
        }
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection
            .as_ref()
            .expect("a lease holds its connection until it ends")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection
            .as_mut()
            .expect("a lease holds its connection until it ends")
    }
}
