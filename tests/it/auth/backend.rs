//! Back ends: registered by an operator, known by their key.

use jiff_sqlx::ToSqlx;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{ClientKey, EC, RSA, spawn_guarded_app};
use crate::app::{Answer, Ask, TestApp};

fn refused(answer: Answer, status: u16, code: &str) {
    let answer = answer.expect(status);
    assert_eq!(answer.json()["error"], code, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
}

async fn guarded_with_backend() -> TestApp {
    let app = spawn_guarded_app().await;
    app.register_backend("lab", "system/*.rs").await;
    app
}

#[tokio::test]
async fn a_back_end_gets_what_it_was_registered_for() {
    let app = guarded_with_backend().await;
    for key in [&*RSA, &*EC] {
        let answer = app
            .ask_for_token(&key.sign(&app.claims("lab")), "system/*.read")
            .await
            .expect(200);
        assert_eq!(
            (answer.header("cache-control"), answer.header("pragma")),
            ("no-store", "no-cache")
        );
        let token = answer.json();
        assert_eq!(
            (&token["token_type"], &token["expires_in"], &token["scope"]),
            (&json!("Bearer"), &json!(300), &json!("system/*.read"))
        );
        assert!(token.get("refresh_token").is_none());
        let bearer = token["access_token"].as_str().unwrap();
        app.get("Patient").bearer_auth(bearer).answer().await.expect(200);
    }
}

#[tokio::test]
async fn an_assertion_may_name_the_issuer_and_the_client() {
    let app = guarded_with_backend().await;
    let mut claims = app.claims("lab");
    claims["aud"] = json!(app.address);
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_id", "lab"),
    ];
    app.signed("/auth/token", &RSA.sign(&claims), &fields).await.expect(200);
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_id", "other"),
    ];
    refused(
        app.signed("/auth/token", &RSA.sign(&app.claims("lab")), &fields).await,
        401,
        "invalid_client",
    );
}

#[tokio::test]
async fn scopes_beyond_the_registration_or_that_nobody_understands_are_refused() {
    let app = guarded_with_backend().await;
    for scope in [
        "system/*.cruds",
        "system/*.rs system/*.c",
        "patient/*.rs",
        "user/*.rs",
        "system/Patient.cud",
        "system/Observation.rs?colour=red",
        "system/Observation.rs?subject.name=x",
        "system/Paitent.rs",
        "openid system/*.rs",
        "launch",
        "system/*.sr",
    ] {
        refused(
            app.ask_for_token(&RSA.sign(&app.claims("lab")), scope).await,
            400,
            "invalid_scope",
        );
    }
}

#[tokio::test]
async fn requests_that_are_not_as_they_must_be_are_refused() {
    let app = guarded_with_backend().await;
    let assertion = || RSA.sign(&app.claims("lab"));
    for grant in ["not_a_grant_type", "password", "implicit", "Client_Credentials"] {
        let fields = [("grant_type", grant), ("scope", "system/*.rs")];
        refused(
            app.signed("/auth/token", &assertion(), &fields).await,
            400,
            "unsupported_grant_type",
        );
    }
    let scope = ("scope", "system/*.rs");
    let grant = ("grant_type", "client_credentials");
    refused(
        app.signed("/auth/token", &assertion(), &[scope]).await,
        400,
        "invalid_request",
    );
    refused(
        app.signed("/auth/token", &assertion(), &[grant]).await,
        400,
        "invalid_request",
    );
    refused(
        app.signed("/auth/token", &assertion(), &[grant, scope, scope]).await,
        400,
        "invalid_request",
    );
    refused(
        app.form("/auth/token", &[grant, scope]).answer().await,
        400,
        "invalid_request",
    );
    let wrong_type = [
        grant,
        scope,
        ("client_assertion_type", "jwt"),
        ("client_assertion", &assertion()),
    ];
    refused(
        app.form("/auth/token", &wrong_type).answer().await,
        401,
        "invalid_client",
    );
    let with_secret = [grant, scope, ("client_secret", "guess")];
    refused(
        app.signed("/auth/token", &assertion(), &with_secret).await,
        401,
        "invalid_client",
    );

    let json = app
        .post("/auth/token")
        .header("content-type", "application/json")
        .body("{}");
    refused(json.answer().await, 415, "invalid_request");
    app.get("/auth/token?grant_type=client_credentials")
        .answer()
        .await
        .expect(405);
}

/// Another instance of the same server: one that listens elsewhere, and is called by the same name.
pub(super) async fn instance_beside(app: &TestApp) -> TestApp {
    let same = app.app.config.clone();
    let instance = app.beside_with(|config| {
        let listen = config.listen;
        *config = same;
        config.listen = listen;
        config.public_url.clone_from(&app.address);
    });
    instance.await
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let app = guarded_with_backend().await;
    let assertion = RSA.sign(&app.claims("lab"));
    app.ask_for_token(&assertion, "system/*.rs").await.expect(200);
    refused(
        app.ask_for_token(&assertion, "system/*.rs").await,
        401,
        "invalid_client",
    );

    // Of many that come at the same time, one wins, whichever server they reach; and a server that is started later knows.
    let beside = instance_beside(&app).await;
    let assertion = RSA.sign(&app.claims("lab"));
    let servers = [&app, &beside].into_iter().cycle().take(8);
    let answers =
        futures::future::join_all(servers.map(|server| server.ask_for_token(&assertion, "system/*.rs"))).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    let late = instance_beside(&app)
        .await
        .ask_for_token(&assertion, "system/*.rs")
        .await;
    refused(late, 401, "invalid_client");
}

#[tokio::test]
async fn claims_that_do_not_fit_are_refused() {
    let app = guarded_with_backend().await;
    let now = app.app.clock.now().as_second();
    for (claim, value) in [
        ("iss", json!("other")),
        ("sub", json!("other")),
        ("aud", json!("https://other.example/auth/token")),
        (
            "aud",
            json!([format!("{}/auth/token", app.address), "https://other.example"]),
        ),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 600)),
        ("iat", json!(now + 120)),
        ("jti", Value::Null),
    ] {
        let mut claims = app.claims("lab");
        claims[claim] = value;
        refused(
            app.ask_for_token(&RSA.sign(&claims), "system/*.rs").await,
            401,
            "invalid_client",
        );
    }
    refused(
        app.ask_for_token(&RSA.sign(&app.claims("nobody")), "system/*.rs").await,
        401,
        "invalid_client",
    );
    refused(
        app.ask_for_token("not.a.jwt", "system/*.rs").await,
        401,
        "invalid_client",
    );
}

#[tokio::test]
async fn signatures_that_do_not_fit_are_refused() {
    let app = guarded_with_backend().await;
    let sign = |header: &Header, key: &EncodingKey| jsonwebtoken::encode(header, &app.claims("lab"), key).unwrap();
    let mut wrong = Vec::new();

    // Another key under the same name; a name that is unknown; none.
    let stranger = ClientKey::rsa("rsa");
    wrong.push(sign(&stranger.header(), &stranger.private));
    let mut header = RSA.header();
    header.kid = Some("unknown".to_owned());
    wrong.push(sign(&header, &RSA.private));
    header.kid = None;
    wrong.push(sign(&header, &RSA.private));
    // A key of the other kind; an algorithm that is not allowed; the public key used as a secret.
    header.kid = Some("ec".to_owned());
    wrong.push(sign(&header, &RSA.private));
    for algorithm in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS384] {
        let mut header = Header::new(algorithm);
        header.kid = Some("rsa".to_owned());
        wrong.push(sign(&header, &RSA.private));
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("rsa".to_owned());
    wrong.push(sign(
        &header,
        &EncodingKey::from_secret(RSA.public()["n"].as_str().unwrap().as_bytes()),
    ));
    // A key that comes along, or is to be fetched.
    let mut header = RSA.header();
    header.jku = Some(format!("{}/keys", app.address));
    wrong.push(sign(&header, &RSA.private));
    let mut header = RSA.header();
    header.x5u = Some(format!("{}/keys", app.address));
    wrong.push(sign(&header, &RSA.private));
    let mut header = RSA.header();
    header.jwk = Some(serde_json::from_value(stranger.public()).unwrap());
    wrong.push(sign(&header, &stranger.private));
    // No algorithm at all, and a signature of something else.
    let good = RSA.sign(&app.claims("lab"));
    let parts: Vec<&str> = good.split('.').collect();
    wrong.push(format!("eyJhbGciOiJub25lIiwia2lkIjoicnNhIn0.{}.", parts[1]));
    let other = RSA.sign(&app.claims("lab"));
    wrong.push(format!(
        "{}.{}.{}",
        parts[0],
        parts[1],
        other.rsplit('.').next().unwrap()
    ));

    for assertion in wrong {
        refused(
            app.ask_for_token(&assertion, "system/*.rs").await,
            401,
            "invalid_client",
        );
    }
    // None of them used up what they named: the assertion that was taken apart is still good.
    app.ask_for_token(&good, "system/*.rs").await.expect(200);
}

#[tokio::test]
async fn a_disabled_client_is_out_at_once() {
    let app = guarded_with_backend().await;
    let token = app.token("lab", "system/*.rs").await;
    app.get("Patient").bearer_auth(&token).answer().await.expect(200);
    let pool = &app.app.database.write;
    assert!(
        medconsult::auth::clients::set_enabled(pool, "lab", false)
            .await
            .unwrap()
    );
    app.get("Patient").bearer_auth(&token).answer().await.expect(401);
    refused(
        app.ask_for_token(&RSA.sign(&app.claims("lab")), "system/*.rs").await,
        401,
        "invalid_client",
    );
    assert!(medconsult::auth::clients::set_enabled(pool, "lab", true).await.unwrap());
    app.get("Patient").bearer_auth(&token).answer().await.expect(401);
    app.token("lab", "system/*.rs").await;
}

#[tokio::test]
async fn a_token_can_be_looked_at_and_given_back() {
    let app = guarded_with_backend().await;
    app.register_backend("other", "system/*.cruds").await;
    let token = app.token("lab", "system/*.rs").await;
    let inspect = async |token: &str| {
        let assertion = RSA.sign(&app.claims("other"));
        app.signed("/auth/introspect", &assertion, &[("token", token)])
            .await
            .expect(200)
            .json()
    };
    let seen = inspect(&token).await;
    assert_eq!(
        (&seen["active"], &seen["client_id"], &seen["scope"], &seen["iss"]),
        (&json!(true), &json!("lab"), &json!("system/*.rs"), &json!(app.address))
    );
    assert_eq!(seen["exp"].as_i64().unwrap() - seen["iat"].as_i64().unwrap(), 300);
    assert_eq!(inspect("nonsense").await, json!({"active": false}));

    // A token is enough to ask about one, and nothing is too little.
    let asked = app.form("/auth/introspect", &[("token", &token)]).bearer_auth(&token);
    assert_eq!(asked.answer().await.expect(200).json()["active"], json!(true));
    let asked = app
        .form("/auth/introspect", &[("token", &token)])
        .bearer_auth("nonsense");
    refused(asked.answer().await, 401, "invalid_client");
    refused(
        app.form("/auth/introspect", &[("token", &token)]).answer().await,
        400,
        "invalid_request",
    );
    let by_name = app.form("/auth/introspect", &[("token", &token), ("client_id", "lab")]);
    refused(by_name.answer().await, 401, "invalid_client");

    let give_back = async |client: &str| {
        let assertion = RSA.sign(&app.claims(client));
        app.signed("/auth/revoke", &assertion, &[("token", &token)])
            .await
            .expect(200);
    };
    give_back("other").await;
    app.get("Patient").bearer_auth(&token).answer().await.expect(200);
    give_back("lab").await;
    app.get("Patient").bearer_auth(&token).answer().await.expect(401);
    assert_eq!(inspect(&token).await, json!({"active": false}));
}

#[tokio::test]
async fn what_has_expired_is_worthless_and_swept_away() {
    let app = guarded_with_backend().await;
    let token = app.token("lab", "system/*.rs").await;
    let mut connection = app.connection().await;
    let past = (app.app.clock.now() - jiff::SignedDuration::from_hours(2)).to_sqlx();
    for statement in [
        "UPDATE access_token SET expires_at = $1",
        "UPDATE oauth_grant SET created_at = $1",
        "UPDATE used_assertion SET expires_at = $1",
    ] {
        sqlx::query(statement)
            .bind(past)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    app.get("Patient").bearer_auth(&token).answer().await.expect(401);

    medconsult::auth::tokens::sweep(&mut connection, app.app.clock.now())
        .await
        .unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM access_token) + (SELECT count(*) FROM oauth_grant) + (SELECT count(*) FROM used_assertion)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(left, 0);
}
