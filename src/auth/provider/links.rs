//! Which account somebody has here who is known by a name there.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgExecutor, PgPool};

use crate::auth::accounts::Account;

/// Why an account was not connected.
#[derive(Debug)]
pub enum NotConnected {
    /// The name there is connected with another account, or the account with another name there.
    Taken,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for NotConnected {
    fn from(error: sqlx::Error) -> NotConnected {
        NotConnected::Database(error)
    }
}

/// The open account that is connected with this name.
///
/// # Errors
/// Those of the database.
pub async fn account_of(pool: &PgPool, issuer: &str, subject: &str) -> Result<Option<Account>, sqlx::Error> {
    let id: Option<String> = sqlx::query_scalar("SELECT account FROM provider_link WHERE issuer = $1 AND subject = $2")
        .bind(issuer)
        .bind(subject)
        .fetch_optional(pool)
        .await?;
    match id {
        Some(id) => Account::by_id(pool, &id).await,
        None => Ok(None),
    }
}

/// Connects an account. Doing it twice does no harm.
///
/// # Errors
/// [`NotConnected`]
pub async fn connect(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    issuer: &str,
    subject: &str,
    account: &str,
) -> Result<(), NotConnected> {
    let connected: Option<i32> = sqlx::query_scalar(
        "WITH added AS (
             INSERT INTO provider_link (issuer, subject, account, connected_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING RETURNING 1)
         SELECT 1 FROM added
         UNION ALL SELECT 1 FROM provider_link WHERE issuer = $1 AND subject = $2 AND account = $3",
    )
    .bind(issuer)
    .bind(subject)
    .bind(account)
    .bind(now.to_sqlx())
    .fetch_optional(database)
    .await?;
    connected.map(|_| ()).ok_or(NotConnected::Taken)
}

/// The issuers that an account is connected with, each with the time since when.
///
/// # Errors
/// Those of the database.
pub async fn of_account(pool: &PgPool, account: &str) -> Result<Vec<(String, Timestamp)>, sqlx::Error> {
    let rows: Vec<(String, jiff_sqlx::Timestamp)> =
        sqlx::query_as("SELECT issuer, connected_at FROM provider_link WHERE account = $1 ORDER BY issuer")
            .bind(account)
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(issuer, at)| (issuer, at.to_jiff())).collect())
}

/// Disconnects an account from an issuer. Whether it was connected.
///
/// # Errors
/// Those of the database.
pub async fn disconnect(database: impl PgExecutor<'_>, account: &str, issuer: &str) -> Result<bool, sqlx::Error> {
    let gone = sqlx::query("DELETE FROM provider_link WHERE account = $1 AND issuer = $2")
        .bind(account)
        .bind(issuer)
        .execute(database)
        .await?;
    Ok(gone.rows_affected() == 1)
}
