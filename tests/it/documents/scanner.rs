//! The scanner, which is clamd itself, with one signature of our own: that of EICAR's test file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::{base64, document_bundle, files_below, noise};
use crate::app::{Ask, TestApp, clusters_directory, spawn_app_with};
use crate::faults::PATIENCE;

/// What every scanner takes for malware, and is none (<https://www.eicar.org/download-anti-malware-testfile/>). In two parts, so that no
/// scanner takes this file for it.
const EICAR: [&str; 2] = [
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$",
    "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*",
];

struct Clamd {
    folder: PathBuf,
    process: Child,
}

/// The program, where scripts/setup looks for it.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.find_map(|place| Some(place.join("clamd")).filter(|program| program.exists()))
}

impl Clamd {
    /// `None` where it is not installed.
    async fn start(name: &str) -> Option<Clamd> {
        let Some(program) = program() else {
            skipped!("clamd is not installed (./scripts/setup tests does)");
            return None;
        };
        let folder = clusters_directory().join(format!("{}-clamd-{name}", std::process::id()));
        fs::create_dir_all(folder.join("signatures")).unwrap();
        // MD5 and length of the file.
        fs::write(
            folder.join("signatures/own.hdb"),
            "44d88612fea8a8f36de82e1278abb02f:68:Test.Eicar\n",
        )
        .unwrap();
        let settings = format!(
            "LocalSocket {0}/socket\nDatabaseDirectory {0}/signatures\nForeground yes\nStreamMaxLength 1M\n\
             MaxThreads 2\nConcurrentDatabaseReload no\n",
            folder.display()
        );
        fs::write(folder.join("clamd.conf"), settings).unwrap();
        let mut clamd = Clamd {
            process: Self::run(&program, &folder),
            folder,
        };
        clamd.listens().await;
        Some(clamd)
    }

    fn run(program: &Path, folder: &Path) -> Child {
        Command::new(program)
            .arg("--config-file")
            .arg(folder.join("clamd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("clamd runs")
    }

    async fn listens(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut socket) = UnixStream::connect(self.folder.join("socket")).await {
                let mut said = String::new();
                let asked = socket.write_all(b"zPING\0").await;
                if asked.is_ok() && socket.read_to_string(&mut said).await.is_ok() && said.starts_with("PONG") {
                    return;
                }
            }
            assert!(self.process.try_wait().unwrap().is_none(), "clamd has ended");
            assert!(Instant::now() < deadline, "clamd does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn address(&self) -> String {
        format!("unix:{}", self.folder.join("socket").display())
    }

    async fn app(&self) -> TestApp {
        let scanner = self.address();
        let app = spawn_app_with(|config| {
            config.documents.scanner = scanner;
            config.audit.without_auth = true;
        })
        .await;
        app.put_patient_called("ada").await;
        app
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn count(app: &TestApp) -> u64 {
    let bundle = app.get("Binary?_summary=count").answer().await.expect(200).json();
    bundle["total"].as_u64().unwrap()
}

#[tokio::test]
async fn malware_is_refused_and_recorded_whichever_way_it_comes() {
    let Some(clamd) = Clamd::start("malware").await else {
        return;
    };
    let app = clamd.app().await;
    let eicar = EICAR.concat();
    let known = app.trail().await.len();
    let json = json!({"resourceType": "Binary", "contentType": "text/plain", "data": base64(eicar.as_bytes())});
    let fields = [
        ("category", "other"),
        ("subject", "Patient/ada"),
        ("author", "Patient/ada"),
    ];
    for answer in [
        app.post("Binary")
            .header("content-type", "text/plain")
            .body(eicar.clone())
            .answer()
            .await,
        app.post("Binary").fhir(&json).answer().await,
        app.post("")
            .fhir(&document_bundle("Patient/ada", "text/plain", eicar.as_bytes()))
            .answer()
            .await,
        app.upload(&fields, "text/plain", eicar.as_bytes()).await,
    ] {
        let outcome = answer.expect(422).json();
        assert_eq!(outcome["issue"][0]["code"], "security", "{outcome}");
        assert!(
            !outcome.to_string().contains("Eicar"),
            "strangers are not told what the scanner knows"
        );
    }
    let events = app.trail_since(known).await;
    assert_eq!(events.len(), 4, "{events:#?}");
    for event in events {
        assert_eq!(event["outcome"], "4");
        assert!(
            event["outcomeDesc"].as_str().unwrap().contains("422 security"),
            "{event}"
        );
    }
    assert_eq!(count(&app).await, 0);
    assert!(files_below(&app.objects()).is_empty());
    // What is clean passes, and what is longer than the scanner takes is told so.
    let clean = noise(700_000);
    let address = app.send("video/mp4", None, clean.clone()).await;
    assert_eq!(app.get(&address).answer().await.expect(200).bytes, clean);
    app.upload(&fields, "text/plain", b"hello").await.expect(201);
    let long = app
        .post("Binary")
        .header("content-type", "video/mp4")
        .body(noise(3_000_000))
        .answer()
        .await;
    assert_eq!(long.expect(422).json()["issue"][0]["code"], "too-long");
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn without_the_scanner_no_file_is_taken() {
    let Some(mut clamd) = Clamd::start("away").await else {
        return;
    };
    let app = clamd.app().await;
    let address = app.send("text/plain", None, "before").await;
    clamd.process.kill().await.unwrap();
    let send = || {
        app.post("Binary")
            .header("content-type", "text/plain")
            .body("after")
            .answer()
    };
    let refused = send().await.expect(503).json();
    assert_eq!(refused["issue"][0]["code"], "transient");
    let fields = [
        ("category", "other"),
        ("subject", "Patient/ada"),
        ("author", "Patient/ada"),
    ];
    app.upload(&fields, "text/plain", b"hello").await.expect(503);
    assert_eq!(count(&app).await, 1);
    // What was taken before is read, and everything else goes on.
    assert_eq!(app.get(&address).answer().await.expect(200).text(), "before");
    app.put_patient_called("ben").await;
    app.get("Patient/ben").answer().await.expect(200);
    assert_eq!(files_below(&app.objects()).len(), 1);
}
