//! Under which names a sandbox is reached.
//!
//! Nobody proves who they are to a sandbox; what keeps strangers out is that it listens on loopback only. A web page could get
//! around that: it gives its own name the address 127.0.0.1, and the browser takes the sandbox for a part of the page's own
//! site (DNS rebinding). But the browser tells the name. So a sandbox answers to addresses, to `localhost`, and to the name
//! in `public_url`.

use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::fhir::error::{FhirError, Issue, IssueType};

/// Host and port of the public address, for [`check`].
pub fn of(public_url: &str) -> Arc<str> {
    let rest = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().into()
}

/// Refuses a request for a name that is not ours. `public` is the name of the public address, with or without a port.
pub async fn check(State(public): State<Arc<str>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_none_or(|host| is_ours(host, &public)) {
        return next.run(request).await;
    }
    let text = "This server lets everybody in who reaches it by its address or as localhost, and was called otherwise. To use \
                another name, set public_url.";
    FhirError::new(StatusCode::MISDIRECTED_REQUEST, Issue::error(IssueType::Security, text)).into_response()
}

fn is_ours(host: &str, public: &str) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    is_address || name == "localhost" || name == without_port(public).to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_the_public_name_are_ours() {
        for host in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "localhost:8080",
            "LOCALHOST",
            "fhir.test:80",
        ] {
            assert!(is_ours(host, "fhir.test"), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "::1:8080x",
            "",
            "other",
        ] {
            assert!(!is_ours(host, "fhir.test"), "{host}");
        }
    }
}
