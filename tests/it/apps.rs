//! The apps for browsers, as far as the server has to do with them: their files, their registration, what changes elsewhere.

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medconsult::apps::OWN_APPS;
use medconsult::auth::clients::{self, Client};
use medconsult::base::crypto;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{Ask, TestApp, clusters_directory, spawn_app, spawn_app_with};
use crate::auth::guard;

const PASSWORD: &str = "correct horse battery staple";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A server with the patient's app, as a build leaves it, and no other.
async fn spawn_with_an_app() -> TestApp {
    spawn_app_with(|config| {
        guard(config);
        let folder = clusters_directory().join(format!("{}-apps-{}", std::process::id(), config.listen.port()));
        let built = folder.join("patient/dist");
        fs::create_dir_all(built.join("assets")).unwrap();
        fs::create_dir_all(built.join(".vite")).unwrap();
        let page = "<meta nonce=\"__NONCE__\"><script nonce=\"__NONCE__\" src=\"assets/index-1a2b.js\"></script>";
        fs::write(built.join("index.html"), page).unwrap();
        fs::write(built.join("assets/index-1a2b.js"), "console.log(1)").unwrap();
        fs::write(built.join("assets/index-1a2b.js.gz"), "as the build compressed it").unwrap();
        fs::write(built.join("icon.svg"), "<svg/>").unwrap();
        fs::write(built.join(".vite/manifest.json"), "{}").unwrap();
        fs::write(folder.join("secret.txt"), "not for everybody").unwrap();
        config.apps.folder = folder;
    })
    .await
}

#[tokio::test]
async fn an_app_is_served_with_a_policy_of_its_own() {
    let app = spawn_with_an_app().await;
    let page = app.get("/apps/patient/").answer().await.expect(200);
    let nonce = page.text().split('"').nth(1).unwrap().to_owned();
    assert_eq!(page.text().matches(&nonce).count(), 2, "{}", page.text());
    assert_eq!(page.header("cache-control"), "no-store");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains(&format!("style-src 'self' 'nonce-{nonce}'")),
        "{policy}"
    );
    assert!(policy.contains("default-src 'none'; script-src 'self';"), "{policy}");

    // The page finds its own way; each copy has a nonce of its own.
    let deep = app.get("/apps/patient/visits/7").answer().await.expect(200);
    assert!(deep.text().contains("assets/index-1a2b.js") && !deep.text().contains(&nonce));
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let bare = client.build().unwrap().get(format!("{}/apps/patient", app.address));
    assert_eq!(bare.answer().await.expect(308).header("location"), "/apps/patient/");

    // A client that takes apart nothing by itself, and says what it takes.
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let fetch = |encodings: &str| {
        let script = format!("{}/apps/patient/assets/index-1a2b.js", app.address);
        plain.get(script).header("accept-encoding", encodings).answer()
    };
    let script = fetch("identity").await.expect(200);
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(
        (script.text().as_str(), script.header("content-encoding")),
        ("console.log(1)", "")
    );
    let small = fetch("br, gzip").await.expect(200);
    assert_eq!(
        (small.text().as_str(), small.header("content-encoding")),
        ("as the build compressed it", "gzip")
    );
    assert_eq!(
        (small.header("vary"), small.header("etag")),
        ("accept-encoding", script.header("etag"))
    );
    let icon = app.get("/apps/patient/icon.svg").answer().await.expect(200);
    assert_eq!(
        (icon.header("content-type"), icon.header("cache-control")),
        ("image/svg+xml", "public, no-cache")
    );
    let again = app
        .get("/apps/patient/icon.svg")
        .header("if-none-match", icon.header("etag"));
    assert!(again.answer().await.expect(304).bytes.is_empty());

    for nothing in [
        "/apps/patient/assets/index-0000.js",
        "/apps/patient/missing.svg",
        "/apps/patient/assets/index-1a2b.js.gz",
        "/apps/patient/.vite/manifest.json",
        "/apps/patient/assets/..%2f..%2f..%2fsecret.txt",
        "/apps/patient/..%2f..%2fsecret.txt",
        "/apps/practitioner/",
        "/apps/nonsense/",
        "/apps/secret.txt",
    ] {
        let answer = app.get(nothing).answer().await.expect(404);
        assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{nothing}");
    }
}

#[tokio::test]
async fn the_landing_page_leads_to_what_there_is() {
    let app = spawn_with_an_app().await;
    let page = app.get("/").answer().await.expect(200);
    assert!(page.text().contains("href=\"/apps/patient/\"") && page.text().contains("href=\"/auth/sign-up\""));
    assert!(!page.text().contains("/apps/practitioner/"), "it was not built");
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'self'")
    );
    app.get("/apps/landing.css").answer().await.expect(200);

    let open = spawn_app().await;
    let page = open.get("/").answer().await.expect(200);
    assert!(!page.text().contains("/auth/sign-up") && page.text().contains("runs without accounts"));
}

#[tokio::test]
async fn what_was_built_is_registered_anew_at_each_start() {
    let app = spawn_with_an_app().await;
    let pool = &app.app.database.write;
    let own = &OWN_APPS[0];
    let client = Client::find(pool, own.client).await.unwrap().expect("registered");
    assert_eq!((client.name.as_str(), client.is_own), (own.name, true));
    assert_eq!(client.redirect_uris, [format!("{}/apps/patient/", app.address)]);
    assert!(Client::find(pool, "medconsult-practitioner").await.unwrap().is_none());

    // A server behind another address takes over; what an operator forbade stays forbidden.
    clients::set_enabled(pool, own.client, false).await.unwrap();
    let folder = app.app.config.apps.folder.clone();
    let master_key = app.app.config.identity.master_key.clone();
    let moved = app.beside_with(|config| {
        guard(config);
        config.identity.master_key = master_key;
        config.public_url = "https://clinic.example".to_owned();
        config.apps.folder = folder;
    });
    let _moved = moved.await;
    assert!(Client::find(pool, own.client).await.unwrap().is_none());
    clients::set_enabled(pool, own.client, true).await.unwrap();
    let client = Client::find(pool, own.client).await.unwrap().unwrap();
    assert_eq!(client.redirect_uris, ["https://clinic.example/apps/patient/"]);
}

/// Signs somebody up and lets the patient's app in, which takes no question. The token, and their Patient.
async fn token_of(app: &TestApp, email: &str) -> (String, String) {
    let mut visitor = app.visitor();
    visitor.sign_up(email, PASSWORD).await;
    visitor.sign_in(email, PASSWORD).await.expect(303);
    let back = format!("{}/apps/patient/", app.address);
    let challenge = URL_SAFE_NO_PAD.encode(crypto::digest(VERIFIER));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", "medconsult-patient"),
            ("redirect_uri", &back),
            (
                "scope",
                "openid fhirUser launch/patient patient/*.rs patient/Consent.cu",
            ),
            ("state", "s"),
            ("aud", &app.base),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    let answer = visitor.open(&format!("/auth/authorize?{query}")).await.expect(303);
    let to = reqwest::Url::parse(answer.header("location")).unwrap();
    assert!(to.as_str().starts_with(&back), "{to}");
    let code = to
        .query_pairs()
        .find(|(name, _)| name == "code")
        .expect("a code")
        .1
        .into_owned();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &back),
        ("client_id", "medconsult-patient"),
        ("code_verifier", VERIFIER),
    ];
    let answer = app.form("/auth/token", &fields).answer().await.expect(200).json();
    let text = |name: &str| answer[name].as_str().expect(name).to_owned();
    (text("access_token"), text("patient"))
}

fn consent_of(patient: &str) -> Value {
    json!({
        "resourceType": "Consent", "status": "active", "patient": {"reference": format!("Patient/{patient}")},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"text": "as was shown"}
    })
}

/// A stream of changes, read event by event.
struct Listening {
    response: Response,
    text: String,
}

impl Listening {
    async fn begin(app: &TestApp, token: &str) -> Listening {
        let request = app.get("$changes").bearer_auth(token).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(
            response.headers().get("content-encoding").is_none(),
            "nothing holds events back"
        );
        Listening {
            response,
            text: String::new(),
        }
    }

    /// The next change; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event
                    .strip_prefix("event: change\ndata: ")
                    .map(|data| serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                if let Some(change) = data {
                    return Some(change);
                }
                continue;
            }
            let chunk = timeout(Duration::from_secs(20), self.response.chunk())
                .await
                .expect("in time")
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn changes_are_told_to_those_who_may_see_them() {
    let app = spawn_with_an_app().await;
    let (token, patient) = token_of(&app, "ada@demo.example").await;
    let (other_token, other) = token_of(&app, "bob@demo.example").await;
    app.get("$changes").answer().await.expect(401);
    let mut ada = Listening::begin(&app, &token).await;
    let mut bob = Listening::begin(&app, &other_token).await;

    // In this order: whatever Bob hears first, it was not Ada's.
    let create = |token: String, patient: String| {
        let request = app.post("Consent").bearer_auth(token).fhir(&consent_of(&patient));
        async { request.answer().await.expect(201).json() }
    };
    let hers = create(token.clone(), patient).await;
    let his = create(other_token.clone(), other).await;
    let told = |resource: &Value| json!({"type": "Consent", "id": resource["id"], "version": "1"});
    assert_eq!(ada.next().await, Some(told(&hers)));
    assert_eq!(bob.next().await, Some(told(&his)));

    // With the token, the stream ends: at the latest when there is something to tell.
    let fields = [("token", token.as_str()), ("client_id", "medconsult-patient")];
    app.form("/auth/revoke", &fields).answer().await.expect(200);
    let mut changed = his.clone();
    changed["status"] = json!("inactive");
    let path = format!("Consent/{}", his["id"].as_str().unwrap());
    app.put(&path)
        .bearer_auth(&other_token)
        .fhir(&changed)
        .answer()
        .await
        .expect(200);
    assert_eq!(ada.next().await, None);
    assert_eq!(bob.next().await.unwrap()["version"], "2");
}

#[tokio::test]
async fn nobody_takes_all_the_streams() {
    let app = spawn_with_an_app().await;
    let (token, _) = token_of(&app, "ada@demo.example").await;
    let (other, _) = token_of(&app, "bob@demo.example").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Listening::begin(&app, &token).await);
    }
    app.get("$changes").bearer_auth(&token).answer().await.expect(503);
    Listening::begin(&app, &other).await;
}
