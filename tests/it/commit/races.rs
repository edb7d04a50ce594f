//! Writes that meet: each waits, wins or is told that it lost, and what is left is whole.

use futures::future::join_all;
use medconsult::fhir::commit::Effect;
use medconsult::fhir::store::HistoryScope;

use super::{content, delete, page, patient, update, update_if};
use crate::bench::bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_equal_if_match_updates_one_wins() {
    let bench = bench().await;
    bench.write(update(patient("p", "Start"))).await.unwrap();
    for version in 1..6 {
        let race = (0..8).map(|n| bench.write(update_if(patient("p", &format!("V{version}N{n}")), Some(version))));
        let results = join_all(race).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        assert!(refused.map(|error| error.status.as_u16()).all(|status| status == 412));
    }
    assert_eq!(bench.read("Patient", "p").await.unwrap().version, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_that_cross_each_other_all_finish() {
    let bench = bench().await;
    let (a, b) = (
        |name: &str| update(patient("a", name)),
        |name: &str| update(patient("b", name)),
    );
    let race = (0..40).map(|n| {
        let name = format!("N{n}");
        let writes = if n % 2 == 0 {
            vec![a(&name), b(&name)]
        } else {
            vec![b(&name), a(&name)]
        };
        bench.commit(writes)
    });
    for result in join_all(race).await {
        result.unwrap();
    }
    let (a, b) = (
        bench.read("Patient", "a").await.unwrap(),
        bench.read("Patient", "b").await.unwrap(),
    );
    assert_eq!((a.version, b.version), (40, 40));
    assert_eq!(
        content(&a)["name"],
        content(&b)["name"],
        "one transaction wrote both last"
    );
    assert_eq!(bench.count("SELECT count(DISTINCT last_updated) FROM resource_history WHERE type = (SELECT id FROM resource_type WHERE name = 'Patient')").await, 78 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_and_deletes_in_a_race_leave_a_whole_history() {
    let bench = bench().await;
    let race = (0..40).map(|n| {
        let write = if n % 3 == 0 {
            delete("Patient", "p")
        } else {
            update(patient("p", &format!("N{n}")))
        };
        bench.write(write)
    });
    let outcomes: Vec<_> = join_all(race).await.into_iter().map(Result::unwrap).collect();
    let made = outcomes
        .iter()
        .filter(|outcome| outcome.effect != Effect::NothingToDelete)
        .count();
    let versions = bench
        .history(
            HistoryScope::Instance {
                resource_type: "Patient",
                id: "p",
            },
            page(100),
        )
        .await;
    let numbers: Vec<_> = versions
        .entries
        .iter()
        .map(|version| version.version as usize)
        .collect();
    assert_eq!(numbers, (1..=made).rev().collect::<Vec<_>>());
    let current = bench.read("Patient", "p").await.unwrap();
    let rows = bench.count("SELECT count(*) FROM idx_token").await;
    assert_eq!(
        rows > 0,
        !current.deleted,
        "index rows are there exactly when the resource is"
    );
}
