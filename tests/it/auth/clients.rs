//! SMART clients that others wrote, let in by this server: npm's `fhirclient` in a browser and `openid-client`, PyPI's `authlib`
//! and `fhirclient`. They are programs of their own (tests/clients), which say what they do in lines of JSON.

use std::path::Path;
use std::process::Stdio;

use medconsult::auth::accounts::Role;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::crypto;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::chromium::PROGRAMS;
use super::second_factor::{GRACE, PASSWORD, invited, set_up};
use super::visitor::Visitor;
use super::{guard, profile_of};
use crate::app::{Ask, TestApp, spawn_app_with};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const ADA: &str = "ada@clinic.example";

/// A client that runs.
struct Client {
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Client {
    /// One of npm; `None` when the packages are not installed.
    fn node(script: &str) -> Option<Client> {
        let installed = Path::new(FOLDER).join("node_modules").is_dir();
        Client::start(installed, Path::new("node"), script)
    }

    /// One of PyPI.
    fn python(script: &str) -> Option<Client> {
        let python = Path::new(FOLDER).join("venv/bin/python");
        Client::start(python.exists(), &python, script)
    }

    fn start(installed: bool, program: &Path, script: &str) -> Option<Client> {
        if !installed {
            skipped!("the clients of the tests are not installed (make test does)");
            return None;
        }
        let mut process = Command::new(program)
            .arg(script)
            .current_dir(FOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client runs");
        Some(Client {
            input: process.stdin.take().unwrap(),
            lines: BufReader::new(process.stdout.take().unwrap()).lines(),
            _process: process,
        })
    }

    async fn say(&mut self, value: Value) {
        let line = format!("{value}\n");
        self.input.write_all(line.as_bytes()).await.expect("the client listens");
    }

    /// What the client says next: something with this name.
    async fn hear(&mut self, name: &str) -> Value {
        let line = self.lines.next_line().await.unwrap().expect("the client goes on");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert!(said.get(name).is_some(), "{said:#}");
        said[name].clone()
    }

    async fn hear_text(&mut self, name: &str) -> String {
        self.hear(name).await.as_str().unwrap().to_owned()
    }

    /// Sends the person to where the client wants them, where they allow everything.
    async fn send_to_consent(&mut self, person: &mut Visitor<'_>) {
        let address = self.hear_text("open").await;
        let path = address.strip_prefix(&person.app.address).unwrap();
        let page = person.open(path).await.expect(200);
        let back = person.decide(&page, "allow", |_| true).await.expect(303);
        self.say(json!({"back": back.header("location")})).await;
    }
}

/// A server that lets pages of this origin in, and fetches keys from this machine.
async fn spawn_app_for(origin: &str) -> TestApp {
    let origin = origin.to_owned();
    spawn_app_with(|config| {
        guard(config);
        config.http.cors_origins = vec![origin];
        config.identity.private_hosts = vec!["127.0.0.1".to_owned()];
    })
    .await
}

async fn register(app: &TestApp, id: &str, scope: &str, redirect: &str, launch_url: Option<&str>, proof: NewProof<'_>) {
    let redirect_uris: Vec<String> = Some(redirect.to_owned())
        .into_iter()
        .filter(|uri| !uri.is_empty())
        .collect();
    let client = NewClient {
        id,
        name: "The App",
        scopes: &Scopes::parse(scope).unwrap(),
        redirect_uris: &redirect_uris,
        launch_url,
        launches: false,
        proof,
    };
    let now = app.app.clock.now();
    assert!(clients::add(&app.app.database.write, now, &client).await.unwrap());
}

async fn administrator(app: &TestApp) -> Visitor<'_> {
    let mut grace = invited(app, Role::Admin).await;
    set_up(&mut grace).await;
    grace
}

/// The browser.
fn chromium() -> Option<&'static str> {
    let found = PROGRAMS.into_iter().find(|program| Path::new(program).is_file());
    if found.is_none() {
        skipped!("there is no Chromium (make test installs it where it can)");
    }
    found
}

#[tokio::test]
async fn npm_fhirclient_is_let_in_by_a_patient_in_a_browser() {
    let (Some(mut client), Some(chromium)) = (Client::node("browser.js"), chromium()) else {
        return;
    };
    let origin = client.hear_text("origin").await;
    let app = spawn_app_for(&origin).await;
    let scope = "openid fhirUser launch/patient patient/*.rs offline_access";
    register(&app, "app", scope, &format!("{origin}/app"), None, NewProof::Public).await;
    app.visitor().sign_up(ADA, PASSWORD).await;
    let profile = profile_of(&app, ADA).await;
    let all_of_conditions: Vec<String> = ["problem-list-item", "encounter-diagnosis"]
        .map(|code| {
            format!("patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|{code}")
        })
        .into_iter()
        .chain([
            "patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern"
                .to_owned(),
            "patient/Condition.rs".to_owned(),
        ])
        .collect();
    client
        .say(json!({
            "chromium": chromium, "root": app.address, "base": app.base, "client": "app", "scope": scope,
            "person": {"email": ADA, "password": PASSWORD},
            "types": ["Observation", "Condition"], "untick": all_of_conditions,
        }))
        .await;
    let found = client.hear("done").await;
    assert_eq!(
        format!("Patient/{}", found["patient"].as_str().unwrap()),
        profile,
        "{found:#}"
    );
    assert_eq!(
        (&found["user"], &found["after"]),
        (&json!("Patient"), &found["patient"])
    );
    assert_eq!(
        (&found["refreshed"], &found["context"]["banner"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(found["statuses"], json!({"Observation": 200, "Condition": 403}));
    let granted = found["scope"].as_str().unwrap();
    assert!(
        granted.contains("patient/Observation.rs") && !granted.contains("patient/Condition"),
        "{granted}"
    );
}

#[tokio::test]
async fn npm_fhirclient_is_opened_by_a_practitioner_in_a_browser() {
    let (Some(mut client), Some(chromium)) = (Client::node("browser.js"), chromium()) else {
        return;
    };
    let origin = client.hear_text("origin").await;
    let app = spawn_app_for(&origin).await;
    let scope = "openid fhirUser launch user/*.rs online_access";
    let launch = format!("{origin}/launch");
    register(
        &app,
        "app",
        scope,
        &format!("{origin}/app"),
        Some(&launch),
        NewProof::Public,
    )
    .await;
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    let grace_is = profile_of(&app, GRACE).await;
    for (url, resource) in [
        (
            "Patient/mary",
            json!({
                "resourceType": "Patient", "id": "mary", "name": [{"given": ["Mary"], "family": "Somerville"}],
                "birthDate": "1780-12-26",
            }),
        ),
        (
            "Encounter/visit",
            json!({
                "resourceType": "Encounter", "id": "visit", "status": "in-progress", "subject": {"reference": "Patient/mary"},
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR"},
                "participant": [{"individual": {"reference": grace_is}}],
            }),
        ),
    ] {
        let written = app.put(url).fhir(&resource).bearer_auth(&token).answer().await;
        written.expect(201);
    }
    client
        .say(json!({
            "chromium": chromium, "root": app.address, "base": app.base, "client": "app", "scope": scope,
            "cookie": {"name": "medconsult", "value": grace.cookies["medconsult"]},
            "open": {"name": "The App", "answers": [
                {"search": "Somerville", "choose": "Mary Somerville, born 1780-12-26"},
                {"choose": "VR, in-progress"},
            ]},
            "types": ["Observation"],
        }))
        .await;
    let found = client.hear("done").await;
    assert_eq!(
        (&found["patient"], &found["encounter"], &found["user"]),
        (&json!("mary"), &json!("visit"), &json!("Practitioner")),
        "{found:#}"
    );
    assert_eq!((&found["refreshed"], &found["after"]), (&json!(true), &json!("mary")));
    assert!(
        found["context"]["style"]
            .as_str()
            .unwrap()
            .ends_with("/auth/smart-style.json")
    );
    assert_eq!(found["statuses"], json!({"Observation": 200}));
}

#[tokio::test]
async fn npm_openid_client_signs_with_keys_at_its_own_address() {
    let Some(mut client) = Client::node("openid.js") else {
        return;
    };
    let origin = client.hear_text("origin").await;
    let app = spawn_app_for(&origin).await;
    let keys = format!("{origin}/keys");
    let (scope, callback) = (
        "openid fhirUser profile user/*.rs offline_access",
        format!("{origin}/callback"),
    );
    register(&app, "app", scope, &callback, None, NewProof::KeysAt(&keys)).await;
    register(&app, "lab", "system/*.rs", "", None, NewProof::KeysAt(&keys)).await;
    let mut grace = administrator(&app).await;
    client
        .say(json!({"issuer": app.address, "base": app.base, "client": "app", "backEnd": "lab", "scope": scope}))
        .await;
    client.send_to_consent(&mut grace).await;
    let found = client.hear("done").await;
    assert_eq!(found["claims"]["iss"], app.address);
    assert_eq!(
        (&found["user"]["name"], &found["user"]["sub"]),
        (&json!("Grace Hopper"), &found["claims"]["sub"])
    );
    assert_eq!(
        (
            &found["seen"]["active"],
            &found["seen"]["scope"],
            &found["seen"]["fhirUser"]
        ),
        (&json!(true), &json!(scope), &found["claims"]["fhirUser"])
    );
    assert_eq!(found["statuses"], json!([200, 401, 200]));
}

#[tokio::test]
async fn pypi_authlib_is_let_in_with_a_secret_and_with_a_key() {
    let Some(mut client) = Client::python("authlib_client.py") else {
        return;
    };
    let keys = client.hear("keys").await;
    clients::check_keys(&keys).unwrap();
    let redirect = "http://127.0.0.1/callback";
    let app = spawn_app_for("http://127.0.0.1").await;
    let (scope, secret) = (
        "openid fhirUser user/*.rs offline_access",
        "NAsWQc4vNyMDBtNbpE7ZmXuM-8yCw_nU5WDSYOVQrfA",
    );
    register(
        &app,
        "app",
        scope,
        redirect,
        None,
        NewProof::Secret(crypto::digest(secret)),
    )
    .await;
    register(&app, "lab", "system/*.rs", "", None, NewProof::Keys(&keys)).await;
    let mut grace = administrator(&app).await;
    client
        .say(json!({
            "issuer": app.address, "base": app.base, "client": "app", "secret": secret, "scope": scope,
            "redirect": redirect, "back_end": "lab",
        }))
        .await;
    client.send_to_consent(&mut grace).await;
    let found = client.hear("done").await;
    assert_eq!(
        (&found["claims"]["aud"], &found["claims"]["nonce"]),
        (&json!("app"), &json!("n"))
    );
    assert_eq!((&found["scope"], &found["own"]), (&json!(scope), &json!("system/*.rs")));
    assert_eq!(found["statuses"], json!([200, 200, 401, 200]));
}

#[tokio::test]
async fn pypi_fhirclient_launches_and_reads_a_record() {
    let Some(mut client) = Client::python("fhirclient_client.py") else {
        return;
    };
    let redirect = "http://127.0.0.1/callback";
    let app = spawn_app_for("http://127.0.0.1").await;
    let scope = "launch/patient openid fhirUser patient/*.read offline_access";
    register(&app, "app", scope, redirect, None, NewProof::Public).await;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    ada.sign_in(ADA, PASSWORD).await;
    let profile = profile_of(&app, ADA).await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    for (id, subject) in [("hers", profile.as_str()), ("other", "Patient/other")] {
        let result = json!({
            "resourceType": "Observation", "id": id, "status": "final", "subject": {"reference": subject},
            "code": {"coding": [{"code": "1234-5"}]},
        });
        let url = format!("Observation/{id}");
        app.put(&url)
            .fhir(&result)
            .bearer_auth(&token)
            .answer()
            .await
            .expect(201);
    }
    client
        .say(json!({
            "client": "app", "base": app.base, "redirect": redirect,
            "scope": "openid fhirUser patient/*.read offline_access",
        }))
        .await;
    client.send_to_consent(&mut ada).await;
    let found = client.hear("done").await;
    let id = profile.strip_prefix("Patient/").unwrap();
    assert_eq!(
        (&found["patient"], &found["again"]),
        (&json!(id), &json!(id)),
        "{found:#}"
    );
    assert_eq!((&found["found"], &found["refreshed"]), (&json!(["hers"]), &json!(true)));
    assert_eq!(
        (&found["ready"], &found["context"]["patient"]),
        (&json!(true), &json!(id))
    );
}
