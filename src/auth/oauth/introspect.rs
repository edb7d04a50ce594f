//! What a token stands for (<https://www.rfc-editor.org/rfc/rfc7662>): `POST /auth/introspect`.
//!
//! Whoever asks shows an access token of their own, or proves to be a client, which a public one cannot. About a token that is
//! not good, nothing is said but that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::error::OAuthError;
use super::form::OAuthForm;
use super::{client_auth, not_to_be_stored};
use crate::auth::clients::Proof;
use crate::auth::scopes::Kind;
use crate::auth::tokens::{self, Live};
use crate::auth::{AuthServer, bearer};
use crate::base::crypto;

pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    headers: HeaderMap,
    form: OAuthForm,
) -> Result<Response, OAuthError> {
    match bearer::bearer_token(&headers) {
        Ok(Some(own)) => {
            let own = tokens::look_up(&auth.pool, auth.clock.now(), &crypto::digest(own)).await?;
            own.ok_or(OAuthError::InvalidClient)?;
        }
        // No bearer token: a client, perhaps with its secret in the same header.
        Ok(None) | Err(_) => {
            let client = client_auth::authenticate(&auth, &headers, &form).await?;
            if matches!(client.proof, Proof::Public) {
                return Err(OAuthError::InvalidClient);
            }
        }
    }
    let token = crypto::digest(form.require("token")?);
    let live = tokens::look_up(&auth.pool, auth.clock.now(), &token).await?;
    Ok(not_to_be_stored(&match live {
        None => json!({"active": false}),
        Some(live) => about(&auth, &live),
    }))
}

fn about(auth: &AuthServer, live: &Live) -> Value {
    let mut about = json!({
        "active": true,
        "scope": live.scopes.to_string(),
        "client_id": live.client,
        "token_type": "Bearer",
        "iat": live.issued_at.as_second(),
        "exp": live.expires_at.as_second(),
        "iss": auth.issuer,
        "aud": auth.fhir.settings.base_url,
        // A back end acts in its own name.
        "sub": live.user.as_ref().map_or(&live.client, |user| &user.account),
        "jti": live.jti,
    });
    if let Some(proof) = live.proof {
        // <https://www.rfc-editor.org/rfc/rfc9470#section-6.2>
        about["auth_time"] = json!(proof.at.as_second());
        about["acr"] = json!(proof.assurance.acr());
    }
    live.context.add_to(&mut about);
    if let Some(user) = live.user.as_ref().filter(|_| live.scopes.has(Kind::FhirUser)) {
        about["fhirUser"] = json!(format!("{}/{}", auth.fhir.settings.base_url, user.profile));
    }
    about
}
