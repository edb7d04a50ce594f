//! Errors of the endpoints that clients call (<https://www.rfc-editor.org/rfc/rfc6749#section-5.2>).
//!
//! | | status | code |
//! |---|---|---|
//! | the request is malformed | 400 | `invalid_request` |
//! | the client is unknown, or did not prove who it is | 401 | `invalid_client` |
//! | the client may not use this grant type | 400 | `unauthorized_client` |
//! | a code or refresh token is unknown, used, too old, another client's, or not proved | 400 | `invalid_grant` |
//! | scopes that are unknown, not enforced, more than granted, or more than a back end was registered for | 400 | `invalid_scope` |
//! | a grant type that there is not | 400 | `unsupported_grant_type` |
//! | the body is no form | 415 | `invalid_request` |
//! | the form did not arrive in time | 408 | `invalid_request` |
//! | too many requests in a minute | 429 | `temporarily_unavailable` |
//! | the database does not answer | 503 | `temporarily_unavailable` |

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::not_to_be_stored;

/// Why a client's request was refused. The texts tell nothing that the client does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthError {
    InvalidRequest(String),
    InvalidClient,
    UnauthorizedClient,
    InvalidGrant,
    InvalidScope(String),
    UnsupportedGrantType,
    NotAForm,
    TooSlow,
    /// Try again after these seconds.
    TooManyRequests(u32),
    Unavailable,
}

impl From<sqlx::Error> for OAuthError {
    /// Only the kind of error is logged: its details may quote values.
    fn from(error: sqlx::Error) -> OAuthError {
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        tracing::warn!(sqlstate = code, "a request for a token failed at the database");
        OAuthError::Unavailable
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let retry_after = match self {
            OAuthError::TooManyRequests(seconds) => Some(seconds),
            OAuthError::Unavailable => Some(1),
            _ => None,
        };
        let (status, code, description) = match self {
            OAuthError::InvalidRequest(text) => (StatusCode::BAD_REQUEST, "invalid_request", text),
            OAuthError::InvalidClient => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "The client is unknown, or it did not prove that it is the client.".to_owned(),
            ),
            OAuthError::UnauthorizedClient => (
                StatusCode::BAD_REQUEST,
                "unauthorized_client",
                "This client was not registered for this grant type.".to_owned(),
            ),
            OAuthError::InvalidGrant => (
                StatusCode::BAD_REQUEST,
                "invalid_grant",
                "The code or token is not valid, or not any more, or not for this client.".to_owned(),
            ),
            OAuthError::InvalidScope(text) => (StatusCode::BAD_REQUEST, "invalid_scope", text),
            OAuthError::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "A grant_type is authorization_code, refresh_token or client_credentials.".to_owned(),
            ),
            OAuthError::NotAForm => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "The body must be application/x-www-form-urlencoded.".to_owned(),
            ),
            OAuthError::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request",
                "The form did not arrive in the time that this server waits for it.".to_owned(),
            ),
            OAuthError::TooManyRequests(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                "Too many requests in a minute. Wait and try again.".to_owned(),
            ),
            OAuthError::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The server cannot answer now. Try again.".to_owned(),
            ),
        };
        let mut response = not_to_be_stored(&json!({"error": code, "error_description": description}));
        *response.status_mut() = status;
        if let Some(seconds) = retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"MedConsult\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
