//! Which web pages may read from this server (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower::{ServiceExt as _, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Lets pages of these origins (`https://app.example`) use the routes; `*` stands for all pages, none for no page.
///
/// Credentials are never allowed: the API is entered by a token that the page sends, not by a cookie that the browser adds.
pub fn layer(routes: Router, origins: &[String]) -> Router {
    if origins.is_empty() {
        return routes;
    }
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let name = HeaderName::from_static;
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_NONE_MATCH,
            name("if-none-exist"),
            name("prefer"),
            name("x-request-id"),
            name("x-security-context"),
        ])
        .expose_headers([
            header::CONTENT_LOCATION,
            header::ETAG,
            header::LAST_MODIFIED,
            header::LOCATION,
            name("x-request-id"),
        ])
        .max_age(MAX_AGE);
    let with_cors = routes.clone().layer(cors);
    // The layer takes every OPTIONS for a preflight; one that is none asks which methods there are, and the routes know.
    Router::new().fallback_service(service_fn(move |request: Request| {
        let is_question = request.method() == Method::OPTIONS
            && !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if is_question { routes.clone() } else { with_cors.clone() }.oneshot(request)
    }))
}
