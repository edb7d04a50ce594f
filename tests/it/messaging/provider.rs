//! A provider that is spoken to as SendGrid is. Nothing of SendGrid can run here, so a server of the test keeps to what its
//! documentation says of requests and answers, and refuses what that would refuse.
//!
//! <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{put, run, run_all, states};
use crate::app::{Ask, TestApp, spawn_app_with};
use crate::auth::guard;

const ADA: &str = "ada@clinic.example";
const KEY: &str = "SG.test.key";

#[derive(Clone, Default)]
struct Provider {
    taken: Arc<Mutex<Vec<Value>>>,
    /// The answer to the next requests, once each.
    moods: Arc<Mutex<Vec<u16>>>,
}

impl Provider {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v3/mail/send", post(send))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }
}

async fn send(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mood = provider.moods.lock().unwrap().pop();
    if let Some(mood) = mood {
        return StatusCode::from_u16(mood).unwrap();
    }
    if headers["authorization"] != format!("Bearer {KEY}") {
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    if headers["content-type"] != "application/json" || !is_request(&body) {
        return StatusCode::BAD_REQUEST;
    }
    provider.taken.lock().unwrap().push(body);
    StatusCode::ACCEPTED
}

/// What the documentation asks for: who, from whom, a subject, content with the plain form first, arguments that are text,
/// and no header that is the provider's own.
fn is_request(body: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let personalization = &body["personalizations"][0];
    let arguments = personalization["custom_args"].as_object().unwrap();
    let reserved = [
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-transfer-encoding",
        "content-type",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    ];
    let headers = body["headers"].as_object().unwrap();
    let content = body["content"].as_array().unwrap();
    let kinds: Vec<&Value> = content.iter().map(|part| &part["type"]).collect();
    is_text(&personalization["to"][0]["email"])
        && is_text(&body["from"]["email"])
        && is_text(&body["subject"])
        && kinds == ["text/plain", "text/html"]
        && content.iter().all(|part| is_text(&part["value"]))
        && arguments.values().all(is_text)
        && headers.values().all(is_text)
        && headers
            .keys()
            .all(|name| !reserved.contains(&name.to_lowercase().as_str()))
}

async fn app_with(address: &str, event_key: &str) -> TestApp {
    spawn_app_with(|config| {
        guard(config);
        config.mail.provider = address.to_owned();
        config.mail.provider_key = KEY.to_owned().into();
        config.mail.provider_event_key = event_key.to_owned();
        config.mail.from = "Clinic <no-reply@clinic.example>".to_owned();
    })
    .await
}

#[tokio::test]
async fn a_provider_gets_mails_by_http() {
    let provider = Provider::default();
    let app = app_with(&provider.start().await, "").await;
    put(&app, ADA, "12345678").await;
    run(&app).await;
    let taken = provider.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 1);
    let mail = &taken[0];
    assert_eq!(mail["personalizations"][0]["to"], json!([{"email": ADA}]));
    assert_eq!(
        mail["from"],
        json!({"email": "no-reply@clinic.example", "name": "Clinic"})
    );
    let content = mail["content"].as_array().unwrap();
    assert!(
        content
            .iter()
            .all(|part| part["value"].as_str().unwrap().contains("12345678"))
    );
    assert!(
        mail["headers"]["Message-ID"]
            .as_str()
            .unwrap()
            .ends_with("@clinic.example>")
    );
    for tracking in ["click_tracking", "open_tracking", "subscription_tracking"] {
        assert_eq!(mail["tracking_settings"][tracking]["enable"], false, "{tracking}");
    }
    assert_eq!(states(&app).await, [("sent".to_owned(), None)]);
    // There is no key that events could be signed by, so nobody is listened to.
    app.post("/mail/events").body("[]").answer().await.expect(404);
}

#[tokio::test]
async fn what_a_provider_answers_decides_what_becomes_of_a_mail() {
    let provider = Provider::default();
    let app = app_with(&provider.start().await, "").await;
    put(&app, ADA, "1").await;
    for (mood, state) in [(429, "queued"), (401, "queued"), (503, "queued"), (400, "refused")] {
        provider.moods.lock().unwrap().push(mood);
        run_all(&app).await;
        assert_eq!(
            states(&app).await,
            [(state.to_owned(), Some(format!("provider {mood}")))]
        );
    }
    run_all(&app).await;
    assert!(provider.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mail_that_comes_back_is_believed_to_the_provider_alone() {
    let provider = Provider::default();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public: PublicKeyX509Der = pair.public_key().as_der().unwrap();
    let app = app_with(&provider.start().await, &STANDARD.encode(public.as_ref())).await;
    put(&app, ADA, "1").await;
    put(&app, ADA, "2").await;
    run(&app).await;
    let arguments = provider.taken.lock().unwrap()[0]["personalizations"][0]["custom_args"].clone();
    let event = |kind: &str| {
        let mut event =
            json!({"email": ADA, "event": kind, "status": "5.1.1", "reason": format!("no {ADA}"), "sg_event_id": "x"});
        event
            .as_object_mut()
            .unwrap()
            .extend(arguments.as_object().unwrap().clone());
        event
    };
    let now = app.app.clock.now().as_second();
    let tell = async |pair: &EcdsaKeyPair, at: i64, signed: &str, body: &str| {
        let signature = pair
            .sign(&SystemRandom::new(), format!("{at}{signed}").as_bytes())
            .unwrap();
        let request = app
            .post("/mail/events")
            .header("x-twilio-email-event-webhook-timestamp", at.to_string())
            .header(
                "x-twilio-email-event-webhook-signature",
                STANDARD.encode(signature.as_ref()),
            )
            .body(body.to_owned());
        request.answer().await.status.as_u16()
    };
    let bounced = json!([event("delivered"), event("bounce"), {"event": "bounce"}]).to_string();
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    assert_eq!(tell(&stranger, now, &bounced, &bounced).await, 403);
    assert_eq!(tell(&pair, now, "[]", &bounced).await, 403);
    assert_eq!(tell(&pair, now - 660, &bounced, &bounced).await, 403);
    app.post("/mail/events")
        .body(bounced.clone())
        .answer()
        .await
        .expect(403);
    assert_eq!(tell(&pair, now, "{}", "{}").await, 400);
    assert_eq!(states(&app).await[0].0, "sent");

    assert_eq!(tell(&pair, now, &bounced, &bounced).await, 204);
    assert_eq!(tell(&pair, now, &bounced, &bounced).await, 204);
    let expected = [
        ("bounced".to_owned(), Some("5.1.1".to_owned())),
        ("sent".to_owned(), None),
    ];
    assert_eq!(states(&app).await, expected);
}
