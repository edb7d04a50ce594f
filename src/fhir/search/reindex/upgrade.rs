//! After a release with other rules of indexing, or with another base URL: what is indexed by the former ones.

use std::collections::BTreeSet;

use jiff_sqlx::ToSqlx;
use sqlx::{Connection, PgConnection};

use super::{Reason, order, populated};
use crate::fhir::error::FhirError;
use crate::fhir::search::index::INDEX_VERSION;
use crate::fhir::search::registry::change;
use crate::fhir::server::FhirServer;

/// Makes this server's rules those of the database, and orders what other ones indexed to be indexed anew. For a server at
/// its start, before its first request: workers leave the rules to the servers.
///
/// From then on servers with other rules refuse to write, since what they wrote would never be indexed by these.
///
/// # Errors
/// 503 when the database cannot be reached, or others write without a pause.
pub async fn take_charge(server: &FhirServer) -> Result<(), FhirError> {
    let mut lease = server.store.planned().await?;
    let (rules, base_url): (Option<i32>, Option<String>) =
        sqlx::query_as("SELECT rules, base_url FROM search_registry")
            .fetch_one(&mut *lease)
            .await?;
    if rules == Some(INDEX_VERSION) && base_url.as_deref() == Some(&server.settings.base_url) {
        lease.release();
        return Ok(());
    }
    let mut transaction = lease.begin().await?;
    change::take_turn(&mut transaction).await?;
    change::wait_for_writers(&mut transaction).await?;
    change::raise_generation(&mut transaction).await?;
    sqlx::query("UPDATE search_registry SET rules = $1, base_url = $2")
        .bind(INDEX_VERSION)
        .bind(&server.settings.base_url)
        .execute(&mut *transaction)
        .await?;
    let stale = stale_types(server, &mut transaction, rules.is_some()).await?;
    let now = server.clock.now();
    sqlx::query("UPDATE reindex SET cancelled = true, finished_at = $1 WHERE finished_at IS NULL AND mark IS NOT NULL")
        .bind(now.to_sqlx())
        .execute(&mut *transaction)
        .await?;
    if !stale.is_empty() {
        let mark = Some(server.index_version);
        let run = order(&mut transaction, now, Reason::Upgrade, &stale, None, mark).await?;
        let types: Vec<i16> = stale.into_iter().collect();
        sqlx::query("UPDATE search_parameter SET reindex = $1 WHERE NOT dropped AND type = ANY($2)")
            .bind(run)
            .bind(types)
            .execute(&mut *transaction)
            .await?;
        tracing::info!(
            run,
            "indexing all resources anew, since the rules or the base URL have changed"
        );
    }
    transaction.commit().await?;
    lease.release();
    server.search.refresh(&server.store).await
}

/// The types with resources that other rules indexed. Where the rules are known to have changed that is every type with
/// resources; a database from before they were written down is looked through once.
async fn stale_types(
    server: &FhirServer,
    transaction: &mut PgConnection,
    changed: bool,
) -> Result<BTreeSet<i16>, FhirError> {
    const LOOK: &str = "SELECT DISTINCT type FROM resource WHERE NOT deleted AND index_version <> $1";
    let definitions = server.definitions;
    let all = definitions
        .resource_types()
        .filter_map(|ty| server.store.types().id(&ty.name))
        .collect();
    if changed {
        return populated(transaction, &all).await;
    }
    let stale: Vec<i16> = sqlx::query_scalar(LOOK)
        .bind(server.index_version)
        .fetch_all(transaction)
        .await?;
    Ok(stale.into_iter().collect())
}
