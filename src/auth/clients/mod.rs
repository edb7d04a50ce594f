//! The applications that an operator has registered.
//!
//! | file | concern |
//! |---|---|
//! | here | what is registered |
//! | [`addresses`] | where people may be sent |
//! | [`keys`] | the public keys of those that sign |

pub mod addresses;
pub mod keys;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;
use sqlx::{PgExecutor, Row};

pub use self::addresses::{check_redirect_uri, check_web_address};
pub use self::keys::check_keys;
use super::scopes::Scopes;

/// A registered application.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    /// The most it may ask for.
    pub scopes: Scopes,
    /// Where people are sent back to. A client that has none acts in its own name: a back end.
    pub redirect_uris: Vec<String>,
    /// Where it is opened from within MedConsult, if it can be.
    pub launch_url: Option<String>,
    /// Whether it may launch other applications for the person in front of it.
    pub launches: bool,
    /// Whether it comes with this server. People use such an app as they use the server's pages, and are not asked what they allow it.
    pub is_own: bool,
    pub proof: Proof,
}

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// It cannot: an application whose code everybody can read.
    Public,
    /// By a secret, of which this is the hash.
    Secret(Vec<u8>),
    /// By signing with one of these keys.
    Keys(JwkSet),
    /// By signing with one of the keys at this address, which it changes when it likes.
    KeysAt(String),
}

impl Client {
    /// The enabled client of that id.
    ///
    /// # Errors
    /// Those of the database; a registration that cannot be read any more counts as none.
    pub async fn find(database: impl PgExecutor<'_>, id: &str) -> Result<Option<Client>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT name, scope, redirect_uris, launch_url, launches, own, secret_hash, jwks, jwks_uri
             FROM oauth_client WHERE id = $1 AND enabled",
        )
        .bind(id)
        .fetch_optional(database)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (secret, keys): (Option<Vec<u8>>, Option<Value>) = (row.try_get("secret_hash")?, row.try_get("jwks")?);
        let scope: String = row.try_get("scope")?;
        let proof = match (secret, keys, row.try_get("jwks_uri")?) {
            (Some(hash), _, _) => Some(Proof::Secret(hash)),
            (None, Some(keys), _) => serde_json::from_value(keys).ok().map(Proof::Keys),
            (None, None, Some(address)) => Some(Proof::KeysAt(address)),
            (None, None, None) => Some(Proof::Public),
        };
        let (Ok(scopes), Some(proof)) = (Scopes::parse(&scope), proof) else {
            return Ok(None);
        };
        Ok(Some(Client {
            id: id.to_owned(),
            name: row.try_get("name")?,
            scopes,
            redirect_uris: row.try_get("redirect_uris")?,
            launch_url: row.try_get("launch_url")?,
            launches: row.try_get("launches")?,
            is_own: row.try_get("own")?,
            proof,
        }))
    }

    pub fn is_back_end(&self) -> bool {
        self.redirect_uris.is_empty()
    }

    /// Whether it signs, with keys that are registered or at an address that is.
    pub fn has_keys(&self) -> bool {
        matches!(self.proof, Proof::Keys(_) | Proof::KeysAt(_))
    }

    /// Whether people may be sent back to `uri`: one that was registered, letter by letter. Only the port of an application
    /// on the person's own machine may differ, since it listens where there is room
    /// (<https://www.rfc-editor.org/rfc/rfc8252#section-7.3>).
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| addresses::is_same(registered, uri))
    }
}

/// An application that can be opened from within MedConsult.
#[derive(Debug)]
pub struct Launchable {
    pub id: String,
    pub name: String,
}

/// Those that can be, by name.
///
/// # Errors
/// Those of the database.
pub async fn launchable(database: impl PgExecutor<'_>) -> Result<Vec<Launchable>, sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, name FROM oauth_client WHERE enabled AND launch_url IS NOT NULL ORDER BY lower(name), id",
    )
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().map(|(id, name)| Launchable { id, name }).collect())
}

/// An application that is about to be registered.
#[derive(Debug)]
pub struct NewClient<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub scopes: &'a Scopes,
    /// Each checked by [`check_redirect_uri`].
    pub redirect_uris: &'a [String],
    /// Checked by [`check_web_address`].
    pub launch_url: Option<&'a str>,
    /// Whether it may launch other applications.
    pub launches: bool,
    pub proof: NewProof<'a>,
}

/// How it will prove who it is.
#[derive(Debug)]
pub enum NewProof<'a> {
    Public,
    /// By a secret of this hash.
    Secret([u8; 32]),
    /// By these keys, checked by [`check_keys`].
    Keys(&'a Value),
    /// By the keys at this address, checked by [`check_web_address`].
    KeysAt(&'a str),
}

/// Where the applications that anybody's browser runs send people back to: whose pages need to read from this server.
///
/// # Errors
/// Those of the database.
pub async fn web_addresses(database: impl PgExecutor<'_>) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT unnest(redirect_uris) FROM oauth_client
         WHERE enabled AND secret_hash IS NULL AND jwks IS NULL AND jwks_uri IS NULL",
    )
    .fetch_all(database)
    .await
}

/// Registers an application. Whether the id was free.
///
/// # Errors
/// Those of the database.
pub async fn add(database: impl PgExecutor<'_>, now: Timestamp, client: &NewClient<'_>) -> Result<bool, sqlx::Error> {
    let (secret, keys, address) = match &client.proof {
        NewProof::Public => (None, None, None),
        NewProof::Secret(hash) => (Some(hash), None, None),
        NewProof::Keys(keys) => (None, Some(*keys), None),
        NewProof::KeysAt(address) => (None, None, Some(*address)),
    };
    let added = sqlx::query(
        "INSERT INTO oauth_client
             (id, name, scope, redirect_uris, launch_url, launches, secret_hash, jwks, jwks_uri, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(client.id)
    .bind(client.name)
    .bind(client.scopes.to_string())
    .bind(client.redirect_uris)
    .bind(client.launch_url)
    .bind(client.launches)
    .bind(secret)
    .bind(keys)
    .bind(address)
    .bind(now.to_sqlx())
    .execute(database)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Registers an application that comes with the server, or makes its registration what this release has. A client of the same
/// id that an operator registered stays what it is.
///
/// # Errors
/// Those of the database.
pub async fn keep_own(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    client: &NewClient<'_>,
) -> Result<(), sqlx::Error> {
    let kept = sqlx::query(
        "INSERT INTO oauth_client (id, name, scope, redirect_uris, launch_url, launches, own, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, true, $7)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, scope = excluded.scope, redirect_uris = excluded.redirect_uris,
             launch_url = excluded.launch_url, launches = excluded.launches
         WHERE oauth_client.own",
    )
    .bind(client.id)
    .bind(client.name)
    .bind(client.scopes.to_string())
    .bind(client.redirect_uris)
    .bind(client.launch_url)
    .bind(client.launches)
    .bind(now.to_sqlx())
    .execute(database)
    .await?;
    if kept.rows_affected() == 0 {
        tracing::warn!(
            client = client.id,
            "an operator registered another application by this id: ours is not let in"
        );
    }
    Ok(())
}

/// Refuses an application from now on, or lets it in again. Its tokens are gone for good after being disabled. Whether
/// there is such an application.
///
/// # Errors
/// Those of the database.
pub async fn set_enabled(database: impl PgExecutor<'_>, id: &str, enabled: bool) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(
        "WITH ended AS (DELETE FROM oauth_grant WHERE client = $1 AND NOT $2)
         UPDATE oauth_client SET enabled = $2 WHERE id = $1",
    )
    .bind(id)
    .bind(enabled)
    .execute(database)
    .await?;
    Ok(changed.rows_affected() == 1)
}
