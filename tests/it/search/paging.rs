//! Pages, totals and links.

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
