//! The secret that the proofs of the trail rest on: random, made once, and sealed under the server's master key. It outlives
//! the master key: when that is replaced, it is sealed again.

use anyhow::{Context, Result, ensure};
use sqlx::PgPool;

use crate::base::crypto::{self, Vault};
use crate::fhir::trail::Key;

/// What it is sealed for.
const PLACE: &str = "audit_key";

/// The key of this database's trail; the first server that asks makes it.
///
/// # Errors
/// When it does not open under the master key, or is gone although AuditEvents were proved by it.
pub async fn load(pool: &PgPool, vault: &Vault) -> Result<Key> {
    let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM audit_key")
        .fetch_optional(pool)
        .await?;
    let sealed = match known {
        Some(sealed) => sealed,
        None => make(pool, vault).await?,
    };
    let key = vault.open(PLACE, &sealed).context("the key of the audit trail")?;
    if !vault.would_seal_like(&sealed) {
        sqlx::query("UPDATE audit_key SET sealed = $1")
            .bind(vault.seal(PLACE, &key))
            .execute(pool)
            .await?;
    }
    Ok(Key::new(&key))
}

/// Of several servers that start on an empty database, one makes the key for all.
async fn make(pool: &PgPool, vault: &Vault) -> Result<Vec<u8>> {
    let links: i64 = sqlx::query_scalar("SELECT count(*) FROM (SELECT FROM audit_chain LIMIT 1) AS one")
        .fetch_one(pool)
        .await?;
    ensure!(
        links == 0,
        "the key of the audit trail is gone from the database, and there are AuditEvents that only it can prove: restore \
         the row of audit_key from a backup"
    );
    sqlx::query("INSERT INTO audit_key (sealed) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(vault.seal(PLACE, &crypto::random_bytes::<32>()))
        .execute(pool)
        .await?;
    Ok(sqlx::query_scalar("SELECT sealed FROM audit_key")
        .fetch_one(pool)
        .await?)
}
