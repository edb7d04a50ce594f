//! The program's commands, run as an operator runs them, on a PostgreSQL of the operator's own.

use std::process::{Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use medconsult::fhir::search::text;
use medconsult::jobs::{self, NewJob};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::{ConnectOptions, PgConnection};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::app::{TestDatabase, clusters_directory};
use crate::faults::{PATIENCE, program};

/// The program, told of a database as deployments tell it.
fn on(database: &TestDatabase) -> Command {
    let options = database.options();
    let socket = options
        .get_socket()
        .expect("the tests' cluster listens on a socket")
        .display();
    let name = options.get_database().unwrap();
    let mut command = program(&clusters_directory());
    command.env(
        "DATABASE_URL",
        format!(
            "postgres://medconsult@localhost:{}/{name}?host={socket}",
            options.get_port()
        ),
    );
    command
}

async fn run(command: &mut Command) -> (Output, String) {
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn migrate_brings_an_empty_database_up_to_date_and_then_changes_nothing() {
    let database = TestDatabase::empty().await;
    let mut connection = database.options().connect().await.unwrap();
    for time in ["first", "second"] {
        let (output, said) = run(on(&database).arg("migrate")).await;
        assert!(output.status.success(), "the {time} time: {said}");
    }
    assert_eq!(count(&mut connection, "SELECT count(*) FROM resource").await, 0);

    // A layout that this release does not know is left alone.
    let newer =
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    let (output, said) = run(on(&database).arg("migrate")).await;
    assert!(!output.status.success() && said.contains("newer release"), "{said}");
}

#[tokio::test]
async fn a_worker_runs_the_jobs_of_others_until_it_is_told_to_stop() {
    let database = TestDatabase::new().await;
    let mut connection = database.options().connect().await.unwrap();
    let job = NewJob::new(text::JOB, json!({}));
    jobs::enqueue(&mut connection, Timestamp::UNIX_EPOCH, &[job])
        .await
        .unwrap();
    let id = count(&mut connection, "SELECT max(id) FROM job").await;

    let mut worker = on(&database)
        .arg("worker")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM job WHERE id = $1")
            .bind(id)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        if waiting == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the worker does not run the job");
        sleep(Duration::from_millis(20)).await;
    }
    let pid = i32::try_from(worker.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_worker_without_a_database_says_what_it_needs() {
    let (output, said) = run(program(&clusters_directory()).arg("worker")).await;
    assert!(!output.status.success() && said.contains("DATABASE_URL"), "{said}");
}
