//! What one client may take of the server, and how it is told that it took too much.

use std::time::Duration;

use medconsult::base::listen::Bounds;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Edge, LARGE, wide};
use crate::app::{Ask, spawn_app_with};
use crate::auth::guard;

/// Sends bytes, and reads what comes until the server closes the connection.
async fn talk(edge: &Edge, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes while bytes are on their way breaks the connection; what it said before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn heads_have_a_bound() {
    let edge = Edge::start(wide(), None).await;
    let get = |rest: &str| format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rest}\r\n");
    let fits = talk(&edge, get(&format!("cookie: {}\r\n", "x".repeat(8000))).as_bytes()).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
    let long = talk(&edge, get(&format!("cookie: {}\r\n", "x".repeat(17_000))).as_bytes()).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let many = talk(&edge, get(&many).as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
    let nonsense = talk(&edge, b"hello?\r\n\r\n").await;
    assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
}

#[tokio::test]
async fn who_is_slow_to_ask_is_told_so_and_who_does_not_ask_is_let_go() {
    let head_timeout = Duration::from_millis(50);
    let edge = Edge::start(Bounds { head_timeout, ..wide() }, None).await;
    let half = talk(&edge, b"GET / HTTP/1.1\r\nho").await;
    assert!(
        half.starts_with("HTTP/1.1 408 ") && half.contains("connection: close"),
        "{half}"
    );
    assert_eq!(talk(&edge, b"").await, "");
    // After an answer as well: a connection is not kept for ever.
    let kept = talk(&edge, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        kept.starts_with("HTTP/1.1 200 ") && kept.ends_with("\r\n\r\nhello"),
        "{kept}"
    );
}

#[tokio::test]
async fn a_form_that_does_not_arrive_is_answered_in_words() {
    let app = spawn_app_with(|config| {
        guard(config);
        config.http.body_timeout_seconds = 1;
    })
    .await;
    let send = async |path: &str| {
        let mut stream = TcpStream::connect(app.app.config.listen).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\ngrant_type="
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (token, page) = tokio::join!(send("/auth/token"), send("/auth/sign-in"));
    assert!(
        token.starts_with("HTTP/1.1 408 ") && token.contains("\"error\":\"invalid_request\""),
        "{token}"
    );
    assert!(
        page.starts_with("HTTP/1.1 408 ") && page.contains("did not arrive in time"),
        "{page}"
    );
}

#[tokio::test]
async fn who_does_not_take_the_answer_is_let_go() {
    let write_timeout = Duration::from_millis(100);
    let edge = Edge::start(
        Bounds {
            write_timeout,
            ..wide()
        },
        None,
    )
    .await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // Told to stop, the server waits for answers that have begun; this one ends although nobody reads it.
    stream.readable().await.unwrap();
    edge.stop.send_replace(true);
    edge.serving.await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 200 ") && answer.len() < LARGE,
        "{} bytes",
        answer.len()
    );
}

#[tokio::test]
async fn a_reader_that_goes_on_gets_all() {
    let edge = Edge::start(wide(), None).await;
    let answer = reqwest::get(format!("http://{}/large", edge.address)).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), LARGE);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let bounds = Bounds {
        connections_per_address: 2,
        ..wide()
    };
    let edge = Edge::start(bounds, None).await;
    let hold = async || {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        (stream, String::from_utf8(answer.to_vec()).unwrap())
    };
    let (first, answer) = hold().await;
    assert_eq!(answer, "HTTP/1.1 200");
    let (_second, answer) = hold().await;
    assert_eq!(answer, "HTTP/1.1 200");
    let (_third, answer) = hold().await;
    assert_eq!(answer, "HTTP/1.1 503");
    drop(first);
    // The server notices in its own time that a client has gone.
    while hold().await.1 != "HTTP/1.1 200" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn told_to_stop_the_server_ends_what_has_begun() {
    let edge = Edge::start(wide(), None).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/", edge.address);
    client.get(&url).send().await.unwrap();
    let begun = client.get(format!("{url}large")).send().await.unwrap();
    edge.stop.send_replace(true);
    assert_eq!(begun.bytes().await.unwrap().len(), LARGE);
    // The connection that was idle does not hold it up.
    edge.serving.await.unwrap();
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn who_is_turned_away_reads_why() {
    let app = spawn_app_with(|config| config.http.max_connections = 1).await;
    app.get("metadata").answer().await.expect(200);
    // The client above keeps its connection; this one needs another.
    let other = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = other.get(format!("{}/metadata", app.base)).answer().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (answer.header("connection"), answer.header("retry-after")),
        ("close", "1")
    );
    assert_eq!(answer.json()["issue"][0]["code"], "transient");
    assert!(answer.header("x-request-id").len() == 36);
}
