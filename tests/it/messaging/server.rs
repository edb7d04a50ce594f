//! The SMTP server of `tests/smtp`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp/server.js");
const PATIENCE: Duration = Duration::from_secs(30);

pub struct MailServer {
    pub port: u16,
    mails: Lines<BufReader<ChildStdout>>,
    process: Child,
}

/// A mail as the server got it.
#[derive(Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    pub secure: bool,
    pub user: Option<String>,
    /// As it came: header and body.
    pub raw: String,
}

impl MailServer {
    /// `options` are those of `server.js`. `None` when its packages are not installed.
    pub async fn start(options: &Value) -> Option<MailServer> {
        if !Path::new(SERVER).with_file_name("node_modules").is_dir() {
            skipped!("the mail server of the tests is not installed (make lint does)");
            return None;
        }
        let mut command = Command::new("node");
        command
            .args([SERVER, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().expect("node runs");
        let mut mails = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = mails.next_line().await.unwrap().expect("a port").parse().unwrap();
        Some(MailServer { port, mails, process })
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Kills the server; gives the mails that it got and nobody has read.
    pub async fn kill(mut self) -> Vec<Received> {
        self.process.kill().await.unwrap();
        let mut rest = Vec::new();
        while let Some(line) = self.mails.next_line().await.unwrap() {
            rest.push(Received::read(&line));
        }
        rest
    }

    /// The next mail.
    pub async fn next(&mut self) -> Received {
        let line = timeout(PATIENCE, self.mails.next_line()).await.expect("a mail in time");
        Received::read(&line.unwrap().expect("a mail"))
    }

    pub async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut mails = Vec::new();
        for _ in 0..count {
            mails.push(self.next().await);
        }
        mails
    }
}

impl Received {
    fn read(line: &str) -> Received {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        assert_eq!(value["to"].as_array().map(Vec::len), Some(1), "{value}");
        Received {
            from: text(&value["from"]).unwrap(),
            to: text(&value["to"][0]).unwrap(),
            secure: value["secure"] == json!(true),
            user: text(&value["user"]),
            raw: text(&value["mail"]).unwrap(),
        }
    }

    /// A header field; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let head = self.raw.split("\r\n\r\n").next().unwrap();
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default()
    }

    pub fn subject(&self) -> &str {
        self.header("Subject")
    }

    /// The plain form, decoded.
    pub fn text(&self) -> String {
        let part = self.raw.split("Content-Type: text/plain").nth(1).expect("a plain form");
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        let boundary = self.raw.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        let body = body.split(&format!("\r\n--{boundary}")).next().unwrap();
        if head.contains("quoted-printable") {
            return decode_quoted(body);
        }
        assert!(head.contains("7bit"), "{head}");
        body.replace("\r\n", "\n")
    }

    /// What stands below the text by itself: the code of a mail.
    pub fn code(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.iter().position(|line| line.trim_end() == "--").expect("a footer");
        lines[end - 2].to_owned()
    }

    /// The only address in the text that leads into an application.
    pub fn link(&self) -> String {
        let text = self.text();
        let mut links = text.lines().filter(|line| line.contains("/apps/"));
        let link = links.next().expect("a link").to_owned();
        assert_eq!(links.next(), None);
        link
    }
}

/// RFC 2045, section 6.7.
fn decode_quoted(text: &str) -> String {
    let text = text.replace("=\r\n", "").replace("\r\n", "\n");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'=' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
