//! Browsers that are signed in.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{PgExecutor, PgPool, Row};

use super::accounts::{self, Account};
use crate::base::{IdGenerator, crypto};

/// A session ends this long after it began, whatever happens in it.
const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// And this long after it was last used.
const IDLE: SignedDuration = SignedDuration::from_mins(60);
/// How exactly the last use is known: noting each one would write to the database with every page.
const EXACTNESS: SignedDuration = SignedDuration::from_secs(60);
/// For how long after a proof of who they are a person may change what protects the account.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// A session and its account.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: String,
    pub account: Account,
    /// False while the second factor is still to be shown: then nothing is open but that.
    pub complete: bool,
    /// When the person last proved who they are.
    pub proved_at: Timestamp,
}

/// A line in the list of a person's sessions.
#[derive(Debug)]
pub struct Listed {
    pub id: String,
    pub device: String,
    pub last_seen_at: Timestamp,
}

impl Session {
    /// Begins a session; gives the secret that its cookie holds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        pool: &PgPool,
        ids: &IdGenerator,
        now: Timestamp,
        account: &str,
        complete: bool,
        device: &str,
    ) -> Result<String, sqlx::Error> {
        let secret = crypto::random_token();
        sqlx::query(
            "INSERT INTO session (hash, id, account, complete, proved_at, created_at, last_seen_at, expires_at, device)
             VALUES ($1, $2, $3, $4, $5, $5, $5, $6, $7)",
        )
        .bind(crypto::digest(&secret))
        .bind(ids.next().to_string())
        .bind(account)
        .bind(complete)
        .bind(now.to_sqlx())
        .bind(now.saturating_add(LONGEST).unwrap_or(now).to_sqlx())
        .bind(device)
        .execute(pool)
        .await?;
        Ok(secret)
    }

    /// The session of a cookie, if it goes on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(pool: &PgPool, now: Timestamp, secret: &str) -> Result<Option<Session>, sqlx::Error> {
        let sql = format!(
            "SELECT s.id AS session, s.complete, s.proved_at, s.last_seen_at, {}
             FROM session s JOIN account a ON a.id = s.account
             WHERE s.hash = $1 AND s.expires_at > $2 AND s.last_seen_at > $3 AND a.active",
            accounts::COLUMNS
        );
        let idle_since = now.saturating_sub(IDLE).unwrap_or(now);
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(crypto::digest(secret))
            .bind(now.to_sqlx())
            .bind(idle_since.to_sqlx())
            .fetch_optional(pool)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let instant = |column: &str| {
            row.try_get::<jiff_sqlx::Timestamp, _>(column)
                .map(|instant| instant.to_jiff())
        };
        let session = Session {
            id: row.try_get("session")?,
            account: Account::of_row(&row)?,
            complete: row.try_get("complete")?,
            proved_at: instant("proved_at")?,
        };
        if now.duration_since(instant("last_seen_at")?) > EXACTNESS {
            sqlx::query("UPDATE session SET last_seen_at = $2 WHERE id = $1")
                .bind(&session.id)
                .bind(now.to_sqlx())
                .execute(pool)
                .await?;
        }
        Ok(Some(session))
    }

    /// Whether the person proved who they are a moment ago.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.proved_at) <= FRESH
    }

    /// Notes that the person has just proved who they are, by all that their account asks for.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn proved(database: impl PgExecutor<'_>, now: Timestamp, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE session SET complete = true, proved_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now.to_sqlx())
            .execute(database)
            .await?;
        Ok(())
    }

    /// Ends one session of this account.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end(database: impl PgExecutor<'_>, account: &str, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM session WHERE id = $1 AND account = $2")
            .bind(id)
            .bind(account)
            .execute(database)
            .await?;
        Ok(())
    }

    /// Ends all sessions of this account but this one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_others(&self, database: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM session WHERE account = $1 AND id <> $2")
            .bind(&self.account.id)
            .bind(&self.id)
            .execute(database)
            .await?;
        Ok(())
    }

    /// The sessions of an account, latest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(pool: &PgPool, now: Timestamp, account: &str) -> Result<Vec<Listed>, sqlx::Error> {
        let rows: Vec<(String, String, jiff_sqlx::Timestamp)> = sqlx::query_as(
            "SELECT id, device, last_seen_at FROM session
             WHERE account = $1 AND complete AND expires_at > $2 AND last_seen_at > $3 ORDER BY last_seen_at DESC",
        )
        .bind(account)
        .bind(now.to_sqlx())
        .bind(now.saturating_sub(IDLE).unwrap_or(now).to_sqlx())
        .fetch_all(pool)
        .await?;
        let listed = rows.into_iter().map(|(id, device, seen)| Listed {
            id,
            device,
            last_seen_at: seen.to_jiff(),
        });
        Ok(listed.collect())
    }
}
