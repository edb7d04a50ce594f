//! A thousand mails, and what requests notice of them. Figures are in docs/mail.md; run it with
//! `cargo test --release --test it -- --ignored --nocapture a_thousand_mails_slow`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::server::MailServer;
use super::{put, run};
use crate::app::{Ask, TestApp, spawn_app_with};
use crate::auth::guard;

/// The median and the 99th percentile of reads that follow each other for as long as `until` runs, or `count` of them.
async fn reads(app: &TestApp, token: &str, count: usize, is_over: impl Fn() -> bool) -> (usize, Duration, Duration) {
    let mut took = Vec::new();
    while took.len() < count && !is_over() {
        let begun = Instant::now();
        app.get("Patient/ada").bearer_auth(token).answer().await.expect(200);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    (took.len(), took[took.len() / 2], took[took.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_thousand_mails_slow_no_request() {
    let Some(mut server) = MailServer::start(&json!({"slow": 5})).await else {
        return;
    };
    let app = spawn_app_with(|config| {
        guard(config);
        config.mail.server = server.url().into();
        config.limits.per_client = 0;
        config.limits.per_address = 0;
    })
    .await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    let ada = json!({"resourceType": "Patient", "id": "ada"});
    app.put("Patient/ada")
        .bearer_auth(&token)
        .fhir(&ada)
        .answer()
        .await
        .expect(201);
    reads(&app, &token, 500, || false).await;
    let (_, median, high) = reads(&app, &token, 2000, || false).await;
    println!("reads alone: median {median:?}, 99th percentile {high:?}");
    for number in 0..1000 {
        put(&app, &format!("p{}@clinic.example", number % 200), &number.to_string()).await;
    }
    let begun = Instant::now();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (_, (count, median, high)) = tokio::join!(
        async {
            run(&app).await;
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            println!("a thousand mails took {:?}", begun.elapsed());
        },
        reads(&app, &token, usize::MAX, || is_over
            .load(std::sync::atomic::Ordering::Relaxed)),
    );
    println!("{count} reads meanwhile: median {median:?}, 99th percentile {high:?}");
    assert_eq!(server.take(1000).await.len(), 1000);
}
