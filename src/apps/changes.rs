//! `GET /fhir/$changes`: what was changed elsewhere, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! ```text
//! event: change
//! data: {"type":"Appointment","id":"7","version":"3"}
//! ```
//!
//! Of a resource nothing is told but that there is a new version, and only to callers who can see it now: each batch is asked for
//! by a search in the caller's name, with the token as it is at that moment, so that what a search would not find is not told,
//! and a token that has ended ends the stream. AuditEvents are not told, since whoever went to read them would make more. Deletions are not told, since who may know of them cannot be asked any more.
//! `event: missed` says that there was too much to tell one by one: whatever is shown may be old.
//!
//! **Where it comes from.** While somebody listens, each instance looks once a second for what was stored lately, by the
//! index that serves `_lastUpdated`. That is one short look for all listeners, and no work for those who write; a NOTIFY would
//! have every writer wait for the same lock. `last_updated` is given before its transaction commits, so each look reaches
//! back a while, and what was told already is left out.
//!
//! | | status |
//! |---|---|
//! | the stream, which ends after half an hour | 200 |
//! | more streams than the server or the account may have | 503 |

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::auth::{AuthServer, bearer};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::preferences::Handling;
use crate::fhir::search;
use crate::fhir::server::FhirServer;

/// From one look to the next.
const PACE: Duration = Duration::from_secs(1);
/// How far a look reaches back before the newest that was seen: longer than transactions take.
const OVERLAP_SECONDS: f64 = 10.0;
/// Changes between two looks that are told one by one; more is [`News::Missed`].
const MOST: i64 = 500;
/// How far a listener may fall behind, in batches.
const BEHIND: usize = 16;
/// Streams of this instance, and of one account.
const STREAMS: usize = 2000;
const STREAMS_OF_ACCOUNT: usize = 20;
/// A comment that is sent when there is nothing to say, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a new listener waits for the first look.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one stream lasts. Clients come back, to whichever instance has room.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// The changes of a database, as this instance follows them.
#[derive(Debug)]
pub struct Changes {
    news: broadcast::Sender<News>,
    somebody_listens: Notify,
    /// Whether it is known where things stand, so that whatever comes is told.
    is_looking: watch::Sender<bool>,
    /// How many streams each account has.
    streams: Mutex<HashMap<String, usize>>,
}

#[derive(Clone, Debug)]
enum News {
    Changed(Arc<[Change]>),
    Missed,
    /// The server stops.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    resource_type: String,
    id: String,
    version: i32,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes {
            news: broadcast::Sender::new(BEHIND),
            somebody_listens: Notify::new(),
            is_looking: watch::Sender::new(false),
            streams: Mutex::default(),
        }
    }
}

impl Changes {
    /// Looks for changes while somebody listens, until `stop`.
    pub async fn run(&self, server: &FhirServer, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.look_forever(server) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // Nobody may be there to hear it.
        let _ = self.news.send(News::Over);
    }

    async fn look_forever(&self, server: &FhirServer) {
        loop {
            self.somebody_listens.notified().await;
            let mut seen = Seen::default();
            while self.has_listeners() {
                match seen.look(server).await {
                    Ok(news) => {
                        self.is_looking.send_replace(true);
                        // Whoever listened may have gone meanwhile.
                        let _ = news.map(|news| self.news.send(news));
                    }
                    Err(error) => tracing::warn!(status = error.status.as_u16(), "cannot look for changes"),
                }
                sleep(PACE).await;
            }
        }
    }

    /// Whether anybody listens. Where nobody does, the next one waits until it is known anew where things stand.
    fn has_listeners(&self) -> bool {
        let _nobody_joins = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let listened_to = self.news.receiver_count() > 0;
        if !listened_to {
            self.is_looking.send_replace(false);
        }
        listened_to
    }

    fn listen(self: &Arc<Self>, account: &str) -> Option<Stream> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.values().sum::<usize>() >= STREAMS
            || streams.get(account).is_some_and(|own| *own >= STREAMS_OF_ACCOUNT)
        {
            return None;
        }
        *streams.entry(account.to_owned()).or_default() += 1;
        let news = self.news.subscribe();
        self.somebody_listens.notify_one();
        Some(Stream {
            changes: self.clone(),
            account: account.to_owned(),
            news,
        })
    }
}

/// What was told lately.
#[derive(Debug, Default)]
struct Seen {
    /// The newest `last_updated`, in seconds; `None` before the first look.
    newest: Option<f64>,
    /// The versions within the overlap, with their times.
    told: HashMap<i64, (i32, f64)>,
}

impl Seen {
    async fn look(&mut self, server: &FhirServer) -> Result<Option<News>, FhirError> {
        const NEWEST: &str =
            "SELECT coalesce(extract(epoch FROM max(last_updated)), 0)::float8 FROM resource WHERE version > 0";
        const LATE: &str =
            "SELECT r.rid, t.name, r.id, r.version, r.deleted, extract(epoch FROM r.last_updated)::float8
             FROM resource r JOIN resource_type t ON t.id = r.type
             WHERE r.version > 0 AND r.last_updated > to_timestamp($1) ORDER BY r.last_updated LIMIT $2";
        let mut lease = server.store.fixed().await?;
        let is_first = self.newest.is_none();
        let newest = match self.newest {
            Some(newest) => newest,
            None => sqlx::query_scalar(NEWEST).fetch_one(&mut *lease).await?,
        };
        let since = newest - OVERLAP_SECONDS;
        // What was told within the overlap comes again.
        let limit = MOST + 1 + i64::try_from(self.told.len()).unwrap_or(MOST);
        let rows: Vec<(i64, String, String, i32, bool, f64)> = sqlx::query_as(LATE)
            .bind(since)
            .bind(limit)
            .fetch_all(&mut *lease)
            .await?;
        lease.release();

        let too_many = i64::try_from(rows.len()).is_ok_and(|found| found >= limit);
        let mut changed = Vec::new();
        let mut newest = newest;
        for (rid, resource_type, id, version, deleted, at) in rows {
            newest = newest.max(at);
            let before = self.told.insert(rid, (version, at));
            if before.is_none_or(|(told, _)| told != version) && !deleted && resource_type != "AuditEvent" {
                changed.push(Change {
                    resource_type,
                    id,
                    version,
                });
            }
        }
        self.told.retain(|_, (_, at)| *at > newest - OVERLAP_SECONDS);
        self.newest = Some(newest);
        if too_many {
            // Behind those that were not even read.
            self.told.clear();
            self.newest = None;
            return Ok(Some(News::Missed));
        }
        // The first look only finds out where things stand.
        Ok((!is_first && !changed.is_empty()).then(|| News::Changed(changed.into())))
    }
}

/// One listener, who counts as long as this lives.
struct Stream {
    changes: Arc<Changes>,
    account: String,
    news: broadcast::Receiver<News>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = self.changes.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = streams.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                streams.remove(&self.account);
            }
        }
    }
}

/// Everything that a stream needs, for as long as it lasts.
struct Listener {
    stream: Stream,
    server: Arc<FhirServer>,
    /// With the token, which is looked at anew for each batch; `None` where there are no tokens.
    auth: Option<(Arc<AuthServer>, HeaderMap)>,
    until: Instant,
    waiting: std::vec::IntoIter<Event>,
}

/// Opens a stream for the caller of these headers.
///
/// # Errors
/// 503 when there are too many, or the database does not answer.
pub async fn open(
    changes: &Arc<Changes>,
    server: Arc<FhirServer>,
    auth: Option<Arc<AuthServer>>,
    caller: &Caller,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let holder = caller
        .grant()
        .map(|granted| granted.account.as_ref().unwrap_or(&granted.client));
    let stream = changes.listen(holder.map_or("", String::as_str));
    let stream = stream.ok_or_else(|| FhirError::unavailable("There are too many listeners. Try again later."))?;
    // What happens from the answer on is told.
    let mut is_looking = changes.is_looking.subscribe();
    let known = timeout(PATIENCE, is_looking.wait_for(|is_looking| *is_looking)).await;
    if !known.is_ok_and(|known| known.is_ok()) {
        return Err(FhirError::unavailable(
            "Changes cannot be followed for the moment. Try again later.",
        ));
    }
    let listener = Listener {
        stream,
        server,
        auth: auth.map(|auth| (auth, headers)),
        until: Instant::now() + LIFE,
        waiting: Vec::new().into_iter(),
    };
    let events = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

impl Listener {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.next() {
                return Some(event);
            }
            let news = match timeout_at(self.until, self.stream.news.recv()).await.ok()? {
                Ok(news) => news,
                Err(broadcast::error::RecvError::Lagged(_)) => News::Missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            let events = match news {
                News::Over => return None,
                News::Missed => vec![Event::default().event("missed").data("{}")],
                News::Changed(changed) => self.visible(&changed).await?,
            };
            self.waiting = events.into_iter();
        }
    }

    /// Those that the caller can see now; `None` when the token has ended.
    async fn visible(&self, changed: &[Change]) -> Option<Vec<Event>> {
        let caller = match &self.auth {
            Some((auth, headers)) => bearer::caller(auth, headers).await.ok()?,
            None => Caller::sandbox(),
        };
        let mut by_type: HashMap<&str, Vec<&Change>> = HashMap::new();
        for change in changed {
            by_type.entry(&change.resource_type).or_default().push(change);
        }
        let mut events = Vec::new();
        for (resource_type, changes) in by_type {
            // A search for more than a page of ids would be cut off.
            for some in changes.chunks(self.server.settings.max_count as usize) {
                let seen = seen_by(&self.server, &caller, resource_type, some).await;
                events.extend(seen.into_iter().map(|change| {
                    let data =
                        json!({ "type": change.resource_type, "id": change.id, "version": change.version.to_string() });
                    Event::default().event("change").data(data.to_string())
                }));
            }
        }
        Some(events)
    }
}

/// What the caller finds of these. A refusal (no scope or rule for this type) and a database that does not answer find nothing.
async fn seen_by<'c>(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    changes: &[&'c Change],
) -> Vec<&'c Change> {
    let ids: Vec<&str> = changes.iter().map(|change| change.id.as_str()).collect();
    let pairs = [
        ("_id".to_owned(), ids.join(",")),
        ("_count".to_owned(), ids.len().to_string()),
    ];
    let Ok(search) = search::parse(server, resource_type, &pairs, Handling::Strict) else {
        return Vec::new();
    };
    let Ok(page) = search::search(server, caller, &search).await else {
        return Vec::new();
    };
    let is_found = |change: &&&Change| page.matches.iter().any(|found| found.id == change.id);
    changes.iter().filter(is_found).copied().collect()
}
