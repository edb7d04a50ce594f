//! batch and transaction over HTTP: <https://hl7.org/fhir/R4/http.html#transaction>.

use serde_json::{Value, json};

use crate::app::{Ask, TestApp, spawn_app};

fn bundle(kind: &str, entries: Value) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

fn patient(family: &str) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": family}], "identifier": [{"system": "urn:mrn", "value": family}]})
}

/// Sends a Bundle; answers status and body.
async fn send(app: &TestApp, bundle: &Value) -> (u16, Value) {
    let answer = app.post("").fhir(bundle).send().await.unwrap();
    (
        answer.status().as_u16(),
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
    )
}

fn statuses(response: &Value) -> Vec<&str> {
    let entries = response["entry"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap().split(' ').next().unwrap())
        .collect()
}

#[tokio::test]
async fn a_transaction_does_everything_at_once() {
    let app = spawn_app().await;
    let (_, before) = send(&app, &bundle("transaction", json!([
        {"request": {"method": "PUT", "url": "Patient/old"}, "resource": {"resourceType": "Patient", "id": "old"}},
        {"request": {"method": "PUT", "url": "Patient/changed"}, "resource": {"resourceType": "Patient", "id": "changed"}},
        {"request": {"method": "PUT", "url": "Patient/patched"}, "resource": {"resourceType": "Patient", "id": "patched"}},
    ]))).await;
    assert_eq!(statuses(&before), ["201", "201", "201"], "{before}");
    let (status, response) = send(&app, &bundle("transaction", json!([
        {"request": {"method": "GET", "url": "Patient?name=Newton"}},
        {"request": {"method": "PUT", "url": "Patient/changed", "ifMatch": "W/\"1\""},
         "resource": {"resourceType": "Patient", "id": "changed", "active": true}},
        {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
         "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|Newton"}, "resource": patient("Newton")},
        {"request": {"method": "POST", "url": "Observation"}, "resource": {
            "resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}}},
        {"request": {"method": "PATCH", "url": "Patient/patched"}, "resource": {"resourceType": "Parameters", "parameter": [
            {"name": "operation", "part": [
                {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"},
                {"name": "name", "valueString": "active"}, {"name": "value", "valueBoolean": true}]}]}},
        {"request": {"method": "DELETE", "url": "Patient/old"}},
        {"request": {"method": "GET", "url": "Patient/old"}},
        {"request": {"method": "GET", "url": "Patient/changed", "ifNoneMatch": "W/\"2\""}},
    ]))).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["type"], "transaction-response");
    assert_eq!(
        statuses(&response),
        ["200", "200", "201", "201", "200", "204", "410", "304"],
        "{response}"
    );
    let entry = |n: usize| &response["entry"][n];
    let newton = entry(2)["resource"]["id"].as_str().unwrap();
    assert_eq!(
        entry(0)["resource"]["entry"][0]["resource"]["id"],
        newton,
        "reads see what the transaction wrote"
    );
    assert_eq!(
        entry(3)["resource"]["subject"]["reference"],
        format!("Patient/{newton}")
    );
    assert_eq!(entry(1)["response"]["etag"], "W/\"2\"");
    let location = entry(2)["response"]["location"].as_str().unwrap();
    assert!(
        location.ends_with(&format!("/fhir/Patient/{newton}/_history/1")),
        "{location}"
    );
    assert!(entry(2)["response"]["lastModified"].is_string());
    assert_eq!(entry(4)["resource"]["active"], true);
    assert_eq!(entry(6)["response"]["outcome"]["resourceType"], "OperationOutcome");
}

#[tokio::test]
async fn a_refused_transaction_leaves_nothing_and_says_which_entry() {
    let app = spawn_app().await;
    let good = json!({"request": {"method": "POST", "url": "Patient"}, "resource": patient("Good")});
    for (bad, status, expression) in [
        (
            json!({"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "nome": 1}}),
            422,
            "Bundle.entry[1].resource.nome",
        ),
        (
            json!({"request": {"method": "PUT", "url": "Patient/x", "ifMatch": "W/\"3\""}, "resource": {"resourceType": "Patient", "id": "x"}}),
            412,
            "Bundle.entry[1]",
        ),
        (
            json!({"request": {"method": "GET", "url": "Nonsense/1/2/3"}}),
            404,
            "Bundle.entry[1]",
        ),
        (
            json!({"request": {"method": "PUT", "url": "Patient"}, "resource": {"resourceType": "Patient"}}),
            400,
            "Bundle.entry[1]",
        ),
        (
            json!({"request": {"method": "POST", "url": "Observation"}, "resource": patient("x")}),
            400,
            "Bundle.entry[1].resource.resourceType",
        ),
        (json!({"resource": patient("x")}), 400, "Bundle.entry[1].request"),
    ] {
        let (found, outcome) = send(&app, &bundle("transaction", json!([good, bad]))).await;
        assert_eq!(found, status, "{outcome}");
        assert_eq!(outcome["issue"][0]["expression"][0], expression, "{outcome}");
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM resource WHERE version > 0")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(stored, 0);
    }
}

#[tokio::test]
async fn the_entries_of_a_batch_succeed_or_fail_for_themselves() {
    let app = spawn_app().await;
    let (status, response) = send(
        &app,
        &bundle(
            "batch",
            json!([
                {"request": {"method": "POST", "url": "Patient"}, "resource": patient("One")},
                {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "nome": 1}},
                {"request": {"method": "GET", "url": "Patient/never"}},
                {"request": {"method": "DELETE", "url": "Patient/never"}},
                {"request": {"method": "PUT", "url": "Patient?identifier=urn:mrn|Two"}, "resource": patient("Two")},
                {"request": {"method": "POST", "url": "Patient/_search?_count=1"}},
            ]),
        ),
    )
    .await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        statuses(&response),
        ["201", "422", "404", "204", "201", "200"],
        "{response}"
    );
    let issue = &response["entry"][1]["response"]["outcome"]["issue"][0];
    assert_eq!(issue["expression"][0], "Bundle.entry[1].resource.nome");
}

#[tokio::test]
async fn only_batches_and_transactions_are_processed() {
    let app = spawn_app().await;
    for kind in ["collection", "document", "history"] {
        let (status, outcome) = send(&app, &bundle(kind, json!([]))).await;
        assert_eq!(status, 400);
        assert_eq!(outcome["issue"][0]["expression"][0], "Bundle.type");
    }
    let (status, response) = send(&app, &json!({"resourceType": "Bundle", "type": "transaction"})).await;
    assert_eq!((status, &response["entry"]), (200, &Value::Null));
}
