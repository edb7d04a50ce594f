//! `Appointment/$find`.

use serde_json::{Value, json};

use super::{BASE, Practice, code, extension, minutes, refused, schedule, weekly};
use medconsult::fhir::caller::Caller;

fn starts(found: &[Value]) -> Vec<&str> {
    found
        .iter()
        .map(|proposal| proposal["start"].as_str().unwrap())
        .collect()
}

fn of(name: &str, value: &str) -> Value {
    json!({"name": name, "valueReference": {"reference": value}})
}

fn on(start: &str, end: &str) -> [Value; 2] {
    [
        json!({"name": "start", "valueDateTime": start}),
        json!({"name": "end", "valueDateTime": end}),
    ]
}

#[tokio::test]
async fn proposals_come_in_order_on_the_callers_clock_and_in_blocks() {
    let practice = Practice::open().await;
    let [start, end] = on("2026-03-02", "2026-03-02");
    let zone = json!({"name": "time-zone", "valueCode": "America/New_York"});
    let found = practice
        .find(json!([of("service", "HealthcareService/quick"), start, end, zone]))
        .await;
    // Dr. Dora from 09:00 in Berlin (03:00 in New York); Dr. Emil from 09:00 on the third in Auckland (15:00 on the second).
    let expected = [
        "2026-03-02T03:00:00-05:00",
        "2026-03-02T03:30:00-05:00",
        "2026-03-02T04:00:00-05:00",
        "2026-03-02T04:30:00-05:00",
        "2026-03-02T05:00:00-05:00",
        "2026-03-02T05:30:00-05:00",
        "2026-03-02T15:00:00-05:00",
        "2026-03-02T15:30:00-05:00",
        "2026-03-02T16:00:00-05:00",
        "2026-03-02T16:30:00-05:00",
    ];
    assert_eq!(starts(&found), expected);
    let first = &found[0];
    assert_eq!(
        (&first["status"], &first["minutesDuration"]),
        (&json!("proposed"), &json!(30))
    );
    assert_eq!(first["_start"]["extension"][0]["valueCode"], "America/New_York");
    assert_eq!(first["participant"][0]["actor"]["reference"], "Practitioner/dora");
    assert_eq!(first["participant"][1]["actor"]["reference"], "HealthcareService/quick");
    assert_eq!(first["serviceType"][0]["coding"][0]["code"], "quick");
    let block = |proposal: &Value| {
        let parts = proposal["extension"][0]["extension"].as_array().unwrap().clone();
        (parts[0]["valueString"].clone(), parts[1]["valueCode"].clone())
    };
    let blocks: Vec<(Value, Value)> = found.iter().map(block).collect();
    assert!(blocks[..6].iter().all(|(window, _)| *window == blocks[0].0));
    assert!(
        blocks[6..]
            .iter()
            .all(|(window, part)| *window == blocks[6].0 && part == "afternoon")
    );
    assert_ne!(blocks[0].0, blocks[6].0);
    assert_eq!((&blocks[0].1, &blocks[4].1), (&json!("night"), &json!("morning")));
}

#[tokio::test]
async fn what_is_asked_for_narrows_what_is_found() {
    let practice = Practice::open().await;
    let day = on("2026-03-02", "2026-03-03");
    let count = async |mut parameters: Vec<Value>| {
        parameters.extend(day.clone());
        practice.find(json!(parameters)).await.len()
    };
    // Two mornings of six in Berlin; the mornings of two days in Auckland, of four.
    assert_eq!(count(vec![of("practitioner", "Practitioner/dora")]).await, 12);
    assert_eq!(count(vec![of("practitioner", "Practitioner/emil")]).await, 8);
    assert_eq!(count(vec![]).await, 20);
    assert_eq!(count(vec![of("service", "HealthcareService/paid")]).await, 12);
    let token = |name: &str, value: &str| json!({"name": name, "valueString": value});
    assert_eq!(
        count(vec![token("specialty", "http://snomed.info/sct|394582007")]).await,
        8
    );
    assert_eq!(
        count(vec![token("visit-type", "http://example.org/services|paid")]).await,
        12
    );
    assert_eq!(
        count(vec![token("visit-type", "http://example.org/services|nothing")]).await,
        0
    );
    let both = vec![
        of("practitioner", "Practitioner/emil"),
        of("service", "HealthcareService/paid"),
    ];
    assert_eq!(count(both).await, 0);
    assert_eq!(count(vec![json!({"name": "_count", "valuePositiveInt": 3})]).await, 3);
    let first = vec![json!({"name": "first-available", "valueBoolean": true})];
    assert_eq!(count(first).await, 2, "one of each practitioner");
}

#[tokio::test]
async fn the_clock_of_the_practitioner_moves_and_the_offer_with_it() {
    let practice = Practice::open().await;
    let utc = json!({"name": "time-zone", "valueCode": "UTC"});
    let first_of = async |practitioner: &str, start: &str, end: &str| {
        let [start, end] = on(start, end);
        let found = practice
            .find(json!([
                of("practitioner", &format!("Practitioner/{practitioner}")),
                start,
                end,
                utc
            ]))
            .await;
        found[0]["start"].as_str().unwrap().to_owned()
    };
    // Berlin moves on 29 March: the same nine o'clock is an hour earlier in the world.
    assert_eq!(
        first_of("dora", "2026-03-27", "2026-03-27").await,
        "2026-03-27T08:00:00+00:00"
    );
    assert_eq!(
        first_of("dora", "2026-03-30", "2026-03-30").await,
        "2026-03-30T07:00:00+00:00"
    );
    // Auckland moves back on 5 April, and is a day ahead.
    assert_eq!(
        first_of("emil", "2026-04-03", "2026-04-03").await,
        "2026-04-03T20:00:00+00:00"
    );
    assert_eq!(
        first_of("emil", "2026-04-05", "2026-04-05").await,
        "2026-04-05T21:00:00+00:00"
    );
}

#[tokio::test]
async fn without_a_named_zone_the_settings_of_the_caller_count() {
    let practice = Practice::open().await;
    let zone = json!({"url": format!("{BASE}/StructureDefinition/time-zone"), "valueCode": "Asia/Kolkata"});
    practice
        .put(json!({"resourceType": "Patient", "id": "ada", "extension": [zone]}))
        .await
        .unwrap();
    let [start, end] = on("2026-03-02", "2026-03-02");
    let parameters = json!([of("practitioner", "Practitioner/dora"), start, end]);
    let bundle = practice
        .call(&practice.ada().await, "Appointment/$find", parameters.clone())
        .await
        .unwrap();
    let found = super::matches(&bundle);
    assert_eq!(found[0]["start"], "2026-03-02T13:30:00+05:30");
    // For who has chosen none, the clock of the place counts.
    assert_eq!(practice.find(parameters).await[0]["start"], "2026-03-02T09:00:00+01:00");
}

#[tokio::test]
async fn notice_horizon_buffers_and_blocked_time_are_kept() {
    let practice = Practice::open().await;
    let always = |parts: Vec<Value>| {
        let mut all = vec![
            json!({"url": "timezone", "valueCode": "UTC"}),
            weekly(&super::EVERY_DAY, "00:00:00", "00:00:00"),
        ];
        all.extend(parts);
        schedule("dora", "dora", &["quick"], json!(all))
    };
    let ask = json!([of("practitioner", "Practitioner/dora"), {"name": "_count", "valuePositiveInt": 1000}]);
    practice
        .put(always(vec![minutes("minimumNotice", 90), minutes("horizon", 240)]))
        .await
        .unwrap();
    let found = practice.find(ask.clone()).await;
    // From 11:30 up to, not including, 14:00.
    assert_eq!((found.len(), starts(&found)[0]), (5, "2026-03-01T11:30:00+00:00"));
    practice
        .put(always(vec![
            minutes("horizon", 240),
            minutes("bufferBefore", 10),
            minutes("bufferAfter", 20),
        ]))
        .await
        .unwrap();
    practice.booked("quick", "2026-03-01T12:00:00Z").await;
    // The visit takes 11:50 to 12:50. One at 11:00 takes until 11:50, one at 13:00 from 12:50.
    let found = practice.find(ask.clone()).await;
    let expected = [
        "2026-03-01T10:00:00+00:00",
        "2026-03-01T10:30:00+00:00",
        "2026-03-01T11:00:00+00:00",
        "2026-03-01T13:00:00+00:00",
        "2026-03-01T13:30:00+00:00",
    ];
    assert_eq!(starts(&found), expected);
    let absence = json!({"resourceType": "Slot", "id": "away", "schedule": {"reference": "Schedule/dora"},
        "status": "busy-unavailable", "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T13:30:00Z"});
    practice.put(absence).await.unwrap();
    let found = practice.find(ask).await;
    assert!(starts(&found).is_empty(), "13:30 needs ten minutes before it");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let practice = Practice::open().await;
    for (parameter, status, reason) in [
        (json!({"name": "start", "valueDateTime": "soon"}), 400, "dateTime"),
        (
            json!({"name": "start", "valueDateTime": "2026"}),
            400,
            "'start' is a day",
        ),
        (
            json!({"name": "time-zone", "valueCode": "Mars/Base"}),
            400,
            "no time zone",
        ),
        (
            json!({"name": "practitioner", "valueReference": {"reference": "Patient/ada"}}),
            400,
            "no reference to a Practitioner",
        ),
        (
            json!({"name": "end", "valueDateTime": "2020-01-01"}),
            400,
            "comes after",
        ),
        (
            json!({"name": "ignore-appointment", "valueReference": {"reference": "Appointment/x"}}),
            404,
            "no Appointment",
        ),
    ] {
        let answer = practice
            .call(&Caller::sandbox(), "Appointment/$find", json!([parameter]))
            .await;
        let (found, text) = refused(answer);
        assert_eq!(found, status, "{text}");
        assert!(text.contains(reason), "{text}");
    }
    let past = practice.find(json!(on("2025-01-01", "2025-01-02"))).await;
    assert!(past.is_empty());
}

#[tokio::test]
async fn schedules_that_offer_nothing_are_passed_over() {
    let practice = Practice::open().await;
    let mut inactive = schedule(
        "emil",
        "emil",
        &["quick"],
        json!([{"url": "timezone", "valueCode": "UTC"}, weekly(&["mon"], "09:00:00", "10:00:00")]),
    );
    inactive["active"] = json!(false);
    practice.put(inactive).await.unwrap();
    let [start, end] = on("2026-03-02", "2026-03-02");
    let all = json!([start, end]);
    assert_eq!(practice.find(all.clone()).await.len(), 6);
    let mut closed = super::service("visit", &[("approval", code("manual")), ("payment", code("none"))]);
    closed["active"] = json!(false);
    practice.put(closed).await.unwrap();
    let found = practice.find(all).await;
    assert_eq!(found.len(), 6);
    assert_eq!(
        found[0]["participant"][1]["actor"]["reference"],
        "HealthcareService/quick"
    );
    let broken = json!({"resourceType": "Schedule", "id": "dora", "actor": [{"reference": "Practitioner/dora"}],
        "extension": [extension("scheduling-parameters", json!([{"url": "timezone", "valueCode": "Nowhere"}]))]});
    let (status, text) = refused(practice.put(broken).await);
    assert_eq!(status, 422);
    assert!(text.contains("'timezone' is no zone"), "{text}");
}
