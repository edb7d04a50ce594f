//! What a token opens, and that nothing opens without one.

use reqwest::Method;
use serde_json::json;

use super::spawn_guarded_app;
use crate::app::{Ask, spawn_app};

#[tokio::test]
async fn without_a_token_nothing_is_answered() {
    let app = spawn_guarded_app().await;
    let everything = [
        (Method::GET, "Patient/1"),
        (Method::GET, "Patient"),
        (Method::GET, "Patient/1/_history/1"),
        (Method::GET, "Patient/1/_history"),
        (Method::GET, "Patient/_history"),
        (Method::GET, "_history"),
        (Method::GET, "?_type=Patient"),
        (Method::POST, "Patient/_search"),
        (Method::POST, "_search"),
        (Method::POST, "Patient"),
        (Method::PUT, "Patient/1"),
        (Method::PUT, "Patient?name=x"),
        (Method::PATCH, "Patient/1"),
        (Method::PATCH, "Patient?name=x"),
        (Method::DELETE, "Patient/1"),
        (Method::DELETE, "Patient?name=x"),
        (Method::POST, ""),
        (Method::POST, "/fhir/"),
        (Method::POST, "$validate"),
        (Method::POST, "Patient/$validate"),
        (Method::POST, "Patient/1/$validate"),
        (Method::GET, "Patient/1/$everything"),
        (Method::HEAD, "Patient/1"),
        (Method::GET, "Nonsense/1"),
    ];
    for (method, path) in everything {
        let answer = app.request(method.clone(), path).answer().await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        if method != Method::HEAD {
            assert_eq!(answer.json()["issue"][0]["code"], "login", "{method} {path}");
        }
    }
    for open in ["metadata", ".well-known/smart-configuration", "/healthz"] {
        app.get(open).answer().await.expect(200);
    }
}

#[tokio::test]
async fn what_is_no_token_opens_nothing() {
    let app = spawn_guarded_app().await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let with = |value: &str| app.get("Patient").header("authorization", value);
    for wrong in [
        "Bearer nonsense".to_owned(),
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[1..]),
        format!("Basic {token}"),
        token.clone(),
    ] {
        let answer = with(&wrong).answer().await.expect(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        assert!(!answer.text().contains(&token[1..]));
    }
    let good = format!("Bearer {token}");
    with(&good).header("authorization", &good).answer().await.expect(401);
    app.get(&format!("Patient?access_token={token}"))
        .answer()
        .await
        .expect(401);
    let form = app.form("Patient/_search", &[("access_token", &token)]);
    form.answer().await.expect(401);
    with(&good).answer().await.expect(200);
}

#[tokio::test]
async fn a_token_opens_what_its_letters_say() {
    let app = spawn_guarded_app().await;
    app.register_backend("writer", "system/*.cruds").await;
    app.register_backend("reader", "system/*.rs").await;
    let writer = app.token("writer", "system/*.cruds").await;
    let reader = app.token("reader", "system/*.rs").await;
    let without_delete = app.token("writer", "system/*.crus").await;
    let patient = json!({"resourceType": "Patient", "id": "p", "active": true});

    app.put("Patient/p")
        .fhir(&patient)
        .bearer_auth(&writer)
        .answer()
        .await
        .expect(201);
    app.get("Patient/p").bearer_auth(&reader).answer().await.expect(200);
    app.get("Patient?_id=p").bearer_auth(&reader).answer().await.expect(200);

    let forbidden = async |request: reqwest::RequestBuilder, letters: &str| {
        let answer = request.answer().await.expect(403);
        assert_eq!(answer.json()["issue"][0]["code"], "forbidden");
        assert!(
            answer.text().contains(&format!("it needs {letters} on")),
            "{}",
            answer.text()
        );
    };
    let changed = json!({"resourceType": "Patient", "id": "p", "active": false});
    forbidden(app.post("Patient").fhir(&patient).bearer_auth(&reader), ".c").await;
    forbidden(app.put("Patient/p").fhir(&changed).bearer_auth(&reader), ".u").await;
    forbidden(
        app.put("Patient/new")
            .fhir(&json!({"resourceType": "Patient", "id": "new"}))
            .bearer_auth(&reader),
        ".u",
    )
    .await;
    forbidden(app.put("Patient?_id=p").fhir(&changed).bearer_auth(&reader), ".us").await;
    let patch = json!([{"op": "replace", "path": "/active", "value": false}]).to_string();
    let patch = app
        .patch("Patient/p")
        .header("content-type", "application/json-patch+json")
        .body(patch);
    forbidden(patch.bearer_auth(&reader), ".u").await;
    forbidden(app.delete("Patient/p").bearer_auth(&reader), ".d").await;
    forbidden(app.delete("Patient/p").bearer_auth(&without_delete), ".d").await;

    // A transaction falls as a whole, a batch entry alone.
    let bundle = |kind: &str| {
        json!({"resourceType": "Bundle", "type": kind, "entry": [
            {"request": {"method": "GET", "url": "Patient/p"}},
            {"request": {"method": "DELETE", "url": "Patient/p"}},
        ]})
    };
    app.post("")
        .fhir(&bundle("transaction"))
        .bearer_auth(&without_delete)
        .answer()
        .await
        .expect(403);
    let batch = app
        .post("")
        .fhir(&bundle("batch"))
        .bearer_auth(&without_delete)
        .answer()
        .await
        .expect(200)
        .json();
    assert!(
        batch["entry"][0]["response"]["status"]
            .as_str()
            .unwrap()
            .starts_with("200")
    );
    assert!(
        batch["entry"][1]["response"]["status"]
            .as_str()
            .unwrap()
            .starts_with("403")
    );
    let read = app
        .get("Patient/p")
        .bearer_auth(&reader)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&read["active"], &read["meta"]["versionId"]),
        (&json!(true), &json!("1"))
    );
    app.delete("Patient/p").bearer_auth(&writer).answer().await.expect(204);
}

#[tokio::test]
async fn a_sandbox_needs_no_token_and_offers_none() {
    let app = spawn_app().await;
    app.get("Patient").answer().await.expect(200);
    app.get(".well-known/smart-configuration").answer().await.expect(404);
    app.post("/auth/token").answer().await.expect(404);
}
