//! Input that must be refused, each time as an OperationOutcome that says why.

use serde_json::json;

use super::refused;
use crate::app::{Ask, spawn_app, spawn_app_with};

#[tokio::test]
async fn bodies_that_are_no_json() {
    let app = spawn_app().await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!(
        "{{\"resourceType\":\"Basic\",\"extension\":{}1{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"{\"resourceType\":\"Basic\"",
        b"{\"resourceType\":\"Basic\"} x",
        b"{\"resourceType\":\"Basic\",\"language\":\"\xff\"}",
        b"{\"resourceType\":\"Basic\",\"language\":\"a\\u0000b\"}",
        b"{\"resourceType\":\"Basic\",\"resourceType\":\"Basic\"}",
        b"{\"resourceType\":\"Basic\",\"meta\":{\"source\":\"a\",\"source\":\"b\"}}",
        b"[]",
        b"null",
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    for body in bodies {
        let request = app
            .post("Basic")
            .header("content-type", "application/fhir+json")
            .body(body.to_vec());
        refused(request, 400, "structure").await;
    }
}

#[tokio::test]
async fn resources_that_are_not_what_the_url_says() {
    let app = spawn_app().await;
    let basic = json!({"resourceType": "Basic", "id": "a", "code": {"text": "x"}});
    refused(app.post("Patient").fhir(&basic), 400, "invalid").await;
    refused(
        app.post("Basic").fhir(&json!({"code": {"text": "x"}})),
        400,
        "structure",
    )
    .await;
    let outcome = refused(app.put("Basic/b").fhir(&basic), 400, "invalid").await;
    assert_eq!(outcome["issue"][0]["expression"][0], "id");
    refused(
        app.put("Basic/a")
            .fhir(&json!({"resourceType": "Basic", "code": {"text": "x"}})),
        400,
        "invalid",
    )
    .await;
    for name in [
        "basic",
        "Basics",
        "Resource",
        "DomainResource",
        "HumanName",
        "%00",
        "Basic%20",
    ] {
        refused(app.get(&format!("{name}/a")), 404, "not-found").await;
        refused(app.post(name).fhir(&basic), 404, "not-found").await;
    }
    for id in ["a_b", "a%00b", "a%20b", "%C3%A9", &"x".repeat(65)] {
        refused(app.get(&format!("Basic/{id}")), 404, "not-found").await;
        refused(app.put(&format!("Basic/{id}")).fhir(&basic), 400, "value").await;
        refused(app.delete(&format!("Basic/{id}")), 400, "value").await;
    }
    let not_text = app.get("Basic/%FF").answer().await;
    assert_eq!(
        (not_text.status.as_u16(), &not_text.json()["resourceType"]),
        (400, &json!("OperationOutcome"))
    );
}

#[tokio::test]
async fn resources_that_are_not_valid() {
    let app = spawn_app().await;
    let cases = [
        (json!({"resourceType": "Patient", "unheard": 1}), "Patient.unheard"),
        (
            json!({"resourceType": "Patient", "birthDate": "2020-02-30"}),
            "Patient.birthDate",
        ),
        (json!({"resourceType": "Patient", "active": "true"}), "Patient.active"),
        (
            json!({"resourceType": "Patient", "name": {"family": "x"}}),
            "Patient.name",
        ),
        (json!({"resourceType": "Patient", "name": []}), "Patient.name"),
        (
            json!({"resourceType": "Patient", "name": [{"given": ["a", 1]}]}),
            "Patient.name[0].given[1]",
        ),
        (
            json!({"resourceType": "Patient", "gender": "sometimes"}),
            "Patient.gender",
        ),
        (
            json!({"resourceType": "Observation", "code": {"text": "x"}}),
            "Observation",
        ),
    ];
    for (resource, at) in cases {
        let name = resource["resourceType"].as_str().unwrap();
        let answer = app.post(name).fhir(&resource).answer().await;
        assert_eq!(answer.status, 422, "{resource}: {}", answer.text());
        let issues = answer.json()["issue"].clone();
        let expressions: Vec<String> = issues
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| issue["expression"][0].as_str().unwrap_or_default().to_owned())
            .collect();
        assert!(
            expressions.iter().any(|found| found.starts_with(at)),
            "{resource}: {issues}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let app = spawn_app_with(|config| config.http.max_body_bytes = 1 << 20).await;
    let large = json!({"resourceType": "Basic", "code": {"text": "x".repeat(10 << 20)}});
    refused(app.post("Basic").fhir(&large), 413, "too-long").await;
    // The same without a declared length.
    let pieces = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    let streamed = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let request = app
        .post("Basic")
        .header("content-type", "application/fhir+json")
        .body(streamed);
    refused(request, 413, "too-long").await;
    let fits = json!({"resourceType": "Basic", "code": {"text": "x".repeat(1 << 19)}});
    app.post("Basic").fhir(&fits).answer().await.expect(201);
}

#[tokio::test]
async fn bodies_that_never_end() {
    let app = spawn_app_with(|config| config.http.body_timeout_seconds = 1).await;
    let stalled = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = app
        .post("Basic")
        .header("content-type", "application/fhir+json")
        .body(stalled);
    refused(request, 408, "timeout").await;
}

#[tokio::test]
async fn queries_that_mean_nothing() {
    let app = spawn_app().await;
    for query in ["name=%FF", "name=%00", "%FF=1"] {
        refused(app.get(&format!("Patient?{query}")), 400, "invalid").await;
    }
    for query in ["_count=-1", "_count=x"] {
        assert_eq!(
            app.get(&format!("Patient?{query}")).answer().await.status,
            400,
            "{query}"
        );
    }
    app.get("Patient?_count=999999999999999999").answer().await.expect(200);
    let strict = app.get("Patient?unheard=1").header("prefer", "handling=strict");
    assert_eq!(strict.answer().await.status, 400);
    app.get("Patient?unheard=1").answer().await.expect(200);
    let strict = app.get("?name=x").header("prefer", "handling=strict");
    refused(strict, 400, "not-supported").await;
    for text in [
        "'; DROP TABLE resource; --",
        "(a+)+$",
        "\\",
        "%",
        "_",
        "$1",
        "{}",
        "\u{1F600}",
    ] {
        let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
        let answer = app
            .get(&format!("Patient?name={encoded}&identifier={encoded}&_id={encoded}"))
            .answer()
            .await;
        assert!(matches!(answer.status.as_u16(), 200 | 400), "{text}: {}", answer.text());
    }
}
