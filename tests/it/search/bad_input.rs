//! What is refused, and what is reported as ignored.

use medconsult::fhir::preferences::Handling;
use serde_json::json;

use super::{ids, link, patient};
use crate::bench::bench;

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_or_reported() {
    let bench = bench().await;
    bench.store([patient("a", json!({"gender": "male"}))]).await;
    for query in [
        "Patient?nonsense=1",
        "Patient?name=",
        "Patient?organization.nonsense=x",
        "Patient?_sort=nonsense",
        "Patient?_include=Patient:nonsense",
    ] {
        bench.refusal(query).await;
        let (_, bundle) = bench
            .page(&format!("{query}&gender=male"), Handling::Lenient)
            .await
            .unwrap();
        assert_eq!(ids(&bundle, "match"), ["a"], "{query}");
        let outcome = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["search"]["mode"] == "outcome")
            .unwrap();
        assert_eq!(outcome["resource"]["resourceType"], "OperationOutcome", "{query}");
        assert_eq!(
            link(&bundle, "self").unwrap(),
            "http://localhost/fhir/Patient?gender=male",
            "{query}"
        );
    }
    assert!(
        bench
            .refusal("Patient?name:above=x")
            .await
            .contains(":exact, :contains, :missing")
    );
    assert!(
        bench
            .refusal("Patient?gender:exact=x")
            .await
            .contains(":not, :text, :in, :not-in, :above, :below, :missing")
    );
    assert!(
        bench
            .refusal("Patient?general-practitioner:Patient=x")
            .await
            .contains(":Practitioner")
    );
    for query in [
        "Patient?birthdate=yesterday",
        "Patient?birthdate=zz2000",
        "Patient?birthdate=2000-02-30",
        "Patient?birthdate:missing=maybe",
        "Patient?birthdate=2000,",
        "RiskAssessment?probability=high",
        "Observation?value-quantity=5|mg",
        "Patient?_count=many",
        "Patient?_count=-1",
        "Patient?_total=all",
        "Patient?gender=|",
        "Patient?general-practitioner=a%20b",
        "Patient?_include=x",
        "Patient?_cursor=AAAA",
        "Patient?gender=ma%00le",
        "Patient?name=%FF",
        "Patient?birthdate:exact=2000",
        "Patient?_lastUpdated:missing=true",
    ] {
        // Not even a lenient client wants another question answered.
        assert!(bench.page(query, Handling::Lenient).await.is_err(), "{query}");
        bench.refusal(query).await;
    }
    assert_eq!(
        bench
            .page("Nonsense?x=1", Handling::Lenient)
            .await
            .unwrap_err()
            .status
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn hostile_values_are_only_values() {
    let bench = bench().await;
    bench
        .store([patient(
            "a",
            json!({"gender": "male", "name": [{"family": "Smith"}], "birthDate": "1990-01-01"}),
        )])
        .await;
    for text in [
        "' OR 1=1 --",
        "'; DROP TABLE resource; --",
        "%",
        "_",
        ".*",
        "(a+)+$",
        "\\",
        "$1",
        "${x}",
        "\u{202e}",
        "\u{10ffff}",
        "😀",
        "\"",
        "<script>",
    ] {
        let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for query in [
            "family",
            "family:exact",
            "family:contains",
            "gender",
            "gender:not",
            "identifier",
            "_id",
            "_profile",
            "_tag",
        ] {
            let found = bench.found(&format!("Patient?{query}={text}")).await;
            assert_eq!(found, if query == "gender:not" { "a" } else { "" }, "{query}={text}");
        }
        for query in ["birthdate", "_lastUpdated"] {
            bench.refusal(&format!("Patient?{query}={text}")).await;
        }
    }
    let thousands = |value: &str| (0..5_000).map(|n| format!("{value}{n}")).collect::<Vec<_>>().join(",");
    for (query, found) in [
        (format!("gender={},male", thousands("x")), "a"),
        (format!("gender:not={}", thousands("x")), "a"),
        (format!("family={},smi", thousands("x")), "a"),
        (format!("family:exact={},Smith", thousands("x")), "a"),
        (format!("_id={},a", thousands("x")), "a"),
        (format!("general-practitioner={}", thousands("Practitioner/x")), ""),
        (format!("_profile={}", thousands("http://x.org/")), ""),
        (format!("identifier={}", thousands("urn:s|")), ""),
    ] {
        assert_eq!(bench.found(&format!("Patient?{query}")).await, found);
    }
    assert!(
        bench
            .refusal(&format!("Patient?gender={}", vec!["x"; 10_001].join(",")))
            .await
            .contains("10000")
    );
    let parameters = vec!["gender=male"; 101].join("&");
    assert!(bench.refusal(&format!("Patient?{parameters}")).await.contains("100"));
}
