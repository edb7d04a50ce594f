//! The three kinds of patch (<https://hl7.org/fhir/R4/http.html#patch>).

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{put, refused};
use crate::app::{Ask, TestApp, spawn_app};

fn patient() -> Value {
    json!({"resourceType": "Patient", "active": true, "name": [{"family": "A"}], "multipleBirthInteger": 1})
}

fn request(app: &TestApp, content_type: &str, patch: &Value) -> RequestBuilder {
    app.patch("Patient/p")
        .header("content-type", content_type.to_owned())
        .body(patch.to_string())
}

fn operation(parts: Value) -> Value {
    let parts = parts.as_object().unwrap().iter().map(|(name, value)| {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        json!({"name": name, kind: value})
    });
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts.collect::<Vec<_>>()}]})
}

#[tokio::test]
async fn each_kind_of_patch_makes_a_version() {
    let app = spawn_app().await;
    put(&app, "p", patient()).await.expect(201);
    let json_patch = json!([{"op": "test", "path": "/active", "value": true}, {"op": "remove", "path": "/name/0"}]);
    let patched = request(&app, "application/json-patch+json", &json_patch)
        .answer()
        .await
        .expect(200);
    assert_eq!((patched.header("etag"), patched.json().get("name")), ("W/\"2\"", None));

    let choice = operation(json!({
        "type": {"valueCode": "replace"}, "path": {"valueString": "Patient.multipleBirth"}, "value": {"valueBoolean": true}
    }));
    let patched = request(&app, "application/fhir+json", &choice)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&patched["multipleBirthBoolean"], patched.get("multipleBirthInteger")),
        (&json!(true), None)
    );

    let first_of_a_list = operation(json!({
        "type": {"valueCode": "insert"}, "path": {"valueString": "Patient.name"}, "index": {"valueInteger": 0},
        "value": {"valueHumanName": {"text": "N"}}
    }));
    let patched = request(&app, "application/fhir+json", &first_of_a_list)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(patched["name"], json!([{"text": "N"}]));

    let merge = json!({"active": null, "gender": "female"});
    let patched = request(&app, "application/merge-patch+json", &merge)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!((patched.get("active"), &patched["gender"]), (None, &json!("female")));
}

#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let app = spawn_app().await;
    let before = put(&app, "p", patient()).await.expect(201).json();
    let path = |kind: &str, path: &str| operation(json!({"type": {"valueCode": kind}, "path": {"valueString": path}}));
    let cases = [
        (
            "application/json-patch+json",
            json!([{"op": "test", "path": "/active", "value": false}]),
            422,
        ),
        (
            "application/json-patch+json",
            json!([{"op": "remove", "path": "/gender"}]),
            422,
        ),
        (
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/id", "value": "q"}]),
            422,
        ),
        (
            "application/json-patch+json",
            json!([{"op": "add", "path": "/unheard", "value": 1}]),
            422,
        ),
        ("application/json-patch+json", json!({"op": "remove"}), 400),
        (
            "application/json-patch+json",
            json!([{"op": "explode", "path": "/"}]),
            400,
        ),
        ("application/merge-patch+json", json!([]), 400),
        ("application/merge-patch+json", json!({"birthDate": "2020-02-30"}), 422),
        ("application/fhir+json", json!({"resourceType": "Patient"}), 400),
        ("application/fhir+json", path("delete", "Patient.name.given | 5"), 422),
        ("application/fhir+json", path("delete", "Patient.name["), 400),
        ("application/fhir+json", path("vanish", "Patient.name"), 400),
        ("application/fhir+json", path("replace", "Patient.name"), 400),
        ("application/fhir+json", path("delete", "Patient"), 422),
    ];
    for (content_type, patch, status) in cases {
        let answer = request(&app, content_type, &patch).answer().await;
        assert_eq!(answer.status, status, "{patch}: {}", answer.text());
        assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    }
    assert_eq!(app.get("Patient/p").answer().await.expect(200).json(), before);

    let unknown = app.patch("Patient/p").header("content-type", "text/plain").body("x");
    refused(unknown, 415, "not-supported").await;
    let accepts = app
        .patch("Patient/p")
        .header("content-type", "text/plain")
        .body("x")
        .answer()
        .await;
    assert!(accepts.header("accept-patch").contains("application/json-patch+json"));
    let stale = request(&app, "application/json-patch+json", &json!([])).header("if-match", "W/\"7\"");
    refused(stale, 412, "conflict").await;
    let nobody = app
        .patch("Patient/q")
        .header("content-type", "application/json-patch+json")
        .body("[]");
    refused(nobody, 404, "not-found").await;
}
