//! What all interactions have in common: formats, parts, methods, compression, CORS, request ids.

use reqwest::Method;
use serde_json::json;

use super::{put, refused};
use crate::app::{Answer, Ask, TestApp, spawn_app, spawn_app_with};

/// Whether caches are told that the answer depends on this header of the request.
fn varies(answer: &Answer, header: &str) -> bool {
    let mut told = answer
        .headers
        .get_all("vary")
        .iter()
        .flat_map(|value| value.to_str().unwrap().split(','));
    told.any(|name| name.trim().eq_ignore_ascii_case(header))
}

async fn with_observation() -> TestApp {
    let app = spawn_app().await;
    let text = json!({"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"});
    let weight: serde_json::Value = serde_json::from_str(r#"{"value": 1.50}"#).unwrap();
    let observation = json!({"resourceType": "Observation", "text": text, "status": "final", "code": {"text": "weight"},
        "valueQuantity": weight, "note": [{"text": "n".repeat(2000)}]});
    put(&app, "o", observation).await.expect(201);
    app
}

#[tokio::test]
async fn formats_are_negotiated() {
    let app = with_observation().await;
    for accept in [
        "application/fhir+json",
        "application/json",
        "*/*",
        "text/html, */*;q=0.1",
        "application/fhir+json; fhirVersion=4.0",
    ] {
        let read = app
            .get("Observation/o")
            .header("accept", accept)
            .answer()
            .await
            .expect(200);
        assert_eq!(read.header("content-type"), "application/fhir+json; charset=utf-8");
    }
    for accept in [
        "application/fhir+xml",
        "text/turtle",
        "application/fhir+json; fhirVersion=3.0",
    ] {
        refused(app.get("Observation/o").header("accept", accept), 406, "not-supported").await;
        refused(app.get("Observation").header("accept", accept), 406, "not-supported").await;
    }
    for format in ["json", "application/fhir%2Bjson", "application/fhir+json", "text/json"] {
        let url = format!("Observation/o?_format={format}");
        app.get(&url)
            .header("accept", "application/fhir+xml")
            .answer()
            .await
            .expect(200);
    }
    refused(app.get("Observation/o?_format=xml"), 406, "not-supported").await;
    for content_type in [
        "application/fhir+xml",
        "text/plain",
        "application/fhir+json; charset=latin1",
    ] {
        let request = app.post("Basic").header("content-type", content_type).body("{}");
        refused(request, 415, "not-supported").await;
    }
    refused(app.post("Basic").body("{}"), 415, "not-supported").await;
    let compressed = app.post("Basic").header("content-encoding", "gzip").fhir(&json!({}));
    refused(compressed, 415, "not-supported").await;
}

#[tokio::test]
async fn a_client_may_ask_for_parts() {
    let app = with_observation().await;
    let get = async |query: &str| {
        app.get(&format!("Observation/o?{query}"))
            .answer()
            .await
            .expect(200)
            .json()
    };
    let summary = get("_summary=true").await;
    assert!(summary.get("note").is_none() && summary.get("text").is_none() && summary.get("valueQuantity").is_some());
    assert_eq!(summary["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(get("_summary=text").await.get("valueQuantity").is_none());
    assert!(get("_summary=data").await.get("text").is_none());
    let elements = get("_elements=note").await;
    assert!(
        elements.get("note").is_some() && elements.get("status").is_some() && elements.get("valueQuantity").is_none()
    );
    for query in ["_summary=some", "_summary=true&_elements=note", "_summary=count"] {
        let answer = app.get(&format!("Observation/o?{query}")).answer().await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let pretty = app.get("Observation/o?_pretty=true").answer().await.expect(200).text();
    assert!(pretty.starts_with("{\n  \"resourceType\": \"Observation\",\n") && pretty.contains("1.50"));
    let pretty_error = app
        .get("Observation/none?_pretty=true")
        .answer()
        .await
        .expect(404)
        .text();
    assert!(pretty_error.starts_with("{\n"));
}

#[tokio::test]
async fn methods_are_told() {
    let app = with_observation().await;
    let head = app.request(Method::HEAD, "Observation/o").answer().await.expect(200);
    assert!(head.bytes.is_empty() && head.header("etag") == "W/\"1\"");
    app.request(Method::HEAD, "Observation/none").answer().await.expect(404);
    let options = app.request(Method::OPTIONS, "Observation/o").answer().await.expect(204);
    assert_eq!(options.header("allow"), "GET,HEAD,PUT,PATCH,DELETE");
    for (method, path, allow) in [
        (Method::POST, "Observation/o", "GET,HEAD,PUT,PATCH,DELETE"),
        (Method::DELETE, "metadata", "GET,HEAD"),
        (Method::PUT, "_history", "GET,HEAD"),
    ] {
        let refusal = app.request(method, path).answer().await.expect(405);
        assert_eq!(refusal.header("allow"), allow, "{path}");
        assert_eq!(refusal.json()["resourceType"], "OperationOutcome");
    }
    for path in ["Observation/o/unheard", "/elsewhere", "Observation/o/_history/1/x"] {
        refused(app.get(path), 404, "not-found").await;
    }
    for path in ["$unheard", "Observation/$unheard", "Observation/o/$unheard"] {
        refused(app.get(path), 404, "not-found").await;
        refused(app.post(path), 404, "not-found").await;
    }
}

#[tokio::test]
async fn large_answers_are_compressed_when_asked() {
    let app = with_observation().await;
    let plain = app.get("Observation/o").answer().await.expect(200);
    assert_eq!(plain.header("content-encoding"), "");
    // The harness' client unpacks on its own; this one shows what was sent.
    let client = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    for encoding in ["gzip", "zstd"] {
        let small = app
            .get("Observation/none")
            .header("accept-encoding", encoding)
            .answer()
            .await
            .expect(404);
        assert_eq!(small.header("content-encoding"), "");
        let packed = client
            .get(format!("{}/Observation/o", app.base))
            .header("accept-encoding", encoding);
        let packed = packed.answer().await.expect(200);
        assert_eq!(packed.header("content-encoding"), encoding);
        assert!(packed.bytes.len() < plain.bytes.len());
        assert!(varies(&packed, "accept-encoding"));
    }
    // Nor may a cache give the plain answer to everybody.
    let plain = client
        .get(format!("{}/Observation/o", app.base))
        .answer()
        .await
        .expect(200);
    assert!(plain.header("content-encoding").is_empty() && varies(&plain, "accept-encoding"));
}

#[tokio::test]
async fn pages_of_named_origins_may_read() {
    let app = spawn_app_with(|config| config.http.cors_origins = vec!["https://app.example".into()]).await;
    let preflight = |origin: &'static str| {
        let request = app.request(Method::OPTIONS, "Patient/p").header("origin", origin);
        request.header("access-control-request-method", "PUT").answer()
    };
    let allowed = preflight("https://app.example").await.expect(204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert!(allowed.header("access-control-allow-methods").contains("PUT"));
    assert!(allowed.header("access-control-allow-headers").contains("if-match"));
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    assert_eq!(
        preflight("https://evil.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let read = app
        .get("Patient/none")
        .header("origin", "https://app.example")
        .answer()
        .await
        .expect(404);
    assert!(read.header("access-control-expose-headers").contains("etag"));
    assert!(varies(&read, "origin"));
    let stranger = app
        .get("Patient/none")
        .header("origin", "https://evil.example")
        .answer()
        .await;
    assert!(varies(&stranger, "origin") && varies(&app.get("Patient/none").answer().await, "origin"));
    // A question for the methods is no preflight.
    assert!(
        !app.request(Method::OPTIONS, "Patient/p")
            .answer()
            .await
            .expect(204)
            .header("allow")
            .is_empty()
    );

    let closed = spawn_app().await;
    let read = closed
        .get("Patient/none")
        .header("origin", "https://app.example")
        .answer()
        .await;
    assert_eq!(read.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn requests_have_ids() {
    let app = spawn_app().await;
    let id = async |sent: &'static str| {
        app.get("metadata")
            .header("x-request-id", sent)
            .answer()
            .await
            .header("x-request-id")
            .to_owned()
    };
    assert_eq!(id("abc-1.2_3").await, "abc-1.2_3");
    for harmful in ["", "a b", "<script>"] {
        assert_eq!(id(harmful).await.len(), 36, "{harmful}");
    }
    assert_ne!(
        app.get("/healthz").answer().await.expect(200).header("x-request-id"),
        ""
    );
}
