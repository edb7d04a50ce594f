//! How somebody is written to.

use futures::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::names::{LANGUAGES, PREFERENCE, TIME_ZONE};
use crate::fhir::extensions;

/// Who knows at which address somebody reads mail. Records have addresses too, but anybody may have written those; a mail only
/// goes where its reader has proved to be.
pub trait Addresses: Send + Sync {
    /// The proved address of whoever is `person` (`Patient/…`, `Practitioner/…`); `None` for those without an open account.
    fn address_of<'a>(&'a self, person: &'a str) -> BoxFuture<'a, Result<Option<String>, sqlx::Error>>;
}

/// Whether they want mails of this event. Who says nothing wants them all.
pub fn wants(person: &Value, event: &str) -> bool {
    let part = |preference: &Value, url: &str| extensions::find(preference, url).cloned().unwrap_or_default();
    !extensions::all(person, PREFERENCE).any(|preference| {
        part(preference, "event")["valueCode"] == event
            && part(preference, "channel")["valueCode"] == "email"
            && part(preference, "enabled")["valueBoolean"] == false
    })
}

/// The language that they prefer, as a tag; empty where they do not say. A Patient marks it, a Practitioner names it first.
pub fn language(person: &Value) -> &str {
    let mut spoken = person["communication"].as_array().into_iter().flatten();
    let concept = match person["resourceType"].as_str() {
        Some("Patient") => spoken
            .find(|spoken| spoken["preferred"] == true)
            .map(|spoken| &spoken["language"]),
        _ => spoken.next(),
    };
    let mut codings = concept
        .and_then(|concept| concept["coding"].as_array())
        .into_iter()
        .flatten();
    let tag = codings.find(|coding| coding["system"] == LANGUAGES);
    tag.and_then(|coding| coding["code"].as_str()).unwrap_or_default()
}

/// An instant on the clock that they chose, or on that of UTC, in the parts that templates name.
pub fn moment(person: &Value, at: Timestamp) -> Value {
    let chosen = extensions::find(person, TIME_ZONE).and_then(|extension| extension["valueCode"].as_str());
    let known = chosen.and_then(|name| Some((name, TimeZone::get(name).ok()?)));
    let (name, zone) = known.unwrap_or(("UTC", TimeZone::UTC));
    let local = at.to_zoned(zone);
    json!({
        "year": local.year(), "month": local.month(), "day": local.day(),
        "time": local.strftime("%H:%M").to_string(), "zone": name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_wants_all_mails_in_no_particular_language() {
        let nobody = json!({"resourceType": "Patient"});
        assert!(wants(&nobody, "document-added"));
        assert_eq!(language(&nobody), "");
        let moment = moment(&nobody, "2026-03-29T00:59:00Z".parse().unwrap());
        assert_eq!(
            moment,
            json!({"year": 2026, "month": 3, "day": 29, "time": "00:59", "zone": "UTC"})
        );
    }

    #[test]
    fn what_was_chosen_in_the_settings_holds() {
        let preference = |event: &str, channel: &str, enabled: bool| {
            json!({"url": PREFERENCE, "extension": [
                {"url": "event", "valueCode": event}, {"url": "channel", "valueCode": channel},
                {"url": "enabled", "valueBoolean": enabled},
            ]})
        };
        let spoken = |code: &str| json!({"coding": [{"system": LANGUAGES, "code": code}]});
        let patient = json!({
            "resourceType": "Patient",
            "communication": [{"language": spoken("fr")}, {"language": spoken("de-AT"), "preferred": true}],
            "extension": [
                preference("document-added", "email", false), preference("payment-failed", "sms", false),
                preference("payment-refunded", "email", true),
                {"url": TIME_ZONE, "valueCode": "Asia/Kathmandu"},
            ],
        });
        assert!(!wants(&patient, "document-added"));
        assert!(wants(&patient, "payment-failed") && wants(&patient, "payment-refunded"));
        assert_eq!(language(&patient), "de-AT");
        // A quarter to six hours ahead.
        let moment = moment(&patient, "2025-12-31T18:30:00Z".parse().unwrap());
        assert_eq!(
            moment,
            json!({"year": 2026, "month": 1, "day": 1, "time": "00:15", "zone": "Asia/Kathmandu"})
        );
        let practitioner = json!({"resourceType": "Practitioner", "communication": [spoken("de"), spoken("en")]});
        assert_eq!(language(&practitioner), "de");
    }
}
