//! Search as requests: in the URL, or as a form.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{put, refused};
use crate::app::{Ask, TestApp, spawn_app};

async fn with_patients() -> TestApp {
    let app = spawn_app().await;
    for (id, family, gender) in [
        ("a", "Müller", "female"),
        ("b", "Mueller", "male"),
        ("c", "Okafor", "female"),
    ] {
        let patient = json!({"resourceType": "Patient", "name": [{"family": family}], "gender": gender});
        put(&app, id, patient).await.expect(201);
    }
    app
}

fn form(app: &TestApp, path: &str, body: &str) -> RequestBuilder {
    let request = app.request(Method::POST, path).header("prefer", "handling=strict");
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned())
}

async fn found(request: RequestBuilder) -> Vec<String> {
    let bundle = request.answer().await.expect(200).json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = entries
        .iter()
        .map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_form_finds_what_the_same_query_finds() {
    let app = with_patients().await;
    for (path, body, ids) in [
        ("Patient/_search", "gender=female", vec!["a", "c"]),
        ("Patient/_search", "family=M%C3%9CLLER", vec!["a"]),
        ("Patient/_search", "", vec!["a", "b", "c"]),
        // What stands in the URL and what stands in the form must both be met.
        ("Patient/_search?gender=female", "family=m", vec!["a"]),
        ("Patient/_search?gender=female", "gender=male", vec![]),
        ("Patient/_search", "family=mueller,okafor&_sort=family", vec!["b", "c"]),
    ] {
        assert_eq!(found(form(&app, path, body)).await, ids, "{path} with {body}");
    }
    let both = form(&app, "Patient/_search?gender=female", "family=m")
        .answer()
        .await
        .expect(200)
        .json();
    let links: &Value = &both["link"];
    assert_eq!(links[0]["relation"], "self");
    assert_eq!(
        links[0]["url"],
        json!(format!("{}/Patient?gender=female&family=m", app.base))
    );
    // The link works as it stands.
    assert_eq!(found(app.get(links[0]["url"].as_str().unwrap())).await, ["a"]);
}

#[tokio::test]
async fn a_form_is_judged_as_a_query_is() {
    let app = with_patients().await;
    refused(form(&app, "Patient/_search", "nonsense=1"), 400, "not-supported").await;
    refused(form(&app, "Patient/_search", "birthdate=yesterday"), 400, "value").await;
    refused(form(&app, "Nonsense/_search", "x=1"), 404, "not-found").await;
    refused(
        app.post("Patient/_search").fhir(&json!({"gender": "male"})),
        415,
        "not-supported",
    )
    .await;
    let answer = form(&app, "Patient/_search", "family=%FF").answer().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
