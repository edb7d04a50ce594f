//! Second factors: an authenticator app (TOTP, RFC 6238), codes on paper, and devices that are remembered.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::{PgConnection, PgExecutor, PgPool};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use crate::base::crypto::{self, Vault};

/// How long a browser that was asked to be remembered is not asked for the second factor.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);
const BACKUP_CODES: usize = 10;

/// A secret that an authenticator app shares with the server.
pub struct Authenticator([u8; 20]);

impl Authenticator {
    pub fn new() -> Authenticator {
        Authenticator(crypto::random_bytes())
    }

    /// The secret as a person types it into an app.
    pub fn key(&self) -> String {
        Secret::new_stack(self.0).to_base32()
    }

    /// The secret as an app reads it from a picture
    /// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).
    pub fn url(&self, email: &str) -> String {
        let email = utf8_percent_encode(email, NON_ALPHANUMERIC);
        format!(
            "otpauth://totp/MedConsult:{email}?secret={}&issuer=MedConsult",
            self.key()
        )
    }

    /// Sealed for this account, for its row or for a form that comes back.
    pub fn seal(&self, vault: &Vault, account: &str) -> Vec<u8> {
        vault.seal(&place(account), &self.0)
    }

    /// `None` when it was sealed for another account, or under an unknown key.
    pub fn open(vault: &Vault, account: &str, sealed: &[u8]) -> Option<Authenticator> {
        let bytes = vault.open(&place(account), sealed).ok()?;
        Some(Authenticator(bytes.try_into().ok()?))
    }

    /// The number of the half minute whose code this is: now, the one before or the one after.
    pub fn step_of(&self, now: Timestamp, code: &str) -> Option<i64> {
        let step = self.totp().check(code, u64::try_from(now.as_second()).ok()?)?;
        i64::try_from(step).ok()
    }

    fn totp(&self) -> Totp {
        // What every app can do; SHA-1 is as good as any other here, since nobody can choose the messages.
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(1)
            .with_step_duration(30)
            .with_secret(Secret::new_stack(self.0))
            .build_noncompliant()
    }
}

impl Default for Authenticator {
    fn default() -> Authenticator {
        Authenticator::new()
    }
}

fn place(account: &str) -> String {
    format!("totp of {account}")
}

/// Whether this is the account's code of the moment, or one of its codes on paper. Each is good once.
///
/// # Errors
/// Those of the database.
pub async fn check(
    pool: &PgPool,
    vault: &Vault,
    now: Timestamp,
    account: &str,
    code: &str,
) -> Result<bool, sqlx::Error> {
    let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    if code.len() != 6 {
        let used = sqlx::query("DELETE FROM backup_code WHERE account = $1 AND hash = $2")
            .bind(account)
            .bind(crypto::digest(&code.to_lowercase()))
            .execute(pool)
            .await?;
        return Ok(used.rows_affected() == 1);
    }
    let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT totp_secret FROM account WHERE id = $1")
        .bind(account)
        .fetch_optional(pool)
        .await?
        .flatten();
    let step = sealed
        .and_then(|sealed| Authenticator::open(vault, account, &sealed))
        .and_then(|authenticator| authenticator.step_of(now, &code));
    let Some(step) = step else {
        return Ok(false);
    };
    let used = sqlx::query("UPDATE account SET totp_last_step = $2 WHERE id = $1 AND totp_last_step < $2")
        .bind(account)
        .bind(step)
        .execute(pool)
        .await?;
    Ok(used.rows_affected() == 1)
}

/// Gives the account an authenticator, of which a code was shown, and ten fresh codes on paper instead of the old ones.
///
/// # Errors
/// Those of the database.
pub async fn set_up(
    transaction: &mut PgConnection,
    account: &str,
    sealed: &[u8],
    step: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query("UPDATE account SET totp_secret = $2, totp_last_step = $3 WHERE id = $1")
        .bind(account)
        .bind(sealed)
        .bind(step)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM remembered_device WHERE account = $1")
        .bind(account)
        .execute(&mut *transaction)
        .await?;
    new_backup_codes(transaction, account).await
}

/// Takes authenticator, codes on paper and remembered devices away.
///
/// # Errors
/// Those of the database.
pub async fn remove(database: impl PgExecutor<'_>, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH codes AS (DELETE FROM backup_code WHERE account = $1),
              devices AS (DELETE FROM remembered_device WHERE account = $1)
         UPDATE account SET totp_secret = NULL WHERE id = $1",
    )
    .bind(account)
    .execute(database)
    .await?;
    Ok(())
}

/// Ten fresh codes on paper, instead of those there were.
///
/// # Errors
/// Those of the database.
pub async fn new_backup_codes(transaction: &mut PgConnection, account: &str) -> Result<Vec<String>, sqlx::Error> {
    let codes: Vec<String> = (0..BACKUP_CODES).map(|_| backup_code()).collect();
    let hashes: Vec<[u8; 32]> = codes
        .iter()
        .map(|code| crypto::digest(&code.replace('-', "")))
        .collect();
    sqlx::query("DELETE FROM backup_code WHERE account = $1")
        .bind(account)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO backup_code (account, hash) SELECT $1, unnest($2::bytea[])")
        .bind(account)
        .bind(hashes.iter().map(|hash| hash.as_slice()).collect::<Vec<_>>())
        .execute(transaction)
        .await?;
    Ok(codes)
}

/// 80 random bits, in groups of four characters that are not mistaken for each other.
fn backup_code() -> String {
    let letters = Secret::new(Box::new(crypto::random_bytes::<10>()))
        .to_base32()
        .to_lowercase();
    let groups: Vec<&str> = (0..letters.len()).step_by(4).map(|at| &letters[at..at + 4]).collect();
    groups.join("-")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// <https://www.rfc-editor.org/rfc/rfc6238#appendix-B>, whose codes have eight digits; ours are their last six.
    #[test]
    fn codes_are_those_of_the_standard() {
        let authenticator = Authenticator(*b"12345678901234567890");
        for (second, code, step) in [
            (59, "287082", 1),
            (1_111_111_109, "081804", 37_037_036),
            (20_000_000_000, "353130", 666_666_666),
        ] {
            let now = Timestamp::from_second(second).unwrap();
            assert_eq!(authenticator.step_of(now, code), Some(step));
            // A code of half a minute ago is still good, one of a minute ago is not.
            assert_eq!(
                authenticator.step_of(now + SignedDuration::from_secs(30), code),
                Some(step)
            );
            assert_eq!(authenticator.step_of(now + SignedDuration::from_secs(60), code), None);
        }
        assert_eq!(authenticator.key(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            authenticator.url("ada@clinic.example"),
            "otpauth://totp/MedConsult:ada%40clinic%2Eexample?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=MedConsult"
        );
    }

    #[test]
    fn a_secret_opens_for_its_account_only() {
        let vault = Vault::new(&Vault::new_key()).unwrap();
        let sealed = Authenticator::new().seal(&vault, "a");
        assert!(Authenticator::open(&vault, "a", &sealed).is_some());
        assert!(Authenticator::open(&vault, "b", &sealed).is_none());
    }

    #[test]
    fn codes_on_paper_can_be_read_aloud() {
        let code = backup_code();
        assert_eq!(code.len(), 19);
        assert!(
            code.split('-').all(
                |group| group.len() == 4 && group.bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz234567".contains(&b))
            )
        );
    }
}
