//! An authenticator app (TOTP, [RFC 6238](https://www.rfc-editor.org/rfc/rfc6238)).

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::{PgConnection, PgPool};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use crate::base::crypto::{self, Vault};

/// Of a code.
pub const DIGITS: usize = 6;

/// A secret that an authenticator app shares with the server.
pub struct Authenticator([u8; 20]);

impl Authenticator {
    pub fn new() -> Authenticator {
        Authenticator(crypto::random_bytes())
    }

    /// One with a secret that is known already.
    pub fn of(secret: [u8; 20]) -> Authenticator {
        Authenticator(secret)
    }

    /// The code of this half minute, as an app shows it.
    pub fn code(&self, now: Timestamp) -> String {
        let second = u64::try_from(now.as_second()).unwrap_or_default();
        self.totp().generate(second).to_string()
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

/// Whether this is the account's code of the moment. Each is good once.
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
    let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT totp_secret FROM account WHERE id = $1")
        .bind(account)
        .fetch_optional(pool)
        .await?
        .flatten();
    let step = sealed
        .and_then(|sealed| Authenticator::open(vault, account, &sealed))
        .and_then(|authenticator| authenticator.step_of(now, code));
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

/// Gives the account an authenticator, of which the code of this step was shown.
///
/// # Errors
/// Those of the database.
pub async fn set_up(
    transaction: &mut PgConnection,
    account: &str,
    sealed: &[u8],
    step: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE account SET totp_secret = $2, totp_last_step = $3 WHERE id = $1")
        .bind(account)
        .bind(sealed)
        .bind(step)
        .execute(&mut *transaction)
        .await?;
    super::changed(transaction, account).await
}

/// Takes the authenticator away.
///
/// # Errors
/// Those of the database.
pub async fn remove(transaction: &mut PgConnection, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE account SET totp_secret = NULL WHERE id = $1")
        .bind(account)
        .execute(&mut *transaction)
        .await?;
    super::changed(transaction, account).await
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

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
            assert_eq!(authenticator.code(now), code);
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
}
