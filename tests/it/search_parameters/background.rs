//! Indexing by a new parameter beside other work, after crashes, and after upgrades.

use super::*;

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
