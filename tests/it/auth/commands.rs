//! The commands of operators, run beside the server that they are about.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use medconsult::base::Clock;
use medconsult::base::postgres::Cluster;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::io::AsyncWriteExt;

use super::RSA;
use crate::app::Ask;
use crate::faults::{Server, data_dir, program};

/// Runs a command beside the server; what it printed.
async fn run_with(data_dir: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = program(data_dir);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    match status.success() {
        true => Ok(String::from_utf8(stdout).unwrap()),
        false => Err(String::from_utf8([stdout, stderr].concat()).unwrap()),
    }
}

/// All that the trail has, whether or not there are AuditEvents of it yet.
async fn trail_of(data_dir: &Path) -> Vec<String> {
    const SQL: &str = "SELECT event FROM audit_pending UNION ALL SELECT r.content::text FROM audit_chain c JOIN resource r USING (rid)";
    let options = Cluster::of_running_server(data_dir).unwrap();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar(SQL).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn an_operator_lets_people_and_back_ends_in_and_shuts_them_out() {
    let directory = data_dir();
    let server = Server::start_with(&directory, &[("MEDCONSULT_AUTH", "on")]).await;
    let root = server.base.strip_suffix("/fhir").unwrap();
    let run = async |arguments: &[&str]| run_with(&directory, arguments, "").await;
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mode = fs::metadata(directory.join("master.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A back end.
    let keys = file("keys.json", &json!({"keys": [RSA.public()]}).to_string());
    let add = [
        "client",
        "add",
        "--name",
        "Lab",
        "--scope",
        "system/*.cruds",
        "--keys",
        &keys,
        "--id",
        "lab",
    ];
    assert_eq!(run(&add).await.unwrap(), "lab\n");
    assert!(run(&add).await.unwrap_err().contains("there is a client lab already"));
    let narrow = [
        "client",
        "add",
        "--name",
        "Lab",
        "--scope",
        "patient/*.rs",
        "--keys",
        &keys,
    ];
    assert!(run(&narrow).await.unwrap_err().contains("begin with system/"));
    let opened = [
        "client",
        "add",
        "--name",
        "Results",
        "--scope",
        "launch patient/*.rs",
        "--redirect",
        "https://app.example/cb",
    ];
    let with = |more: &[&'static str]| [&opened[..], more].concat();
    for (more, sentence) in [
        (
            &["--public", "--launch-url", "com.example.app:/launch"][..],
            "must begin with https://",
        ),
        (&["--keys-at", "http://app.example/keys"], "must begin with https://"),
        (
            &["--keys-at", "https://app.example/keys", "--public"],
            "cannot be used with",
        ),
        (
            &["--launch-url", "https://app.example/launch"],
            "say how it proves who it is",
        ),
    ] {
        let refused = run(&with(more)).await.unwrap_err();
        assert!(refused.contains(sentence), "{refused}");
    }
    let more = [
        "--keys-at",
        "https://app.example/keys",
        "--launch-url",
        "https://app.example/launch",
        "--launches-others",
    ];
    run(&with(&more)).await.unwrap();
    assert!(
        run(&["client", "list"])
            .await
            .unwrap()
            .contains("lab  Lab  system/*.cruds\n")
    );

    let now = Clock::system().now().as_second();
    let claims = json!({"iss": "lab", "sub": "lab", "aud": root, "exp": now + 60, "jti": "1"});
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", "system/*.cruds")
        .append_pair(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )
        .append_pair("client_assertion", &RSA.sign(&claims))
        .finish();
    let request = server.client.post(format!("{root}/auth/token"));
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let token: Value = request.answer().await.expect(200).json();
    let token = token["access_token"].as_str().unwrap();

    // Records are loaded with its token, and not without.
    let records = file("records.ndjson", r#"{"resourceType":"Patient","id":"p"}"#);
    let load = ["load", &records, "--base", &server.base];
    assert!(run(&load).await.is_err());
    let token_file = file("token", &format!("{token}\n"));
    run(&[&load[..], &["--token-file", &token_file]].concat())
        .await
        .unwrap();
    let patient = || {
        server
            .client
            .get(format!("{}/Patient/p", server.base))
            .bearer_auth(token)
    };
    patient().answer().await.expect(200);

    // People.
    let link = run(&["user", "add", "--email", "grace@clinic.example", "--role", "admin"])
        .await
        .unwrap();
    assert!(link.contains("/auth/confirm?link="), "{link}");
    let path = &link.trim_end()[link.find("/auth/").unwrap()..];
    let page = server.client.get(format!("{root}{path}")).answer().await.expect(200);
    assert!(page.text().contains("Open your account"));
    let ada = [
        "user",
        "add",
        "--email",
        "ada@clinic.example",
        "--role",
        "practitioner",
        "--given",
        "Ada",
        "--family",
        "L",
        "--password-stdin",
    ];
    let weak = run_with(&directory, &ada, "password\n").await;
    assert!(weak.unwrap_err().contains("too easy to guess"));
    let added = run_with(&directory, &ada, "plover wants eleven lamps\n").await.unwrap();
    assert!(added.contains("Practitioner/"), "{added}");
    assert!(
        run(&["user", "list"])
            .await
            .unwrap()
            .contains("ada@clinic.example  practitioner  Practitioner/")
    );
    assert!(run(&["user", "list"]).await.unwrap().contains("  password only\n"));
    run(&["user", "deactivate", "ada@clinic.example"]).await.unwrap();
    assert!(run(&["user", "list"]).await.unwrap().contains("(closed)"));
    assert!(run(&["user", "deactivate", "ada@clinic.example"]).await.is_err());
    let again = run(&["user", "add", "--email", "ada@clinic.example", "--role", "patient"]).await;
    assert!(again.unwrap_err().contains("user reopen ada@clinic.example"));
    run(&["user", "reopen", "ada@clinic.example"]).await.unwrap();
    assert!(run(&["user", "reopen", "ada@clinic.example"]).await.is_err());
    assert!(!run(&["user", "list"]).await.unwrap().contains("(closed)"));
    run(&["user", "remove-factors", "ada@clinic.example"]).await.unwrap();
    run(&["user", "sign-out", "ada@clinic.example"]).await.unwrap();

    // Keys.
    let jwks: Value = server
        .client
        .get(format!("{root}/auth/jwks"))
        .answer()
        .await
        .expect(200)
        .json();
    let kid = jwks["keys"][0]["kid"].as_str().unwrap();
    assert!(run(&["key", "list"]).await.unwrap().contains(&format!("{kid}  ")));
    run(&["key", "revoke", kid]).await.unwrap();
    assert!(!run(&["key", "list"]).await.unwrap().contains(kid));

    run(&["client", "disable", "lab"]).await.unwrap();
    let told = trail_of(&directory).await;
    for change in [
        "application registered",
        "application disabled",
        "invited",
        "opened",
        "closed",
        "opened again",
        "factors removed",
        "signed out",
        "signing key withdrawn",
    ] {
        let quoted = format!("\"{change}\"");
        assert!(
            told.iter().any(|record| record.contains(&quoted)),
            "{change} in {told:#?}"
        );
    }
    patient().answer().await.expect(401);
    assert!(run(&["client", "list"]).await.unwrap().contains("(disabled)"));
}

#[tokio::test]
async fn an_operator_is_told_the_policies_and_why_somebody_may_not() {
    let directory = data_dir();
    let _server = Server::start_with(&directory, &[("MEDCONSULT_AUTH", "on")]).await;
    let run = async |arguments: &[&str]| run_with(&directory, arguments, "").await;
    let printed = run(&["access", "policies"]).await.unwrap();
    assert_eq!(printed, medconsult::fhir::access::policy::BUILT_IN);

    // A file with a mistake, and one without.
    let file = directory.join("policies.json");
    let with_file = async |text: String| {
        fs::write(&file, text).unwrap();
        let mut command = program(&directory);
        command
            .args(["access", "policies"])
            .env("MEDCONSULT_IDENTITY_POLICIES", &file);
        let Output { status, stderr, .. } = command.output().await.unwrap();
        (status.success(), String::from_utf8(stderr).unwrap())
    };
    let (accepted, told) = with_file(printed.replacen("\"Location\"", "\"Locatoin\"", 1)).await;
    let expected = "In the set \"directory\": There is no resource type \"Locatoin\"; did you mean Location?";
    assert!(
        !accepted && told.contains(expected) && told.contains("policies.json"),
        "{told}"
    );
    assert!(with_file(printed).await.0);

    let add = [
        "user",
        "add",
        "--email",
        "ann@clinic.example",
        "--role",
        "practitioner",
        "--given",
        "Ann",
        "--family",
        "Lind",
    ];
    let add = [&add[..], &["--password-stdin"]].concat();
    run_with(&directory, &add, "plover wants eleven lamps\n").await.unwrap();
    let explain = async |scope: &str, question: [&str; 2]| {
        let arguments = [
            "access",
            "explain",
            "--account",
            "ann@clinic.example",
            "--scope",
            scope,
            question[0],
            question[1],
        ];
        run_with(&directory, &arguments, "").await
    };
    let told = explain("user/*.rs", ["GET", "Observation"]).await.unwrap();
    assert!(told.starts_with("ann@clinic.example is Practitioner/"), "{told}");
    assert!(
        told.contains("user/*.rs gives it") && told.contains("rule 2 gives it to cared-for"),
        "{told}"
    );
    let told = explain("user/*.rs", ["POST", "Observation"]).await.unwrap();
    assert!(
        told.contains("Scopes\n  none gives it") && told.contains("NO (403)"),
        "{told}"
    );
    assert!(
        explain("system/*.rs", ["GET", "Observation"])
            .await
            .unwrap_err()
            .contains("for back ends")
    );
    assert!(
        explain("user/*.rs", ["GET", "Observatoin"])
            .await
            .unwrap_err()
            .contains("is no resource type")
    );
    let nobody = ["access", "explain", "--client", "nobody", "GET", "Patient"];
    assert!(run(&nobody).await.unwrap_err().contains("there is no client nobody"));
}
