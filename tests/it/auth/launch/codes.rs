//! Codes, and what they are changed for.

use super::*;

#[tokio::test]
async fn every_kind_of_application_is_let_in() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    app.register_app("secret", SCOPE, NewProof::Secret(crypto::digest(SECRET)))
        .await;
    app.register_app("keys", SCOPE, NewProof::Keys(&json!({"keys": [RSA.public()]})))
        .await;
    for client in ["app", "secret", "keys"] {
        let code = grace.code(&[("client_id", client)]).await;
        let verifier = ("code_verifier", VERIFIER);
        let answer = match client {
            "app" => app.change(&code, &PUBLIC).await,
            "secret" => {
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("redirect_uri", BACK),
                    verifier,
                ];
                app.form("/auth/token", &fields)
                    .basic_auth("secret", Some("a+secret+of+the+application"))
                    .answer()
                    .await
            }
            _ => {
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("redirect_uri", BACK),
                    verifier,
                ];
                app.signed("/auth/token", &RSA.sign(&app.claims("keys")), &fields).await
            }
        };
        let token = answer.expect(200).json();
        assert_eq!(
            (&token["scope"], &token["expires_in"], &token["token_type"]),
            (&json!(SCOPE), &json!(1800), &json!("Bearer"))
        );
        assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 200);
        assert!(token["refresh_token"].is_string());
        check_id_token(&app, token["id_token"].as_str().unwrap(), client).await;
    }
}

/// Checks an id_token as an application does: by what discovery tells.
async fn check_id_token(app: &TestApp, id_token: &str, client: &str) {
    let configuration = app
        .get("/.well-known/openid-configuration")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(configuration["issuer"], app.address);
    let keys = app
        .get(configuration["jwks_uri"].as_str().unwrap())
        .answer()
        .await
        .expect(200)
        .json();
    let header = jsonwebtoken::decode_header(id_token).unwrap();
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header.kid.clone().unwrap())
        .unwrap();
    let key = DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[client]);
    validation.set_issuer(&[&app.address]);
    let claims = jsonwebtoken::decode::<Value>(id_token, &key, &validation)
        .unwrap()
        .claims;
    assert_eq!(
        (&claims["nonce"], &claims["name"]),
        (&json!("n1"), &json!("Grace Hopper"))
    );
    let user = claims["fhirUser"].as_str().unwrap();
    assert!(user.starts_with(&format!("{}/Practitioner/", app.base)), "{user}");
    assert!(claims["sub"].as_str().is_some_and(|sub| !sub.is_empty()) && claims["auth_time"].is_i64());
}

#[tokio::test]
async fn a_code_needs_its_verifier_its_client_and_its_address() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    app.register_app("other", SCOPE, NewProof::Public).await;
    let id = ("client_id", "app");
    let challenge = challenge();
    for fields in [
        vec![id],
        vec![id, ("code_verifier", "")],
        vec![id, ("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")],
        vec![id, ("code_verifier", challenge.as_str())],
        vec![id, ("code_verifier", &VERIFIER[1..])],
        vec![("client_id", "other"), ("code_verifier", VERIFIER)],
    ] {
        let code = grace.code(&[]).await;
        refused(app.change(&code, &fields).await, 400, "invalid_grant");
        // It is burnt: the right way does not work any more either.
        refused(app.change(&code, &PUBLIC).await, 400, "invalid_grant");
    }
    let code = grace.code(&[]).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "https://app.example/other"),
        PUBLIC[0],
        PUBLIC[1],
    ];
    refused(app.form("/auth/token", &fields).answer().await, 400, "invalid_grant");

    refused(app.change("made-up", &PUBLIC).await, 400, "invalid_grant");
    let code = grace.code(&[]).await;
    refused(
        app.change(&code, &[("client_id", "nobody"), PUBLIC[1]]).await,
        401,
        "invalid_client",
    );
    refused(
        app.change(&code, &[PUBLIC[0], PUBLIC[1], ("client_secret", "guess")])
            .await,
        401,
        "invalid_client",
    );
    // An unproved client has burnt nothing.
    app.change(&code, &PUBLIC).await.expect(200);

    let code = grace.code(&[]).await;
    let mut connection = app.connection().await;
    let past = (app.app.clock.now() - SignedDuration::from_secs(1)).to_sqlx();
    sqlx::query("UPDATE authorization_code SET expires_at = $1")
        .bind(past)
        .execute(&mut connection)
        .await
        .unwrap();
    refused(app.change(&code, &PUBLIC).await, 400, "invalid_grant");
}

#[tokio::test]
async fn an_application_with_a_secret_proves_it_in_one_way() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    app.register_app("secret", SCOPE, NewProof::Secret(crypto::digest(SECRET)))
        .await;
    app.register_app("keys", SCOPE, NewProof::Keys(&json!({"keys": [RSA.public()]})))
        .await;
    let code = grace.code(&[("client_id", "secret")]).await;
    let verifier = ("code_verifier", VERIFIER);
    let (id, secret) = (("client_id", "secret"), ("client_secret", SECRET));
    for fields in [
        vec![id, verifier],
        vec![id, verifier, ("client_secret", "a guess")],
        vec![id, verifier, ("client_secret", "")],
        vec![("client_id", "keys"), verifier],
        vec![("client_id", "keys"), verifier, secret],
    ] {
        refused(app.change(&code, &fields).await, 401, "invalid_client");
    }
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", BACK),
        verifier,
        id,
    ];
    let in_the_address = format!("/auth/token?{}", encode(&[secret]));
    refused(app.form(&in_the_address, &fields).answer().await, 401, "invalid_client");
    let twice = app.form("/auth/token", &[&fields[..], &[secret]].concat());
    refused(
        twice.basic_auth("secret", Some(SECRET)).answer().await,
        401,
        "invalid_client",
    );
    let wrong = app.form("/auth/token", &fields).basic_auth("secret", Some("a guess"));
    refused(wrong.answer().await, 401, "invalid_client");
    // None of them has used the code up.
    app.change(&code, &[id, verifier, secret]).await.expect(200);
    // It may not act in its own name.
    let own = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        id,
        secret,
    ];
    refused(app.form("/auth/token", &own).answer().await, 400, "unauthorized_client");
}

#[tokio::test]
async fn a_code_is_changed_once_and_the_second_use_ends_everything() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let bearer = token["access_token"].as_str().unwrap();
    assert_eq!(app.opens(bearer).await, 200);
    refused(app.change(&code, &PUBLIC).await, 400, "invalid_grant");
    assert_eq!(app.opens(bearer).await, 401);
    refused(
        app.refresh(token["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );

    let code = grace.code(&[]).await;
    let answers = join_all((0..6).map(|_| app.change(&code, &PUBLIC))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn a_token_of_a_person_can_be_looked_at() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let bearer = token["access_token"].as_str().unwrap();
    let seen = app
        .form("/auth/introspect", &[("token", bearer)])
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(200)
        .json();
    let user = app
        .get("/auth/userinfo")
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &seen["active"],
            &seen["client_id"],
            &seen["scope"],
            &seen["sub"],
            &seen["iss"]
        ),
        (
            &json!(true),
            &json!("app"),
            &json!(SCOPE),
            &user["sub"],
            &json!(app.address)
        )
    );
    // Who cannot prove to be a client shows a token of their own, or learns nothing.
    let by_name = app.form("/auth/introspect", &[("token", bearer), ("client_id", "app")]);
    refused(by_name.answer().await, 401, "invalid_client");
    // A refresh token is not an access token.
    let refresh = token["refresh_token"].as_str().unwrap();
    assert_eq!(app.opens(refresh).await, 401);
}
