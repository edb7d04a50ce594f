//! The edges of the server: connections, TLS, headers, pages of other origins, limits, secrets.

mod connections;
mod cors;
mod headers;
mod limits;
mod log;
mod secrets;
mod tls;
mod work;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use medconsult::base::listen::{self, Bounds, Service};
use medconsult::base::tls::Tls;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server with a few routes and no database.
struct Edge {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// A body that no socket's buffers hold.
const LARGE: usize = 64 << 20;

impl Edge {
    async fn start(bounds: Bounds, tls: Option<Arc<Tls>>) -> Edge {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let service = Service {
            routes: Router::new()
                .route("/", get(async || "hello"))
                .route("/large", get(async || vec![b'x'; LARGE])),
            turned_away: Router::new().fallback(async || StatusCode::SERVICE_UNAVAILABLE),
            tls,
            bounds,
        };
        let serving = tokio::spawn(listen::serve(listener, service, stopped));
        Edge { address, stop, serving }
    }
}

/// Nothing that a patient test reaches.
fn wide() -> Bounds {
    Bounds {
        connections: 100,
        connections_per_address: 100,
        head_bytes: 16 * 1024,
        head_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        proxies: Vec::new(),
    }
}
