//! Applications that people let in: from the authorize endpoint to the last refresh.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medconsult::auth::accounts::Role;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::auth::{keys, tokens};
use medconsult::base::crypto;
use serde_json::{Value, json};

use super::second_factor::{GRACE, PASSWORD, invited, set_up};
use super::visitor::{Visitor, sent_to};
use super::{RSA, spawn_guarded_app};
use crate::app::{Answer, Ask, TestApp};

const BACK: &str = "https://app.example/cb";
const SCOPE: &str = "openid fhirUser profile offline_access user/*.cruds";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const SECRET: &str = "a secret of the application";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(crypto::digest(VERIFIER))
}

fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

impl TestApp {
    async fn register_app(&self, id: &str, scope: &str, proof: NewProof<'_>) {
        let client = NewClient {
            id,
            name: "The App",
            scopes: &Scopes::parse(scope).unwrap(),
            redirect_uris: &[BACK.to_owned()],
            proof,
        };
        assert!(
            clients::add(&self.app.database.write, self.app.clock.now(), &client)
                .await
                .unwrap()
        );
    }

    /// A request that is as it must be, with some parameters changed: an empty one is left out.
    fn request_of<'a>(&'a self, changes: &[(&'a str, &'a str)], challenge: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", BACK),
            ("scope", SCOPE),
            ("state", "s/1 ä"),
            ("aud", self.base.as_str()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
            ("nonce", "n1"),
        ];
        for (name, value) in changes {
            pairs.retain(|(other, _)| other != name);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        pairs
    }

    /// Changes a code for tokens, with these parameters besides.
    async fn change(&self, code: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
        ];
        all.extend_from_slice(fields);
        self.form("/auth/token", &all).answer().await
    }

    async fn refresh(&self, token: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", "app"),
        ];
        all.extend_from_slice(fields);
        self.form("/auth/token", &all).answer().await
    }

    async fn opens(&self, token: &str) -> u16 {
        self.get("Patient").bearer_auth(token).answer().await.status.as_u16()
    }
}

impl Visitor<'_> {
    async fn authorize(&mut self, changes: &[(&str, &str)]) -> Answer {
        let challenge = challenge();
        let query = encode(&self.app.request_of(changes, &challenge));
        self.open(&format!("/auth/authorize?{query}")).await
    }

    /// Allows what the page asks, or these scopes of it; gives the answer that sends the browser back.
    async fn decide(&mut self, page: &Answer, decision: &str, scopes: &str) -> Answer {
        let text = page.text();
        let sealed = text
            .split_once("name=\"request\" value=\"")
            .expect("a consent page")
            .1
            .split('"')
            .next()
            .unwrap();
        let mut fields = vec![("request", sealed), ("decision", decision)];
        fields.extend(scopes.split(' ').map(|scope| ("scope", scope)));
        self.submit("/auth/consent", &fields).await
    }

    /// A code for the application `app`.
    async fn code(&mut self, changes: &[(&str, &str)]) -> String {
        let page = self.authorize(changes).await.expect(200);
        let scopes = changes
            .iter()
            .find(|(name, _)| *name == "scope")
            .map_or(SCOPE, |(_, scope)| scope);
        let answer = self.decide(&page, "allow", scopes).await;
        let back = parameters(&answer);
        assert_eq!(
            (back["state"].as_str(), back["iss"].as_str()),
            (Some("s/1 ä"), Some(self.app.address.as_str()))
        );
        back["code"].as_str().unwrap().to_owned()
    }
}

/// What the application is told through the browser.
#[track_caller]
fn parameters(answer: &Answer) -> Value {
    let location = answer.header("location");
    assert_eq!(answer.status, 303, "{}", answer.text());
    let query = location
        .strip_prefix(&format!("{BACK}?"))
        .unwrap_or_else(|| panic!("{location}"));
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .map(|(name, value)| (name, json!(value)))
        .collect()
}

/// An administrator who is signed in, and the application `app`, which is public.
async fn with_admin(app: &TestApp) -> Visitor<'_> {
    app.register_app("app", SCOPE, NewProof::Public).await;
    let mut grace = invited(app, Role::Admin).await;
    set_up(&mut grace).await;
    grace
}

const PUBLIC: [(&str, &str); 2] = [("client_id", "app"), ("code_verifier", VERIFIER)];

#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]),
        (status, &json!(code)),
        "{}",
        answer.text()
    );
}

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
async fn requests_that_name_no_registered_application_end_at_a_page() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    for change in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "https://app.example/cb/"),
        ("redirect_uri", "https://app.example/cb?x=1"),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "javascript:alert(1)"),
    ] {
        let page = grace.authorize(&[change]).await.expect(400);
        assert_eq!(page.header("location"), "");
    }
    let query = encode(&app.request_of(&[], &challenge()));
    for repeated in ["client_id=app", "redirect_uri=https%3A%2F%2Fapp.example%2Fcb"] {
        grace
            .open(&format!("/auth/authorize?{query}&{repeated}"))
            .await
            .expect(400);
    }
    clients::set_enabled(&app.app.database.write, "app", false)
        .await
        .unwrap();
    grace.authorize(&[]).await.expect(400);
}

#[tokio::test]
async fn other_wrong_requests_go_back_with_the_reason() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let elsewhere = format!("{}/x", app.base);
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "code id_token"), "unsupported_response_type"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("aud", ""), "invalid_request"),
        (("aud", "https://other.example/fhir"), "invalid_request"),
        (("aud", elsewhere.as_str()), "invalid_request"),
        (("launch", "xyz"), "invalid_request"),
        (("request", "xyz"), "request_not_supported"),
        (("scope", ""), "invalid_scope"),
        (("scope", "openid system/*.rs"), "invalid_scope"),
        (("scope", "openid patient/*.rs"), "invalid_scope"),
        (("scope", "openid online_access"), "invalid_scope"),
        (("prompt", "none"), "consent_required"),
    ] {
        let answer = grace.authorize(&[change]).await;
        let back = parameters(&answer);
        assert_eq!(
            (&back["error"], &back["state"]),
            (&json!(error), &json!("s/1 ä")),
            "{change:?}"
        );
        assert_eq!(back["iss"], app.address);
        assert!(back.get("code").is_none());
    }
    let back = parameters(&grace.authorize(&[("state", "")]).await);
    assert_eq!((&back["error"], back.get("state")), (&json!("invalid_request"), None));
    let query = encode(&app.request_of(&[], &challenge()));
    let back = parameters(&grace.open(&format!("/auth/authorize?{query}&scope=openid")).await);
    assert_eq!(back["error"], "invalid_request");
    let back = parameters(&app.visitor().authorize(&[("prompt", "none")]).await);
    assert_eq!(back["error"], "login_required");
}

#[tokio::test]
async fn who_is_not_signed_in_signs_in_first() {
    let app = spawn_guarded_app().await;
    app.register_app("app", "openid profile", NewProof::Public).await;
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    let there = ada.authorize(&[("scope", "openid profile")]).await;
    let location = there.header("location").to_owned();
    assert!(
        location.starts_with("/auth/sign-in?next=%2Fauth%2Fauthorize%3F"),
        "{location}"
    );
    let page = ada.open(&location).await.expect(200).text();
    let next = page
        .split_once("name=\"next\" value=\"")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let fields = [("email", "ada@clinic.example"), ("password", PASSWORD), ("next", &next)];
    let back = ada.submit("/auth/sign-in", &fields).await;
    sent_to(&back, &next);
    let page = ada.open(&next).await.expect(200);
    assert!(page.text().contains("The App") && page.text().contains("know that it is you"));
    // Browsers let the form end at the application, and nowhere else.
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example;")
    );
    let answer = ada.decide(&page, "allow", "openid profile").await;
    let code = parameters(&answer)["code"].as_str().unwrap().to_owned();

    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    assert!(token.get("refresh_token").is_none());
    let bearer = token["access_token"].as_str().unwrap();
    let user = app
        .get("/auth/userinfo")
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!((&user["name"], user.get("fhirUser")), (&json!("Ada Lovelace"), None));
    // It tells who she is, and opens no records.
    assert_eq!(app.opens(bearer).await, 403);
    assert_eq!(app.opens(token["id_token"].as_str().unwrap()).await, 401);
    app.get("/auth/userinfo").answer().await.expect(401);
}

#[tokio::test]
async fn records_are_for_applications_of_administrators_only() {
    let app = spawn_guarded_app().await;
    app.register_app("app", SCOPE, NewProof::Public).await;
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    ada.sign_in("ada@clinic.example", PASSWORD).await;
    assert_eq!(parameters(&ada.authorize(&[]).await)["error"], "access_denied");

    // An administrator who is made a practitioner loses what was given before, at once.
    let mut grace = invited(&app, Role::Admin).await;
    set_up(&mut grace).await;
    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let bearer = token["access_token"].as_str().unwrap();
    assert_eq!(app.opens(bearer).await, 200);
    let mut connection = app.connection().await;
    sqlx::query("UPDATE account SET role = 'practitioner' WHERE email = $1")
        .bind(GRACE)
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(app.opens(bearer).await, 403);
}

#[tokio::test]
async fn a_person_narrows_or_refuses() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let page = grace.authorize(&[]).await.expect(200);
    let back = parameters(&grace.decide(&page, "deny", SCOPE).await);
    assert_eq!((&back["error"], back.get("code")), (&json!("access_denied"), None));
    // Nothing ticked, or only the right to write, is no grant either.
    let back = parameters(&grace.decide(&page, "allow", "").await);
    assert_eq!(back["error"], "access_denied");

    // Fewer are granted; what was not asked for is not.
    let answer = grace
        .decide(&page, "allow", "openid user/*.cruds system/*.cruds online_access")
        .await;
    let code = parameters(&answer)["code"].as_str().unwrap().to_owned();
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    assert_eq!(token["scope"], "openid user/*.cruds");
    assert!(token.get("refresh_token").is_none());

    // The request that was shown is the request that is allowed, in the session that was asked.
    let sealed = page
        .text()
        .split_once("name=\"request\" value=\"")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    grace
        .submit("/auth/consent", &[("request", &sealed[4..]), ("decision", "allow")])
        .await
        .expect(403);
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    ada.sign_in("ada@clinic.example", PASSWORD).await;
    ada.open("/auth/account").await.expect(200);
    ada.submit(
        "/auth/consent",
        &[("request", &sealed), ("decision", "allow"), ("scope", "openid")],
    )
    .await
    .expect(403);
    let raw = [("request", sealed.as_str()), ("decision", "allow"), ("scope", "openid")];
    grace.submit_raw("/auth/consent", &raw, &[]).await.expect(403);
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
async fn refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    app.register_app("other", SCOPE, NewProof::Public).await;
    let code = grace.code(&[]).await;
    let first = app.change(&code, &PUBLIC).await.expect(200).json();
    let first_refresh = first["refresh_token"].as_str().unwrap();

    // Neither for more, nor for another client; and neither question uses it up.
    refused(
        app.refresh(first_refresh, &[("scope", "openid system/*.rs")]).await,
        400,
        "invalid_scope",
    );
    refused(
        app.refresh(first_refresh, &[("scope", "openid online_access")]).await,
        400,
        "invalid_scope",
    );
    let stranger = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first_refresh),
        ("client_id", "other"),
    ];
    refused(app.form("/auth/token", &stranger).answer().await, 400, "invalid_grant");
    refused(app.refresh("made-up", &[]).await, 400, "invalid_grant");

    let second = app
        .refresh(first_refresh, &[("scope", "openid user/*.rs")])
        .await
        .expect(200)
        .json();
    assert_eq!(second["scope"], "openid user/*.rs");
    let bearer = second["access_token"].as_str().unwrap();
    assert_eq!(app.opens(bearer).await, 200);
    let patient = json!({"resourceType": "Patient"});
    app.post("Patient")
        .fhir(&patient)
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(403);
    // Narrowed once is not narrowed for ever: the grant is what the person allowed.
    let third = app
        .refresh(second["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200)
        .json();
    assert_eq!(third["scope"], SCOPE);

    refused(app.refresh(first_refresh, &[]).await, 400, "invalid_grant");
    for token in [&first, &second, &third] {
        assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    }
    refused(
        app.refresh(third["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
}

#[tokio::test]
async fn access_ends_with_the_session_unless_it_was_to_outlive_it() {
    let app = spawn_guarded_app().await;
    let scopes = "openid online_access offline_access user/*.rs";
    app.register_app("app", scopes, NewProof::Public).await;
    let mut grace = invited(&app, Role::Admin).await;
    set_up(&mut grace).await;
    let mut given = Vec::new();
    for scope in ["user/*.rs", "online_access user/*.rs", "offline_access user/*.rs"] {
        let code = grace.code(&[("scope", scope)]).await;
        given.push(app.change(&code, &PUBLIC).await.expect(200).json());
    }
    assert!(given[0].get("refresh_token").is_none() && given[1]["refresh_token"].is_string());
    grace.open("/auth/account").await.expect(200);
    sent_to(&grace.submit("/auth/sign-out", &[]).await, "/auth/sign-in");
    let mut opened = Vec::new();
    for token in &given {
        opened.push(app.opens(token["access_token"].as_str().unwrap()).await);
    }
    assert_eq!(opened, [401, 401, 200]);
    refused(
        app.refresh(given[1]["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
    app.refresh(given[2]["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200);
}

#[tokio::test]
async fn access_is_taken_away_by_person_application_and_password() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let let_in = async |grace: &mut Visitor<'_>| {
        let code = grace.code(&[]).await;
        app.change(&code, &PUBLIC).await.expect(200).json()
    };
    // By the person, on the page of the account.
    let token = let_in(&mut grace).await;
    assert!(grace.open("/auth/account").await.expect(200).text().contains("The App"));
    sent_to(
        &grace
            .submit("/auth/account/end-application", &[("client", "app")])
            .await,
        "/auth/account",
    );
    assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    refused(
        app.refresh(token["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
    assert!(!grace.open("/auth/account").await.expect(200).text().contains("The App"));

    // By the application, with either token.
    for kind in ["access_token", "refresh_token"] {
        let token = let_in(&mut grace).await;
        let fields = [("client_id", "app"), ("token", token[kind].as_str().unwrap())];
        app.form("/auth/revoke", &fields).answer().await.expect(200);
        assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    }

    // By another password, and by closing the account.
    let token = let_in(&mut grace).await;
    grace.open("/auth/account").await.expect(200);
    grace
        .submit("/auth/account/password", &[("password", "seven quiet harbours sleep")])
        .await
        .expect(303);
    app.mails_to(GRACE).await;
    assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
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
    // A refresh token is not an access token.
    let refresh = token["refresh_token"].as_str().unwrap();
    assert_eq!(app.opens(refresh).await, 401);
}

#[tokio::test]
async fn signing_keys_take_turns() {
    let app = spawn_guarded_app().await;
    let auth = app.app.auth.as_ref().unwrap();
    let kids = async || -> Vec<String> {
        let keys = app.get("/auth/jwks").answer().await.expect(200).json();
        assert!(!keys.to_string().contains("\"d\""));
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let signs = async || {
        let signed = keys::sign(auth, &json!({"sub": "x"})).await.unwrap();
        jsonwebtoken::decode_header(&signed).unwrap().kid.unwrap()
    };
    let tend = async |later: SignedDuration| {
        keys::tend(&auth.pool, &auth.vault, app.app.clock.now() + later)
            .await
            .unwrap()
    };

    let before = kids().await;
    let old = signs().await;
    assert_eq!(before.len(), 2);
    let next = before.iter().find(|kid| **kid != old).unwrap().clone();
    tend(SignedDuration::from_hours(24)).await;
    assert_eq!(kids().await.len(), 2);

    // The one that was published beforehand signs; the old one can still be checked; another one comes next.
    tend(keys::TURN).await;
    assert_eq!(signs().await, next);
    let after = kids().await;
    assert!(after.len() == 3 && after.contains(&old) && after.contains(&next));
    tend(keys::TURN + keys::RETAINED).await;
    let last = kids().await;
    assert!(last.len() == 2 && !last.contains(&old) && last.contains(&next));

    // A key that is withdrawn is gone at once, and the next one signs.
    assert!(keys::revoke(auth, &next).await.unwrap() && !keys::revoke(auth, &next).await.unwrap());
    assert!(!kids().await.contains(&next) && last.contains(&signs().await));

    // Under another master key nothing is signed.
    let other = medconsult::base::crypto::Vault::new(&medconsult::base::crypto::Vault::new_key()).unwrap();
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT private FROM signing_key WHERE state = 'active'")
        .fetch_one(&auth.pool)
        .await
        .unwrap();
    let kid = signs().await;
    let place = format!("signing key {kid}");
    assert!(other.open(&place, &sealed).is_err() && auth.vault.open(&place, &sealed).is_ok());
}

#[tokio::test]
async fn a_grant_is_swept_away_when_nothing_of_it_is_left() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let code = grace.code(&[("scope", "openid user/*.rs")]).await;
    app.change(&code, &PUBLIC).await.expect(200);
    let code = grace.code(&[]).await;
    let kept = app.change(&code, &PUBLIC).await.expect(200).json();
    let mut connection = app.connection().await;
    tokens::sweep(&mut connection, app.app.clock.now() + SignedDuration::from_hours(2))
        .await
        .unwrap();
    let left: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM oauth_grant), (SELECT count(*) FROM access_token)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(left, (1, 0));
    app.refresh(kept["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200);
}
