//! Links that are mailed to prove an address. Each is good once and for a while.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{PgExecutor, Row};

use super::accounts::Role;
use crate::base::crypto;

/// What becomes true when the link is followed, by whoever reads mail at its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An account is made from what was filled in before. All of it is kept with the link: if somebody else signs up
    /// with the same address meanwhile, the link still leads to what its own form said.
    SignUp {
        given: String,
        family: String,
        password: String,
    },
    /// An account of this role may be made.
    Invitation { role: Role },
    /// The account may have another password.
    Reset { account: String },
    /// The account, which its owner closed, is open again, with another password.
    Reopen { account: String },
    /// The account has this address from now on.
    ChangeEmail { account: String },
}

/// A link that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub email: String,
    pub purpose: Purpose,
}

impl Link {
    fn name(&self) -> &'static str {
        match self.purpose {
            Purpose::SignUp { .. } => "sign-up",
            Purpose::Invitation { .. } => "invitation",
            Purpose::Reset { .. } => "reset",
            Purpose::Reopen { .. } => "reopen",
            Purpose::ChangeEmail { .. } => "change-email",
        }
    }

    fn life(&self) -> SignedDuration {
        match self.purpose {
            Purpose::SignUp { .. } | Purpose::ChangeEmail { .. } => SignedDuration::from_hours(24),
            Purpose::Invitation { .. } => SignedDuration::from_hours(7 * 24),
            Purpose::Reset { .. } | Purpose::Reopen { .. } => SignedDuration::from_hours(1),
        }
    }

    /// Stores the link; gives its secret, which only the mail holds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store(&self, database: impl PgExecutor<'_>, now: Timestamp) -> Result<String, sqlx::Error> {
        let secret = crypto::random_token();
        let (account, role, form) = match &self.purpose {
            Purpose::SignUp {
                given,
                family,
                password,
            } => (None, Some(Role::Patient), Some((given, family, password))),
            Purpose::Invitation { role } => (None, Some(*role), None),
            Purpose::Reset { account } | Purpose::Reopen { account } | Purpose::ChangeEmail { account } => {
                (Some(account), None, None)
            }
        };
        sqlx::query(
            "INSERT INTO mailed_link (hash, purpose, email, account, role, given, family, password, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(crypto::digest(&secret))
        .bind(self.name())
        .bind(&self.email)
        .bind(account)
        .bind(role.map(Role::name))
        .bind(form.map(|(given, _, _)| given))
        .bind(form.map(|(_, family, _)| family))
        .bind(form.map(|(_, _, password)| password))
        .bind(now.saturating_add(self.life()).unwrap_or(now).to_sqlx())
        .execute(database)
        .await?;
        Ok(secret)
    }

    /// What the link stands for, without using it up.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(
        database: impl PgExecutor<'_>,
        now: Timestamp,
        secret: &str,
    ) -> Result<Option<Link>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT l.email, l.purpose, l.account, l.role, l.given, l.family, l.password
             FROM mailed_link l LEFT JOIN account a ON a.id = l.account
             WHERE l.hash = $1 AND l.expires_at > $2
               AND (l.account IS NULL OR a.active AND l.purpose <> 'reopen'
                    OR a.closed_by = 'owner' AND l.purpose = 'reopen')",
        )
        .bind(crypto::digest(secret))
        .bind(now.to_sqlx())
        .fetch_optional(database)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let text = |column: &str| -> Result<String, sqlx::Error> { row.try_get(column) };
        let purpose = match text("purpose")?.as_str() {
            "sign-up" => Purpose::SignUp {
                given: text("given")?,
                family: text("family")?,
                password: text("password")?,
            },
            "invitation" => Purpose::Invitation {
                role: text("role")?
                    .parse()
                    .map_err(|error: String| sqlx::Error::Decode(error.into()))?,
            },
            "reset" => Purpose::Reset {
                account: text("account")?,
            },
            "reopen" => Purpose::Reopen {
                account: text("account")?,
            },
            _ => Purpose::ChangeEmail {
                account: text("account")?,
            },
        };
        Ok(Some(Link {
            email: text("email")?,
            purpose,
        }))
    }

    /// Uses a link up. Whether it was still there: of two that follow it at the same time, one does.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(database: impl PgExecutor<'_>, secret: &str) -> Result<bool, sqlx::Error> {
        let taken = sqlx::query("DELETE FROM mailed_link WHERE hash = $1")
            .bind(crypto::digest(secret))
            .execute(database)
            .await?;
        Ok(taken.rows_affected() == 1)
    }
}
