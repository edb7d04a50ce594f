//! The keys that id_tokens are signed with (RS256): made, published, used, replaced and withdrawn.
//!
//! | state | signs | published | until |
//! |---|---|---|---|
//! | next | no | yes, so that clients know it before they meet it | it is its turn |
//! | active | yes | yes | [`TURN`] after it began to sign |
//! | retained | no | yes, so that what it signed can be checked | [`RETAINED`] after it stopped |
//!
//! A key that is withdrawn is deleted: what it signed is worth nothing from then on. Private halves are sealed under the
//! master key. All instances share the keys through the database.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::AuthServer;
use crate::base::crypto::{self, Vault};

/// How long a key signs.
pub const TURN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long what it signed can be checked afterwards: longer than an id_token lives.
pub const RETAINED: SignedDuration = SignedDuration::from_hours(2 * 24);

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the signing key does not open under the master key of this server")]
    Sealed,
    #[error("a key could not be made, or did not sign")]
    Crypto,
}

/// Brings the keys to where they must be now: one that signs, one that comes next, and none that has had its time. Instances
/// that do so at the same time wait for each other.
///
/// # Errors
/// [`KeyError`]
pub async fn tend(pool: &PgPool, vault: &Vault, now: Timestamp) -> Result<(), KeyError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("LOCK TABLE signing_key IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    let earlier = |by: SignedDuration| now.saturating_sub(by).unwrap_or(now).to_sqlx();
    sqlx::query("DELETE FROM signing_key WHERE state = 'retained' AND since <= $1")
        .bind(earlier(RETAINED))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE signing_key SET state = 'retained', since = $2 WHERE state = 'active' AND since <= $1")
        .bind(earlier(TURN))
        .bind(now.to_sqlx())
        .execute(&mut *transaction)
        .await?;
    for state in ["active", "next"] {
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM signing_key WHERE state = $1)")
            .bind(state)
            .fetch_one(&mut *transaction)
            .await?;
        if there {
            continue;
        }
        let promoted =
            sqlx::query("UPDATE signing_key SET state = 'active', since = $2 WHERE state = 'next' AND $1 = 'active'")
                .bind(state)
                .bind(now.to_sqlx())
                .execute(&mut *transaction)
                .await?;
        if promoted.rows_affected() == 0 {
            add(&mut transaction, vault, now, state).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn add(connection: &mut PgConnection, vault: &Vault, now: Timestamp, state: &str) -> Result<(), KeyError> {
    // Takes some hundred milliseconds of a core.
    let made = tokio::task::spawn_blocking(make).await.map_err(|_| KeyError::Crypto)?;
    let (kid, private, public) = made.ok_or(KeyError::Crypto)?;
    sqlx::query("INSERT INTO signing_key (kid, state, since, private, public) VALUES ($1, $2, $3, $4, $5)")
        .bind(&kid)
        .bind(state)
        .bind(now.to_sqlx())
        .bind(vault.seal(&place(&kid), &private))
        .bind(public)
        .execute(connection)
        .await?;
    Ok(())
}

fn place(kid: &str) -> String {
    format!("signing key {kid}")
}

/// Name, private half (PKCS #1) and public half of a fresh key.
fn make() -> Option<(String, Vec<u8>, Value)> {
    let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let private = pkcs1_of(pkcs8.as_ref())?.to_vec();
    let jwk = Jwk::from_encoding_key(&EncodingKey::from_rsa_der(&private), Algorithm::RS256).ok()?;
    let kid = crypto::random_token()[..16].to_owned();
    let mut public = serde_json::to_value(jwk).ok()?;
    public["kid"] = json!(kid);
    public["use"] = json!("sig");
    Some((kid, private, public))
}

/// The RSA key in its wrapping. The wrapping of a key of this size is always the same: version, algorithm, and the heads of
/// the two values around (<https://www.rfc-editor.org/rfc/rfc5208#section-5>).
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    const WRAPPING: usize = 26;
    let inner = pkcs8.get(WRAPPING..)?;
    inner.starts_with(&[0x30, 0x82]).then_some(inner)
}

/// The public keys, for clients that check id_tokens.
///
/// # Errors
/// [`KeyError`]
pub async fn published(auth: &AuthServer) -> Result<Value, KeyError> {
    const SQL: &str = "SELECT public FROM signing_key ORDER BY since, kid";
    let mut keys: Vec<Value> = sqlx::query_scalar(SQL).fetch_all(&auth.pool).await?;
    if keys.len() < 2 {
        tend(&auth.pool, &auth.vault, auth.clock.now()).await?;
        keys = sqlx::query_scalar(SQL).fetch_all(&auth.pool).await?;
    }
    Ok(json!({"keys": keys}))
}

/// Withdraws a key at once; if it was its turn, the next one signs, once [`tend`] has run. Whether there was such a key.
///
/// # Errors
/// [`KeyError`]
pub async fn revoke(connection: &mut PgConnection, kid: &str) -> Result<bool, KeyError> {
    let revoked = sqlx::query("DELETE FROM signing_key WHERE kid = $1")
        .bind(kid)
        .execute(connection)
        .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Signs claims with the active key.
///
/// # Errors
/// [`KeyError`]
pub async fn sign(auth: &AuthServer, claims: &Value) -> Result<String, KeyError> {
    const SQL: &str = "SELECT kid, private FROM signing_key WHERE state = 'active'";
    let mut active: Option<(String, Vec<u8>)> = sqlx::query_as(SQL).fetch_optional(&auth.pool).await?;
    if active.is_none() {
        tend(&auth.pool, &auth.vault, auth.clock.now()).await?;
        active = sqlx::query_as(SQL).fetch_optional(&auth.pool).await?;
    }
    let (kid, sealed) = active.ok_or(KeyError::Crypto)?;
    let private = auth.vault.open(&place(&kid), &sealed).map_err(|_| KeyError::Sealed)?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(kid);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_der(&private)).map_err(|_| KeyError::Crypto)
}
