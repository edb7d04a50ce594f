//! MedConsult's FHIR package on a running server: stored at the start, named in the CapabilityStatement, enforced on write.

use std::fs;

use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Write, commit};
use medconsult::fhir::profiles;
use medconsult::knowledge::profiles::Package;
use serde_json::{Value, json};

use crate::app::{Ask, spawn_app, spawn_app_with};
use crate::bench::bench;

const BASE: &str = "https://medconsult.example/fhir";

fn example(name: &str) -> Value {
    let path = format!("{}/profiles/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Code and expression of each issue, in order.
fn issues(outcome: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let issues = outcome["issue"].as_array().unwrap();
    let mut all: Vec<_> = issues
        .iter()
        .map(|issue| (text(&issue["code"]), text(&issue["expression"][0])))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn examples_are_stored_or_refused_as_they_say() {
    // Without the features, which ask for what no example has: the payment behind a notice, the file of a document.
    let bench = bench().await;
    let store = |resource: Value| {
        let write = Write::Create {
            resource,
            if_none_exist: None,
        };
        let op = Op { write, full_url: None };
        async {
            commit(&bench.server, &Caller::sandbox(), vec![op])
                .await
                .map_err(|failed| failed.error)
        }
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/examples");
    let mut pairs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".valid.json") else {
            continue;
        };
        let (valid, invalid) = (example(&format!("{name}.valid")), example(&format!("{name}.invalid")));
        let stored = store(valid).await;
        stored.unwrap_or_else(|error| panic!("{name}: {}", error.to_json()));
        let error = store(invalid).await.unwrap_err();
        let expected = issues(&example(&format!("{name}.invalid.outcome")));
        let outcome: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(
            (error.status.as_u16(), issues(&outcome)),
            (422, expected),
            "{name}: {outcome}"
        );
        pairs += 1;
    }
    assert!(pairs > 20, "{pairs}");
}

#[tokio::test]
async fn every_way_to_write_is_held_against_the_profile() {
    let app = spawn_app().await;
    let invalid = [("invariant".to_owned(), "Slot".to_owned())];
    let mut slot = example("slot.valid");
    app.put("/fhir/Slot/slot-example")
        .fhir(&slot)
        .answer()
        .await
        .expect(201);

    slot["end"] = json!("2026-12-01T00:00:00Z");
    let answer = app
        .put("/fhir/Slot/slot-example")
        .fhir(&slot)
        .answer()
        .await
        .expect(422);
    assert_eq!(issues(&answer.json()), invalid);

    let patch = json!([{"op": "replace", "path": "/end", "value": "2026-12-01T00:00:00Z"}]);
    let patch = app
        .patch("/fhir/Slot/slot-example")
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string());
    assert_eq!(issues(&patch.answer().await.expect(422).json()), invalid);

    // Without the claim it is any Slot; the claim cannot be added afterwards either.
    let claim = slot["meta"].take();
    app.put("/fhir/Slot/slot-example")
        .fhir(&without(&slot, "meta"))
        .answer()
        .await
        .expect(200);
    let input = json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": claim}]});
    let answer = app
        .post("/fhir/Slot/slot-example/$meta-add")
        .fhir(&input)
        .answer()
        .await
        .expect(422);
    assert_eq!(issues(&answer.json()), invalid);
    let stored = app.get("/fhir/Slot/slot-example").answer().await.expect(200).json();
    assert_eq!(
        (&stored["meta"]["versionId"], &stored["meta"]["profile"]),
        (&json!("2"), &Value::Null)
    );
}

fn without(resource: &Value, name: &str) -> Value {
    let mut resource = resource.clone();
    resource.as_object_mut().unwrap().shift_remove(name);
    resource
}

#[tokio::test]
async fn references_are_judged_when_they_are_known() {
    let app = spawn_app().await;
    let mut response = example("appointment-response.valid");
    let entry = |full_url: &str, resource: &Value| {
        let url = resource["resourceType"].clone();
        json!({"fullUrl": full_url, "resource": resource, "request": {"method": "POST", "url": url}})
    };
    let bundle = |entries: Vec<Value>| json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let practitioner = json!({"resourceType": "Practitioner"});
    let location = json!({"resourceType": "Location"});
    for (actor, status) in [(&practitioner, 200), (&location, 422)] {
        response["actor"] = json!({"reference": "urn:uuid:5a2d5a4f-7b0f-4a63-b0a5-3a0c9f6d1f01"});
        let entries = vec![
            entry("urn:uuid:5a2d5a4f-7b0f-4a63-b0a5-3a0c9f6d1f01", actor),
            entry("urn:uuid:5a2d5a4f-7b0f-4a63-b0a5-3a0c9f6d1f02", &response),
        ];
        app.post("/fhir").fhir(&bundle(entries)).answer().await.expect(status);
    }
    // A conditional reference, which only the transaction can look up.
    app.put("/fhir/Practitioner/bell")
        .fhir(&json!({"resourceType": "Practitioner", "id": "bell", "identifier": [{"system": "urn:s", "value": "7"}]}))
        .answer()
        .await
        .expect(201);
    response["actor"] = json!({"reference": "Practitioner?identifier=urn:s|7"});
    let entries = vec![entry("urn:uuid:5a2d5a4f-7b0f-4a63-b0a5-3a0c9f6d1f03", &response)];
    app.post("/fhir").fhir(&bundle(entries)).answer().await.expect(200);
}

#[tokio::test]
async fn validate_answers_for_the_profiles_of_the_package() {
    let app = spawn_app().await;
    let mut slot = example("slot.invalid");
    let claimed = app
        .post("/fhir/Slot/$validate")
        .fhir(&slot)
        .answer()
        .await
        .expect(200)
        .json();
    let expected = issues(&example("slot.invalid.outcome"));
    assert_eq!(issues(&claimed), expected);
    slot = without(&slot, "meta");
    let answer = app
        .post("/fhir/Slot/$validate")
        .fhir(&slot)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(answer["issue"][0]["severity"], "information");
    let asked = |profile: &str| {
        app.post(&format!("/fhir/Slot/$validate?profile={profile}"))
            .fhir(&slot)
            .answer()
    };
    assert_eq!(
        issues(
            &asked(&format!("{BASE}/StructureDefinition/slot"))
                .await
                .expect(200)
                .json()
        ),
        expected
    );
    asked("http://a.example/StructureDefinition/x").await.expect(400);
}

#[tokio::test]
async fn what_is_in_the_way_of_one_definition_keeps_no_other_out() {
    let app = spawn_app().await;
    let own = json!({
        "resourceType": "SearchParameter", "id": "own", "url": "http://a.example/SearchParameter/own", "name": "Own",
        "status": "active", "description": "An operator's", "code": "status", "base": ["Flag"], "type": "token",
        "expression": "Flag.status"
    });
    app.put("/fhir/SearchParameter/own")
        .fhir(&own)
        .answer()
        .await
        .expect(201);
    profiles::load(&app.app.fhir).await.unwrap();
    app.get("/fhir/SearchParameter/mc-flag-status")
        .answer()
        .await
        .expect(404);
    app.get("/fhir/SearchParameter/mc-coverage-period")
        .answer()
        .await
        .expect(200);
    app.get("/fhir/StructureDefinition/mc-slot").answer().await.expect(200);
    app.app.worker().run_due().await.unwrap();
}

#[tokio::test]
async fn the_package_is_stored_and_named() {
    let app = spawn_app_with(|config| config.fhir.profiles = true).await;
    for (resource_type, name) in [
        ("CodeSystem", "cancellation-reason"),
        ("NamingSystem", "prescription"),
        ("OperationDefinition", "appointment-find"),
        ("Questionnaire", "visit-intake"),
        ("SearchParameter", "appointment-hold-expires"),
        ("StructureDefinition", "appointment"),
        ("StructureDefinition", "hold-expires"),
        ("ValueSet", "cancellation-reason"),
    ] {
        let path = format!("/fhir/{resource_type}/mc-{name}");
        let stored = app.get(&path).answer().await.expect(200).json();
        assert_eq!(stored["meta"]["versionId"], "1", "{path}");
    }
    let found = app
        .get(&format!(
            "/fhir/StructureDefinition?url={BASE}/StructureDefinition/appointment"
        ))
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(found["total"], 1);
    // Its code systems serve searches: a value set of ours is one to search by.
    app.post("/fhir/Appointment")
        .fhir(&example("appointment.valid"))
        .answer()
        .await
        .expect(201);
    let path = format!("/fhir/Appointment?_tag:in={BASE}/ValueSet/appointment-label");
    assert_eq!(app.get(&path).answer().await.expect(200).json()["total"], 1);

    let statement = app.get("/fhir/metadata").answer().await.expect(200).json();
    let named = statement.to_string();
    for file in Package::medconsult()
        .files()
        .iter()
        .filter(|file| file.name.starts_with("operations/"))
    {
        let is_there = named.contains(&format!("\"definition\":{}", file.resource["url"]));
        assert_eq!(
            file.resource["status"] == "active",
            is_there,
            "{}: active is what can be called",
            file.name
        );
    }
    let of_type = |name: &str| {
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        resources.iter().find(|resource| resource["type"] == name).unwrap()["supportedProfile"].clone()
    };
    let urls = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("{BASE}/StructureDefinition/{name}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of_type("Appointment"),
        json!(urls(&["appointment", "appointment-proposal"]))
    );
    assert_eq!(of_type("Slot"), json!(urls(&["slot"])));
    assert_eq!(of_type("Patient"), Value::Null);
}
