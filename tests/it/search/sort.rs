//! `_sort`.

use serde_json::json;

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
