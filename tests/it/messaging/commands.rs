//! `medconsult mail`, beside the server that it is about.

use std::path::Path;
use std::process::Stdio;

use medconsult::base::postgres::Cluster;
use sqlx::{Connection, PgConnection};
use tokio::io::AsyncWriteExt;

use crate::faults::{Server, data_dir, program};

async fn mail(data_dir: &Path, command: &str, input: &str) -> String {
    let mut child = program(data_dir)
        .args(["mail", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_mail_server_gives_back_what_it_could_not_deliver() {
    let directory = data_dir();
    let server = Server::start_with(&directory, &[("MEDCONSULT_AUTH", "on")]).await;
    let id = "0123456789012345678901234567890123456789abc";
    let mut connection = PgConnection::connect_with(&Cluster::of_running_server(&directory).unwrap())
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO mail (key, message_id, lane, urgent, state, created_at, due_at, expires_at, settled_at)
         VALUES ('test', $1, '', false, 'sent', now(), now(), now(), now())",
    )
    .bind(id)
    .execute(&mut connection)
    .await
    .unwrap();
    assert!(
        mail(&directory, "queue", "")
            .await
            .trim_start()
            .starts_with("1  sent, the oldest of 20")
    );

    let notification = |status: &str| {
        format!(
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\
             Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\nAction: {status}\r\nStatus: 5.1.1\r\n\r\n\
             --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <{id}@localhost>\r\n\r\ntext\r\n--b--\r\n"
        )
    };
    // What is no bounce is no failure of the program, or the mail server would send it back in its turn.
    assert!(
        mail(&directory, "bounce", "out of office")
            .await
            .starts_with("no notification")
    );
    assert!(
        mail(&directory, "bounce", &notification("delayed"))
            .await
            .starts_with("no notification")
    );
    assert_eq!(mail(&directory, "bounce", &notification("failed")).await, "noted\n");
    assert!(
        mail(&directory, "bounce", &notification("failed"))
            .await
            .contains("noted before")
    );
    assert!(mail(&directory, "queue", "").await.contains("1  bounced"));
    drop(server);
}
