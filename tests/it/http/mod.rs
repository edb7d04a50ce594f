//! FHIR over HTTP: <https://hl7.org/fhir/R4/http.html>.

mod bad_input;
mod binary;
mod interactions;
mod patch;
mod protocol;
mod search;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::app::{Answer, Ask, TestApp};

/// A valid resource of each of several types that have little in common, but for their ids.
fn specimens() -> Vec<Value> {
    let code = json!({"text": "x"});
    let weight: Value = serde_json::from_str(r#"{"value": 1.50, "unit": "kg"}"#).unwrap();
    vec![
        json!({"resourceType": "Patient", "name": [{"family": "Chalmers", "given": ["Peter"]}], "multipleBirthInteger": 2}),
        json!({"resourceType": "Organization", "name": "Clinic"}),
        json!({"resourceType": "Observation", "status": "final", "code": code, "valueQuantity": weight}),
        json!({"resourceType": "Appointment", "status": "proposed", "participant": [{"status": "accepted", "actor": {"display": "x"}}]}),
        json!({"resourceType": "MedicationRequest", "status": "active", "intent": "order", "medicationCodeableConcept": code, "subject": {"display": "x"}}),
        json!({"resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "1.1", "type": "string"}]}]}),
        json!({"resourceType": "ValueSet", "status": "active", "compose": {"include": [{"system": "http://x"}]}}),
        json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Basic", "code": code}}]}),
        json!({"resourceType": "Basic", "code": code, "contained": [{"resourceType": "Group", "id": "g", "type": "person", "actual": false}]}),
        json!({"resourceType": "Parameters", "parameter": [{"name": "x", "valueDecimal": 0.10}]}),
    ]
}

fn type_of(resource: &Value) -> &str {
    resource["resourceType"].as_str().unwrap()
}

/// Stores `resource` under an id and gives the answer.
async fn put(app: &TestApp, id: &str, mut resource: Value) -> Answer {
    resource["id"] = json!(id);
    app.put(&format!("{}/{id}", type_of(&resource)))
        .fhir(&resource)
        .answer()
        .await
}

/// Checks that a request is refused with this status, as an OperationOutcome with this code and a sentence.
async fn refused(request: RequestBuilder, status: u16, code: &str) -> Value {
    let answer = request.answer().await.expect(status);
    assert_eq!(answer.header("content-type"), "application/fhir+json; charset=utf-8");
    let outcome = answer.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    let issue = &outcome["issue"][0];
    assert_eq!(
        (&issue["severity"], &issue["code"]),
        (&json!("error"), &json!(code)),
        "{issue}"
    );
    assert!(issue["diagnostics"].as_str().unwrap().ends_with('.'), "{issue}");
    outcome
}
