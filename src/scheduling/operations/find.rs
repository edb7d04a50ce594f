//! `Appointment/$find`: the times that are free (IHE ITI-115,
//! <https://profiles.ihe.net/ITI/Scheduling/OperationDefinition-appointment-find.html>).
//!
//! Two questions to the database, however many calendars: the Schedules with their services, and what is taken in them, which
//! is asked again for later days where the first ones have too few ([`Lookout`]). The rest is arithmetic, and goes only as far
//! as the answer needs it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{as_entry, bundle, id_in, viewer_zone};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::parameters::Parameters;
use crate::scheduling::availability::{Opening, Span};
use crate::scheduling::desk::Desk;
use crate::scheduling::directory::{self, Offer};
use crate::scheduling::lookout::Lookout;
use crate::scheduling::{authority, calendar};

/// How far is looked where nobody says.
const DEFAULT_DAYS: i64 = 30;
/// How far is looked at most.
const MAX_DAYS: i64 = 366;
/// Proposals where nobody says how many.
const DEFAULT_COUNT: usize = 100;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let parameters = &input.parameters;
    let zone = viewer_zone(desk, parameters.text("time-zone")).await?;
    let range = range(parameters, zone.as_ref(), desk.now())?;
    let most = parameters
        .text("_count")
        .and_then(|count| count.parse().ok())
        .unwrap_or(DEFAULT_COUNT);
    let most = most.min(desk.server.settings.max_count as usize);
    let ignored = match parameters.references("ignore-appointment").next() {
        None => None,
        Some(reference) => {
            let id = id_in("ignore-appointment", "Appointment", reference)?;
            authority::read(desk.server, desk.caller, "Appointment", id).await?;
            Some(id)
        }
    };
    let offers = offers(desk, parameters).await?;
    let each = match parameters.text("first-available") == Some("true") {
        true => 1,
        false => usize::MAX,
    };
    let openings = first_openings(desk, &offers, range, ignored, each, most).await?;
    let entries: Vec<_> = openings
        .into_iter()
        .map(|(opening, offer)| {
            let zone = zone.as_ref().unwrap_or(&offer.terms.rules.hours.zone);
            ("match", as_entry(offer, opening, zone))
        })
        .collect();
    bundle(desk, &entries)
}

/// From `start` to `end`, of which a date is the whole day where the caller is.
fn range(parameters: &Parameters, zone: Option<&TimeZone>, now: Timestamp) -> Result<Span, FhirError> {
    let at = |name: &str, is_end: bool| -> Result<Option<i64>, FhirError> {
        let Some(text) = parameters.text(name) else {
            return Ok(None);
        };
        // An unencoded plus sign of an offset arrives as a space.
        if let Ok(instant) = text.replace(' ', "+").parse::<Timestamp>() {
            return Ok(Some(instant.as_second()));
        }
        let day = text
            .parse::<Date>()
            .ok()
            .and_then(|day| if is_end { day.tomorrow().ok() } else { Some(day) });
        let midnight = day.and_then(|day| zone.unwrap_or(&TimeZone::UTC).to_timestamp(day.into()).ok());
        let refuse = || {
            let text = format!("'{name}' is a day, 2026-03-29, or a time with its offset, 2026-03-29T09:00:00+02:00.");
            FhirError::bad_value(text).at(format!("Parameters.parameter.where(name = '{name}')"))
        };
        midnight.map(|at| Some(at.as_second())).ok_or_else(refuse)
    };
    let start = at("start", false)?.unwrap_or(now.as_second());
    let days = |days: i64| SignedDuration::from_hours(24 * days).as_secs();
    let end = at("end", true)?.unwrap_or(start.saturating_add(days(DEFAULT_DAYS)));
    if end <= start {
        return Err(FhirError::bad_value("'end' comes after 'start'.").at("Parameters.parameter.where(name = 'end')"));
    }
    Ok(Span {
        start,
        end: end.min(start.saturating_add(days(MAX_DAYS))),
    })
}

/// What can be booked at all of what is asked for, in the order of preference.
async fn offers(desk: Desk<'_>, parameters: &Parameters) -> Result<Vec<Offer>, FhirError> {
    let (server, caller) = (desk.server, desk.caller);
    let any = |name: &str, values: Vec<String>| (!values.is_empty()).then(|| (name.to_owned(), values.join(",")));
    let references = |name: &str, resource_type: &str| -> Result<Vec<String>, FhirError> {
        let ids = parameters
            .references(name)
            .map(|reference| id_in(name, resource_type, reference));
        ids.map(|id| Ok(format!("{resource_type}/{}", id?))).collect()
    };
    let codes = |name: &str| parameters.texts(name).map(str::to_owned).collect::<Vec<_>>();
    let named = references("service", "HealthcareService")?;
    let of_service: Vec<(String, String)> = [
        any(
            "_id",
            named
                .iter()
                .filter_map(|reference| Some(reference.split_once('/')?.1.to_owned()))
                .collect(),
        ),
        any("service-type", codes("visit-type")),
        any("organization", references("organization", "Organization")?),
    ]
    .into_iter()
    .flatten()
    .collect();
    let services = match of_service.is_empty() {
        true => None,
        false => Some(directory::ids(server, caller, "HealthcareService", &of_service).await?),
    };
    if services.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let practitioners = references("practitioner", "Practitioner")?;
    let criteria: Vec<(String, String)> = [
        any("actor", practitioners.clone()),
        any("specialty", codes("specialty")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut offers = desk
        .directory
        .offers(server, caller, &criteria, services.as_deref())
        .await?;
    let rank = |offer: &Offer| {
        let reference = offer.terms.practitioner["reference"].as_str();
        practitioners
            .iter()
            .position(|wanted| Some(wanted.as_str()) == reference)
    };
    offers.sort_by_key(|offer| (rank(offer), offer.calendar, offer.service));
    Ok(offers)
}

/// The first openings of all offers, by their beginning; `each` at most of one offer, `most` of all.
async fn first_openings<'o>(
    desk: Desk<'_>,
    offers: &'o [Offer],
    range: Span,
    ignored: Option<&str>,
    each: usize,
    most: usize,
) -> Result<Vec<(Opening, &'o Offer)>, FhirError> {
    let now = desk.now();
    let calendars = offers.iter().map(|offer| (offer.calendar, &offer.terms.rules));
    let mut lookout = Lookout::new(calendars, range, now.as_second(), each, most);
    while let Some(part) = lookout.next_part() {
        let around = lookout.around(part);
        let mut lease = desk.server.store.planned().await?;
        let busy = calendar::busy(&mut lease, &lookout.wanted(), around, now, ignored).await?;
        lease.release();
        lookout.look(&busy);
    }
    let found = lookout.found.into_iter();
    Ok(found.map(|(opening, n)| (opening, &offers[n])).collect())
}
