//! What one search may cost, and that many at once do not keep others from their work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::app::{Ask, spawn_app_with};

#[tokio::test]
async fn a_search_that_takes_too_long_is_given_up_with_advice() {
    let app = spawn_app_with(|config| config.search.timeout_seconds = 1).await;
    let patient = json!({"resourceType": "Patient", "id": "p", "name": [{"family": "Long"}]});
    app.put("Patient/p").fhir(&patient).answer().await.expect(201);
    // Nobody can read these rows until the transaction ends.
    let mut connection = app.connection().await;
    let mut transaction = connection.begin().await.unwrap();
    transaction
        .execute("LOCK TABLE idx_string IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let refused = app.get("Patient?name=long").answer().await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    let issue = &refused.json()["issue"][0];
    assert_eq!(issue["code"], "too-costly");
    assert!(
        issue["diagnostics"].as_str().unwrap().contains("Add criteria"),
        "{issue}"
    );
    // Others are answered meanwhile, and so is this one afterwards.
    assert_eq!(app.get("Patient?_id=p").answer().await.expect(200).json()["total"], 1);
    transaction.rollback().await.unwrap();
    assert_eq!(
        app.get("Patient?name=long").answer().await.expect(200).json()["total"],
        1
    );
}

#[tokio::test]
async fn a_condition_of_a_write_has_no_more_time_than_a_search() {
    let app = spawn_app_with(|config| config.search.timeout_seconds = 1).await;
    let mut connection = app.connection().await;
    let mut transaction = connection.begin().await.unwrap();
    transaction
        .execute("LOCK TABLE idx_token IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let patient = json!({"resourceType": "Patient"});
    let create = app
        .post("Patient")
        .header("if-none-exist", "identifier=1")
        .fhir(&patient);
    create.answer().await.expect(503);
    transaction.rollback().await.unwrap();
    let create = app
        .post("Patient")
        .header("if-none-exist", "identifier=1")
        .fhir(&patient);
    create.answer().await.expect(201);
}

#[tokio::test]
async fn totals_are_counted_up_to_a_bound() {
    let app = spawn_app_with(|config| config.search.max_counted = 5).await;
    for n in 0..6 {
        let patient = json!({"resourceType": "Patient", "active": n < 5});
        app.post("Patient").fhir(&patient).answer().await.expect(201);
    }
    let total = async |query: &str| app.get(&format!("Patient?{query}")).answer().await;
    assert_eq!(
        total("active=true&_count=1&_total=accurate").await.expect(200).json()["total"],
        5
    );
    for query in ["_count=1&_total=accurate", "_count=0", "_summary=count"] {
        let issue = total(query).await.expect(422).json()["issue"][0].clone();
        assert_eq!(issue["code"], "too-costly", "{query}");
        assert!(
            issue["diagnostics"].as_str().unwrap().contains("_total=estimate"),
            "{issue}"
        );
    }
    // Following the advice helps; so does not asking.
    assert_eq!(total("_count=0&_total=estimate").await.expect(200).json()["total"], 6);
    assert_eq!(total("_count=1").await.expect(200).json()["total"], json!(null));
    // A page that holds everything needs no counting.
    assert_eq!(total("_total=accurate").await.expect(200).json()["total"], 6);
}

#[tokio::test]
async fn two_hundred_searchers_do_not_stop_writers() {
    const SEARCHERS: usize = 200;
    const CREATES: usize = 40;
    let app = spawn_app_with(|config| config.database.read_connections = 2).await;
    let entry = |n: usize| {
        json!({"resource": {"resourceType": "Patient", "name": [{"family": format!("Name{n:04}"), "given": ["x"]}]},
            "request": {"method": "POST", "url": "Patient"}})
    };
    let entries: Vec<_> = (0..2_000).map(entry).collect();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    app.post("").fhir(&bundle).answer().await.expect(200);

    // Reads every name, sorts, and counts: nothing that an index would answer at once.
    let heavy = "Patient?name:contains=me1&_sort=-family&_total=accurate&_count=5";
    let done = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let searcher = async || {
        while !done.load(Ordering::Relaxed) {
            let answer = app.get(heavy).answer().await;
            match answer.status.as_u16() {
                200 => assert!(answer.json()["total"].as_u64().unwrap() > 0),
                503 => assert_eq!(answer.header("retry-after"), "1"),
                other => panic!("{other}: {}", answer.text()),
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let writer = async || {
        // They begin when the searches are under way.
        while answered.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for n in 0..CREATES {
            let patient = json!({"resourceType": "Patient", "identifier": [{"value": n.to_string()}]});
            app.post("Patient").fhir(&patient).answer().await.expect(201);
        }
        done.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all((0..SEARCHERS).map(|_| searcher())), writer());
    assert!(answered.load(Ordering::Relaxed) >= SEARCHERS);
    let mut connection = app.connection().await;
    let written: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM idx_token t JOIN search_parameter p ON p.id = t.param WHERE p.code = 'identifier'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(written, CREATES as i64);
}
