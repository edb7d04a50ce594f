//! The trail: a record of everything that is done, and of what was refused.
//!
//! What changes something is recorded in its own transaction ([`Trail::write`]; a commit does so by itself). What only
//! looks is recorded before it is answered ([`Trail::note`]): an answer that cannot be recorded is not given. Either way a
//! short row is stored, which the room `audit` makes an AuditEvent of moments later.
//!
//! Rows carry a code that only the server can make, so that nobody adds or changes one with the database alone.

mod event;
mod interaction;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::sync::{Notify, oneshot};

pub use self::event::{Ending, Event, Kind, Origin, Shown, Who};
use super::error::{FhirError, Result};
use super::store::Connections;
use crate::base::crypto::same_digest;
use crate::base::{Clock, Database};

const STORE: &str =
    "INSERT INTO audit_pending (event, mac) SELECT event, mac FROM unnest($1::text[], $2::bytea[]) AS new (event, mac)";

/// How often a row is tried again whose connection broke.
const ATTEMPTS: usize = 2;

/// Where records go; without a key, nowhere.
#[derive(Clone)]
pub struct Trail(Option<Arc<Inner>>);

struct Inner {
    key: Key,
    clock: Clock,
    connections: Connections,
    waiting: Mutex<Waiting>,
    /// Wakes who makes AuditEvents.
    news: Notify,
}

/// Records on their way into the next statement.
#[derive(Default)]
struct Waiting {
    rows: Rows,
    stored: Vec<oneshot::Sender<bool>>,
    /// Whether somebody is storing what was there before.
    is_busy: bool,
}

/// Rows of `audit_pending`, a Vec per column.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) event: Vec<String>,
    pub(super) mac: Vec<Vec<u8>>,
}

impl Rows {
    fn append(&mut self, mut other: Rows) {
        self.event.append(&mut other.event);
        self.mac.append(&mut other.mac);
    }
}

/// The secret by which the server knows its own records.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// A key of 32 secret bytes.
    pub fn new(bytes: &[u8]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// HMAC-SHA256 of `parts`, each with its length, for one purpose.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [purpose.as_bytes()].iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// An event as its row holds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// Microseconds since 1970.
    pub at: i64,
    pub event: Event,
}

#[derive(Serialize)]
struct Recording<'e> {
    at: i64,
    event: &'e Event,
}

impl Trail {
    /// Records nothing.
    pub fn off() -> Trail {
        Trail(None)
    }

    /// Records under this key.
    pub fn new(database: &Database, clock: Clock, key: Key) -> Trail {
        // One connection, so that a row waits for no request; what comes while it is busy shares its next statement.
        let connections = Connections::limited(&database.write, &[("plan_cache_mode", "force_generic_plan")], 1);
        Trail(Some(Arc::new(Inner {
            key,
            clock,
            connections,
            waiting: Mutex::default(),
            news: Notify::new(),
        })))
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The key of the rows, and of the chain of AuditEvents.
    pub fn key(&self) -> Option<&Key> {
        self.0.as_deref().map(|inner| &inner.key)
    }

    /// Records events in the caller's transaction.
    ///
    /// # Errors
    /// 503 when the database cannot store them: the transaction is lost then, with what they tell.
    pub async fn write(&self, connection: &mut PgConnection, events: &[Event]) -> Result<()> {
        let Some(rows) = self.rows(events) else { return Ok(()) };
        sqlx::query(STORE)
            .bind(&rows.event)
            .bind(&rows.mac)
            .execute(connection)
            .await?;
        self.announce();
        Ok(())
    }

    /// Records an event, and returns when it is stored for good. Those that come at the same time share a statement and a
    /// commit.
    ///
    /// # Errors
    /// 503 when it cannot be stored: what it tells must then not be answered.
    pub async fn note(&self, event: Event) -> Result<()> {
        self.note_all(&[event]).await
    }

    /// The same, for several.
    ///
    /// # Errors
    /// As for [`Trail::note`].
    pub async fn note_all(&self, events: &[Event]) -> Result<()> {
        let (Some(inner), Some(rows)) = (&self.0, self.rows(events)) else {
            return Ok(());
        };
        let (stored, told) = oneshot::channel();
        let begins = {
            let mut waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.rows.append(rows);
            waiting.stored.push(stored);
            !std::mem::replace(&mut waiting.is_busy, true)
        };
        if begins {
            // On a task of its own: the request that happens to begin may be cancelled, and others wait for it.
            tokio::spawn(store_what_waits(inner.clone()));
        }
        match told.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(FhirError::unavailable(
                "What was asked for cannot be recorded now, and is therefore not answered. Try again.",
            )),
        }
    }

    /// The rows of events; `None` where there is nothing to store.
    pub(super) fn rows(&self, events: &[Event]) -> Option<Rows> {
        let inner = self.0.as_deref().filter(|_| !events.is_empty())?;
        let at = inner.clock.now().as_microsecond();
        let mut rows = Rows::default();
        for event in events {
            // Texts, numbers and names: nothing that JSON could not hold.
            let text = serde_json::to_string(&Recording { at, event }).unwrap_or_default();
            rows.mac.push(inner.key.sign(PENDING, &[text.as_bytes()]));
            rows.event.push(text);
        }
        Some(rows)
    }

    /// Whether the row was made by a server with this key.
    pub fn is_genuine(&self, event: &str, mac: &[u8]) -> bool {
        self.key().is_some_and(|key| is_genuine(key, event, mac))
    }

    /// Says that rows are on their way, for who waits in [`Trail::news`].
    pub(super) fn announce(&self) {
        if let Some(inner) = &self.0 {
            inner.news.notify_one();
        }
    }

    /// Returns once something was recorded by this server since the last call; never, if nothing is.
    pub async fn news(&self) {
        match &self.0 {
            Some(inner) => inner.news.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// The purpose of the codes of rows, apart from those of the chain.
const PENDING: &str = "pending";

/// Whether a row was made under this key.
pub fn is_genuine(key: &Key, event: &str, mac: &[u8]) -> bool {
    same_digest(&key.sign(PENDING, &[event.as_bytes()]), mac)
}

/// Stores everything that waits, until nothing does.
async fn store_what_waits(inner: Arc<Inner>) {
    loop {
        let (rows, told) = {
            let mut waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.stored.is_empty() {
                waiting.is_busy = false;
                return;
            }
            (std::mem::take(&mut waiting.rows), std::mem::take(&mut waiting.stored))
        };
        let stored = store(&inner.connections, &rows).await;
        if let Err(error) = &stored {
            tracing::error!(%error, rows = rows.event.len(), "records of the trail cannot be stored");
        }
        for told in told {
            // Who no longer waits got no answer either.
            let _ = told.send(stored.is_ok());
        }
        inner.news.notify_one();
    }
}

async fn store(connections: &Connections, rows: &Rows) -> Result<(), sqlx::Error> {
    let mut last = Err(sqlx::Error::PoolClosed);
    for _ in 0..ATTEMPTS {
        last = store_once(connections, rows).await;
        match &last {
            // Should the row be there all the same, it is there twice: that harms nobody.
            Err(sqlx::Error::Io(_)) => {}
            _ => break,
        }
    }
    last
}

async fn store_once(connections: &Connections, rows: &Rows) -> Result<(), sqlx::Error> {
    let mut lease = connections.lease().await?;
    sqlx::query(STORE)
        .bind(&rows.event)
        .bind(&rows.mac)
        .execute(&mut *lease)
        .await?;
    lease.release();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_happened_and_no_more() {
        let event = Event::new(Kind::Login)
            .account("a", "Patient/7")
            .detail("factor", "app");
        let event = event.showing([(7, 2)]);
        let text = serde_json::to_string(&Recording { at: 5, event: &event }).unwrap();
        assert_eq!(
            text,
            r#"{"at":5,"event":{"kind":"Login","who":{"account":"a","user":"Patient/7"},"shown":[[7,2]],"details":[["factor","app"]]}}"#
        );
        let read: Recorded = serde_json::from_str(&text).unwrap();
        assert_eq!((read.at, read.event), (5, event));
    }

    #[test]
    fn codes_tell_keys_purposes_and_parts_apart() {
        let key = Key::new(&[1; 32]);
        let code = key.sign("pending", &[b"ab", b"c"]);
        assert_eq!(code, key.sign("pending", &[b"ab", b"c"]));
        assert_ne!(code, key.sign("pending", &[b"a", b"bc"]));
        assert_ne!(code, key.sign("link", &[b"ab", b"c"]));
        assert_ne!(code, Key::new(&[2; 32]).sign("pending", &[b"ab", b"c"]));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
