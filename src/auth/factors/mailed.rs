//! Codes by mail. One is asked for at a time, for one session; it is good once, for ten minutes, and in that session only.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::base::crypto::{self, Vault};

/// Of a code: more than those of authenticator apps have, to tell them apart.
pub const DIGITS: usize = 8;
/// How long a code waits to be typed.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Makes the code of this session, instead of one that was made before.
///
/// # Errors
/// Those of the database.
pub async fn make(
    transaction: &mut PgConnection,
    vault: &Vault,
    now: Timestamp,
    session: &str,
) -> Result<String, sqlx::Error> {
    let number = u64::from_be_bytes(crypto::random_bytes()) % 10_u64.pow(DIGITS as u32);
    let code = format!("{number:0DIGITS$}");
    sqlx::query(
        "INSERT INTO mailed_code (session, sealed, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (session) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at",
    )
    .bind(session)
    .bind(vault.seal(&place(session), code.as_bytes()))
    .bind(now.saturating_add(LIFE).unwrap_or(now).to_sqlx())
    .execute(transaction)
    .await?;
    Ok(code)
}

fn place(session: &str) -> String {
    format!("mailed code of {session}")
}

/// Whether this is the code of this session. Of two that show it at the same time, one is let in.
///
/// # Errors
/// Those of the database.
pub async fn check(
    pool: &PgPool,
    vault: &Vault,
    now: Timestamp,
    session: &str,
    code: &str,
) -> Result<bool, sqlx::Error> {
    let sealed: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed FROM mailed_code WHERE session = $1 AND expires_at > $2")
            .bind(session)
            .bind(now.to_sqlx())
            .fetch_optional(pool)
            .await?;
    let Some(sealed) = sealed else {
        return Ok(false);
    };
    let expected = vault
        .open(&place(session), &sealed)
        .ok()
        .and_then(|plain| String::from_utf8(plain).ok());
    if !expected.is_some_and(|expected| crypto::equal(&expected, code)) {
        return Ok(false);
    }
    let used = sqlx::query("DELETE FROM mailed_code WHERE session = $1 AND sealed = $2")
        .bind(session)
        .bind(sealed)
        .execute(pool)
        .await?;
    Ok(used.rows_affected() == 1)
}

/// Lets codes by mail be a second factor of the account, or no more.
///
/// # Errors
/// Those of the database.
pub async fn choose(database: impl PgExecutor<'_>, account: &str, chosen: bool) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE account SET mail_codes = $2 WHERE id = $1")
        .bind(account)
        .bind(chosen)
        .execute(database)
        .await?;
    Ok(())
}
