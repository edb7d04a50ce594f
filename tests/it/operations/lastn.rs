//! `$lastn`: <https://hl7.org/fhir/R4/observation-operation-lastn.html>.

use serde_json::{Value, json};

use super::{get, link, refusal, store};
use crate::app::{Ask, TestApp, spawn_app};

fn measured(id: &str, code: Value, when: Option<&str>, others: Value) -> Value {
    let mut observation = json!({"resourceType": "Observation", "id": id, "status": "final", "code": code,
        "subject": {"reference": "Patient/p"}, "category": [{"coding": [{"code": "vital-signs"}]}]});
    if let Some(when) = when {
        observation["effectiveDateTime"] = json!(when);
    }
    for (name, value) in others.as_object().unwrap() {
        observation[name] = value.clone();
    }
    observation
}

fn coded(codes: &[&str]) -> Value {
    let codings: Vec<Value> = codes
        .iter()
        .map(|code| json!({"system": "http://c", "code": code}))
        .collect();
    json!({"coding": codings})
}

/// Ids of what `$lastn` answers, in order.
async fn last(app: &TestApp, query: &str) -> String {
    let bundle = get(app, &format!("Observation/$lastn?{query}")).await;
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(bundle["total"], entries.len(), "{bundle}");
    let ids = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap());
    ids.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_latest_of_each_code() {
    let app = spawn_app().await;
    let none = json!({});
    store(
        &app,
        [
            // Stored in another order than they were made.
            measured("pulse2", coded(&["pulse"]), Some("2026-01-02"), none.clone()),
            measured("pulse3", coded(&["pulse"]), Some("2026-01-03T10:00:00Z"), none.clone()),
            measured("pulse1", coded(&["pulse"]), Some("2026-01-01"), none.clone()),
            measured("weight1", coded(&["weight"]), Some("2026-01-04"), none.clone()),
            measured(
                "wrong",
                coded(&["pulse"]),
                Some("2026-02-01"),
                json!({"status": "entered-in-error"}),
            ),
            measured(
                "lab",
                coded(&["glucose"]),
                Some("2026-03-01"),
                json!({"category": [{"coding": [{"code": "laboratory"}]}]}),
            ),
            measured(
                "others",
                coded(&["pulse"]),
                Some("2026-05-01"),
                json!({"subject": {"reference": "Patient/q"}}),
            ),
        ],
    )
    .await;
    for (query, found) in [
        ("patient=p&category=vital-signs", "wrong weight1"),
        ("patient=p&category=vital-signs&status=final", "weight1 pulse3"),
        (
            "patient=p&category=vital-signs&status=final&max=2",
            "weight1 pulse3 pulse2",
        ),
        (
            "subject=Patient/p&code=http://c|pulse&max=9&status=final",
            "pulse3 pulse2 pulse1",
        ),
        ("subject:Patient=p&code=pulse,glucose", "lab wrong"),
        ("patient=p&category=vital-signs&date=lt2026-01-03", "pulse2"),
        ("patient=nobody&code=pulse", ""),
        ("patient=p&code=nothing", ""),
    ] {
        assert_eq!(last(&app, query).await, found, "{query}");
    }
}

#[tokio::test]
async fn ties_with_the_last_that_fits_come_too() {
    let app = spawn_app().await;
    let at = |id: &str, when: Option<&str>| measured(id, coded(&["x"]), when, json!({}));
    store(
        &app,
        [
            at("a", Some("2026-01-03")),
            at("b", Some("2026-01-02T12:00:00Z")),
            at("c", Some("2026-01-02T13:00:00+01:00")),
            at("d", Some("2026-01-01")),
            at("undated1", None),
            at("undated2", None),
        ],
    )
    .await;
    for (max, found) in [
        ("1", "a"),
        ("2", "a c b"),
        ("3", "a c b"),
        ("4", "a c b d"),
        // What has no time comes last, newest first, and is no tie.
        ("5", "a c b d undated2"),
        ("99999999", "a c b d undated2 undated1"),
    ] {
        assert_eq!(last(&app, &format!("patient=p&code=x&max={max}")).await, found, "{max}");
    }
}

#[tokio::test]
async fn kinds_are_codes_that_are_linked_and_texts_that_are_equal() {
    let app = spawn_app().await;
    let day = |n: usize| format!("2026-01-{n:02}");
    let kinds = [
        ("a", coded(&["a"])),
        ("b", coded(&["b"])),
        // Makes one kind of a, b and c, though no other observation has two of them.
        ("ab", coded(&["b", "a"])),
        ("bc", coded(&["c", "b"])),
        ("c", coded(&["c"])),
        ("d", coded(&["d"])),
        (
            "same code elsewhere",
            json!({"coding": [{"system": "http://other", "code": "d"}]}),
        ),
        ("text", json!({"text": "Pulse"})),
        ("text again", json!({"text": "Pulse"})),
        ("other case", json!({"text": "pulse"})),
        (
            "code with text",
            json!({"coding": [{"system": "http://c", "code": "e"}], "text": "Pulse"}),
        ),
        ("no code, no text", json!({"coding": [{"display": "?"}]})),
        ("none either", json!({"coding": [{"display": "?"}]})),
    ];
    let observations = kinds
        .iter()
        .enumerate()
        .map(|(n, (id, code))| measured(&id.replace([' ', ','], "-"), code.clone(), Some(&day(n + 1)), json!({})));
    store(&app, observations).await;
    assert_eq!(
        last(&app, "patient=p&category=vital-signs").await,
        "none-either no-code--no-text code-with-text other-case text-again same-code-elsewhere d c"
    );
    // Without the links there are three kinds.
    assert_eq!(last(&app, "patient=p&category=vital-signs&_id=a,b,c").await, "c b a");
}

#[tokio::test]
async fn what_it_needs_and_what_it_does_not_take() {
    let app = spawn_app().await;
    for (query, reason) in [
        ("code=x", "needs the parameter 'patient' or 'subject'"),
        ("patient=p", "needs the parameter 'category' or one with a code"),
        ("patient=p&code=x&_sort=date", "takes no _sort"),
        ("patient=p&code=x&_count=5", "takes no _count"),
        (
            "patient=p&code=x&_include:iterate=Observation:subject",
            "takes no _include",
        ),
        ("patient=p&code=x&max=0", "'max' is a whole number, 1 or more"),
        ("patient=p&code=x&max=1&max=2", "takes the parameter 'max' once"),
        ("patient=p&code:exact=x", ":exact"),
    ] {
        let text = refusal(&app, &format!("Observation/$lastn?{query}"), 400).await;
        assert!(text.contains(reason), "{query}: {text}");
    }
    refusal(&app, "Patient/$lastn?patient=p&code=x", 404).await;
    let strict = app
        .get("Observation/$lastn?patient=p&code=x&nonsense=1")
        .header("prefer", "handling=strict");
    assert!(strict.answer().await.expect(400).text().contains("nonsense"));
    let lenient = get(&app, "Observation/$lastn?patient=p&code=x&nonsense=1").await;
    assert_eq!(lenient["entry"][0]["search"]["mode"], "outcome");
}

#[tokio::test]
async fn by_post_and_in_part() {
    let app = spawn_app().await;
    store(&app, [measured("o", coded(&["x"]), Some("2026-01-01"), json!({}))]).await;
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "patient", "valueString": "p"}, {"name": "code", "valueString": "http://c|x"}, {"name": "max", "valuePositiveInt": 3}
    ]});
    let answer = app
        .post("Observation/$lastn?_elements=status")
        .fhir(&parameters)
        .answer()
        .await;
    let bundle = answer.expect(200).json();
    let found = &bundle["entry"][0]["resource"];
    assert_eq!((&found["id"], &found["effectiveDateTime"]), (&json!("o"), &Value::Null));
    let own = link(&bundle, "self").unwrap();
    assert!(own.contains("max=3") && own.contains("_elements=status"), "{own}");
    assert_eq!(get(&app, &own).await["entry"], bundle["entry"]);
}
