//! Pages, totals and links.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{ids, link, patient};
use crate::bench::bench;

#[tokio::test]
async fn pages_hold_everything_once_while_others_write() {
    let bench = bench().await;
    let resource = |n: usize| {
        patient(
            &format!("p{n:03}"),
            json!({"gender": "male", "active": true, "birthDate": "2000-01-01"}),
        )
    };
    bench.store((0..25).map(resource)).await;
    for query in [
        "Patient?gender=male&_count=4",
        "Patient?_count=4",
        "Patient?active=true&gender=male,female&_count=4&_sort=birthdate",
    ] {
        let mut seen = Vec::new();
        let mut next = Some(query.to_owned());
        let mut n = 1_000;
        while let Some(query) = next {
            let bundle = bench.bundle(&query).await;
            seen.extend(ids(&bundle, "match"));
            next = link(&bundle, "next").map(|url| url.strip_prefix("http://localhost/fhir/").unwrap().to_owned());
            // A new one, and a new version of one already seen and of one still to come.
            n += 1;
            bench
                .put(patient(&format!("new-{n}"), json!({"gender": "female"})))
                .await;
            for old in [0, 12, 24] {
                bench.put(patient(&format!("p{old:03}"), json!({"gender": "male", "active": true, "birthDate": "2000-01-01", "multipleBirthInteger": n - 999}))).await;
            }
        }
        let mut old: Vec<String> = seen.iter().filter(|id| id.starts_with('p')).cloned().collect();
        old.sort();
        let all: Vec<String> = (0..25).map(|n| format!("p{n:03}")).collect();
        assert_eq!(old, all, "{query}");
    }
}

#[tokio::test]
async fn the_default_order_is_newest_first_and_totals_are_told() {
    let bench = bench().await;
    bench
        .store((0..5).map(|n| patient(&format!("p{n}"), json!({"gender": "male"}))))
        .await;
    assert_eq!(
        bench.pages("Patient?_count=2").await,
        [vec!["p4", "p3"], vec!["p2", "p1"], vec!["p0"]]
    );
    for (query, total) in [
        ("Patient?_count=2", Value::Null),
        ("Patient?_count=2&_total=none", Value::Null),
        ("Patient?_count=2&_total=accurate", json!(5)),
        ("Patient?_count=2&_total=estimate", json!(5)),
        ("Patient?_count=5", json!(5)),
        ("Patient?_count=0", json!(5)),
        ("Patient?_count=99999999999999999999&gender=male", json!(5)),
        ("Patient?_summary=count&gender=male", json!(5)),
        ("Patient?gender=female", json!(0)),
        ("Patient?general-practitioner=Practitioner/unheard-of", json!(0)),
    ] {
        assert_eq!(bench.bundle(query).await["total"], total, "{query}");
    }
    let bundle = bench.bundle("Patient?_count=2&gender=male").await;
    assert_eq!(
        link(&bundle, "self").unwrap(),
        "http://localhost/fhir/Patient?_count=2&gender=male"
    );
    assert_eq!(bundle["entry"][0]["fullUrl"], "http://localhost/fhir/Patient/p4");
    assert_eq!(bench.bundle("Patient?_count=0").await.get("entry"), None);
}

#[tokio::test]
async fn a_page_link_serves_its_own_search_only() {
    let bench = bench().await;
    bench
        .store((0..3).map(|n| patient(&format!("p{n}"), json!({"gender": "male"}))))
        .await;
    let bundle = bench.bundle("Patient?gender=male&_count=1").await;
    let next = link(&bundle, "next").unwrap();
    let cursor = next.split_once("_cursor=").unwrap().1.to_owned();
    assert_eq!(
        bench
            .find(&format!("Patient?gender=male&_count=5&_cursor={cursor}"))
            .await,
        ["p1", "p0"]
    );
    bench.refusal(&format!("Patient?gender=female&_cursor={cursor}")).await;
    bench
        .refusal(&format!("Patient?gender=male&_sort=gender&_cursor={cursor}"))
        .await;
    let mut altered = cursor.into_bytes();
    let last = altered.len() - 2;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    bench
        .refusal(&format!(
            "Patient?gender=male&_cursor={}",
            String::from_utf8(altered).unwrap()
        ))
        .await;
}

/// Resources that match before, during and after a walk through the pages, and keep what they are sorted by, are met
/// exactly once, whatever else is written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn walks_meet_everything_once_while_writers_run() {
    const STEADY: usize = 60;
    let bench = Arc::new(bench().await);
    let steady = |n: usize, version: usize| {
        let born = format!("19{:02}-01-01", n % 7 + 50);
        let elements = json!({"gender": "male", "birthDate": born, "name": [{"family": format!("Steady{}", n % 5)}],
            "multipleBirthInteger": version});
        patient(&format!("steady-{n:02}"), elements)
    };
    bench.store((0..STEADY).map(|n| steady(n, 1))).await;

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (bench, stop) = (bench.clone(), stop.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    let n = written / 4;
                    let passing = format!("passing-{writer}-{}", n % 20);
                    match written % 4 {
                        // A new version of a resource that stays, one that comes, changes and goes, and a lasting new one.
                        0 => bench.put(steady((n * 7 + writer) % STEADY, written)).await,
                        1 => {
                            bench
                                .put(patient(&passing, json!({"gender": "male", "birthDate": "1955-01-01"})))
                                .await
                        }
                        2 => bench.delete("Patient", &passing).await,
                        _ => {
                            bench
                                .put(patient(&format!("new-{writer}-{n}"), json!({"gender": "male"})))
                                .await
                        }
                    }
                    written += 1;
                }
                written
            })
        })
        .collect();
    for query in [
        "Patient?gender=male&_count=7",
        "Patient?_count=7",
        "Patient?gender=male&_sort=birthdate&_count=7",
        "Patient?_sort=-birthdate,family&_count=7",
        "Patient?gender=male,female&_sort=family,-_id&_count=7",
        "Patient?_sort=-_id&_count=7",
    ] {
        for _ in 0..3 {
            let mut met = bench.pages(query).await.concat();
            let walked = met.len();
            met.sort();
            met.dedup();
            assert_eq!(met.len(), walked, "{query} gives a resource twice");
            let steady = met.iter().filter(|id| id.starts_with("steady")).count();
            assert_eq!(steady, STEADY, "{query} loses what was there all the time");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 20, "the writers hardly wrote");
    }
}
