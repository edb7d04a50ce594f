//! Files pass through the server piece by piece, whatever their length.

use std::fs;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::app::Ask;
use crate::faults::{Server, data_dir};

const MIB: u64 = 1024 * 1024;

/// The most memory that a process has had since [`forget_peak`], in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let number: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    number * 1024
}

fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Sends a file of `mib` MiB and reads it back; answers by how much the memory of the server grew.
async fn grown_by(mib: u64) -> u64 {
    let server = Server::start_with(&data_dir(), &[("MEDCONSULT_FHIR_PROFILES", "false")]).await;
    let pid = server.pid();
    let url = format!("{}/Binary", server.base);
    let send = |mib: u64| {
        let pieces = (0..mib).map(move |n| Ok::<_, std::io::Error>(Bytes::from(vec![n as u8; MIB as usize])));
        let body = reqwest::Body::wrap_stream(stream::iter(pieces));
        let request = server.client.post(&url).header("content-type", "video/mp4");
        request.header("prefer", "return=minimal").body(body).answer()
    };
    // What the first request of its kind loads is not the file's.
    send(1).await.expect(201);
    forget_peak(pid);
    let before = peak(pid);
    let location = send(mib).await.expect(201).header("location").to_owned();
    let address = location.split("/_history").next().unwrap().to_owned();
    let answer = server.client.get(&address).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(mib * MIB));
    let mut read = 0;
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        let expected = |at: u64| (at / MIB) as u8;
        let end = read + piece.len() as u64;
        assert_eq!(
            (piece[0], piece[piece.len() - 1]),
            (expected(read), expected(end - 1)),
            "at {read}"
        );
        read = end;
    }
    assert_eq!(read, mib * MIB);
    peak(pid).saturating_sub(before)
}

#[tokio::test]
async fn a_long_file_passes_through_in_bounded_memory() {
    let grown = grown_by(256).await / MIB;
    assert!(grown < 64, "the server grew by {grown} MiB");
}

#[tokio::test]
#[ignore = "takes a minute, and 2 GiB of disk"]
async fn a_file_of_a_gibibyte_passes_through_in_bounded_memory() {
    let grown = grown_by(1024).await / MIB;
    println!("the server grew by {grown} MiB");
    assert!(grown < 64, "the server grew by {grown} MiB");
}
