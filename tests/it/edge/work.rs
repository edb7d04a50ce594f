//! What an answer costs tells nothing, and what is costly holds up nobody else. Work is counted (hashes of passwords, statements),
//! not timed: that is what the time is made of, and the count is the same on every machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use futures::future::join_all;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::crypto;
use medconsult::config::Config;

use super::log::Log;
use crate::app::{Answer, Ask, TestApp, spawn_app_with};
use crate::auth::guard;

/// Reports of the counts of requests come when they are due, and would disturb the comparison.
fn without_limits(config: &mut Config) {
    guard(config);
    let limits = &mut config.limits;
    (
        limits.pages_per_address,
        limits.tokens_per_address,
        limits.tokens_per_client,
        limits.per_address,
    ) = (0, 0, 0, 0);
}

/// What was done for a request: passwords that were hashed, and statements.
#[derive(Debug, PartialEq, Eq)]
struct Work {
    hashes: u64,
    statements: Vec<String>,
}

async fn work_of(app: &TestApp, log: &Log, request: impl Future<Output = Answer>) -> (Work, Answer) {
    let passwords = &app.app.auth.as_ref().unwrap().passwords;
    let before = passwords.work().hashes;
    log.statements();
    let answer = request.await;
    let work = Work {
        hashes: passwords.work().hashes - before,
        statements: log.statements(),
    };
    assert!(!work.statements.is_empty(), "statements are not counted");
    (work, answer)
}

/// What somebody sees: the page, but for what is random in it.
fn seen(answer: &Answer, token: &str, email: &str) -> (u16, String, String) {
    let text = answer.text().replace(token, "").replace(email, "");
    (answer.status.as_u16(), answer.header("location").to_owned(), text)
}

#[tokio::test]
async fn signing_in_with_a_wrong_password_costs_the_same_with_and_without_an_account() {
    let app = spawn_app_with(without_limits).await;
    let (known, unknown) = ("ada@clinic.example", "eve@clinic.example");
    let mut visitor = app.visitor();
    visitor.sign_up(known, "plover wants eleven lamps").await;
    let log = Log::new();
    let mut outcomes = Vec::new();
    // The first failure of a server makes the hash that unknown people are compared with.
    for email in ["first@clinic.example", known, unknown, known, unknown] {
        visitor.open("/auth/sign-in").await.expect(200);
        let token = visitor.form_token.clone();
        let form = [("email", email), ("password", "another pass phrase")];
        let (work, answer) = work_of(&app, &log, visitor.submit("/auth/sign-in", &form)).await;
        assert!(answer.headers.get("set-cookie").is_none(), "nobody is signed in");
        outcomes.push((work, seen(&answer, &token, email)));
    }
    let first = &outcomes[1];
    assert_eq!((first.0.hashes, first.1.0), (1, 401));
    for outcome in &outcomes[2..] {
        assert_eq!(outcome, first);
    }
}

#[tokio::test]
async fn asking_for_another_password_costs_the_same_with_and_without_an_account() {
    let app = spawn_app_with(without_limits).await;
    let (known, unknown) = ("ada@clinic.example", "eve@clinic.example");
    let mut visitor = app.visitor();
    visitor.sign_up(known, "plover wants eleven lamps").await;
    let log = Log::new();
    let mut outcomes = Vec::new();
    for email in [known, unknown] {
        visitor.open("/auth/forgot").await.expect(200);
        let token = visitor.form_token.clone();
        let (work, answer) = work_of(&app, &log, visitor.submit("/auth/forgot", &[("email", email)])).await;
        outcomes.push((work, seen(&answer, &token, email)));
    }
    assert_eq!(outcomes[0].1.0, 303);
    assert_eq!(outcomes[0], outcomes[1]);
    drop(log);
    // The mails are another matter, which nobody waits for.
    app.app.worker().run_due().await.unwrap();
    app.app.worker().run_due().await.unwrap();
}

#[tokio::test]
async fn signing_up_costs_the_same_for_known_and_unknown_addresses() {
    let app = spawn_app_with(without_limits).await;
    let (known, unknown) = ("ada@clinic.example", "eve@clinic.example");
    let mut visitor = app.visitor();
    visitor.sign_up(known, "plover wants eleven lamps").await;
    let log = Log::new();
    let mut outcomes = Vec::new();
    for email in [known, unknown] {
        visitor.open("/auth/sign-up").await.expect(200);
        let token = visitor.form_token.clone();
        let form = [
            ("given", "Ada"),
            ("family", "Lovelace"),
            ("email", email),
            ("password", "seven lamps want plovers"),
        ];
        let (work, answer) = work_of(&app, &log, visitor.submit("/auth/sign-up", &form)).await;
        outcomes.push((work.hashes, seen(&answer, &token, email)));
    }
    assert_eq!((outcomes[0].0, outcomes[0].1.0), (1, 303));
    assert_eq!(outcomes[0], outcomes[1]);
    drop(log);
    app.app.worker().run_due().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_costs_the_same_with_and_without_a_client() {
    let app = spawn_app_with(without_limits).await;
    let client = NewClient {
        id: "app",
        name: "An application",
        scopes: &Scopes::parse("openid").unwrap(),
        redirect_uris: &["https://app.example/cb".to_owned()],
        launch_url: None,
        launches: false,
        proof: NewProof::Secret(crypto::digest("right")),
    };
    let now = app.app.clock.now();
    assert!(clients::add(&app.app.database.write, now, &client).await.unwrap());
    let log = Log::new();
    let mut outcomes = Vec::new();
    for id in ["app", "nobody"] {
        let proof = [
            ("client_id", id),
            ("client_secret", "wrong"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ];
        let (work, answer) = work_of(&app, &log, app.form("/auth/token", &proof).answer()).await;
        outcomes.push((work, answer.status.as_u16(), answer.text()));
    }
    assert_eq!(outcomes[0].1, 401);
    assert_eq!(outcomes[0], outcomes[1]);
}

#[tokio::test]
async fn a_burst_of_sign_ins_leaves_the_api_its_cores() {
    const PEOPLE: usize = 20;
    let app = spawn_app_with(without_limits).await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let passwords = &app.app.auth.as_ref().unwrap().passwords;
    let before = passwords.work().hashes;

    let emails: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}@clinic.example")).collect();
    let mut visitors = Vec::new();
    for _ in &emails {
        let mut visitor = app.visitor();
        visitor.open("/auth/sign-in").await.expect(200);
        visitors.push(visitor);
    }
    let is_over = AtomicBool::new(false);
    let burst = async {
        let attempts = visitors.iter_mut().zip(&emails).map(|(visitor, email)| async move {
            let form = [("email", email.as_str()), ("password", "another pass phrase")];
            visitor.submit("/auth/sign-in", &form).await.status.as_u16()
        });
        let statuses = join_all(attempts).await;
        is_over.store(true, Ordering::Relaxed);
        statuses
    };
    let requests = async {
        let mut answered = 0;
        while !is_over.load(Ordering::Relaxed) {
            app.get("Patient").bearer_auth(&token).answer().await.expect(200);
            answered += 1;
        }
        answered
    };
    let (statuses, answered) = tokio::join!(burst, requests);
    // Where the machine is slow, those who waited for too long are told to come back.
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    let work = passwords.work();
    let judged = statuses.iter().filter(|status| **status == 401).count();
    assert!(
        judged > 0 && work.hashes - before >= judged as u64,
        "{work:?}, {statuses:?}"
    );
    let cores = available_parallelism().unwrap().get();
    assert!(work.most_at_once <= cores.div_ceil(2), "{work:?}");
    assert!(
        answered >= PEOPLE / 2,
        "{answered} requests were answered during {PEOPLE} attempts"
    );
}
