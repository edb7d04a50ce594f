//! TLS by the server itself.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use medconsult::base::tls::{Reloaded, Tls};
use reqwest::tls::Version;
use reqwest::{Certificate, Client};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Edge, wide};
use crate::app::clusters_directory;
use crate::faults::{PATIENCE, Server, data_dir};

/// A certificate for 127.0.0.1 that vouches for itself, with its key.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Pair {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        Pair {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    /// A client with fresh connections that trusts this certificate alone.
    fn client(&self) -> Client {
        self.client_of(Version::TLS_1_2, Version::TLS_1_3)
    }

    fn client_of(&self, least: Version, most: Version) -> Client {
        let trusted = Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([trusted]);
        client.min_tls_version(least).max_tls_version(most).build().unwrap()
    }
}

/// Two files in which a pair is kept.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn with(pair: &Pair) -> Files {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{}-tls-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = clusters_directory().join(name);
        fs::create_dir_all(&folder).unwrap();
        let files = Files {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        files.hold(pair);
        files
    }

    fn hold(&self, pair: &Pair) {
        fs::write(&self.certificate, &pair.certificate).unwrap();
        fs::write(&self.key, &pair.key).unwrap();
    }

    fn open(&self) -> Result<Tls, String> {
        Tls::open(&self.certificate, &self.key).map_err(|error| error.to_string())
    }
}

async fn serve(files: &Files) -> (Edge, Arc<Tls>) {
    let tls = Arc::new(files.open().unwrap());
    (Edge::start(wide(), Some(tls.clone())).await, tls)
}

async fn get(client: &Client, edge: &Edge) -> Result<String, reqwest::Error> {
    let answer = client.get(format!("https://{}/", edge.address)).send().await?;
    answer.text().await
}

#[tokio::test]
async fn clients_of_both_versions_are_answered() {
    let pair = Pair::new();
    let (edge, _) = serve(&Files::with(&pair)).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = pair.client_of(version, version);
        assert_eq!(get(&client, &edge).await.unwrap(), "hello", "{version:?}");
    }
    // Who trusts another certificate only does not talk to this server.
    assert!(get(&Pair::new().client(), &edge).await.is_err());
}

#[tokio::test]
async fn older_versions_and_what_is_no_tls_are_refused() {
    let pair = Pair::new();
    let (edge, _) = serve(&Files::with(&pair)).await;
    let first_record = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = [0; 7];
        let read = stream.read(&mut answer).await.unwrap();
        answer[..read].to_vec()
    };
    // A ClientHello (RFC 5246, section 7.4.1.2) that offers what this server speaks, but for its version.
    let hello = |minor: u8| {
        let mut body = vec![3, minor];
        body.extend([7; 32]); // random
        body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session; ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression
        let extensions = [
            [0, 13, 0, 4, 0, 2, 4, 3],  // signature_algorithms: ecdsa_secp256r1_sha256
            [0, 10, 0, 4, 0, 2, 0, 29], // supported_groups: x25519
        ]
        .concat();
        body.extend([0, extensions.len() as u8]);
        body.extend(extensions);
        let mut message = vec![1, 0, 0, body.len() as u8];
        message.extend(body);
        let mut record = vec![22, 3, 1, 0, message.len() as u8];
        record.extend(message);
        record
    };
    let (handshake, alert) = (22, 21);
    assert_eq!(first_record(&hello(3)).await[0], handshake, "TLS 1.2");
    for minor in [0, 1, 2] {
        let refused = first_record(&hello(minor)).await;
        // A fatal protocol_version.
        assert_eq!((refused[0], &refused[5..]), (alert, [2, 70].as_slice()), "3.{minor}");
    }
    assert_eq!(first_record(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await[0], alert);
    assert_eq!(get(&pair.client(), &edge).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_dropping_connections() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = Files::with(&old);
    let (edge, tls) = serve(&files).await;
    let connected = old.client();
    assert_eq!(get(&connected, &edge).await.unwrap(), "hello");
    assert_eq!(tls.reload(), Reloaded::Unchanged);

    files.hold(&new);
    assert_eq!(tls.reload(), Reloaded::Replaced);
    assert_eq!(get(&new.client(), &edge).await.unwrap(), "hello");
    assert!(get(&old.client(), &edge).await.is_err(), "the old one is shown no more");
    assert_eq!(
        get(&connected, &edge).await.unwrap(),
        "hello",
        "the connection that was open goes on"
    );
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let (good, other) = (Pair::new(), Pair::new());
    let files = Files::with(&good);
    let (edge, tls) = serve(&files).await;
    for (certificate, key) in [
        ("", good.key.as_str()),
        ("nonsense", &good.key),
        (&good.certificate, ""),
        (&good.certificate[..300], &good.key),
        // The key of another one.
        (&good.certificate, &other.key),
        // The wrong way round.
        (&good.key, &good.certificate),
    ] {
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        assert!(files.open().is_err(), "a server would not start");
        assert_eq!(tls.reload(), Reloaded::Kept);
        assert_eq!(tls.reload(), Reloaded::Unchanged, "it is reported once");
        assert_eq!(get(&good.client(), &edge).await.unwrap(), "hello");
    }
    fs::remove_file(&files.key).unwrap();
    assert_eq!(tls.reload(), Reloaded::Kept);
    files.hold(&other);
    assert_eq!(tls.reload(), Reloaded::Replaced);
    assert_eq!(get(&other.client(), &edge).await.unwrap(), "hello");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_without_its_key() {
    let (pair, other) = (Pair::new(), Pair::new());
    let files = Files::with(&pair);
    fs::write(&files.key, &other.key).unwrap();
    let error = files.open().err().unwrap();
    assert!(
        error.contains("cannot be used together") && !error.contains(&other.key[40..60]),
        "{error}"
    );
    fs::write(&files.certificate, "").unwrap();
    assert!(files.open().err().unwrap().contains("holds no certificate"));
    files.hold(&pair);
    fs::write(
        &files.key,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    assert!(files.open().err().unwrap().contains("no private key"));
}

#[tokio::test]
async fn the_program_speaks_tls_and_looks_again_on_sighup() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = Files::with(&old);
    let settings = [
        ("MEDCONSULT_TLS_CERTIFICATE", files.certificate.to_str().unwrap()),
        ("MEDCONSULT_TLS_KEY", files.key.to_str().unwrap()),
    ];
    let server = Server::start_with(&data_dir(), &settings).await;
    assert!(server.base.starts_with("https://127.0.0.1:"), "{}", server.base);
    let url = format!("{}/metadata", server.base);
    let answer = old.client().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");

    files.hold(&new);
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while new.client().get(&url).send().await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
    }
}
