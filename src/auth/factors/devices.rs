//! Browsers that are remembered, and not asked for the second factor for a while. That is enough to sign in, and not for what
//! protects the account.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::PgExecutor;

use crate::base::crypto;

/// How long a browser that was asked to be remembered is not asked for the second factor.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Remembers a browser; gives the secret that its cookie holds.
///
/// # Errors
/// Those of the database.
pub async fn remember(database: impl PgExecutor<'_>, now: Timestamp, account: &str) -> Result<String, sqlx::Error> {
    let secret = crypto::random_token();
    sqlx::query("INSERT INTO remembered_device (hash, account, expires_at) VALUES ($1, $2, $3)")
        .bind(crypto::digest(&secret))
        .bind(account)
        .bind(now.saturating_add(REMEMBERED).unwrap_or(now).to_sqlx())
        .execute(database)
        .await?;
    Ok(secret)
}

/// Whether the browser with this cookie is remembered for this account.
///
/// # Errors
/// Those of the database.
pub async fn is_remembered(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    account: &str,
    secret: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM remembered_device WHERE hash = $1 AND account = $2 AND expires_at > $3)",
    )
    .bind(crypto::digest(secret))
    .bind(account)
    .bind(now.to_sqlx())
    .fetch_one(database)
    .await
}
