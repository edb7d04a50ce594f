//! What a provider publishes (<https://openid.net/specs/openid-connect-discovery-1_0.html>): its endpoints, and the keys that
//! it signs with.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Provider, ProviderError};

/// How long what was published is believed.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// A key that is not among those known makes us look again, but not more often than this.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
/// Longest document that is read, in bytes.
const LONGEST: usize = 256 * 1024;

/// What matters of a provider's metadata.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
    /// Whether its answers always carry `iss` (<https://www.rfc-editor.org/rfc/rfc9207>).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

/// Metadata and keys as they were at a time.
#[derive(Clone, Debug)]
pub struct Published {
    pub metadata: Metadata,
    keys: Vec<Jwk>,
    at: Timestamp,
}

impl Provider {
    /// What the provider publishes, not older than an hour.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`], also when it publishes what cannot be right.
    pub async fn published(&self, now: Timestamp) -> Result<Published, ProviderError> {
        let mut published = self.published.lock().await;
        match &*published {
            Some(known) if now.duration_since(known.at) < FRESH => Ok(known.clone()),
            _ => Ok(published.insert(self.read(now).await?).clone()),
        }
    }

    /// The key of this name. Looks again when it is not among those known: keys come and go.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]; `Untrusted` when there is no such key.
    pub async fn key(&self, now: Timestamp, kid: Option<&str>) -> Result<Jwk, ProviderError> {
        let known = self.published(now).await?;
        if let Some(key) = known.key(kid) {
            return Ok(key);
        }
        let mut published = self.published.lock().await;
        let is_new = |known: &Published| now.duration_since(known.at) < PATIENCE;
        if !published.as_ref().is_some_and(is_new) {
            *published = Some(self.read(now).await?);
        }
        let key = published.as_ref().and_then(|known| known.key(kid));
        key.ok_or(ProviderError::Untrusted("it is signed by a key that is not published"))
    }

    async fn read(&self, now: Timestamp) -> Result<Published, ProviderError> {
        let issuer = &self.settings.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata: Metadata = self.document(&address).await?;
        let addresses = [
            &metadata.authorization_endpoint,
            &metadata.token_endpoint,
            &metadata.jwks_uri,
        ];
        // Whoever publishes under another name than it is called by would let us mistake one provider for another.
        if metadata.issuer != *issuer || !addresses.iter().all(|address| self.may_use(address)) {
            tracing::warn!(
                provider = self.settings.name,
                "the provider publishes another issuer, or addresses without TLS"
            );
            return Err(ProviderError::Unavailable);
        }
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<Value>,
        }
        let keys: Keys = self.document(&metadata.jwks_uri).await?;
        // Kinds of keys that we do not know are no reason to refuse the others.
        let keys = keys.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(Published {
            metadata,
            keys: keys.collect(),
            at: now,
        })
    }

    async fn document<T: DeserializeOwned>(&self, address: &str) -> Result<T, ProviderError> {
        let answer = self.http.get(address).header("accept", "application/json").send();
        let answer = answer.await.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| self.unavailable(&error))?;
        let body = self.body(answer).await?;
        serde_json::from_slice(&body).map_err(|error| self.unavailable(&error))
    }

    /// The body of an answer, if it is not too long.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]
    pub(super) async fn body(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| self.unavailable(&error))? {
            body.extend_from_slice(&part);
            if body.len() > LONGEST {
                return Err(self.unavailable(&"the document is too long"));
            }
        }
        Ok(body)
    }

    /// Logs why; the text names addresses of the provider and nobody's secrets.
    pub(super) fn unavailable(&self, why: &dyn std::fmt::Display) -> ProviderError {
        tracing::warn!(provider = self.settings.name, %why, "an OpenID provider did not answer as it must");
        ProviderError::Unavailable
    }
}

impl Published {
    /// The key of this name; without a name, the only one there is.
    fn key(&self, kid: Option<&str>) -> Option<Jwk> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| kid.is_none() || key.common.key_id.as_deref() == kid);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key.clone()),
            _ => None,
        }
    }
}
