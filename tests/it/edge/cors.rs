//! Which web pages may read from the server.

use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::crypto;
use reqwest::Method;
use tokio::time::Instant;

use crate::app::{Answer, Ask, TestApp, spawn_app, spawn_app_with};
use crate::auth::{guard, spawn_guarded_app};
use crate::faults::PATIENCE;

const APP: &str = "https://app.example";

impl TestApp {
    async fn register(&self, id: &str, redirect_uri: &str, proof: NewProof<'_>) {
        let client = NewClient {
            id,
            name: "An application",
            scopes: &Scopes::parse("openid").unwrap(),
            redirect_uris: &[redirect_uri.to_owned()],
            launch_url: None,
            launches: false,
            proof,
        };
        let now = self.app.clock.now();
        assert!(clients::add(&self.app.database.write, now, &client).await.unwrap());
    }

    async fn preflight(&self, path: &str, origin: &str) -> Answer {
        let request = self.request(Method::OPTIONS, path).header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
            .answer()
            .await
    }

    async fn read_from(&self, path: &str, origin: &str) -> Answer {
        self.get(path).header("origin", origin).answer().await
    }
}

/// The origin that may read the answer.
fn allowed(answer: &Answer) -> &str {
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn pages_of_registered_applications_may_read() {
    let app = spawn_guarded_app().await;
    app.register("app", "https://app.example:443/deep/callback?x=1", NewProof::Public)
        .await;
    for path in ["Patient", "Patient/1", "/auth/token", "/auth/revoke", "/auth/userinfo"] {
        let preflight = app.preflight(path, APP).await.expect(204);
        assert_eq!(allowed(&preflight), APP, "{path}");
        assert!(
            preflight
                .header("access-control-allow-headers")
                .contains("authorization")
        );
        assert!(preflight.header("access-control-allow-methods").contains("POST"));
        assert_eq!(
            preflight.header("vary"),
            "access-control-request-method, access-control-request-headers"
        );
        // A refusal can be read, too: the page must learn what is wrong.
        let refused = app.read_from(path, APP).await;
        assert!(refused.status.is_client_error());
        assert_eq!(allowed(&refused), APP, "{path}");
        assert!(
            refused
                .header("access-control-expose-headers")
                .contains("www-authenticate")
        );
    }
}

#[tokio::test]
async fn pages_of_nobody_may_not() {
    let app = spawn_guarded_app().await;
    app.register("app", "https://app.example/cb", NewProof::Public).await;
    app.register("native", "com.example.app:/cb", NewProof::Public).await;
    // What keeps a secret does not run in a browser.
    app.register(
        "server",
        "https://server.example/cb",
        NewProof::Secret(crypto::digest("x")),
    )
    .await;
    for origin in [
        "null",
        "https://evil.example",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "https://sub.app.example",
        "http://app.example",
        "https://app.example:8443",
        "https://server.example",
        "com.example.app:",
        "",
    ] {
        for path in ["Patient", "/auth/token", "/auth/userinfo"] {
            for answer in [app.preflight(path, origin).await, app.read_from(path, origin).await] {
                assert_eq!(allowed(&answer), "", "{origin} {path}");
                let varies = answer.headers.get_all("vary").iter().any(|value| value == "origin");
                assert!(varies, "{origin} {path}");
            }
        }
    }
    // What people see is for no page of another origin, not even an application's own.
    for page in [
        "/auth/authorize",
        "/auth/consent",
        "/auth/sign-in",
        "/auth/account",
        "/auth/style.css",
        "/",
        "/elsewhere",
    ] {
        for origin in [APP, "null"] {
            for answer in [app.preflight(page, origin).await, app.read_from(page, origin).await] {
                assert_eq!(allowed(&answer), "", "{origin} {page}");
                assert_eq!(answer.header("access-control-allow-methods"), "", "{origin} {page}");
            }
        }
    }
}

#[tokio::test]
async fn documents_are_for_every_page() {
    let app = spawn_guarded_app().await;
    for path in [
        "metadata",
        ".well-known/smart-configuration",
        "/.well-known/openid-configuration",
        "/auth/jwks",
    ] {
        for origin in ["https://anybody.example", "null"] {
            let answer = app.read_from(path, origin).await.expect(200);
            assert_eq!(allowed(&answer), "*", "{path}");
        }
    }
    assert_eq!(
        app.get("metadata").answer().await.expect(200).json()["rest"][0]["security"]["cors"],
        true
    );
}

#[tokio::test]
async fn an_application_is_known_to_all_instances_and_forgotten_by_them() {
    let app = spawn_guarded_app().await;
    let master_key = app.app.config.identity.master_key.clone();
    let beside = app.beside_with(|config| {
        guard(config);
        config.identity.master_key = master_key;
    });
    let other = beside.await;
    let until = async |expected: &str| {
        let deadline = Instant::now() + PATIENCE;
        while allowed(&other.read_from("Patient", APP).await) != expected {
            assert!(Instant::now() < deadline, "the other instance does not notice");
        }
    };
    assert_eq!(allowed(&other.read_from("Patient", APP).await), "");
    app.register("app", "https://app.example/cb", NewProof::Public).await;
    until(APP).await;
    let pool = &app.app.database.write;
    assert!(clients::set_enabled(pool, "app", false).await.unwrap());
    until("").await;
}

#[tokio::test]
async fn a_sandbox_is_read_by_origins_of_the_settings_only() {
    let app = spawn_app().await;
    assert_eq!(allowed(&app.read_from("Patient", APP).await), "");
    assert_eq!(allowed(&app.preflight("Patient", APP).await), "");
    assert_eq!(
        app.get("metadata").answer().await.expect(200).json()["rest"][0]["security"]["cors"],
        false
    );
    let app = spawn_app_with(|config| config.http.cors_origins = vec!["*".to_owned()]).await;
    assert_eq!(allowed(&app.read_from("Patient", APP).await), "*");
    assert_eq!(allowed(&app.preflight("Patient", "null").await), "*");
}
