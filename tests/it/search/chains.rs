//! Chains and reverse chains.

use serde_json::{Value, json};

use super::{observation, patient, resource};
use crate::bench::{Bench, bench};

/// People, a place and a device, what was observed about them, and who looked at the observations.
async fn ward() -> Bench {
    let bench = bench().await;
    let named = |name: &str| json!({"name": [{"family": name}]});
    let about = |subject: &str, code: &str| json!({"subject": {"reference": subject}, "code": {"coding": [{"system": "urn:c", "code": code}]}});
    let audit = |id: &str, observation: &str, agent: &str| {
        let elements = json!({
            "type": {"code": "rest"},
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": agent}, "requestor": true}],
            "source": {"observer": {"display": "the server"}},
            "entity": [{"what": {"reference": observation}}],
        });
        resource("AuditEvent", id, elements)
    };
    bench
        .store([
            resource("Organization", "mercy", json!({"name": "Mercy"})),
            resource("Organization", "hope", json!({"name": "Hope"})),
            resource("Practitioner", "house", named("House")),
            resource("Practitioner", "wilson", named("Wilson")),
            patient(
                "p1",
                json!({
                    "name": [{"family": "Smith"}, {"text": "Smithy"}], "gender": "male", "birthDate": "1980-05-05",
                    "generalPractitioner": [{"reference": "Practitioner/house"}, {"reference": "Organization/hope"}],
                    "managingOrganization": {"reference": "Organization/mercy"},
                }),
            ),
            patient(
                "p2",
                json!({
                    "name": [{"family": "Smithers"}], "gender": "female", "meta": {"tag": [{"code": "vip"}]},
                    "generalPractitioner": [{"reference": "Practitioner/wilson"}],
                    "managingOrganization": {"reference": "Organization/hope"},
                }),
            ),
            patient(
                "p3",
                json!({"generalPractitioner": [{"reference": "Organization/mercy"}]}),
            ),
            resource("Location", "l1", json!({"name": "Smith Ward"})),
            resource(
                "Device",
                "d1",
                json!({"deviceName": [{"name": "Smith meter", "type": "other"}]}),
            ),
            observation("o1", about("Patient/p1", "a")),
            observation("o2", about("Patient/p2", "b")),
            observation("o3", about("Location/l1", "a")),
            observation("o4", about("Patient/p3", "b")),
            observation("o5", json!({})),
            observation("o6", about("Patient/absent", "a")),
            observation("o7", about("Device/d1", "c")),
            observation("o8", about("Patient/p1", "b")),
            audit("a1", "Observation/o1", "Practitioner/house"),
            audit("a2", "Observation/o2", "Practitioner/wilson"),
            audit("a3", "Observation/o7", "Practitioner/wilson"),
        ])
        .await;
    bench
}

#[tokio::test]
async fn chains_lead_to_resources_that_match() {
    let bench = ward().await;
    bench
        .check(&[
            ("Observation?subject:Patient.name=smith", "o1 o2 o8"),
            ("Observation?subject.name=smith", "o1 o2 o3 o8"),
            ("Observation?subject:Location.name=smith", "o3"),
            ("Observation?subject.device-name=smith", "o7"),
            ("Observation?patient.name=smith", "o1 o2 o8"),
            ("Observation?patient.name:exact=Smith", "o1 o8"),
            ("Observation?patient.name:contains=thers", "o2"),
            ("Observation?patient.name=smithers,smithy", "o1 o2 o8"),
            ("Observation?patient.name=jones", ""),
            ("Observation?patient.gender:not=male", "o2 o4"),
            ("Observation?patient.name:missing=true", "o4"),
            ("Observation?patient.name:missing=false", "o1 o2 o8"),
            ("Observation?patient.birthdate=ge1980", "o1 o8"),
            ("Observation?patient.birthdate=lt1980", ""),
            ("Observation?patient.birthdate:missing=true", "o2 o4"),
            ("Observation?patient._id=p1", "o1 o8"),
            ("Observation?subject._id=p2,l1", "o2 o3"),
            ("Observation?patient._id=absent", ""),
            ("Observation?patient._id:not=p1", "o2 o4"),
            ("Observation?patient._tag=vip", "o2"),
            ("Observation?patient._lastUpdated=ge2026-03-01T10:00:06Z", "o2 o4"),
            ("Observation?patient.general-practitioner=Practitioner/house", "o1 o8"),
            // Each may match on a reference of its own, but on the same patient here: there is one.
            ("Observation?patient.name=smith&patient.gender=female", "o2"),
            ("Observation?code=a&patient.name=smith", "o1"),
            ("Observation?_id=o1,o3&patient.name=smith", "o1"),
            ("Observation?code:not=a&patient.name=smith", "o2 o8"),
        ])
        .await;
}

#[tokio::test]
async fn chains_of_chains() {
    let bench = ward().await;
    bench
        .check(&[
            ("Observation?subject:Patient.general-practitioner.name=house", "o1 o8"),
            // A general practitioner may be an organisation, which has a name too.
            ("Observation?patient.general-practitioner.name=hope", "o1 o8"),
            ("Observation?patient.general-practitioner:Organization.name=mercy", "o4"),
            ("Observation?patient.general-practitioner:Practitioner.name=mercy", ""),
            ("Observation?patient.organization.name=hope", "o2"),
            ("Observation?patient.organization.name:contains=ERC", "o1 o8"),
            ("Observation?patient.organization.name:missing=false", "o1 o2 o8"),
            ("AuditEvent?entity:Observation.patient.organization.name=mercy", "a1"),
            ("AuditEvent?entity:Observation.subject.name=smith", "a1 a2"),
            ("AuditEvent?entity.patient.name=smith", "a1 a2"),
            ("AuditEvent?entity:Observation.code=c", "a3"),
            (
                "AuditEvent?agent.name=wilson&entity:Observation.patient.gender=female",
                "a2",
            ),
        ])
        .await;
}

#[tokio::test]
async fn reverse_chains() {
    let bench = ward().await;
    bench
        .check(&[
            // Neither the location nor the patient who is not here, to whom such observations refer too.
            ("Patient?_has:Observation:subject:code=a", "p1"),
            ("Patient?_has:Observation:patient:code=urn:c|a", "p1"),
            ("Location?_has:Observation:subject:code=a", "l1"),
            ("Patient?_has:Observation:patient:code=b", "p1 p2 p3"),
            ("Patient?_has:Observation:patient:code=c", ""),
            ("Patient?_has:Observation:patient:code:not=a", "p1 p2 p3"),
            ("Patient?_has:Observation:patient:code=a,b&gender=male", "p1"),
            (
                "Patient?_has:Observation:patient:code=a&_has:Observation:patient:code=b",
                "p1",
            ),
            ("Patient?_has:Observation:patient:_id=o2", "p2"),
            ("Patient?_has:Observation:patient:code=b&name:missing=true", "p3"),
            ("Patient?_has:Observation:patient:code=b&_id=p2,p3", "p2 p3"),
            (
                "Patient?_has:Observation:patient:_lastUpdated=lt2026-03-01T10:00:11Z",
                "p1",
            ),
            (
                "Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=Practitioner/house",
                "p1",
            ),
            (
                "Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=a",
                "house",
            ),
            ("Organization?_has:Patient:general-practitioner:gender=male", "hope"),
        ])
        .await;
    assert_eq!(
        bench.bundle("Patient?_has:Observation:subject:code=a&_count=0").await["total"],
        1
    );
    assert_eq!(
        bench.find("Patient?_has:Observation:patient:code=b&_sort=-_id").await,
        ["p3", "p2", "p1"]
    );
    assert_eq!(
        bench
            .find("Patient?_has:Observation:patient:code=b&_sort=birthdate")
            .await,
        ["p1", "p2", "p3"]
    );
}

#[tokio::test]
async fn chains_and_reverse_chains_mix() {
    let bench = ward().await;
    bench
        .check(&[
            (
                "Patient?_has:Observation:patient:_has:AuditEvent:entity:agent.name=wilson",
                "p2",
            ),
            ("Practitioner?_has:AuditEvent:agent:entity:Observation.code=a", "house"),
            (
                "Practitioner?_has:AuditEvent:agent:entity:Observation.subject:Device.device-name=smith",
                "wilson",
            ),
            (
                "AuditEvent?entity:Observation.patient._has:Observation:patient:code=a",
                "a1",
            ),
            (
                "Observation?patient.general-practitioner:Practitioner._has:AuditEvent:agent:_id=a1",
                "o1 o8",
            ),
            (
                "Observation?patient.organization:Organization._has:Patient:general-practitioner:name:missing=true",
                "o1 o8",
            ),
        ])
        .await;
}

#[tokio::test]
async fn pages_of_a_chain_hold_everything_once() {
    let bench = ward().await;
    let query = "Observation?subject.name=smith&_count=1";
    assert_eq!(bench.pages(query).await.concat(), ["o8", "o3", "o2", "o1"]);
    let query = "Observation?subject.name=smith&_count=3&_sort=code,_id";
    assert_eq!(bench.pages(query).await.concat(), ["o1", "o3", "o2", "o8"]);
    let query = "Patient?_has:Observation:patient:code=b&_count=2";
    assert_eq!(bench.pages(query).await.concat(), ["p3", "p2", "p1"]);
}

#[tokio::test]
async fn a_chain_ends_at_what_was_deleted() {
    let bench = ward().await;
    bench.delete("Patient", "p1").await;
    bench.delete("Observation", "o2").await;
    bench
        .check(&[
            ("Observation?patient.name=smith", ""),
            ("Observation?patient._id=p1", ""),
            ("Observation?patient=p1", "o1 o8"),
            ("Patient?_has:Observation:patient:code=b", "p3"),
            ("AuditEvent?entity:Observation.patient.name=smith", ""),
        ])
        .await;
}

#[tokio::test]
async fn chains_that_lead_nowhere_are_refused() {
    let bench = ward().await;
    let link = |count: usize| "part-of.".repeat(count);
    for (query, says) in [
        ("Observation?code.name=x".to_owned(), "no reference"),
        ("Observation?subject:Practitioner.name=x".to_owned(), "it refers to"),
        ("Observation?subject:Nonsense.name=x".to_owned(), "it refers to"),
        ("Observation?subject.nonsense=x".to_owned(), "None of the types"),
        (
            "Observation?patient.nonsense=x".to_owned(),
            "None of the types that patient",
        ),
        ("Observation?patient.birthdate=soon".to_owned(), "yyyy"),
        ("Observation?patient.gender:exact=x".to_owned(), "does not apply"),
        ("Observation?.name=x".to_owned(), "no search parameter"),
        ("Observation?patient.=x".to_owned(), "None of the types"),
        (
            "Patient?_has:Observation:patient=x".to_owned(),
            "_has:Type:reference:parameter",
        ),
        ("Patient?_has=x".to_owned(), "_has:Type:reference:parameter"),
        ("Patient?_has:Nonsense:patient:code=x".to_owned(), "resource type"),
        ("Patient?_has:Observation:code:code=x".to_owned(), "no reference"),
        (
            "Patient?_has:Observation:nonsense:code=x".to_owned(),
            "no search parameter",
        ),
        (
            "Patient?_has:Observation:patient:nonsense=x".to_owned(),
            "no search parameter",
        ),
        (
            "Practitioner?_has:Observation:patient:code=x".to_owned(),
            "does not refer to 'Practitioner'",
        ),
        (format!("Location?{}name=x", link(9)), "at most 8 links"),
    ] {
        let told = bench.refusal(&query).await;
        assert!(told.contains(says), "{query}: {told}");
    }
    assert_eq!(
        bench.found(&format!("Location?{}name=x", "partof.".repeat(8))).await,
        ""
    );
    // Forty types have a subject, which leads to forty types that have a subject …
    let started: Value = bench
        .bundle("AuditEvent?entity.subject.subject.subject.subject.name=x")
        .await;
    assert_eq!(started["resourceType"], "Bundle");
}
