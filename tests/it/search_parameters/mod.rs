//! Search parameters that come and go while servers run: checked, indexed in the background, and honest meanwhile.

mod background;
mod defining;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use medconsult::knowledge::definitions::Definitions;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::app::{Ask, TestApp, spawn_app, spawn_app_with};

const SHOE: &str = "http://example.org/fhir/StructureDefinition/shoe-size";

/// The parameter `shoe-size`, of an extension.
fn shoe_size() -> Value {
    parameter(
        "shoe-size",
        "Patient",
        "number",
        &format!("Patient.extension.where(url='{SHOE}').value.ofType(integer)"),
    )
}

fn parameter(code: &str, base: &str, kind: &str, expression: &str) -> Value {
    json!({"resourceType": "SearchParameter", "url": format!("http://example.org/fhir/SearchParameter/{code}"),
        "name": "Own", "status": "active", "description": "A parameter of our own", "code": code, "base": [base],
        "type": kind, "expression": expression})
}

fn patient(size: usize) -> Value {
    json!({"resourceType": "Patient", "extension": [{"url": SHOE, "valueInteger": size}]})
}

impl TestApp {
    /// Stores Patients with these sizes by one transaction.
    async fn store_patients(&self, sizes: impl Iterator<Item = usize>) {
        let entry = |size| json!({"resource": patient(size), "request": {"method": "POST", "url": "Patient"}});
        let bundle =
            json!({"resourceType": "Bundle", "type": "transaction", "entry": sizes.map(entry).collect::<Vec<_>>()});
        self.post("/fhir").fhir(&bundle).answer().await.expect(200);
    }

    /// Stores a SearchParameter under the id of its code.
    async fn put_parameter(&self, parameter: &Value) {
        let mut parameter = parameter.clone();
        let path = format!("/fhir/SearchParameter/{}", parameter["code"].as_str().unwrap());
        parameter["id"] = parameter["code"].clone();
        let answer = self.put(&path).fhir(&parameter).answer().await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }

    async fn bundle(&self, query: &str) -> Value {
        let request = self.get(&format!("/fhir/{query}")).header("prefer", "handling=strict");
        request.answer().await.expect(200).json()
    }

    /// Runs what is due, none of which may fail.
    async fn run_jobs(&self) {
        self.app.worker().run_due().await.unwrap();
        let failures: Vec<String> = sqlx::query_scalar("SELECT last_error FROM job WHERE last_error IS NOT NULL")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap();
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// The parts of the newest run.
    async fn newest_run(&self) -> Vec<Value> {
        let status = self.get("/fhir/$reindex-status").answer().await.expect(200).json();
        status["parameter"][0]["part"].as_array().unwrap().clone()
    }
}

/// The value of a part of a run.
fn part<'p>(parts: &'p [Value], name: &str) -> &'p Value {
    let part = parts.iter().find(|part| part["name"] == name).unwrap();
    let (_, value) = part
        .as_object()
        .unwrap()
        .iter()
        .find(|(key, _)| key.starts_with("value"))
        .unwrap();
    value
}

fn total(bundle: &Value) -> u64 {
    bundle["total"].as_u64().unwrap()
}

/// What the Bundle says beside its matches.
fn warnings(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let outcomes = entries.filter(|entry| entry["search"]["mode"] == "outcome");
    outcomes
        .flat_map(|entry| entry["resource"]["issue"].as_array().unwrap())
        .map(|issue| {
            format!(
                "{}: {}",
                issue["code"].as_str().unwrap(),
                issue["diagnostics"].as_str().unwrap()
            )
        })
        .collect()
}

/// Waits for what another task brings about, at most ten seconds.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("it comes about");
}

async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Whether a transaction waits for a lock of this mode on the table of resources.
async fn is_waiting(connection: &mut PgConnection, mode: &str) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = $1 AND relation = 'resource'::regclass)",
    )
    .bind(mode)
    .fetch_one(connection)
    .await
    .unwrap()
}
