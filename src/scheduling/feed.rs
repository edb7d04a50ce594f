//! `GET /calendar/[secret].ics`: the visits of one person, for calendar programs, which have no token to show.
//!
//! The address is the key: 256 random bits, of which only the hash is stored. Making a new one ends the old one. What it
//! opens is when and where, and nothing else (see [`icalendar`]); that it was opened is in the trail.
//!
//! | | status |
//! |---|---|
//! | the visits of the last month and those to come | 200 |
//! | any other address | 404 |

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::icalendar::{self, Event};
use crate::base::crypto::{digest, random_token};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::preferences::Handling;
use crate::fhir::search;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Micros;
use crate::fhir::trail::{self, Kind, Shown};

/// How long a visit that is over stays in the calendar.
const PAST: SignedDuration = SignedDuration::from_hours(24 * 31);

/// Makes the address for somebody (`Patient/7`), in place of the one they had.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn open(server: &FhirServer, actor: &str) -> Result<String, FhirError> {
    const SQL: &str = "INSERT INTO calendar_feed (hash, actor, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (actor) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at";
    let secret = random_token();
    let mut lease = server.store.fixed().await?;
    sqlx::query(SQL)
        .bind(digest(&secret).as_slice())
        .bind(actor)
        .bind(Micros::from(server.clock.now()))
        .execute(&mut *lease)
        .await?;
    lease.release();
    Ok(format!("{}/calendar/{secret}.ics", root(server)))
}

pub async fn handle(State(server): State<Arc<FhirServer>>, Path(file): Path<String>) -> Result<Response, FhirError> {
    let unknown = || FhirError::no_such_address("There is no calendar at this address.");
    let secret = file.strip_suffix(".ics").ok_or_else(unknown)?;
    let actor = owner(&server, secret).await?.ok_or_else(unknown)?;
    let text = visits(&server, &actor).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/calendar; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    Ok((headers, text).into_response())
}

async fn owner(server: &FhirServer, secret: &str) -> Result<Option<String>, FhirError> {
    let mut lease = server.store.fixed().await?;
    let actor = sqlx::query_scalar("SELECT actor FROM calendar_feed WHERE hash = $1")
        .bind(digest(secret).as_slice())
        .fetch_optional(&mut *lease)
        .await?;
    lease.release();
    Ok(actor)
}

/// The practice looks, for whoever has the address: nothing but times leaves through it.
async fn visits(server: &FhirServer, actor: &str) -> Result<String, FhirError> {
    let since = server.clock.now().checked_sub(PAST).unwrap_or(Timestamp::MIN);
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let pairs = [
        pair("actor", actor.to_owned()),
        pair("date", format!("ge{since:.0}")),
        pair("_count", server.settings.max_count.to_string()),
    ];
    let search = search::parse(server, "Appointment", &pairs, Handling::Strict)?;
    let page = search::search(server, &Caller::server(), &search).await?;
    let request = format!("Appointment?actor={actor}");
    let shown = page.matches.iter().map(Shown::from);
    let event = trail::Event::new(Kind::SearchType)
        .client("calendar feed")
        .request(request)
        .showing(shown);
    server.trail.note(event).await?;
    let contents = page
        .matches
        .iter()
        .filter_map(|found| serde_json::from_str::<Value>(&found.json).ok());
    let events: Vec<Event> = contents
        .filter_map(|appointment| Event::of(&appointment, host(server)))
        .collect();
    Ok(icalendar::calendar(&events, root(server)))
}

/// The server's own address, without the path of the FHIR API.
pub fn root(server: &FhirServer) -> &str {
    let base = server.settings.base_url.as_str();
    base.strip_suffix("/fhir").unwrap_or(base)
}

/// The name of the server, for what must be unique in the world.
pub fn host(server: &FhirServer) -> &str {
    let root = root(server);
    root.split_once("://").map_or(root, |(_, host)| host)
}
