//! `$meta`, `$meta-add`, `$meta-delete`: <https://hl7.org/fhir/R4/resource-operation-meta.html>.

use serde_json::{Value, json};

use super::{entries, get, refusal, store};
use crate::app::{Answer, Ask, TestApp, spawn_app};

async fn change(app: &TestApp, path: &str, meta: Value) -> Answer {
    let body = json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]});
    app.post(path).fhir(&body).answer().await
}

/// The Meta that an operation answered with.
fn meta(parameters: &Value) -> Value {
    assert_eq!(
        (&parameters["resourceType"], &parameters["parameter"][0]["name"]),
        (&json!("Parameters"), &json!("return"))
    );
    parameters["parameter"][0]["valueMeta"].clone()
}

fn tag(code: &str) -> Value {
    json!({"system": "http://tags", "code": code})
}

#[tokio::test]
async fn labels_change_without_a_new_version() {
    let app = spawn_app().await;
    let profile = "http://hl7.org/fhir/StructureDefinition/vitalsigns";
    store(
        &app,
        [json!({"resourceType": "Patient", "id": "p", "meta": {"tag": [tag("a")]}})],
    )
    .await;
    let first = get(&app, "Patient/p").await;

    let added =
        json!({"tag": [tag("a"), tag("b")], "security": [{"system": "http://s", "code": "R"}], "profile": [profile]});
    let now = meta(
        &change(&app, "Patient/p/$meta-add", added.clone())
            .await
            .expect(200)
            .json(),
    );
    assert_eq!(now["tag"], json!([tag("a"), tag("b")]));
    for unmoved in ["versionId", "lastUpdated"] {
        assert_eq!(now[unmoved], first["meta"][unmoved], "{unmoved}");
    }
    assert_eq!(get(&app, "Patient/p").await["meta"], now);
    assert_eq!(meta(&get(&app, "Patient/p/$meta").await), now);
    assert_eq!(get(&app, "Patient/p/_history").await["total"], 1);
    // Search knows at once.
    for query in [
        "_tag=http://tags|b",
        "_security=http://s|R",
        &format!("_profile={profile}"),
    ] {
        assert_eq!(
            entries(&get(&app, &format!("Patient?{query}")).await, "match"),
            ["Patient/p"],
            "{query}"
        );
    }

    // Saying it again changes nothing; taking away what is not there is no error.
    assert_eq!(
        meta(&change(&app, "Patient/p/$meta-add", added).await.expect(200).json()),
        now
    );
    let gone =
        json!({"tag": [{"system": "http://tags", "code": "b", "display": "any"}, tag("never")], "profile": [profile]});
    let left = meta(&change(&app, "Patient/p/$meta-delete", gone).await.expect(200).json());
    assert_eq!(left["tag"], json!([tag("a")]));
    assert_eq!(
        (&left["profile"], &left["security"][0]["code"]),
        (&Value::Null, &json!("R"))
    );
    assert_eq!(get(&app, "Patient?_tag=http://tags|b").await["total"], 0);
    assert_eq!(get(&app, "Patient?_tag=http://tags|a").await["total"], 1);

    // The next update makes the second version, and the first keeps the labels that it was given.
    let mut next = get(&app, "Patient/p").await;
    next["active"] = json!(true);
    let second = app.put("Patient/p").fhir(&next).answer().await.expect(200).json();
    assert_eq!(second["meta"]["versionId"], "2");
    assert_eq!(get(&app, "Patient/p/_history/1").await["meta"], left);
}

#[tokio::test]
async fn versions_of_the_past_have_labels_of_their_own() {
    let app = spawn_app().await;
    store(&app, [json!({"resourceType": "Patient", "id": "p"})]).await;
    let second = json!({"resourceType": "Patient", "id": "p", "active": true});
    app.put("Patient/p").fhir(&second).answer().await.expect(200);

    let labels = json!({"tag": [tag("old")]});
    change(&app, "Patient/p/_history/1/$meta-add", labels.clone())
        .await
        .expect(200);
    assert_eq!(
        meta(&get(&app, "Patient/p/_history/1/$meta").await)["tag"],
        labels["tag"]
    );
    assert_eq!(meta(&get(&app, "Patient/p/_history/2/$meta").await)["tag"], Value::Null);
    assert_eq!(get(&app, "Patient/p").await["meta"]["tag"], Value::Null);
    // Only current versions are searched.
    assert_eq!(get(&app, "Patient?_tag=old").await["total"], 0);

    // The current version by its number is the resource.
    change(&app, "Patient/p/_history/2/$meta-add", json!({"tag": [tag("new")]}))
        .await
        .expect(200);
    assert_eq!(get(&app, "Patient?_tag=new").await["total"], 1);
    change(&app, "Patient/p/_history/1/$meta-delete", labels)
        .await
        .expect(200);
    assert_eq!(get(&app, "Patient/p/_history/1").await["meta"]["tag"], Value::Null);
    assert_eq!(get(&app, "Patient/p/_history").await["total"], 2);

    refusal(&app, "Patient/p/_history/3/$meta", 404).await;
    change(&app, "Patient/p/_history/01/$meta-add", json!({"tag": [tag("x")]}))
        .await
        .expect(404);
    change(&app, "Patient/p/_history/3/$meta-add", json!({"tag": [tag("x")]}))
        .await
        .expect(404);
    refusal(&app, "Patient/p/_history/1/$everything", 404).await;
}

#[tokio::test]
async fn the_labels_in_use() {
    let app = spawn_app().await;
    let labelled = |kind: &str, id: &str, meta: Value| json!({"resourceType": kind, "id": id, "meta": meta});
    store(
        &app,
        [
            labelled(
                "Patient",
                "1",
                json!({"tag": [{"system": "http://tags", "code": "Upper", "display": "U"}]}),
            ),
            labelled("Patient", "2", json!({"tag": [tag("b")], "security": [{"code": "R"}]})),
            labelled("Practitioner", "3", json!({"profile": ["http://p"], "tag": [tag("b")]})),
            labelled("Practitioner", "4", json!({"tag": [tag("gone")]})),
        ],
    )
    .await;
    app.delete("Practitioner/4").answer().await.expect(204);
    let upper = json!({"system": "http://tags", "code": "Upper", "display": "U"});
    assert_eq!(
        meta(&get(&app, "$meta").await),
        json!({"profile": ["http://p"], "security": [{"code": "R"}], "tag": [upper, tag("b")]})
    );
    assert_eq!(
        meta(&get(&app, "Patient/$meta").await),
        json!({"security": [{"code": "R"}], "tag": [upper, tag("b")]})
    );
    assert_eq!(meta(&get(&app, "Device/$meta").await), json!({}));
}

#[tokio::test]
async fn labels_that_are_none_are_refused() {
    let app = spawn_app().await;
    store(&app, [json!({"resourceType": "Patient", "id": "p"})]).await;
    for (labels, status) in [
        (json!({}), 400),
        (json!({"versionId": "7"}), 400),
        (json!({"tag": [{"display": "no code"}]}), 400),
        (json!({"tag": tag("not a list")}), 400),
        (json!({"profile": [1]}), 400),
        (json!({"tag": [{"code": "x", "colour": "red"}]}), 422),
    ] {
        change(&app, "Patient/p/$meta-add", labels).await.expect(status);
    }
    assert_eq!(get(&app, "Patient/p").await["meta"]["tag"], Value::Null);
    change(&app, "Patient/q/$meta-add", json!({"tag": [tag("x")]}))
        .await
        .expect(404);
    app.post("Patient/p/$meta-add").answer().await.expect(400);
    app.delete("Patient/p").answer().await.expect(204);
    change(&app, "Patient/p/$meta-add", json!({"tag": [tag("x")]}))
        .await
        .expect(410);
    refusal(&app, "Patient/p/$meta", 410).await;
}

#[tokio::test]
async fn many_who_label_one_resource_lose_nothing() {
    let app = spawn_app().await;
    store(&app, [json!({"resourceType": "Patient", "id": "p"})]).await;
    let codes: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let changes = codes
        .iter()
        .map(|code| change(&app, "Patient/p/$meta-add", json!({"tag": [tag(code)]})));
    for answer in futures::future::join_all(changes).await {
        answer.expect(200);
    }
    let meta = get(&app, "Patient/p").await["meta"].clone();
    assert_eq!(meta["tag"].as_array().unwrap().len(), codes.len());
    assert_eq!(meta["versionId"], "1");
}
