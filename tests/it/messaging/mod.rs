//! Mails, handed to servers that others wrote or that keep to what others document, and read back from there.

mod commands;
mod events;
mod leaving;
mod provider;
mod server;
mod speed;

use jiff::SignedDuration;
use medconsult::mail::outbox::Content;
use medconsult::mail::{Letter, NewMail};
use serde_json::{Value, json};

use crate::app::TestApp;

/// Puts a mail to `to` into the outbox, with `code` in its text, which tells it from others.
async fn put(app: &TestApp, to: &str, code: &str) {
    let values: Value = json!({"code": code});
    let mail = NewMail {
        key: &format!("test {to} {code}"),
        lane: to,
        urgent: false,
        life: SignedDuration::from_hours(1),
        content: Content::Letter(Letter {
            to: to.to_owned(),
            template: "account-code".to_owned(),
            languages: String::new(),
            values: values.as_object().cloned().unwrap(),
            preferences: None,
        }),
        report: None,
    };
    let auth = app.app.auth.as_ref().unwrap();
    let mut transaction = auth.pool.begin().await.unwrap();
    auth.outbox.add(&mut transaction, &mail).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Runs the jobs that are due, and so sends the mails that are.
async fn run(app: &TestApp) {
    app.app.worker().run_due().await.unwrap();
}

/// Lets the time of all that waits come, and runs it.
async fn run_all(app: &TestApp) {
    let pool = &app.app.database.write;
    for statement in [
        "UPDATE mail SET due_at = now() - interval '1 second' WHERE state IN ('queued', 'sending')",
        "UPDATE job SET due_at = now() - interval '1 second'",
        "UPDATE job_schedule SET next_at = now() - interval '1 second' WHERE name = 'mail.send'",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
    run(app).await;
}

/// The states of all mails in the order in which they were put in, with what kept them.
async fn states(app: &TestApp) -> Vec<(String, Option<String>)> {
    sqlx::query_as("SELECT state, reason FROM mail ORDER BY id")
        .fetch_all(&app.app.database.write)
        .await
        .unwrap()
}
