//! Reads, versions and histories: what is not the caller's answers as what never was.

use std::collections::BTreeSet;

use medconsult::fhir::access::Role;
use medconsult::fhir::http::{self, Conditions};
use medconsult::fhir::preferences::Preferences;
use serde_json::Value;

use super::{World, back_end, delete, observation, set, text};

#[tokio::test]
async fn what_is_not_theirs_answers_as_what_never_was() {
    let mut world = World::new().await;
    let (ann, doc) = (world.ann().await, world.doc().await);
    world.app.delete("Condition/bob-condition").send().await.unwrap();
    for url in [
        "Observation/bob-lab",
        "Observation/bob-lab?_elements=id",
        "Observation/bob-lab/_history",
        "Observation/bob-lab/_history?_summary=count",
        "Observation/bob-lab/_history/1",
        "Observation/bob-lab/_history/2",
        "Observation/bob-lab/$meta",
        "Observation/bob-lab/_history/1/$meta",
        "Condition/bob-condition",
        "Condition/bob-condition/_history/2",
        "Condition/bob-condition/_history",
        "Patient/bob",
        "Patient/bob/$everything",
        "Binary/bob-binary",
        "MedicationRequest/bob-medication",
    ] {
        // The same id with another letter, so that the refusals have the same length.
        let absent = url.replace("bob", "bot");
        for caller in [&ann, &doc] {
            let (status, refusal) = world.refusal(caller, url).await;
            let never = world.refusal(caller, &absent).await;
            assert_eq!((status, refusal.replace("bob", "bot")), never, "{url}");
            assert_eq!(status, 404, "{url}");
        }
    }
    let conditions = Conditions {
        if_none_match: Some("W/\"1\"".to_owned()),
        if_modified_since: None,
    };
    let answer = http::get(
        &world.app.app.fhir,
        &ann,
        "Patient/bob",
        conditions,
        Preferences::default(),
    )
    .await;
    assert_eq!(answer.unwrap_err().status.as_u16(), 404);
    for url in [
        "Observation/ann-lab",
        "Observation/ann-lab/_history/1",
        "Binary/ann-binary",
        "Practitioner/other",
    ] {
        for caller in [&ann, &doc] {
            assert!(world.try_get(caller, url).await.is_ok(), "{url}");
        }
    }
}

#[tokio::test]
async fn each_version_is_judged_by_itself() {
    let mut world = World::new().await;
    // First Bob's, then Ann's, then Bob's again, then deleted.
    for patient in ["bob", "ann", "bob"] {
        world.store(observation("wanders", patient, "laboratory")).await;
    }
    let ann = world.ann().await;
    assert_eq!(world.refusal(&ann, "Observation/wanders").await.0, 404);
    for (version, expected) in [(1, 404), (3, 404), (4, 404)] {
        let url = format!("Observation/wanders/_history/{version}");
        assert_eq!(world.refusal(&ann, &url).await.0, expected, "{url}");
    }
    assert_eq!(
        text(&world.get(&ann, "Observation/wanders/_history/2").await["meta"]["versionId"]),
        "2"
    );
    let history = world.get(&ann, "Observation/wanders/_history").await;
    assert_eq!(
        (history["total"].as_u64(), history["entry"].as_array().unwrap().len()),
        (Some(1), 1)
    );
    assert_eq!(text(&history["entry"][0]["resource"]["meta"]["versionId"]), "2");
    assert_eq!(
        world.get(&ann, "Observation/wanders/_history?_summary=count").await["total"],
        1
    );
    // Hers by a filter in time, and empty: it is there, only not then.
    assert_eq!(
        world.get(&ann, "Observation/wanders/_history?_since=2999").await["total"],
        0
    );

    world.store(observation("wanders", "ann", "laboratory")).await;
    world.app.delete("Observation/wanders").send().await.unwrap();
    let (status, _) = world.refusal(&ann, "Observation/wanders").await;
    assert_eq!(status, 410);
    let history = world.get(&ann, "Observation/wanders/_history").await;
    let methods: Vec<&str> = history["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| text(&entry["request"]["method"]))
        .collect();
    assert_eq!(methods, ["DELETE", "PUT", "PUT"]);
}

#[tokio::test]
async fn a_granular_scope_holds_for_versions() {
    let mut world = World::new().await;
    world.store(observation("changes", "ann", "vital-signs")).await;
    world.store(observation("changes", "ann", "laboratory")).await;
    let app = world.anns_app(&["patient/Observation.rs?category=vital-signs"]).await;
    assert_eq!(world.refusal(&app, "Observation/changes").await.0, 404);
    assert_eq!(world.refusal(&app, "Observation/changes/_history/2").await.0, 404);
    assert!(world.try_get(&app, "Observation/changes/_history/1").await.is_ok());
    assert_eq!(world.get(&app, "Observation/changes/_history").await["total"], 1);
    let not = world
        .anns_app(&["patient/Observation.rs?category:not=vital-signs"])
        .await;
    assert!(world.try_get(&not, "Observation/changes").await.is_ok());
    assert_eq!(world.refusal(&not, "Observation/changes/_history/1").await.0, 404);
    let one = world.anns_app(&["patient/Observation.r?_id=changes"]).await;
    assert_eq!(world.get(&one, "Observation/changes/_history").await["total"], 2);
    assert_eq!(world.refusal(&one, "Observation/ann-lab").await.0, 404);
}

#[tokio::test]
async fn histories_of_types_and_of_everything_hold_the_callers_own() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    assert_eq!(
        world.found(&ann, "Observation/_history").await,
        set(["ann-lab", "ann-vital"])
    );
    assert_eq!(world.found(&ann, "Condition/_history").await, set(["ann-condition"]));
    assert_eq!(world.get(&ann, "Observation/_history?_summary=count").await["total"], 2);
    let everything = world.found(&ann, "_history?_count=1000").await;
    assert!(
        everything.contains("ann-lab") && everything.contains("doc"),
        "{everything:?}"
    );
    assert!(!everything.iter().any(|id| id.starts_with("bob")), "{everything:?}");
    let app = world.anns_app(&["patient/Condition.rs"]).await;
    assert_eq!(world.found(&app, "_history").await, set(["ann-condition"]));
    assert_eq!(world.refusal(&app, "Observation/_history").await.0, 403);
    // Page by page, each version once.
    let mut url = "Observation/_history?_count=1".to_owned();
    let mut met = Vec::new();
    loop {
        let page = world.get(&ann, &url).await;
        met.extend(super::ids(&page));
        let links = page["link"].as_array().unwrap();
        match links.iter().find(|link| link["relation"] == "next") {
            Some(link) => url = text(&link["url"]).to_owned(),
            None => break,
        }
    }
    assert_eq!(met, ["ann-vital", "ann-lab"]);
}

#[tokio::test]
async fn histories_tell_of_what_was_the_callers_once() {
    let mut world = World::new().await;
    let (ann, doc) = (world.ann().await, world.doc().await);
    let bob = world
        .person(Role::Patient, "Patient/bob", None, &["user/*.cruds"])
        .await;
    // One is deleted, one goes from Ann to Bob, one comes from Bob, and one was never hers.
    for (id, patient) in [("deleted", "ann"), ("moved", "ann"), ("came", "bob"), ("never", "bob")] {
        world.store(observation(id, patient, "laboratory")).await;
    }
    for (id, patient) in [("moved", "bob"), ("came", "ann")] {
        world.store(observation(id, patient, "laboratory")).await;
    }
    for id in ["deleted", "never"] {
        world.app.delete(&format!("Observation/{id}")).send().await.unwrap();
    }
    let versions = |history: &Value| -> BTreeSet<String> {
        let entries = history["entry"].as_array().into_iter().flatten();
        let lines = entries.map(|entry| {
            let id = text(&entry["fullUrl"]).rsplit('/').next().unwrap();
            let (method, etag) = (text(&entry["request"]["method"]), text(&entry["response"]["etag"]));
            format!("{id} {method} {etag}")
        });
        lines
            .filter(|line| !line.starts_with("ann-") && !line.starts_with("bob-"))
            .collect()
    };
    let hers: BTreeSet<String> = [
        "deleted PUT W/\"1\"",
        "deleted DELETE W/\"2\"",
        "moved PUT W/\"1\"",
        "came PUT W/\"2\"",
    ]
    .map(str::to_owned)
    .into();
    for caller in [&ann, &doc] {
        assert_eq!(versions(&world.get(caller, "Observation/_history").await), hers);
    }
    let everything = world.get(&ann, "_history?_count=1000").await;
    let of_observations = versions(&everything)
        .into_iter()
        .filter(|line| hers.contains(line))
        .count();
    assert_eq!(of_observations, hers.len());
    let his: BTreeSet<String> = [
        "moved PUT W/\"2\"",
        "came PUT W/\"1\"",
        "never PUT W/\"1\"",
        "never DELETE W/\"2\"",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(versions(&world.get(&bob, "Observation/_history").await), his);
    // An update that changes nothing about whose it is, and making the index anew, leave nothing behind.
    let former: i64 = sqlx::query_scalar("SELECT count(*) FROM former_record")
        .fetch_one(&mut world.connection)
        .await
        .unwrap();
    assert_eq!(former, 4);
}

#[tokio::test]
async fn a_binary_is_seen_with_what_it_belongs_to() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    world
        .store(serde_json::json!({"resourceType": "Binary", "id": "loose", "contentType": "text/plain", "data": "aGVsbG8="}))
        .await;
    assert!(world.try_get(&ann, "Binary/ann-binary").await.is_ok());
    assert_eq!(world.refusal(&ann, "Binary/bob-binary").await.0, 404);
    // What belongs to nothing is for those who see everything.
    assert_eq!(world.refusal(&ann, "Binary/loose").await.0, 404);
    assert!(
        world
            .try_get(&back_end(&["system/Binary.r"]), "Binary/loose")
            .await
            .is_ok()
    );
    // When the document is gone, so is what belonged to it.
    let document = delete("DocumentReference", "ann-document");
    world.write(&back_end(&["system/*.cruds"]), document).await.unwrap();
    assert_eq!(world.refusal(&ann, "Binary/ann-binary").await.0, 404);
}

#[tokio::test]
async fn the_history_of_a_type_holds_no_other_type() {
    let world = World::new().await;
    // Neither of these conditions says by itself what it is about.
    for (scope, expected) in [
        ("system/Observation.rs?status:not=preliminary", 4),
        ("system/Observation.rs?_id=ann-lab", 1),
        ("system/Observation.rs?_id=bob", 0),
    ] {
        let history = world.get(&back_end(&[scope]), "Observation/_history?_count=1000").await;
        let entries = history["entry"].as_array().cloned().unwrap_or_default();
        let is_observation = |entry: &serde_json::Value| entry["resource"]["resourceType"] == "Observation";
        assert!(entries.iter().all(is_observation), "{scope}: {history}");
        assert_eq!(entries.len(), expected, "{scope}");
    }
}
