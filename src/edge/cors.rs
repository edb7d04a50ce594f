//! Which web pages may read from this server (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! | routes | pages of |
//! |---|---|
//! | metadata, discovery, public keys | every origin: they tell how to be let in, and nothing else |
//! | FHIR, token, revocation, userinfo | registered applications that run in a browser, and the origins of the settings |
//! | everything else, what people see above all | no other origin |
//!
//! An origin is that of an address to which a public application sends people back, or one of the settings, as a whole: no
//! patterns, and never `null`, which any page can be. Credentials are never allowed: the API is entered by a token that the
//! page sends, not by a cookie that the browser adds.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use crate::auth::clients;

/// How long the origins of applications are believed: an application that is registered or disabled, at whichever instance,
/// is known as such everywhere after this time.
const BELIEVED: Duration = Duration::from_secs(1);

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// What a page may send.
const SENT: &str = "accept, authorization, content-type, if-match, if-modified-since, if-none-exist, if-none-match, prefer, \
                    x-request-id, x-security-context";
/// What a page may read beside the body.
const READ: &str =
    "content-location, etag, last-modified, location, retry-after, www-authenticate, x-request-id, x-security-context";
/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: &str = "600";

/// The origins whose pages may read.
#[derive(Clone)]
pub struct Origins(Arc<Shared>);

struct Shared {
    /// Those of the settings; `*` among them stands for all.
    configured: Vec<String>,
    /// Where applications are registered; `None` without accounts.
    clients: Option<PgPool>,
    of_clients: RwLock<OfClients>,
    /// Held while they are read anew: of many requests, one reads.
    reading: Mutex<()>,
}

#[derive(Default)]
struct OfClients {
    origins: HashSet<String>,
    read_at: Option<Instant>,
}

impl Origins {
    /// The origins of the settings and, if there is a database of them, of registered applications.
    pub fn new(configured: &[String], clients: Option<PgPool>) -> Origins {
        let configured = configured.iter().map(|origin| origin.trim_end_matches('/').to_owned());
        Origins(Arc::new(Shared {
            configured: configured.collect(),
            clients,
            of_clients: RwLock::default(),
            reading: Mutex::default(),
        }))
    }

    /// What `Access-Control-Allow-Origin` says to a page of this origin; `None` if it may not read.
    async fn answer_to(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let shared = &*self.0;
        if shared.configured.iter().any(|configured| configured == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let name = origin.to_str().ok().filter(|name| *name != "null")?;
        let is_known = shared.configured.iter().any(|configured| configured == name)
            || match &shared.clients {
                Some(pool) => shared.is_of_client(pool, name).await,
                None => false,
            };
        is_known.then(|| origin.clone())
    }
}

impl Shared {
    async fn is_of_client(&self, pool: &PgPool, origin: &str) -> bool {
        if let Some(is_known) = self.believed(origin) {
            return is_known;
        }
        let _turn = self.reading.lock().await;
        if let Some(is_known) = self.believed(origin) {
            return is_known;
        }
        let origins = clients::web_addresses(pool).await;
        let mut of_clients = self.of_clients.write().unwrap_or_else(PoisonError::into_inner);
        match origins {
            Ok(addresses) => of_clients.origins = addresses.iter().filter_map(|uri| origin_of(uri)).collect(),
            // What is known is better than nothing: the answer itself will say that the database is away.
            Err(_) => tracing::warn!("the origins of applications cannot be read; those of before stay"),
        }
        of_clients.read_at = Some(Instant::now());
        of_clients.origins.contains(origin)
    }

    /// What is known of the origin, as long as that can be believed.
    fn believed(&self, origin: &str) -> Option<bool> {
        let of_clients = self.of_clients.read().unwrap_or_else(PoisonError::into_inner);
        let can_be_believed = of_clients.read_at.is_some_and(|read_at| read_at.elapsed() < BELIEVED);
        can_be_believed.then(|| of_clients.origins.contains(origin))
    }
}

/// The origin of a page at this address, as a browser writes it: lower case, without the port that goes without saying. `None`
/// for what is no page.
pub fn origin_of(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = rest
        .split(['/', '?', '#'])
        .next()
        .filter(|authority| !authority.is_empty())?;
    let authority = authority.to_ascii_lowercase();
    Some(format!(
        "{scheme}://{}",
        authority.strip_suffix(usual).unwrap_or(&authority)
    ))
}

/// Lets pages of known origins read what the routes answer.
pub async fn known(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = match &origin {
        Some(origin) => origins.answer_to(origin).await,
        None => None,
    };
    let mut response = answer(request, next, allowed).await;
    // No cache may give the answer for one origin to another.
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// Lets all pages read what the routes answer.
pub async fn all(request: Request, next: Next) -> Response {
    answer(request, next, Some(HeaderValue::from_static("*"))).await
}

async fn answer(request: Request, next: Next, allowed: Option<HeaderValue>) -> Response {
    // An OPTIONS without this header asks which methods there are, and the routes know.
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match is_preflight {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    if is_preflight {
        let asked = "access-control-request-method, access-control-request-headers";
        headers.append(header::VARY, HeaderValue::from_static(asked));
    }
    let Some(allowed) = allowed else {
        return response;
    };
    let mut say = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    if is_preflight {
        say(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        say(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        say(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        say(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (uri, origin) in [
            ("https://app.example/cb?x=1", "https://app.example"),
            ("https://APP.example:443/cb", "https://app.example"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("http://127.0.0.1:80/cb", "http://127.0.0.1"),
            ("http://[::1]:3000/cb", "http://[::1]:3000"),
            ("https://app.example?x", "https://app.example"),
        ] {
            assert_eq!(origin_of(uri).as_deref(), Some(origin), "{uri}");
        }
        for uri in ["com.example.app:/cb", "com.example.app://cb", "https:///cb", "null", ""] {
            assert_eq!(origin_of(uri), None, "{uri}");
        }
    }

    #[tokio::test]
    async fn origins_are_compared_whole_and_null_is_none() {
        let origins = Origins::new(&["https://app.example/".to_owned(), "null".to_owned()], None);
        let answer = async |origin: &'static str| origins.answer_to(&HeaderValue::from_static(origin)).await;
        assert_eq!(answer("https://app.example").await.unwrap(), "https://app.example");
        for other in [
            "null",
            "https://app.example.evil.example",
            "https://evil-app.example",
            "https://sub.app.example",
            "http://app.example",
            "https://app.example:8443",
            "https://APP.example",
            "https://app.exampl",
            "",
        ] {
            assert_eq!(answer(other).await, None, "{other}");
        }
        let all = Origins::new(&["*".to_owned()], None);
        assert_eq!(all.answer_to(&HeaderValue::from_static("null")).await.unwrap(), "*");
    }
}
