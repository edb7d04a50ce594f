//! What holds for documents, whichever way they are written.

use medconsult::fhir::access::Role;
use medconsult::fhir::bundle;
use medconsult::fhir::preferences::Preferences;
use serde_json::{Value, json};

use super::{PDF, base64, contains, document, document_bundle, made_by, person};
use crate::app::{Ask, TestApp, spawn_app, spawn_app_with};

async fn store(app: &TestApp, bundle: &Value) -> (String, String) {
    made_by(&app.post("").fhir(bundle).answer().await.expect(200).json())
}

async fn refusal(app: &TestApp, bundle: &Value, status: u16) -> String {
    app.post("").fhir(bundle).answer().await.expect(status).text()
}

#[tokio::test]
async fn the_server_says_how_long_a_file_is_and_what_its_hash_is() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    let mut bundle = document_bundle("Patient/ada", "application/pdf", PDF);
    let attachment = &mut bundle["entry"][0]["resource"]["content"][0]["attachment"];
    attachment["size"] = json!(1);
    attachment["hash"] = json!("AAAA");
    let (document, binary) = store(&app, &bundle).await;
    let stored = app.get(&document).answer().await.expect(200).json();
    let attachment = &stored["content"][0]["attachment"];
    // openssl dgst -sha1 -binary | base64
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, PDF);
    assert_eq!(
        *attachment,
        json!({"url": binary, "contentType": "application/pdf", "size": PDF.len(), "hash": base64(hash.as_ref())})
    );
    assert_eq!(app.get(&binary).answer().await.expect(200).bytes, PDF);
    // The same of a Binary that was there before.
    let mut later = stored.clone();
    later["content"][0]["attachment"] = json!({"url": binary, "title": "Results"});
    let later = app.put(&document).fhir(&later).answer().await.expect(200).json();
    assert_eq!(later["content"][0]["attachment"]["hash"], attachment["hash"]);
}

#[tokio::test]
async fn a_file_is_what_its_type_says_and_of_a_type_that_is_taken() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    let html: &[u8] = b"<html><script>alert(1)</script></html>";
    let svg: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    for (content_type, file) in [
        ("text/html", html),
        ("image/svg+xml", svg),
        ("application/pdf", html),
        ("image/png", PDF),
        ("text/plain", html),
        ("text/plain", b"\x7FELF\x02\x01\x01"),
        ("application/x-msdownload", b"MZ\x90\0"),
        ("application/pdf", b"MZ\x90\0"),
        ("application/xml", svg),
        ("image/png", b"\x89PNG\r\n\x1a\n and then nothing"),
    ] {
        let said = refusal(&app, &document_bundle("Patient/ada", content_type, file), 422).await;
        assert!(said.contains("Bundle.entry[1].resource."), "{content_type}: {said}");
        let (header, body) = super::form(&[("category", "other"), ("subject", "Patient/ada")], content_type, file);
        let by_form = app
            .post("DocumentReference/$upload")
            .header("content-type", header)
            .body(body);
        by_form.answer().await.expect(422);
        // As bytes, for a document that comes after.
        let raw = app.post("Binary").header("content-type", content_type);
        let raw = raw
            .header("x-security-context", "DocumentReference/later")
            .body(file.to_vec());
        raw.answer().await.expect(422);
    }
    assert_eq!(
        app.get("Binary?_summary=count").answer().await.expect(200).json()["total"],
        0
    );
    // A Binary that is no document may be anything.
    app.send("text/html", Some("Patient/ada"), html).await;

    let narrow = spawn_app_with(|config| config.documents.types = vec!["text/plain".to_owned()]).await;
    narrow.put_patient_called("ada").await;
    let said = refusal(&narrow, &document_bundle("Patient/ada", "application/pdf", PDF), 422).await;
    assert!(said.contains("taken are text/plain"), "{said}");
    store(&narrow, &document_bundle("Patient/ada", "text/plain", b"hello")).await;
}

/// A JPEG of 8 by 8 grey pixels with everything that a telephone adds.
fn photograph() -> Vec<u8> {
    let mut file = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
    file.extend_from_slice(b"\xFF\xE1\0\x1FExif\0\0GPS 52.5163 N 13.3777 E");
    file.extend_from_slice(b"\xFF\xFE\0\x10taken by Ada L");
    file.extend_from_slice(b"\xFF\xDB\0\x43\0");
    file.extend_from_slice(&[1; 64]);
    file.extend_from_slice(b"\xFF\xC0\0\x0B\x08\0\x08\0\x08\x01\x01\x11\0");
    file.extend_from_slice(b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0pixels\xFF\xD9");
    file
}

#[tokio::test]
async fn pictures_lose_what_they_tell_and_nothing_that_they_show() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    let photo = photograph();
    let (document, binary) = store(&app, &document_bundle("Patient/ada", "image/jpeg", &photo)).await;
    let kept = app.get(&binary).answer().await.expect(200).bytes;
    assert!(!contains(&kept, b"GPS") && !contains(&kept, b"Ada"), "{kept:?}");
    let shows = &photo[photo.windows(2).position(|pair| pair == b"\xFF\xDB").unwrap()..];
    assert!(
        kept.ends_with(shows),
        "tables, frame and scan are byte for byte what they were"
    );
    // Size and hash are those of what is kept.
    let stored = app.get(&document).answer().await.expect(200).json();
    assert_eq!(stored["content"][0]["attachment"]["size"], kept.len());
    // As bytes, and by a form, too.
    let form = app
        .upload(
            &[
                ("category", "imaging"),
                ("subject", "Patient/ada"),
                ("author", "Patient/ada"),
            ],
            "image/jpeg",
            &photo,
        )
        .await
        .expect(201)
        .json();
    let url = form["content"][0]["attachment"]["url"].as_str().unwrap();
    assert_eq!(app.get(url).answer().await.expect(200).bytes, kept);
    let raw = app.send("image/jpeg", Some("DocumentReference/x"), photo.clone()).await;
    assert_eq!(app.get(&raw).answer().await.expect(200).bytes, kept);
    // A picture that is no document stays as it is.
    let other = app.send("image/jpeg", Some("Patient/ada"), photo.clone()).await;
    assert_eq!(app.get(&other).answer().await.expect(200).bytes, photo);
}

#[tokio::test]
async fn document_and_file_belong_to_each_other() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    let (own, binary) = store(&app, &document_bundle("Patient/ada", "application/pdf", PDF)).await;
    // Somebody else's file, one that is no document's, one that is not there, one elsewhere, none.
    let plain = app.send("application/pdf", Some("Patient/ada"), PDF).await;
    for url in [
        binary.as_str(),
        &plain,
        "Binary/none",
        "https://other.example/fhir/Binary/1",
        "Patient/ada",
    ] {
        let refused = app
            .post("DocumentReference")
            .fhir(&document("Patient/ada", url))
            .answer()
            .await
            .expect(422);
        assert!(
            refused.text().contains("DocumentReference"),
            "{url}: {}",
            refused.text()
        );
    }
    let mut wrong_type = app.get(&own).answer().await.expect(200).json();
    wrong_type["content"][0]["attachment"]["contentType"] = json!("image/png");
    app.put(&own).fhir(&wrong_type).answer().await.expect(422);
    // The file stays what it is: another one is another document.
    let file = app
        .get(&format!("{binary}?_format=json"))
        .answer()
        .await
        .expect(200)
        .json();
    let changed = |member: &str, value: Value| {
        let mut file = file.clone();
        file[member] = value;
        app.put(&binary).fhir(&file).answer()
    };
    changed("data", json!(base64(b"%PDF-1.7\n%\xE2\xE3 other")))
        .await
        .expect(409);
    // Not as another type either, which it is not.
    changed("contentType", json!("text/plain")).await.expect(422);
    changed("securityContext", json!({"reference": "Patient/ada"}))
        .await
        .expect(409);
    changed("language", json!("en")).await.expect(200);
    // A file that did not pass as that of a document does not become one.
    let patch = json!([{"op": "replace", "path": "/securityContext/reference", "value": own}]);
    let patched = app
        .patch(&plain)
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string());
    patched.answer().await.expect(409);
    // What the profile asks for is asked for.
    let mut incomplete = document_bundle("Patient/ada", "application/pdf", PDF);
    incomplete["entry"][0]["resource"]
        .as_object_mut()
        .unwrap()
        .shift_remove("category");
    refusal(&app, &incomplete, 422).await;
    let mut inline = document("Patient/ada", &binary);
    inline["content"][0]["attachment"] = json!({"contentType": "text/plain", "data": "aGk="});
    app.post("DocumentReference").fhir(&inline).answer().await.expect(422);
    // A document that was never ours is none of our business.
    let mut other = document("Patient/ada", "https://other.example/files/1");
    other.as_object_mut().unwrap().shift_remove("meta");
    app.post("DocumentReference").fhir(&other).answer().await.expect(201);
}

#[tokio::test]
async fn a_document_that_replaces_another_supersedes_it() {
    let app = spawn_app().await;
    app.put_patient_called("ada").await;
    app.put_patient_called("ben").await;
    let (old, file) = store(&app, &document_bundle("Patient/ada", "text/plain", b"old")).await;
    let replacing = |subject: &str, target: &str| {
        let mut bundle = document_bundle(subject, "text/plain", b"new");
        bundle["entry"][0]["resource"]["relatesTo"] = json!([{"code": "replaces", "target": {"reference": target}}]);
        bundle
    };
    // Not one of somebody else, nor one that is not there: nothing of it is stored.
    refusal(&app, &replacing("Patient/ben", &old), 422).await;
    refusal(&app, &replacing("Patient/ada", "DocumentReference/none"), 422).await;
    assert_eq!(app.get(&old).answer().await.expect(200).json()["status"], "current");
    let (new, _) = store(&app, &replacing("Patient/ada", &old)).await;
    let superseded = app.get(&old).answer().await.expect(200).json();
    assert_eq!(
        (&superseded["status"], &superseded["meta"]["versionId"]),
        (&json!("superseded"), &json!("2"))
    );
    assert_eq!(app.get(&new).answer().await.expect(200).json()["status"], "current");
    // What was replaced is there, to be read; it is replaced once.
    assert_eq!(app.get(&file).answer().await.expect(200).text(), "old");
    refusal(&app, &replacing("Patient/ada", &old), 409).await;
    // Writing the new one again is no second replacement.
    let mut again = app.get(&new).answer().await.expect(200).json();
    again["description"] = json!("Results");
    app.put(&new).fhir(&again).answer().await.expect(200);
    let current = app
        .get("DocumentReference?status=current")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(current["total"], 1);
}

#[tokio::test]
async fn patients_replace_documents_of_their_own_only() {
    let app = spawn_app_with(|config| config.fhir.profiles = true).await;
    app.app.worker().run_due().await.unwrap();
    app.put_patient_called("ada").await;
    let dora = json!({"resourceType": "Practitioner", "id": "dora"});
    app.put("Practitioner/dora").fhir(&dora).answer().await.expect(201);
    let mut connection = app.connection().await;
    let ada = person(&mut connection, Role::Patient, "Patient/ada").await;
    let server = &app.app.fhir;
    let send = |bundle: Value| {
        let ada = ada.clone();
        async move {
            let text = bundle::process(server, &ada, bundle, &Preferences::default()).await;
            text.map(|text| made_by(&serde_json::from_str(&text).unwrap()))
        }
    };
    // Her own: stored, and its file is hers to read.
    let (own, file) = send(document_bundle("Patient/ada", "text/plain", b"mine"))
        .await
        .unwrap();
    let read = server
        .read(&ada, "Binary", file.trim_start_matches("Binary/"))
        .await
        .unwrap()
        .unwrap();
    assert!(read.json.contains(&base64(b"mine")));
    let replacing = |target: &str| {
        let mut bundle = document_bundle("Patient/ada", "text/plain", b"new");
        bundle["entry"][0]["resource"]["relatesTo"] = json!([{"code": "replaces", "target": {"reference": target}}]);
        bundle
    };
    send(replacing(&own)).await.unwrap();
    // One that the practitioner wrote stays.
    let mut by_dora = document_bundle("Patient/ada", "text/plain", b"letter");
    by_dora["entry"][0]["resource"]["author"] = json!([{"reference": "Practitioner/dora"}]);
    let (letter, _) = store(&app, &by_dora).await;
    let error = send(replacing(&letter)).await.unwrap_err();
    assert_eq!(error.status, 403, "{}", error.to_json());
    assert_eq!(app.get(&letter).answer().await.expect(200).json()["status"], "current");
    // Nobody puts files into another's record.
    app.put_patient_called("ben").await;
    let error = send(document_bundle("Patient/ben", "text/plain", b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.status, 403, "{}", error.to_json());
}
