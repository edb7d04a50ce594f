//! A real browser, remote controlled (`tests/clients/remote.js`).

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const REMOTE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/remote.js");
/// Where it may be installed.
pub const PROGRAMS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

pub struct Chromium {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Chromium {
    /// `None` when there is no Chromium, or its remote control is not installed.
    pub async fn start(options: &[&str]) -> Option<Chromium> {
        let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
        let is_installed = Path::new(REMOTE).with_file_name("node_modules").is_dir();
        let Some(program) = program.filter(|_| is_installed) else {
            skipped!("Chromium or its remote control is not installed (make test does)");
            return None;
        };
        let mut process = Command::new("node")
            .args([REMOTE, program])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        Some(Chromium {
            commands: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            _process: process,
        })
    }

    async fn send(&mut self, command: Value) -> Value {
        self.commands
            .write_all(format!("{command}\n").as_bytes())
            .await
            .unwrap();
        let line = self
            .answers
            .next_line()
            .await
            .unwrap()
            .expect("an answer of the browser");
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["ok"].clone()
    }

    pub async fn open(&mut self, url: &str) {
        assert_eq!(self.send(json!({"command": "open", "url": url})).await, 200, "{url}");
    }

    pub async fn fill(&mut self, label: &str, value: &str) {
        self.send(json!({"command": "fill", "label": label, "value": value}))
            .await;
    }

    /// Presses a button or follows a link, and waits for the page behind it.
    pub async fn press(&mut self, name: &str) {
        self.send(json!({"command": "press", "name": name})).await;
    }

    /// Presses a button that leads nowhere, and waits for a text.
    pub async fn press_for(&mut self, name: &str, text: &str) {
        self.send(json!({"command": "pressFor", "name": name, "text": text}))
            .await;
    }

    pub async fn sees(&mut self, button: &str) -> bool {
        self.send(json!({"command": "sees", "name": button})).await == true
    }

    pub async fn text(&mut self) -> String {
        self.send(json!({"command": "text"})).await.as_str().unwrap().to_owned()
    }

    pub async fn url(&mut self) -> String {
        self.send(json!({"command": "url"})).await.as_str().unwrap().to_owned()
    }

    /// What an expression comes to on the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.send(json!({"command": "evaluate", "expression": expression}))
            .await
    }

    /// The cookies, as a request carries them.
    pub async fn cookies(&mut self) -> String {
        let cookies = self.send(json!({"command": "cookies"})).await;
        let pairs = cookies.as_array().unwrap().iter();
        let pairs = pairs.map(|cookie| format!("{}={}", text_of(cookie, "name"), text_of(cookie, "value")));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// What the browser complained about since it was asked last.
    pub async fn complaints(&mut self) -> Value {
        self.send(json!({"command": "complaints"})).await
    }

    /// Plugs an authenticator in; gives its id.
    pub async fn authenticator(&mut self, verifies: bool) -> String {
        let id = self
            .send(json!({"command": "authenticator", "verifies": verifies}))
            .await;
        id.as_str().unwrap().to_owned()
    }

    pub async fn unplug(&mut self, authenticator: &str) {
        self.send(json!({"command": "unplug", "authenticatorId": authenticator}))
            .await;
    }

    pub async fn credentials(&mut self, authenticator: &str) -> Vec<Value> {
        let found = self
            .send(json!({"command": "credentials", "authenticatorId": authenticator}))
            .await;
        found.as_array().unwrap().clone()
    }

    pub async fn add_credential(&mut self, authenticator: &str, credential: &Value) {
        let command = json!({"command": "addCredential", "authenticatorId": authenticator, "credential": credential});
        self.send(command).await;
    }
}

fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}
