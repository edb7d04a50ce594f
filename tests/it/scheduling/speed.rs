//! How fast `$find` and `$book` are. Run in release, by itself:
//! `cargo test --release --test it -- --ignored --nocapture scheduling::speed`.

use std::time::{Duration, Instant};

use medconsult::fhir::caller::Caller;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use super::{EVERY_DAY, Practice, schedule, weekly};

const PRACTITIONERS: usize = 200;
const RUNS: u32 = 50;

/// CPU time of this process, the server without its database, in hundredths of a second (proc(5), `stat`).
fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Two hundred calendars of thirty days, sixteen visits a day, of which every second one is taken: 48,000 of them.
async fn large_practice() -> Practice {
    let practice = Practice::open().await;
    for n in 0..PRACTITIONERS {
        let id = format!("d{n}");
        practice
            .put(json!({"resourceType": "Practitioner", "id": id}))
            .await
            .unwrap();
        let hours =
            json!([{"url": "timezone", "valueCode": "Europe/Berlin"}, weekly(&EVERY_DAY, "09:00:00", "17:00:00")]);
        practice.put(schedule(&id, &id, &["quick"], hours)).await.unwrap();
    }
    let mut connection = practice.bench.database.options().connect().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO calendar_entry (slot, schedule, starts, ends, blocked) \
         SELECT -row_number() OVER (), r.rid, t, t + interval '30 minutes', false FROM resource r, \
                generate_series(timestamptz '2026-03-01T08:00:00Z', timestamptz '2026-03-31T23:00:00Z', interval '1 hour') t \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Schedule') AND r.id LIKE 'd_%' \
           AND extract(hour FROM t AT TIME ZONE 'UTC') BETWEEN 8 AND 15",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    // As the database does by itself, a little later.
    for statement in ["ANALYZE", "VACUUM calendar_entry"] {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
    practice
}

fn report(what: &str, total: Duration, cpu: Duration) {
    eprintln!(
        "{what}: {:.1} ms, of which {:.1} ms CPU of the server",
        total.as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 1e3
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn find_and_book_keep_their_time() {
    let practice = large_practice().await;
    let find = |count: u32| {
        json!([{"name": "service", "valueReference": {"reference": "HealthcareService/quick"}}, {"name": "start", "valueDateTime": "2026-03-01"},
            {"name": "end", "valueDateTime": "2026-03-30"}, {"name": "_count", "valuePositiveInt": count}])
    };
    let caller = Caller::sandbox();
    let mut proposals: Vec<Value> = Vec::new();
    for count in [100, 1000] {
        // What is kept by version is kept from the first call on.
        proposals = practice.find(find(count)).await;
        assert_eq!(proposals.len(), count as usize);
        let (start, cpu) = (Instant::now(), own_cpu());
        for _ in 0..RUNS {
            practice.call(&caller, "Appointment/$find", find(count)).await.unwrap();
        }
        let what = format!("$find over {PRACTITIONERS} practitioners and 30 days, {count} proposals");
        report(&what, start.elapsed() / RUNS, (own_cpu() - cpu) / RUNS);
    }
    let (start, cpu) = (Instant::now(), own_cpu());
    for proposal in proposals.iter().step_by(7).take(RUNS as usize) {
        let reference = format!("Appointment/{}", super::id(proposal));
        practice.take("book", &reference).await.unwrap();
    }
    report("$book", start.elapsed() / RUNS, (own_cpu() - cpu) / RUNS);
}
