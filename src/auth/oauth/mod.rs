//! The endpoints of OAuth 2 and SMART App Launch, one file each.
//!
//! | file | endpoint |
//! |---|---|
//! | [`discovery`] | `GET /fhir/.well-known/smart-configuration`, `/.well-known/openid-configuration`, `/auth/jwks`, `/auth/smart-style.json` |
//! | [`token`] | `POST /auth/token` |
//! | [`introspect`] | `POST /auth/introspect` |
//! | [`revoke`] | `POST /auth/revoke` |
//! | [`authorize`], [`request`], [`consent`] | `GET` and `POST /auth/authorize`, and the pages that follow |
//! | [`launch`] | `POST /auth/launch` |
//! | [`userinfo`] | `GET /auth/userinfo` |
//! | [`client_auth`], [`assertion`] | how a client proves who it is |
//! | [`id_token`] | who signed in |
//! | [`error`], [`form`] | what they have in common |

pub mod assertion;
pub mod authorize;
pub mod client_auth;
pub mod consent;
pub mod discovery;
pub mod error;
pub mod form;
pub mod id_token;
pub mod introspect;
pub mod launch;
pub mod request;
pub mod revoke;
pub mod step_up;
pub mod token;
pub mod userinfo;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A JSON answer that nobody may keep (<https://www.rfc-editor.org/rfc/rfc6749#section-5.1>).
fn not_to_be_stored(body: &Value) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
