//! What access costs. Not run with the others, since it fills a database for some minutes and compares processor times:
//!
//! ```sh
//! cargo test --release --test it -- --ignored --nocapture access::cost
//! ```

use std::fs;
use std::time::{Duration, Instant};

use medconsult::fhir::caller::Caller;

use super::{World, back_end};

/// Each has this many observations, so that there are a million resources.
const OBSERVATIONS: i32 = 99;
const PATIENTS: i32 = 10_000;
/// Of whom the practitioner looks after every fifth.
const CARED_FOR: i32 = 2_000;

const ROUNDS: u32 = 5;
const SEARCHES: u32 = 200;

/// Fills the tables by statements, as commits would one by one.
async fn fill(world: &mut World) {
    let holder = world.rid("Practitioner", "doc").await;
    let statements = [
        "CREATE TEMP TABLE n AS SELECT \
             (SELECT id FROM resource_type WHERE name = 'Patient') AS patient, \
             (SELECT id FROM resource_type WHERE name = 'Observation') AS observation, \
             (SELECT max(index_version) FROM resource) AS rules, \
             (SELECT p.id FROM search_parameter p JOIN resource_type t ON t.id = p.type \
              WHERE t.name = 'Observation' AND p.code = 'subject') AS subject, \
             (SELECT p.id FROM search_parameter p JOIN resource_type t ON t.id = p.type \
              WHERE t.name = 'Observation' AND p.code = 'code') AS code"
            .to_owned(),
        format!(
            "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id, content) \
             SELECT 1000000 + g, now(), 1, n.rules, n.patient, 2, false, 'p' || g, \
                    jsonb_build_object('resourceType', 'Patient', 'id', 'p' || g) \
             FROM n, generate_series(1, {PATIENTS}) g"
        ),
        format!(
            "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id, content) \
             SELECT 2000000 + g, now(), 1, n.rules, n.observation, 2, false, 'o' || g, \
                    jsonb_build_object('resourceType', 'Observation', 'id', 'o' || g, 'status', 'final', \
                        'subject', jsonb_build_object('reference', 'Patient/p' || (g * 7919::bigint % {PATIENTS} + 1)), \
                        'note', repeat('x', 600)) \
             FROM n, generate_series(1, {PATIENTS} * {OBSERVATIONS}) g"
        ),
        format!(
            "INSERT INTO idx_reference (rid, param, target) \
             SELECT 2000000 + g, n.subject, 1000000 + g * 7919::bigint % {PATIENTS} + 1 \
             FROM n, generate_series(1, {PATIENTS} * {OBSERVATIONS}) g"
        ),
        format!(
            "INSERT INTO idx_token (rid, param, system, code) SELECT 2000000 + g, n.code, 0, 'c' || (hashint4(g) & 1023) % 20 \
             FROM n, generate_series(1, {PATIENTS} * {OBSERVATIONS}) g"
        ),
        format!(
            "INSERT INTO care_relation (holder, patient, source, starts, ends) \
             SELECT {holder}, 1000000 + g * 5, 1, '-infinity', 'infinity' FROM generate_series(1, {CARED_FOR}) g"
        ),
        "VACUUM ANALYZE resource, idx_reference, idx_token, care_relation, consent_denial".to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut world.connection)
            .await
            .unwrap();
    }
}

/// User and system time of a process, in clock ticks of ten milliseconds.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

/// Processor time of this server and of its database's processes until now.
async fn processor_time(world: &mut World) -> Duration {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let pids: Vec<i32> = sqlx::query_scalar(sql).fetch_all(&mut world.connection).await.unwrap();
    let own = ticks(std::process::id().cast_signed());
    Duration::from_millis(10 * (own + pids.into_iter().map(ticks).sum::<u64>()))
}

/// Milliseconds of a processor that one request takes, and how long half of them wait, at most.
async fn cost_of(world: &mut World, caller: &Caller, url: impl Fn(u32) -> String) -> (f64, f64) {
    for n in 0..20 {
        world.try_get(caller, &url(n)).await.unwrap();
    }
    let before = processor_time(world).await;
    let mut waits = Vec::new();
    for n in 0..SEARCHES {
        let begun = Instant::now();
        world.try_get(caller, &url(n)).await.unwrap();
        waits.push(begun.elapsed());
    }
    let spent = processor_time(world).await - before;
    waits.sort_unstable();
    let half = waits[waits.len() / 2];
    (
        spent.as_secs_f64() * 1000.0 / f64::from(SEARCHES),
        half.as_secs_f64() * 1000.0,
    )
}

/// The request of a number.
type Url = fn(u32) -> String;

#[tokio::test]
#[ignore = "fills a database with a million resources and measures"]
async fn a_practitioner_searches_among_a_million_resources() {
    let mut world = World::new().await;
    fill(&mut world).await;
    let (all, doc, anybody) = (back_end(&["system/*.rs"]), world.doc().await, Caller::sandbox());
    let searches: [(&str, Url); 4] = [
        ("by code", |n| format!("Observation?code=c{}", n % 20)),
        ("all of a type", |_| "Observation".to_owned()),
        ("of one patient", |n| {
            format!("Observation?subject=Patient/p{}", 5 * (1 + n % 1000))
        }),
        // The observations of patients who are looked after: 7919 g + 1 is a multiple of 5.
        ("read", |n| format!("Observation/o{}", 5 * (n % 1000) + 1)),
    ];
    for (name, url) in searches {
        let mut least = [(f64::MAX, f64::MAX); 3];
        for _ in 0..ROUNDS {
            for (caller, least) in [&anybody, &all, &doc].into_iter().zip(&mut least) {
                let (spent, half) = cost_of(&mut world, caller, url).await;
                *least = (least.0.min(spent), least.1.min(half));
            }
        }
        for (who, (spent, half)) in ["no token", "back end", "practitioner"].into_iter().zip(least) {
            println!("{name:>16} {who:>14}: {spent:.2} ms of a processor, {half:.2} ms");
        }
    }
}
