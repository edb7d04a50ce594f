//! A consultation from its beginning to its end: conformance/consultation.mjs against the program itself with real parts around it,
//! an SMTP server that others wrote and the stand-in for Stripe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::demo::Demo;
use crate::faults::{data_dir, program};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/consultation.mjs");
const SMTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp/server.js");

/// An SMTP server that puts each mail into a file of a folder.
struct Post {
    url: String,
    folder: PathBuf,
    _process: Child,
}

impl Post {
    /// `None` when the packages are not installed.
    async fn open(folder: PathBuf) -> Option<Post> {
        if !Path::new(SMTP).with_file_name("node_modules").is_dir() {
            skipped!("the mail server of the tests is not installed (make lint does)");
            return None;
        }
        fs::create_dir_all(&folder).unwrap();
        let mut process = Command::new("node")
            .arg(SMTP)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("a port");
        let into = folder.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok(Some(line)) = lines.next_line().await {
                let mail: Value = serde_json::from_str(&line).unwrap();
                count += 1;
                // Under its name when it is whole, since the script reads at any time.
                let (new, whole) = (into.join(".new"), into.join(format!("{count:04}.eml")));
                fs::write(&new, mail["mail"].as_str().unwrap()).unwrap();
                fs::rename(new, whole).unwrap();
            }
        });
        Some(Post {
            url: format!("smtp://127.0.0.1:{port}"),
            folder,
            _process: process,
        })
    }
}

#[tokio::test]
async fn a_consultation_goes_from_sign_up_to_refund() {
    let directory = data_dir();
    let Some(post) = Post::open(directory.with_extension("mails")).await else {
        return;
    };
    let demo = Demo::start(&directory, &[("MEDCONSULT_MAIL_SERVER", &post.url)]).await;
    let output = Command::new("node")
        .args([SCRIPT, "--server", &demo.root, "--mails"])
        .arg(&post.folder)
        .output()
        .await
        .unwrap();
    let (told, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && told.ends_with("All of it holds.\n"),
        "{told}{wrong}"
    );

    let page = demo.get("/demo").await;
    assert!(
        page.contains("nora@demo.example") && page.contains("try-medconsult"),
        "{page}"
    );
    demo.is_not_reached_under("attacker.example").await;
    demo.stop().await;

    // A server in earnest does not open to everybody who knows the passwords.
    let output = program(&directory.join("demo"))
        .arg("serve")
        .env("MEDCONSULT_AUTH", "on")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("passwords that everybody knows"),
        "{said}"
    );

    // The story is told once.
    let again = Demo::start(&directory, &[]).await;
    let accounts: Value = serde_json::from_str(&again.get("/demo/accounts.json").await).unwrap();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 9);
    again.stop().await;
    fs::remove_dir_all(&post.folder).unwrap();
}
