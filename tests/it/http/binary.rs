//! Binary as bytes (<https://hl7.org/fhir/R4/binary.html#rest>).

use serde_json::json;

use crate::app::{Ask, spawn_app};

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let app = spawn_app().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let request = app
        .post("Binary")
        .header("content-type", "image/png")
        .header("x-security-context", "Patient/p");
    let created = request.body(bytes.clone()).answer().await.expect(201).json();
    assert_eq!(
        (&created["contentType"], &created["securityContext"]["reference"]),
        (&json!("image/png"), &json!("Patient/p"))
    );
    let url = format!("Binary/{}", created["id"].as_str().unwrap());

    for accept in ["*/*", "image/*", "application/pdf"] {
        let read = app.get(&url).header("accept", accept).answer().await.expect(200);
        assert_eq!(
            (read.header("content-type"), read.header("etag")),
            ("image/png", "W/\"1\""),
            "{accept}"
        );
        assert_eq!(read.bytes, bytes);
        assert!(read.header("content-security-policy").contains("sandbox"));
        assert_eq!(read.header("x-content-type-options"), "nosniff");
    }
    let resource = app
        .get(&url)
        .header("accept", "application/fhir+json")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(resource, created);
    assert_eq!(
        app.get(&format!("{url}?_format=json"))
            .answer()
            .await
            .expect(200)
            .json(),
        created
    );

    let updated = app
        .put(&url)
        .header("content-type", "text/plain")
        .body("new")
        .answer()
        .await
        .expect(200);
    assert_eq!(updated.header("etag"), "W/\"2\"");
    assert_eq!(app.get(&url).answer().await.expect(200).text(), "new");
    assert_eq!(
        app.get(&format!("{url}/_history/1")).answer().await.expect(200).bytes,
        bytes
    );
    app.get(&url)
        .header("if-none-match", "W/\"2\"")
        .answer()
        .await
        .expect(304);
}
