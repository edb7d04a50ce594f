//! Passkeys ([WebAuthn](https://www.w3.org/TR/webauthn-3/)): key pairs whose private half an authenticator of the person
//! keeps, and unlocks by a fingerprint, a face or a PIN. They are asked to verify their owner each time, so one counts as two
//! factors, and they answer only to the site that they were made for, so nobody can be lured into showing one elsewhere.
//!
//! **A challenge is not stored when it is made**: whoever loads the sign-in page would fill a table. It goes out sealed for the
//! browser, or for the session, and comes back with the answer. What is stored is that it was answered, so that it is good
//! once, at all instances together.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::AuthenticationVerificationOptions;
use webauthn_rp::request::register::{
    CredProtect, Nickname, PublicKeyCredentialUserEntity, RegistrationVerificationOptions, UserHandle16, Username,
};
use webauthn_rp::request::{AsciiDomain, ExtensionInfo, PublicKeyCredentialDescriptor, RpId};
use webauthn_rp::response::auth::DiscoverableAuthentication16;
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthenticationServerState, DiscoverableCredentialRequestOptions,
    PublicKeyCredentialCreationOptions, Registration, RegistrationServerState,
};

use crate::auth::accounts::Account;
use crate::base::crypto::{self, Vault};

/// How many an account may have.
pub const MOST: i64 = 20;
/// How long the answer to a challenge is remembered: longer than a challenge is good, which is five minutes.
const ANSWERED: SignedDuration = SignedDuration::from_mins(10);

type PublicKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// This server, as authenticators know it.
#[derive(Debug)]
pub struct RelyingParty {
    id: RpId,
    origin: String,
}

/// A challenge as it goes out.
#[derive(Debug)]
pub struct Challenge {
    /// What the browser is given, as JSON.
    pub options: String,
    /// What comes back with the answer.
    pub sealed: Vec<u8>,
}

/// What came back with a form.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What the challenge was sealed for.
    pub place: &'a str,
    pub sealed: &'a [u8],
    /// What the authenticator says, as our script writes it.
    pub json: &'a str,
}

/// Why an answer is not taken.
#[derive(Debug)]
pub enum Refused {
    /// Malformed, too late, for another challenge, site or person, wrongly signed, or seen before: which of these is nobody's
    /// business.
    NotRight,
    /// The authenticator has one of this account already, or the account has [`MOST`].
    NoMore,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Refused {
        Refused::Database(error)
    }
}

/// A line in the list of a person's passkeys.
#[derive(Debug)]
pub struct Listed {
    pub id: Vec<u8>,
    pub name: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

impl RelyingParty {
    /// The server at this address; `None` where browsers have no passkeys: at an address that is a number, or without TLS
    /// (but for `localhost`).
    pub fn new(root: &str) -> Option<RelyingParty> {
        let (scheme, rest) = root.split_once("://")?;
        let authority = rest.split('/').next()?.to_lowercase();
        let host = authority.split(':').next()?;
        let is_number = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        if is_number || (scheme != "https" && host != "localhost") {
            return None;
        }
        let id = RpId::Domain(AsciiDomain::try_from(host.to_owned()).ok()?);
        let origin = match scheme {
            "https" => format!("https://{}", authority.strip_suffix(":443").unwrap_or(&authority)),
            _ => format!("{scheme}://{authority}"),
        };
        Some(RelyingParty { id, origin })
    }

    /// Asks an authenticator to make a key pair for this account. `place` is what the challenge is sealed for.
    ///
    /// # Errors
    /// [`Refused::NoMore`], and those of the database.
    pub async fn ask_for_new(
        &self,
        pool: &PgPool,
        vault: &Vault,
        account: &Account,
        place: &str,
    ) -> Result<Challenge, Refused> {
        let there: Vec<(Vec<u8>, i16)> = sqlx::query_as("SELECT id, transports FROM passkey WHERE account = $1")
            .bind(&account.id)
            .fetch_all(pool)
            .await?;
        if account.passkeys >= MOST {
            return Err(Refused::NoMore);
        }
        let known = there.into_iter().filter_map(|(id, transports)| {
            Some(PublicKeyCredentialDescriptor {
                id: CredentialId::<Vec<u8>>::decode(id).ok()?,
                transports: AuthTransports::decode(u8::try_from(transports).ok()?).ok()?,
            })
        });
        let handle = handle_of(&account.id).ok_or(Refused::NotRight)?;
        let name = format!("{} {}", account.given, account.family);
        let user = PublicKeyCredentialUserEntity {
            name: Username::try_from(account.email.as_str()).map_err(|_| Refused::NotRight)?,
            id: &handle,
            display_name: Nickname::try_from(name).ok(),
        };
        let mut options = PublicKeyCredentialCreationOptions::passkey(&self.id, user, known.collect());
        // Authenticators that can protect the key by asking for its owner should; those that cannot are asked by us each time.
        options.extensions.cred_protect = CredProtect::UserVerificationRequired(ExtensionInfo::AllowDontEnforceValue);
        let (state, options) = options.start_ceremony().map_err(|_| Refused::NotRight)?;
        let state = state.encode().map_err(|_| Refused::NotRight)?;
        Challenge::new(vault, place, &state, &options)
    }

    /// Keeps the key pair that an authenticator made.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn take_new(
        &self,
        transaction: &mut PgConnection,
        vault: &Vault,
        now: Timestamp,
        account: &Account,
        answer: Answer<'_>,
        name: &str,
    ) -> Result<(), Refused> {
        let state = answer.open(vault)?;
        let asked = RegistrationServerState::<16>::decode(&state).map_err(|_| Refused::NotRight)?;
        let answer = Registration::from_json_custom(answer.json.as_bytes()).map_err(|_| Refused::NotRight)?;
        let made = asked.verify(&self.id, &answer, &self.rules_for_new());
        let made = made.map_err(|_| Refused::NotRight)?;
        if handle_of(&account.id).as_ref() != Some(made.user_id()) {
            return Err(Refused::NotRight);
        }
        answered_now(transaction, now, &state).await?;
        let (Ok(id), Ok(transports), Ok(public_key), Ok(state)) = (
            made.id().encode().map(<[u8]>::to_vec),
            made.transports().encode(),
            made.static_state().encode(),
            made.dynamic_state().encode(),
        );
        // Counted by the statement, and held by the lock on the account, so that many at a time are no more either.
        sqlx::query("SELECT FROM account WHERE id = $1 FOR UPDATE")
            .bind(&account.id)
            .execute(&mut *transaction)
            .await?;
        let added = sqlx::query(
            "INSERT INTO passkey (id, account, name, transports, public_key, state, created_at)
             SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM passkey WHERE account = $2) < $8
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(&account.id)
        .bind(name)
        .bind(i16::from(transports))
        .bind(public_key)
        .bind(state.as_slice())
        .bind(now.to_sqlx())
        .bind(MOST)
        .execute(transaction)
        .await?;
        match added.rows_affected() {
            1 => Ok(()),
            _ => Err(Refused::NoMore),
        }
    }

    fn rules_for_new(&self) -> RegistrationVerificationOptions<'_, '_, String, String> {
        RegistrationVerificationOptions {
            allowed_origins: std::slice::from_ref(&self.origin),
            error_on_unsolicited_extensions: false,
            ..RegistrationVerificationOptions::default()
        }
    }

    /// Asks for any passkey of this site. `place` is what the challenge is sealed for.
    ///
    /// # Errors
    /// [`Refused::NotRight`] when no challenge can be made.
    pub fn ask(&self, vault: &Vault, place: &str) -> Result<Challenge, Refused> {
        let options = DiscoverableCredentialRequestOptions::passkey(&self.id);
        let (state, options) = options.start_ceremony().map_err(|_| Refused::NotRight)?;
        let state = state.encode().map_err(|_| Refused::NotRight)?;
        Challenge::new(vault, place, &state, &options)
    }

    /// The id of the account whose passkey was shown.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn take(
        &self,
        transaction: &mut PgConnection,
        vault: &Vault,
        now: Timestamp,
        answer: Answer<'_>,
    ) -> Result<String, Refused> {
        let state = answer.open(vault)?;
        let asked = DiscoverableAuthenticationServerState::decode(&state).map_err(|_| Refused::NotRight)?;
        let answer =
            DiscoverableAuthentication16::from_json_custom(answer.json.as_bytes()).map_err(|_| Refused::NotRight)?;
        let row: Option<(String, Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT k.account, k.public_key, k.state FROM passkey k JOIN account a ON a.id = k.account
             WHERE k.id = $1 AND a.active FOR UPDATE OF k",
        )
        .bind(answer.raw_id().as_ref())
        .fetch_optional(&mut *transaction)
        .await?;
        let (account, public_key, kept) = row.ok_or(Refused::NotRight)?;
        let handle = handle_of(&account).ok_or(Refused::NotRight)?;
        let public_key = StaticState::<PublicKey>::decode(&public_key).map_err(|_| Refused::NotRight)?;
        let kept: [u8; 7] = kept.try_into().map_err(|_| Refused::NotRight)?;
        let kept = DynamicState::decode(kept).map_err(|_| Refused::NotRight)?;
        let passkey = AuthenticatedCredential::new(answer.raw_id(), &handle, public_key, kept);
        let mut passkey = passkey.map_err(|_| Refused::NotRight)?;
        let rules = AuthenticationVerificationOptions::<String, String> {
            allowed_origins: std::slice::from_ref(&self.origin),
            error_on_unsolicited_extensions: false,
            ..AuthenticationVerificationOptions::default()
        };
        asked
            .verify(&self.id, &answer, &mut passkey, &rules)
            .map_err(|_| Refused::NotRight)?;
        answered_now(transaction, now, &state).await?;
        let Ok(used) = passkey.dynamic_state().encode();
        sqlx::query("UPDATE passkey SET state = $2, last_used_at = $3 WHERE id = $1")
            .bind(answer.raw_id().as_ref())
            .bind(used.as_slice())
            .bind(now.to_sqlx())
            .execute(transaction)
            .await?;
        Ok(account)
    }
}

impl Answer<'_> {
    fn open(&self, vault: &Vault) -> Result<Vec<u8>, Refused> {
        vault.open(self.place, self.sealed).map_err(|_| Refused::NotRight)
    }
}

impl Challenge {
    fn new(vault: &Vault, place: &str, state: &[u8], options: &impl Serialize) -> Result<Challenge, Refused> {
        Ok(Challenge {
            options: serde_json::to_string(options).map_err(|_| Refused::NotRight)?,
            sealed: vault.seal(place, state),
        })
    }
}

/// An account's name in authenticators: its id, which tells nothing about the person.
fn handle_of(account: &str) -> Option<UserHandle16> {
    let Ok(handle) = UserHandle16::decode(Uuid::parse_str(account).ok()?.into_bytes());
    Some(handle)
}

/// Notes that a challenge was answered; refuses whoever comes second.
async fn answered_now(transaction: &mut PgConnection, now: Timestamp, state: &[u8]) -> Result<(), Refused> {
    let noted = sqlx::query("INSERT INTO used_challenge (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(crypto::digest_of(state))
        .bind(now.saturating_add(ANSWERED).unwrap_or(now).to_sqlx())
        .execute(transaction)
        .await?;
    match noted.rows_affected() {
        1 => Ok(()),
        _ => Err(Refused::NotRight),
    }
}

/// The passkeys of an account, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn list(pool: &PgPool, account: &str) -> Result<Vec<Listed>, sqlx::Error> {
    type Row = (Vec<u8>, String, jiff_sqlx::Timestamp, Option<jiff_sqlx::Timestamp>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, created_at, last_used_at FROM passkey WHERE account = $1 ORDER BY created_at, id",
    )
    .bind(account)
    .fetch_all(pool)
    .await?;
    let listed = rows.into_iter().map(|(id, name, created_at, last_used_at)| Listed {
        id,
        name,
        created_at: created_at.to_jiff(),
        last_used_at: last_used_at.map(|at| at.to_jiff()),
    });
    Ok(listed.collect())
}

/// Calls a passkey of this account by another name.
///
/// # Errors
/// Those of the database.
pub async fn rename(database: impl PgExecutor<'_>, account: &str, id: &[u8], name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE passkey SET name = $3 WHERE id = $2 AND account = $1")
        .bind(account)
        .bind(id)
        .bind(name)
        .execute(database)
        .await?;
    Ok(())
}

/// Removes a passkey of this account. Whether it was there.
///
/// # Errors
/// Those of the database.
pub async fn remove(transaction: &mut PgConnection, account: &str, id: &[u8]) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query("DELETE FROM passkey WHERE id = $2 AND account = $1")
        .bind(account)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    super::changed(transaction, account).await?;
    Ok(removed.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_belong_to_a_name_and_an_origin() {
        let of = |root: &str| RelyingParty::new(root).map(|party| (String::from(party.id), party.origin));
        let clinic = |origin: &str| Some(("clinic.example".to_owned(), origin.to_owned()));
        assert_eq!(of("https://clinic.example"), clinic("https://clinic.example"));
        assert_eq!(of("https://Clinic.example:443/base"), clinic("https://clinic.example"));
        assert_eq!(of("https://clinic.example:8443"), clinic("https://clinic.example:8443"));
        let local = ("localhost".to_owned(), "http://localhost:8080".to_owned());
        assert_eq!(of("http://localhost:8080"), Some(local));
        for none in [
            "http://127.0.0.1:8080",
            "https://[::1]",
            "https://10.0.0.1",
            "http://clinic.example",
            "clinic",
        ] {
            assert!(RelyingParty::new(none).is_none(), "{none}");
        }
    }
}
