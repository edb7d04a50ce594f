//! The criteria of conditional interactions.

use medconsult::fhir::caller::Caller;
use medconsult::fhir::search::matches_all;
use serde_json::json;

use super::patient;
use crate::bench::bench;

#[tokio::test]
async fn conditions_are_looked_up_together() {
    let bench = bench().await;
    bench
        .store([
            patient("a", json!({"identifier": [{"system": "urn:mrn", "value": "1"}]})),
            patient("b", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
            patient("c", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
            patient("d", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
        ])
        .await;
    let mut lease = bench.server.store.fixed().await.unwrap();
    let ask = |query: &str| ("Patient".to_owned(), query.to_owned());
    let mut criteria = vec![
        ask("identifier=urn:mrn|2"),
        ask("identifier=urn:mrn|1"),
        ask("identifier=urn:never|1"),
    ];
    criteria.extend((0..300).map(|n| ask(&format!("identifier=urn:mrn|x{n}"))));
    let found = matches_all(&mut lease, &bench.server, &Caller::sandbox(), &criteria)
        .await
        .unwrap();
    assert_eq!(
        (found[0].len(), found[1].len(), found[2].len(), found.len()),
        (2, 1, 0, 303)
    );
    assert_eq!(found[1][0].1, "a");
    for (query, position) in [("", 1), ("_count=1", 1), ("nonsense=1", 1), ("birthdate=x", 1)] {
        let error = matches_all(
            &mut lease,
            &bench.server,
            &Caller::sandbox(),
            &[ask("gender=male"), ask(query)],
        )
        .await;
        assert_eq!(error.unwrap_err().0, Some(position), "{query}");
    }
}
