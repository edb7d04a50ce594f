//! What every answer tells browsers to refrain from, whatever kind of answer it is.

use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, Ask, TestApp, spawn_app, spawn_app_with};
use crate::auth::{guard, spawn_guarded_app};

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// One answer of each kind, by name.
async fn of_every_kind(app: &TestApp) -> Vec<(&'static str, Answer)> {
    let patient = json!({"resourceType": "Patient"});
    vec![
        ("a document", app.get("metadata").answer().await),
        ("refused or found", app.get("Patient").answer().await),
        ("written or refused", app.post("Patient").fhir(&patient).answer().await),
        ("malformed", app.post("Patient").fhir(&json!([])).answer().await),
        ("absent", app.get("/elsewhere").answer().await),
        ("a method that is not there", app.delete("metadata").answer().await),
        (
            "a question for methods",
            app.request(Method::OPTIONS, "metadata").answer().await,
        ),
        ("healthy", app.get("/healthz").answer().await),
        ("ready", app.get("/readyz").answer().await),
        ("a word of welcome", app.get("/").answer().await),
    ]
}

#[track_caller]
fn check(kind: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), value, "{kind}: {name}");
    }
    assert!(
        answer
            .header("content-security-policy")
            .contains("frame-ancestors 'none'"),
        "{kind}"
    );
    assert_ne!(answer.header("cache-control"), "", "{kind}");
    assert_ne!(answer.header("x-request-id"), "", "{kind}");
}

#[tokio::test]
async fn every_answer_is_protected() {
    let open = spawn_app().await;
    for (kind, answer) in of_every_kind(&open).await {
        check(kind, &answer);
        // The one page among them brings its own policy.
        if kind != "a word of welcome" {
            assert_eq!(answer.header("content-security-policy"), NOTHING, "{kind}");
        }
        assert_eq!(answer.header("strict-transport-security"), "", "{kind}");
    }
    let guarded = spawn_guarded_app().await;
    for (kind, answer) in of_every_kind(&guarded).await {
        check(kind, &answer);
    }
    for (kind, answer) in [
        ("a refused client", guarded.form("/auth/token", &[]).answer().await),
        (
            "discovery",
            guarded.get(".well-known/smart-configuration").answer().await,
        ),
        ("keys", guarded.get("/auth/jwks").answer().await),
        ("userinfo", guarded.get("/auth/userinfo").answer().await),
    ] {
        check(kind, &answer);
        assert_eq!(answer.header("content-security-policy"), NOTHING, "{kind}");
    }
    for page in [
        "/auth/sign-in",
        "/auth/sign-up",
        "/auth/authorize",
        "/auth/account",
        "/auth/confirm?link=x",
    ] {
        let answer = guarded.get(page).answer().await;
        check(page, &answer);
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("form-action"),
            "{page}: {policy}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{page}");
    }
}

#[tokio::test]
async fn a_stored_page_is_no_page_of_ours() {
    let app = spawn_app().await;
    let stored = app
        .post("Binary")
        .header("content-type", "text/html")
        .body("<script>alert(1)</script>");
    let location = stored.answer().await.expect(201).header("location").to_owned();
    let shown = app
        .get(location.split("/_history").next().unwrap())
        .answer()
        .await
        .expect(200);
    check("a Binary", &shown);
    assert_eq!(shown.header("content-type"), "text/html");
    let policy = shown.header("content-security-policy");
    assert!(
        policy.contains("sandbox") && policy.contains("default-src 'none'"),
        "{policy}"
    );
}

#[tokio::test]
async fn where_clients_come_by_tls_they_are_told_to_stay_there() {
    let app = spawn_app_with(|config| {
        guard(config);
        config.public_url = "https://clinic.example".to_owned();
    })
    .await;
    for path in [
        "/fhir/metadata",
        "/auth/sign-in",
        "/healthz",
        "/elsewhere",
        "/fhir/Patient",
    ] {
        let answer = app.get(path).answer().await;
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000", "{path}");
    }
}

#[tokio::test]
async fn a_sandbox_answers_to_its_own_names_only() {
    let app = spawn_app().await;
    let named = |host: &str| app.get("metadata").header("host", host).answer();
    let port = app.app.config.listen.port();
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "[::1]".to_owned(),
    ] {
        named(&host).await.expect(200);
    }
    let refused = named("evil.example").await.expect(421);
    assert_eq!(refused.json()["issue"][0]["code"], "security");
    // With accounts, a name alone opens nothing.
    let guarded = spawn_guarded_app().await;
    guarded
        .get("metadata")
        .header("host", "evil.example")
        .answer()
        .await
        .expect(200);
}
