//! `_include` and `_revinclude`: <https://hl7.org/fhir/R4/search.html#revinclude>.

use medconsult::fhir::preferences::Handling;
use serde_json::{Value, json};

use super::{ids, observation, patient, resource};
use crate::bench::{Bench, bench};

impl Bench {
    /// Ids of what a search includes, sorted and joined.
    async fn included(&self, query: &str) -> String {
        let mut included = ids(&self.bundle(query).await, "include");
        included.sort();
        included.join(" ")
    }
}

fn reference(to: &str) -> Value {
    json!({"reference": to})
}

fn location(id: &str, part_of: Option<&str>) -> Value {
    let elements = part_of.map_or(
        json!({}),
        |whole| json!({"partOf": reference(&format!("Location/{whole}"))}),
    );
    resource("Location", id, elements)
}

/// An encounter in a room of a house of a site, with a patient whose practitioner belongs to an organization.
async fn house() -> Bench {
    let bench = bench().await;
    bench
        .store([
            location("site", None),
            location("building", Some("site")),
            location("room", Some("building")),
            resource("Organization", "org", json!({})),
            resource("Practitioner", "doc", json!({})),
            resource(
                "PractitionerRole",
                "role",
                json!({"practitioner": reference("Practitioner/doc"), "organization": reference("Organization/org")}),
            ),
            patient("p", json!({"generalPractitioner": [reference("Practitioner/doc")]})),
            resource(
                "Encounter",
                "e",
                json!({"status": "finished", "class": {"code": "AMB"}, "subject": reference("Patient/p"),
                    "location": [{"location": reference("Location/room")}]}),
            ),
            observation(
                "o",
                json!({"subject": reference("Patient/p"), "encounter": reference("Encounter/e")}),
            ),
        ])
        .await;
    bench
}

#[tokio::test]
async fn includes_are_added_once() {
    let bench = bench().await;
    bench
        .store([
            resource("Practitioner", "doc", json!({})),
            resource("Organization", "org", json!({})),
            patient("p", json!({"generalPractitioner": [{"reference": "Practitioner/doc"}], "managingOrganization": {"reference": "Organization/org"}})),
            patient("lonely", json!({"link": [{"other": {"reference": "Patient/p"}, "type": "seealso"}]})),
            observation("o1", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Practitioner/doc"}]})),
            observation("o2", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Patient/absent"}]})),
        ])
        .await;
    for (query, matches, included) in [
        ("Observation?_include=Observation:subject", "o1 o2", "p"),
        (
            "Observation?_include=Observation:patient&_include=Observation:performer",
            "o1 o2",
            "doc p",
        ),
        (
            "Observation?_include=Observation:performer:Practitioner",
            "o1 o2",
            "doc",
        ),
        ("Observation?_include=Observation:performer:Organization", "o1 o2", ""),
        ("Observation?_include=*", "o1 o2", "doc p"),
        ("Patient?_id=p&_include=Patient:*", "p", "doc org"),
        ("Patient?_id=p&_revinclude=Observation:subject", "p", "o1 o2"),
        ("Patient?_id=p&_revinclude=Observation:subject:Patient", "p", "o1 o2"),
        (
            "Patient?_id=p&_revinclude=Observation:*&_include=Patient:organization",
            "p",
            "o1 o2 org",
        ),
        ("Patient?_include=Patient:link", "lonely p", ""),
        ("Patient?_id=lonely&_include=Patient:link", "lonely", "p"),
        (
            "Practitioner?_revinclude=Patient:general-practitioner&_revinclude=Observation:performer",
            "doc",
            "o1 p",
        ),
    ] {
        let bundle = bench.bundle(query).await;
        for (mode, expected) in [("match", matches), ("include", included)] {
            let mut ids = ids(&bundle, mode);
            ids.sort();
            assert_eq!(ids.join(" "), expected, "{query}: {mode}");
        }
    }
}

#[tokio::test]
async fn iterated_includes_go_on_from_what_is_included() {
    let bench = house().await;
    for (query, included) in [
        ("_include=Encounter:location", "room"),
        (
            "_include=Encounter:location&_include:iterate=Location:partof",
            "building room site",
        ),
        // In whatever order they are given.
        (
            "_include:iterate=Location:partof&_include=Encounter:location",
            "building room site",
        ),
        // An include that starts from nothing here and is not iterated has no part in it.
        (
            "_include=Encounter:subject&_include:iterate=Patient:general-practitioner",
            "doc p",
        ),
        (
            "_include=Encounter:subject&_include:iterate=Patient:general-practitioner\
             &_revinclude:iterate=PractitionerRole:practitioner&_include:iterate=PractitionerRole:organization",
            "doc org p role",
        ),
        (
            "_revinclude=Observation:encounter&_include:iterate=Observation:subject",
            "o p",
        ),
        // Along everything there is; the match itself is not included.
        ("_include:iterate=*", "building doc p room site"),
        (
            "_include:iterate=*&_revinclude:iterate=*",
            "building doc o org p role room site",
        ),
    ] {
        assert_eq!(bench.included(&format!("Encounter?{query}")).await, included, "{query}");
    }
}

#[tokio::test]
async fn wildcards_and_types() {
    let bench = house().await;
    for (query, included) in [
        ("Patient?_revinclude=*", "e o"),
        ("Practitioner?_revinclude=*", "p role"),
        ("Practitioner?_revinclude=Patient:*", "p"),
        ("Observation?_include=*", "e p"),
        ("Observation?_include=*:*", "e p"),
        ("Observation?_include=Observation:*:Patient", "p"),
        ("Observation?_include=Observation:subject:Group", ""),
        ("Patient?_revinclude=Observation:subject:Patient", "o"),
        ("Location?_id=site&_revinclude:iterate=Location:partof", "building room"),
        (
            "Location?_id=site&_revinclude:iterate=Location:partof:Location&_revinclude:iterate=Encounter:location",
            "building e room",
        ),
    ] {
        assert_eq!(bench.included(query).await, included, "{query}");
    }
    for (query, reason) in [
        (
            "Observation?_include=Observation:subject:Practitioner",
            "never refers to a Practitioner",
        ),
        ("Observation?_include=Location:partof", "with :iterate it would go on"),
        (
            "Observation?_revinclude=Encounter:subject:Patient",
            "with :iterate it would go on",
        ),
        ("Observation?_include:recurse=Observation:subject", "it takes :iterate"),
        (
            "Observation?_include=Observation:nonsense",
            "no reference parameter 'nonsense'",
        ),
        ("Observation?_include=Observation:code", "no reference parameter 'code'"),
        (
            "Observation?_include=Observation:subject:Nonsense",
            "'Nonsense' is no resource type",
        ),
        ("Observation?_include=a:b:c:d", "has the form"),
        ("Observation?_include=", "has the form"),
    ] {
        let text = bench.refusal(query).await;
        assert!(text.contains(reason), "{query}: {text}");
    }
    // A lenient client is told what was left out, and gets the rest.
    let (_, bundle) = bench
        .page(
            "Observation?_include=Location:partof&_include=Observation:encounter",
            Handling::Lenient,
        )
        .await
        .unwrap();
    assert_eq!(
        (
            ids(&bundle, "include"),
            bundle["entry"][2]["resource"]["issue"][0]["code"].clone()
        ),
        (vec!["e".to_owned()], json!("not-supported"))
    );
}

#[tokio::test]
async fn cycles_end() {
    let bench = bench().await;
    bench
        .store([
            location("a", Some("b")),
            location("b", Some("c")),
            location("c", Some("a")),
            location("self", Some("self")),
        ])
        .await;
    assert_eq!(
        bench.included("Location?_id=a&_include:iterate=Location:partof").await,
        "b c"
    );
    assert_eq!(
        bench
            .included("Location?_id=a&_revinclude:iterate=Location:partof")
            .await,
        "b c"
    );
    assert_eq!(
        bench
            .included("Location?_id=self&_include:iterate=Location:partof")
            .await,
        ""
    );
    // What is on the page already is not included as well.
    assert_eq!(
        bench
            .included("Location?_id=a,b&_include:iterate=Location:partof")
            .await,
        "c"
    );
}

#[tokio::test]
async fn the_deleted_lead_nowhere() {
    let bench = house().await;
    bench.delete("Location", "building").await;
    let query = "Encounter?_include=Encounter:location&_include:iterate=Location:partof";
    assert_eq!(bench.included(query).await, "room");
}

#[tokio::test]
async fn canonical_references_lead_to_the_resource_of_that_url_and_version() {
    let bench = bench().await;
    let url = "http://example.org/Questionnaire/phq";
    let form = |id: &str, version: &str| {
        resource(
            "Questionnaire",
            id,
            json!({"status": "active", "url": url, "version": version}),
        )
    };
    let answers = |id: &str, questionnaire: &str| {
        resource(
            "QuestionnaireResponse",
            id,
            json!({"status": "completed", "questionnaire": questionnaire}),
        )
    };
    bench
        .store([
            form("q1", "1"),
            form("q2", "2"),
            answers("any", url),
            answers("second", &format!("{url}|2")),
            answers("third", &format!("{url}|3")),
            answers("elsewhere", "http://example.org/Questionnaire/other"),
        ])
        .await;
    for (id, included) in [("any", "q1 q2"), ("second", "q2"), ("third", ""), ("elsewhere", "")] {
        let query = format!("QuestionnaireResponse?_id={id}&_include=QuestionnaireResponse:questionnaire");
        assert_eq!(bench.included(&query).await, included, "{id}");
    }
    for (id, included) in [("q1", "any"), ("q2", "any second")] {
        let query = format!("Questionnaire?_id={id}&_revinclude=QuestionnaireResponse:questionnaire:Questionnaire");
        assert_eq!(bench.included(&query).await, included, "{id}");
    }
    // A value set that a structure of another structure names, over two canonical references.
    let profile = |id: &str, base: &str| {
        resource(
            "StructureDefinition",
            id,
            json!({"status": "draft", "url": format!("http://s/{id}"), "name": "N", "kind": "resource", "abstract": false,
                "type": "Patient", "baseDefinition": base, "derivation": "constraint",
                "differential": {"element": [{"path": "Patient"}]}}),
        )
    };
    bench
        .store([
            profile("base", "http://hl7.org/fhir/x"),
            profile("mid", "http://s/base"),
            profile("top", "http://s/mid"),
        ])
        .await;
    let query = "StructureDefinition?_id=top&_include:iterate=StructureDefinition:base";
    assert_eq!(bench.included(query).await, "base mid");
}

#[tokio::test]
async fn there_is_an_end_to_how_much_is_included() {
    let bench = bench().await;
    bench.store([patient("p", json!({}))]).await;
    bench
        .store((0..1_001).map(|n| observation(&format!("o{n}"), json!({"subject": reference("Patient/p")}))))
        .await;
    let bundle = bench.bundle("Patient?_revinclude=Observation:subject").await;
    assert_eq!(ids(&bundle, "include").len(), 1_000);
    let outcome = &bundle["entry"].as_array().unwrap().last().unwrap()["resource"]["issue"][0];
    assert_eq!(
        (&outcome["severity"], &outcome["code"]),
        (&json!("warning"), &json!("incomplete"))
    );
    assert!(outcome["diagnostics"].as_str().unwrap().contains("1000"));
}

#[tokio::test]
async fn includes_belong_to_a_page_and_stay_in_its_links() {
    let bench = bench().await;
    bench
        .store([
            resource("Practitioner", "doc", json!({})),
            patient("a", json!({"generalPractitioner": [reference("Practitioner/doc")]})),
            patient("b", json!({"generalPractitioner": [reference("Practitioner/doc")]})),
        ])
        .await;
    let query = "Patient?_include:iterate=Patient:general-practitioner&_count=1";
    let first = bench.bundle(query).await;
    let next = super::link(&first, "next").unwrap();
    assert!(
        next.contains("_include%3Aiterate=") || next.contains("_include:iterate="),
        "{next}"
    );
    let second = bench.bundle(next.strip_prefix("http://localhost/fhir/").unwrap()).await;
    for (page, found) in [(&first, "b"), (&second, "a")] {
        assert_eq!(
            (ids(page, "match"), ids(page, "include")),
            (vec![found.to_owned()], vec!["doc".to_owned()])
        );
    }
}
