//! One record for each interaction, and how it is written.

use serde_json::{Value, json};

use super::{brief, briefs, observation, query_of, spawn_audited_app};
use crate::app::{Ask, TestApp, spawn_app};

const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

#[tokio::test]
async fn every_interaction_leaves_a_record() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    let created = app
        .post("Observation")
        .fhir(&observation("x", "1"))
        .answer()
        .await
        .expect(201);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let address = format!("Observation/{id}");
    app.get(&address).answer().await.expect(200);
    app.put(&address)
        .fhir(&observation(&id, "1"))
        .answer()
        .await
        .expect(200);
    let patch = r#"[{"op": "replace", "path": "/status", "value": "amended"}]"#;
    let json_patch = "application/json-patch+json";
    app.patch(&address)
        .header("content-type", json_patch)
        .body(patch)
        .answer()
        .await
        .expect(200);
    app.get(&format!("{address}/_history/1")).answer().await.expect(200);
    app.get(&format!("{address}/_history")).answer().await.expect(200);
    app.get("Observation?patient=1&status=amended")
        .answer()
        .await
        .expect(200);
    app.get("Patient/1/Observation").answer().await.expect(200);
    app.get("Patient/1/$everything").answer().await.expect(200);
    app.delete(&address).answer().await.expect(204);
    app.get(&address).answer().await.expect(410);
    app.get("Patient/nobody").answer().await.expect(404);
    app.post("Observation")
        .fhir(&json!({"resourceType": "Observation"}))
        .answer()
        .await
        .expect(422);
    let events = app.trail().await;
    assert_eq!(
        briefs(&events),
        [
            "update Patient/1/_history/1 [1] 0".to_owned(),
            format!("create {address}/_history/1 [1] 0"),
            format!("read {address}/_history/1 [1] 0"),
            // The same content again.
            format!("update {address}/_history/1 [1] 0"),
            format!("patch {address}/_history/2 [1] 0"),
            format!("vread {address}/_history/1 [1] 0"),
            format!("history-instance {address} [1] 0"),
            "search-type  [1] 0".to_owned(),
            "search-type  [1] 0".to_owned(),
            "disclose Patient/1 [1] 0".to_owned(),
            format!("delete {address}/_history/3 [1] 0"),
            format!("read {address} [] 4"),
            "read Patient/nobody [] 4".to_owned(),
            "create Observation [] 4".to_owned(),
        ]
    );
    assert_eq!(query_of(&events[7], &app.base), "Observation?patient=1&status=amended");
    assert_eq!(query_of(&events[8], &app.base), "Patient/1/Observation");
    let outcomes: Vec<_> = events[11..]
        .iter()
        .map(|event| event["outcomeDesc"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["410 deleted", "404 not-found", "422 required"]);
    let profiles: Vec<_> = events
        .iter()
        .map(|event| event["meta"]["profile"][0].as_str())
        .collect();
    let balp = |name: &str| Some(format!("{BALP}{name}"));
    assert_eq!(profiles[1].map(str::to_owned), balp("PatientCreate"));
    assert_eq!(profiles[2].map(str::to_owned), balp("PatientRead"));
    assert_eq!(profiles[4].map(str::to_owned), balp("PatientUpdate"));
    assert_eq!(profiles[7].map(str::to_owned), balp("PatientQuery"));
    assert_eq!(profiles[9].map(str::to_owned), balp("PrivacyDisclosure.Source"));
    assert_eq!(profiles[10].map(str::to_owned), balp("PatientDelete"));
    assert_eq!(&profiles[11..], [None, None, None], "a failure has no profile");
}

/// The codes of `agent.type`, and which one asked.
fn agents(event: &Value) -> Vec<(String, bool)> {
    let agents = event["agent"].as_array().unwrap().iter();
    agents
        .map(|agent| {
            let code = agent["type"]["coding"][0]["code"].as_str().unwrap().to_owned();
            (code, agent["requestor"].as_bool().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_record_says_who_from_where_and_in_which_request() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.get("Patient/1")
        .header("x-request-id", "abc-1")
        .answer()
        .await
        .expect(200);
    let events = app.trail().await;
    let [write, read] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        agents(write),
        [("110153".to_owned(), true), ("110152".to_owned(), false)]
    );
    assert_eq!(
        agents(read),
        [("110152".to_owned(), true), ("110153".to_owned(), false)]
    );
    assert_eq!(
        read["agent"][0]["network"],
        json!({"address": "127.0.0.1", "type": "2"})
    );
    assert_eq!(read["agent"][1]["network"], json!({"address": app.base, "type": "5"}));
    assert_eq!(read["agent"][1]["who"], read["source"]["observer"]);
    let request = read["entity"].as_array().unwrap().last().unwrap();
    assert_eq!(request["what"]["identifier"]["value"], "abc-1");
    assert_eq!(request["type"]["code"], "XrequestId");
    assert_eq!(read["type"]["code"], "rest");
}

#[tokio::test]
async fn entries_of_a_bundle_leave_a_record_each() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    let entry = |method: &str, url: &str, resource: Option<Value>| {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        entry
    };
    let send = async |kind: &str, entries: Vec<Value>| {
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
        app.post("").fhir(&bundle).answer().await.status.as_u16()
    };
    let entries = || {
        vec![
            entry("PUT", "Observation/a", Some(observation("a", "1"))),
            entry("GET", "Patient/1", None),
            entry("DELETE", "Observation/b", None),
        ]
    };
    assert_eq!(send("batch", entries()).await, 200);
    let mut batch = briefs(&app.trail_since(1).await);
    batch.sort();
    let expected = [
        "delete Observation/b [] 0",
        "read Patient/1/_history/1 [1] 0",
        "update Observation/a/_history/1 [1] 0",
    ];
    assert_eq!(batch, expected);

    // The second time the update changes nothing; the read is tried once before, and that is no record.
    assert_eq!(send("transaction", entries()).await, 200);
    let mut transaction = briefs(&app.trail_since(4).await);
    transaction.sort();
    assert_eq!(transaction, expected);

    let refused = vec![
        entry("POST", "Observation", Some(observation("c", "1"))),
        entry(
            "POST",
            "Observation",
            Some(json!({"resourceType": "Observation", "status": "?"})),
        ),
    ];
    assert_eq!(send("transaction", refused).await, 422);
    assert_eq!(briefs(&app.trail_since(7).await), ["create Observation [] 4"]);
}

#[tokio::test]
async fn nobody_writes_audit_events() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    let event = app.trail().await.remove(0);
    let id = event["id"].as_str().unwrap();
    let address = format!("AuditEvent/{id}");
    let mut other = event.clone();
    other["outcome"] = json!("8");
    let mut new = event.clone();
    new.as_object_mut().unwrap().remove("id");
    let mut named = new.clone();
    named["id"] = json!("mine");
    let patch = r#"[{"op": "replace", "path": "/outcome", "value": "8"}]"#;
    let json_patch = "application/json-patch+json";
    let tag = json!({"resourceType": "Parameters", "parameter": [
        {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}
    ]});
    let bundle = |method: &str, url: &str, resource: Option<&Value>| {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource.clone();
        }
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    };
    let criteria = "AuditEvent?outcome=0";
    let attempts = [
        ("create", app.post("AuditEvent").fhir(&new)),
        (
            "conditional create",
            app.post("AuditEvent").header("if-none-exist", "outcome=8").fhir(&new),
        ),
        ("update", app.put(&address).fhir(&other)),
        ("update as create", app.put("AuditEvent/mine").fhir(&named)),
        ("conditional update", app.put(criteria).fhir(&new)),
        (
            "patch",
            app.patch(&address).header("content-type", json_patch).body(patch),
        ),
        (
            "conditional patch",
            app.patch(criteria).header("content-type", json_patch).body(patch),
        ),
        ("delete", app.delete(&address)),
        ("conditional delete", app.delete(criteria)),
        ("$meta-add", app.post(&format!("{address}/$meta-add")).fhir(&tag)),
        (
            "create in a transaction",
            app.post("").fhir(&bundle("POST", "AuditEvent", Some(&new))),
        ),
        (
            "update in a transaction",
            app.post("").fhir(&bundle("PUT", &address, Some(&other))),
        ),
        (
            "delete in a transaction",
            app.post("").fhir(&bundle("DELETE", &address, None)),
        ),
    ];
    for (name, attempt) in attempts {
        let answer = attempt.answer().await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
    assert_eq!(app.trail().await[0], event);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    app.trail().await;
    let mut connection = app.connection().await;
    sqlx::query("ALTER TABLE audit_pending RENAME TO elsewhere")
        .execute(&mut connection)
        .await
        .unwrap();
    for path in [
        "Patient/1",
        "Patient",
        "Patient/1/_history",
        "Patient/1/$everything",
        "Patient/nobody",
    ] {
        let answer = app.get(path).answer().await.expect(503);
        assert!(!answer.text().contains("\"Patient\""), "{path}: {}", answer.text());
    }
    let patient = json!({"resourceType": "Patient"});
    assert!(
        app.post("Patient")
            .fhir(&patient)
            .answer()
            .await
            .status
            .is_server_error()
    );
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM resource WHERE NOT deleted AND type = \
        (SELECT id FROM resource_type WHERE name = 'Patient')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(count, 1, "nothing was stored without its record");

    sqlx::query("ALTER TABLE elsewhere RENAME TO audit_pending")
        .execute(&mut connection)
        .await
        .unwrap();
    app.get("Patient/1").answer().await.expect(200);
    assert_eq!(
        brief(app.trail().await.last().unwrap()),
        "read Patient/1/_history/1 [1] 0"
    );
}

#[tokio::test]
async fn many_at_once_leave_all_their_records() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    let reads = (0..60).map(|_| async { app.get("Patient/1").answer().await.expect(200) });
    futures::future::join_all(reads).await;
    let events = app.trail().await;
    assert_eq!(events.len(), 61);
    let read = events
        .iter()
        .filter(|event| brief(event).starts_with("read Patient/1"))
        .count();
    assert_eq!(read, 60);
}

#[tokio::test]
async fn a_sandbox_keeps_no_trail_unless_told_to() {
    let app: TestApp = spawn_app().await;
    app.put_patient("1").await;
    app.get("Patient/1").answer().await.expect(200);
    assert!(app.trail().await.is_empty());
    // And AuditEvents are resources like any others.
    let event = json!({
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2026-01-31T10:00:00Z",
        "agent": [{"requestor": true}],
        "source": {"observer": {"display": "elsewhere"}}
    });
    app.post("AuditEvent").fhir(&event).answer().await.expect(201);
}
