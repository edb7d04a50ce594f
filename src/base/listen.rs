//! Answering HTTP requests on a socket until told to stop, within bounds to what one client may take.
//!
//! | a client that | is answered |
//! |---|---|
//! | sends a head longer than the bound, or of more than a hundred headers | 431, or 414 where the address alone is too long |
//! | sends half a head and no more in time | 408 |
//! | keeps a connection without a request | by closing it |
//! | does not take its answer | by closing the connection |
//! | does not end its handshake (TLS) | by closing the connection |
//! | has as many connections as one address may have, or comes when all are taken | 503 to its first request, then closed |
//!
//! Bodies have bounds of their own, where they are read.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Sleep, sleep, timeout};
use tower::Layer;

use super::address::{Network, household};
use super::tls::Tls;

/// How long requests that have begun may take to end when the server is told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// Pause after the operating system refused a connection, mostly for want of file descriptors.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// Connections beyond the bounds that are told so at the same time. Those beyond these are closed without a word.
const MOST_TURNED_AWAY: usize = 64;
/// How long a client may take to hear that it was too slow.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Said to who began a request and did not go on in time.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Who is at the other end of a connection; every request carries it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What clients may take of the server.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Open connections, of all clients together.
    pub connections: usize,
    /// Open connections of one address, or of one network of IPv6; those of our proxies are not counted.
    pub connections_per_address: usize,
    /// Bytes of a request before its body.
    pub head_bytes: usize,
    /// How long a client may take to send the head of a request, and how long it may keep a connection without one.
    pub head_timeout: Duration,
    /// How long an answer may wait for its client to take more of it.
    pub write_timeout: Duration,
    /// Addresses of proxies in front of the server.
    pub proxies: Vec<Network>,
}

/// What is served, and how.
pub struct Service {
    pub routes: Router,
    /// Answers the only request of a connection that is one too many.
    pub turned_away: Router,
    /// `None` where a proxy speaks TLS, or nobody needs to.
    pub tls: Option<Arc<Tls>>,
    pub bounds: Bounds,
}

/// Serves on `listener` until `stop` becomes true (or its sender is gone), then takes no new connections, closes the idle
/// ones, and returns when the requests that have begun are answered.
pub async fn serve(listener: TcpListener, service: Service, mut stop: watch::Receiver<bool>) {
    let guests = Arc::new(Guests {
        counts: Mutex::default(),
        bounds: service.bounds.clone(),
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(service.bounds.head_timeout)
        .max_header_size(service.bounds.head_bytes);
    // Every connection holds one of these until it ends.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = guests.receive(peer.ip()) else {
                    continue;
                };
                let routes = if place.turned_away {
                    &service.turned_away
                } else {
                    &service.routes
                };
                let conversation = Conversation {
                    http: http.clone(),
                    routes: Extension(Peer(peer)).layer(routes.clone()),
                    patience: service.bounds.write_timeout,
                    stop: stop.clone(),
                };
                let (tls, open) = (service.tls.clone(), open.clone());
                tokio::spawn(async move {
                    prepare(&stream);
                    match tls {
                        None => conversation.hold(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => conversation.hold(stream).await,
                            // Whoever looks for open doors comes by all the time.
                            Err(error) => tracing::debug!(%error, "a client did not agree on TLS"),
                        },
                    }
                    drop((place, open));
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
    }
    drop((listener, open));
    if timeout(GRACE, all_closed.recv()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

fn prepare(stream: &TcpStream) {
    // Answers are written in one go: waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// Whether the client went away before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection.
struct Conversation {
    http: http1::Builder,
    routes: <Extension<Peer> as Layer<Router>>::Service,
    patience: Duration,
    stop: watch::Receiver<bool>,
}

impl Conversation {
    /// Answers the requests that come, until the client is done or the server is told to stop.
    async fn hold(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let stream = Paced {
            stream,
            patience: self.patience,
            waiting: None,
        };
        let service = TowerToHyperService::new(self.routes);
        let mut connection = self.http.serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            _ = self.stop.wait_for(|stop| *stop) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        let Err(error) = ended else {
            return;
        };
        // A client that hangs up in the middle is no fault of ours.
        tracing::debug!(%error, "a connection ended early");
        // An error without a source is that of hyper's own clock, which runs while a head is read.
        let was_slow = error.is_timeout() && error.source().is_none();
        let parts = connection.into_parts();
        if was_slow && !parts.read_buf.is_empty() {
            let mut stream = parts.io.into_inner();
            let _ = timeout(LAST_WORDS, async {
                stream.write_all(TOO_SLOW).await?;
                stream.shutdown().await
            })
            .await;
        }
    }
}

/// A stream that breaks when its reader falls asleep: a write fails that has waited for `patience`.
struct Paced<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// What became of an attempt to write, unless it has waited for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.waiting = None;
            return attempt;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, attempt)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, attempt)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, attempt)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, attempt)
    }
}

/// Who is connected.
struct Guests {
    counts: Mutex<Counts>,
    bounds: Bounds,
}

#[derive(Default)]
struct Counts {
    received: usize,
    turned_away: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place that a connection takes until it ends.
struct Place {
    guests: Arc<Guests>,
    /// `None` for those that are not counted by address.
    address: Option<IpAddr>,
    turned_away: bool,
}

impl Guests {
    /// A place for a connection from this address. Where there is none, one among those that are turned away; `None` when
    /// these are too many as well.
    fn receive(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let is_proxy = self.bounds.proxies.iter().any(|network| network.contains(&address));
        let address = (!is_proxy).then(|| household(address));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = address.and_then(|address| counts.by_address.get(&address).copied());
        let has_room =
            counts.received < self.bounds.connections && of_address.unwrap_or(0) < self.bounds.connections_per_address;
        if has_room {
            counts.received += 1;
            if let Some(address) = address {
                *counts.by_address.entry(address).or_default() += 1;
            }
        } else if counts.turned_away < MOST_TURNED_AWAY {
            counts.turned_away += 1;
        } else {
            return None;
        }
        Some(Place {
            guests: self.clone(),
            address,
            turned_away: !has_room,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.turned_away {
            counts.turned_away -= 1;
            return;
        }
        counts.received -= 1;
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(connections: usize, connections_per_address: usize) -> Arc<Guests> {
        Arc::new(Guests {
            counts: Mutex::default(),
            bounds: Bounds {
                connections,
                connections_per_address,
                head_bytes: 1,
                head_timeout: GRACE,
                write_timeout: GRACE,
                proxies: vec!["10.0.0.1".parse().unwrap()],
            },
        })
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let guests = guests(3, 2);
        let receive = |address: &str| guests.receive(address.parse().unwrap()).unwrap();
        let (first, second) = (receive("2001:db8::1"), receive("2001:db8::2"));
        assert!(!first.turned_away && !second.turned_away);
        // One network of IPv6 counts as one address.
        assert!(receive("2001:db8::3").turned_away);
        drop(first);
        let third = receive("2001:db8::3");
        assert!(!third.turned_away);
        // All together have three.
        let fourth = receive("192.0.2.1");
        assert!(!fourth.turned_away && receive("192.0.2.2").turned_away);
        drop((second, third, fourth));
        assert!(guests.counts.lock().unwrap().by_address.is_empty());
        assert_eq!(guests.counts.lock().unwrap().received, 0);
    }

    #[test]
    fn a_proxy_has_as_many_connections_as_there_are() {
        let guests = guests(3, 1);
        let places: Vec<Place> = (0..4)
            .map(|_| guests.receive("::ffff:10.0.0.1".parse().unwrap()).unwrap())
            .collect();
        let turned_away: Vec<bool> = places.iter().map(|place| place.turned_away).collect();
        assert_eq!(turned_away, [false, false, false, true]);
    }

    #[test]
    fn those_who_are_turned_away_are_bounded_too() {
        let guests = guests(0, 0);
        let address = "192.0.2.1".parse().unwrap();
        let places: Vec<Option<Place>> = (0..=MOST_TURNED_AWAY).map(|_| guests.receive(address)).collect();
        assert!(places[MOST_TURNED_AWAY - 1].is_some() && places[MOST_TURNED_AWAY].is_none());
    }
}
