//! Each interaction for types of all kinds.

use serde_json::{Value, json};

use super::{put, refused, specimens, type_of};
use crate::app::{Ask, spawn_app};

/// What a client sent, as far as the server must give it back: all but what it sets itself.
fn without_server_part(mut resource: Value) -> Value {
    let members = resource.as_object_mut().unwrap();
    members.remove("id");
    members.remove("meta");
    resource
}

#[tokio::test]
async fn a_resource_lives_from_create_to_delete() {
    let app = spawn_app().await;
    for specimen in specimens() {
        let name = type_of(&specimen);
        // create
        let created = app.post(name).fhir(&specimen).answer().await.expect(201);
        let resource = created.json();
        let id = resource["id"].as_str().unwrap().to_owned();
        let url = format!("{name}/{id}");
        assert_eq!(created.header("etag"), "W/\"1\"");
        assert_eq!(created.header("location"), format!("{}/{url}/_history/1", app.base));
        assert!(!created.header("last-modified").is_empty());
        assert_eq!(
            without_server_part(resource.clone()),
            specimen,
            "equal, and numbers digit for digit"
        );

        // read, vread
        let read = app.get(&url).answer().await.expect(200);
        assert_eq!(read.header("etag"), "W/\"1\"");
        assert_eq!(read.json(), resource);
        assert!(
            read.text()
                .starts_with(&format!(r#"{{"resourceType":"{name}","id":"{id}","meta":"#))
        );
        app.get(&format!("{url}/_history/1")).answer().await.expect(200);
        for version in ["2", "0", "-1", "01", "x", "99999999999"] {
            refused(app.get(&format!("{url}/_history/{version}")), 404, "not-found").await;
        }

        // update: the same again makes no version, something else does
        let unchanged = app.put(&url).fhir(&resource).answer().await.expect(200);
        assert_eq!(unchanged.header("etag"), "W/\"1\"");
        let mut changed = resource.clone();
        changed["language"] = json!("en");
        let updated = app.put(&url).fhir(&changed).answer().await.expect(200);
        assert_eq!(updated.header("etag"), "W/\"2\"");
        assert_eq!(updated.json()["meta"]["versionId"], "2");

        // history
        let history = app.get(&format!("{url}/_history")).answer().await.expect(200).json();
        assert_eq!((&history["type"], &history["total"]), (&json!("history"), &json!(2)));
        assert_eq!(history["entry"][0]["request"], json!({"method": "PUT", "url": url}));
        assert_eq!(history["entry"][1]["request"], json!({"method": "POST", "url": name}));
        assert_eq!(history["entry"][1]["response"]["etag"], "W/\"1\"");

        // delete
        app.delete(&url).answer().await.expect(204);
        app.delete(&url).answer().await.expect(204);
        refused(app.get(&url), 410, "deleted").await;
        refused(app.get(&format!("{url}/_history/3")), 410, "deleted").await;
        let history = app.get(&format!("{url}/_history")).answer().await.expect(200).json();
        assert_eq!(history["entry"][0]["request"]["method"], "DELETE");
        assert!(history["entry"][0].get("resource").is_none());

        // and back again
        assert_eq!(
            app.put(&url).fhir(&changed).answer().await.expect(201).header("etag"),
            "W/\"4\""
        );
    }
}

#[tokio::test]
async fn preferences_choose_the_body() {
    let app = spawn_app().await;
    let specimen = json!({"resourceType": "Basic", "code": {"text": "x"}});
    let create = |prefer: &str| {
        app.post("Basic")
            .fhir(&specimen)
            .header("prefer", prefer.to_owned())
            .answer()
    };
    let minimal = create("return=minimal").await.expect(201);
    assert!(minimal.bytes.is_empty() && !minimal.header("location").is_empty());
    assert_eq!(
        create("return=OperationOutcome").await.expect(201).json()["resourceType"],
        "OperationOutcome"
    );
    assert_eq!(
        create("return=representation").await.expect(201).json()["resourceType"],
        "Basic"
    );
    let deleted = app
        .delete("Basic/none")
        .header("prefer", "return=OperationOutcome")
        .answer()
        .await
        .expect(200);
    assert_eq!(deleted.json()["issue"][0]["severity"], "information");
}

#[tokio::test]
async fn a_stale_version_is_refused() {
    let app = spawn_app().await;
    let basic = |text: &str| json!({"resourceType": "Basic", "id": "b", "code": {"text": text}});
    put(&app, "b", basic("one")).await.expect(201);
    app.put("Basic/b")
        .fhir(&basic("two"))
        .header("if-match", "W/\"1\"")
        .answer()
        .await
        .expect(200);
    refused(
        app.put("Basic/b").fhir(&basic("three")).header("if-match", "W/\"1\""),
        412,
        "conflict",
    )
    .await;
    refused(
        app.put("Basic/b").fhir(&basic("three")).header("if-match", "nonsense"),
        412,
        "conflict",
    )
    .await;
    refused(app.delete("Basic/b").header("if-match", "W/\"1\""), 412, "conflict").await;
    refused(
        app.put("Basic/b").fhir(&basic("three")).header("if-none-match", "*"),
        412,
        "conflict",
    )
    .await;
    assert_eq!(
        app.get("Basic/b").answer().await.expect(200).json()["code"]["text"],
        "two"
    );
}

#[tokio::test]
async fn a_read_is_conditional() {
    let app = spawn_app().await;
    let put = put(&app, "b", json!({"resourceType": "Basic", "code": {"text": "x"}}))
        .await
        .expect(201);
    let modified = put.header("last-modified").to_owned();
    let read = |name: &'static str, value: &str| app.get("Basic/b").header(name, value.to_owned()).answer();
    let same = read("if-none-match", "W/\"1\"").await.expect(304);
    assert_eq!((same.header("etag"), same.bytes.len()), ("W/\"1\"", 0));
    read("if-none-match", "W/\"2\"").await.expect(200);
    read("if-modified-since", &modified).await.expect(304);
    read("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT")
        .await
        .expect(200);
}

#[tokio::test]
async fn criteria_stand_for_an_id() {
    let app = spawn_app().await;
    let patient = |family: &str| {
        let identifier = json!([{"system": "http://x", "value": "1"}]);
        json!({"resourceType": "Patient", "identifier": identifier, "name": [{"family": family}]})
    };
    let criteria = "identifier=http%3A%2F%2Fx%7C1";
    let url = format!("Patient?{criteria}");

    let create = || {
        app.post("Patient")
            .fhir(&patient("A"))
            .header("if-none-exist", criteria)
            .answer()
    };
    let first = create().await.expect(201).json();
    assert_eq!(create().await.expect(200).json()["id"], first["id"]);

    let updated = app.put(&url).fhir(&patient("B")).answer().await.expect(200).json();
    assert_eq!(
        (&updated["id"], &updated["name"][0]["family"]),
        (&first["id"], &json!("B"))
    );
    let patch = json!([{"op": "replace", "path": "/name/0/family", "value": "C"}]).to_string();
    let patched = app
        .patch(&url)
        .header("content-type", "application/json-patch+json")
        .body(patch.clone());
    assert_eq!(patched.answer().await.expect(200).json()["name"][0]["family"], "C");

    app.post("Patient").fhir(&patient("D")).answer().await.expect(201);
    let outcome = refused(app.put(&url).fhir(&patient("E")), 412, "multiple-matches").await;
    assert!(outcome["issue"][0]["diagnostics"].is_string());
    refused(app.delete(&url), 412, "multiple-matches").await;

    app.delete(&format!("Patient/{}", first["id"].as_str().unwrap()))
        .answer()
        .await
        .expect(204);
    app.delete(&url).answer().await.expect(204);
    app.delete(&url).answer().await.expect(204);
    let none = app
        .patch(&url)
        .header("content-type", "application/json-patch+json")
        .body(patch);
    assert_eq!(none.answer().await.status, 404);
    app.put(&url).fhir(&patient("F")).answer().await.expect(201);

    for request in [
        app.put("Patient").fhir(&patient("G")),
        app.delete("Patient"),
        app.delete("Patient?_format=json"),
    ] {
        refused(request, 400, "invalid").await;
    }
    refused(app.delete("Patient?unheard=of"), 400, "not-supported").await;
}

#[tokio::test]
async fn histories_have_levels_pages_and_times() {
    let app = spawn_app().await;
    for version in 0..5 {
        put(
            &app,
            "b",
            json!({"resourceType": "Basic", "code": {"text": version.to_string()}}),
        )
        .await;
        put(
            &app,
            "o",
            json!({"resourceType": "Organization", "name": version.to_string()}),
        )
        .await;
    }
    let entries = |bundle: &Value| bundle["entry"].as_array().map_or(0, Vec::len);
    let get = async |path: &str| app.get(path).answer().await.expect(200).json();
    assert_eq!(entries(&get("_history").await), 10);
    assert_eq!(entries(&get("Basic/_history").await), 5);
    assert_eq!(get("Basic/_history?_count=0").await["total"], 5);

    let mut seen = Vec::new();
    let mut next = Some("_history?_count=3".to_owned());
    while let Some(url) = next {
        let page = get(&url).await;
        for entry in page["entry"].as_array().unwrap() {
            seen.push((entry["fullUrl"].to_string(), entry["response"]["etag"].to_string()));
        }
        let links = page["link"].as_array().unwrap();
        next = links
            .iter()
            .find(|link| link["relation"] == "next")
            .map(|link| link["url"].as_str().unwrap().to_owned());
        // What is written while a client turns pages does not shift them.
        put(
            &app,
            "late",
            json!({"resourceType": "Basic", "code": {"text": seen.len().to_string()}}),
        )
        .await;
    }
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((seen.len(), distinct.len()), (10, 10), "{seen:?}");

    assert_eq!(entries(&get("Basic/b/_history?_since=2100-01-01T00:00:00Z").await), 0);
    assert_eq!(entries(&get("Basic/b/_history?_since=2000-01-01T00:00:00Z").await), 5);
    assert_eq!(entries(&get("Basic/b/_history?_at=2000").await), 0);
    assert_eq!(
        get("Basic/b/_history?_summary=true").await["entry"][0]["resource"]["meta"]["tag"][0]["code"],
        "SUBSETTED"
    );
    for query in ["_since=yesterday", "_at=x", "_count=-1", "_count=many", "_cursor=x"] {
        refused(app.get(&format!("Basic/b/_history?{query}")), 400, "value").await;
    }
    refused(app.get("Basic/never/_history"), 404, "not-found").await;
}

#[tokio::test]
async fn a_batch_and_a_transaction_run_over_http() {
    let app = spawn_app().await;
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:7f0c9c0e-0b1c-4c9e-9d3c-0a4f3f0a7b11", "resource": {"resourceType": "Patient"},
         "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                      "subject": {"reference": "urn:uuid:7f0c9c0e-0b1c-4c9e-9d3c-0a4f3f0a7b11"}},
         "request": {"method": "POST", "url": "Observation"}}]});
    let response = app.post("").fhir(&bundle).answer().await.expect(200).json();
    assert_eq!(response["type"], "transaction-response");
    let observation = response["entry"][1]["response"]["location"].as_str().unwrap();
    let observation = observation.split("/_history").next().unwrap().to_owned();
    let observation = app.get(&observation).answer().await.expect(200).json();
    let patient = observation["subject"]["reference"].as_str().unwrap();
    app.get(patient).answer().await.expect(200);

    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": patient}},
        {"request": {"method": "GET", "url": "Patient/none"}},
        {"request": {"method": "GET", "url": "Observation?code:text=nothing"}},
        {"request": {"method": "GET", "url": format!("{patient}/_history/1")}},
        {"request": {"method": "GET", "url": "metadata"}}]});
    let response = app.post("").fhir(&batch).answer().await.expect(200).json();
    let status = |index: usize| response["entry"][index]["response"]["status"].as_str().unwrap()[..3].to_owned();
    assert_eq!(
        [status(0), status(1), status(3), status(4)],
        ["200", "404", "200", "200"]
    );
    refused(app.post("").fhir(&json!({"resourceType": "Patient"})), 400, "invalid").await;
}

#[tokio::test]
async fn metadata_says_what_is_there() {
    let app = spawn_app().await;
    let statement = app.get("metadata").answer().await.expect(200).json();
    assert_eq!(
        (&statement["fhirVersion"], &statement["kind"]),
        (&json!("4.0.1"), &json!("instance"))
    );
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    assert_eq!(resources.len(), app.app.fhir.definitions.resource_types().count());
    let patient = resources.iter().find(|resource| resource["type"] == "Patient").unwrap();
    let parameters = patient["searchParam"].as_array().unwrap();
    // Every parameter that is claimed is known to a strict search.
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        let url = match name {
            "_id" | "_list" => format!("Patient?{name}=x&_count=0"),
            "_lastUpdated" => format!("Patient?{name}=2020&_count=0"),
            "_text" | "_content" => format!("Patient?{name}=word&_count=0"),
            "_filter" => format!("Patient?{name}=active+eq+true&_count=0"),
            "_has" => format!("Patient?{name}:Observation:patient:code=x&_count=0"),
            _ => format!("Patient?{name}:missing=false&_count=0"),
        };
        let answer = app.get(&url).header("prefer", "handling=strict").answer().await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    }
    assert!(
        patient["searchInclude"]
            .as_array()
            .unwrap()
            .contains(&json!("Patient:general-practitioner"))
    );
    assert!(
        patient["searchRevInclude"]
            .as_array()
            .unwrap()
            .contains(&json!("Observation:subject"))
    );
    // It is itself a valid CapabilityStatement.
    let report = app
        .post("CapabilityStatement/$validate")
        .fhir(&statement)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(report["issue"][0]["severity"], "information", "{report}");
}
