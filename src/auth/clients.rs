//! The applications that an operator has registered.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;
use sqlx::PgExecutor;

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
}

impl Client {
    /// The enabled client of that id.
    ///
    /// # Errors
    /// Those of the database; a registration that cannot be read any more counts as none.
    pub async fn find(database: impl PgExecutor<'_>, id: &str) -> Result<Option<Client>, sqlx::Error> {
        type Row = (String, String, Vec<String>, Option<Vec<u8>>, Option<Value>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT name, scope, redirect_uris, secret_hash, jwks FROM oauth_client WHERE id = $1 AND enabled",
        )
        .bind(id)
        .fetch_optional(database)
        .await?;
        Ok(row.and_then(|(name, scope, redirect_uris, secret, keys)| {
            Some(Client {
                id: id.to_owned(),
                name,
                scopes: Scopes::parse(&scope).ok()?,
                redirect_uris,
                proof: match (secret, keys) {
                    (Some(hash), _) => Proof::Secret(hash),
                    (None, Some(keys)) => Proof::Keys(serde_json::from_value(keys).ok()?),
                    (None, None) => Proof::Public,
                },
            })
        }))
    }

    pub fn is_back_end(&self) -> bool {
        self.redirect_uris.is_empty()
    }

    /// Whether people may be sent back to `uri`: one that was registered, letter by letter. Only the port of an application
    /// on the person's own machine may differ, since it listens where there is room
    /// (<https://www.rfc-editor.org/rfc/rfc8252#section-7.3>).
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        let is_registered = |registered: &String| {
            registered == uri || without_port(registered).is_some_and(|r| without_port(uri) == Some(r))
        };
        self.redirect_uris.iter().any(is_registered)
    }
}

/// A loopback address in two parts, before and after its port; `None` for every other address.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"]
        .into_iter()
        .find(|host| uri.starts_with(host))?;
    let rest = &uri[host.len()..];
    let (port, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    is_port.then_some((host, path))
}

/// Checks an address that people are to be sent back to: absolute, without a fragment, by TLS or on the person's own machine,
/// or of an installed application's own scheme.
///
/// # Errors
/// A sentence about what is wrong.
pub fn check_redirect_uri(uri: &str) -> Result<(), String> {
    let (scheme, rest) = uri
        .split_once(':')
        .ok_or_else(|| format!("{uri} is not an absolute address"))?;
    let is_plain = uri
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
    let is_scheme = scheme
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    if !is_plain || !is_scheme || rest.is_empty() {
        return Err(format!("{uri} is not an address without a fragment"));
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?']).next());
    match scheme {
        "https" if authority.is_some_and(|host| !host.is_empty() && !host.contains('@')) => Ok(()),
        "http"
            if without_port(uri).is_some()
                || authority.is_some_and(|host| host.split(':').next() == Some("localhost")) =>
        {
            Ok(())
        }
        "https" | "http" => Err(format!(
            "{uri} must begin with https:// and a host, or be on this machine (http://127.0.0.1)"
        )),
        // A dot, as in com.example.app: what browsers and systems understand themselves has none.
        _ if scheme.contains('.') => Ok(()),
        _ => Err(format!(
            "the scheme {scheme} is not an application's own, which has a dot, as in com.example.app"
        )),
    }
}

/// An application that is about to be registered.
#[derive(Debug)]
pub struct NewClient<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub scopes: &'a Scopes,
    /// Each checked by [`check_redirect_uri`].
    pub redirect_uris: &'a [String],
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
}

/// Registers an application. Whether the id was free.
///
/// # Errors
/// Those of the database.
pub async fn add(database: impl PgExecutor<'_>, now: Timestamp, client: &NewClient<'_>) -> Result<bool, sqlx::Error> {
    let (secret, keys) = match &client.proof {
        NewProof::Public => (None, None),
        NewProof::Secret(hash) => (Some(hash), None),
        NewProof::Keys(keys) => (None, Some(*keys)),
    };
    let added = sqlx::query(
        "INSERT INTO oauth_client (id, name, scope, redirect_uris, secret_hash, jwks, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(client.id)
    .bind(client.name)
    .bind(client.scopes.to_string())
    .bind(client.redirect_uris)
    .bind(secret)
    .bind(keys)
    .bind(now.to_sqlx())
    .execute(database)
    .await?;
    Ok(added.rows_affected() == 1)
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

/// Checks a set of public keys that is about to be registered: each needs a `kid` of its own and must fit RS384 or ES384, and
/// none may be a private key that was sent by mistake.
///
/// # Errors
/// A sentence about the first key that is wrong.
pub fn check_keys(keys: &Value) -> Result<(), String> {
    let list = keys["keys"]
        .as_array()
        .ok_or("a JWKS is an object with a list \"keys\"")?;
    if list.is_empty() {
        return Err("there is no key in \"keys\"".to_owned());
    }
    let mut seen = Vec::new();
    for key in list {
        let kid = key["kid"].as_str().filter(|kid| !kid.is_empty());
        let kid = kid.ok_or("a key has no \"kid\"")?;
        if seen.contains(&kid) {
            return Err(format!("two keys have the kid {kid:?}"));
        }
        seen.push(kid);
        if ["d", "p", "q", "k"].iter().any(|member| key.get(member).is_some()) {
            return Err(format!(
                "{kid:?} is a private key; only its public half belongs here, and this one is spoilt now"
            ));
        }
        match (key["kty"].as_str(), key["crv"].as_str()) {
            (Some("RSA"), _) | (Some("EC"), Some("P-384")) => {}
            _ => {
                return Err(format!(
                    "{kid:?} is neither an RSA key (for RS384) nor one on the curve P-384 (for ES384)"
                ));
            }
        }
    }
    let set: Result<JwkSet, _> = serde_json::from_value(keys.clone());
    set.map(|_| ())
        .map_err(|error| format!("the keys cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_public_named_and_fit_an_algorithm() {
        let rsa = json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"});
        assert_eq!(check_keys(&json!({"keys": [rsa]})), Ok(()));
        let with = |change: Value| {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            check_keys(&json!({"keys": [key]})).unwrap_err()
        };
        assert!(with(json!({"d": "AQAB"})).contains("private"));
        assert!(with(json!({"kid": ""})).contains("no \"kid\""));
        assert!(with(json!({"kty": "EC", "crv": "P-256"})).contains("neither"));
        assert!(with(json!({"kty": "oct", "k": "x"})).contains("private"));
        assert!(
            check_keys(&json!({"keys": [rsa, rsa]}))
                .unwrap_err()
                .contains("two keys")
        );
        assert!(check_keys(&json!({"keys": []})).is_err() && check_keys(&json!([])).is_err());
    }

    #[test]
    fn addresses_that_can_be_trusted_are_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example/cb?a=1",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:8000/cb",
            "http://[::1]/cb",
            "http://localhost:3000/",
            "com.example.app:/cb",
            "com.example.app://cb",
        ] {
            assert_eq!(check_redirect_uri(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "app.example/cb",
            "/cb",
            "http://app.example/cb",
            "https://",
            "https:/cb",
            "https://u@app.example/",
            "https://app.example/#x",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example/a b",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example/",
            "myapp://cb",
        ] {
            assert!(check_redirect_uri(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_are_sent_back_to_registered_addresses_only() {
        let client = |uri: &str| Client {
            id: "app".to_owned(),
            name: String::new(),
            scopes: Scopes::default(),
            redirect_uris: vec![uri.to_owned()],
            proof: Proof::Public,
        };
        let web = client("https://app.example/cb");
        assert!(web.may_redirect_to("https://app.example/cb"));
        for other in [
            "https://app.example/cb/",
            "https://app.example/CB",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "https://app.example/cb?x=1",
            "https://app.example/cb#x",
            "https://app.example/cb/../cb",
            "https://app.example/%63b",
            "https://u@app.example/cb",
            "http://app.example/cb",
            "https://app.example.evil.example/cb",
            "",
            "javascript:alert(1)",
        ] {
            assert!(!web.may_redirect_to(other), "{other}");
        }
        let native = client("http://127.0.0.1/cb");
        assert!(native.may_redirect_to("http://127.0.0.1:49152/cb") && native.may_redirect_to("http://127.0.0.1/cb"));
        for other in [
            "http://127.0.0.1:1/other",
            "http://127.0.0.1:x/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://[::1]/cb",
            "http://localhost/cb",
        ] {
            assert!(!native.may_redirect_to(other), "{other}");
        }
    }
}
