//! Objects in a bucket, of an S3 service that others wrote: moto's.

use std::path::Path;
use std::process::Stdio;

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};
use reqwest::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{contains, noise};
use crate::app::{Ask, TestApp, spawn_app_with};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/venv/bin/python");

struct S3 {
    endpoint: String,
    process: Child,
}

impl S3 {
    /// A service with a bucket; `None` when it is not installed.
    async fn start() -> Option<S3> {
        if !Path::new(PYTHON).exists() {
            skipped!("the S3 service of the tests is not installed (make test does)");
            return None;
        }
        let mut process = Command::new(PYTHON)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python runs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("a port");
        let endpoint = format!("http://127.0.0.1:{port}");
        let made = Client::new().put(format!("{endpoint}/records")).send().await.unwrap();
        assert!(made.status().is_success(), "{}", made.text().await.unwrap());
        Some(S3 { endpoint, process })
    }

    async fn app(&self) -> TestApp {
        let endpoint = self.endpoint.clone();
        spawn_app_with(move |config| {
            config.objects.folder = std::path::PathBuf::new();
            config.objects.bucket = "records".to_owned();
            config.objects.endpoint = endpoint;
            config.objects.access_key = "key".to_owned().into();
            config.objects.secret_key = "secret".to_owned().into();
        })
        .await
    }

    /// Names and bytes of what is in the bucket, the shortest first.
    async fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let bucket = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_bucket_name("records")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .build()
            .unwrap();
        let found: Vec<_> = bucket.list(None).try_collect().await.unwrap();
        let mut objects = Vec::new();
        for object in found {
            let bytes = bucket.get(&object.location).await.unwrap().bytes().await.unwrap();
            objects.push((object.location.to_string(), bytes.to_vec()));
        }
        objects.sort_by_key(|(_, bytes)| bytes.len());
        objects
    }
}

#[tokio::test]
async fn objects_lie_in_a_bucket() {
    const PLANTED: &[u8] = b"planted text that nobody may find";
    let Some(s3) = S3::start().await else { return };
    let app = s3.app().await;
    // In one piece, and in parts.
    let long: Vec<u8> = noise(12_000_000);
    let (small, large) = (
        app.send("text/plain", None, PLANTED).await,
        app.send("video/mp4", None, long.clone()).await,
    );
    assert_eq!(app.get(&small).answer().await.expect(200).bytes, PLANTED);
    assert_eq!(app.get(&large).answer().await.expect(200).bytes, long);
    let part = app
        .get(&large)
        .header("range", "bytes=11000000-11000009")
        .answer()
        .await
        .expect(206);
    assert_eq!(part.bytes, long[11_000_000..11_000_010]);
    let objects = s3.objects().await;
    // Each chunk of 64 KiB grows by 16 bytes.
    let lengths: Vec<usize> = objects.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [PLANTED.len() + 16, long.len() + 184 * 16]);
    for (name, bytes) in objects {
        assert!(!contains(&bytes, PLANTED) && !contains(&bytes, &long[..40]), "{name}");
        assert_eq!((name.len(), name.as_bytes()[2]), (35, b'/'), "{name} tells nothing");
    }
}

#[tokio::test]
async fn while_the_service_is_away_content_is_refused() {
    let Some(mut s3) = S3::start().await else { return };
    let app = s3.app().await;
    let address = app.send("text/plain", None, "here").await;
    s3.process.kill().await.unwrap();
    let send = app
        .post("Binary")
        .header("content-type", "text/plain")
        .body("new")
        .answer();
    assert_eq!(send.await.expect(503).json()["issue"][0]["code"], "transient");
    app.get(&address).answer().await.expect(503);
    app.put_patient_called("ada").await;
    app.get("Patient/ada").answer().await.expect(200);
    assert_eq!(
        app.get("Binary?_summary=count").answer().await.expect(200).json()["total"],
        1
    );
}
