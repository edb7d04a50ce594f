//! Codes on paper, for whoever lost the authenticator.

use sqlx::{PgConnection, PgPool};
use totp_rs::Secret;

use crate::base::crypto;

const BACKUP_CODES: usize = 10;

/// Whether this is one of the account's codes. Each is good once.
///
/// # Errors
/// Those of the database.
pub async fn check(pool: &PgPool, account: &str, code: &str) -> Result<bool, sqlx::Error> {
    let used = sqlx::query("DELETE FROM backup_code WHERE account = $1 AND hash = $2")
        .bind(account)
        .bind(crypto::digest(code))
        .execute(pool)
        .await?;
    Ok(used.rows_affected() == 1)
}

/// How many are left.
///
/// # Errors
/// Those of the database.
pub async fn left(pool: &PgPool, account: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM backup_code WHERE account = $1")
        .bind(account)
        .fetch_one(pool)
        .await
}

/// Ten fresh codes on paper, instead of those there were.
///
/// # Errors
/// Those of the database.
pub async fn renew(transaction: &mut PgConnection, account: &str) -> Result<Vec<String>, sqlx::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
