//! How a client finds the endpoints, and the keys that id_tokens are checked with. Only what is there is listed.
//!
//! | | |
//! |---|---|
//! | `GET /fhir/.well-known/smart-configuration` | <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html> |
//! | `GET /.well-known/openid-configuration` | <https://openid.net/specs/openid-connect-discovery-1_0.html> |
//! | `GET /auth/jwks` | the public keys |

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::OAuthError;
use crate::auth::{AuthServer, keys};

pub async fn handle(State(auth): State<Arc<AuthServer>>) -> Response {
    let mut configuration = both(&auth);
    configuration["capabilities"] = json!([
        "launch-standalone",
        "authorize-post",
        "client-public",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
        "sso-openid-connect",
        "permission-offline",
        "permission-online",
        "permission-user",
        "permission-v1",
        "permission-v2",
    ]);
    answer(&configuration)
}

pub async fn handle_openid(State(auth): State<Arc<AuthServer>>) -> Response {
    let mut configuration = both(&auth);
    configuration["userinfo_endpoint"] = json!(format!("{}/auth/userinfo", auth.issuer));
    configuration["subject_types_supported"] = json!(["public"]);
    configuration["id_token_signing_alg_values_supported"] = json!(["RS256"]);
    configuration["response_modes_supported"] = json!(["query"]);
    configuration["claims_supported"] = json!([
        "sub",
        "iss",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "nonce",
        "at_hash",
        "fhirUser",
        "name",
        "given_name",
        "family_name",
    ]);
    answer(&configuration)
}

/// What both documents say.
fn both(auth: &AuthServer) -> Value {
    let endpoints = &auth.endpoints;
    json!({
        "issuer": auth.issuer,
        "jwks_uri": format!("{}/auth/jwks", auth.issuer),
        "authorization_endpoint": endpoints.authorize,
        "token_endpoint": endpoints.token,
        "introspection_endpoint": endpoints.introspect,
        "revocation_endpoint": endpoints.revoke,
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": [
            "openid", "fhirUser", "profile", "offline_access", "online_access",
            "user/*.rs", "user/*.cruds", "user/*.read", "user/*.write", "user/*.*",
            "system/*.rs", "system/*.cruds", "system/*.read", "system/*.write", "system/*.*",
        ],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}

pub async fn handle_jwks(State(auth): State<Arc<AuthServer>>) -> Result<Response, OAuthError> {
    let keys = keys::published(&auth).await.map_err(|error| {
        tracing::error!(%error, "the signing keys cannot be published");
        OAuthError::Unavailable
    })?;
    Ok(answer(&keys))
}

/// Pages of every origin may read these: they tell how to be let in, and nothing else.
fn answer(body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, body.to_string()).into_response()
}
