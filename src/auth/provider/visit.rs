//! A browser is sent to a provider, and comes back with an answer, once.

use futures::future::BoxFuture;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;

use super::id_token::{self, Said};
use super::metadata::Metadata;
use super::{Provider, ProviderError};
use crate::auth::AuthServer;
use crate::base::crypto;

/// How long somebody may stay at the provider.
const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// What brings somebody to a provider.
#[derive(Clone, Debug)]
pub struct Purpose<'a> {
    /// Of the browser: its cookie.
    pub browser: &'a str,
    /// The session whose account is to be connected; `None` to sign in.
    pub session: Option<&'a str>,
    /// Where to go afterwards.
    pub next: &'a str,
}

/// Somebody who came back.
#[derive(Debug)]
pub struct Returned {
    pub said: Said,
    pub session: Option<String>,
    pub next: String,
}

/// The answer that a browser brings along.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub state: String,
    pub code: String,
    pub iss: String,
    pub error: String,
}

/// What OpenID Connect adds to the answer of the token endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct WithIdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for WithIdToken {}

type Tokens = StandardTokenResponse<WithIdToken, BasicTokenType>;
type OidcClient = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

fn place(state: &[u8; 32]) -> String {
    let name: String = state.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("PKCE verifier of {name}")
}

impl Provider {
    fn client(&self, root: &str, metadata: &Metadata) -> Result<OidcClient, ProviderError> {
        let wrong = |_| ProviderError::Unavailable;
        let mut client = Client::new(ClientId::new(self.settings.client_id.clone()));
        if !self.settings.client_secret.is_empty() {
            client = client.set_client_secret(ClientSecret::new(self.settings.client_secret.clone()));
        }
        // Basic is what all must understand; some only take the secret in the form.
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let takes = |name: &str| methods.iter().any(|method| method == name);
        if takes("client_secret_post") && !takes("client_secret_basic") {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        Ok(client
            .set_auth_uri(AuthUrl::new(metadata.authorization_endpoint.clone()).map_err(wrong)?)
            .set_token_uri(TokenUrl::new(metadata.token_endpoint.clone()).map_err(wrong)?)
            .set_redirect_uri(RedirectUrl::new(self.redirect_uri(root)).map_err(wrong)?))
    }

    /// Where to send the browser.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn send(&self, auth: &AuthServer, purpose: &Purpose<'_>) -> Result<String, ProviderError> {
        let now = auth.clock.now();
        let published = self.published(now).await?;
        let (state, nonce) = (crypto::random_token(), crypto::random_token());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = self.client(&auth.issuer, &published.metadata)?;
        let mut request = client
            .authorize_url(|| CsrfToken::new(state.clone()))
            .add_extra_param("nonce", &nonce)
            .set_pkce_challenge(challenge);
        for scope in &self.settings.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, _) = request.url();
        let state = crypto::digest(&state);
        sqlx::query(
            "INSERT INTO provider_visit (state, browser, provider, nonce, verifier, session, next, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(state)
        .bind(crypto::digest(purpose.browser))
        .bind(&self.settings.name)
        .bind(nonce)
        .bind(auth.vault.seal(&place(&state), verifier.secret().as_bytes()))
        .bind(purpose.session)
        .bind(purpose.next)
        .bind(now.saturating_add(LIFE).unwrap_or(now).to_sqlx())
        .execute(&auth.pool)
        .await?;
        Ok(url.into())
    }

    /// Who came back to this browser, and what for.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn receive(&self, auth: &AuthServer, browser: &str, answer: &Answer) -> Result<Returned, ProviderError> {
        let now = auth.clock.now();
        let state = crypto::digest(&answer.state);
        // Gone with the first answer, whatever it says. Another browser's stays: it was not its answer.
        let row = sqlx::query(
            "DELETE FROM provider_visit WHERE state = $1 AND browser = $2 AND provider = $3
             RETURNING nonce, verifier, session, next, expires_at > $4 AS in_time",
        )
        .bind(state)
        .bind(crypto::digest(browser))
        .bind(&self.settings.name)
        .bind(now.to_sqlx())
        .fetch_optional(&auth.pool)
        .await?;
        let row = row.ok_or(ProviderError::NotAVisit)?;
        if !row.try_get::<bool, _>("in_time")? {
            return Err(ProviderError::NotAVisit);
        }
        let published = self.published(now).await?;
        let must_say = published.metadata.authorization_response_iss_parameter_supported;
        if answer.iss != self.settings.issuer && (must_say || !answer.iss.is_empty()) {
            return Err(ProviderError::Untrusted("the answer is another issuer's"));
        }
        if !answer.error.is_empty() || answer.code.is_empty() {
            return Err(ProviderError::Denied);
        }
        let verifier: Vec<u8> = row.try_get("verifier")?;
        let verifier = auth.vault.open(&place(&state), &verifier).ok();
        let verifier = verifier.and_then(|plain| String::from_utf8(plain).ok());
        let verifier = PkceCodeVerifier::new(verifier.ok_or(ProviderError::NotAVisit)?);
        let tokens = self.change(auth, &published.metadata, &answer.code, verifier).await?;
        let id_token = tokens.extra_fields().id_token.as_deref();
        let id_token = id_token.ok_or(ProviderError::Untrusted("there is no id_token"))?;
        let nonce: String = row.try_get("nonce")?;
        let mut said = id_token::read(self, now, id_token, &nonce).await?;
        if self.settings.connect_by_email && said.email.is_none() {
            said.email = self.email_of(&published.metadata, &tokens, &said.subject).await?;
        }
        Ok(Returned {
            said,
            session: row.try_get("session")?,
            next: row.try_get("next")?,
        })
    }

    async fn change(
        &self,
        auth: &AuthServer,
        metadata: &Metadata,
        code: &str,
        verifier: PkceCodeVerifier,
    ) -> Result<Tokens, ProviderError> {
        let client = self.client(&auth.issuer, metadata)?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(verifier)
            .request_async(&Http(self))
            .await;
        // The text of the error may repeat what was sent.
        tokens.map_err(|_| self.unavailable(&"the code could not be changed for a token"))
    }

    /// The verified address of whom the id_token is about: by the standard, it need not be in there
    /// (<https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims>).
    async fn email_of(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
    ) -> Result<Option<String>, ProviderError> {
        let Some(endpoint) = metadata.userinfo_endpoint.as_deref().filter(|url| self.may_use(url)) else {
            return Ok(None);
        };
        let request = self.http.get(endpoint).bearer_auth(tokens.access_token().secret());
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| self.unavailable(&error))?;
        let claims: Value = serde_json::from_slice(&self.body(answer).await?).unwrap_or_default();
        if claims["sub"].as_str() != Some(subject) {
            return Err(ProviderError::Untrusted("it tells about somebody else"));
        }
        Ok(id_token::verified_email(&claims))
    }

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let request = reqwest::Request::try_from(request).map_err(|error| self.unavailable(&error))?;
        let answer = self.http.execute(request).await;
        let answer = answer.map_err(|error| self.unavailable(&error.without_url()))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = HttpResponse::new(self.body(answer).await?);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// The way by which the library's requests leave.
struct Http<'p>(&'p Provider);

impl<'c> AsyncHttpClient<'c> for Http<'_> {
    type Error = ProviderError;
    type Future = BoxFuture<'c, Result<HttpResponse, ProviderError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.0.fetch(request))
    }
}
