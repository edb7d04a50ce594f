//! Operations over HTTP: <https://hl7.org/fhir/R4/operations.html>.

mod everything;
mod lastn;
mod meta;

use serde_json::{Value, json};

use crate::app::{Ask, TestApp, spawn_app};

/// Stores resources, in order, each under its own id.
async fn store(app: &TestApp, resources: impl IntoIterator<Item = Value>) {
    for resource in resources {
        let path = format!(
            "{}/{}",
            resource["resourceType"].as_str().unwrap(),
            resource["id"].as_str().unwrap()
        );
        app.put(&path).fhir(&resource).answer().await.expect(201);
    }
}

/// What `path` answers, which must be a resource.
async fn get(app: &TestApp, path: &str) -> Value {
    app.get(path).answer().await.expect(200).json()
}

/// What a refused request is told; its status must be `status`.
async fn refusal(app: &TestApp, path: &str, status: u16) -> String {
    let outcome = app.get(path).answer().await.expect(status).json();
    outcome["issue"][0]["diagnostics"].as_str().unwrap().to_owned()
}

/// `Type/id` of the entries that were found for this reason, in order.
fn entries(bundle: &Value, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let of_mode = entries.iter().filter(|entry| entry["search"]["mode"] == mode);
    of_mode
        .map(|entry| {
            let resource = &entry["resource"];
            format!(
                "{}/{}",
                resource["resourceType"].as_str().unwrap(),
                resource["id"].as_str().unwrap()
            )
        })
        .collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array().unwrap();
    let link = links.iter().find(|link| link["relation"] == relation)?;
    Some(link["url"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn input_is_checked_against_the_definition() {
    let app = spawn_app().await;
    store(&app, [json!({"resourceType": "Patient", "id": "p"})]).await;
    for (path, reason) in [
        (
            "Patient/p/$everything?stop=2026",
            "has no parameter 'stop'; it has start, end,",
        ),
        ("Patient/p/$everything?start=soon", "'start' is a date"),
        ("Patient/p/$everything?_since=2026-01-01", "'_since' is an instant"),
        ("Patient/p/$everything?_count=many", "'_count' is a whole number"),
        (
            "Patient/p/$everything?start=2026&start=2027",
            "takes the parameter 'start' once",
        ),
        ("Patient/p/$meta?x=y", "has no parameter 'x'; it has none"),
    ] {
        let text = refusal(&app, path, 400).await;
        assert!(text.contains(reason), "{path}: {text}");
    }
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "start", "valueDate": "2026-13"}]});
    let answer = app.post("Patient/p/$everything").fhir(&parameters).answer().await;
    assert!(answer.expect(400).text().contains("'start' is a date"));
    let body = json!({"resourceType": "Patient"});
    let answer = app.post("Patient/p/$everything").fhir(&body).answer().await;
    assert!(answer.expect(400).text().contains("called with a Parameters resource"));
}

#[tokio::test]
async fn a_query_counts_beside_a_body_and_without_one() {
    let app = spawn_app().await;
    store(
        &app,
        [
            json!({"resourceType": "Patient", "id": "p"}),
            json!({"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}),
        ],
    )
    .await;
    let only_basic = ["Basic/b"];
    let empty = app.post("Patient/p/$everything?_type=Basic").answer().await.expect(200);
    assert_eq!(entries(&empty.json(), "match"), only_basic);
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Basic"}]});
    let body = app
        .post("Patient/p/$everything?_count=5")
        .fhir(&parameters)
        .answer()
        .await;
    let bundle = body.expect(200).json();
    assert_eq!(entries(&bundle, "match"), only_basic);
    // What came in the body is in the link, which is for a GET.
    let own = link(&bundle, "self").unwrap();
    assert_eq!(own, format!("{}/Patient/p/$everything?_count=5&_type=Basic", app.base));
    assert_eq!(entries(&get(&app, &own).await, "match"), only_basic);
}

#[tokio::test]
async fn an_operation_that_changes_something_is_no_get() {
    let app = spawn_app().await;
    store(&app, [json!({"resourceType": "Patient", "id": "p"})]).await;
    let answer = app.get("Patient/p/$meta-add").answer().await.expect(405);
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn the_capability_statement_lists_them() {
    let app = spawn_app().await;
    let statement = get(&app, "metadata").await;
    let rest = &statement["rest"][0];
    let names = |operations: &Value| -> Vec<String> {
        let operations = operations.as_array().unwrap();
        operations
            .iter()
            .map(|operation| operation["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(names(&rest["operation"]).contains(&"meta".to_owned()));
    let of_type = |name: &str| {
        let resources = rest["resource"].as_array().unwrap();
        names(&resources.iter().find(|resource| resource["type"] == name).unwrap()["operation"])
    };
    for name in ["Patient", "Encounter", "Practitioner"] {
        assert!(of_type(name).contains(&"everything".to_owned()), "{name}");
    }
    for operation in ["meta", "meta-add", "meta-delete", "validate"] {
        assert!(of_type("Basic").contains(&operation.to_owned()), "{operation}");
    }
    assert!(!of_type("Basic").contains(&"everything".to_owned()));
}
