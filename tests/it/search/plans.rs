//! Named searches start from the index that is meant for them, and touch about as many rows as they answer with: whatever
//! the tables hold, a page of twenty costs a page of twenty.

use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Write, commit};
use serde_json::{Value, json};

use super::{instance, observation, patient, resource};
use crate::bench::{Bench, bench};

const PATIENTS: usize = 200;
const OBSERVATIONS: usize = 4_000;

/// Patients of four practitioners, each with twenty observations of forty kinds over a hundred days.
async fn practice() -> Bench {
    let bench = bench().await;
    let people = (0..PATIENTS).map(|n| {
        let elements = json!({
            "name": [{"family": format!("Family{n:03}"), "given": [format!("Given{}", n % 50)]}],
            "identifier": [{"system": "urn:mrn", "value": format!("M{n:03}")}],
            "gender": if n % 2 == 0 { "female" } else { "male" },
            "birthDate": format!("19{:02}-{:02}-{:02}", n % 90 + 10, n % 12 + 1, n % 28 + 1),
            "generalPractitioner": [{"reference": format!("Practitioner/d{}", n % 4)}],
        });
        patient(&format!("p{n}"), elements)
    });
    let doctors = (0..4).map(|n| {
        resource(
            "Practitioner",
            &format!("d{n}"),
            json!({"name": [{"family": format!("Doctor{n}")}]}),
        )
    });
    let findings = (0..OBSERVATIONS).map(|n| {
        let day = n % 100;
        let elements = json!({
            "status": if n % 400 == 7 { "preliminary" } else { "final" },
            "code": {"coding": [{"system": "http://loinc.org", "code": format!("code-{}", n % 40)}]},
            "subject": {"reference": format!("Patient/p{}", n % PATIENTS)},
            "effectiveDateTime": format!("2026-{:02}-{:02}T{:02}:00:00Z", day / 28 + 1, day % 28 + 1, n % 24),
            "valueQuantity": {"value": n, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        });
        observation(&format!("o{n}"), elements)
    });
    let sets = (0..PATIENTS).map(|n| {
        resource(
            "ValueSet",
            &format!("v{n}"),
            json!({"status": "active", "url": format!("http://v.org/{n}")}),
        )
    });
    let resources: Vec<Value> = doctors.chain(people).chain(findings).chain(sets).collect();
    for some in resources.chunks(200) {
        bench.clock.advance(SignedDuration::from_secs(1));
        let op = |resource: &Value| {
            let (target, resource) = (instance(resource), resource.clone());
            let write = Write::Update {
                target,
                resource,
                if_match: None,
                if_none_match_any: false,
            };
            Op { write, full_url: None }
        };
        let stored = commit(&bench.server, &Caller::sandbox(), some.iter().map(op).collect()).await;
        stored.map_err(|error| error.error).unwrap();
    }
    bench.analyze().await;
    bench
}

#[tokio::test]
async fn each_search_starts_from_its_index_and_touches_what_it_needs() {
    let bench = practice().await;
    let mut strange = Vec::new();
    // The index that drives, with the parameter whose rows it reads, and the rows that may be touched at most.
    for (query, driver, most) in [
        // One identity, by each of the ways to name it.
        ("Patient?identifier=urn:mrn|M042", "idx_token_value identifier", 4),
        ("Patient?family=family042", "idx_string_value family", 4),
        ("Patient?family:exact=Family042", "idx_string_value family", 4),
        ("Patient?birthdate=1950-05-13", "idx_date_value birthdate", 40),
        ("ValueSet?url=http://v.org/42", "idx_uri_value url", 4),
        // A page of many: the index gives the order, and the scan stops with the page.
        (
            "Observation?code=http://loinc.org|code-7&_count=20",
            "idx_token_value code",
            50,
        ),
        ("Observation?status=final&_count=20", "idx_token_value status", 50),
        (
            "Observation?subject=Patient/p42&_count=20",
            "idx_reference_target subject",
            50,
        ),
        (
            "Observation?code=code-1,code-2,code-3&_count=20",
            "idx_token_value code",
            150,
        ),
        // The rarer of two.
        (
            "Observation?status=preliminary&code=code-7",
            "idx_token_value status",
            60,
        ),
        (
            "Observation?status=final&subject=Patient/p42",
            "idx_reference_target subject",
            150,
        ),
        (
            "Observation?subject=Patient/p42&code=code-2",
            "idx_reference_target subject",
            300,
        ),
        (
            "Observation?patient=p42&date=ge2026-01",
            "idx_reference_target patient",
            150,
        ),
        // Sorted: the index of the key, read from the wanted end.
        ("Observation?_sort=-date&_count=20", "idx_date_value date", 100),
        ("Patient?_sort=family&_count=20", "idx_string_value family", 100),
        // A chain starts where few lead on, a reverse chain likewise.
        (
            "Observation?subject:Patient.identifier=urn:mrn|M042&_count=20",
            "idx_token_value identifier",
            100,
        ),
        (
            "Patient?_has:Observation:patient:status=preliminary",
            "idx_token_value status",
            100,
        ),
        (
            "Observation?code-value-quantity=http://loinc.org|code-7$gt3950",
            "idx_composite_value code-value-quantity",
            20,
        ),
    ] {
        let rows = bench.explain(query).await[0].rows_touched();
        let drives = bench.driver(query).await;
        if drives != driver || rows > most {
            strange.push(format!(
                "{query}: {drives} drives, not {driver}; {rows} rows of at most {most}"
            ));
        }
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
}
