//! `$everything`: <https://hl7.org/fhir/R4/patient-operation-everything.html>.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{entries, get, link, refusal, store};
use crate::app::{Ask, TestApp, spawn_app};

/// Two patients who share a practitioner, with care in 2020 and in 2025.
async fn clinic() -> TestApp {
    let app = spawn_app().await;
    let reference = |to: &str| json!({"reference": to});
    let ann = reference("Patient/ann");
    store(
        &app,
        [
            json!({"resourceType": "Organization", "id": "clinic"}),
            json!({"resourceType": "Location", "id": "ward"}),
            json!({"resourceType": "Location", "id": "home"}),
            json!({"resourceType": "Practitioner", "id": "who"}),
            json!({"resourceType": "Practitioner", "id": "other"}),
            json!({"resourceType": "Medication", "id": "pill"}),
            json!({"resourceType": "Binary", "id": "scan", "contentType": "image/png", "data": "AAAA"}),
            json!({"resourceType": "Patient", "id": "bob", "generalPractitioner": [reference("Practitioner/who")]}),
            json!({"resourceType": "Patient", "id": "ann", "managingOrganization": reference("Organization/clinic"),
                "generalPractitioner": [reference("Practitioner/who")]}),
            json!({"resourceType": "Encounter", "id": "stay", "status": "finished",
                "class": {"code": "IMP"}, "subject": ann, "period": {"start": "2020-03-01", "end": "2020-03-09"},
                "hospitalization": {"origin": reference("Location/home")},
                "location": [{"location": reference("Location/ward")}]}),
            json!({"resourceType": "Condition", "id": "old", "subject": ann, "recordedDate": "2025-05-05",
                "onsetDateTime": "2019", "abatementDateTime": "2021", "encounter": reference("Encounter/stay")}),
            json!({"resourceType": "MedicationRequest", "id": "order", "status": "active", "intent": "order",
                "subject": ann, "authoredOn": "2025-06-01", "medicationReference": reference("Medication/pill"),
                "requester": reference("Practitioner/other")}),
            json!({"resourceType": "DocumentReference", "id": "letter", "status": "current", "subject": ann,
                "content": [{"attachment": {"url": "Binary/scan"}}]}),
            json!({"resourceType": "Observation", "id": "bobs", "status": "final", "code": {"text": "x"},
                "subject": reference("Patient/bob")}),
            json!({"resourceType": "Observation", "id": "anns", "status": "final", "code": {"text": "x"},
                "subject": ann, "effectiveDateTime": "2025-06-02", "encounter": reference("Encounter/stay"),
                "derivedFrom": [reference("Observation/bobs")], "valueDateTime": "2020-03-05"}),
        ],
    )
    .await;
    app
}

/// All of `path` on its first page, sorted.
async fn record(app: &TestApp, path: &str) -> (String, String) {
    let bundle = get(app, path).await;
    assert_eq!(link(&bundle, "next"), None, "{path}");
    let sorted = |mode| {
        let mut ids: Vec<String> = entries(&bundle, mode)
            .iter()
            .map(|name| name.split_once('/').unwrap().1.to_owned())
            .collect();
        ids.sort();
        ids.join(" ")
    };
    (sorted("match"), sorted("include"))
}

fn both(matches: &str, included: &str) -> (String, String) {
    (matches.to_owned(), included.to_owned())
}

#[tokio::test]
async fn a_patients_record_is_the_compartment_and_what_it_refers_to() {
    let app = clinic().await;
    let bundle = get(&app, "Patient/ann/$everything").await;
    assert_eq!((&bundle["type"], &bundle["total"]), (&json!("searchset"), &json!(6)));
    // The patient first, then newest first. Bob's observation is referred to, but is Bob's.
    assert_eq!(
        entries(&bundle, "match"),
        [
            "Patient/ann",
            "Observation/anns",
            "DocumentReference/letter",
            "MedicationRequest/order",
            "Condition/old",
            "Encounter/stay"
        ]
    );
    let mut included = entries(&bundle, "include");
    included.sort();
    assert_eq!(
        included,
        [
            "Binary/scan",
            "Location/home",
            "Location/ward",
            "Medication/pill",
            "Organization/clinic",
            "Practitioner/other",
            "Practitioner/who"
        ]
    );
    assert_eq!(record(&app, "Patient/bob/$everything").await, both("bob bobs", "who"));
}

#[tokio::test]
async fn an_encounters_and_a_practitioners_record() {
    let app = clinic().await;
    assert_eq!(
        record(&app, "Encounter/stay/$everything").await,
        both("anns old stay", "ann home ward")
    );
    assert_eq!(
        record(&app, "Practitioner/who/$everything").await,
        both("ann bob who", "clinic")
    );
    assert_eq!(
        record(&app, "Practitioner/other/$everything").await,
        both("order other", "ann pill")
    );
    assert!(
        refusal(&app, "Encounter/$everything", 404)
            .await
            .contains("no operation")
    );
    assert!(
        refusal(&app, "Encounter/stay/$everything?start=2020", 400)
            .await
            .contains("'start'")
    );
}

#[tokio::test]
async fn a_time_of_care_leaves_out_what_was_done_at_others() {
    let app = clinic().await;
    let within = async |range: &str| record(&app, &format!("Patient/ann/$everything?{range}")).await;
    // The condition lasted from 2019 to 2021; when it was written down does not matter. The letter has no date.
    assert_eq!(
        within("start=2020-02&end=2020-04").await,
        both("ann letter old stay", "clinic home scan ward who")
    );
    assert_eq!(
        within("start=2025-06-01&end=2025-06-01").await,
        both("ann letter order", "clinic other pill scan who")
    );
    assert_eq!(
        within("start=2025-06-02").await,
        both("ann anns letter", "clinic scan who")
    );
    assert_eq!(within("end=2018-12-31").await, both("ann letter", "clinic scan who"));
    assert!(
        refusal(&app, "Patient/ann/$everything?start=2021&end=2020", 400)
            .await
            .contains("before the start")
    );
}

#[tokio::test]
async fn types_and_a_time_of_change_choose_from_the_same_record() {
    let app = clinic().await;
    assert_eq!(
        record(&app, "Patient/ann/$everything?_type=Observation,Practitioner").await,
        both("anns", "other who")
    );
    assert_eq!(
        record(&app, "Patient/ann/$everything?_type=Patient&_type=Binary").await,
        both("ann", "scan")
    );
    assert!(
        refusal(&app, "Patient/ann/$everything?_type=Patients", 400)
            .await
            .contains("'Patients'")
    );

    let before = get(&app, "Medication/pill").await;
    let order = get(&app, "MedicationRequest/order").await;
    let since = order["meta"]["lastUpdated"].as_str().unwrap();
    // The pill is older than the order until it is changed.
    assert!(before["meta"]["lastUpdated"].as_str() < Some(since));
    let path = format!("Patient/ann/$everything?_since={since}");
    assert_eq!(record(&app, &path).await, both("ann anns letter order", ""));
    let mut changed = before;
    changed["status"] = json!("active");
    app.put("Medication/pill").fhir(&changed).answer().await.expect(200);
    assert_eq!(record(&app, &path).await, both("ann anns letter order", "pill"));
}

#[tokio::test]
async fn pages_hold_each_resource_once_while_others_write() {
    let app = clinic().await;
    let whole = get(&app, "Patient/ann/$everything").await;
    let mut expected: Vec<String> = entries(&whole, "match");
    expected.extend(entries(&whole, "include"));

    let mut found = Vec::new();
    let mut next = Some("Patient/ann/$everything?_count=2&_elements=id".to_owned());
    let mut pages = 0;
    while let Some(path) = next {
        let bundle = get(&app, &path).await;
        let page = [entries(&bundle, "match"), entries(&bundle, "include")].concat();
        assert!((1..=2).contains(&page.len()), "{page:?}");
        found.extend(page);
        for entry in bundle["entry"].as_array().unwrap() {
            assert_eq!(entry["resource"]["meta"]["tag"][0]["code"], "SUBSETTED", "{entry}");
        }
        // A new member stands before the page that is read, an old one that changes stays where it is.
        let new = json!({"resourceType": "Basic", "id": format!("new{pages}"), "code": {"text": "x"},
            "subject": {"reference": "Patient/ann"}});
        store(&app, [new]).await;
        let mut old = get(&app, "DocumentReference/letter").await;
        old["description"] = json!(format!("{pages}"));
        app.put("DocumentReference/letter")
            .fhir(&old)
            .answer()
            .await
            .expect(200);
        pages += 1;
        next = link(&bundle, "next");
    }
    assert_eq!((pages, found), (7, expected));
}

#[tokio::test]
async fn a_link_belongs_to_its_request() {
    let app = clinic().await;
    let next = link(&get(&app, "Patient/ann/$everything?_count=2").await, "next").unwrap();
    // The size of a page may change from page to page.
    let larger = get(&app, &next.replace("_count=2", "_count=3")).await;
    assert_eq!(entries(&larger, "match").len(), 3);
    for altered in [
        next.replace("Patient/ann", "Patient/bob"),
        format!("{next}&_type=Basic"),
        next.replace("_cursor=", "_cursor=A"),
    ] {
        assert!(refusal(&app, &altered, 400).await.contains("page link"), "{altered}");
    }
}

#[tokio::test]
async fn every_patients_record_one_after_the_other() {
    let app = clinic().await;
    let whole = get(&app, "Patient/$everything").await;
    let owners: Vec<String> = entries(&whole, "match")
        .into_iter()
        .filter(|name| name.starts_with("Patient/"))
        .collect();
    assert_eq!(owners, ["Patient/ann", "Patient/bob"]);
    let order = |bundle: &Value| -> Vec<String> {
        let entries = bundle["entry"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["fullUrl"].as_str().unwrap().to_owned())
            .collect()
    };
    // Each record is whole: the practitioner of both is in both.
    let all = order(&whole);
    assert_eq!(all.iter().filter(|url| url.ends_with("/Practitioner/who")).count(), 2);
    let mut paged = Vec::new();
    let mut next = Some("Patient/$everything?_count=4".to_owned());
    while let Some(path) = next {
        let bundle = get(&app, &path).await;
        paged.extend(order(&bundle));
        next = link(&bundle, "next");
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn a_record_that_is_not_there() {
    let app = clinic().await;
    refusal(&app, "Patient/nobody/$everything", 404).await;
    app.delete("Observation/bobs").answer().await.expect(204);
    assert_eq!(record(&app, "Patient/bob/$everything").await, both("bob", "who"));
    app.delete("Patient/bob").answer().await.expect(204);
    refusal(&app, "Patient/bob/$everything", 410).await;
}

#[tokio::test]
async fn a_member_with_two_ties_is_there_once() {
    let app = spawn_app().await;
    let patient = json!({"reference": "Patient/p"});
    store(
        &app,
        [
            json!({"resourceType": "Patient", "id": "p"}),
            json!({"resourceType": "Appointment", "id": "a", "status": "proposed",
                "participant": [{"status": "accepted", "actor": patient}, {"status": "accepted", "actor": patient}]}),
            json!({"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
                "subject": patient, "performer": [patient]}),
        ],
    )
    .await;
    let bundle = get(&app, "Patient/p/$everything").await;
    let found: Vec<String> = entries(&bundle, "match");
    assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(found, ["Patient/p", "Observation/o", "Appointment/a"]);
}
