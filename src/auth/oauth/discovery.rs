//! How a client finds the endpoints, and the keys that id_tokens are checked with. Only what is there is listed.
//!
//! | | |
//! |---|---|
//! | `GET /fhir/.well-known/smart-configuration` | <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html> |
//! | `GET /.well-known/openid-configuration` | <https://openid.net/specs/openid-connect-discovery-1_0.html> |
//! | `GET /auth/jwks` | the public keys |
//! | `GET /auth/smart-style.json` | our colours and fonts, for applications that want to look alike |

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::consent;
use super::error::OAuthError;
use crate::auth::{AuthServer, keys};
use crate::fhir::access::scope::{patient_types, resource_types};
use crate::fhir::step_up::Assurance;

pub async fn handle(State(auth): State<Arc<AuthServer>>) -> Response {
    let mut configuration = both(&auth);
    configuration["capabilities"] = json!([
        "launch-standalone",
        "launch-ehr",
        "authorize-post",
        "client-public",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
        "sso-openid-connect",
        "context-banner",
        "context-style",
        "context-ehr-patient",
        "context-ehr-encounter",
        "context-standalone-patient",
        "context-standalone-encounter",
        "permission-patient",
        "permission-user",
        "permission-offline",
        "permission-online",
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
    configuration["acr_values_supported"] = json!(Assurance::ALL.map(Assurance::acr));
    configuration["prompt_values_supported"] = json!(["none", "login", "consent"]);
    configuration["claims_supported"] = json!([
        "sub",
        "iss",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "acr",
        "amr",
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
        "scopes_supported": scopes_supported(),
        "management_endpoint": endpoints.manage,
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}

/// Those of every kind. Types and letters combine freely; so do types and their search parameters.
fn scopes_supported() -> Vec<String> {
    let words = "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access";
    let contexts = ["patient", "user", "system"];
    let of_all = contexts.iter().flat_map(|context| {
        let access = ["rs", "cruds", "read", "write", "*"];
        access.map(|access| format!("{context}/*.{access}"))
    });
    let of_types = patient_types().map(|name| format!("patient/{name}.cruds"));
    let of_users = resource_types().map(|name| format!("user/{name}.cruds"));
    let of_parts = consent::parts().map(|(name, filter)| format!("patient/{name}.rs?{filter}"));
    let words = words.split(' ').map(str::to_owned);
    words
        .chain(of_all)
        .chain(of_types)
        .chain(of_users)
        .chain(of_parts)
        .collect()
}

/// `GET /auth/smart-style.json`
/// (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling>)
pub async fn handle_style() -> Response {
    answer(&json!({
        "color_background": "#ffffff",
        "color_error": "#a3160d",
        "color_highlight": "#0b5c6b",
        "color_modal_backdrop": "rgba(0, 0, 0, 0.5)",
        "color_success": "#1c6b3a",
        "color_text": "#1b2226",
        "dim_border_radius": "6px",
        "dim_font_size": "16px",
        "dim_spacing_size": "16px",
        "font_family_body": "system-ui, sans-serif",
        "font_family_heading": "system-ui, sans-serif",
    }))
}

pub async fn handle_jwks(State(auth): State<Arc<AuthServer>>) -> Result<Response, OAuthError> {
    let keys = keys::published(&auth).await.map_err(|error| {
        tracing::error!(%error, "the signing keys cannot be published");
        OAuthError::Unavailable
    })?;
    Ok(answer(&keys))
}

fn answer(body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, body.to_string()).into_response()
}
