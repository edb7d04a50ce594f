//! Secrets come from settings and files, and leave neither by the log nor by `medconsult config`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::crypto;
use serde_json::json;

use super::log::Log;
use crate::app::{Answer, Ask, clusters_directory};
use crate::auth::{RSA, spawn_guarded_app};
use crate::faults::{data_dir, program};

#[tokio::test]
async fn nothing_that_is_secret_reaches_the_log() {
    let app = spawn_guarded_app().await;
    let log = Log::new();
    let mut secrets: Vec<(&str, String)> = Vec::new();
    let mut keep = |what, secret: &str| {
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        secrets.push((what, secret.to_owned()));
    };

    // A person signs up, is mistaken once, and signs in.
    let (email, password, wrong) = (
        "planted@clinic.example",
        "plover wants eleven lamps",
        "plover wants twelve lamps",
    );
    let mut visitor = app.visitor();
    visitor.sign_up(email, password).await;
    visitor.sign_in(email, wrong).await.expect(401);
    visitor
        .sign_in("nobody-planted@clinic.example", wrong)
        .await
        .expect(401);
    visitor.sign_in(email, password).await.expect(303);
    visitor.open("/auth/account").await.expect(200);
    visitor
        .submit("/auth/account/password", &[("password", "planted new password")])
        .await;
    keep("a form token", &visitor.form_token);
    for cookie in visitor.cookies.values() {
        keep("a cookie", cookie);
    }
    for (what, secret) in [
        ("an address", email),
        ("an address without an account", "nobody-planted"),
        ("a password", password),
        ("a wrong password", wrong),
        ("a new password", "planted new password"),
        ("a name", "Lovelace"),
    ] {
        keep(what, secret);
    }
    app.mails_to(email).await;

    // A back end gets a token, and uses it and others.
    app.register_backend("lab", "system/*.cruds").await;
    let assertion = RSA.sign(&app.claims("lab"));
    let token: Answer = app.ask_for_token(&assertion, "system/*.cruds").await.expect(200);
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    app.ask_for_token(&assertion, "system/*.cruds").await.expect(401);
    keep("an assertion", assertion.rsplit('.').next().unwrap());
    keep("an access token", &token);
    app.get("Patient")
        .bearer_auth("planted-bearer")
        .answer()
        .await
        .expect(401);
    app.get("Patient")
        .bearer_auth("planted bearer")
        .answer()
        .await
        .expect(401);
    keep("a token that is none", "planted-bearer");
    keep("a token that is malformed", "planted bearer");

    // A client with a secret says it right, wrong and in the wrong place; codes and refresh tokens are made up.
    let client = NewClient {
        id: "app",
        name: "An application",
        scopes: &Scopes::parse("openid").unwrap(),
        redirect_uris: &["https://app.example/cb".to_owned()],
        launch_url: None,
        launches: false,
        proof: NewProof::Secret(crypto::digest("planted-client-secret")),
    };
    let now = app.app.clock.now();
    assert!(clients::add(&app.app.database.write, now, &client).await.unwrap());
    for (secret, status) in [("planted-client-secret", 400), ("planted-wrong-secret", 401)] {
        for fields in [
            [
                ("grant_type", "refresh_token"),
                ("refresh_token", "planted-refresh-token"),
            ],
            [("grant_type", "authorization_code"), ("code", "planted-code")],
        ] {
            let redirect = [
                ("redirect_uri", "https://app.example/cb"),
                ("code_verifier", "planted-verifier"),
            ];
            let proof = [("client_id", "app"), ("client_secret", secret)];
            let fields = [fields, redirect, proof].concat();
            app.form("/auth/token", &fields).answer().await.expect(status);
            let basic = app.form("/auth/token", &fields[..4]).basic_auth("app", Some(secret));
            basic.answer().await.expect(status);
        }
    }
    app.form("/auth/introspect", &[("token", "planted-introspected")])
        .answer()
        .await;
    app.form("/auth/revoke", &[("token", "planted-revoked"), ("client_id", "app")])
        .answer()
        .await;
    app.get("/auth/sign-in?next=/auth/planted-next").answer().await;
    app.get("/auth/confirm?link=planted-link").answer().await;
    for secret in [
        "planted-client-secret",
        "planted-wrong-secret",
        "planted-refresh-token",
        "planted-code",
        "planted-verifier",
        "planted-introspected",
        "planted-revoked",
        "planted-next",
        "planted-link",
    ] {
        keep("of a client", secret);
    }

    // Records are written, read, searched and refused.
    let patient = json!({"resourceType": "Patient", "name": [{"family": "Plantedname"}]});
    let created = app
        .post("Patient")
        .bearer_auth(&token)
        .fhir(&patient)
        .answer()
        .await
        .expect(201);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    app.get("Patient?family=Plantedname")
        .bearer_auth(&token)
        .answer()
        .await
        .expect(200);
    app.get("Patient?plantedparameter=plantedvalue")
        .bearer_auth(&token)
        .answer()
        .await;
    app.get("Patient/plantedid")
        .bearer_auth(&token)
        .answer()
        .await
        .expect(404);
    app.get("Patient?birthdate=planteddate")
        .bearer_auth(&token)
        .answer()
        .await
        .expect(400);
    let wrong = json!({"resourceType": "Patient", "plantedelement": "plantedcontent"});
    app.post("Patient")
        .bearer_auth(&token)
        .fhir(&wrong)
        .answer()
        .await
        .expect(422);
    app.post("Patient")
        .bearer_auth(&token)
        .body("plantedbody")
        .answer()
        .await;
    app.put(&format!("Patient/{id}"))
        .bearer_auth(&token)
        .fhir(&wrong)
        .answer()
        .await;
    for secret in [
        "Plantedname",
        "plantedparameter",
        "plantedvalue",
        "plantedid",
        "planteddate",
        "plantedelement",
        "plantedcontent",
        "plantedbody",
    ] {
        keep("of a record", secret);
    }

    keep("the master key", app.app.config.identity.master_key.reveal());
    let text = log.text();
    assert!(text.matches("request done").count() > 30, "the log was not watched");
    for (what, secret) in &secrets {
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{what}, {secret:?}, was logged");
    }
}

#[tokio::test]
async fn secrets_are_masked_wherever_they_come_from_and_open_files_are_told() {
    let folder = clusters_directory().join(format!("{}-secrets", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (open, closed) = (folder.join("open"), folder.join("closed"));
    fs::write(&open, "smtps://clinic:planted-mail@mail.example\n").unwrap();
    fs::write(&closed, "postgres://clinic:planted-database@db.example/records\n").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let output = program(&data_dir())
        .arg("config")
        .env("MEDCONSULT_IDENTITY_MASTER_KEY", "planted-master-key")
        .env("MEDCONSULT_MAIL_SERVER_FILE", &open)
        .env("MEDCONSULT_DATABASE_URL_FILE", &closed)
        .output()
        .await
        .unwrap();
    let (printed, said) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        printed.contains("url = \"postgres://clinic:***@db.example/records\""),
        "{printed}"
    );
    assert!(
        !printed.contains("planted") && !said.contains("planted"),
        "{printed}{said}"
    );
    assert!(
        said.contains("everybody on this machine can read this secret"),
        "{said}"
    );
    assert!(
        said.contains(open.to_str().unwrap()) && !said.contains(closed.to_str().unwrap()),
        "{said}"
    );
}
