//! Giving a token back (<https://www.rfc-editor.org/rfc/rfc7009>): `POST /auth/revoke`.
//!
//! It is worthless from the next request on, at every instance. A token that is unknown or another client's is answered like
//! one that was given back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::error::OAuthError;
use super::form::OAuthForm;
use super::{client_auth, not_to_be_stored};
use crate::auth::{AuthServer, tokens};
use crate::fhir::trail::{Event, Kind, Origin};

pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    origin: Origin,
    headers: HeaderMap,
    form: OAuthForm,
) -> Result<Response, OAuthError> {
    let client = client_auth::authenticate(&auth, &headers, &form).await?;
    tokens::revoke(&auth.pool, &client.id, form.require("token")?).await?;
    let event = Event::new(Kind::Revocation).client(&client.id).at(&origin);
    let recorded = auth.fhir.trail.note(event).await;
    recorded.map_err(|_| OAuthError::Unavailable)?;
    Ok(not_to_be_stored(&json!({})))
}
