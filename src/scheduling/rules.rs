//! What a practice lays down about its calendars: the extensions of a Schedule and of a HealthcareService, read.
//!
//! `scheduling-parameters`, on both. A Schedule may have several, those with a `service` for that service alone. What
//! comes first counts: the Schedule's for the service, the Schedule's, the HealthcareService's.
//!
//! | part | | without it |
//! |---|---|---|
//! | `duration` | of a visit | 30 minutes |
//! | `interval` | from one possible beginning to the next | the duration |
//! | `bufferBefore`, `bufferAfter` | kept free around a visit | nothing |
//! | `minimumNotice` | from now to the first visit that can be booked | nothing |
//! | `horizon` | from now to the last one | 90 days |
//! | `timezone` | IANA's name of the zone that the hours are in | needed on a Schedule |
//! | `availability` | `daysOfWeek` (`mon` to `sun`), `start`, `end`, perhaps `period`: a weekly window | never |
//! | `exception` | `date`, `start`, `end`; without the times: closed | |
//!
//! Lengths are Durations in whole minutes, hours, days or weeks (UCUM `min`, `h`, `d`, `wk`). An exception takes the place of the
//! windows of its day. Hours come from one place: where there is an `availability` or an `exception` for the service, the
//! general ones do not count for it.
//!
//! `booking-policy`, on a HealthcareService: `approval` (`manual` or `auto`), `payment` (`none`, `before-approval`,
//! `after-approval`), `holdMinutes` (10), `rescheduleNotice` (1 day before the visit, until when a patient moves it alone)
//!
//! Where a HealthcareService has an `availableTime`, a visit must lie in that too, on the clock of the Schedule; what its
//! `notAvailable` names is closed.
//!
//! [`check`] refuses to store what [`Rules::read`] could not use, so that a calendar never disappears in silence.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::availability::{Hours, Opening, Rhythm, Span, Window};
use super::names::{PARAMETERS, POLICY, TIME_ZONE};
use crate::fhir::error::FhirError;
use crate::fhir::extensions::{all, find};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// <https://hl7.org/fhir/R4/valueset-days-of-week.html>, in their order.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const DEFAULT_DURATION: i64 = 30 * MINUTE;
const DEFAULT_HORIZON: i64 = 90 * DAY;
const DEFAULT_HOLD_MINUTES: i64 = 10;
const DEFAULT_RESCHEDULE_NOTICE: i64 = DAY;

/// A visit longer than a day, or a horizon beyond two years, is a slip of the pen.
const MAX_LENGTH: i64 = DAY;
const MAX_HORIZON: i64 = 730 * DAY;
const MAX_HOLD_MINUTES: i64 = 7 * 24 * 60;

/// When and how often somebody can be booked for a service. Lengths are in seconds.
#[derive(Clone, Debug)]
pub struct Rules {
    pub hours: Hours,
    /// When the service is offered, if not always.
    service_hours: Option<Hours>,
    /// When it is not.
    closed: Vec<Span>,
    pub rhythm: Rhythm,
    /// From now to the first visit that can be booked.
    pub notice: i64,
    /// From now to the last one.
    pub horizon: i64,
}

/// Who must agree to a booking, and who pays when. Lengths are in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    pub approval: Approval,
    pub payment: Payment,
    /// How long a time is held for somebody who decides or pays.
    pub hold: i64,
    /// Until how long before the visit a patient moves it alone.
    pub reschedule_notice: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approval {
    Manual,
    Auto,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payment {
    None,
    BeforeApproval,
    AfterApproval,
}

/// What is wrong with an extension: the part, and the end of a sentence that begins with it.
type Fault = (&'static str, &'static str);

impl Rules {
    /// The rules of a Schedule, for a HealthcareService if one is given. `None` for a Schedule that has none: nobody books
    /// there.
    ///
    /// # Errors
    /// The part that cannot be read.
    pub fn read(schedule: &Value, service: Option<&Value>) -> Result<Option<Rules>, Fault> {
        let Some(general) = parameters_for(schedule, None) else {
            return Ok(None);
        };
        let of_schedule = service.and_then(|service| parameters_for(schedule, service["id"].as_str()));
        let of_service = service.and_then(|service| find(service, PARAMETERS));
        let sources: Vec<&Value> = [of_schedule, Some(general), of_service].into_iter().flatten().collect();
        let length = |part, least, most| {
            let mut found = sources.iter().map(|source| length(source, part, least, most));
            found.find(|found| *found != Ok(None)).unwrap_or(Ok(None))
        };
        let duration = length("duration", MINUTE, MAX_LENGTH)?.unwrap_or(DEFAULT_DURATION);
        let rhythm = Rhythm {
            duration,
            interval: length("interval", MINUTE, MAX_LENGTH)?.unwrap_or(duration),
            buffer_before: length("bufferBefore", 0, MAX_LENGTH)?.unwrap_or(0),
            buffer_after: length("bufferAfter", 0, MAX_LENGTH)?.unwrap_or(0),
        };
        let zone = sources.iter().find_map(|source| code(source, "timezone"));
        let has_hours =
            |source: &&&Value| find(source, "availability").is_some() || find(source, "exception").is_some();
        let hours_of = sources.iter().find(has_hours).copied().unwrap_or(general);
        let hours = hours(zone.ok_or(("timezone", "is missing"))?, hours_of)?;
        Ok(Some(Rules {
            service_hours: service.and_then(|service| service_hours(service, &hours.zone)),
            closed: service.map(|service| closed(service, &hours.zone)).unwrap_or_default(),
            hours,
            rhythm,
            notice: length("minimumNotice", 0, MAX_HORIZON)?.unwrap_or(0),
            horizon: length("horizon", MINUTE, MAX_HORIZON)?.unwrap_or(DEFAULT_HORIZON),
        }))
    }

    /// The part of `range` that can be booked when it is `now`.
    pub fn bookable(&self, range: Span, now: i64) -> Span {
        Span {
            start: range.start.max(now.saturating_add(self.notice)),
            end: range.end.min(now.saturating_add(self.horizon)),
        }
    }

    /// The times in `range` at which a visit could begin, in order, beside what is `busy` (in order of beginning).
    pub fn openings<'r>(&'r self, range: Span, busy: &'r [Span]) -> impl Iterator<Item = Opening> + 'r {
        let wider = Span {
            start: range.start,
            end: range.end.saturating_add(self.rhythm.duration),
        };
        let offered: Option<Vec<Span>> = self.service_hours.as_ref().map(|hours| hours.windows(wider).collect());
        let is_offered = move |opening: &Opening| {
            let visit = self.rhythm.visit(opening.start);
            let within = |offered: &Vec<Span>| {
                let after = offered.partition_point(|window| window.start <= visit.start);
                after > 0 && visit.end <= offered[after - 1].end
            };
            offered.as_ref().is_none_or(within) && !self.closed.iter().any(|closed| closed.overlaps(visit))
        };
        self.hours.openings(range, self.rhythm, busy).filter(is_offered)
    }
}

impl Policy {
    /// The policy of a HealthcareService; without one, somebody has to approve, and nobody pays.
    ///
    /// # Errors
    /// The part that cannot be read.
    pub fn read(service: Option<&Value>) -> Result<Policy, Fault> {
        let nothing = Value::Null;
        let policy = service.and_then(|service| find(service, POLICY)).unwrap_or(&nothing);
        let hold = match find(policy, "holdMinutes").map(|part| part["valuePositiveInt"].as_i64()) {
            None => DEFAULT_HOLD_MINUTES,
            Some(Some(minutes @ 1..=MAX_HOLD_MINUTES)) => minutes,
            Some(_) => return Err(("holdMinutes", "is a number of minutes, a week at most")),
        };
        Ok(Policy {
            approval: match code(policy, "approval") {
                None | Some("manual") => Approval::Manual,
                Some("auto") => Approval::Auto,
                Some(_) => return Err(("approval", "is 'manual' or 'auto'")),
            },
            payment: match code(policy, "payment") {
                None | Some("none") => Payment::None,
                Some("before-approval") => Payment::BeforeApproval,
                Some("after-approval") => Payment::AfterApproval,
                Some(_) => return Err(("payment", "is 'none', 'before-approval' or 'after-approval'")),
            },
            hold: hold * MINUTE,
            reschedule_notice: length(policy, "rescheduleNotice", 0, MAX_HORIZON)?.unwrap_or(DEFAULT_RESCHEDULE_NOTICE),
        })
    }
}

/// Refuses a Schedule or HealthcareService whose parameters nobody could follow.
///
/// # Errors
/// 422, naming the part.
pub fn check(resource: &Value) -> Result<(), FhirError> {
    let resource_type = resource["resourceType"].as_str().unwrap_or_default();
    let refuse = |url: &str, (part, text): Fault| {
        let name = url.rsplit('/').next().unwrap_or_default();
        let text = format!("{name}: the part '{part}' {text}.");
        FhirError::unprocessable(text).at(format!("{resource_type}.extension.where(url = '{url}')"))
    };
    if resource_type != "Schedule" {
        Policy::read(Some(resource)).map_err(|fault| refuse(POLICY, fault))?;
    }
    // A stand-in for the other half: each service that the Schedule has parameters for, or a Schedule for the service.
    let zoned = json!({"extension": [{"url": PARAMETERS, "extension": [{"url": "timezone", "valueCode": "UTC"}]}]});
    let read = match resource_type == "Schedule" {
        true => {
            let services = all(resource, PARAMETERS).filter_map(|parameters| service_of(parameters));
            let services = services.map(|id| json!({"id": id}));
            let mut read = services.map(|service| Rules::read(resource, Some(&service)).map(|_| ()));
            Rules::read(resource, None).and_then(|_| read.try_for_each(|read| read))
        }
        false => Rules::read(&zoned, Some(resource)).map(|_| ()),
    };
    read.map_err(|fault| refuse(PARAMETERS, fault))
}

/// The parameters of a Schedule for a service, or those for any.
fn parameters_for<'v>(schedule: &'v Value, service: Option<&str>) -> Option<&'v Value> {
    all(schedule, PARAMETERS).find(|parameters| service_of(parameters) == service)
}

fn service_of(parameters: &Value) -> Option<&str> {
    find(parameters, "service")?["valueReference"]["reference"]
        .as_str()?
        .strip_prefix("HealthcareService/")
}

fn hours(zone: &str, parameters: &Value) -> Result<Hours, Fault> {
    let mut weekly: [Vec<Window>; 7] = Default::default();
    for availability in all(parameters, "availability") {
        let mut window = window(availability).ok_or(("availability", "needs a start and an end, as in 09:00:00"))?;
        window.dates = dates(availability)?;
        let mut days = all(availability, "daysOfWeek").peekable();
        if days.peek().is_none() {
            return Err(("availability", "needs a day of the week"));
        }
        for day in days {
            let number = DAYS.iter().position(|name| day["valueCode"] == *name);
            weekly[number.ok_or(("availability", "has days from 'mon' to 'sun'"))?].push(window);
        }
    }
    let mut exceptions: BTreeMap<Date, Vec<Window>> = BTreeMap::new();
    for exception in all(parameters, "exception") {
        let date = text(exception, "date", "valueDate").and_then(|date| date.parse().ok());
        let windows = exceptions
            .entry(date.ok_or(("exception", "needs a whole date"))?)
            .or_default();
        let has_times = find(exception, "start").is_some() || find(exception, "end").is_some();
        if has_times {
            windows.push(window(exception).ok_or(("exception", "needs both a start and an end, or neither"))?);
        }
    }
    Ok(Hours {
        zone: time_zone(zone).ok_or(("timezone", "is no zone that this server knows; one is 'Europe/Berlin'"))?,
        weekly,
        exceptions,
    })
}

/// `HealthcareService.availableTime`, on the clock of `zone`.
fn service_hours(service: &Value, zone: &TimeZone) -> Option<Hours> {
    let times = service["availableTime"].as_array()?;
    let mut weekly: [Vec<Window>; 7] = Default::default();
    for time in times {
        let at = |name: &str| time[name].as_str()?.parse::<Time>().ok();
        let midnight = Time::midnight();
        let window = match (time["allDay"] == true, at("availableStartTime"), at("availableEndTime")) {
            (false, start, end) if start.is_some() || end.is_some() => {
                Window::daily(start.unwrap_or(midnight), end.unwrap_or(midnight))
            }
            _ => Window::daily(midnight, midnight),
        };
        let days = time["daysOfWeek"].as_array().map_or(&[][..], Vec::as_slice);
        for (number, day) in DAYS.iter().enumerate() {
            if days.is_empty() || days.iter().any(|named| named == day) {
                weekly[number].push(window);
            }
        }
    }
    Some(Hours {
        zone: zone.clone(),
        weekly,
        exceptions: BTreeMap::new(),
    })
}

/// `HealthcareService.notAvailable`, on the clock of `zone` where it names whole days.
fn closed(service: &Value, zone: &TimeZone) -> Vec<Span> {
    let periods = service["notAvailable"].as_array().into_iter().flatten();
    let span = |period: &Value| {
        let at = |name: &str| period[name].as_str();
        let day = |text: &str| zone.to_timestamp(text.parse::<Date>().ok()?.into()).ok();
        let instant = |text: &str| text.parse::<Timestamp>().ok();
        let start = at("start").map(|text| instant(text).or_else(|| day(text)));
        let end = at("end").map(|text| {
            // The last day belongs to it.
            let next = || text.parse::<Date>().ok()?.tomorrow().ok();
            instant(text).or_else(|| zone.to_timestamp(next()?.into()).ok())
        });
        Some(Span {
            start: start.map_or(Some(i64::MIN), |at| Some(at?.as_second()))?,
            end: end.map_or(Some(i64::MAX), |at| Some(at?.as_second()))?,
        })
    };
    periods.filter_map(|closed| span(&closed["during"])).collect()
}

/// A zone by IANA's name. Fixed offsets are no zones: they know no daylight saving.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok()?;
    zone.iana_name().is_some().then_some(zone)
}

/// The zone that a person has chosen in their settings.
pub fn chosen_zone(person: &Value) -> Option<TimeZone> {
    time_zone(find(person, TIME_ZONE)?["valueCode"].as_str()?)
}

fn window(extension: &Value) -> Option<Window> {
    let time = |name| text(extension, name, "valueTime")?.parse::<Time>().ok();
    Some(Window::daily(time("start")?, time("end")?))
}

/// The first and the last date of a weekly window.
fn dates(availability: &Value) -> Result<(Date, Date), Fault> {
    let period = find(availability, "period").map_or(&Value::Null, |part| &part["valuePeriod"]);
    let date = |name: &str, open: Date| match period[name].as_str() {
        None => Ok(open),
        // Of a time only its date counts: a window belongs to a day.
        Some(text) => text
            .get(..10)
            .and_then(|date| date.parse().ok())
            .ok_or(("availability", "has a period of whole dates")),
    };
    Ok((date("start", Date::MIN)?, date("end", Date::MAX)?))
}

fn code<'v>(extension: &'v Value, part: &str) -> Option<&'v str> {
    text(extension, part, "valueCode")
}

fn text<'v>(extension: &'v Value, part: &str, property: &str) -> Option<&'v str> {
    find(extension, part)?[property].as_str()
}

/// A Duration, in seconds.
fn length(extension: &Value, part: &'static str, least: i64, most: i64) -> Result<Option<i64>, Fault> {
    let Some(found) = find(extension, part) else {
        return Ok(None);
    };
    let duration = &found["valueDuration"];
    let unit = match duration["code"].as_str().or_else(|| duration["unit"].as_str()) {
        Some("min") => Some(MINUTE),
        Some("h") => Some(HOUR),
        Some("d") => Some(DAY),
        Some("wk") => Some(7 * DAY),
        _ => None,
    };
    let seconds = duration["value"]
        .as_i64()
        .zip(unit)
        .and_then(|(value, unit)| value.checked_mul(unit));
    match seconds.filter(|seconds| (least..=most).contains(seconds)) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err((
            part,
            "is a Duration of whole min, h, d or wk, in a range that makes sense",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(parts: Value) -> Value {
        json!({"resourceType": "Schedule", "extension": [{"url": PARAMETERS, "extension": parts}]})
    }

    fn zone() -> Value {
        json!({"url": "timezone", "valueCode": "Europe/Berlin"})
    }

    fn minutes(part: &str, value: i64) -> Value {
        json!({"url": part, "valueDuration": {"value": value, "system": "http://unitsofmeasure.org", "code": "min"}})
    }

    fn mornings(days: &[&str]) -> Value {
        let mut parts = vec![
            json!({"url": "start", "valueTime": "09:00:00"}),
            json!({"url": "end", "valueTime": "12:00:00"}),
        ];
        parts.extend(days.iter().map(|day| json!({"url": "daysOfWeek", "valueCode": day})));
        json!({"url": "availability", "extension": parts})
    }

    #[test]
    fn what_is_nearest_to_the_visit_counts() {
        let closed = json!({"url": "exception", "extension": [{"url": "date", "valueDate": "2026-12-24"}]});
        let mut schedule = schedule(json!([
            zone(),
            minutes("bufferAfter", 5),
            mornings(&["mon", "sun"]),
            closed
        ]));
        let service = json!({"id": "long", "extension": [
            {"url": PARAMETERS, "extension": [minutes("duration", 45), minutes("bufferAfter", 10)]}]});
        let rules = Rules::read(&schedule, Some(&service)).unwrap().unwrap();
        let expected = Rhythm {
            duration: 45 * 60,
            interval: 45 * 60,
            buffer_before: 0,
            buffer_after: 300,
        };
        assert_eq!(rules.rhythm, expected);
        let counts = |rules: &Rules| rules.hours.weekly.each_ref().map(Vec::len);
        assert_eq!(counts(&rules), [1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(rules.hours.exceptions.len(), 1);
        assert_eq!((rules.notice, rules.horizon), (0, 90 * DAY));

        let parameters = json!({"url": PARAMETERS, "extension": [
            {"url": "service", "valueReference": {"reference": "HealthcareService/long"}},
            minutes("duration", 60), mornings(&["wed"])]});
        schedule["extension"].as_array_mut().unwrap().push(parameters);
        let rules = Rules::read(&schedule, Some(&service)).unwrap().unwrap();
        assert_eq!((rules.rhythm.duration, rules.rhythm.buffer_after), (3600, 300));
        assert_eq!(counts(&rules), [0, 0, 1, 0, 0, 0, 0]);
        let general = Rules::read(&schedule, None).unwrap().unwrap();
        assert_eq!((general.rhythm.duration, counts(&general)[0]), (30 * 60, 1));
        assert!(Rules::read(&json!({}), None).unwrap().is_none());
    }

    #[test]
    fn what_nobody_could_follow_is_not_stored() {
        let part = |part: Value| schedule(json!([zone(), part]));
        let of_service = |url: &str, parts: Value| json!({"resourceType": "HealthcareService", "extension": [{"url": url, "extension": parts}]});
        for (resource, fault) in [
            (schedule(json!([])), "'timezone' is missing"),
            (
                schedule(json!([{"url": "timezone", "valueCode": "Mars/Base"}])),
                "'timezone' is no zone",
            ),
            (part(minutes("duration", 0)), "'duration' is a Duration"),
            (part(minutes("horizon", 2_000_000)), "'horizon' is a Duration"),
            (
                part(json!({"url": "interval", "valueDuration": {"value": 1, "code": "mo"}})),
                "'interval' is a Duration",
            ),
            (part(mornings(&[])), "needs a day"),
            (part(mornings(&["monday"])), "from 'mon' to 'sun'"),
            (
                part(json!({"url": "availability", "extension": [{"url": "daysOfWeek", "valueCode": "mon"}]})),
                "needs a start and an end",
            ),
            (
                part(json!({"url": "exception", "extension": [
                    {"url": "date", "valueDate": "2026-12-24"}, {"url": "start", "valueTime": "09:00:00"}]})),
                "both a start and an end",
            ),
            (
                of_service(POLICY, json!([{"url": "payment", "valueCode": "later"}])),
                "'payment' is 'none'",
            ),
            (
                of_service(PARAMETERS, json!([minutes("duration", -5)])),
                "'duration' is a Duration",
            ),
        ] {
            let error = check(&resource).unwrap_err();
            assert_eq!(error.status, 422);
            assert!(error.to_json().contains(fault), "{}", error.to_json());
        }
        assert!(check(&json!({"resourceType": "Schedule"})).is_ok());
        assert!(check(&json!({"resourceType": "HealthcareService"})).is_ok());
    }

    #[test]
    fn a_service_is_offered_when_it_says_so() {
        let schedule = schedule(json!([{"url": "timezone", "valueCode": "UTC"}, mornings(&DAYS)]));
        let service = json!({"availableTime": [{"daysOfWeek": ["mon"], "availableStartTime": "10:00:00"}, {"daysOfWeek": ["wed"], "allDay": true}],
            "notAvailable": [{"description": "Away", "during": {"start": "2026-03-04", "end": "2026-03-04"}},
                             {"description": "Meeting", "during": {"start": "2026-03-02T10:30:00Z", "end": "2026-03-02T11:30:00Z"}}]});
        let rules = Rules::read(&schedule, Some(&service)).unwrap().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let starts = |start: &str, end: &str| -> Vec<i64> {
            let range = Span {
                start: at(start),
                end: at(end),
            };
            rules.openings(range, &[]).map(|opening| opening.start).collect()
        };
        let monday = starts("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        assert_eq!(monday, [at("2026-03-02T10:00:00Z"), at("2026-03-02T11:30:00Z")]);
        assert!(starts("2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z").is_empty());
        assert_eq!(starts("2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z").len(), 6);
    }

    #[test]
    fn notice_and_horizon_bound_what_can_be_booked() {
        let schedule = schedule(json!([zone(), minutes("minimumNotice", 120), minutes("horizon", 600)]));
        let rules = Rules::read(&schedule, None).unwrap().unwrap();
        let all = Span {
            start: 0,
            end: 1_000_000,
        };
        assert_eq!(
            rules.bookable(all, 1000),
            Span {
                start: 8200,
                end: 37_000
            }
        );
        let late = Span { start: 9000, end: 9001 };
        assert_eq!(rules.bookable(late, 1000), late);
    }

    #[test]
    fn without_a_policy_somebody_approves_and_nobody_pays() {
        let policy = Policy::read(None).unwrap();
        assert_eq!((policy.approval, policy.payment), (Approval::Manual, Payment::None));
        assert_eq!((policy.hold, policy.reschedule_notice), (600, 86_400));
    }
}
