//! Clients that have their keys at an address of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use jiff::SignedDuration;
use medconsult::auth::clients::keys::KeySets;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::outbound::Outbound;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{ClientKey, EC, RSA, guard};
use crate::app::{TestApp, spawn_app_with};

/// Somebody's server with keys, on a port of its own.
struct KeyServer {
    root: String,
    /// How often `/keys` was asked for.
    asked: Arc<AtomicUsize>,
}

async fn serve(keys: Value, cache_control: &'static str) -> KeyServer {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let answer = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let body = keys.to_string();
        async move { ([("cache-control", cache_control)], body) }
    };
    let routes = Router::new()
        .route("/keys", get(answer))
        .route("/moved", get(|| async { Redirect::temporary("/keys") }))
        .route(
            "/huge",
            get(|| async { format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(70_000)) }),
        )
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/slow", get(std::future::pending::<String>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    KeyServer { root, asked }
}

async fn register(app: &TestApp, id: &str, address: &str) {
    let client = NewClient {
        id,
        name: "A back end",
        scopes: &Scopes::parse("system/*.rs").unwrap(),
        redirect_uris: &[],
        launch_url: None,
        launches: false,
        proof: NewProof::KeysAt(address),
    };
    let now = app.app.clock.now();
    assert!(clients::add(&app.app.database.write, now, &client).await.unwrap());
}

#[tokio::test]
async fn a_client_signs_with_the_keys_at_its_address() {
    let server = serve(json!({"keys": [RSA.public(), EC.public()]}), "max-age=60").await;
    let app = spawn_app_with(|config| {
        guard(config);
        config.identity.private_hosts = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let address = format!("{}/keys", server.root);
    register(&app, "lab", &address).await;
    for key in [&*RSA, &*EC] {
        app.ask_for_token(&key.sign(&app.claims("lab")), "system/*.rs")
            .await
            .expect(200);
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);

    // The header may name the address, and no other: nothing is fetched from there.
    let named = |address: &str| {
        let mut header = RSA.header();
        header.jku = Some(address.to_owned());
        jsonwebtoken::encode(&header, &app.claims("lab"), &RSA.private).unwrap()
    };
    app.ask_for_token(&named(&address), "system/*.rs").await.expect(200);
    let other = serve(json!({"keys": [RSA.public()]}), "").await;
    for elsewhere in [
        format!("{}/keys", other.root),
        format!("{address}/"),
        format!("{address}?x=1"),
    ] {
        app.ask_for_token(&named(&elsewhere), "system/*.rs").await.expect(401);
    }
    assert_eq!(
        (server.asked.load(Ordering::SeqCst), other.asked.load(Ordering::SeqCst)),
        (1, 0)
    );

    // A signature by another key, a key of nobody, and two keys of one name.
    let stranger = ClientKey::rsa("rsa");
    app.ask_for_token(&stranger.sign(&app.claims("lab")), "system/*.rs")
        .await
        .expect(401);
    let unknown = ClientKey::rsa("unknown");
    app.ask_for_token(&unknown.sign(&app.claims("lab")), "system/*.rs")
        .await
        .expect(401);
    let twins = serve(json!({"keys": [RSA.public(), stranger.public()]}), "").await;
    register(&app, "twins", &format!("{}/keys", twins.root)).await;
    app.ask_for_token(&RSA.sign(&app.claims("twins")), "system/*.rs")
        .await
        .expect(401);
}

#[tokio::test]
async fn addresses_that_redirect_fail_or_send_too_much_give_no_keys() {
    let server = serve(json!({"keys": [RSA.public()]}), "").await;
    let app = spawn_app_with(|config| {
        guard(config);
        config.identity.private_hosts = vec!["127.0.0.1".to_owned()];
    })
    .await;
    for path in ["moved", "huge", "broken", "nothing"] {
        register(&app, path, &format!("{}/{path}", server.root)).await;
        app.ask_for_token(&RSA.sign(&app.claims(path)), "system/*.rs")
            .await
            .expect(401);
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
    let outbound = Outbound::new(vec!["127.0.0.1".to_owned()], Duration::from_millis(200)).unwrap();
    let address = format!("{}/slow", server.root);
    let keys = KeySets::new(outbound).at(app.app.clock.now(), &address, "rsa").await;
    assert!(keys.keys.is_empty());
}

#[tokio::test]
async fn private_addresses_are_not_asked_unless_the_settings_say_so() {
    let server = serve(json!({"keys": [RSA.public()]}), "").await;
    let app = super::spawn_guarded_app().await;
    register(&app, "lab", &format!("{}/keys", server.root)).await;
    app.ask_for_token(&RSA.sign(&app.claims("lab")), "system/*.rs")
        .await
        .expect(401);
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn keys_are_kept_as_long_as_their_answer_says_and_asked_for_when_one_is_new() {
    let now = medconsult::base::Clock::system().now();
    let sets = || {
        let outbound = Outbound::new(vec!["127.0.0.1".to_owned()], Duration::from_secs(5)).unwrap();
        KeySets::new(outbound)
    };
    let asked_after = async |cache_control: &'static str, steps: &[(i64, &str)]| {
        let server = serve(json!({"keys": [RSA.public()]}), cache_control).await;
        let (sets, address) = (sets(), format!("{}/keys", server.root));
        let mut counts = Vec::new();
        for (seconds, kid) in steps {
            sets.at(now + SignedDuration::from_secs(*seconds), &address, kid).await;
            counts.push(server.asked.load(Ordering::SeqCst));
        }
        counts
    };
    assert_eq!(
        asked_after("max-age=60", &[(0, "rsa"), (59, "rsa"), (60, "rsa")]).await,
        [1, 1, 2]
    );
    assert_eq!(
        asked_after("max-age=86400", &[(0, "rsa"), (299, "rsa"), (300, "rsa")]).await,
        [1, 1, 2]
    );
    assert_eq!(asked_after("no-store", &[(0, "rsa"), (0, "rsa")]).await, [1, 2]);
    // A key that is not known may be new, but names that somebody makes up do not make us ask all the time.
    let steps = [
        (0, "rsa"),
        (1, "new"),
        (9, "newer"),
        (10, "new"),
        (11, "newer"),
        (12, "rsa"),
    ];
    assert_eq!(asked_after("", &steps).await, [1, 1, 1, 2, 2, 2]);
    // What failed is left alone for as long.
    let server = serve(json!({}), "").await;
    let (sets, address) = (sets(), format!("{}/keys", server.root));
    for seconds in [0, 1, 9] {
        assert!(
            sets.at(now + SignedDuration::from_secs(seconds), &address, "rsa")
                .await
                .keys
                .is_empty()
        );
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}
