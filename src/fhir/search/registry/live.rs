//! The registry that is valid now, for a server that runs.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Mutex, watch};

use super::SearchRegistry;
use super::load::{self, Basis};
use crate::fhir::error::FhirError;
use crate::fhir::store::Store;
use crate::knowledge::definitions::Definitions;

/// The channel on which servers hear that the registry changed.
pub const CHANNEL: &str = "medconsult_search_registry";

/// How long to wait before listening again, after the connection broke.
const PAUSE: Duration = Duration::from_secs(1);

/// Holds the registry of the moment.
pub struct LiveRegistry {
    basis: Basis,
    current: RwLock<Arc<SearchRegistry>>,
    /// Held while reading anew: of many that find the registry out of date, one reads it.
    reading: Mutex<()>,
}

impl LiveRegistry {
    /// Reads the registry, numbering in the database what of R4 has no number yet.
    ///
    /// `base_url` is the FHIR base of this server without a slash at its end: absolute references below it are local.
    ///
    /// # Errors
    /// 503 when the database cannot be reached or may not be written although parameters lack their numbers.
    pub async fn open(
        store: &Store,
        definitions: &'static Definitions,
        base_url: &str,
    ) -> Result<LiveRegistry, FhirError> {
        let basis = Basis::new(store.types(), definitions, base_url);
        load::number(store, &basis).await?;
        let mut lease = store.planned().await?;
        let registry = SearchRegistry::read(&mut lease, store.types(), &basis, None).await?;
        lease.release();
        Ok(LiveRegistry {
            basis,
            current: RwLock::new(Arc::new(registry)),
            reading: Mutex::default(),
        })
    }

    /// The registry as this server knows it at this moment.
    pub fn current(&self) -> Arc<SearchRegistry> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the registry again if it changed since.
    ///
    /// # Errors
    /// 503 when the database cannot be reached, or when a release with other rules of indexing has taken it over.
    pub async fn refresh(&self, store: &Store) -> Result<(), FhirError> {
        let _turn = self.reading.lock().await;
        let current = self.current();
        let mut lease = store.planned().await?;
        let generation: i64 = sqlx::query_scalar("SELECT generation FROM search_registry")
            .fetch_one(&mut *lease)
            .await?;
        if generation != current.generation {
            let registry = SearchRegistry::read(&mut lease, store.types(), &self.basis, Some(&current)).await?;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
        }
        lease.release();
        Ok(())
    }

    /// Follows the changes that other servers make, until `stop` becomes true.
    ///
    /// What is missed while the connection is broken does no harm: a write by an outdated registry is refused, and a
    /// search by a parameter that may change looks afterwards whether it did.
    pub async fn follow(&self, store: &Store, pool: &PgPool, mut stop: watch::Receiver<bool>) {
        let following = async {
            loop {
                if let Ok(mut listener) = PgListener::connect_with(pool).await
                    && listener.listen(CHANNEL).await.is_ok()
                {
                    // What came between the last look and this connection, then whatever comes.
                    loop {
                        let _ = self.refresh(store).await;
                        if listener.recv().await.is_err() {
                            break;
                        }
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = following => {}
        }
    }
}
