//! Searches: what is not the caller's does not match, is not counted, and leads nowhere.

use medconsult::fhir::access::Role;

use super::{World, back_end, ids, set, text};

#[tokio::test]
async fn a_patient_finds_their_own_record_and_the_directory() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    for (url, expected) in [
        ("Observation", set(["ann-lab", "ann-vital"])),
        ("Observation?_sort=date", set(["ann-lab", "ann-vital"])),
        ("Observation?_sort=-code,_id", set(["ann-lab", "ann-vital"])),
        ("Observation?_id=bob-lab", set([])),
        ("Observation?patient=bob", set([])),
        ("Observation?patient:not=bob", set(["ann-lab", "ann-vital"])),
        ("Observation?code:not=718-7", set(["ann-vital"])),
        ("Observation?_filter=not (code eq 8867-4)", set(["ann-lab"])),
        ("Observation?_lastUpdated=gt2020", set(["ann-lab", "ann-vital"])),
        ("Patient", set(["ann"])),
        ("Patient?gender=female", set(["ann"])),
        ("Binary", set(["ann-binary"])),
        ("Practitioner", set(["doc", "other"])),
        ("?_id=bob,bob-lab,ann-lab,doc", set(["ann-lab", "doc"])),
        (
            "?_type=Observation,Condition",
            set(["ann-lab", "ann-vital", "ann-condition"]),
        ),
        ("?_tag=bob-tag", set([])),
        ("Patient/bob/Observation", set([])),
        ("Patient/bob/*", set([])),
        ("Patient/ann/Condition", set(["ann-condition"])),
        ("Practitioner/other/Condition", set([])),
    ] {
        if url.contains("patient:not") {
            // A modifier that references do not have is refused for everybody, and with the same words.
            assert_eq!(world.refusal(&ann, url).await.0, 400);
            continue;
        }
        assert_eq!(world.found(&ann, url).await, expected, "{url}");
    }
    for (url, total) in [
        ("Observation?_summary=count", 2),
        ("Observation?_total=accurate&_count=1", 2),
        ("Observation?_total=estimate&_count=1", 2),
        ("Observation?_count=0&patient=bob", 0),
    ] {
        assert_eq!(world.get(&ann, url).await["total"], total, "{url}");
    }
    let (status, refusal) = world.refusal(&ann, "Observation?_explain=true").await;
    assert_eq!(status, 403, "{refusal}");
    // The directory is everybody's, so nobody learns more of it by asking how it is read.
    assert!(world.try_get(&ann, "Practitioner?_explain=true").await.is_ok());
}

#[tokio::test]
async fn chains_lead_only_through_what_may_be_seen() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let nobody = set([]);
    for (url, expected) in [
        ("Observation?subject:Patient.family=Family-bob", nobody.clone()),
        (
            "Observation?subject:Patient.family=Family-ann",
            set(["ann-lab", "ann-vital"]),
        ),
        ("Observation?subject.gender=female", set(["ann-lab", "ann-vital"])),
        // Of both practitioners everybody knows; that one of them has measured something of Bob's, not everybody.
        ("Practitioner?_has:Observation:performer:code=718-7", set(["doc"])),
        (
            "Practitioner?_has:Observation:performer:subject=Patient/bob",
            nobody.clone(),
        ),
        (
            "Practitioner?_has:Observation:performer:patient.family=Family-bob",
            nobody.clone(),
        ),
        (
            "Practitioner?_filter=not (_has:Observation:performer:code eq 718-7)",
            set(["other"]),
        ),
        ("Patient?_has:Condition:patient:code=x", set(["ann"])),
        ("MedicationRequest?medication.code=aspirin", set(["ann-medication"])),
    ] {
        assert_eq!(world.found(&ann, url).await, expected, "{url}");
    }
    // Who may not search a type at all cannot ask by it either.
    let app = world.anns_app(&["patient/Practitioner.rs"]).await;
    let url = "Practitioner?_has:Observation:performer:code=718-7";
    assert_eq!(world.found(&app, url).await, nobody);
}

#[tokio::test]
async fn includes_reach_only_what_may_be_read() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    for (url, expected) in [
        (
            "Practitioner?_revinclude=Observation:performer",
            set(["doc", "other", "ann-lab", "ann-vital"]),
        ),
        (
            "Practitioner?_revinclude=*",
            set(["doc", "other", "ann-lab", "ann-vital", "ann-condition"]),
        ),
        (
            "Practitioner?_revinclude=Condition:asserter&_include:iterate=Condition:subject",
            set(["doc", "other", "ann-condition", "ann"]),
        ),
        (
            "Observation?_include=Observation:subject&code=718-7",
            set(["ann-lab", "ann"]),
        ),
    ] {
        assert_eq!(world.found(&ann, url).await, expected, "{url}");
    }
    // A token for observations and practitioners includes no patient.
    let app = world
        .anns_app(&["patient/Observation.rs", "patient/Practitioner.rs"])
        .await;
    let url = "Observation?_include=*&code=718-7";
    assert_eq!(world.found(&app, url).await, set(["ann-lab", "doc"]));
}

#[tokio::test]
async fn what_is_contained_is_seen_with_its_container() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    for (url, expected) in [
        ("Medication?_contained=true&code=aspirin", set(["ann-medication"])),
        ("Medication?_contained=both&code=aspirin", set(["ann-medication"])),
        (
            "Medication?_contained=true&_containedType=contained&code=aspirin",
            set(["inside"]),
        ),
    ] {
        let bundle = world.get(&ann, url).await;
        assert_eq!((ids(&bundle), bundle["total"].as_u64()), (expected, Some(1)), "{url}");
        assert!(!bundle.to_string().contains("bob"), "{bundle}");
    }
    let app = world.anns_app(&["patient/Medication.rs"]).await;
    assert_eq!(world.found(&app, "Medication?_contained=true").await, set([]));
}

#[tokio::test]
async fn a_page_link_gives_its_follower_their_own() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let laboratory = back_end(&["system/*.rs"]);
    let first = world.get(&laboratory, "Observation?_count=1&_sort=_lastUpdated").await;
    let links = first["link"].as_array().unwrap();
    let next = links.iter().find(|link| link["relation"] == "next").unwrap();
    let next = text(&next["url"]).replace("_count=1", "_count=10");
    assert_eq!(world.found(&laboratory, &next).await.len(), 3);
    assert_eq!(world.found(&ann, &next).await, set(["ann-vital"]));
}

#[tokio::test]
async fn a_token_gives_its_letters_on_its_types_and_no_more() {
    let mut world = World::new().await;
    let searches = world.anns_app(&["patient/Observation.s"]).await;
    let reads = world.anns_app(&["patient/Observation.r"]).await;
    assert_eq!(
        world.found(&searches, "Observation").await,
        set(["ann-lab", "ann-vital"])
    );
    assert_eq!(world.refusal(&searches, "Observation/ann-lab").await.0, 403);
    assert_eq!(world.refusal(&searches, "Observation/ann-lab/_history").await.0, 403);
    assert_eq!(text(&world.get(&reads, "Observation/ann-lab").await["id"]), "ann-lab");
    assert_eq!(world.refusal(&reads, "Observation").await.0, 403);
    assert_eq!(world.refusal(&reads, "Observation/_history").await.0, 403);
    for url in [
        "Condition",
        "Condition/ann-condition",
        "Condition/nothing",
        "Patient",
        "Patient/ann/Condition",
    ] {
        assert_eq!(world.refusal(&reads, url).await.0, 403, "{url}");
    }
    // Over all types, those that the token has.
    assert_eq!(
        world.found(&searches, "?_tag=ann-tag").await,
        set(["ann-lab", "ann-vital"])
    );
    // A launch for somebody whom the user may not see opens nothing.
    let scopes = ["patient/*.rs"];
    let foreign = world.person(Role::Patient, "Patient/ann", Some("bob"), &scopes).await;
    assert_eq!(world.found(&foreign, "Observation").await, set([]));
    assert_eq!(world.refusal(&foreign, "Patient/bob").await.0, 404);
    assert_eq!(world.refusal(&foreign, "Patient/ann").await.0, 404);
    // Scopes of the other kinds give a back end nothing, and those of back ends nothing to a user.
    assert_eq!(
        world
            .refusal(&back_end(&["user/*.rs", "patient/*.rs"]), "Patient")
            .await
            .0,
        403
    );
    let confused = world.anns_app(&["system/*.cruds"]).await;
    assert_eq!(world.refusal(&confused, "Patient").await.0, 403);
}

#[tokio::test]
async fn a_granular_scope_is_a_part_of_a_type() {
    let mut world = World::new().await;
    let category = "http://terminology.hl7.org/CodeSystem/observation-category";
    let scope = format!("patient/Observation.rs?category={category}|vital-signs");
    let app = world.anns_app(&[&scope]).await;
    for (url, expected) in [
        ("Observation", set(["ann-vital"])),
        ("Observation?code=718-7", set([])),
        ("Observation?category=laboratory", set([])),
        ("Observation?_elements=id", set(["ann-vital"])),
        ("Observation?_id=ann-lab,ann-vital", set(["ann-vital"])),
    ] {
        assert_eq!(world.found(&app, url).await, expected, "{url}");
    }
    assert_eq!(world.get(&app, "Observation?_summary=count").await["total"], 1);
    assert_eq!(world.refusal(&app, "Observation/ann-lab").await.0, 404);
    assert_eq!(text(&world.get(&app, "Observation/ann-vital").await["id"]), "ann-vital");
    // Several scopes give together what each gives.
    let other = format!("patient/Observation.r?category={category}|laboratory");
    let both = world.anns_app(&[&scope, &other]).await;
    assert_eq!(text(&world.get(&both, "Observation/ann-lab").await["id"]), "ann-lab");
    assert_eq!(world.found(&both, "Observation").await, set(["ann-vital"]));
    // For a back end, the same among all patients.
    let laboratory = back_end(&["system/Observation.rs?category=laboratory"]);
    assert_eq!(
        world.found(&laboratory, "Observation").await,
        set(["ann-lab", "bob-lab"])
    );
    assert_eq!(world.refusal(&laboratory, "Observation/ann-vital").await.0, 404);
    // What cannot be enforced gives nothing.
    let unknown = back_end(&["system/Observation.rs?subject.name=x"]);
    assert_eq!(world.refusal(&unknown, "Observation").await.0, 403);
}

#[tokio::test]
async fn a_practitioner_reaches_whom_they_look_after_as_long_as_they_do() {
    let mut world = World::new().await;
    let doc = world.doc().await;
    let (holder, ann) = (
        world.rid("Practitioner", "doc").await,
        world.rid("Patient", "ann").await,
    );
    let bob = world.rid("Patient", "bob").await;
    let anns = set(["ann-lab", "ann-vital"]);
    assert_eq!(world.found(&doc, "Observation").await, anns);
    assert_eq!(world.found(&doc, "Patient").await, set(["ann"]));
    assert_eq!(
        world.found(&doc, "Patient?_has:Observation:patient:code=718-7").await,
        set(["ann"])
    );
    assert_eq!(world.refusal(&doc, "Observation/bob-lab").await.0, 404);
    // A broken glass opens what is there to be read.
    world.tie(holder, bob, 0).await;
    assert_eq!(world.found(&doc, "Patient").await, set(["ann", "bob"]));
    assert_eq!(text(&world.get(&doc, "Observation/bob-lab").await["id"]), "bob-lab");
    let sql = "UPDATE care_relation SET ends = now() - interval '1 second' WHERE source = 0";
    sqlx::query(sql).execute(&mut world.connection).await.unwrap();
    assert_eq!(world.found(&doc, "Patient").await, set(["ann"]));
    // What Ann refuses to the practitioner: observations, then everything to everybody but the practitioner.
    let observation = type_number(&mut world, "Observation").await;
    deny(&mut world, ann, holder, observation, &[]).await;
    assert_eq!(world.found(&doc, "Observation").await, set([]));
    assert_eq!(world.found(&doc, "Condition").await, set(["ann-condition"]));
    assert_eq!(world.refusal(&doc, "Observation/ann-lab").await.0, 404);
    let her_own = world.ann().await;
    assert_eq!(world.found(&her_own, "Observation").await, anns);
    sqlx::query("DELETE FROM consent_denial")
        .execute(&mut world.connection)
        .await
        .unwrap();
    deny(&mut world, ann, 0, 0, &[holder]).await;
    assert_eq!(world.found(&doc, "Observation").await, anns);
    sqlx::query("DELETE FROM consent_denial")
        .execute(&mut world.connection)
        .await
        .unwrap();
    deny(&mut world, ann, 0, 0, &[]).await;
    assert_eq!(world.found(&doc, "Observation").await, set([]));
    assert_eq!(world.found(&doc, "Patient").await, set([]));
    // A broken glass overrides it.
    world.tie(holder, ann, 0).await;
    assert_eq!(world.found(&doc, "Observation").await, anns);
}

#[tokio::test]
async fn many_patients_are_found_as_few_are() {
    let mut world = World::new().await;
    let holder = world.rid("Practitioner", "doc").await;
    let sql = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
         SELECT $1, -n, 1, '-infinity', 'infinity' FROM generate_series(1, 300) n";
    sqlx::query(sql)
        .bind(holder)
        .execute(&mut world.connection)
        .await
        .unwrap();
    let doc = world.doc().await;
    for (url, expected) in [
        ("Observation", set(["ann-lab", "ann-vital"])),
        ("Observation?code=718-7", set(["ann-lab"])),
        ("Observation?code=718-7,8867-4", set(["ann-lab", "ann-vital"])),
        ("Observation?code=718-7&_sort=date", set(["ann-lab"])),
        ("Patient", set(["ann"])),
        ("?_tag=ann-tag,bob-tag", set(["ann-lab", "ann-vital"])),
        ("Practitioner?_has:Observation:performer:code=718-7", set(["doc"])),
    ] {
        assert_eq!(world.found(&doc, url).await, expected, "{url}");
    }
    assert_eq!(
        world.get(&doc, "Observation?_total=accurate&_count=1").await["total"],
        2
    );
    assert_eq!(world.refusal(&doc, "Observation/bob-lab").await.0, 404);
    let ann = world.rid("Patient", "ann").await;
    let observation = type_number(&mut world, "Observation").await;
    deny(&mut world, ann, holder, observation, &[]).await;
    assert_eq!(world.found(&doc, "Observation?code=718-7").await, set([]));
}

#[tokio::test]
async fn an_administrator_sees_no_clinical_notes() {
    let mut world = World::new().await;
    let scopes = ["user/*.cruds"];
    let admin = world.person(Role::Admin, "Practitioner/other", None, &scopes).await;
    assert_eq!(world.found(&admin, "Patient").await, set(["ann", "bob"]));
    assert_eq!(world.found(&admin, "Practitioner").await, set(["doc", "other"]));
    assert_eq!(
        world.found(&admin, "?_id=ann-lab,ann-condition,ann").await,
        set(["ann"])
    );
    assert_eq!(world.refusal(&admin, "Observation/ann-lab").await.0, 404);
    assert_eq!(world.refusal(&admin, "Binary/ann-binary").await.0, 404);
}

async fn type_number(world: &mut World, name: &str) -> i16 {
    let query = sqlx::query_scalar("SELECT id FROM resource_type WHERE name = $1").bind(name);
    query.fetch_one(&mut world.connection).await.unwrap()
}

async fn deny(world: &mut World, patient: i64, holder: i64, resource_type: i16, except: &[i64]) {
    let sql = "INSERT INTO consent_denial (patient, holder, type, source, starts, ends, except_holders) \
         VALUES ($1, $2, $3, 1, '-infinity', 'infinity', $4)";
    let query = sqlx::query(sql)
        .bind(patient)
        .bind(holder)
        .bind(resource_type)
        .bind(except);
    query.execute(&mut world.connection).await.unwrap();
}
