//! Factors: what people show, beside a password, to prove who they are.
//!
//! | file | factor |
//! |---|---|
//! | [`authenticator`] | codes of an authenticator app |
//! | [`passkeys`] | key pairs whose private half an authenticator keeps: a second factor, or both at once |
//! | [`mailed`] | codes by mail |
//! | [`paper`] | ten codes on paper, for whoever lost the others |
//! | [`devices`] | browsers that are remembered instead |
//! | [`policy`] | which a role must show, and which it may |

pub mod authenticator;
pub mod devices;
pub mod mailed;
pub mod paper;
pub mod passkeys;
pub mod policy;

use jiff::Timestamp;
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::sessions::Session;
use crate::base::crypto::Vault;
use crate::fhir::step_up::Assurance;

/// What was shown, in the names of [RFC 8176](https://www.rfc-editor.org/rfc/rfc8176) for the claim `amr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub assurance: Assurance,
    pub methods: Vec<String>,
}

impl Shown {
    fn new(assurance: Assurance, methods: &[&str]) -> Shown {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        Shown { assurance, methods }
    }

    pub fn password() -> Shown {
        Shown::new(Assurance::OneFactor, &["pwd"])
    }

    /// Another provider's word, which has no name in the registry.
    pub fn provider() -> Shown {
        Shown::new(Assurance::OneFactor, &["fed"])
    }

    /// A passkey, which its owner unlocked: it counts as both factors.
    pub fn passkey() -> Shown {
        Shown::new(Assurance::Passkey, &["pop", "user", "mfa"])
    }

    /// A code after the first factor that `methods` tell.
    pub fn code_after(methods: &[String], code: CodeKind) -> Shown {
        let second = match code {
            CodeKind::App | CodeKind::Paper => "otp",
            CodeKind::Mail => "mca",
        };
        let first = methods.first().map_or("pwd", String::as_str);
        Shown::new(Assurance::TwoFactors, &[first, second, "mfa"])
    }
}

/// Where a code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    App,
    Mail,
    Paper,
}

/// Whose code this is: that of the app at the moment, the one mailed for this session, or one on paper. They are told apart by
/// their lengths, and each is good once. `None` for one that is not right.
///
/// # Errors
/// Those of the database.
pub async fn check_code(
    pool: &PgPool,
    vault: &Vault,
    now: Timestamp,
    session: &Session,
    takes_mail: bool,
    code: &str,
) -> Result<Option<CodeKind>, sqlx::Error> {
    let code: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase();
    let account = &session.account.id;
    let (kind, right) = match code.len() {
        authenticator::DIGITS => (
            CodeKind::App,
            authenticator::check(pool, vault, now, account, &code).await?,
        ),
        mailed::DIGITS if takes_mail => (
            CodeKind::Mail,
            mailed::check(pool, vault, now, &session.id, &code).await?,
        ),
        _ => (CodeKind::Paper, paper::check(pool, account, &code).await?),
    };
    Ok(right.then_some(kind))
}

/// Takes every factor but the password away, with codes on paper and remembered browsers: for whoever lost them all.
///
/// # Errors
/// Those of the database.
pub async fn remove_all(database: impl PgExecutor<'_>, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH passkeys AS (DELETE FROM passkey WHERE account = $1),
              codes AS (DELETE FROM backup_code WHERE account = $1),
              devices AS (DELETE FROM remembered_device WHERE account = $1)
         UPDATE account SET totp_secret = NULL, mail_codes = false WHERE id = $1",
    )
    .bind(account)
    .execute(database)
    .await?;
    Ok(())
}

/// To be called when a factor was added or removed: browsers are asked anew, and codes on paper go with the last factor that
/// they stand in for.
///
/// # Errors
/// Those of the database.
pub async fn changed(transaction: &mut PgConnection, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM remembered_device WHERE account = $1")
        .bind(account)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "DELETE FROM backup_code c USING account a
         WHERE c.account = $1 AND a.id = $1 AND a.totp_secret IS NULL
           AND NOT EXISTS (SELECT FROM passkey k WHERE k.account = $1)",
    )
    .bind(account)
    .execute(transaction)
    .await?;
    Ok(())
}
