//! `Binary/[id]/$presigned-url`: an address that opens by itself, once, for minutes.

use jiff::SignedDuration;
use medconsult::fhir::access::Role;
use medconsult::fhir::hooks::OperationInput;
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::summary::Projection;
use serde_json::Value;

use super::{noise, person};
use crate::app::{Ask, TestApp, spawn_app, spawn_app_with};

/// Path of a fresh address, and until when it works.
async fn sign(app: &TestApp, binary: &str) -> (String, jiff::Timestamp) {
    let answer = app
        .post(&format!("{binary}/$presigned-url"))
        .answer()
        .await
        .expect(200)
        .json();
    let value = |n: usize, name: &str| answer["parameter"][n][name].as_str().unwrap().to_owned();
    let url = value(0, "valueUri");
    let path = url.strip_prefix(&app.address).unwrap_or_else(|| panic!("{url}"));
    (path.to_owned(), value(1, "valueInstant").parse().unwrap())
}

#[tokio::test]
async fn an_address_opens_one_version_once() {
    let app = spawn_app().await;
    let bytes = noise(100_000);
    let binary = app.send("video/mp4", Some("Patient/p"), bytes.clone()).await;
    let (path, expires) = sign(&app, &binary).await;
    let left = expires.duration_since(app.app.clock.now());
    assert!(
        left > SignedDuration::from_mins(4) && left <= SignedDuration::from_mins(5),
        "{left}"
    );
    // The Binary goes on; the address is of the version that there was.
    let changed = app.put(&binary).header("content-type", "video/mp4").body("new");
    changed.answer().await.expect(200);
    let head = app.request(reqwest::Method::HEAD, &path).answer().await.expect(200);
    assert_eq!(head.header("content-length"), "100000");
    let read = app.get(&path).answer().await.expect(200);
    assert_eq!(read.bytes, bytes);
    assert_eq!(
        (read.header("cache-control"), read.header("content-type")),
        ("no-store", "video/mp4")
    );
    assert!(read.header("content-security-policy").contains("sandbox"));
    app.get(&path).answer().await.expect(404);
    // Whoever read on from there reads on.
    let rest = app
        .get(&path)
        .header("range", "bytes=99990-")
        .answer()
        .await
        .expect(206);
    assert_eq!(rest.bytes, bytes[99_990..]);
    // Nothing else is opened by it, nor by one like it.
    let guess = format!("{}A", &path[..path.len() - 1]);
    for other in [
        format!("{path}/x"),
        format!("{path}x"),
        guess,
        "/documents/x".to_owned(),
        "/documents/".to_owned(),
    ] {
        if other != path {
            app.get(&other).answer().await.expect(404);
        }
    }
    app.post(&path).answer().await.expect(405);
    assert!(!path.contains(binary.trim_start_matches("Binary/")));
    // The database does not hold what opens it.
    let token = path.rsplit('/').next().unwrap();
    let rows: Vec<String> = sqlx::query_scalar("SELECT row_to_json(p)::text FROM presigned_url p")
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
    assert!(rows.len() == 1 && !rows[0].contains(token));
}

#[tokio::test]
async fn the_first_reader_is_the_only_one() {
    let app = spawn_app_with(|config| config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
    let binary = app.send("video/mp4", None, noise(10)).await;
    let (path, _) = sign(&app, &binary).await;
    let read = |from: &str, range: &str| {
        let request = app.get(&path).header("x-forwarded-for", from.to_owned());
        request.header("range", range.to_owned()).answer()
    };
    read("198.51.100.1", "bytes=0-4").await.expect(206);
    read("198.51.100.2", "bytes=5-9").await.expect(404);
    read("198.51.100.1", "bytes=5-9").await.expect(206);
}

#[tokio::test]
async fn an_address_is_over_after_its_time() {
    let app = spawn_app_with(|config| config.documents.presigned_seconds = 1).await;
    let binary = app.send("video/mp4", None, noise(10)).await;
    let (path, expires) = sign(&app, &binary).await;
    assert!(expires.duration_since(app.app.clock.now()) <= SignedDuration::from_secs(1));
    // In place of waiting.
    let sql = "UPDATE presigned_url SET expires_at = expires_at - interval '2 seconds'";
    sqlx::query(sql).execute(&mut app.connection().await).await.unwrap();
    app.get(&path).answer().await.expect(404);
    app.get(&path).header("range", "bytes=0-").answer().await.expect(404);
}

#[tokio::test]
async fn only_who_may_read_it_gets_an_address() {
    let app = spawn_app_with(|config| config.fhir.profiles = true).await;
    app.app.worker().run_due().await.unwrap();
    for id in ["ada", "ben"] {
        app.put_patient_called(id).await;
    }
    let binary = app.send("video/mp4", Some("Patient/ada"), noise(10)).await;
    let mut connection = app.connection().await;
    let server = &app.app.fhir;
    let operation = server
        .hooks
        .operations
        .iter()
        .find(|operation| operation.definition()["code"] == "presigned-url");
    for (patient, expected) in [("ada", Ok(())), ("ben", Err(404))] {
        let caller = person(&mut connection, Role::Patient, &format!("Patient/{patient}")).await;
        let input = OperationInput {
            resource_type: Some("Binary"),
            id: Some(binary.trim_start_matches("Binary/").to_owned()),
            version: None,
            parameters: Parameters::default(),
            projection: Projection::Whole,
            preferences: Preferences::default(),
        };
        let answer = operation.unwrap().call(server, &caller, input).await;
        assert_eq!(
            answer.map(drop).map_err(|error| error.status.as_u16()),
            expected,
            "{patient}"
        );
    }
    app.post("Binary/none/$presigned-url").answer().await.expect(404);
    app.delete(&binary).answer().await.expect(204);
    app.post(&format!("{binary}/$presigned-url")).answer().await.expect(410);
}

#[tokio::test]
async fn each_use_is_recorded() {
    let app = spawn_app_with(|config| config.audit.without_auth = true).await;
    let binary = app.send("video/mp4", None, noise(10)).await;
    let (path, _) = sign(&app, &binary).await;
    let known = app.trail().await.len();
    app.get(&path).answer().await.expect(200);
    app.get(&path).answer().await.expect(404);
    let events: Vec<Value> = app.trail_since(known).await;
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(
        (&events[0]["subtype"][0]["code"], &events[0]["outcome"]),
        (&"vread".into(), &"0".into())
    );
    let version = format!("{binary}/_history/1");
    assert!(
        events[0].to_string().contains(&version) && events[0].to_string().contains("127.0.0.1"),
        "{}",
        events[0]
    );
    assert_eq!(events[1]["outcome"], "4");
    let token = path.rsplit('/').next().unwrap();
    assert!(
        !format!("{:?}", app.trail().await).contains(token),
        "the address itself is a secret"
    );
}
