//! `medconsult serve --demo`: a practice with people, services, visits and records, to look at and to try out.
//!
//! Everything in it is made up. It comes about as it would in a practice: accounts are opened, visits are found, booked,
//! approved and held by the people who do that, through [`commit`](crate::fhir::commit) and the operations, with the rights
//! that they have. The clock of that story begins some weeks ago and arrives at the present, so that histories, mails and the
//! audit trail look lived in.
//!
//! **Nothing of it can get out.** All accounts of the demo end in `@demo.example`, a name that nobody can own; their
//! passwords are known to everybody. So the demo listens on loopback only, has a data directory of its own, and a server that is
//! started without `--demo` refuses a database in which such an account is open ([`refuse_in_earnest`]).
//!
//! | file | concern |
//! |---|---|
//! | [`settings`] | what is different from a server in earnest |
//! | [`people`] | who has an account |
//! | [`text`] | the JSON files of this folder, with names and dates filled in |
//! | [`stage`] | acting as one of the people, at some time |
//! | [`stand_in`] | the stand-in for Stripe, as a child process |
//! | [`story`], [`payments`] | what happened in the last weeks, and what is to come |
//! | [`mails`], [`page`] | `/demo`: accounts, codes of the moment, the mails that were sent |

pub mod mails;
pub mod page;
pub mod payments;
pub mod people;
pub mod settings;
pub mod stage;
pub mod stand_in;
pub mod story;
pub mod text;

use anyhow::{Result, ensure};
use sqlx::PgPool;

/// How the address of every account of the demo ends.
pub const DOMAIN: &str = "@demo.example";

/// Whether the story has been told in this database, to its end.
///
/// # Errors
/// When the database does not answer, or holds something else.
pub async fn is_told(pool: &PgPool) -> Result<bool> {
    // The last account that the story opens.
    if is_open(pool, &people::ADMIN.email()).await? {
        return Ok(true);
    }
    let is_used: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM account) OR EXISTS (SELECT FROM resource r \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Patient'))",
    )
    .fetch_one(pool)
    .await?;
    ensure!(
        !is_used,
        "this database holds something else, or a demo that was interrupted when it was made: give the demo an empty one"
    );
    Ok(false)
}

/// Keeps a server in earnest from opening to everybody who has read the demo's passwords.
///
/// # Errors
/// When there is an open account of the demo.
pub async fn refuse_in_earnest(pool: &PgPool) -> Result<()> {
    let has_accounts: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM account WHERE email LIKE '%' || $1 AND active)")
            .bind(DOMAIN)
            .fetch_one(pool)
            .await?;
    ensure!(
        !has_accounts,
        "this is the database of the demo, with passwords that everybody knows: start it by `medconsult serve --demo`"
    );
    Ok(())
}

async fn is_open(pool: &PgPool, email: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM account WHERE email = $1 AND active)")
        .bind(email)
        .fetch_one(pool)
        .await
}
