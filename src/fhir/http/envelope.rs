//! What every request has in common: an id, a log line, a panic that becomes an answer, and `_pretty`.
//!
//! The log line has method, route template, status, duration and request id. It has no path, no query and no header of
//! the client's: these name patients.

use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use crate::base::IdGenerator;
use crate::base::address::ClientAddress;
use crate::fhir::error::FhirError;
use crate::fhir::trail::Origin;

/// <https://hl7.org/fhir/R4/http.html#custom>
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, as its answer will carry it.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Of one to 64 letters, digits, `-`, `.` and `_`.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Where a request comes from.
pub fn origin(extensions: &Extensions) -> Origin {
    let request = extensions.get::<RequestId>();
    Origin {
        address: extensions.get::<ClientAddress>().map(|client| client.0),
        request: request.map(|id| id.as_str().to_owned()).unwrap_or_default(),
    }
}

/// Wraps one request.
pub async fn wrap(State(ids): State<IdGenerator>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&ids, request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    request.extensions_mut().insert(RequestId(id.clone()));
    let pretty = request.uri().query().is_some_and(wants_pretty);

    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let handled = AssertUnwindSafe(next.run(request).instrument(span.clone()))
        .catch_unwind()
        .await;
    let _entered = span.enter();
    let mut response = handled.unwrap_or_else(|_| panicked(route));
    if pretty {
        response = prettify(response);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    tracing::info!(
        method = method.as_str(),
        route,
        status = response.status().as_u16(),
        micros = started.elapsed().as_micros() as u64,
        "request done"
    );
    response
}

/// The client's id when it is harmless to repeat, else a fresh one.
fn request_id(ids: &IdGenerator, headers: &HeaderMap) -> HeaderValue {
    let is_harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        matches!(bytes.len(), 1..=64)
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
    };
    match headers.get(REQUEST_ID).filter(is_harmless) {
        Some(value) => value.clone(),
        None => {
            let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
            let text = ids.next().hyphenated().encode_lower(&mut buffer);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
        }
    }
}

/// What a panic says may quote a resource, so it is not looked at: the hook that logs the place of every panic has
/// written its line in the same span.
fn panicked(route: &str) -> Response {
    FhirError::internal(format_args!("a handler of {route} panicked")).into_response()
}

fn wants_pretty(query: &str) -> bool {
    query.split('&').any(|part| part == "_pretty=true")
}

/// Indents a JSON body. Bodies that are streamed and bodies that are no JSON stay as they are.
fn prettify(response: Response) -> Response {
    let is_json = |headers: &HeaderMap| {
        let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        content_type.is_some_and(|content_type| content_type.starts_with(b"application/fhir+json"))
    };
    if !is_json(response.headers()) || response.body().size_hint().exact().is_none() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body of known size is in memory: there is nothing to wait for.
    let Some(Ok(collected)) = body.collect().now_or_never() else {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    let bytes: Bytes = collected.to_bytes();
    let indented = serde_json::from_slice::<Value>(&bytes).and_then(|value| serde_json::to_vec_pretty(&value));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, indented.map_or_else(|_| Body::from(bytes), Body::from))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::fhir::error::FHIR_JSON;

    #[test]
    fn pretty_keeps_digits_and_order() {
        let response = ([(header::CONTENT_TYPE, FHIR_JSON)], r#"{"b":1.50,"a":[]}"#).into_response();
        let body = prettify(response)
            .into_body()
            .collect()
            .now_or_never()
            .unwrap()
            .unwrap()
            .to_bytes();
        assert_eq!(body, "{\n  \"b\": 1.50,\n  \"a\": []\n}");
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_tells_nothing() {
        async fn fail() -> &'static str {
            panic!("secret")
        }
        let wrapped = from_fn_with_state(IdGenerator::counting(), wrap);
        let routes = Router::new().route("/", get(fail)).layer(wrapped);
        let response = routes.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[REQUEST_ID], "00000000-0000-7000-8000-000000000001");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let outcome: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&outcome["resourceType"], &outcome["issue"][0]["code"]),
            (&"OperationOutcome".into(), &"exception".into())
        );
        assert!(!outcome.to_string().contains("secret"));
    }

    #[test]
    fn pretty_is_asked_for_by_name() {
        assert!(wants_pretty("a=1&_pretty=true"));
        assert!(!wants_pretty("_pretty=false") && !wants_pretty("not_pretty=true"));
    }
}
