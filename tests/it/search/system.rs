//! Searches over several types, in compartments, and of Lists.

use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search::{Scope, page_bundle, parse, search};
use serde_json::{Value, json};

use super::{ids, link, observation, patient, resource};
use crate::app::{Ask, spawn_app};
use crate::bench::{Bench, bench};

/// Two patients with what belongs to them, and what belongs to nobody.
async fn clinic() -> Bench {
    let bench = bench().await;
    let tagged = |code: &str| json!({"tag": [{"system": "urn:t", "code": code}]});
    let subject = |id: &str| json!({"reference": format!("Patient/{id}")});
    bench
        .store([
            resource(
                "Practitioner",
                "doc",
                json!({"name": [{"family": "Smith"}], "meta": tagged("a")}),
            ),
            patient(
                "p1",
                json!({"name": [{"family": "Smith"}], "gender": "male", "meta": tagged("b")}),
            ),
            patient(
                "p2",
                json!({"name": [{"family": "Jones"}], "meta": tagged("a"),
                "link": [{"other": subject("p1"), "type": "seealso"}]}),
            ),
            observation("o1", json!({"subject": subject("p1"), "meta": tagged("a")})),
            observation("o2", json!({"subject": subject("p2"), "performer": [subject("p1")]})),
            observation("o3", json!({"subject": subject("p2")})),
            resource(
                "Condition",
                "c1",
                json!({"subject": subject("p1"), "clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}}),
            ),
            // Has the id of a patient, and is none.
            observation("p1", json!({"subject": subject("p2")})),
            resource(
                "List",
                "l1",
                json!({"status": "current", "mode": "working", "entry": [
                {"item": subject("p1")}, {"item": {"reference": "Observation/o3"}}, {"item": subject("gone")}]}),
            ),
            resource(
                "List",
                "l2",
                json!({"status": "current", "mode": "working", "entry": [{"item": subject("p2")}]}),
            ),
        ])
        .await;
    bench
}

impl Bench {
    /// `Type/id` of the matches on the first page, in order.
    async fn everywhere(&self, scope: Scope<'_>, query: &str) -> (Vec<String>, Value) {
        let pairs = medconsult::fhir::http::query::Query::parse(query).unwrap().0;
        let search_for = parse(&self.server, scope, &pairs, Handling::Strict)
            .unwrap_or_else(|error| panic!("{query}: {}", error.to_json()));
        let caller = medconsult::fhir::caller::Caller::sandbox();
        let page = search(&self.server, &caller, &search_for).await.unwrap();
        let whole = medconsult::fhir::summary::Projection::Whole;
        let bundle = page_bundle(&self.server, &search_for, &page, &whole).unwrap();
        let bundle: Value = serde_json::from_str(&bundle).unwrap();
        let found = page
            .matches
            .iter()
            .map(|found| format!("{}/{}", found.resource_type, found.id));
        (found.collect(), bundle)
    }

    async fn check_scope(&self, scope: Scope<'_>, expected: &[(&str, &str)]) {
        for (query, found) in expected {
            let (mut all, _) = self.everywhere(scope, query).await;
            all.sort();
            assert_eq!(all.join(" "), *found, "{scope:?} {query}");
        }
    }

    fn refused(&self, scope: Scope<'_>, query: &str) -> (u16, String) {
        let pairs = medconsult::fhir::http::query::Query::parse(query).unwrap().0;
        let error = parse(&self.server, scope, &pairs, Handling::Strict).unwrap_err();
        (error.status.as_u16(), error.issues[0].diagnostics.clone())
    }
}

#[tokio::test]
async fn all_types_are_searched_by_what_they_have_in_common() {
    let bench = clinic().await;
    bench
        .check_scope(
            Scope::System,
            &[
                ("_tag=urn:t|a", "Observation/o1 Patient/p2 Practitioner/doc"),
                ("_tag=a&_type=Patient,Practitioner", "Patient/p2 Practitioner/doc"),
                ("_id=p1", "Observation/p1 Patient/p1"),
                ("_id=p1&_type=Patient", "Patient/p1"),
                ("_type=Patient,Practitioner&name=smith", "Patient/p1 Practitioner/doc"),
                ("_type=Patient,Practitioner&name:missing=true", ""),
                (
                    "_type=Patient,Practitioner&gender:missing=true",
                    "Patient/p2 Practitioner/doc",
                ),
                (
                    "_type=Patient,Practitioner&gender:not=male",
                    "Patient/p2 Practitioner/doc",
                ),
                ("_type=Observation,Condition&patient=p1", "Condition/c1 Observation/o1"),
                (
                    "_type=Observation,Condition&patient.name=smith",
                    "Condition/c1 Observation/o1",
                ),
                (
                    "_type=Observation,Condition&subject:Patient.gender=male",
                    "Condition/c1 Observation/o1",
                ),
                ("_lastUpdated=gt2026-03-01T10:00:09Z", "List/l2"),
                (
                    "_type=Observation,Condition&_filter=not(patient.gender+eq+male)",
                    "Observation/o2 Observation/o3 Observation/p1",
                ),
                ("_filter=_tag+eq+a+and+not(_id+eq+o1)", "Patient/p2 Practitioner/doc"),
                ("_type=Patient,Patient&link=Patient/p1", "Patient/p2"),
            ],
        )
        .await;
    let (found, bundle) = bench.everywhere(Scope::System, "_type=Patient,List&_count=3").await;
    assert_eq!(found, ["List/l2", "List/l1", "Patient/p2"], "newest first");
    let next = link(&bundle, "next").unwrap();
    let next = next.strip_prefix("http://localhost/fhir?").unwrap();
    assert_eq!(bench.everywhere(Scope::System, next).await.0, ["Patient/p1"]);
    assert_eq!(
        link(&bundle, "self").unwrap(),
        "http://localhost/fhir?_type=Patient,List&_count=3"
    );
    let (found, _) = bench.everywhere(Scope::System, "_tag=a&_sort=_id").await;
    assert_eq!(found, ["Practitioner/doc", "Observation/o1", "Patient/p2"]);
    let (found, _) = bench
        .everywhere(Scope::System, "_type=Patient,Practitioner&_sort=family,_id")
        .await;
    assert_eq!(found, ["Patient/p2", "Practitioner/doc", "Patient/p1"]);
    assert_eq!(bench.everywhere(Scope::System, "_count=0").await.1["total"], 10);
    for (query, says) in [
        ("name=smith", "what all of them have"),
        ("_type=Patient,Observation&name=smith", "what all of them have"),
        ("_type=Patient,Nonsense", "'Nonsense'"),
        ("_type=patient", "case-sensitive"),
        ("_type=", "''"),
        ("_type=Patient&_type=List", "once"),
        ("_query=x", "_query"),
        ("_list=$current-problems", "$current-problems"),
    ] {
        let (status, told) = bench.refused(Scope::System, query);
        assert!(status == 400 && told.contains(says), "{query}: {told}");
    }
    assert_eq!(bench.refused(Scope::Type("Patient"), "_type=List").0, 400);
    assert_eq!(bench.refused(Scope::Type("Patient"), "_query=x").0, 400);
}

#[tokio::test]
async fn compartments_hold_what_refers_to_their_owner() {
    let bench = clinic().await;
    let of = |member: Option<&'static str>| Scope::Compartment {
        owner: "Patient",
        id: "p1",
        member,
    };
    bench
        .check_scope(
            of(Some("Observation")),
            &[
                ("", "Observation/o1 Observation/o2"),
                ("patient=p2", "Observation/o2"),
                ("_tag=a", "Observation/o1"),
                ("_id=o2,o3", "Observation/o2"),
            ],
        )
        .await;
    bench
        .check_scope(
            of(None),
            &[
                ("", "Condition/c1 Observation/o1 Observation/o2 Patient/p1 Patient/p2"),
                (
                    "_type=Observation,Condition",
                    "Condition/c1 Observation/o1 Observation/o2",
                ),
                ("_type=Patient", "Patient/p1 Patient/p2"),
                ("_tag=a", "Observation/o1 Patient/p2"),
                ("_id=p1", "Patient/p1"),
            ],
        )
        .await;
    bench
        .check_scope(
            of(Some("Patient")),
            &[("", "Patient/p1 Patient/p2"), ("name=smith", "Patient/p1")],
        )
        .await;
    let nobody = Scope::Compartment {
        owner: "Patient",
        id: "unheard-of",
        member: None,
    };
    bench.check_scope(nobody, &[("", "")]).await;
    let (found, bundle) = bench.everywhere(of(None), "_count=2&_sort=_id").await;
    assert_eq!(found, ["Condition/c1", "Observation/o1"]);
    let next = link(&bundle, "next").unwrap();
    assert!(
        next.starts_with("http://localhost/fhir/Patient/p1/*?_count=2"),
        "{next}"
    );
    let cursor = next.split_once('?').unwrap().1;
    assert_eq!(
        bench.everywhere(of(None), cursor).await.0,
        ["Observation/o2", "Patient/p1"]
    );
    // The place in one compartment is none in another.
    let other = Scope::Compartment {
        owner: "Patient",
        id: "p2",
        member: None,
    };
    assert_eq!(bench.refused(other, cursor).0, 400);
    let (status, told) = bench.refused(of(Some("Organization")), "");
    assert!(status == 400 && told.contains("not in the compartment"), "{told}");
    let (status, told) = bench.refused(
        Scope::Compartment {
            owner: "Observation",
            id: "o1",
            member: None,
        },
        "",
    );
    assert!(status == 404 && told.contains("Patient"), "{told}");
    let (status, told) = bench.refused(of(None), "_type=Organization");
    assert!(status == 400 && told.contains("'Organization'"), "{told}");
}

#[tokio::test]
async fn lists_are_searched_by_their_entries() {
    let bench = clinic().await;
    bench
        .check_scope(
            Scope::System,
            &[
                ("_list=l1", "Observation/o3 Patient/p1"),
                ("_list=l1&_type=Patient", "Patient/p1"),
            ],
        )
        .await;
    bench
        .check(&[
            ("Patient?_list=l1", "p1"),
            ("Patient?_list=l1,l2", "p1 p2"),
            ("Patient?_list=l1&name=jones", ""),
            ("Patient?_list=nothing", ""),
            ("Observation?_list=l1", "o3"),
        ])
        .await;
    assert!(
        bench
            .refusal("Patient?_list=$current-allergies")
            .await
            .contains("$current-allergies")
    );
    assert!(bench.refusal("Patient?_list:not=l1").await.contains("modifier"));
}

#[tokio::test]
async fn every_form_of_the_interaction_answers() {
    let app = spawn_app().await;
    for (path, resource) in [
        (
            "Patient/p1",
            json!({"resourceType": "Patient", "id": "p1", "active": true}),
        ),
        (
            "Observation/o1",
            json!({"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"},
                "subject": {"reference": "Patient/p1"}}),
        ),
    ] {
        app.put(path).fhir(&resource).answer().await.expect(201);
    }
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "?_id=o1"}},
        {"request": {"method": "GET", "url": "Patient/p1/*?_type=Observation"}},
    ]});
    let answer = app.post("").fhir(&batch).answer().await.expect(200).json();
    for entry in answer["entry"].as_array().unwrap() {
        assert_eq!(ids(&entry["resource"], "match"), ["o1"], "{entry}");
    }
    for path in [
        "?_id=o1",
        "/?_id=o1",
        "/Patient/p1/Observation",
        "/Patient/p1/*?_type=Observation",
    ] {
        let answer = app.get(&format!("/fhir{path}")).answer().await.expect(200).json();
        assert_eq!(ids(&answer, "match"), ["o1"], "{path}");
    }
    for (path, form) in [
        ("_search", "_id=o1"),
        ("_search?_id=o1", ""),
        ("Patient/p1/Observation/_search", "_id=o1,p1"),
        ("Patient/p1/*/_search", "_type=Observation"),
    ] {
        let request = app
            .post(path)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).answer().await.expect(200).json();
        assert_eq!(ids(&answer, "match"), ["o1"], "{path}");
    }
    for (path, status) in [
        ("Nonsense/p1/Observation", 404),
        ("Patient/p1/Nonsense", 404),
        ("Patient/p%201/Observation", 404),
        ("Observation/o1/Patient", 404),
        ("Patient/p1/Organization", 400),
    ] {
        app.get(path).answer().await.expect(status);
    }
    let statement = app.get("metadata").answer().await.expect(200).json();
    let rest = &statement["rest"][0];
    let has = |list: &Value, member: &str, value: &str| list.as_array().unwrap().iter().any(|one| one[member] == value);
    assert!(has(&rest["interaction"], "code", "search-system"));
    for name in [
        "_id",
        "_lastUpdated",
        "_tag",
        "_profile",
        "_filter",
        "_has",
        "_list",
        "_type",
    ] {
        assert!(has(&rest["searchParam"], "name", name), "{name}");
    }
    assert!(!has(&rest["searchParam"], "name", "name"));
    assert_eq!(rest["compartment"].as_array().unwrap().len(), 5);
}
