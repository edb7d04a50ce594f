//! Every route.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::time::timeout;

use crate::app::App;

/// The routes of the server.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(app)
}

/// Whether the process lives. Does not ask the database: restarting the server would not bring it back.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be answered now.
async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    let answer = sqlx::query("SELECT 1").execute(&app.database.write);
    match timeout(Duration::from_secs(2), answer).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
