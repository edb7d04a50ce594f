//! `_sort`.

use serde_json::{Value, json};

use super::{observation, patient};
use crate::bench::bench;

#[tokio::test]
async fn sorting_puts_missing_values_last_on_every_page() {
    let bench = bench().await;
    bench
        .store([
            patient(
                "a",
                json!({"birthDate": "1990-05-01", "name": [{"family": "Zed"}, {"family": "Ann"}], "gender": "male"}),
            ),
            patient("b", json!({"name": [{"family": "Bo"}], "gender": "male"})),
            patient("c", json!({"birthDate": "1980", "gender": "female"})),
            patient("d", json!({"birthDate": "1990-05-01", "name": [{"family": "Bo"}]})),
            patient("e", json!({})),
        ])
        .await;
    for (query, order) in [
        ("_sort=birthdate", "c a d b e"),
        ("_sort=-birthdate", "d a c e b"),
        ("_sort=family", "a b d c e"),
        ("_sort=-family", "a d b e c"),
        ("_sort=birthdate,-family", "c a d b e"),
        ("_sort=-birthdate,family", "a d c b e"),
        ("_sort=family,birthdate", "a d b c e"),
        ("_sort=gender,-_id", "c b a e d"),
        ("_sort=_id", "a b c d e"),
        ("_sort=-_id", "e d c b a"),
        ("_sort=_lastUpdated", "a b c d e"),
        ("_sort=-_lastUpdated", "e d c b a"),
        ("_sort=family&birthdate=1990-05-01", "a d"),
        ("_sort=birthdate&family=bo", "d b"),
        ("_sort=birthdate&gender:missing=true", "d e"),
        ("_sort=-birthdate&_id=a,c,e", "a c e"),
    ] {
        for count in [1, 2, 5] {
            let pages = bench.pages(&format!("Patient?{query}&_count={count}")).await;
            assert_eq!(pages.concat().join(" "), order, "{query} by {count}");
        }
    }
    bench
        .store([
            observation(
                "x",
                json!({"valueQuantity": {"value": 9, "system": "http://unitsofmeasure.org", "code": "mg"}}),
            ),
            observation(
                "y",
                json!({"valueQuantity": {"value": 10, "system": "http://unitsofmeasure.org", "code": "mg"}}),
            ),
        ])
        .await;
    assert_eq!(
        bench.pages("Observation?_sort=-value-quantity&_count=1").await.concat(),
        ["y", "x"]
    );
}

#[tokio::test]
async fn references_are_sorted_by_what_they_lead_to() {
    let bench = bench().await;
    let about = |subject: Value| json!({"subject": subject});
    let by = |reference: &str| json!({"reference": reference});
    bench
        .store([
            patient("p2", json!({})),
            patient("p1", json!({})),
            observation("a", about(by("Patient/p1"))),
            observation("b", about(by("Patient/p2"))),
            observation("c", about(by("http://elsewhere.org/Patient/1"))),
            observation("d", json!({"subject": by("Patient/p2"), "effectiveDateTime": "2020"})),
            observation("e", json!({})),
            observation("f", about(by("Patient/p1"))),
        ])
        .await;
    for (query, order) in [
        ("_sort=subject", "b d a f c e"),
        ("_sort=-subject", "f a d b e c"),
        ("_sort=subject,-_id", "d b f a e c"),
        ("_sort=subject,date", "d b a f c e"),
        ("_sort=date,subject", "d b a f c e"),
        ("_sort=-patient&subject:missing=false", "f a d b c"),
    ] {
        for count in [1, 3, 10] {
            let pages = bench.pages(&format!("Observation?{query}&_count={count}")).await;
            assert_eq!(pages.concat().join(" "), order, "{query} by {count}");
        }
    }
}
