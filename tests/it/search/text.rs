//! `_text`, `_content` and `_score`.

use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Write, commit};
use medconsult::fhir::search::text;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use super::{ids, patient, resource};
use crate::bench::{Bench, bench};

fn condition(id: &str, narrative: &str, note: &str) -> Value {
    resource(
        "Condition",
        id,
        json!({"text": {"status": "additional", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{narrative}</div>")},
            "subject": {"reference": "Patient/p"}, "note": [{"text": note}]}),
    )
}

/// Id and score of each match, in order.
async fn scored(bench: &Bench, query: &str) -> Vec<(String, f64)> {
    let bundle = bench.bundle(query).await;
    let score = |entry: &Value| entry["search"]["score"].as_f64().expect("a match by text has a score");
    let scores = bundle["entry"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(score);
    ids(&bundle, "match").into_iter().zip(scores).collect()
}

#[tokio::test]
async fn words_are_found_as_soon_as_they_are_written() {
    let bench = bench().await;
    bench
        .store([
            condition("a", "<p>Acute <b>bron</b>chitis</p>", "smoker"),
            condition("b", "<p>Migraine</p>", "without aura; crème brûlée"),
            patient("p", json!({"name": [{"family": "Migraine"}]})),
        ])
        .await;
    bench
        .check(&[
            ("Condition?_content=bronchitis", "a"),
            ("Condition?_content=SMOKER", "a"),
            ("Condition?_content=migraine", "b"),
            ("Condition?_text=migraine", "b"),
            ("Condition?_text=smoker", ""),
            ("Condition?_content=creme", "b"),
            ("Condition?_content=cre%CC%80me", "b"),
            ("Condition?_content=migraine,smoker", "a b"),
            ("Condition?_content=(migraine or smoker) and not aura", "a"),
            ("Condition?_content=\"without aura\"", "b"),
            ("Condition?_content=\"aura without\"", ""),
            ("Condition?_content=bronch*", "a"),
            ("Condition?_content=bronch", ""),
            ("Condition?_content=smoker&_text=acute", "a"),
            ("Condition?_content=smoker&subject=Patient/p", "a"),
            ("Condition?_content=smoker&subject=Patient/q", ""),
            ("Condition?_content=smoker&_id=b", ""),
            ("Patient?_content=migraine", "p"),
            ("Condition?subject:Patient._content=migraine", "a b"),
        ])
        .await;
    bench.put(condition("a", "<p>Healed</p>", "smoker")).await;
    bench
        .check(&[("Condition?_content=bronchitis", ""), ("Condition?_text=healed", "a")])
        .await;
    bench.delete("Condition", "a").await;
    bench
        .check(&[("Condition?_content=smoker", ""), ("Condition?_text=healed", "")])
        .await;
}

#[tokio::test]
async fn the_best_match_comes_first_with_its_score() {
    let bench = bench().await;
    bench
        .store([
            condition("narrative", "asthma", "nothing"),
            condition("once", "nothing", "asthma"),
            condition("never", "nothing", "nothing"),
            condition("often", "nothing", "asthma asthma asthma"),
        ])
        .await;
    let found = scored(&bench, "Condition?_content=asthma").await;
    let order: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(order, ["narrative", "often", "once"], "what a person reads counts most");
    assert!(found.iter().all(|(_, score)| *score > 0.0 && *score < 1.0), "{found:?}");
    assert!(found.windows(2).all(|pair| pair[0].1 > pair[1].1), "{found:?}");
    assert_eq!(scored(&bench, "Condition?_content=asthma&_sort=_score").await, found);
    let mut reversed = found.clone();
    reversed.reverse();
    assert_eq!(
        scored(&bench, "Condition?_content=asthma&_sort=-_score").await,
        reversed
    );
    let by_id = scored(&bench, "Condition?_content=asthma&_sort=_id").await;
    let order: Vec<&str> = by_id.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(order, ["narrative", "often", "once"]);
    assert_eq!(by_id[0].1, found[0].1, "in another order, the same score");
    let plain = bench.bundle("Condition?_id=once").await;
    assert_eq!(plain["entry"][0]["search"], json!({"mode": "match"}));
}

#[tokio::test]
async fn pages_go_on_where_the_score_ended() {
    let bench = bench().await;
    let notes = ["pain", "pain pain", "pain", "pain pain pain", "pain pain", "pain"];
    for (n, note) in notes.iter().enumerate() {
        bench.store([condition(&format!("c{n}"), "x", note)]).await;
    }
    let whole = bench.pages("Condition?_content=pain").await.concat();
    assert_eq!(
        whole,
        ["c3", "c4", "c1", "c5", "c2", "c0"],
        "equal scores: newest first"
    );
    for count in [1, 2, 4] {
        let pages = bench.pages(&format!("Condition?_content=pain&_count={count}")).await;
        assert_eq!(pages.concat(), whole, "in pages of {count}");
    }
    let reversed: Vec<String> = bench
        .pages("Condition?_content=pain&_sort=-_score&_count=2")
        .await
        .concat();
    assert_eq!(reversed, ["c0", "c2", "c5", "c1", "c4", "c3"]);
    assert_eq!(bench.bundle("Condition?_content=pain&_count=0").await["total"], 6);
}

#[tokio::test]
async fn searches_for_text_that_cannot_be_read_are_refused() {
    let bench = bench().await;
    for (query, reason) in [
        ("Condition?_content=(a", "without its ')'"),
        ("Condition?_content=--", "needs a word"),
        ("Condition?_text=a or", "needs a word"),
        ("Condition?_content:exact=a", "does not apply"),
        ("Condition?_sort=_score", "_score"),
    ] {
        let refusal = bench.refusal(query).await;
        assert!(refusal.contains(reason), "{query}: {refusal}");
    }
}

/// Resources that wait for their words, and resources whose words are known.
async fn counts(bench: &Bench) -> (i64, i64) {
    let mut connection = bench.database.options().connect().await.unwrap();
    sqlx::query_as("SELECT (SELECT count(*) FROM text_pending), (SELECT count(*) FROM resource_text)")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_job_collects_words_and_a_switch_forgets_them() {
    let bench = bench().await;
    bench
        .store([condition("a", "x", "pain"), condition("b", "y", "pain")])
        .await;
    assert_eq!(counts(&bench).await, (2, 0));
    text::job(&bench.server).await.unwrap();
    assert_eq!(counts(&bench).await, (0, 2));
    bench.delete("Condition", "a").await;
    text::job(&bench.server).await.unwrap();
    assert_eq!(counts(&bench).await, (0, 1));
    text::prepare(&bench.server.store, false).await.unwrap();
    assert_eq!(counts(&bench).await, (0, 0));
    text::prepare(&bench.server.store, true).await.unwrap();
    assert_eq!(counts(&bench).await, (1, 0), "what is there waits for its words again");
    assert_eq!(bench.found("Condition?_content=pain").await, "b");
    assert_eq!(counts(&bench).await, (0, 1));
}

#[tokio::test]
async fn a_search_that_cannot_catch_up_says_so() {
    let bench = bench().await;
    bench.store([condition("late", "x", "pain")]).await;
    // Four batches of these are collected before the Condition's turn comes.
    let mut connection = bench.database.options().connect().await.unwrap();
    sqlx::query("INSERT INTO text_pending SELECT generate_series(-5000, -1)")
        .execute(&mut connection)
        .await
        .unwrap();
    let bundle = bench.bundle("Condition?_content=pain").await;
    assert!(ids(&bundle, "match").is_empty());
    let outcome = bundle["entry"][0]["resource"]["issue"][0].clone();
    assert_eq!(outcome["severity"], "warning");
    let text = outcome["diagnostics"].as_str().unwrap();
    assert!(text.starts_with("The words of 3001 resources"), "{text}");
    text::job(&bench.server).await.unwrap();
    let bundle = bench.bundle("Condition?_content=pain").await;
    assert_eq!(ids(&bundle, "match"), ["late"]);
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1, "nothing is left to say");
}

#[tokio::test]
async fn conditions_cannot_ask_for_text() {
    let bench = bench().await;
    let write = Write::Create {
        resource: patient("p", json!({})),
        if_none_exist: Some("_content=pain".to_owned()),
    };
    let refused = commit(&bench.server, &Caller::sandbox(), vec![Op { write, full_url: None }]).await;
    assert_eq!(refused.unwrap_err().error.status.as_u16(), 400);
}
