//! Operations answer with what their caller may see, and change what they may change.

use medconsult::fhir::commit::{LabelChange, LabelTarget, change_labels};
use serde_json::json;

use super::{World, back_end, set};

#[tokio::test]
async fn everything_is_all_that_the_caller_may_read() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let record = set([
        "ann",
        "ann-lab",
        "ann-vital",
        "ann-condition",
        "ann-medication",
        "ann-document",
        "ann-binary",
        "doc",
    ]);
    assert_eq!(world.found(&ann, "Patient/ann/$everything").await, record);
    assert_eq!(world.found(&ann, "Patient/$everything").await, record);
    assert_eq!(world.refusal(&ann, "Patient/bob/$everything").await.0, 404);
    assert_eq!(
        world.found(&ann, "Practitioner/other/$everything").await,
        set(["other"])
    );
    let doc = world.doc().await;
    assert_eq!(world.found(&doc, "Patient/$everything").await, record);
    // The practitioner is named by what this token does not show.
    let app = world
        .anns_app(&[
            "patient/Patient.rs",
            "patient/Practitioner.rs",
            "patient/DocumentReference.rs",
        ])
        .await;
    assert_eq!(
        world.found(&app, "Patient/ann/$everything").await,
        set(["ann", "ann-document"])
    );
    let granular = world
        .anns_app(&["patient/Patient.r", "patient/Observation.r?category=laboratory"])
        .await;
    assert_eq!(
        world.found(&granular, "Patient/ann/$everything").await,
        set(["ann", "ann-lab"])
    );
    // By pages of one, the same.
    let mut url = "Patient/$everything?_count=1".to_owned();
    let mut met = std::collections::BTreeSet::new();
    loop {
        let page = world.get(&ann, &url).await;
        met.extend(super::ids(&page));
        let links = page["link"].as_array().unwrap();
        match links.iter().find(|link| link["relation"] == "next") {
            Some(link) => url = super::text(&link["url"]).to_owned(),
            None => break,
        }
    }
    assert_eq!(met, record);
}

#[tokio::test]
async fn the_latest_observations_are_the_callers() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let of = |patient: &str| format!("Observation/$lastn?patient={patient}&category=laboratory");
    assert_eq!(world.found(&ann, &of("ann")).await, set(["ann-lab"]));
    assert_eq!(world.found(&ann, &of("bob")).await, set([]));
    let app = world.anns_app(&["patient/Condition.rs"]).await;
    assert_eq!(world.refusal(&app, &of("ann")).await.0, 403);
}

#[tokio::test]
async fn labels_are_those_of_what_the_caller_sees() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let codes = |answer: &serde_json::Value| {
        let tags = answer["parameter"][0]["valueMeta"]["tag"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        tags.iter()
            .map(|tag| super::text(&tag["code"]).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(&world.get(&ann, "Observation/$meta").await), ["ann-tag"]);
    assert_eq!(codes(&world.get(&ann, "$meta").await), ["ann-tag"]);
    let all = back_end(&["system/*.rs"]);
    assert_eq!(
        codes(&world.get(&all, "Observation/$meta").await),
        ["ann-tag", "bob-tag"]
    );

    let labels = json!({"tag": [{"system": "http://tags.example", "code": "new"}]});
    let labels = labels.as_object().unwrap();
    let target = |id| LabelTarget {
        resource_type: "Observation",
        id,
        version: None,
    };
    let doc = world.doc().await;
    let server = &world.app.app.fhir;
    for (caller, id, status) in [
        (&doc, "bob-lab", 404),
        (&doc, "bot-lab", 404),
        (&ann, "ann-lab", 403),
        (&all, "ann-lab", 403),
    ] {
        let changed = change_labels(server, caller, target(id), LabelChange::Add, labels).await;
        assert_eq!(changed.unwrap_err().status.as_u16(), status, "{id}");
    }
    let changed = change_labels(server, &doc, target("ann-lab"), LabelChange::Add, labels)
        .await
        .unwrap();
    assert!(changed.to_string().contains("new"), "{changed}");
    // A label that would take it out of the caller's reach is not given.
    let tagged = back_end(&["system/Observation.ru?_tag=http://tags.example|ann-tag"]);
    let gone = json!({"tag": [{"system": "http://tags.example", "code": "ann-tag"}]});
    let changed = change_labels(
        server,
        &tagged,
        target("ann-lab"),
        LabelChange::Remove,
        gone.as_object().unwrap(),
    )
    .await;
    assert_eq!(changed.unwrap_err().status.as_u16(), 403);
}

#[tokio::test]
async fn the_index_is_for_those_who_run_the_server() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    assert_eq!(world.refusal(&ann, "$reindex-status").await.0, 403);
    assert!(
        world
            .try_get(&back_end(&["system/*.rs"]), "$reindex-status")
            .await
            .is_ok()
    );
}
