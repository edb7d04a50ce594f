//! Mails through a real SMTP server.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::guard;
use crate::app::spawn_app_with;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp/server.js");

struct MailServer {
    port: u16,
    mails: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl MailServer {
    /// `None` when the packages are not installed.
    async fn start(mode: &str) -> Option<MailServer> {
        if !Path::new(SERVER).with_file_name("node_modules").is_dir() {
            println!("skipped: the mail server of the tests is not installed (make lint does)");
            return None;
        }
        let mut command = Command::new("node");
        command
            .args([SERVER, mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().expect("node runs");
        let mut mails = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = mails.next_line().await.unwrap().expect("a port").parse().unwrap();
        Some(MailServer {
            port,
            mails,
            _process: process,
        })
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.mails.next_line().await.unwrap().expect("a mail")).unwrap()
    }
}

#[tokio::test]
async fn mails_leave_by_smtp_and_are_tried_again() {
    let Some(mut server) = MailServer::start("once-busy").await else {
        return;
    };
    let app = spawn_app_with(|config| {
        guard(config);
        config.mail.server = format!("smtp://127.0.0.1:{}", server.port).into();
        config.mail.from = "Clinic <no-reply@clinic.example>".to_owned();
    })
    .await;
    let mut ada = app.visitor();
    ada.open("/auth/sign-up").await;
    let fields = [
        ("given", "Ada"),
        ("family", "L"),
        ("email", "ada@clinic.example"),
        ("password", "plover wants eleven lamps"),
    ];
    ada.submit("/auth/sign-up", &fields).await;

    // The mail waits sealed; the first attempt is told to come back, and what is kept of that names nobody.
    app.app.worker().run_due().await.unwrap();
    let mut connection = app.connection().await;
    let row: (String, String) = sqlx::query_as("SELECT payload::text, last_error FROM job")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(
        !row.0.contains("ada@") && row.1 == "the mail server does not take the mail now",
        "{row:?}"
    );
    sqlx::query("UPDATE job SET due_at = now() - interval '1 minute'")
        .execute(&mut connection)
        .await
        .unwrap();
    app.app.worker().run_due().await.unwrap();

    let sent = server.next().await;
    assert_eq!(
        (&sent["from"], &sent["to"][0]),
        (&"no-reply@clinic.example".into(), &"ada@clinic.example".into())
    );
    let text = sent["mail"].as_str().unwrap();
    assert!(
        text.contains("Subject: Confirm your e-mail address") && text.contains("Message-ID: <auth.mail."),
        "{text}"
    );
    assert!(text.contains("/auth/confirm?link"), "{text}");
}
