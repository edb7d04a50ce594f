//! Every route.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::app::App;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::http::{
    capabilities, cors, create, delete, envelope, history, operation, patch, read, search, transaction, update, vread,
};

/// Bodies smaller than this are sent as they are: they fit into a packet or two, and compressing costs more than it saves.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// The routes of the server.
pub fn router(app: Arc<App>) -> Router {
    let server = app.fhir.clone();

    let fhir = Router::new()
        .route("/fhir", post(transaction::handle).get(search::handle_system))
        .route("/fhir/", post(transaction::handle).get(search::handle_system))
        .route("/fhir/metadata", get(capabilities::handle))
        .route("/fhir/_history", get(history::handle_system))
        .route("/fhir/_search", post(search::handle_system_form))
        .route(
            "/fhir/${operation}",
            get(operation::handle_get).post(operation::handle_post),
        )
        .route(
            "/fhir/{type}",
            get(search::handle)
                .post(create::handle)
                .put(update::handle_conditional)
                .patch(patch::handle_conditional)
                .delete(delete::handle_conditional),
        )
        .route("/fhir/{type}/_search", post(search::handle_form))
        .route("/fhir/{type}/_history", get(history::handle_type))
        .route(
            "/fhir/{type}/${operation}",
            get(operation::handle_get).post(operation::handle_post),
        )
        .route(
            "/fhir/{type}/{id}",
            get(read::handle)
                .put(update::handle)
                .patch(patch::handle)
                .delete(delete::handle),
        )
        .route("/fhir/{type}/{id}/{member}", get(search::handle_compartment))
        .route(
            "/fhir/{type}/{id}/{member}/_search",
            post(search::handle_compartment_form),
        )
        .route("/fhir/{type}/{id}/_history", get(history::handle_instance))
        .route("/fhir/{type}/{id}/_history/{version}", get(vread::handle))
        .route(
            "/fhir/{type}/{id}/_history/{version}/${operation}",
            get(operation::handle_get).post(operation::handle_post),
        )
        .route(
            "/fhir/{type}/{id}/${operation}",
            get(operation::handle_get).post(operation::handle_post),
        )
        .with_state(server.clone())
        .layer(from_fn(recognise));

    let other = Router::new()
        .route("/", get(landing))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(app.clone());

    let routes = fhir
        .merge(other)
        .fallback(unknown_address)
        .method_not_allowed_fallback(other_method);
    let routes = routes
        .layer(from_fn_with_state(app.ids.clone(), envelope::wrap))
        .layer(compression());
    cors::layer(routes, &server.settings.cors_origins)
}

/// gzip or zstd, whichever the client prefers. What is already compressed, as an image in a Binary, stays as it is.
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(COMPRESS_FROM_BYTES).and(NotForContentType::IMAGES);
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(worthwhile)
}

/// Says who asks. Without authentication, which is possible on loopback only, that is always the same caller.
async fn recognise(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Caller::sandbox());
    next.run(request).await
}

/// The answer to OPTIONS, and the refusal of a method that a route does not have. The router adds `Allow` to both.
async fn other_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let text = format!(
        "{method} is not possible at {}; the header Allow lists what is.",
        excerpt(uri.path())
    );
    FhirError::method_not_allowed(text).into_response()
}

async fn unknown_address(uri: Uri) -> FhirError {
    let text = format!(
        "There is nothing at {}. The FHIR API begins at /fhir/metadata.",
        excerpt(uri.path())
    );
    FhirError::no_such_address(text)
}

/// Tells a person who opens the server in a browser where they are.
async fn landing(State(app): State<Arc<App>>) -> Response {
    let base = &app.fhir.settings.base_url;
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>MedConsult</title>\
         <h1>MedConsult</h1><p>An FHIR R4 server. Its API is at <code>{base}</code>; \
         <a href=\"/fhir/metadata?_pretty=true\">what it can do</a> is a CapabilityStatement.</p></html>\n"
    );
    let policy = "default-src 'none'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
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
