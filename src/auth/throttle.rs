//! How often something may be tried: counted in the database, for all instances together.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::PgExecutor;

use crate::base::crypto;

/// A bound on attempts in a window of time, which begins with the first one.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is counted, as part of the key.
    name: &'static str,
    attempts: i32,
    window: SignedDuration,
}

const QUARTER: SignedDuration = SignedDuration::from_mins(15);

/// Passwords for one account, whether or not it is there.
pub const PASSWORDS: Limit = Limit {
    name: "password",
    attempts: 10,
    window: QUARTER,
};
/// Passwords from one address, for whatever accounts.
pub const PASSWORDS_FROM: Limit = Limit {
    name: "password from",
    attempts: 100,
    window: QUARTER,
};
/// Second factors for one account.
pub const CODES: Limit = Limit {
    name: "code",
    attempts: 10,
    window: QUARTER,
};
/// Mails to one address that strangers can cause.
pub const MAILS: Limit = Limit {
    name: "mail",
    attempts: 5,
    window: SignedDuration::from_hours(1),
};
/// Codes by mail for one account.
pub const MAILED_CODES: Limit = Limit {
    name: "mailed code",
    attempts: 5,
    window: QUARTER,
};
/// Visits to other providers from one address.
pub const VISITS_FROM: Limit = Limit {
    name: "visit from",
    attempts: 100,
    window: QUARTER,
};
/// Sign-ups and forgotten passwords from one address.
pub const FORMS_FROM: Limit = Limit {
    name: "form from",
    attempts: 50,
    window: SignedDuration::from_hours(1),
};

impl Limit {
    /// Counts an attempt, before it is made: of many at the same time, no more than allowed pass. Whether this one does.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allows(self, database: impl PgExecutor<'_>, now: Timestamp, who: &str) -> Result<bool, sqlx::Error> {
        let count: i32 = sqlx::query_scalar(
            "INSERT INTO attempt AS a (key, count, ends_at) VALUES ($1, 1, $3)
             ON CONFLICT (key) DO UPDATE SET
                 count = CASE WHEN a.ends_at <= $2 THEN 1 ELSE a.count + 1 END,
                 ends_at = CASE WHEN a.ends_at <= $2 THEN excluded.ends_at ELSE a.ends_at END
             RETURNING count",
        )
        .bind(self.key(who))
        .bind(now.to_sqlx())
        .bind(now.saturating_add(self.window).unwrap_or(now).to_sqlx())
        .fetch_one(database)
        .await?;
        Ok(count <= self.attempts)
    }

    /// Forgets the attempts: the last one was right.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget(self, database: impl PgExecutor<'_>, who: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM attempt WHERE key = $1")
            .bind(self.key(who))
            .execute(database)
            .await?;
        Ok(())
    }

    /// No address of a person is stored where a number would do.
    fn key(self, who: &str) -> [u8; 32] {
        crypto::digest(&format!("{}\0{who}", self.name))
    }
}
