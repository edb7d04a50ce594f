//! `GET /verify/[secret]`: whether the sheet that somebody holds is genuine and still valid. The address is in the code on the
//! sheet: 256 random bits, of which only the hash is stored.
//!
//! The page is for a pharmacist who has the sheet in hand. It says the number, who signed when, how many medicines are on it and
//! whether it holds; not who it is for nor what it is. Whoever finds the address alone learns no more than that a practice
//! prescribed something to somebody.
//!
//! | | status |
//! |---|---|
//! | a sheet | 200 |
//! | any other address | 404 |
//!
//! `GET /verify/keys` has the keys that signatures can be checked by (<https://www.rfc-editor.org/rfc/rfc7517>).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use super::day;
use super::reprint::Signed;
use super::state;
use crate::base::crypto::digest;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind, Shown};

const STYLE: &str = include_str!("verify.css");

/// Nothing but its own style.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /verify/style.css`
pub async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE).into_response()
}

/// `GET /verify/keys`
///
/// # Errors
/// 503 when the database does not answer.
pub async fn keys(State(server): State<Arc<FhirServer>>) -> Result<Response, FhirError> {
    let mut lease = server.store.fixed().await?;
    let keys: Vec<Value> = sqlx::query_scalar("SELECT public FROM prescription_key ORDER BY made_at, kid")
        .fetch_all(&mut *lease)
        .await?;
    lease.release();
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    Ok((headers, json!({"keys": keys}).to_string()).into_response())
}

/// Whether a sheet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    /// Some of its medicines were withdrawn since it was printed, or another print replaced it.
    Superseded,
    /// All of them were.
    Withdrawn,
    Completed,
    Expired,
}

impl Verdict {
    /// A word, its class in the style, and a sentence.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Verdict::Valid => ("Valid", "good", "This prescription is genuine and valid."),
            Verdict::Superseded => (
                "Superseded",
                "bad",
                "This prescription is genuine, but was changed after this sheet was printed. Ask for the present sheet.",
            ),
            Verdict::Withdrawn => (
                "Withdrawn",
                "bad",
                "This prescription is genuine, but was withdrawn. Hand nothing out by it.",
            ),
            Verdict::Completed => (
                "Completed",
                "bad",
                "This prescription is genuine, and has been used up.",
            ),
            Verdict::Expired => ("Expired", "bad", "This prescription is genuine, but its time is over."),
        }
    }
}

/// See the [module](self).
///
/// # Errors
/// 503 when the database does not answer.
pub async fn handle(State(server): State<Arc<FhirServer>>, Path(secret): Path<String>) -> Result<Response, FhirError> {
    let Some((number, document, states)) = printed(&server, &secret).await? else {
        return Ok(unknown());
    };
    let found = server.read(&Caller::server(), "DocumentReference", &document).await?;
    let signed = Signed::find(&server, &number).await?;
    let (Some(stored), Some(signed)) = (found.filter(|found| !found.deleted), signed) else {
        return Ok(unknown());
    };
    let content: Value = serde_json::from_str(&stored.json).unwrap_or_default();
    let verdict = verdict(&server, &content, &signed, &states);
    let event = Event::new(Kind::Read)
        .client("verification page")
        .request(format!("DocumentReference/{document}"))
        .showing([Shown::from(&stored)]);
    server.trail.note(event).await?;
    Ok(page(StatusCode::OK, &shown(&number, &signed, verdict)))
}

/// The number of the sheet that was printed with this address, its document, and what it said of each medicine.
async fn printed(server: &FhirServer, secret: &str) -> Result<Option<(String, String, Vec<String>)>, FhirError> {
    let mut lease = server.store.fixed().await?;
    let row = sqlx::query_as("SELECT number, document, states FROM prescription_print WHERE hash = $1")
        .bind(digest(secret).as_slice())
        .fetch_optional(&mut *lease)
        .await?;
    lease.release();
    Ok(row)
}

fn verdict(server: &FhirServer, document: &Value, signed: &Signed, printed: &[String]) -> Verdict {
    let states = signed.states();
    let has_moved = !printed
        .iter()
        .map(String::as_str)
        .eq(states.iter().map(|state| state.code()));
    let is = |wanted: &[state::State]| states.iter().all(|state| wanted.contains(state));
    use state::State::{Cancelled, Completed, EnteredInError, Stopped};
    if is(&[Stopped, Cancelled, EnteredInError]) {
        return Verdict::Withdrawn;
    }
    if is(&[Completed, Stopped, Cancelled, EnteredInError]) {
        return Verdict::Completed;
    }
    if has_moved || document["status"] != "current" {
        return Verdict::Superseded;
    }
    let today = server.clock.now().to_zoned(TimeZone::UTC).date();
    let ends = signed
        .items
        .iter()
        .filter_map(|(signed, _)| signed.content["dispenseRequest"]["validityPeriod"]["end"].as_str());
    // A day later at the most, wherever on Earth that day is.
    match ends
        .filter_map(day::date)
        .any(|end| end.tomorrow().is_ok_and(|last| today > last))
    {
        true => Verdict::Expired,
        false => Verdict::Valid,
    }
}

fn shown(number: &str, signed: &Signed, verdict: Verdict) -> Markup {
    let (word, class, sentence) = verdict.words();
    let signature = &signed.provenance.content["signature"][0];
    let who = signature["who"]["display"].as_str().unwrap_or_default();
    let practice = signed.provenance.content["agent"][0]["onBehalfOf"]["display"]
        .as_str()
        .unwrap_or_default();
    let when = signed.signed_at.to_zoned(TimeZone::UTC);
    let items = signed.items.len();
    html! {
        p class={"verdict " (class)} { (word) }
        p { (sentence) }
        dl {
            dt { "Number" } dd { (number) }
            dt { "Signed by" } dd { (who) br; (practice) }
            dt { "Signed on" } dd { (day::in_words(when.date())) ", " (when.strftime("%H:%M").to_string()) " UTC" }
            dt { "Medicines" } dd { (items) }
        }
        p class="hint" {
            "Compare the number with the sheet, and look that the address above is that of the practice. This page shows \
             neither who the prescription is for nor what is on it."
        }
    }
}

fn unknown() -> Response {
    let text = html! {
        p class="verdict bad" { "Unknown" }
        p { "There is no prescription at this address. Scan the code again; if that does not help, the sheet is not genuine." }
    };
    page(StatusCode::NOT_FOUND, &text)
}

fn page(status: StatusCode, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex, nofollow";
                title { "Is this prescription valid?" }
                link rel="stylesheet" href="/verify/style.css";
            }
            body {
                main {
                    h1 { "Prescription" }
                    (content)
                }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, page.into_string()).into_response()
}
