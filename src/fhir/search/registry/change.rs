//! Changing the registry in the database. Whoever does takes these steps in this order.

use sqlx::PgConnection;

use super::live::CHANNEL;
use crate::fhir::error::FhirError;

/// The advisory lock of those who change the registry. The locks on criteria are 64-bit hashes; this is out of a space of
/// its own, that of two 32-bit keys.
const TURN: (i32, i32) = (0x5eac, 1);

/// Waits until no other transaction is changing the registry, and keeps others waiting until this one ends.
pub async fn take_turn(transaction: &mut PgConnection) -> Result<(), FhirError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(TURN.0)
        .bind(TURN.1)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Waits until every transaction that has written resources has ended, and keeps others from writing until this one ends.
/// Reads and searches go on.
///
/// # Errors
/// 503 when some write takes longer than a few seconds: those behind must not wait any longer.
pub async fn wait_for_writers(transaction: &mut PgConnection) -> Result<(), FhirError> {
    // Longer than the second after which Postgres makes an automatic vacuum give way.
    sqlx::query("SET LOCAL lock_timeout = '5s'")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("LOCK TABLE resource IN SHARE ROW EXCLUSIVE MODE")
        .execute(transaction)
        .await?;
    Ok(())
}

/// Makes the registry a new one: servers hear of it when the transaction commits.
pub async fn raise_generation(transaction: &mut PgConnection) -> Result<i64, FhirError> {
    let generation: i64 =
        sqlx::query_scalar("UPDATE search_registry SET generation = generation + 1 RETURNING generation")
            .fetch_one(&mut *transaction)
            .await?;
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(transaction)
        .await?;
    Ok(generation)
}
