//! Content goes apart from its Binary and comes back by every way of reading.

use medconsult::fhir::content::INLINE;
use serde_json::{Value, json};

use super::{base64, noise, object_of};
use crate::app::{Ask, TestApp, spawn_app};

fn binary(id: &str, bytes: &[u8]) -> Value {
    json!({"resourceType": "Binary", "id": id, "contentType": "application/octet-stream",
        "securityContext": {"reference": "Patient/p"}, "data": base64(bytes)})
}

/// What the database holds of all versions.
async fn stored(app: &TestApp) -> String {
    let sql = "SELECT string_agg(content::text, '|') FROM \
         (SELECT content FROM resource UNION ALL SELECT content FROM resource_history) all_versions";
    sqlx::query_scalar::<_, Option<String>>(sql)
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
        .unwrap_or_default()
}

fn data_of(resource: &Value) -> &str {
    resource["data"].as_str().unwrap_or_else(|| panic!("{resource}"))
}

#[tokio::test]
async fn whichever_way_content_is_written_and_read_it_is_the_same() {
    let app = spawn_app().await;
    let (one, two, three) = (noise(100), noise(70_000), noise(200_001));
    // Bytes, JSON, a transaction.
    let sent = app.send("application/octet-stream", None, one.clone()).await;
    app.put("Binary/two")
        .fhir(&binary("two", &two))
        .answer()
        .await
        .expect(201);
    let entry = json!({"resource": binary("x", &three), "request": {"method": "PUT", "url": "Binary/x"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]});
    app.post("").fhir(&bundle).answer().await.expect(200);

    let kept = stored(&app).await;
    for (address, bytes) in [(sent.as_str(), &one), ("Binary/two", &two), ("Binary/x", &three)] {
        let text = base64(bytes);
        assert!(!kept.contains(&text[..60]), "{address} is in the database");
        assert_eq!(app.get(address).answer().await.expect(200).bytes, *bytes);
        assert_eq!(
            app.get(&format!("{address}/_history/1"))
                .answer()
                .await
                .expect(200)
                .bytes,
            *bytes
        );
        let json = "application/fhir+json";
        for path in [address.to_owned(), format!("{address}/_history/1")] {
            let read = app.get(&path).header("accept", json).answer().await.expect(200).json();
            assert_eq!(data_of(&read), text, "{path}");
        }
        let id = address.trim_start_matches("Binary/");
        for path in [
            format!("Binary?_id={id}"),
            format!("{address}/_history"),
            "Binary/_history?_count=50".to_owned(),
        ] {
            let bundle = app.get(&path).answer().await.expect(200).json();
            let entries = bundle["entry"].as_array().unwrap();
            let found = entries.iter().find(|entry| entry["resource"]["id"] == id).unwrap();
            assert_eq!(data_of(&found["resource"]), text, "{path}");
        }
        let get = json!({"resourceType": "Bundle", "type": "batch",
            "entry": [{"request": {"method": "GET", "url": address}}]});
        let answer = app.post("").fhir(&get).answer().await.expect(200).json();
        assert_eq!(data_of(&answer["entry"][0]["resource"]), text);
    }
    // What was written is answered.
    let created = app
        .post("Binary")
        .fhir(&binary("new", &two))
        .answer()
        .await
        .expect(201)
        .json();
    assert_eq!(data_of(&created), base64(&two));
    // Parts of a resource leave it out as they always did.
    let summary = app
        .get("Binary/two?_summary=true&_format=json")
        .answer()
        .await
        .expect(200)
        .json();
    assert!(summary.get("data").is_none() && summary["contentType"].is_string());
    let element = app
        .get("Binary/two?_elements=data&_format=json")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(data_of(&element), base64(&two));
    let validated = app.get("Binary/two/$validate").answer().await.expect(200).json();
    assert!(!validated.to_string().contains("\"error\""), "{validated}");
}

#[tokio::test]
async fn versions_have_the_content_they_had() {
    let app = spawn_app().await;
    let (old, new) = (noise(500), noise(900));
    app.put("Binary/b").fhir(&binary("b", &old)).answer().await.expect(201);
    // The same again is no version, whichever way it comes.
    for _ in 0..2 {
        let again = app.put("Binary/b").fhir(&binary("b", &old)).answer().await.expect(200);
        assert_eq!(again.header("etag"), "W/\"1\"");
    }
    let raw = app
        .put("Binary/b")
        .header("content-type", "application/octet-stream")
        .header("x-security-context", "Patient/p");
    assert_eq!(
        raw.body(old.clone()).answer().await.expect(200).header("etag"),
        "W/\"1\""
    );
    app.put("Binary/b").fhir(&binary("b", &new)).answer().await.expect(200);
    app.delete("Binary/b").answer().await.expect(204);
    app.get("Binary/b").answer().await.expect(410);
    assert_eq!(app.get("Binary/b/_history/1").answer().await.expect(200).bytes, old);
    assert_eq!(app.get("Binary/b/_history/2").answer().await.expect(200).bytes, new);
    // Labels change where they stand, and content stays.
    let label = json!({"resourceType": "Parameters", "parameter": [
        {"name": "meta", "valueMeta": {"tag": [{"system": "http://tags.example", "code": "x"}]}}]});
    app.put("Binary/c").fhir(&binary("c", &old)).answer().await.expect(201);
    app.post("Binary/c/$meta-add").fhir(&label).answer().await.expect(200);
    app.post("Binary/b/_history/1/$meta-add")
        .fhir(&label)
        .answer()
        .await
        .expect(200);
    assert_eq!(app.get("Binary/c").answer().await.expect(200).bytes, old);
    assert_eq!(app.get("Binary/b/_history/1").answer().await.expect(200).bytes, old);
}

#[tokio::test]
async fn patches_meet_content_as_any_other_element() {
    let app = spawn_app().await;
    let (old, new) = (noise(500), noise(900));
    app.put("Binary/b").fhir(&binary("b", &old)).answer().await.expect(201);
    let patch = |operations: Value| {
        app.patch("Binary/b")
            .header("content-type", "application/json-patch+json")
            .body(operations.to_string())
            .answer()
    };
    // Something else is changed; the content is tested; it is replaced.
    let answer = patch(json!([{"op": "replace", "path": "/contentType", "value": "text/x-first"}])).await;
    assert_eq!(data_of(&answer.expect(200).json()), base64(&old));
    let object = object_of(&app.app.fhir, "Binary/b").await;
    patch(json!([{"op": "test", "path": "/data", "value": base64(&old)},
        {"op": "replace", "path": "/contentType", "value": "text/x-second"}]))
    .await
    .expect(200);
    assert_eq!(object_of(&app.app.fhir, "Binary/b").await, object);
    patch(json!([{"op": "test", "path": "/data", "value": base64(&new)}]))
        .await
        .expect(422);
    patch(json!([{"op": "replace", "path": "/data", "value": base64(&new)}]))
        .await
        .expect(200);
    assert_eq!(app.get("Binary/b").answer().await.expect(200).bytes, new);
    assert!(!super::contains(
        stored(&app).await.as_bytes(),
        &base64(&new).as_bytes()[..60]
    ));
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Binary.data"},
        {"name": "value", "valueBase64Binary": base64(&old)}]}]});
    app.patch("Binary/b").fhir(&parameters).answer().await.expect(200);
    assert_eq!(app.get("Binary/b").answer().await.expect(200).bytes, old);
    patch(json!([{"op": "remove", "path": "/data"}])).await.expect(200);
    assert_eq!(app.get("Binary/b").answer().await.expect(200).bytes, b"".as_slice());
}

#[tokio::test]
async fn nobody_reaches_an_object_by_its_name() {
    let app = spawn_app().await;
    app.put("Binary/mine")
        .fhir(&binary("mine", &noise(500)))
        .answer()
        .await
        .expect(201);
    let mark = format!("object:{}", object_of(&app.app.fhir, "Binary/mine").await);
    let mut forged = binary("forged", b"");
    forged["data"] = json!(mark);
    app.put("Binary/forged").fhir(&forged).answer().await.expect(422);
    app.put("Binary/other")
        .fhir(&binary("other", &noise(10)))
        .answer()
        .await
        .expect(201);
    let patch = json!([{"op": "replace", "path": "/data", "value": mark}]);
    let patched = app
        .patch("Binary/other")
        .header("content-type", "application/json-patch+json");
    patched.body(patch.to_string()).answer().await.expect(422);
    assert_eq!(app.get("Binary/other").answer().await.expect(200).bytes, noise(10));
    // Nor is it told.
    for path in [
        "Binary/mine?_format=json",
        "Binary?_id=mine",
        "Binary/mine/_history",
        "_history",
    ] {
        assert!(
            !app.get(path).answer().await.expect(200).text().contains("object:"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn parts_are_read_alone() {
    let app = spawn_app().await;
    let bytes = noise(200_001);
    let address = app.send("video/mp4", None, bytes.clone()).await;
    let part = |range: &str| app.get(&address).header("range", range.to_owned());
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=131072-", 131_072..200_001),
        ("bytes=-1", 200_000..200_001),
        ("bytes=70000-900000", 70_000..200_001),
    ] {
        let answer = part(range).answer().await.expect(206);
        assert_eq!(answer.bytes, bytes[expected.clone()], "{range}");
        let said = format!("bytes {}-{}/200001", expected.start, expected.end - 1);
        assert_eq!(answer.header("content-range"), said);
        assert_eq!(answer.header("content-length"), expected.len().to_string());
    }
    let beyond = part("bytes=200001-").answer().await.expect(416);
    assert_eq!(beyond.header("content-range"), "bytes */200001");
    assert_eq!(beyond.json()["resourceType"], "OperationOutcome");
    assert_eq!(part("bytes=0-1,5-6").answer().await.expect(200).bytes, bytes);
    // Of the version that the client has begun to read, or the whole of the new one.
    let same = part("bytes=5-6")
        .header("if-range", "W/\"1\"")
        .answer()
        .await
        .expect(206);
    assert_eq!(same.bytes, bytes[5..7]);
    let other = part("bytes=5-6")
        .header("if-range", "W/\"9\"")
        .answer()
        .await
        .expect(200);
    assert_eq!(other.bytes, bytes);

    let whole = app
        .get(&address)
        .header("accept-encoding", "gzip")
        .answer()
        .await
        .expect(200);
    let is_plain = whole.header("accept-ranges") == "bytes" && whole.header("content-encoding").is_empty();
    assert!(is_plain, "{:?}", whole.headers);
    let head = app.request(reqwest::Method::HEAD, &address).answer().await.expect(200);
    assert_eq!((head.header("content-length"), head.bytes.len()), ("200001", 0));
    // An object without bytes, and of whole chunks.
    for length in [0, 65_536, 131_072] {
        let address = app
            .send("video/mp4", None, reqwest::Body::wrap_stream(once(noise(length))))
            .await;
        assert_eq!(app.get(&address).answer().await.expect(200).bytes, noise(length));
    }
}

/// A body whose length is not told beforehand.
fn once(bytes: Vec<u8>) -> impl futures::Stream<Item = Result<Vec<u8>, std::io::Error>> {
    futures::stream::iter([Ok(bytes)])
}

#[tokio::test]
async fn browsers_run_nothing_of_what_they_are_given() {
    let app = spawn_app().await;
    for (content_type, disposition) in [
        ("text/html", "attachment; filename=\"{}.bin\""),
        ("image/svg+xml", "attachment; filename=\"{}.bin\""),
        ("application/pdf", "inline; filename=\"{}.pdf\""),
    ] {
        let address = app.send(content_type, None, "<script>alert(1)</script>").await;
        let answer = app.get(&address).answer().await.expect(200);
        let id = address.trim_start_matches("Binary/");
        assert_eq!(answer.header("content-disposition"), disposition.replace("{}", id));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("sandbox"));
    }
}

#[tokio::test]
async fn a_bundle_holds_content_within_bounds_only() {
    let app = spawn_app().await;
    let length = usize::try_from(INLINE).unwrap() - 5;
    let large = app.send("video/mp4", None, noise(length)).await;
    let small = app.send("video/mp4", None, noise(10)).await;
    let bundle = app.get("Binary?_sort=_lastUpdated").answer().await.expect(200).json();
    let entry = |address: &str| {
        let id = address.trim_start_matches("Binary/");
        let entries = bundle["entry"].as_array().unwrap();
        entries.iter().find(|entry| entry["resource"]["id"] == id).unwrap()["resource"].clone()
    };
    assert_eq!(data_of(&entry(&large)).len(), length.div_ceil(3) * 4);
    let cut = entry(&small);
    assert!(
        cut.get("data").is_none() && cut["meta"]["tag"][0]["code"] == "SUBSETTED",
        "{cut}"
    );
    assert_eq!(app.get(&small).answer().await.expect(200).bytes, noise(10));
    // Alone, one of any length comes whole in JSON too.
    let larger = noise(length + 6);
    let address = app.send("video/mp4", None, larger.clone()).await;
    let read = app
        .get(&format!("{address}?_format=json"))
        .header("accept-encoding", "identity");
    let read = read.answer().await.expect(200);
    assert_eq!(read.header("content-length"), read.bytes.len().to_string());
    assert_eq!(data_of(&read.json()), base64(&larger));
}

#[tokio::test]
async fn content_has_its_own_limit() {
    let app = crate::app::spawn_app_with(|config| {
        config.http.max_body_bytes = 1000;
        config.objects.max_bytes = 5000;
    })
    .await;
    let address = app.send("video/mp4", None, noise(5000)).await;
    assert_eq!(app.get(&address).answer().await.expect(200).bytes, noise(5000));
    let send = |body: reqwest::Body| {
        app.post("Binary")
            .header("content-type", "video/mp4")
            .body(body)
            .answer()
    };
    send(noise(5001).into()).await.expect(413);
    send(reqwest::Body::wrap_stream(once(noise(5001)))).await.expect(413);
    app.put("Binary/b")
        .fhir(&binary("b", &noise(800)))
        .answer()
        .await
        .expect(413);
}
