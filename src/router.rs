//! Every route, and what stands around each group of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::time::timeout;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::app::App;
use crate::apps::landing::Landing;
use crate::apps::{changes, files, landing};
use crate::auth::AuthServer;
use crate::auth::bearer;
use crate::auth::oauth::error::OAuthError;
use crate::auth::oauth::{authorize, discovery, introspect, launch, revoke, token, userinfo};
use crate::auth::pages::{
    self, PageError, account, apps, confirm, details, invite, passkeys, prove, provider, second_factor, security,
    sign_in, sign_up,
};
use crate::base::limits::Counted;
use crate::demo;
use crate::documents::{presigned, upload};
use crate::edge::cors::{self, Origins};
use crate::edge::deadline::{self, Deadline};
use crate::edge::pace::{self, Gate};
use crate::edge::{headers, host};
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::http::{
    capabilities, create, delete, envelope, history, operation, patch, read, search, transaction, update, vread,
};
use crate::fhir::trail::{Event, Kind};
use crate::mail::provider_events;
use crate::payments::webhook::{self, Door};
use crate::prescriptions::verify;
use crate::scheduling::feed;

/// Bodies smaller than this are sent as they are: they fit into a packet or two, and compressing costs more than it saves.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// The routes of the server, each group with its own layers. The last layer of a group is the first that a request meets.
///
/// | | metadata, discovery | FHIR | endpoints | pages | payments | health |
/// |---|---|---|---|---|---|---|
/// | pages of other origins | all | of applications | of applications | none | none | none |
/// | counted by address | yes | yes | stricter | stricter | yes | no |
/// | form in time | | its own | yes | yes | yes | |
/// | caller, counted | | yes | | | | |
pub fn router(app: Arc<App>) -> Router {
    let origins = Origins::new(
        &app.config.http.cors_origins,
        app.auth.as_ref().map(|auth| auth.pool.clone()),
    );
    let known_origins = from_fn_with_state(origins, cors::known);
    let gate = |counted, refuse| Gate {
        limits: app.limits.clone(),
        counted,
        refuse,
    };
    let fhir_gate = gate(&[Counted::Address], |_| FhirError::throttled().into_response());

    let mut routes = open(&app)
        .layer(from_fn_with_state(fhir_gate.clone(), pace::by_address))
        .layer(from_fn(cors::all))
        .merge(
            fhir(&app)
                .merge(
                    Router::new()
                        .route("/fhir/$changes", get(follow_changes))
                        .with_state(app.clone()),
                )
                .layer(from_fn_with_state(fhir_gate.clone(), pace::by_caller))
                .layer(from_fn_with_state(app.clone(), recognise))
                .method_not_allowed_fallback(other_method)
                .layer(from_fn_with_state(fhir_gate, pace::by_address))
                .layer(known_origins.clone()),
        );
    let providers_deadline = Deadline {
        patience: app.fhir.settings.body_timeout,
        refuse: |()| StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    routes = routes.merge(
        payments(&app)
            .merge(mail_events(&app))
            .layer(from_fn_with_state(providers_deadline, deadline::enforce))
            .layer(from_fn_with_state(
                gate(&[Counted::Address], |_| FhirError::throttled().into_response()),
                pace::by_address,
            )),
    );
    if let Some(auth) = &app.auth {
        let counted = &[Counted::Address, Counted::TokensByAddress];
        let endpoint_gate = gate(counted, |exceeded| {
            OAuthError::TooManyRequests(exceeded.retry_after).into_response()
        });
        let counted = &[Counted::Address, Counted::PagesByAddress];
        let page_gate = gate(counted, |_| PageError::TooMany.into_response());
        let patience = app.fhir.settings.body_timeout;
        let endpoint_deadline = Deadline {
            patience,
            refuse: |()| OAuthError::TooSlow.into_response(),
        };
        let page_deadline = Deadline {
            patience,
            refuse: |()| PageError::TooSlow.into_response(),
        };
        routes = routes
            .merge(
                endpoints(auth)
                    .layer(from_fn_with_state(endpoint_deadline, deadline::enforce))
                    .layer(from_fn_with_state(endpoint_gate, pace::by_address))
                    .layer(known_origins),
            )
            .merge(
                pages(auth)
                    .layer(from_fn_with_state(page_deadline, deadline::enforce))
                    .layer(from_fn_with_state(page_gate, pace::by_address)),
            );
    }
    if app.config.demo {
        routes = routes.merge(of_demo(&app));
    }
    let apps_gate = gate(&[Counted::Address], |_| FhirError::throttled().into_response());
    let apps = own_apps(&app).layer(from_fn_with_state(apps_gate, pace::by_address));
    let routes = routes.merge(apps).merge(other(&app)).fallback(unknown_address);
    around(&app, routes)
}

/// Answers the only request of a connection that is one too many.
pub fn turned_away(app: &App) -> Router {
    let routes = Router::new().fallback(async || {
        let text = "There are too many connections. Close some, or try again later.";
        ([(header::CONNECTION, "close")], FhirError::unavailable(text))
    });
    around(app, routes)
}

/// What stands around every route: the headers, compression, a request id, a log line, a net for panics.
fn around(app: &App, routes: Router) -> Router {
    let facts = headers::Facts {
        is_https: app.config.root_url().starts_with("https://"),
        proxies: app.config.http.trusted_proxies.clone().into(),
    };
    let wrapped = from_fn_with_state(app.ids.clone(), envelope::wrap);
    let mut routes = routes.layer(wrapped).layer(compression());
    if app.auth.is_none() || app.config.demo {
        routes = routes.layer(from_fn_with_state(host::of(&app.config.root_url()), host::check));
    }
    routes.layer(from_fn_with_state(facts, headers::mark))
}

/// The FHIR API (<https://hl7.org/fhir/R4/http.html>).
fn fhir(app: &App) -> Router {
    Router::new()
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
            "/fhir/DocumentReference/$upload",
            // Its own limit counts, piece by piece.
            post(upload::handle).layer(DefaultBodyLimit::disable()),
        )
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
        .with_state(app.fhir.clone())
}

/// Open to everyone: what tells how to be let in, and calendars, documents and sheets, whose address is the key.
fn open(app: &App) -> Router {
    let documents = Router::new()
        .route("/fhir/metadata", get(capabilities::handle))
        .route("/calendar/{file}", get(feed::handle))
        .route("/verify/keys", get(verify::keys))
        .route("/verify/style.css", get(verify::style))
        .route("/verify/{secret}", get(verify::handle))
        .route("/documents/{token}", get(presigned::handle))
        .with_state(app.fhir.clone());
    let documents = match &app.auth {
        None => documents,
        Some(auth) => documents.merge(
            Router::new()
                .route("/fhir/.well-known/smart-configuration", get(discovery::handle))
                .route("/.well-known/openid-configuration", get(discovery::handle_openid))
                .route("/auth/jwks", get(discovery::handle_jwks))
                .route("/auth/smart-style.json", get(discovery::handle_style))
                .with_state(auth.clone()),
        ),
    };
    documents.method_not_allowed_fallback(other_method)
}

/// What applications call.
fn endpoints(auth: &Arc<AuthServer>) -> Router {
    Router::new()
        .route("/auth/userinfo", get(userinfo::handle).post(userinfo::handle))
        .route("/auth/token", post(token::handle))
        .route("/auth/introspect", post(introspect::handle))
        .route("/auth/revoke", post(revoke::handle))
        .route(
            "/auth/launch",
            get(launch::list)
                .post(launch::handle)
                .layer(DefaultBodyLimit::max(launch::LONGEST)),
        )
        .with_state(auth.clone())
        .method_not_allowed_fallback(other_method)
}

/// What people see in a browser.
fn pages(auth: &Arc<AuthServer>) -> Router {
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
        .with_state(auth.clone())
        .method_not_allowed_fallback(other_method)
}

/// What the payment provider calls, and where it sends payers back to.
fn payments(app: &App) -> Router {
    let door = Door {
        server: app.fhir.clone(),
        payments: app.features.payments.clone(),
    };
    Router::new()
        .route(
            "/payments/stripe",
            post(webhook::handle).layer(DefaultBodyLimit::max(webhook::LONGEST)),
        )
        .route("/payments/return", get(webhook::come_back))
        .with_state(Arc::new(door))
        .method_not_allowed_fallback(other_method)
}

/// A word to those who come by, and the apps that they come for.
fn own_apps(app: &App) -> Router {
    let landing = Landing {
        files: app.files.clone(),
        base: app.fhir.settings.base_url.clone(),
        has_accounts: app.auth.is_some(),
        is_demo: app.config.demo,
    };
    Router::new()
        .route("/", get(landing::show))
        .with_state(landing)
        .merge(
            Router::new()
                .route("/apps/landing.css", get(landing::style))
                .route("/apps/{app}", get(files::handle_root))
                .route("/apps/{app}/", get(files::handle_page))
                .route("/apps/{app}/{*path}", get(files::handle))
                .with_state(app.files.clone()),
        )
        .method_not_allowed_fallback(other_method)
}

/// `GET /fhir/$changes`
async fn follow_changes(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    changes::open(&app.changes, app.fhir.clone(), app.auth.clone(), &caller, headers).await
}

/// What the demo shows of itself.
fn of_demo(app: &App) -> Router {
    let shown = demo::page::Shown {
        clock: app.clock.clone(),
        mails: app.config.data_dir.join("mail"),
    };
    Router::new()
        .route("/demo", get(demo::page::show))
        .route("/demo/accounts.json", get(demo::page::accounts))
        .route("/demo/mails.json", get(demo::page::mails))
        .with_state(Arc::new(shown))
        .method_not_allowed_fallback(other_method)
}

/// What those ask who watch over the server.
fn other(app: &Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(app.clone())
        .method_not_allowed_fallback(other_method)
}

/// What a provider of mails tells, if there is one.
fn mail_events(app: &App) -> Router {
    let Some(events) = app.provider_events.clone() else {
        return Router::new();
    };
    Router::new()
        .route("/mail/events", post(provider_events::handle))
        .layer(DefaultBodyLimit::max(provider_events::LONGEST))
        .with_state(events)
        .method_not_allowed_fallback(other_method)
}

/// gzip or zstd, whichever the client prefers. What is already compressed, as an image in a Binary, stays as it is; and so do
/// pages, since the length of what is compressed together with a secret tells about the secret; and streams, which would wait for
/// more to compress.
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(COMPRESS_FROM_BYTES)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("text/html"))
        // Ranges count the bytes of a Binary as they are.
        .and(|_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
            !headers.contains_key(header::ACCEPT_RANGES)
        });
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
    let origin = envelope::origin(request.extensions());
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
