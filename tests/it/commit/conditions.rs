//! Conditional writes: they find what is there, however many come at once.

use futures::future::join_all;
use medconsult::fhir::commit::{Effect, Target, Write};
use serde_json::Value;

use super::{MRN, create, create_if_none, patient};
use crate::bench::bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_equal_conditional_creates_make_one_resource() {
    let bench = bench().await;
    let outcomes = join_all((0..50).map(|n| bench.write(create_if_none(MRN, patient("42", &format!("N{n}")))))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| outcome.effect == Effect::Created)
            .count(),
        1
    );
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.stored.id == outcomes[0].stored.id)
    );
    assert_eq!(bench.count("SELECT count(*) FROM resource").await, 1);
}

#[tokio::test]
async fn conditional_updates_create_update_or_refuse() {
    let bench = bench().await;
    let by_mrn = |resource: Value| Write::Update {
        target: Target::Criteria {
            resource_type: "Patient".to_owned(),
            query: MRN.to_owned(),
        },
        resource,
        if_match: None,
        if_none_match_any: false,
    };
    let anonymous = |family| {
        let mut resource = patient("42", family);
        resource.as_object_mut().unwrap().shift_remove("id");
        resource
    };
    let created = bench.write(by_mrn(anonymous("One"))).await.unwrap();
    assert_eq!(created.effect, Effect::Created);
    let updated = bench.write(by_mrn(anonymous("Two"))).await.unwrap();
    assert_eq!(
        (updated.effect, &updated.stored.id, updated.stored.version),
        (Effect::Updated, &created.stored.id, 2)
    );
    assert_eq!(
        bench
            .write(by_mrn(patient("42", "Three")))
            .await
            .unwrap_err()
            .status
            .as_u16(),
        400,
        "another id"
    );
    bench.write(create(patient("42", "Twin"))).await.unwrap();
    assert_eq!(
        bench
            .write(by_mrn(anonymous("Four")))
            .await
            .unwrap_err()
            .status
            .as_u16(),
        412
    );
    let gone = Write::Delete {
        target: Target::Criteria {
            resource_type: "Patient".to_owned(),
            query: "identifier=urn:mrn|none".to_owned(),
        },
        if_match: None,
    };
    assert_eq!(bench.write(gone).await.unwrap().effect, Effect::NothingToDelete);
}

#[tokio::test]
async fn a_conditional_create_finds_what_an_earlier_entry_made() {
    let bench = bench().await;
    let twice = vec![
        create_if_none(MRN, patient("42", "One")),
        create_if_none("identifier=urn%3Amrn%7C42", patient("42", "Two")),
    ];
    let outcomes = bench.commit(twice).await.unwrap();
    assert_eq!(
        (outcomes[0].effect, outcomes[1].effect),
        (Effect::Created, Effect::Existing)
    );
    assert_eq!(outcomes[0].stored.id, outcomes[1].stored.id);
}
