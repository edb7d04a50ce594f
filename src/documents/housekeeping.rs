//! What is done with the clock: objects that nobody needs are removed, and addresses whose time is over; content from before there
//! were objects is moved into them.

use std::sync::Arc;

use jiff_sqlx::ToSqlx;

use crate::fhir::error::FhirError;
use crate::fhir::gather;
use crate::fhir::server::FhirServer;
use crate::jobs::{JobError, Registry};

const JOB: &str = "documents.clean";
/// At half past each hour.
const SCHEDULE: &str = "30 * * * *";

/// Adds the job of this file.
///
/// # Errors
/// None in practice: the pattern of the schedule is fixed.
pub fn register(registry: Registry, server: &Arc<FhirServer>) -> anyhow::Result<Registry> {
    let server = server.clone();
    let registry = registry.on(JOB, move |_| {
        let server = server.clone();
        async move { clean(&server).await.map_err(|error| JobError::Retry(error.to_string())) }
    });
    Ok(registry.every(SCHEDULE, JOB)?)
}

async fn clean(server: &FhirServer) -> Result<(), FhirError> {
    let mut lease = server.store.fixed().await?;
    sqlx::query("DELETE FROM presigned_url WHERE expires_at < $1")
        .bind(server.clock.now().to_sqlx())
        .execute(&mut *lease)
        .await?;
    lease.release();
    let gathered = gather::gather(server).await?;
    if gathered > 0 {
        tracing::info!(gathered, "moved content out of the database");
    }
    let removed = server.objects.collect().await?;
    if removed > 0 {
        tracing::info!(removed, "removed objects that nobody needs");
    }
    Ok(())
}
