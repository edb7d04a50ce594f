//! `DocumentReference/$upload`: a file and what is said of it, in one request.

use medconsult::fhir::access::Role;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::hooks::OperationInput;
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::summary::Projection;
use serde_json::{Value, json};

use super::{PDF, base64, noise, person};
use crate::app::{Ask, TestApp, spawn_app, spawn_app_with};

const ADA: [(&str, &str); 2] = [("subject", "Patient/ada"), ("author", "Patient/ada")];

#[tokio::test]
async fn a_form_makes_a_document_and_its_file() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    let fields = [&ADA[..], &[("category", "lab-report"), ("related", "Appointment/7")]].concat();
    let answer = app.upload(&fields, "application/pdf", PDF).await.expect(201);
    let document = answer.json();
    let address = format!("DocumentReference/{}", document["id"].as_str().unwrap());
    assert!(
        answer.header("location").contains(&address),
        "{}",
        answer.header("location")
    );
    let url = document["content"][0]["attachment"]["url"].as_str().unwrap();
    assert_eq!(app.get(url).answer().await.expect(200).bytes, PDF);
    let file = app
        .get(&format!("{url}?_format=json"))
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(file["securityContext"]["reference"], address);
    assert_eq!(
        [
            &document["status"],
            &document["description"],
            &document["type"]["coding"][0]["code"],
            &document["category"][0]["coding"][0]["code"],
            &document["context"]["related"][0]["reference"],
            &document["content"][0]["attachment"]["size"],
        ],
        [
            &json!("current"),
            &json!("scan of today"),
            &json!("11502-2"),
            &json!("lab-report"),
            &json!("Appointment/7"),
            &json!(PDF.len())
        ]
    );
    // With another type, another title, in place of that one.
    let fields = [
        &ADA[..],
        &[
            ("category", "referral"),
            ("type", "11488-4"),
            ("title", "Letter"),
            ("replaces", &address),
        ],
    ]
    .concat();
    let second = app
        .upload(&fields, "text/plain", b"Dear colleague")
        .await
        .expect(201)
        .json();
    assert_eq!(
        [
            &second["type"]["coding"][0]["code"],
            &second["description"],
            &second["relatesTo"][0]["code"]
        ],
        [&json!("11488-4"), &json!("Letter"), &json!("replaces")]
    );
    assert_eq!(
        app.get(&address).answer().await.expect(200).json()["status"],
        "superseded"
    );
    // Parameters say the same.
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "category", "valueCode": "identity"},
        {"name": "subject", "valueReference": {"reference": "Patient/ada"}},
        {"name": "author", "valueReference": {"reference": "Patient/ada"}},
        {"name": "type", "valueCoding": {"system": "http://loinc.org", "code": "51851-4"}},
        {"name": "file", "resource": {"resourceType": "Binary", "contentType": "application/pdf", "data": base64(PDF)}}]});
    let third = app
        .post("DocumentReference/$upload")
        .fhir(&parameters)
        .answer()
        .await
        .expect(201)
        .json();
    let url = third["content"][0]["attachment"]["url"].as_str().unwrap();
    assert_eq!(app.get(url).answer().await.expect(200).bytes, PDF);
}

#[tokio::test]
async fn a_form_that_is_wrong_stores_nothing() {
    let app = spawn_app_with(|config| config.objects.max_bytes = 100_000).await;
    app.put_patient_called("ada").await;
    let with = |more: &[(&'static str, &'static str)]| [&ADA[..], more].concat();
    for (fields, status, said) in [
        (with(&[]), 400, "category"),
        (with(&[("category", "holiday")]), 400, "insurance"),
        (
            with(&[("category", "other"), ("colour", "red")]),
            400,
            "no parameter 'colour'",
        ),
        (with(&[("category", "other"), ("category", "other")]), 400, "once"),
        (vec![("category", "other"), ("author", "Patient/ada")], 400, "subject"),
        (vec![("category", "other"), ("subject", "Patient/ada")], 400, "author"),
        (
            with(&[("category", "other"), ("replaces", "DocumentReference/none")]),
            422,
            "replace",
        ),
    ] {
        let answer = app.upload(&fields, "application/pdf", PDF).await.expect(status);
        assert!(answer.text().contains(said), "{fields:?}: {}", answer.text());
    }
    let fields = with(&[("category", "other")]);
    let long = [b"%PDF-1.7\n".as_slice(), &noise(100_000)].concat();
    app.upload(&fields, "application/pdf", &long).await.expect(413);
    let huge = "x".repeat(5000);
    app.upload(&[("category", huge.as_str())], "application/pdf", PDF)
        .await
        .expect(413);
    let (header, body) = super::form(&fields, "application/pdf", PDF);
    let send = |header: &str, body: &[u8]| {
        app.post("DocumentReference/$upload")
            .header("content-type", header)
            .body(body.to_vec())
            .answer()
    };
    for cut in [10, body.len() / 2, body.len() - 20] {
        send(&header, &body[..cut]).await.expect(400);
    }
    send("multipart/form-data", &body).await.expect(400);
    send("text/plain", &body).await.expect(415);
    let without_file = String::from_utf8_lossy(&body).replace("name=\"file\"", "name=\"title\"");
    send(&header, without_file.as_bytes()).await.expect(400);
    app.get("DocumentReference/$upload").answer().await.expect(405);
    for name in ["Binary", "DocumentReference"] {
        let count = app
            .get(&format!("{name}?_summary=count"))
            .answer()
            .await
            .expect(200)
            .json();
        assert_eq!(count["total"], 0, "{name}");
    }
}

async fn upload(app: &TestApp, caller: &Caller, list: Value) -> Result<Value, u16> {
    let server = &app.app.fhir;
    let operation = server
        .hooks
        .operations
        .iter()
        .find(|operation| operation.definition()["code"] == "upload");
    let mut list = list;
    let file = json!({"name": "file",
        "resource": {"resourceType": "Binary", "contentType": "text/plain", "data": base64(b"hello")}});
    list.as_array_mut().unwrap().push(file);
    let input = OperationInput {
        resource_type: Some("DocumentReference"),
        id: None,
        version: None,
        parameters: Parameters::from_resource(json!({"resourceType": "Parameters", "parameter": list})).unwrap(),
        projection: Projection::Whole,
        preferences: Preferences::default(),
    };
    match operation.unwrap().call(server, caller, input).await {
        Ok(answer) => Ok(serde_json::from_str(&answer.body.unwrap()).unwrap()),
        Err(error) => Err(error.status.as_u16()),
    }
}

#[tokio::test]
async fn patients_upload_into_their_own_record_and_practitioners_into_those_of_their_patients() {
    let app = spawn_app_with(|config| config.fhir.profiles = true).await;
    app.app.worker().run_due().await.unwrap();
    for id in ["ada", "ben"] {
        app.put_patient_called(id).await;
    }
    let dora = json!({"resourceType": "Practitioner", "id": "dora"});
    app.put("Practitioner/dora").fhir(&dora).answer().await.expect(201);
    let mut connection = app.connection().await;
    let ada = person(&mut connection, Role::Patient, "Patient/ada").await;
    let dora = person(&mut connection, Role::Practitioner, "Practitioner/dora").await;
    let sql = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
         SELECT h.rid, p.rid, 1, now() - interval '1 hour', 'infinity' \
         FROM resource h, resource p WHERE h.id = 'dora' AND p.id = 'ada'";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    let category = json!({"name": "category", "valueCode": "insurance"});
    let about = |id: &str| json!({"name": "subject", "valueReference": {"reference": format!("Patient/{id}")}});
    let by = |who: &str| json!({"name": "author", "valueReference": {"reference": who}});

    let own = upload(&app, &ada, json!([category])).await.unwrap();
    assert_eq!(
        (&own["subject"]["reference"], &own["author"][0]["reference"]),
        (&json!("Patient/ada"), &json!("Patient/ada"))
    );
    assert_eq!(upload(&app, &ada, json!([category, about("ben")])).await, Err(403));
    assert_eq!(
        upload(&app, &ada, json!([category, by("Practitioner/dora")])).await,
        Err(403)
    );

    let letter = upload(&app, &dora, json!([category, about("ada")])).await.unwrap();
    assert_eq!(letter["author"][0]["reference"], "Practitioner/dora");
    assert_eq!(upload(&app, &dora, json!([category, about("ben")])).await, Err(403));
    assert_eq!(upload(&app, &dora, json!([category])).await, Err(400));
    // A letter of somebody else that came by post.
    let scanned = upload(&app, &dora, json!([category, about("ada"), by("Organization/lab")]))
        .await
        .unwrap();
    assert_eq!(scanned["author"][0]["reference"], "Organization/lab");
}

#[tokio::test]
async fn the_server_says_that_it_takes_uploads() {
    let app = spawn_app().await;
    let statement = app.get("metadata").answer().await.expect(200).json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    for (resource_type, name) in [("DocumentReference", "upload"), ("Binary", "presigned-url")] {
        let resource = resources
            .iter()
            .find(|resource| resource["type"] == resource_type)
            .unwrap();
        let operations = resource["operation"].as_array().unwrap();
        assert!(operations.iter().any(|operation| operation["name"] == name), "{name}");
    }
}
