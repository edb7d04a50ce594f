//! `Schedule/[id]/$block`: an absence. Nobody can book in it from then on; the visits that lie in it stay until their
//! patients have another time: each of them is offered some, by a Task that the patient answers.
//!
//! | | status |
//! |---|---|
//! | blocked, or with `preview` what would be hit | 200 |
//! | a patient, or another practitioner | 403 |

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{as_entry, bundle, viewer_zone};
use crate::fhir::commit::{Op, Write, commit};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::scheduling::availability::{Opening, Span};
use crate::scheduling::desk::{Desk, Known};
use crate::scheduling::directory::Offer;
use crate::scheduling::names::SLOT_PROFILE;
use crate::scheduling::requests::{self, Kind};
use crate::scheduling::{authority, calendar, visit};

/// New times that each patient is offered, and in how many days they are looked for.
const OFFERED: usize = 3;
const DAYS: i64 = 30;

/// A visit that an absence hits, with times in place of its own.
struct Hit {
    known: Known,
    offer: Offer,
    openings: Vec<Opening>,
}

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let id = input.id.as_deref().unwrap_or_default();
    let (schedule, content) = authority::read(desk.server, desk.caller, "Schedule", id).await?;
    let actors = content["actor"].as_array().into_iter().flatten();
    let references = actors.filter_map(|actor| actor["reference"].as_str());
    let practitioner = references
        .into_iter()
        .find(|reference| reference.starts_with("Practitioner/"));
    authority::require_practice(desk.caller, practitioner)?;
    let absence = absence(&input)?;
    let comment = input.parameters.text("comment");
    let hits = hits(desk, schedule.rid, absence).await?;

    let mut entries = Vec::new();
    if input.parameters.text("preview") != Some("true") {
        let mut slot = json!({
            "resourceType": "Slot",
            "meta": {"profile": [SLOT_PROFILE]},
            "schedule": {"reference": format!("Schedule/{id}")},
            "status": "busy-unavailable",
            "start": visit::utc(absence.start),
            "end": visit::utc(absence.end)
        });
        if let Some(comment) = comment {
            slot["comment"] = json!(comment);
        }
        let offers = hits.iter().filter(|hit| !hit.openings.is_empty()).map(|hit| {
            let starts: Vec<i64> = hit.openings.iter().map(|opening| opening.start).collect();
            requests::task(Kind::Offer, &hit.known, &starts, desk.now(), None)
        });
        let resources = [slot].into_iter().chain(offers);
        let create = |resource| Op {
            write: Write::Create {
                resource,
                if_none_exist: None,
            },
            full_url: None,
        };
        let ops = resources.map(create).collect();
        let outcomes = commit(desk.server, &desk.caller.practice(), ops)
            .await
            .map_err(|error| error.error)?;
        let modes = ["match"].into_iter().chain(std::iter::repeat("include"));
        entries.extend(modes.zip(outcomes.into_iter().map(|outcome| outcome.stored)));
    }
    let zone = viewer_zone(desk, None).await?;
    for hit in &hits {
        let (stored, _) = authority::read(desk.server, &desk.caller.practice(), "Appointment", &hit.known.id).await?;
        entries.push(("match", stored));
        let zone = zone.as_ref().unwrap_or(&hit.offer.terms.rules.hours.zone);
        entries.extend(
            hit.openings
                .iter()
                .map(|opening| ("include", as_entry(&hit.offer, *opening, zone))),
        );
    }
    bundle(desk, &entries)
}

fn absence(input: &OperationInput) -> Result<Span, FhirError> {
    let at = |name: &str| {
        let text = input.parameters.text(name).unwrap_or_default().replace(' ', "+");
        text.parse::<Timestamp>().map(Timestamp::as_second).map_err(|_| {
            FhirError::bad_value(format!(
                "'{name}' is a time with its offset, 2026-03-29T09:00:00+02:00."
            ))
            .at(format!("Parameters.parameter.where(name = '{name}')"))
        })
    };
    let absence = Span {
        start: at("start")?,
        end: at("end")?,
    };
    match absence.start < absence.end {
        true => Ok(absence),
        false => Err(FhirError::bad_value("'end' comes after 'start'.").at("Parameters.parameter.where(name = 'end')")),
    }
}

/// The open visits in an absence, each with the next times after now that are free outside of it.
async fn hits(desk: Desk<'_>, calendar: i64, absence: Span) -> Result<Vec<Hit>, FhirError> {
    let mut lease = desk.server.store.fixed().await?;
    let ids = calendar::visits(&mut lease, calendar, absence).await?;
    lease.release();
    let now = desk.now().as_second();
    let mut hits = Vec::new();
    for id in ids {
        let known = desk.look_up(&id).await?;
        if !known.state().is_some_and(|state| state.is_open()) {
            continue;
        }
        let offer = desk.offer_of(&known).await?;
        let soon = Span {
            start: now,
            end: absence.end.max(now) + SignedDuration::from_hours(24 * DAYS).as_secs(),
        };
        let openings = desk.openings(&offer, soon, Some(&id), Some(absence), OFFERED).await?;
        hits.push(Hit { known, offer, openings });
    }
    Ok(hits)
}
