//! Made-up records, the same at every run: visits of patients, with what is measured and found at each.
//!
//! Codes are as uneven as in a clinic: a few are everywhere and most are rare. Each resource makes about a dozen index
//! rows.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// Codes that observations are drawn from.
const CODES: f64 = 2000.0;

const LOINC: &str = "http://loinc.org";
const FAMILIES: [&str; 12] = [
    "Smith", "Schmidt", "Garcia", "Nguyen", "Müller", "Jones", "Okafor", "Tanaka", "Kowalski", "Rossi", "Novák",
    "Silva",
];
const GIVEN: [&str; 10] = [
    "Maria", "James", "Wei", "Fatima", "Olu", "Anna", "Juan", "Léa", "Noah", "Yuki",
];

/// A number in [0, 1) that depends on nothing but `number` and `what` (SplitMix64).
pub fn chance(number: u64, what: u64) -> f64 {
    let mut x = number
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(what.wrapping_mul(0xD1B5_4A32_D192_ED03));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn pick<'a>(list: &[&'a str], number: u64, what: u64) -> &'a str {
    list[(chance(number, what) * list.len() as f64) as usize]
}

/// The code at that place in the order of frequency: 0 is on 15 % of all observations.
pub fn code(place: u32) -> String {
    format!("{}-{}", 10_000 + place, place % 10)
}

fn day(number: u64) -> Timestamp {
    let minutes = (chance(number, 1) * 16.0 * 365.0 * 1440.0) as i64;
    // Sixteen years of minutes from 2010: no overflow.
    Timestamp::from_second(1_262_304_000).unwrap_or_default() + (minutes * 60).seconds()
}

/// Hospitals, and their wards, which patients are assigned to.
pub const HOUSES: u64 = 20;
pub const WARDS: u64 = 100;

/// What everything else refers to: a Bundle that puts the hospitals and their wards under ids of ours.
pub fn organizations() -> Value {
    let house = |number: u64| {
        json!({ "resourceType": "Organization", "id": format!("house-{number}"), "active": true,
            "name": format!("House {number} Hospital") })
    };
    let ward = |number: u64| {
        json!({ "resourceType": "Organization", "id": format!("ward-{number}"), "active": true,
            "name": format!("Ward {number} of a hospital"),
            "partOf": { "reference": format!("Organization/house-{}", number % HOUSES) } })
    };
    let entry = |resource: Value| {
        let url = format!("Organization/{}", resource["id"].as_str().unwrap_or_default());
        json!({ "resource": resource, "request": { "method": "PUT", "url": url } })
    };
    let entries: Vec<Value> = (0..HOUSES).map(house).chain((0..WARDS).map(ward)).map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

pub fn patient(number: u64) -> Value {
    let family = format!("{}{}", pick(&FAMILIES, number, 2), (chance(number, 3) * 900.0) as u32);
    let born = day(number).to_string();
    json!({
        "resourceType": "Patient",
        "identifier": [{ "system": "https://clinic.example/patients", "value": format!("P{number}") }],
        "active": true,
        "name": [{ "use": "official", "family": family, "given": [pick(&GIVEN, number, 4), "Q."] }],
        "telecom": [{ "system": "phone", "value": format!("555-{number}"), "use": "home" }],
        "gender": if number.is_multiple_of(2) { "female" } else { "male" },
        "birthDate": &born[..10],
        "managingOrganization": { "reference": format!("Organization/ward-{}", (chance(number, 10) * WARDS as f64) as u64) },
        "address": [{
            "line": [format!("{} Long Street", number % 999)], "city": format!("Town {}", number % 300),
            "state": "MA", "postalCode": format!("{:05}", number % 90_000), "country": "US",
        }],
    })
}

/// An observation of the patient `subject` at the encounter `encounter`, both as references.
pub fn observation(number: u64, subject: &str, encounter: Option<&str>) -> Value {
    let code = code((CODES * chance(number, 5).powi(4)) as u32);
    let category = pick(
        &[
            "laboratory",
            "laboratory",
            "vital-signs",
            "vital-signs",
            "vital-signs",
            "survey",
        ],
        number,
        6,
    );
    let value = (chance(number, 7) * 3000.0).round() / 10.0;
    let mut observation = json!({
        "resourceType": "Observation",
        "identifier": [{ "system": "https://clinic.example/results", "value": format!("R{number}") }],
        "status": if chance(number, 8) < 0.02 { "amended" } else { "final" },
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category, "display": category,
        }] }],
        "code": {
            "coding": [{ "system": LOINC, "code": code, "display": format!("Something measured, {code}") }],
            "text": format!("Something measured, {code}"),
        },
        "subject": { "reference": subject },
        "effectiveDateTime": day(number / 8).to_string(),
        "issued": day(number / 8).to_string(),
        "performer": [{ "display": "A practitioner of the clinic" }],
        "valueQuantity": {
            "value": value, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L",
        },
    });
    if let Some(encounter) = encounter {
        observation["encounter"] = json!({ "reference": encounter });
    }
    observation
}

/// The same observation with as many more codes in its category, each of which is an index row.
pub fn with_more_codes(mut observation: Value, number: u64, codes: usize) -> Value {
    let code = |place: usize| json!({ "system": "https://clinic.example/marks", "code": format!("M{}", (chance(number, 30 + place as u64) * 1e6) as u64) });
    if let Some(codings) = observation["category"][0]["coding"].as_array_mut() {
        codings.extend((0..codes).map(code));
    }
    observation
}

fn encounter(number: u64, subject: &str) -> Value {
    let begin = day(number);
    json!({
        "resourceType": "Encounter",
        "identifier": [{ "system": "https://clinic.example/visits", "value": format!("V{number}") }],
        "status": "finished",
        "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
        "type": [{ "coding": [{ "system": "http://snomed.info/sct", "code": "162673000", "display": "General examination" }] }],
        "subject": { "reference": subject },
        "period": { "start": begin.to_string(), "end": (begin + 40.minutes()).to_string() },
    })
}

fn condition(number: u64, subject: &str, encounter: &str) -> Value {
    let code = format!("{}", 100_000 + (1000.0 * chance(number, 9).powi(4)) as u32);
    json!({
        "resourceType": "Condition",
        "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active" }] },
        "verificationStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed" }] },
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-category", "code": "encounter-diagnosis" }] }],
        "code": { "coding": [{ "system": "http://snomed.info/sct", "code": code, "display": format!("A finding, {code}") }], "text": "A finding" },
        "subject": { "reference": subject },
        "encounter": { "reference": encounter },
        "onsetDateTime": day(number).to_string(),
        "recordedDate": day(number).to_string(),
    })
}

/// Resources in a [`bundle`].
pub const BUNDLE: u64 = 100;

/// A transaction of [`BUNDLE`] creates: a patient and eleven visits, each an encounter, seven observations and a condition.
pub fn bundle(number: u64) -> Value {
    let urn = |place: u64| format!("urn:uuid:00000000-0000-4000-8000-{:012x}", number * BUNDLE + place);
    let (subject, mut visit) = (urn(0), urn(0));
    let entry = (0..BUNDLE).map(|place| {
        let unique = number * BUNDLE + place;
        let resource = match place {
            0 => patient(unique),
            _ if place % 9 == 1 => {
                visit = urn(place);
                encounter(unique, &subject)
            }
            _ if place % 9 == 0 => condition(unique, &subject, &visit),
            _ => observation(unique, &subject, Some(&visit)),
        };
        let request = json!({ "method": "POST", "url": resource["resourceType"] });
        json!({ "fullUrl": urn(place), "resource": resource, "request": request })
    });
    let entry: Vec<Value> = entry.collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_the_same_each_time() {
        assert_eq!(bundle(3), bundle(3));
        assert_ne!(bundle(3), bundle(4));
        assert_eq!(bundle(0)["entry"].as_array().map(Vec::len), Some(100));
    }
}
