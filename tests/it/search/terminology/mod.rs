//! `:in`, `:not-in`, `:above` and `:below`: on tokens by stored value sets and code systems and by those of R4, on URLs, and
//! on references along a hierarchy of resources.

mod hierarchies;
mod sets;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use medconsult::fhir::hooks::Hooks;
use medconsult::fhir::search::matches_all;
use medconsult::fhir::terminology::upkeep::TerminologyUpkeep;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection};

use super::*;
use crate::bench::bench_with;

async fn terminology_bench() -> Bench {
    let hooks = Hooks {
        guards: vec![Box::new(TerminologyUpkeep)],
        ..Hooks::default()
    };
    bench_with(hooks).await
}

async fn connect(bench: &Bench) -> PgConnection {
    bench.database.options().connect().await.unwrap()
}

async fn delete(bench: &Bench, resource_type: &str, id: &str) {
    let target = instance(&json!({"resourceType": resource_type, "id": id}));
    let write = Write::Delete { target, if_match: None };
    let outcome = commit(&bench.server, &Caller::sandbox(), vec![Op { write, full_url: None }]).await;
    outcome.map_err(|error| error.error).unwrap();
}

/// Animals: mammal > (dog > poodle, cat), bird.
fn animals() -> Value {
    code_system(
        "animals",
        json!([
        {"code": "mammal", "concept": [{"code": "dog", "concept": [{"code": "Poodle"}]}, {"code": "cat"}]},
        {"code": "bird"}]),
    )
}

fn code_system(id: &str, concepts: Value) -> Value {
    json!({"resourceType": "CodeSystem", "id": id, "url": format!("http://x/{id}"), "status": "active",
        "content": "complete", "concept": concepts})
}

fn value_set(id: &str, include: Value) -> Value {
    json!({"resourceType": "ValueSet", "id": id, "url": format!("http://x/vs/{id}"), "status": "active",
        "compose": {"include": include}})
}

/// The codes below another one.
fn descendants(of: &str) -> Value {
    json!([{"system": "http://x/animals", "filter": [{"property": "concept", "op": "is-a", "value": of}]}])
}

fn listed(system: &str, codes: &[&str]) -> Value {
    let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
    json!([{"system": system, "concept": concepts}])
}

/// An observation of an animal, called by its code.
fn seen(code: &str) -> Value {
    seen_as(code, "http://x/animals", code)
}

fn seen_as(id: &str, system: &str, code: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final",
        "code": {"coding": [{"system": system, "code": code}]}})
}
