//! Who the user is (<https://openid.net/specs/openid-connect-core-1_0.html#UserInfo>): `GET` or `POST /auth/userinfo`, with an
//! access token that was given for `openid`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::{id_token, not_to_be_stored};
use crate::auth::AuthServer;
use crate::auth::bearer::{self, Refusal};
use crate::auth::scopes::Kind;

pub async fn handle(State(auth): State<Arc<AuthServer>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let live = bearer::live(&auth, &headers).await?;
    let user = live.user.as_ref().filter(|_| live.scopes.has(Kind::OpenId));
    let user = user.ok_or(Refusal::InsufficientScope)?;
    let claims = id_token::about(
        &auth,
        &live.scopes,
        &user.account,
        &user.profile,
        &user.given,
        &user.family,
    );
    Ok(not_to_be_stored(&claims))
}
