//! Who sent a request, and what every answer tells browsers to refrain from.
//!
//! | header | value | |
//! |---|---|---|
//! | `Strict-Transport-Security` | a year | where the public address is https |
//! | `X-Content-Type-Options` | `nosniff` | |
//! | `Referrer-Policy` | `no-referrer` | addresses of the API name patients |
//! | `Cross-Origin-Resource-Policy` | `same-origin` | no page of others shows an answer as an image or runs it as a script |
//! | `X-Frame-Options` | `DENY` | for browsers that do not know `frame-ancestors` |
//! | `Content-Security-Policy` | [`NOTHING`] | unless the answer brings one, as pages do |
//! | `Cache-Control` | `private, no-cache` | unless the answer brings one |

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::base::address::{Network, client_of};
use crate::base::listen::Peer;

/// The policy of what is no page: whatever a browser takes it for, it loads nothing, runs nothing and is shown in no frame.
pub const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// A year. Other names of the clinic's domain are not included: they are none of our business.
const HSTS: &str = "max-age=31536000";

/// What does not change from answer to answer.
#[derive(Clone)]
pub struct Facts {
    /// Whether clients reach the server by TLS only.
    pub is_https: bool,
    pub proxies: Arc<[Network]>,
}

/// Marks a request with the address of its client, and its answer with the headers of the table.
pub async fn mark(State(facts): State<Facts>, mut request: Request, next: Next) -> Response {
    // A request without a peer does not come from a socket: somebody calls the routes as a function.
    if let Some(Peer(peer)) = request.extensions().get() {
        let client = client_of(peer.ip(), request.headers(), &facts.proxies);
        request.extensions_mut().insert(client);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if facts.is_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, NOTHING),
        // A browser or proxy may keep what it got but must ask, with the ETag, whether it still holds, and never share it.
        (header::CACHE_CONTROL, "private, no-cache"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
