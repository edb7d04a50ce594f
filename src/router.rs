//! Every route.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::app::App;
use crate::auth::AuthServer;
use crate::auth::bearer;
use crate::auth::oauth::{authorize, discovery, introspect, launch, revoke, token, userinfo};
use crate::auth::pages::{
    self, account, apps, confirm, details, invite, passkeys, prove, provider, second_factor, security, sign_in, sign_up,
};
use crate::base::listen::Peer;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::http::envelope::RequestId;
use crate::fhir::http::{
    capabilities, cors, create, delete, envelope, history, operation, patch, read, search, transaction, update, vread,
};
use crate::fhir::trail::{Event, Kind, Origin};

/// Bodies smaller than this are sent as they are: they fit into a packet or two, and compressing costs more than it saves.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// The routes of the server.
pub fn router(app: Arc<App>) -> Router {
    let server = app.fhir.clone();

    let fhir = Router::new()
        .route("/fhir", post(transaction::handle).get(search::handle_system))
        .route("/fhir/", post(transaction::handle).get(search::handle_system))
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
        .layer(from_fn_with_state(app.clone(), recognise));

    // Read by those who want to know how to be let in, hence open to everyone.
    let open = Router::new()
        .route("/fhir/metadata", get(capabilities::handle))
        .with_state(server.clone());

    let tokens = match &app.auth {
        Some(auth) => Router::new()
            .route("/fhir/.well-known/smart-configuration", get(discovery::handle))
            .route("/.well-known/openid-configuration", get(discovery::handle_openid))
            .route("/auth/jwks", get(discovery::handle_jwks))
            .route("/auth/smart-style.json", get(discovery::handle_style))
            .route("/auth/userinfo", get(userinfo::handle).post(userinfo::handle))
            .route("/auth/token", post(token::handle))
            .route("/auth/introspect", post(introspect::handle))
            .route("/auth/revoke", post(revoke::handle))
            .route(
                "/auth/launch",
                post(launch::handle).layer(DefaultBodyLimit::max(launch::LONGEST)),
            )
            .with_state(auth.clone()),
        None => Router::new(),
    };

    let other = Router::new()
        .route("/", get(landing))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(app.clone());

    let routes = fhir
        .merge(open)
        .merge(tokens)
        .merge(other)
        .fallback(unknown_address)
        .method_not_allowed_fallback(other_method);
    let wrapped = from_fn_with_state(app.ids.clone(), envelope::wrap);
    let routes = routes.layer(wrapped.clone()).layer(compression());
    let routes = cors::layer(routes, &server.settings.cors_origins);
    match &app.auth {
        // No other origin's script reads a page, whatever the settings say; and a page is not compressed, since the length
        // of what is compressed together with a secret tells about the secret.
        Some(auth) => {
            let pages = pages(auth.clone()).method_not_allowed_fallback(other_method);
            pages.layer(wrapped).fallback_service(routes)
        }
        None => routes,
    }
}

/// What people see in a browser.
fn pages(auth: Arc<AuthServer>) -> Router {
    Router::new()
        .route("/auth/style.css", get(pages::style))
        .route("/auth/passkeys.js", get(pages::script))
        .route("/auth/sign-up", get(sign_up::show).post(sign_up::submit))
        .route("/auth/forgot", get(sign_up::show_forgot).post(sign_up::submit_forgot))
        .route("/auth/check-mail", get(sign_up::check_mail))
        .route("/auth/confirm", get(confirm::show).post(confirm::submit))
        .route("/auth/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/auth/prove", get(prove::show).post(prove::submit))
        .route("/auth/sign-out", post(sign_in::sign_out))
        .route(
            "/auth/second-factor",
            get(second_factor::show).post(second_factor::submit),
        )
        .route(
            "/auth/second-factor/set-up",
            get(second_factor::show_set_up).post(second_factor::submit_set_up),
        )
        .route("/auth/second-factor/backup-codes", post(second_factor::new_codes))
        .route("/auth/second-factor/remove", post(second_factor::remove))
        .route("/auth/second-factor/mail", post(second_factor::send_mail))
        .route("/auth/second-factor/mail-codes", post(second_factor::choose_mail))
        .route("/auth/passkeys", get(passkeys::show).post(passkeys::submit))
        .route("/auth/passkeys/sign-in", post(passkeys::sign_in))
        .route("/auth/passkeys/prove", post(passkeys::prove))
        .route("/auth/passkeys/rename", post(passkeys::rename))
        .route("/auth/passkeys/remove", post(passkeys::remove))
        .route("/auth/account", get(account::show))
        .route("/auth/account/details", get(details::show).post(details::submit))
        .route(
            "/auth/account/picture",
            get(details::picture).post(details::submit_picture),
        )
        .route("/auth/account/picture/remove", post(details::remove_picture))
        .route("/auth/account/security", get(security::show))
        .route("/auth/account/disconnect", post(provider::disconnect))
        .route("/auth/provider/{name}", get(provider::start))
        .route("/auth/provider/{name}/connect", post(provider::connect))
        .route("/auth/provider/{name}/callback", get(provider::callback))
        .route("/auth/account/password", post(security::password))
        .route("/auth/account/email", post(security::email))
        .route("/auth/account/end-session", post(account::end_session))
        .route("/auth/account/end-sessions", post(account::end_sessions))
        .route("/auth/account/end-application", post(account::end_application))
        .route("/auth/account/close", post(account::close))
        .route("/auth/authorize", get(authorize::handle).post(authorize::handle))
        .route("/auth/authorize/about", post(authorize::about))
        .route("/auth/consent", post(authorize::decide))
        .route("/auth/apps", get(apps::show))
        .route("/auth/apps/open", get(apps::show_one).post(apps::open))
        .route("/auth/invite", get(invite::show).post(invite::submit))
        .with_state(auth)
}

/// gzip or zstd, whichever the client prefers. What is already compressed, as an image in a Binary, stays as it is.
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(COMPRESS_FROM_BYTES).and(NotForContentType::IMAGES);
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(worthwhile)
}

/// Says who asks, or refuses them. Without authentication, which is possible on loopback only, that is always the same
/// caller.
async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let caller = match &app.auth {
        Some(auth) => bearer::caller(auth, request.headers()).await,
        None => Ok(Caller::sandbox()),
    };
    let origin = origin(&request);
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller.with_origin(origin));
            next.run(request).await
        }
        Err(refusal) => {
            let response = refusal.into_response();
            let path = request.uri().path().trim_start_matches("/fhir").trim_start_matches('/');
            let event = Event::new(Kind::Access).at(&origin).request(path);
            let recorded = app.fhir.trail.note(event.refused(response.status().as_str())).await;
            recorded.map_or_else(IntoResponse::into_response, |()| response)
        }
    }
}

/// Where a request comes from.
fn origin(request: &Request) -> Origin {
    let request_id = request.extensions().get::<RequestId>();
    Origin {
        address: request.extensions().get::<Peer>().map(|peer| peer.0.ip()),
        request: request_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
    }
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
