//! What a sheet says: the data that the template prints. Pure.
//!
//! It has what the European Union asks of a prescription
//! ([2012/52/EU](https://eur-lex.europa.eu/eli/dir_impl/2012/52/oj), annex): who it is for, with date of birth; who prescribed, with
//! qualification, place of work and contact; the date; the medicine, its quantity and how to take it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::authority::is_during;
use super::dosage::amount::{decimal, quantity_words};
use super::state::State;
use super::{concept, day, people};
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::extensions;

/// Where a person says which zone they live in.
const TIME_ZONE: &str = "https://medconsult.example/fhir/StructureDefinition/time-zone";

/// Paper of a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paper {
    A4,
    Letter,
}

impl Paper {
    pub fn of_code(code: &str) -> Option<Paper> {
        match code {
            "a4" => Some(Paper::A4),
            "letter" => Some(Paper::Letter),
            _ => None,
        }
    }

    pub fn code(self) -> &'static str {
        match self {
            Paper::A4 => "a4",
            Paper::Letter => "letter",
        }
    }

    /// As typst calls it.
    fn name(self) -> &'static str {
        match self {
            Paper::A4 => "a4",
            Paper::Letter => "us-letter",
        }
    }

    /// That of the practice's country.
    pub fn of_practice(organization: &Value) -> Paper {
        match people::uses_letter(organization) {
            true => Paper::Letter,
            false => Paper::A4,
        }
    }
}

/// A medicine as it was signed, and what became of it.
pub struct Item<'a> {
    pub signed: &'a Value,
    pub state: State,
    /// When it came to that state.
    pub since: Timestamp,
}

/// All that is printed.
pub struct Sheet<'a> {
    pub number: &'a str,
    pub paper: Paper,
    pub items: Vec<Item<'a>>,
    pub patient: &'a Value,
    pub practitioner: &'a Value,
    pub organization: &'a Value,
    pub signed_at: Timestamp,
    pub fingerprint: &'a str,
    /// When it was printed again, if it was.
    pub reprinted: Option<Timestamp>,
}

impl Sheet<'_> {
    /// The data for the template.
    ///
    /// # Errors
    /// 422 with everything that a sheet must say and nobody has told.
    pub fn data(&self) -> Result<Value, FhirError> {
        let zone = zone(self.practitioner);
        let signed = self.signed_at.to_zoned(zone.clone());
        let today = signed.date();
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(FhirError::with_issues(
                axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                missing,
            ));
        }
        let on = |at: Timestamp| day::in_words(at.to_zoned(zone.clone()).date());
        let qualifications = self.practitioner["qualification"].as_array().into_iter().flatten();
        let held: Vec<&Value> = qualifications
            .filter(|held| is_during(&held["period"], today))
            .collect();
        let licences = held
            .iter()
            .flat_map(|held| held["identifier"].as_array().into_iter().flatten());
        let licences = licences.filter_map(|licence| licence["value"].as_str().map(|value| format!("Licence {value}")));
        let mut details: Vec<String> = licences.collect();
        details.extend(people::contact(self.practitioner));
        let mut about = vec![format!(
            "Born {}",
            day::words(self.patient["birthDate"].as_str().unwrap_or_default())
        )];
        about.extend(match self.patient["gender"].as_str() {
            Some("female") => Some("Female".to_owned()),
            Some("male") => Some("Male".to_owned()),
            _ => None,
        });
        let zone_name = zone.iana_name().unwrap_or("UTC");
        let withdrawn = |state: State| matches!(state, State::Stopped | State::Cancelled | State::EnteredInError);
        let items = self
            .items
            .iter()
            .enumerate()
            .map(|(index, item)| self.item(index + 1, item, &on));
        Ok(json!({
            "paper": self.paper.name(),
            "number": self.number,
            "state": if self.items.iter().all(|item| withdrawn(item.state)) { "withdrawn" } else { "valid" },
            "notice": self.reprinted.map(|at| format!("Printed again on {}; replaces the former print", on(at))),
            "date": {"year": today.year(), "month": today.month(), "day": today.day()},
            "practice": {
                "name": self.organization["name"],
                "address": people::address(self.organization, today),
                "contact": people::contact(self.organization),
            },
            "prescriber": {
                "name": people::name(self.practitioner),
                "qualifications": held.iter().filter_map(|held| concept::words(&held["code"])).collect::<Vec<_>>(),
                "details": details,
            },
            "patient": {
                "name": people::name(self.patient),
                "details": about,
                "address": people::address(self.patient, today),
            },
            "issued": day::in_words(today),
            "valid-until": self.valid_until().map_or_else(|| "—".to_owned(), |end| day::words(&end)),
            "items": items.collect::<Vec<_>>(),
            "signed": format!("{}, {} ({zone_name})", day::in_words(today), signed.strftime("%H:%M")),
            "fingerprint": self.fingerprint,
        }))
    }

    /// The day on which the first of its medicines can no longer be had.
    pub fn valid_until(&self) -> Option<String> {
        let ends = self
            .items
            .iter()
            .filter_map(|item| item.signed["dispenseRequest"]["validityPeriod"]["end"].as_str());
        ends.min().map(str::to_owned)
    }

    fn missing(&self) -> Vec<Issue> {
        let today = self.signed_at.to_zoned(TimeZone::UTC).date();
        let mut qualifications = self.practitioner["qualification"].as_array().into_iter().flatten();
        let is_qualified =
            qualifications.any(|held| is_during(&held["period"], today) && concept::words(&held["code"]).is_some());
        [
            (
                people::name(self.patient).is_some(),
                "Patient.name",
                "the patient's name",
            ),
            (
                self.patient["birthDate"].is_string(),
                "Patient.birthDate",
                "the patient's date of birth",
            ),
            (
                people::name(self.practitioner).is_some(),
                "Practitioner.name",
                "the prescriber's name",
            ),
            (
                is_qualified,
                "Practitioner.qualification",
                "the prescriber's qualification",
            ),
            (
                self.organization["name"].is_string(),
                "Organization.name",
                "the name of the practice",
            ),
        ]
        .into_iter()
        .filter(|(is_told, ..)| !is_told)
        .map(|(_, element, name)| {
            Issue::error(
                IssueType::Required,
                format!("A prescription says {name}, which is not on record."),
            )
            .at(element)
        })
        .collect()
    }

    fn item(&self, number: usize, item: &Item<'_>, on: &dyn Fn(Timestamp) -> String) -> Value {
        let content = item.signed;
        let dispense = &content["dispenseRequest"];
        let mut ignored = Vec::new();
        let mut words = |quantity: &Value| quantity_words(quantity, "dispenseRequest", &mut ignored);
        let mut facts: Vec<[String; 2]> = Vec::new();
        let mut fact = |name: &str, value: Option<String>| facts.extend(value.map(|value| [name.to_owned(), value]));
        fact("Quantity", words(&dispense["quantity"]));
        let repeats = decimal(&dispense["numberOfRepeatsAllowed"]).map(|number| match number.is_zero() {
            true => "None".to_owned(),
            false => number.to_string(),
        });
        fact("Repeats", repeats);
        fact("Supply for", words(&dispense["expectedSupplyDuration"]));
        let dosage = content["dosageInstruction"].as_array().into_iter().flatten();
        let mut dosage: Vec<(u64, &str)> = dosage
            .filter_map(|dosage| Some((dosage["sequence"].as_u64().unwrap_or(0), dosage["text"].as_str()?)))
            .collect();
        dosage.sort_by_key(|(sequence, _)| *sequence);
        let remark = match item.state {
            State::Draft | State::Active | State::Unknown => None,
            State::OnHold => Some(format!("On hold since {}", on(item.since))),
            State::Completed => Some(format!("Completed on {}", on(item.since))),
            State::Stopped => Some(format!("Stopped on {}", on(item.since))),
            State::Cancelled => Some(format!("Cancelled on {}", on(item.since))),
            State::EnteredInError => Some(format!("Written in error; withdrawn on {}", on(item.since))),
        };
        json!({
            "number": number,
            "medicine": concept::words(&content["medicationCodeableConcept"]),
            "dosage": dosage.iter().map(|(_, text)| text).collect::<Vec<_>>(),
            "note": (content["substitution"]["allowedBoolean"] == false).then_some("Do not substitute."),
            "remark": remark,
            "struck": !matches!(item.state, State::Draft | State::Active | State::OnHold),
            "facts": facts,
        })
    }
}

/// The clock that the prescriber lives by.
fn zone(practitioner: &Value) -> TimeZone {
    let name = extensions::find(practitioner, TIME_ZONE).and_then(|zone| zone["valueCode"].as_str());
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// Until when a prescription of this moment can be handed in, where it does not say so itself: a Period.
pub fn validity(practitioner: &Value, now: Timestamp, days: u32) -> Value {
    let start = now.to_zoned(zone(practitioner)).date();
    let end = start.saturating_add(i64::from(days).days());
    json!({"start": start.to_string(), "end": end.to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sheet_must_say_and_nobody_told_is_named() {
        let nobody = json!({});
        let sheet = Sheet {
            number: "R-1",
            paper: Paper::A4,
            items: Vec::new(),
            patient: &json!({"name": [{"family": "Lovelace"}]}),
            practitioner: &nobody,
            organization: &json!({"name": "Practice"}),
            signed_at: Timestamp::UNIX_EPOCH,
            fingerprint: "",
            reprinted: None,
        };
        let error = sheet.data().unwrap_err();
        let elements: Vec<&str> = error.issues.iter().map(|issue| issue.expression[0].as_str()).collect();
        assert_eq!(error.status, 422);
        assert_eq!(
            elements,
            ["Patient.birthDate", "Practitioner.name", "Practitioner.qualification"]
        );
    }

    #[test]
    fn validity_begins_on_the_prescribers_day() {
        let auckland = json!({"extension": [{"url": TIME_ZONE, "valueCode": "Pacific/Auckland"}]});
        let now: Timestamp = "2026-03-01T22:00:00Z".parse().unwrap();
        assert_eq!(
            validity(&auckland, now, 90),
            json!({"start": "2026-03-02", "end": "2026-05-31"})
        );
        assert_eq!(
            validity(&json!({}), now, 1),
            json!({"start": "2026-03-01", "end": "2026-03-02"})
        );
    }
}
