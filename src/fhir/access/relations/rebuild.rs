//! Ties for resources that were there before: after a release that reads them otherwise, or policies with other terms.

use serde_json::Value;
use sqlx::Connection;

use super::RULES;
use crate::fhir::access::policy::Terms;
use crate::fhir::commit::{Anew, reindex};
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;

/// Resources of a batch, which commits by itself.
const BATCH: i64 = 500;

/// Makes the ties of all resources anew, unless those that are there were made by the same rules. For a server at its start,
/// before its first request: until it is done, what a patient refuses might be shown. Of several that start together, one
/// works and the others wait.
///
/// # Errors
/// 503 when the database cannot be reached.
pub async fn take_charge(server: &FhirServer) -> Result<(), FhirError> {
    let FhirServer { settings, .. } = server;
    let rules = format!(
        "{RULES}; {}; {}",
        settings.policies.terms.fingerprint(),
        settings.base_url
    );
    let mut lease = server.store.fixed().await?;
    let mut turn = lease.begin().await?;
    let known: String = sqlx::query_scalar("SELECT rules FROM care_rules FOR UPDATE")
        .fetch_one(&mut *turn)
        .await?;
    if known != rules {
        let mut count = 0;
        for resource_type in Terms::TYPES {
            count += walk(server, resource_type).await?;
        }
        sqlx::query("UPDATE care_rules SET rules = $1")
            .bind(&rules)
            .execute(&mut *turn)
            .await?;
        if count > 0 {
            tracing::info!(count, "read anew who cares for whom");
        }
    }
    turn.commit().await?;
    lease.release();
    Ok(())
}

/// All resources of a type, batch by batch in order of rid. Answers how many.
async fn walk(server: &FhirServer, resource_type: &'static str) -> Result<usize, FhirError> {
    let (mut after, mut count) = (0, 0);
    loop {
        match batch(server, resource_type, after).await? {
            Step::Ended => return Ok(count),
            Step::Outdated => server.search.refresh(&server.store).await?,
            Step::Done { last, resources } => {
                after = last;
                count += resources;
            }
        }
    }
}

enum Step {
    Done {
        last: i64,
        resources: usize,
    },
    /// The search parameters have changed: nothing was done.
    Outdated,
    Ended,
}

async fn batch(server: &FhirServer, resource_type: &'static str, after: i64) -> Result<Step, FhirError> {
    const NEXT: &str = "SELECT rid, coalesce(exact, content::text) FROM resource \
         WHERE type = $1 AND NOT deleted AND rid > $2 ORDER BY rid LIMIT $3 FOR NO KEY UPDATE";
    let mut lease = server.store.fixed().await?;
    let mut ids = Ids::new(&server.store);
    let mut transaction = lease.begin().await?;
    let texts: Vec<(i64, String)> = sqlx::query_as(NEXT)
        .bind(server.store.types().id(resource_type))
        .bind(after)
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
    let Some(&(last, _)) = texts.last() else {
        transaction.rollback().await?;
        lease.release();
        return Ok(Step::Ended);
    };
    let parse = |(rid, text): &(i64, String)| Some((*rid, serde_json::from_str(text).ok()?));
    let resources: Option<Vec<(i64, Value)>> = texts.iter().map(parse).collect();
    let resources = resources.ok_or_else(|| FhirError::internal("stored content is not JSON"))?;
    let registry = server.search.current();
    let resources = (resource_type, resources.as_slice());
    if !reindex(server, &registry, &mut transaction, &mut ids, resources, Anew::Ties).await? {
        transaction.rollback().await?;
        lease.release();
        return Ok(Step::Outdated);
    }
    transaction.commit().await?;
    lease.release();
    ids.publish();
    Ok(Step::Done {
        last,
        resources: resources.1.len(),
    })
}
