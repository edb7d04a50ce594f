//! New resources of the server's own making, in a transaction that it already holds.

use serde_json::Value;
use sqlx::PgConnection;

use super::transaction::Pending;
use super::{Stop, resolve, write};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;

/// Stores new resources of one type, with their index rows, and answers them in order. What the server makes itself is
/// neither validated nor asked about; who holds the transaction commits it and then publishes `ids`.
///
/// # Errors
/// 503 when others were in the way or the search parameters have changed: the same may succeed in a new transaction.
pub async fn append(
    server: &FhirServer,
    transaction: &mut PgConnection,
    ids: &mut Ids<'_>,
    resource_type: &'static str,
    resources: Vec<Value>,
) -> Result<Vec<StoredResource>, FhirError> {
    let type_id = server.store.types().id(resource_type);
    let type_id = type_id.ok_or_else(|| FhirError::unknown_type(resource_type))?;
    let rids = server.store.new_rids(transaction, resources.len()).await?;
    let now = resolve::instant_of(server);
    let mut pending: Vec<Pending> = resources
        .into_iter()
        .zip(rids)
        .map(|(resource, rid)| {
            let id = server.ids.next().to_string();
            Pending::appended((resource_type, type_id), id, rid, now, resource)
        })
        .collect();
    for p in &pending {
        ids.set_target(p.resource_type, &p.id, p.rid);
    }
    match write::write(server, &Caller::server(), transaction, ids, &mut pending, false).await {
        Ok(stored) => Ok(stored),
        Err(Stop::Failed(error)) => Err(error.error),
        Err(Stop::Lacking(_)) => Err(FhirError::internal("what the server makes has no content")),
        Err(Stop::Crossed) => Err(FhirError::unavailable("Other changes were in the way.")),
        Err(Stop::Outdated) => {
            server.search.refresh(&server.store).await?;
            Err(FhirError::unavailable("The search parameters have changed."))
        }
    }
}
