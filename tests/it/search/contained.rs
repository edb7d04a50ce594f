//! `_contained` and `_containedType`, and chains into contained resources.

use serde_json::{Value, json};

use super::{ids, resource};
use crate::bench::bench;

fn coding(code: &str) -> Value {
    json!({"coding": [{"system": "urn:drugs", "code": code}]})
}

fn medication(id: &str, code: &str, form: &str) -> Value {
    resource("Medication", id, json!({"code": coding(code), "form": coding(form)}))
}

/// A prescription of the first of the medications that it contains.
fn prescription(id: &str, contained: Vec<Value>) -> Value {
    let first = format!("#{}", contained[0]["id"].as_str().unwrap());
    resource(
        "MedicationRequest",
        id,
        json!({"status": "active", "intent": "order", "subject": {"reference": "Patient/p"},
            "contained": contained, "medicationReference": {"reference": first}}),
    )
}

#[tokio::test]
async fn contained_resources_are_found_when_they_are_asked_for() {
    let bench = bench().await;
    bench
        .store([
            medication("alone", "abc", "pill"),
            prescription("one", vec![medication("m1", "abc", "pill")]),
            prescription(
                "two",
                vec![medication("m1", "abc", "syrup"), medication("m2", "def", "pill")],
            ),
            medication("other", "xyz", "pill"),
        ])
        .await;
    bench
        .check(&[
            ("Medication?code=abc", "alone"),
            ("Medication?code=abc&_contained=false", "alone"),
            ("Medication?code=abc&_contained=true", "one two"),
            ("Medication?code=abc&_contained=both", "alone one two"),
            (
                "Medication?code=abc&_contained=true&_containedType=container",
                "one two",
            ),
            ("Medication?code=abc&_contained=true&_containedType=contained", "m1 m1"),
            (
                "Medication?code=abc&_contained=both&_containedType=contained",
                "alone m1 m1",
            ),
            // Code and form of two resources in one container do not make a match.
            ("Medication?code=abc&form=pill&_contained=true", "one"),
            ("Medication?code=def&form=pill&_contained=true", "two"),
            ("Medication?code=def&form=syrup&_contained=true", ""),
            ("Medication?code:not=abc&_contained=true", "two"),
            ("Medication?_id=m2&_contained=true", "two"),
            ("Medication?_id=m2&_contained=both&_containedType=contained", "m2"),
            ("Medication?_contained=true&_containedType=contained", "m1 m1 m2"),
            ("Medication?_contained=both", "alone one other two"),
            ("Substance?_contained=true", ""),
            ("MedicationRequest?_contained=true", ""),
        ])
        .await;
}

#[tokio::test]
async fn a_contained_resource_is_answered_with_its_place() {
    let bench = bench().await;
    bench
        .store([
            medication("alone", "abc", "pill"),
            prescription(
                "one",
                vec![medication("m1", "def", "pill"), medication("m2", "abc", "syrup")],
            ),
        ])
        .await;
    let bundle = bench
        .bundle("Medication?code=abc&_contained=both&_containedType=contained")
        .await;
    let entries: Vec<(&str, &str, &str)> = bundle["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |pointer: &str| entry.pointer(pointer).unwrap().as_str().unwrap();
            (
                text("/fullUrl"),
                text("/resource/form/coding/0/code"),
                text("/search/mode"),
            )
        })
        .collect();
    assert_eq!(
        entries,
        [
            ("http://localhost/fhir/MedicationRequest/one#m2", "syrup", "match"),
            ("http://localhost/fhir/Medication/alone", "pill", "match"),
        ]
    );
    let containers = bench.bundle("Medication?code=abc&_contained=true").await;
    assert_eq!(
        containers["entry"][0]["fullUrl"],
        "http://localhost/fhir/MedicationRequest/one"
    );
    assert_eq!(containers["entry"][0]["resource"]["resourceType"], "MedicationRequest");
    let own = bench.bundle("Medication?code=abc&_contained=true&_count=1").await;
    let itself = own["link"][0]["url"].as_str().unwrap();
    assert_eq!(
        itself,
        "http://localhost/fhir/Medication?code=abc&_contained=true&_count=1"
    );
}

#[tokio::test]
async fn contained_matches_are_paged_and_counted() {
    let bench = bench().await;
    for n in 0..3 {
        let two = vec![medication("a", "abc", "pill"), medication("b", "abc", "pill")];
        bench
            .store([
                medication(&format!("m{n}"), "abc", "pill"),
                prescription(&format!("p{n}"), two),
            ])
            .await;
    }
    for (query, expected, total) in [
        ("_contained=true", vec!["p2", "p1", "p0"], 3),
        ("_contained=both", vec!["p2", "m2", "p1", "m1", "p0", "m0"], 6),
        (
            "_contained=true&_containedType=contained",
            vec!["b", "a", "b", "a", "b", "a"],
            6,
        ),
        (
            "_contained=both&_containedType=contained",
            vec!["b", "a", "m2", "b", "a", "m1", "b", "a", "m0"],
            9,
        ),
    ] {
        for count in [1, 2, 20] {
            let pages = bench
                .pages(&format!("Medication?code=abc&{query}&_count={count}"))
                .await;
            let all = pages.concat();
            let (mut found, mut wanted) = (all.clone(), expected.clone());
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{query} in pages of {count}");
            if query.starts_with("_contained=true") && !query.contains("Type") {
                assert_eq!(all, expected, "newest first");
            }
        }
        let bundle = bench.bundle(&format!("Medication?code=abc&{query}&_count=0")).await;
        assert_eq!(bundle["total"], total, "{query}");
    }
}

#[tokio::test]
async fn contained_resources_follow_what_contains_them() {
    let bench = bench().await;
    bench
        .store([prescription(
            "one",
            vec![medication("m1", "abc", "pill"), medication("m2", "abc", "syrup")],
        )])
        .await;
    let by_code = |code: &str| format!("Medication?code={code}&_contained=true&_containedType=contained");
    assert_eq!(bench.found(&by_code("abc")).await, "m1 m2");
    bench
        .put(prescription(
            "one",
            vec![medication("m2", "abc", "syrup"), medication("m1", "new", "pill")],
        ))
        .await;
    assert_eq!(bench.found(&by_code("abc")).await, "m2");
    assert_eq!(bench.found(&by_code("new")).await, "m1");
    bench
        .put(prescription("one", vec![medication("m3", "new", "pill")]))
        .await;
    assert_eq!(bench.found(&by_code("abc")).await, "");
    let page = bench.bundle(&by_code("new")).await;
    assert_eq!(ids(&page, "match"), ["m3"]);
    assert_eq!(page["entry"][0]["resource"], medication("m3", "new", "pill"));
    bench.delete("MedicationRequest", "one").await;
    assert_eq!(bench.found(&by_code("new")).await, "");
    super::composite::assert_no_rows(&bench).await;
}

#[tokio::test]
async fn chains_go_into_contained_resources() {
    let bench = bench().await;
    let practitioner = |id: &str, family: &str| resource("Practitioner", id, json!({"name": [{"family": family}]}));
    bench
        .store([
            medication("alone", "abc", "pill"),
            prescription("inner", vec![medication("m1", "abc", "pill")]),
            prescription(
                "unused",
                vec![medication("m1", "xyz", "pill"), medication("m2", "abc", "pill")],
            ),
            resource(
                "MedicationRequest",
                "outer",
                json!({"status": "active", "intent": "order",
                "subject": {"reference": "Patient/p"}, "medicationReference": {"reference": "Medication/alone"}}),
            ),
            resource("Organization", "o", json!({"name": "Clinic"})),
            resource(
                "Observation",
                "seen",
                json!({"status": "final", "code": coding("x"),
                "contained": [resource("PractitionerRole", "role", json!({"practitioner": {"reference": "#doctor"},
                    "organization": {"reference": "Organization/o"}})), practitioner("doctor", "Inner")],
                "performer": [{"reference": "#role"}]}),
            ),
        ])
        .await;
    bench
        .check(&[
            ("MedicationRequest?medication.code=abc", "inner outer"),
            (
                "MedicationRequest?medication:Medication.code=urn:drugs|abc",
                "inner outer",
            ),
            ("MedicationRequest?medication.code=xyz", "unused"),
            (
                "Observation?performer:PractitionerRole.practitioner.family=inner",
                "seen",
            ),
            (
                "Observation?performer:PractitionerRole.organization.name=clinic",
                "seen",
            ),
            ("Observation?performer:PractitionerRole.organization.name=other", ""),
        ])
        .await;
}

#[tokio::test]
async fn what_cannot_be_asked_about_contained_resources_is_refused() {
    let bench = bench().await;
    assert_eq!(
        bench.refusal("Medication?_contained=maybe").await,
        "_contained is false, true or both."
    );
    assert_eq!(
        bench.refusal("Medication?_containedType=both").await,
        "_containedType is container or contained."
    );
    let refusal = bench.refusal("Medication?_contained=true&_sort=code").await;
    assert!(refusal.contains("_sort"), "{refusal}");
}
