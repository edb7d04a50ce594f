//! Browsers that are signed in.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{PgExecutor, PgPool, Row};

use super::accounts::{self, Account};
use super::factors::Shown;
use crate::base::{IdGenerator, crypto};
use crate::fhir::step_up::{Assurance, Proof, Wanted};

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
    /// False while a factor is still to be shown, or to be set up: then nothing is open but that.
    pub complete: bool,
    /// When the person last proved who they are,
    pub proved_at: Timestamp,
    /// how surely,
    pub assurance: Assurance,
    /// and by what (<https://www.rfc-editor.org/rfc/rfc8176>).
    pub methods: Vec<String>,
}

/// What a session begins with.
#[derive(Debug)]
pub struct NewSession<'a> {
    pub account: &'a str,
    /// The hash of the password that was shown, if one was: the session only begins while it is the account's.
    pub password: Option<&'a str>,
    pub shown: &'a Shown,
    /// Whether nothing more is asked for.
    pub complete: bool,
    /// What the browser calls itself.
    pub device: &'a str,
}

/// A line in the list of a person's sessions.
#[derive(Debug)]
pub struct Listed {
    pub id: String,
    pub device: String,
    pub last_seen_at: Timestamp,
}

impl Session {
    /// Begins a session; gives the secret that its cookie holds. `None` if the account was closed, or its password changed,
    /// since it was looked up.
    ///
    /// The row of the account is read under a lock, so that a change of the password at the same time comes before or
    /// after, and never misses this session.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        pool: &PgPool,
        ids: &IdGenerator,
        now: Timestamp,
        new: &NewSession<'_>,
    ) -> Result<Option<String>, sqlx::Error> {
        let secret = crypto::random_token();
        let begun = sqlx::query(
            "INSERT INTO session (hash, id, account, complete, proved_at, created_at, last_seen_at, expires_at, device,
                                  assurance, methods)
             SELECT $1, $2, a.id, $4, $5, $5, $5, $6, $7, $8, $9 FROM account a
             WHERE a.id = $3 AND a.active AND a.password = coalesce($10, a.password) FOR SHARE",
        )
        .bind(crypto::digest(&secret))
        .bind(ids.next().to_string())
        .bind(new.account)
        .bind(new.complete)
        .bind(now.to_sqlx())
        .bind(now.saturating_add(LONGEST).unwrap_or(now).to_sqlx())
        .bind(new.device)
        .bind(new.shown.assurance.number())
        .bind(&new.shown.methods)
        .bind(new.password)
        .execute(pool)
        .await?;
        Ok((begun.rows_affected() == 1).then_some(secret))
    }

    /// The session of a cookie, if it goes on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(pool: &PgPool, now: Timestamp, secret: &str) -> Result<Option<Session>, sqlx::Error> {
        let sql = format!(
            "SELECT s.id AS session, s.complete, s.proved_at, s.last_seen_at, s.assurance, s.methods, {}
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
            assurance: Assurance::of_number(row.try_get("assurance")?).unwrap_or(Assurance::OneFactor),
            methods: row.try_get("methods")?,
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

    /// Whether the person proved who they are a moment ago, by as much as `assurance` says. A browser that is remembered
    /// lets in without a second factor, and does not stand in for it here.
    pub fn is_fresh(&self, now: Timestamp, assurance: Assurance) -> bool {
        let wanted = Wanted {
            assurance,
            max_age: FRESH,
        };
        wanted.is_met_by(&self.proof(), now)
    }

    pub fn proof(&self) -> Proof {
        Proof {
            at: self.proved_at,
            assurance: self.assurance,
        }
    }

    /// Notes that the person has just proved who they are. The session goes on under another secret, which is given: one that
    /// somebody came by before is worth nothing now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn proved(
        database: impl PgExecutor<'_>,
        now: Timestamp,
        id: &str,
        shown: &Shown,
        complete: bool,
    ) -> Result<String, sqlx::Error> {
        let secret = crypto::random_token();
        sqlx::query(
            "UPDATE session SET hash = $2, complete = $3, proved_at = $4, assurance = $5, methods = $6 WHERE id = $1",
        )
        .bind(id)
        .bind(crypto::digest(&secret))
        .bind(complete)
        .bind(now.to_sqlx())
        .bind(shown.assurance.number())
        .bind(&shown.methods)
        .execute(database)
        .await?;
        Ok(secret)
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
