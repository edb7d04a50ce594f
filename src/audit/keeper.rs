//! Who makes AuditEvents of records while a server runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::anchor::{Anchor, AnchorFile};
use super::chain;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// How long records gather before they are made AuditEvents of: many at once are cheaper than one by one.
const GATHERING: Duration = Duration::from_secs(1);

/// How often a look is taken without news: at what other servers left behind.
const LOOK: Duration = Duration::from_secs(10);

/// Makes AuditEvents of the records of all servers on a database. Each server has one; they take turns.
pub struct Keeper {
    server: Arc<FhirServer>,
    file: AnchorFile,
    anchor: Mutex<Option<Anchor>>,
}

impl Keeper {
    /// # Errors
    /// When the file with the anchor cannot be read: it must not be replaced as if there were none.
    pub fn new(server: Arc<FhirServer>, file: AnchorFile) -> anyhow::Result<Keeper> {
        let anchor = file.read()?.map(Anchor::from);
        Ok(Keeper {
            server,
            file,
            anchor: Mutex::new(anchor),
        })
    }

    /// Works until `stop` becomes true. What is left then waits for the next start.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        if !self.server.trail.is_on() {
            return;
        }
        let work = async {
            loop {
                if let Err(error) = self.settle().await {
                    tracing::warn!(%error, "AuditEvents cannot be made now; the records wait");
                    sleep(LOOK).await;
                    continue;
                }
                // Whether there is news or not, what to do next is the same.
                let _ = timeout(LOOK, self.server.trail.news()).await;
                sleep(GATHERING).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Makes AuditEvents of all records that were stored when it was called.
    ///
    /// # Errors
    /// 503 when the database cannot do it now.
    pub async fn settle(&self) -> Result<(), FhirError> {
        let Some(key) = self.server.trail.key() else {
            return Ok(());
        };
        let mut anchor = self.anchor.lock().await;
        loop {
            let linked = chain::link(&self.server, key, anchor.as_ref()).await?;
            match &mut *anchor {
                Some(anchor) if !linked.is_whole => {
                    if !anchor.is_known_broken {
                        tracing::error!(
                            seq = anchor.head.seq,
                            "AuditEvents are missing at the end of the trail: see `medconsult audit verify`"
                        );
                    }
                    anchor.is_known_broken = true;
                }
                anchor if linked.head.seq > 0 && anchor.as_ref().is_none_or(|anchor| anchor.head != linked.head) => {
                    if let Err(error) = self.file.write(&linked.head) {
                        tracing::warn!(%error, "the anchor of the audit trail cannot be written");
                    }
                    *anchor = Some(linked.head.into());
                }
                _ => {}
            }
            if !linked.is_full {
                return Ok(());
            }
        }
    }
}
