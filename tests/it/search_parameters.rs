//! Search parameters that come and go while servers run: checked, indexed in the background, and honest meanwhile.

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

#[tokio::test]
async fn it_is_indexed_in_the_background_and_says_so_meanwhile() {
    let app = spawn_app().await;
    app.store_patients([41, 43, 43].into_iter()).await;
    app.put_parameter(&shoe_size()).await;
    // Known at once, and indexed by every write from now on.
    app.post("/fhir/Patient").fhir(&patient(43)).answer().await.expect(201);
    let bundle = app.bundle("Patient?shoe-size=43").await;
    assert_eq!(total(&bundle), 1, "the one that was written after it");
    let said = warnings(&bundle);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("incomplete: ") && said[0].contains("0 %"),
        "{}",
        said[0]
    );
    assert_eq!(
        warnings(&app.bundle("Patient?_sort=shoe-size").await).len(),
        1,
        "an order by it is not right yet"
    );
    assert_eq!(
        warnings(&app.bundle("Patient?active=true").await).len(),
        0,
        "other searches are not concerned"
    );
    let listed = |statement: Value| {
        let resources = statement["rest"][0]["resource"].as_array().unwrap().clone();
        let patient = resources
            .into_iter()
            .find(|resource| resource["type"] == "Patient")
            .unwrap();
        let parameters = patient["searchParam"].as_array().unwrap().clone();
        parameters
            .into_iter()
            .find(|parameter| parameter["name"] == "shoe-size")
    };
    let statement = app.get("/fhir/metadata").answer().await.json();
    let entry = listed(statement).expect("the CapabilityStatement shows it");
    assert_eq!(entry["definition"], "http://example.org/fhir/SearchParameter/shoe-size");
    assert!(entry["documentation"].is_string(), "and that it is not complete");

    app.run_jobs().await;
    let bundle = app.bundle("Patient?shoe-size=43").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (3, vec![]));
    assert_eq!(total(&app.bundle("Patient?shoe-size:missing=true").await), 0);
    assert_eq!(total(&app.bundle("Patient?shoe-size=lt43").await), 1);
    let sorted = app.bundle("Patient?_sort=shoe-size").await;
    let sizes: Vec<_> = sorted["entry"].as_array().unwrap().iter().collect();
    let sizes: Vec<_> = sizes
        .iter()
        .map(|entry| &entry["resource"]["extension"][0]["valueInteger"])
        .collect();
    assert_eq!(sizes, [41, 43, 43, 43]);
    let of_last = format!(
        "/fhir/Patient/{}",
        sorted["entry"][3]["resource"]["id"].as_str().unwrap()
    );
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "subject": {"reference": of_last.trim_start_matches("/fhir/")}});
    app.post("/fhir/Observation")
        .fhir(&observation)
        .answer()
        .await
        .expect(201);
    assert_eq!(
        total(&app.bundle("Observation?subject:Patient.shoe-size=43").await),
        1,
        "at the end of a chain"
    );
    assert_eq!(total(&app.bundle("Observation?subject:Patient.shoe-size=41").await), 0);
    let entry = listed(app.get("/fhir/metadata").answer().await.json()).unwrap();
    assert!(entry.get("documentation").is_none());
    let run = app.newest_run().await;
    assert_eq!(
        (part(&run, "state"), part(&run, "percent"), part(&run, "reason")),
        (&json!("finished"), &json!(100), &json!("parameter"))
    );
}

#[tokio::test]
async fn every_type_of_parameter_works_also_by_the_engine() {
    let app = spawn_app().await;
    let extension = |name: &str| format!("http://example.org/fhir/StructureDefinition/{name}");
    let resource = json!({"resourceType": "Patient", "id": "p",
        "name": [{"use": "official", "family": "Žižek"}, {"use": "old", "family": "Novák", "period": {"end": "2001"}}],
        "extension": [
            {"url": extension("tribe"), "valueCoding": {"system": "urn:t", "code": "Raven"}},
            {"url": extension("doctor"), "valueReference": {"reference": "Practitioner/d"}},
            {"url": extension("moved"), "valueDateTime": "2020-05"},
            {"url": extension("height"), "valueQuantity": {"value": 1.8, "system": "http://unitsofmeasure.org", "code": "m"}},
            {"url": extension("page"), "valueUri": "http://example.org/p"},
            {"url": extension("nickname"), "valueString": "Slavoj"}]});
    app.put("/fhir/Patient/p").fhir(&resource).answer().await.expect(201);
    app.put("/fhir/Patient/q")
        .fhir(&json!({"resourceType": "Patient", "id": "q"}))
        .answer()
        .await
        .expect(201);
    let value = |name: &str| format!("Patient.extension.where(url='{}').value", extension(name));
    for (code, kind, expression) in [
        ("tribe", "token", value("tribe")),
        (
            "doctor",
            "reference",
            format!("Patient.extension('{}').value.ofType(Reference)", extension("doctor")),
        ),
        ("moved", "date", format!("({} as dateTime)", value("moved"))),
        ("height", "quantity", value("height")),
        ("page", "uri", value("page")),
        ("nickname", "string", value("nickname")),
        (
            "called",
            "string",
            "Patient.name.where(use = 'official' and period.empty()).family".to_owned(),
        ),
        (
            "reachable",
            "token",
            "Patient.telecom.exists() or Patient.contact.exists()".to_owned(),
        ),
    ] {
        app.put_parameter(&parameter(code, "Patient", kind, &expression)).await;
    }
    app.run_jobs().await;
    for query in [
        "tribe=urn:t|raven",
        "tribe=Raven",
        "doctor=Practitioner/d",
        "moved=2020",
        "height=180|http://unitsofmeasure.org|cm",
        "page=http://example.org/p",
        "nickname=slav",
        "called=zizek",
        "nickname:missing=false",
    ] {
        let bundle = app.bundle(&format!("Patient?{query}")).await;
        assert_eq!((total(&bundle), warnings(&bundle)), (1, vec![]), "{query}");
        assert_eq!(bundle["entry"][0]["resource"]["id"], "p", "{query}");
    }
    assert_eq!(total(&app.bundle("Patient?called=novak").await), 0);
    assert_eq!(total(&app.bundle("Patient?reachable=false").await), 2);
}

#[tokio::test]
async fn a_composite_of_ones_own_matches_per_instance_also_in_what_is_contained() {
    let app = spawn_app().await;
    let name = |given: &str, family: &str| json!({"given": [given], "family": family});
    let patient =
        json!({"resourceType": "Patient", "id": "p", "name": [name("Ada", "King"), name("Augusta", "Byron")]});
    app.put("/fhir/Patient/p").fhir(&patient).answer().await.expect(201);
    let mut within = patient.clone();
    within["id"] = json!("inner");
    let account = json!({"resourceType": "Basic", "code": {"text": "x"}, "contained": [within], "subject": {"reference": "#inner"}});
    app.post("/fhir/Basic").fhir(&account).answer().await.expect(201);
    let component = |which: &str| json!({"definition": format!("http://hl7.org/fhir/SearchParameter/individual-{which}"), "expression": which});
    let mut own = parameter("called", "Patient", "composite", "Patient.name");
    own["component"] = json!([component("given"), component("family")]);
    app.put_parameter(&own).await;
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?called=Ada$King").await), 1);
    assert_eq!(total(&app.bundle("Patient?called=Ada$Byron").await), 0, "of two names");
    let mut connection = app.connection().await;
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM idx_composite WHERE param < 0").await,
        2
    );

    own["component"][0]["definition"] = json!("http://example.org/fhir/SearchParameter/none");
    own["code"] = json!("other");
    let answer = app.post("/fhir/SearchParameter").fhir(&own).answer().await.expect(422);
    assert_eq!(
        answer.json()["issue"][0]["expression"][0],
        "SearchParameter.component.definition"
    );

    app.delete("/fhir/SearchParameter/called").answer().await.expect(204);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, "SELECT count(*) FROM idx_composite").await, 0);
}

#[tokio::test]
async fn one_for_all_types_is_one_for_each() {
    let app = spawn_app().await;
    let source = "http://example.org/fhir/StructureDefinition/batch";
    let tagged =
        json!({"resourceType": "Basic", "code": {"text": "x"}, "extension": [{"url": source, "valueString": "seven"}]});
    app.post("/fhir/Basic").fhir(&tagged).answer().await.expect(201);
    app.post("/fhir/Patient").fhir(&patient(40)).answer().await.expect(201);
    let expression = format!("DomainResource.extension('{source}').value");
    app.put_parameter(&parameter("batch", "DomainResource", "string", &expression))
        .await;
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Basic?batch=seven").await), 1);
    assert_eq!(total(&app.bundle("Patient?batch=seven").await), 0);
    app.delete("/fhir/SearchParameter/batch").answer().await.expect(204);
    app.run_jobs().await;
    let mut connection = app.connection().await;
    assert_eq!(
        count(
            &mut connection,
            "SELECT count(*) FROM search_parameter WHERE code = 'batch'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    let app = spawn_app().await;
    app.put_parameter(&shoe_size()).await;
    let refused = async |parameter: Value| {
        let answer = app
            .post("/fhir/SearchParameter")
            .fhir(&parameter)
            .answer()
            .await
            .expect(422);
        answer.json()["issue"][0].clone()
    };
    let mut same_code = shoe_size();
    same_code["url"] = json!("http://example.org/fhir/SearchParameter/other");
    let issue = refused(same_code.clone()).await;
    assert!(
        issue["diagnostics"]
            .as_str()
            .unwrap()
            .contains("SearchParameter/shoe-size"),
        "{issue}"
    );
    assert_eq!(issue["expression"][0], "SearchParameter.code");
    assert_eq!(
        refused(parameter("x", "Patient", "token", "Patient..")).await["expression"][0],
        "SearchParameter.expression"
    );
    assert_eq!(
        refused(parameter("x", "Alien", "token", "Alien.x")).await["expression"][0],
        "SearchParameter.base[0]",
        "validation knows the types"
    );
    assert_eq!(
        refused(parameter("x", "Patient", "date", "Patient.gender")).await["expression"][0],
        "SearchParameter.type"
    );
    assert_eq!(
        refused(parameter("gender", "Patient", "token", "Patient.active")).await["expression"][0],
        "SearchParameter.code"
    );

    // In a transaction it takes all with it.
    let entry =
        |resource: Value| json!({"request": {"method": "POST", "url": resource["resourceType"]}, "resource": resource});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry(patient(40)), entry(parameter("x", "Patient", "date", "Patient.gender"))]});
    app.post("/fhir").fhir(&bundle).answer().await.expect(422);
    assert_eq!(total(&app.bundle("Patient").await), 0);
    // Two with one code in one transaction.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry(parameter("y", "Patient", "token", "Patient.gender")), entry(parameter("y", "Patient", "token", "Patient.active"))]});
    app.post("/fhir").fhir(&bundle).answer().await.expect(422);

    // Another status, another type's code and copies of R4's own are fine.
    same_code["status"] = json!("draft");
    app.post("/fhir/SearchParameter")
        .fhir(&same_code)
        .answer()
        .await
        .expect(201);
    app.put_parameter(&parameter(
        "shoe-count",
        "Patient",
        "number",
        "Patient.multipleBirth.ofType(integer)",
    ))
    .await;
    let definitions = Definitions::r4();
    for code in ["birthdate", "general-practitioner"] {
        let known = definitions
            .search_parameters
            .iter()
            .find(|known| known.code == code)
            .unwrap();
        let mut copy = parameter(code, "Patient", known.kind.code(), known.expression.as_deref().unwrap());
        copy["url"] = json!(known.url);
        copy["base"] = json!(known.base);
        app.post("/fhir/SearchParameter").fhir(&copy).answer().await.expect(201);
    }
}

#[tokio::test]
async fn it_goes_when_it_is_deleted_or_retired_and_comes_back() {
    let app = spawn_app().await;
    app.store_patients([41, 43].into_iter()).await;
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut connection = app.connection().await;
    let rows = "SELECT count(*) FROM idx_quantity";
    assert_eq!(count(&mut connection, rows).await, 2);

    let mut retired = shoe_size();
    retired["status"] = json!("retired");
    app.put_parameter(&retired).await;
    let strict = app
        .get("/fhir/Patient?shoe-size=43")
        .header("prefer", "handling=strict");
    strict.answer().await.expect(400);
    let lenient = app.get("/fhir/Patient?shoe-size=43").answer().await.expect(200).json();
    assert_eq!(warnings(&lenient).len(), 1, "it is ignored, and says so");
    app.post("/fhir/Patient").fhir(&patient(44)).answer().await.expect(201);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, rows).await, 0, "its rows are gone");
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM search_parameter WHERE dropped").await,
        0
    );

    app.put_parameter(&shoe_size()).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=43").await).len(), 1);
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?shoe-size=ge43").await), 2);
    app.delete("/fhir/SearchParameter/shoe-size").answer().await.expect(204);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, rows).await, 0);
}

#[tokio::test]
async fn another_expression_indexes_anew_and_another_description_does_not() {
    let app = spawn_app().await;
    app.store_patients([41].into_iter()).await;
    let born = json!({"resourceType": "Patient", "multipleBirthInteger": 41});
    app.post("/fhir/Patient").fhir(&born).answer().await.expect(201);
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut described = shoe_size();
    described["description"] = json!("In Paris points");
    app.put_parameter(&described).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=41").await).len(), 0);
    let mut changed = described.clone();
    changed["expression"] = json!("Patient.multipleBirth.ofType(integer)");
    app.put_parameter(&changed).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=41").await).len(), 1);
    app.run_jobs().await;
    let bundle = app.bundle("Patient?shoe-size=41").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (1, vec![]));
    assert_eq!(bundle["entry"][0]["resource"]["multipleBirthInteger"], 41);
}

#[tokio::test]
async fn a_condition_on_what_is_not_complete_is_refused() {
    let app = spawn_app().await;
    app.store_patients([41].into_iter()).await;
    app.put_parameter(&shoe_size()).await;
    let create = || {
        app.post("/fhir/Patient")
            .header("if-none-exist", "shoe-size=41")
            .fhir(&patient(41))
    };
    let answer = create().answer().await.expect(503);
    assert!(answer.text().contains("shoe-size"), "{}", answer.text());
    app.run_jobs().await;
    create().answer().await.expect(200);
}

/// Two servers on one database, both writing all the time, while one of them indexes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_while_others_write() {
    let one = Arc::new(spawn_app().await);
    let other = Arc::new(one.beside().await);
    for round in 0..6 {
        one.store_patients((0..100).map(|n| 35 + (n + round) % 15)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (n, app) in [&one, &other, &one, &other].into_iter().enumerate() {
        let (app, stop) = (app.clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let created = app
                    .post("/fhir/Patient")
                    .fhir(&patient(35 + written % 15))
                    .answer()
                    .await
                    .expect(201);
                let mut resource = created.json();
                resource["extension"][0]["valueInteger"] = json!(35 + (written + n) % 15);
                let path = format!("/fhir/Patient/{}", resource["id"].as_str().unwrap());
                app.put(&path).fhir(&resource).answer().await.expect(200);
                if written % 5 == 4 {
                    app.delete(&path).answer().await.expect(204);
                }
                written += 1;
            }
            written
        }));
    }
    one.put_parameter(&shoe_size()).await;
    let watched = one.clone();
    let watch = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let run = watched.newest_run().await;
            seen.push(part(&run, "percent").as_u64().unwrap());
            if part(&run, "state") == "finished" {
                return seen;
            }
        }
    });
    other.run_jobs().await;
    let seen = watch.await.unwrap();
    assert!(seen.is_sorted(), "progress never goes back: {seen:?}");
    assert_eq!(seen.last(), Some(&100));
    // Changed once more under way: one number goes, another comes.
    let mut changed = shoe_size();
    changed["expression"] = json!(format!("Patient.extension('{SHOE}').value.ofType(integer)"));
    other.put_parameter(&changed).await;
    one.run_jobs().await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0, "writers got through");
    }

    let mut connection = one.connection().await;
    let wrong = "WITH wanted AS (SELECT rid, (content->'extension'->0->>'valueInteger')::numeric AS size FROM resource \
                     WHERE type = (SELECT id FROM resource_type WHERE name = 'Patient') AND NOT deleted), \
                 found AS (SELECT rid, low AS size FROM idx_quantity \
                     WHERE param = (SELECT id FROM search_parameter WHERE code = 'shoe-size' AND NOT dropped)) \
                 SELECT (SELECT count(*) FROM (SELECT * FROM wanted EXCEPT ALL SELECT * FROM found) lost) \
                      + (SELECT count(*) FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM wanted) extra)";
    assert_eq!(
        count(&mut connection, wrong).await,
        0,
        "the index holds each value once, and no other"
    );
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM search_parameter WHERE dropped").await,
        0
    );
    let brute = count(
        &mut connection,
        "SELECT count(*) FROM resource WHERE content->'extension'->0->>'valueInteger' = '40' AND NOT deleted",
    )
    .await;
    for app in [&one, &other] {
        until(async || warnings(&app.bundle("Patient?shoe-size=40").await).is_empty()).await;
        let bundle = app.bundle("Patient?shoe-size=40&_summary=count").await;
        assert_eq!(total(&bundle), brute.unsigned_abs());
    }
}

#[tokio::test]
async fn another_server_indexes_by_it_from_its_next_write_on() {
    let one = spawn_app().await;
    let other = one.beside().await;
    one.put_parameter(&shoe_size()).await;
    // Whether the other has heard of it or not.
    other
        .post("/fhir/Patient")
        .fhir(&patient(43))
        .answer()
        .await
        .expect(201);
    assert_eq!(total(&one.bundle("Patient?shoe-size=43").await), 1);
    assert_eq!(total(&other.bundle("Patient?shoe-size=43").await), 1);
    // Without a write of its own it hears of the change.
    one.delete("/fhir/SearchParameter/shoe-size").answer().await.expect(204);
    until(async || {
        let request = other
            .get("/fhir/Patient?shoe-size=43")
            .header("prefer", "handling=strict");
        request.answer().await.status.as_u16() == 400
    })
    .await;
    one.run_jobs().await;
}

/// Stops the walk in its second batch, by a lock on a resource in it; answers the transaction that holds it.
async fn stuck_in_the_second_batch(connection: &mut PgConnection) -> sqlx::Transaction<'_, sqlx::Postgres> {
    let mut transaction = connection.begin().await.unwrap();
    transaction
        .execute(
            "SELECT FROM resource WHERE rid = (SELECT rid FROM resource \
                 WHERE type = (SELECT id FROM resource_type WHERE name = 'Patient') ORDER BY rid OFFSET 300 LIMIT 1) \
             FOR UPDATE",
        )
        .await
        .unwrap();
    transaction
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_s_run_goes_on_from_where_it_was() {
    let one = spawn_app().await;
    let other = one.beside().await;
    one.store_patients((0..450).map(|n| 35 + n % 15)).await;
    one.put_parameter(&shoe_size()).await;
    let (mut holding, mut looking) = (one.connection().await, one.connection().await);
    let held = stuck_in_the_second_batch(&mut holding).await;
    let app = one.app.clone();
    let worker = tokio::spawn(async move { app.worker().run_due().await });
    until(async || count(&mut looking, "SELECT coalesce(sum(done), 0)::bigint FROM reindex").await == 200).await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    held.rollback().await.unwrap();
    let run = other.newest_run().await;
    assert_eq!(
        (part(&run, "state"), part(&run, "percent")),
        (&json!("running"), &json!(44))
    );
    assert!(warnings(&other.bundle("Patient?shoe-size=40").await)[0].contains("44 %"));
    // Its lease runs out.
    looking.execute("UPDATE job SET due_at = now()").await.unwrap();
    other.run_jobs().await;
    assert_eq!(
        count(&mut looking, "SELECT batches::bigint FROM reindex").await,
        3,
        "no batch was done twice"
    );
    assert_eq!(count(&mut looking, "SELECT done FROM reindex").await, 450);
    assert_eq!(count(&mut looking, "SELECT count(*) FROM idx_quantity").await, 450);
    let bundle = other.bundle("Patient?shoe-size=40&_count=50").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (30, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_it_ends_its_run() {
    let app = spawn_app().await;
    app.store_patients((0..450).map(|n| 35 + n % 15)).await;
    app.put_parameter(&shoe_size()).await;
    let (mut holding, mut looking) = (app.connection().await, app.connection().await);
    let held = stuck_in_the_second_batch(&mut holding).await;
    let walking = app.app.clone();
    let worker = tokio::spawn(async move { walking.worker().run_due().await });
    until(async || count(&mut looking, "SELECT coalesce(sum(done), 0)::bigint FROM reindex").await == 200).await;
    let delete = app.delete("/fhir/SearchParameter/shoe-size");
    let delete = tokio::spawn(delete.answer());
    // It comes between the second batch, which it waits for, and the third.
    until(async || is_waiting(&mut looking, "ShareRowExclusiveLock").await).await;
    held.rollback().await.unwrap();
    delete.await.unwrap().expect(204);
    worker.await.unwrap().unwrap();
    app.run_jobs().await;
    assert_eq!(
        count(&mut looking, "SELECT done FROM reindex WHERE cancelled").await,
        400
    );
    assert_eq!(count(&mut looking, "SELECT count(*) FROM idx_quantity").await, 0);
    assert_eq!(part(&app.newest_run().await, "state"), "cancelled");
}

#[tokio::test]
async fn an_upgrade_indexes_what_is_stale_by_itself() {
    let app = spawn_app().await;
    app.store_patients((0..250).map(|n| 35 + n % 15)).await;
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut connection = app.connection().await;
    // As if a release with other rules had written all this.
    connection
        .execute(
            "UPDATE resource SET index_version = 0; UPDATE search_registry SET rules = 0; DELETE FROM idx_quantity",
        )
        .await
        .unwrap();
    app.app.prepare().await.unwrap();
    for query in ["Patient?shoe-size=40", "Patient?gender=male"] {
        let bundle = app.bundle(query).await;
        assert_eq!(
            warnings(&bundle).len(),
            1,
            "R4's own parameters are not complete either: {query}"
        );
    }
    // What is written meanwhile counts.
    app.post("/fhir/Patient").fhir(&patient(40)).answer().await.expect(201);
    app.run_jobs().await;
    let bundle = app.bundle("Patient?shoe-size=40&_count=50").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (18, vec![]));
    let run = app.newest_run().await;
    assert_eq!(
        (part(&run, "reason"), part(&run, "state")),
        (&json!("upgrade"), &json!("finished"))
    );
    assert_eq!(
        count(
            &mut connection,
            "SELECT count(*) FROM resource WHERE index_version = 0 AND NOT deleted"
        )
        .await,
        0
    );
    app.app.prepare().await.unwrap();
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM job").await,
        0,
        "once is enough"
    );
}

#[tokio::test]
async fn a_server_of_another_release_only_reads() {
    let app = spawn_app().await;
    app.put("/fhir/Patient/a")
        .fhir(&json!({"resourceType": "Patient", "id": "a"}))
        .answer()
        .await
        .expect(201);
    let mut connection = app.connection().await;
    connection
        .execute("UPDATE search_registry SET rules = 999, generation = generation + 1")
        .await
        .unwrap();
    let answer = app.post("/fhir/Patient").fhir(&patient(40)).answer().await.expect(503);
    assert!(answer.text().contains("Another release"), "{}", answer.text());
    app.get("/fhir/Patient/a").answer().await.expect(200);
}

#[tokio::test]
async fn an_operator_may_index_anew() {
    let app = spawn_app().await;
    app.store_patients([41, 43].into_iter()).await;
    app.post("/fhir/Basic")
        .fhir(&json!({"resourceType": "Basic", "code": {"text": "x"}}))
        .answer()
        .await
        .expect(201);
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut connection = app.connection().await;
    connection.execute("DELETE FROM idx_quantity").await.unwrap();
    let order = json!({"resourceType": "Parameters", "parameter": [{"name": "parameter", "valueString": "shoe-size"}]});
    let answer = app
        .post("/fhir/Patient/$reindex")
        .fhir(&order)
        .answer()
        .await
        .expect(200)
        .json();
    let run = answer["parameter"][0]["part"].as_array().unwrap().clone();
    assert_eq!(
        (part(&run, "reason"), part(&run, "state")),
        (&json!("request"), &json!("waiting"))
    );
    assert_eq!(
        (part(&run, "type"), part(&run, "parameter")),
        (&json!("Patient"), &json!("shoe-size"))
    );
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?shoe-size=41").await), 1);
    let path = format!("/fhir/$reindex-status?run={}", part(&run, "id").as_str().unwrap());
    let run = app.get(&path).answer().await.expect(200).json()["parameter"][0]["part"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        (part(&run, "state"), part(&run, "done"), part(&run, "total")),
        (&json!("finished"), &json!(2), &json!(2))
    );

    // Everything, on the whole server.
    connection
        .execute("DELETE FROM idx_quantity; DELETE FROM idx_token")
        .await
        .unwrap();
    app.post("/fhir/$reindex").answer().await.expect(200);
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?shoe-size=43").await), 1);
    assert_eq!(
        part(&app.newest_run().await, "done"),
        4,
        "two Patients, a Basic and the SearchParameter"
    );
    assert_eq!(total(&app.bundle("SearchParameter?code=shoe-size").await), 1);

    app.get("/fhir/$reindex").answer().await.expect(405);
    app.get("/fhir/$reindex-status?run=none").answer().await.expect(400);
    let unknown = json!({"resourceType": "Parameters", "parameter": [{"name": "parameter", "valueString": "nothing"}]});
    app.post("/fhir/Patient/$reindex")
        .fhir(&unknown)
        .answer()
        .await
        .expect(400);
}

#[tokio::test]
async fn medconsult_brings_its_own() {
    let app = spawn_app_with(|config| config.fhir.profiles = true).await;
    let held = |until: &str| {
        json!({"resourceType": "Appointment", "status": "pending", "extension": [
            {"url": "https://medconsult.example/fhir/StructureDefinition/hold-expires", "valueInstant": until}],
            "participant": [{"status": "tentative", "actor": {"display": "x"}}]})
    };
    for until in ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"] {
        app.post("/fhir/Appointment")
            .fhir(&held(until))
            .answer()
            .await
            .expect(201);
    }
    let bundle = app.bundle("Appointment?hold-expires=lt2026-03-01T10:30:00Z").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (1, vec![]));
    let sheet = json!({"resourceType": "MedicationRequest", "status": "draft", "intent": "order",
        "medicationCodeableConcept": {"text": "x"}, "subject": {"display": "x"}, "groupIdentifier": {"system": "urn:s", "value": "7"}});
    app.post("/fhir/MedicationRequest")
        .fhir(&sheet)
        .answer()
        .await
        .expect(201);
    assert_eq!(
        total(&app.bundle("MedicationRequest?group-identifier=urn:s|7").await),
        1
    );

    // A start that brings nothing new touches nothing, not even what an operator has deleted.
    app.delete("/fhir/SearchParameter/mc-flag-status")
        .answer()
        .await
        .expect(204);
    app.run_jobs().await;
    app.app.prepare().await.unwrap();
    app.get("/fhir/SearchParameter/mc-flag-status")
        .answer()
        .await
        .expect(410);
    let kept = app
        .get("/fhir/SearchParameter/mc-coverage-period")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(kept["meta"]["versionId"], "1");
    // Also where it forgot what it had brought.
    app.connection()
        .await
        .execute("DELETE FROM loaded_profile")
        .await
        .unwrap();
    app.app.prepare().await.unwrap();
    app.get("/fhir/SearchParameter/mc-flag-status")
        .answer()
        .await
        .expect(410);
    let kept = app
        .get("/fhir/SearchParameter/mc-coverage-period")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(kept["meta"]["versionId"], "1");
}
