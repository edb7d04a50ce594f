//! What this room does when nobody waits: forgotten passwords, and the removal of what has expired.

use std::sync::Arc;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff_sqlx::ToSqlx;
use serde_json::json;

use super::accounts::{Account, Found};
use super::links::{Link, Purpose};
use super::mail::Mail;
use super::{AuthServer, keys, tokens};
use crate::base::crypto::Vault;
use crate::jobs::{Job, JobError, NewJob, Registry};

const SWEEP: &str = "auth.sweep";
const KEYS: &str = "auth.keys";
const FORGOTTEN: &str = "auth.forgotten";

/// Adds the jobs of this room.
///
/// # Errors
/// None in practice: the pattern of the schedule is fixed.
pub fn register(registry: Registry, auth: &Arc<AuthServer>) -> Result<Registry> {
    let (sweeper, rememberer, keeper) = (auth.clone(), auth.clone(), auth.clone());
    let registry = registry
        .on(FORGOTTEN, move |job| {
            let auth = rememberer.clone();
            async move { send_reset_link(&auth, &job).await }
        })
        .on(KEYS, move |_| {
            let auth = keeper.clone();
            async move {
                let tended = keys::tend(&auth.pool, &auth.vault, auth.clock.now()).await;
                tended.map_err(|error| JobError::Retry(error.to_string()))
            }
        })
        .on(SWEEP, move |_| {
            let auth = sweeper.clone();
            async move { sweep(&auth).await }
        });
    Ok(registry.every("17 * * * *", SWEEP)?.every("42 3 * * *", KEYS)?)
}

/// Mails a link to whoever has an account with this address, if anybody has, in one of these languages.
pub fn forgotten(vault: &Vault, email: &str, languages: &str) -> NewJob {
    let sealed = STANDARD.encode(vault.seal(FORGOTTEN, email.as_bytes()));
    NewJob::new(FORGOTTEN, json!({"sealed": sealed, "languages": languages}))
}

/// Run twice, it mails two links, of which each works.
async fn send_reset_link(auth: &AuthServer, job: &Job) -> Result<(), JobError> {
    let sealed = job.payload["sealed"]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok());
    let email = sealed.and_then(|sealed| auth.vault.open(FORGOTTEN, &sealed).ok());
    let email = email.and_then(|email| String::from_utf8(email).ok());
    let email = email.ok_or_else(|| JobError::Fail("the address does not open under the master key".to_owned()))?;
    let now = auth.clock.now();
    let mut transaction = auth.pool.begin().await?;
    let mail = match Account::look_up(&mut *transaction, now, &email).await? {
        Some(Found::Open(account)) => {
            let purpose = Purpose::Reset { account: account.id };
            let secret = Link { email, purpose }.store(&mut *transaction, now).await?;
            Some(Mail::reset(&account.email, &auth.issuer, &secret))
        }
        Some(Found::Reopenable(account)) => {
            let purpose = Purpose::Reopen { account: account.id };
            let secret = Link { email, purpose }.store(&mut *transaction, now).await?;
            Some(Mail::reopen(&account.email, &auth.issuer, &secret))
        }
        Some(Found::Closed(account)) => Some(Mail::closed(&account.email)),
        None => None,
    };
    if let Some(mail) = mail {
        let languages = job.payload["languages"].as_str().unwrap_or_default();
        mail.enqueue(&mut transaction, auth, languages).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Doing it twice does no harm.
async fn sweep(auth: &AuthServer) -> Result<(), JobError> {
    let now = auth.clock.now();
    let mut connection = auth.pool.acquire().await?;
    tokens::sweep(&mut connection, now).await?;
    for statement in [
        "DELETE FROM session WHERE expires_at <= $1",
        "DELETE FROM mailed_link WHERE expires_at <= $1",
        "DELETE FROM launch WHERE expires_at <= $1",
        "DELETE FROM remembered_device WHERE expires_at <= $1",
        "DELETE FROM used_challenge WHERE expires_at <= $1",
        "DELETE FROM mailed_code WHERE expires_at <= $1",
        "DELETE FROM provider_visit WHERE expires_at <= $1",
        "DELETE FROM attempt WHERE ends_at <= $1",
        "DELETE FROM request_count WHERE ends_at <= $1",
    ] {
        sqlx::query(statement)
            .bind(now.to_sqlx())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
