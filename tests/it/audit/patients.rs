//! Whom a record concerns, and what patients see of it.

use serde_json::{Value, json};

use super::{briefs, observation, query_of, spawn_audited_app};
use crate::app::{Ask, TestApp};

/// The AuditEvents in the record of a patient, oldest first.
async fn seen_by(app: &TestApp, patient: &str) -> Vec<Value> {
    app.app.audit.settle().await.unwrap();
    let page = app
        .get(&format!("Patient/{patient}/AuditEvent?_count=100"))
        .answer()
        .await
        .expect(200);
    let entries = page.json()["entry"].as_array().cloned().unwrap_or_default();
    let mut events: Vec<Value> = entries.into_iter().map(|mut entry| entry["resource"].take()).collect();
    events.sort_by_key(|event| event["recorded"].as_str().unwrap().to_owned());
    events
}

#[tokio::test]
async fn patients_see_who_opened_their_record() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.put_patient("2").await;
    app.put_observation("a", "1").await;
    app.put_observation("b", "2").await;
    app.get("Observation/a").answer().await.expect(200);
    app.get("Observation?code:text=weight").answer().await.expect(200);
    app.get("Observation?subject=Patient/1&status=cancelled")
        .answer()
        .await
        .expect(200);
    app.get("Observation/b/_history").answer().await.expect(200);
    let one = seen_by(&app, "1").await;
    assert_eq!(
        briefs(&one),
        [
            "update Patient/1/_history/1 [1] 0",
            "update Observation/a/_history/1 [1] 0",
            "read Observation/a/_history/1 [1] 0",
            "search-type  [1] 0",
            // Nothing was found, but this patient was looked for.
            "search-type  [1] 0",
        ]
    );
    let two = seen_by(&app, "2").await;
    assert_eq!(
        briefs(&two),
        [
            "update Patient/2/_history/1 [2] 0",
            "update Observation/b/_history/1 [2] 0",
            "search-type  [2] 0",
            "history-instance Observation/b [2] 0",
        ]
    );
    // Looking at the trail is recorded, and tells the patient whose trail it was.
    let last = seen_by(&app, "1").await.pop().unwrap();
    assert_eq!(query_of(&last, &app.base), "Patient/1/AuditEvent?_count=100");
}

#[tokio::test]
async fn no_record_tells_one_patient_of_another() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.put_patient("2").await;
    app.put_observation("a", "1").await;
    app.put_observation("b", "2").await;
    let known = app.trail().await.len();
    app.get("Observation?subject=Patient/1,Patient/2")
        .answer()
        .await
        .expect(200);
    app.get("Observation?subject=Patient/1,Patient/3")
        .answer()
        .await
        .expect(200);
    let events = app.trail_since(known).await;
    assert_eq!(
        briefs(&events),
        [
            "search-type  [] 0",
            "search-type  [1] 0",
            "search-type  [2] 0",
            "search-type  [] 0",
            "search-type  [1] 0",
        ]
    );
    let queries: Vec<_> = events.iter().map(|event| query_of(event, &app.base)).collect();
    assert_eq!(
        queries,
        [
            "Observation?subject=Patient%2F1%2CPatient%2F2",
            "Observation?subject",
            "Observation?subject",
            "Observation?subject=Patient%2F1%2CPatient%2F3",
            "Observation?subject",
        ]
    );
}

#[tokio::test]
async fn a_record_concerns_the_patients_of_the_version_that_was_shown() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.put_patient("2").await;
    app.put_observation("a", "1").await;
    let known = app.trail().await.len();
    app.get("Observation/a").answer().await.expect(200);
    // It moves before the record of the read is made an AuditEvent, or after: that makes no difference.
    app.put("Observation/a")
        .fhir(&observation("a", "2"))
        .answer()
        .await
        .expect(200);
    app.get("Observation/a/_history/1").answer().await.expect(200);
    app.delete("Observation/a").answer().await.expect(204);
    assert_eq!(
        briefs(&app.trail_since(known).await),
        [
            "read Observation/a/_history/1 [1] 0",
            "update Observation/a/_history/2 [1] 0",
            "update Observation/a/_history/2 [2] 0",
            "vread Observation/a/_history/1 [1] 0",
            "delete Observation/a/_history/3 [2] 0",
        ]
    );
}

#[tokio::test]
async fn an_appointment_of_two_patients_concerns_both() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.put_patient("2").await;
    let known = app.trail().await.len();
    let participant = |id: &str| json!({"actor": {"reference": format!("Patient/{id}")}, "status": "accepted"});
    let appointment = json!({
        "resourceType": "Appointment",
        "status": "proposed",
        "participant": [participant("1"), participant("2")]
    });
    let created = app.post("Appointment").fhir(&appointment).answer().await.expect(201);
    let address = format!("Appointment/{}/_history/1", created.json()["id"].as_str().unwrap());
    assert_eq!(
        briefs(&app.trail_since(known).await),
        [format!("create {address} [1] 0"), format!("create {address} [2] 0")]
    );
}
