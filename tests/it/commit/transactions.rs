//! Several writes in one commit: all or nothing, in whatever order.

use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Effect, commit};
use serde_json::json;

use super::{MRN, content, create, create_if_none, delete, named, patient, update, update_if};
use crate::bench::bench;

#[tokio::test]
async fn entries_may_refer_to_each_other_in_a_circle() {
    let bench = bench().await;
    let one = json!({"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "hasMember": [{"reference": "urn:uuid:2"}], "subject": {"reference": "urn:uuid:p"}});
    let two = json!({"resourceType": "Observation", "status": "final", "code": {"text": "b"}, "derivedFrom": [{"reference": "urn:uuid:1"}]});
    let ops = vec![
        named("urn:uuid:1", create(one)),
        named("urn:uuid:2", create(two)),
        named("urn:uuid:p", update(patient("p", "Put"))),
    ];
    let outcomes = commit(&bench.server, &Caller::sandbox(), ops).await.unwrap();
    let [one, two, _] = [0, 1, 2].map(|n| content(&outcomes[n].stored));
    assert_eq!(
        one["hasMember"][0]["reference"],
        format!("Observation/{}", two["id"].as_str().unwrap())
    );
    assert_eq!(
        two["derivedFrom"][0]["reference"],
        format!("Observation/{}", one["id"].as_str().unwrap())
    );
    assert_eq!(one["subject"]["reference"], "Patient/p");
    let index = "SELECT count(*) FROM idx_reference x JOIN resource r ON r.rid = x.target WHERE r.version = 1";
    assert!(bench.count(index).await >= 1);
}

#[tokio::test]
async fn a_commit_stores_all_or_nothing() {
    let bench = bench().await;
    bench.write(update(patient("there", "One"))).await.unwrap();
    let stale = update_if(patient("there", "Two"), Some(7));
    let error = bench
        .commit(vec![create(patient("x", "New")), update(patient("y", "New")), stale])
        .await
        .unwrap_err();
    assert_eq!((error.op, error.error.status.as_u16()), (Some(2), 412));
    assert_eq!(bench.count("SELECT count(*) FROM resource WHERE version > 0").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM resource_history").await, 0);
    let overlap = bench
        .commit(vec![update(patient("a", "1")), delete("Patient", "a")])
        .await
        .unwrap_err();
    assert_eq!(overlap.error.status.as_u16(), 400);
}

#[tokio::test]
async fn the_order_of_the_entries_has_no_influence() {
    let writes = || {
        vec![
            delete("Patient", "gone"),
            create_if_none(MRN, patient("42", "New")),
            update(patient("there", "Changed")),
            create(
                json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient?identifier=urn:mrn|42"}}),
            ),
        ]
    };
    for turn in 0..4 {
        let bench = bench().await;
        bench.write(update(patient("gone", "x"))).await.unwrap();
        bench.write(update(patient("there", "x"))).await.unwrap();
        let mut writes = writes();
        writes.rotate_left(turn);
        let mut outcomes = bench.commit(writes).await.unwrap();
        outcomes.rotate_right(turn);
        assert_eq!(
            outcomes.iter().map(|outcome| outcome.effect).collect::<Vec<_>>(),
            [Effect::Deleted, Effect::Created, Effect::Updated, Effect::Created]
        );
        // The reference is resolved after the create that it matches.
        assert_eq!(
            content(&outcomes[3].stored)["subject"]["reference"],
            format!("Patient/{}", outcomes[1].stored.id)
        );
    }
}

#[tokio::test]
async fn a_conditional_reference_matches_exactly_one() {
    let bench = bench().await;
    let observation = || {
        create(
            json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient?identifier=urn:mrn|42"}}),
        )
    };
    let none = bench.write(observation()).await.unwrap_err();
    assert_eq!(none.status.as_u16(), 412);
    let only = bench.write(create(patient("42", "Only"))).await.unwrap();
    let found = bench.write(observation()).await.unwrap();
    assert_eq!(
        content(&found.stored)["subject"]["reference"],
        format!("Patient/{}", only.stored.id)
    );
    bench.write(create(patient("42", "Second"))).await.unwrap();
    assert_eq!(bench.write(observation()).await.unwrap_err().status.as_u16(), 412);
}
