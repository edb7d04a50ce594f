//! What applications write on behalf of people says so.

use medconsult::fhir::access::Role;
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::commit::{Op, Outcome, Target, Write, commit};
use serde_json::{Value, json};

use super::{briefs, observation, spawn_audited_app};
use crate::app::{Ask, TestApp, spawn_app_with};

/// A practitioner who uses the application `app`. What they may do is judged elsewhere.
fn grace() -> Caller {
    let granted = Granted {
        token: "jti-1".to_owned(),
        client: "app".to_owned(),
        account: Some("account-1".to_owned()),
        user: Some(User {
            role: Role::Practitioner,
            fhir_user: "Practitioner/grace".to_owned(),
            person: "p".to_owned(),
            holders: Holders::default(),
        }),
        ..Granted::default()
    };
    Caller::granted(granted).practice()
}

/// An application that acts in its own name.
fn back_end() -> Caller {
    let granted = Granted {
        token: "jti-2".to_owned(),
        client: "laboratory".to_owned(),
        ..Granted::default()
    };
    Caller::granted(granted).practice()
}

async fn write(app: &TestApp, caller: &Caller, writes: Vec<Write>) -> Vec<Outcome> {
    let ops = writes.into_iter().map(|write| Op { write, full_url: None }).collect();
    commit(&app.app.fhir, caller, ops).await.unwrap()
}

fn create(resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: None,
    }
}

fn update(resource_type: &str, id: &str, resource: Value) -> Write {
    let (resource_type, id) = (resource_type.to_owned(), id.to_owned());
    Write::Update {
        target: Target::Instance { resource_type, id },
        resource,
        if_match: None,
        if_none_match_any: false,
    }
}

async fn provenances(app: &TestApp) -> Vec<Value> {
    let page = app.get("Provenance?_sort=recorded").answer().await.expect(200).json();
    let entries = page["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|mut entry| entry["resource"].take()).collect()
}

#[tokio::test]
async fn one_provenance_tells_of_one_commit() {
    let app = spawn_audited_app().await;
    app.put_patient("1").await;
    let outcomes = write(
        &app,
        &grace(),
        vec![
            create(observation("x", "1")),
            create(json!({"resourceType": "Basic", "code": {"text": "x"}})),
        ],
    )
    .await;
    assert_eq!(outcomes.len(), 2, "the Provenance is nothing that was asked for");
    write(
        &app,
        &grace(),
        vec![
            update(
                "Patient",
                "1",
                json!({"resourceType": "Patient", "id": "1", "active": true}),
            ),
            update("Observation", "new", observation("new", "1")),
        ],
    )
    .await;
    // Nothing changes, so there is nothing to tell.
    let same = json!({"resourceType": "Patient", "id": "1", "active": true});
    write(&app, &grace(), vec![update("Patient", "1", same)]).await;
    write(&app, &back_end(), vec![create(observation("x", "1"))]).await;

    let found = provenances(&app).await;
    let [first, second] = &found[..] else {
        panic!("{found:?}")
    };
    let targets = |provenance: &Value| -> Vec<String> {
        let targets = provenance["target"].as_array().unwrap().iter();
        targets
            .map(|target| target["reference"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut expected: Vec<String> = outcomes
        .iter()
        .map(|outcome| format!("{}/{}/_history/1", outcome.stored.resource_type, outcome.stored.id))
        .collect();
    expected.sort();
    let mut told = targets(first);
    told.sort();
    assert_eq!(told, expected);
    assert_eq!(first["activity"]["coding"][0]["code"], "CREATE");
    assert_eq!(targets(second), ["Patient/1/_history/2", "Observation/new/_history/1"]);
    assert_eq!(second["activity"], Value::Null);
    let agents: Vec<_> = first["agent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| {
            (
                agent["type"]["coding"][0]["code"].as_str().unwrap(),
                agent["who"].clone(),
            )
        })
        .collect();
    let application = json!({"identifier": {"system": format!("{}/auth/clients", app.address), "value": "app"}});
    assert_eq!(
        agents,
        [
            ("author", json!({"reference": "Practitioner/grace"})),
            ("enterer", application)
        ]
    );
    assert_eq!(app.app.fhir.validator.validate(first), []);

    // It is found by what it is about, and is no interaction of its own.
    let by_target = app
        .get("Provenance?target=Patient/1&_summary=count")
        .answer()
        .await
        .expect(200);
    assert_eq!(by_target.json()["total"], 1);
    let events = app.trail().await;
    let events: Vec<_> = events.iter().filter(|event| event["action"] == "C").cloned().collect();
    assert!(
        briefs(&events).iter().all(|event| !event.contains("Provenance")),
        "{events:?}"
    );
    let user = &events[0]["agent"][2];
    assert_eq!(user["who"], json!({"reference": "Practitioner/grace"}));
    assert_eq!(
        (&user["altId"], &user["requestor"]),
        (&json!("account-1"), &json!(true))
    );
    assert_eq!(user["policy"], json!(["urn:ietf:params:oauth:jti:jti-1"]));
    assert_eq!(events[0]["agent"][0]["requestor"], false);
    let machine = events.last().unwrap();
    assert_eq!(
        machine["agent"].as_array().unwrap().len(),
        2,
        "a back end has no person"
    );
    assert_eq!(
        machine["agent"][0]["policy"],
        json!(["urn:ietf:params:oauth:jti:jti-2"])
    );
}

#[tokio::test]
async fn a_commit_that_brings_its_own_gets_no_other() {
    let app = spawn_audited_app().await;
    let own = json!({
        "resourceType": "Provenance",
        "target": [{"reference": "Patient/1"}],
        "recorded": "2026-01-31T10:00:00Z",
        "agent": [{"who": {"display": "the application"}}]
    });
    write(&app, &grace(), vec![create(observation("x", "1")), create(own)]).await;
    assert_eq!(provenances(&app).await.len(), 1);
}

#[tokio::test]
async fn provenance_can_be_turned_off() {
    let app = spawn_app_with(|config| config.audit.provenance = false).await;
    write(&app, &grace(), vec![create(observation("x", "1"))]).await;
    assert_eq!(provenances(&app).await, Vec::<Value>::new());
}
