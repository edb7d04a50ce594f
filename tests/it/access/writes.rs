//! Writes: the resource as it was and as it becomes must both be the caller's to write.

use medconsult::fhir::commit::{Effect, Target, Write};
use medconsult::fhir::patch::Patch;
use serde_json::{Value, json};

use super::{World, back_end, create, delete, observation, record_of, set, text, update};

fn patch(id: &str, status: &str) -> Write {
    Write::Patch {
        target: super::at("Observation", id),
        patch: Patch::merge(json!({"status": status})).unwrap(),
        if_match: None,
    }
}

fn by(resource_type: &str, query: &str) -> Target {
    Target::Criteria {
        resource_type: resource_type.to_owned(),
        query: query.to_owned(),
    }
}

impl World {
    async fn refused(&self, caller: &medconsult::fhir::caller::Caller, write: Write) -> u16 {
        self.write(caller, write).await.unwrap_err().status.as_u16()
    }

    async fn versions(&mut self) -> i64 {
        // Beside the records that the server keeps of who wrote what.
        let sql = "SELECT count(*) + (SELECT count(*) FROM resource_history) FROM resource r \
             JOIN resource_type t ON t.id = r.type WHERE r.version > 0 AND t.name <> 'Provenance'";
        sqlx::query_scalar(sql).fetch_one(&mut self.connection).await.unwrap()
    }
}

#[tokio::test]
async fn a_patient_writes_into_their_own_record_alone() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let before = world.versions().await;
    assert_eq!(
        world.refused(&ann, create(observation("-", "bob", "survey"))).await,
        403
    );
    assert_eq!(
        world
            .refused(&ann, update(observation("bob-lab", "bob", "survey")))
            .await,
        403
    );
    assert_eq!(
        world
            .refused(&ann, update(observation("bob-lab", "ann", "survey")))
            .await,
        403
    );
    assert_eq!(
        world.refused(&ann, update(observation("mine", "bob", "survey"))).await,
        403
    );
    // Others' authorship, though it is about her.
    assert_eq!(
        world
            .refused(&ann, update(observation("ann-lab", "ann", "survey")))
            .await,
        403
    );
    assert_eq!(
        world
            .refused(
                &ann,
                create(json!({"resourceType": "Condition", "subject": {"reference": "Patient/ann"}}))
            )
            .await,
        403
    );
    assert_eq!(world.versions().await, before);

    let created = world
        .write(&ann, create(observation("-", "ann", "survey")))
        .await
        .unwrap();
    assert_eq!(created.effect, Effect::Created);
    assert!(created.stored.json.contains("self-reported"));
    let id = created.stored.id;
    // Hers to change, and not to give away.
    assert_eq!(
        world.refused(&ann, update(observation(&id, "bob", "survey"))).await,
        403
    );
    let changed = world
        .write(&ann, update(observation(&id, "ann", "exam")))
        .await
        .unwrap();
    assert_eq!(changed.effect, Effect::Updated);
    assert!(world.write(&ann, patch(&id, "amended")).await.is_ok());
    let patient = json!({"resourceType": "Patient", "id": "ann", "gender": "unknown"});
    assert!(world.write(&ann, update(patient)).await.is_ok());
    let patient = json!({"resourceType": "Patient", "id": "bob", "gender": "unknown"});
    assert_eq!(world.refused(&ann, update(patient)).await, 403);
}

#[tokio::test]
async fn what_is_hidden_can_be_neither_changed_nor_told_from_nothing() {
    let mut world = World::new().await;
    let doc = world.doc().await;
    let before = world.versions().await;
    for id in ["bob-lab", "bot-lab"] {
        assert_eq!(world.refused(&doc, patch(id, "amended")).await, 404, "{id}");
        assert_eq!(world.refused(&doc, delete("Observation", id)).await, 404, "{id}");
        let refusal = world.write(&doc, delete("Observation", id)).await.unwrap_err();
        assert!(refusal.to_json().contains(id), "{}", refusal.to_json());
        let with_match = Write::Delete {
            target: super::at("Observation", id),
            if_match: Some(7),
        };
        assert_eq!(world.refused(&doc, with_match).await, 404, "{id}");
    }
    assert_eq!(world.versions().await, before);
    // What may be read and not written is refused as such.
    assert_eq!(world.refused(&doc, delete("Practitioner", "other")).await, 403);
    assert_eq!(
        world
            .write(&doc, delete("Observation", "ann-lab"))
            .await
            .unwrap()
            .effect,
        Effect::Deleted
    );
    // A second time, there is nothing left to delete.
    let again = world.write(&doc, delete("Observation", "ann-lab")).await.unwrap();
    assert_eq!(again.effect, Effect::NothingToDelete);
    // Nobody comes by the place of somebody else's deleted resource.
    world.app.delete("Observation/bob-lab").send().await.unwrap();
    assert_eq!(
        world
            .refused(&doc, update(observation("bob-lab", "ann", "survey")))
            .await,
        403
    );
    assert_eq!(world.refused(&doc, delete("Observation", "bob-lab")).await, 404);
}

#[tokio::test]
async fn each_letter_is_needed_for_what_it_says() {
    let mut world = World::new().await;
    for (scope, write) in [
        ("system/Observation.r", patch("ann-lab", "amended")),
        ("system/Observation.c", update(observation("ann-lab", "ann", "survey"))),
        ("system/Observation.c", update(observation("new", "ann", "survey"))),
        ("system/Observation.uds", create(observation("-", "ann", "survey"))),
        ("system/Observation.cus", delete("Observation", "ann-lab")),
        ("system/Condition.cruds", delete("Observation", "ann-lab")),
    ] {
        assert_eq!(world.refused(&back_end(&[scope]), write).await, 403, "{scope}");
    }
    for (scope, write) in [
        // A condition is a search.
        (
            "system/Observation.c",
            Write::Create {
                resource: observation("-", "ann", "survey"),
                if_none_exist: Some("code=718-7".to_owned()),
            },
        ),
        (
            "system/Observation.d",
            Write::Delete {
                target: by("Observation", "_id=ann-lab"),
                if_match: None,
            },
        ),
    ] {
        assert_eq!(world.refused(&back_end(&[scope]), write).await, 403, "{scope}");
    }
    let before = world.versions().await;
    // Whoever may write and not read gets no body back.
    let writer = back_end(&["system/Observation.cu"]);
    let created = world
        .write(&writer, create(observation("-", "ann", "survey")))
        .await
        .unwrap();
    assert_eq!((created.effect, created.stored.json.as_str()), (Effect::Created, ""));
    let updated = world
        .write(&writer, update(observation("ann-lab", "ann", "survey")))
        .await
        .unwrap();
    assert_eq!((updated.effect, updated.stored.json.as_str()), (Effect::Updated, ""));
    assert_eq!(world.versions().await, before + 2);
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": observation("-", "ann", "survey"), "request": {"method": "POST", "url": "Observation"}}
    ]});
    let answer = world.bundle(&writer, bundle).await.unwrap();
    assert_eq!(answer["entry"][0]["resource"], Value::Null);
    assert_eq!(answer["entry"][0]["response"]["status"], "201 Created");
}

#[tokio::test]
async fn a_granular_scope_holds_before_and_after() {
    let world = World::new().await;
    let app = back_end(&["system/Observation.cruds?category=survey"]);
    assert_eq!(
        world.refused(&app, create(observation("-", "ann", "laboratory"))).await,
        403
    );
    assert_eq!(
        world
            .refused(&app, update(observation("ann-lab", "ann", "survey")))
            .await,
        403
    );
    let mine = world
        .write(&app, create(observation("-", "ann", "survey")))
        .await
        .unwrap();
    let id = mine.stored.id;
    assert_eq!(
        world.refused(&app, update(observation(&id, "ann", "laboratory"))).await,
        403
    );
    assert!(
        world
            .write(&app, update(observation(&id, "bob", "survey")))
            .await
            .is_ok()
    );
    assert_eq!(world.found(&app, "Observation").await, [id].into());
}

#[tokio::test]
async fn conditions_see_what_their_caller_may_search() {
    let mut world = World::new().await;
    let doc = world.doc().await;
    // Bob's is not found, so there is one more.
    let if_none_exist = Some("code=718-7&subject=Patient/bob".to_owned());
    let made = Write::Create {
        resource: observation("-", "ann", "survey"),
        if_none_exist,
    };
    assert_eq!(world.write(&doc, made).await.unwrap().effect, Effect::Created);
    let if_none_exist = Some("code=718-7".to_owned());
    let made = Write::Create {
        resource: observation("-", "ann", "survey"),
        if_none_exist,
    };
    let found = world.write(&doc, made).await.unwrap();
    assert_eq!((found.effect, found.stored.id.as_str()), (Effect::Existing, "ann-lab"));
    let gone = Write::Delete {
        target: by("Condition", "code=x&subject=Patient/bob"),
        if_match: None,
    };
    assert_eq!(world.write(&doc, gone).await.unwrap().effect, Effect::NothingToDelete);
    // Of two that match, one is hers to find.
    let gone = Write::Delete {
        target: by("Condition", "code=x"),
        if_match: None,
    };
    assert_eq!(world.write(&doc, gone).await.unwrap().effect, Effect::Deleted);
    assert!(
        world
            .app
            .get("Condition/bob-condition")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn a_bundle_is_judged_entry_by_entry() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let entries = json!([
        {"resource": observation("-", "ann", "survey"), "request": {"method": "POST", "url": "Observation"}},
        {"resource": observation("-", "bob", "survey"), "request": {"method": "POST", "url": "Observation"}},
        {"request": {"method": "GET", "url": "Observation/bob-lab"}},
        {"request": {"method": "GET", "url": "Observation?code=718-7"}},
        {"request": {"method": "DELETE", "url": "Observation/bob-lab"}}
    ]);
    let before = world.versions().await;
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let answer = world.bundle(&ann, batch).await.unwrap();
    let statuses: Vec<&str> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &text(&entry["response"]["status"])[..3])
        .collect();
    // Patients delete nothing, so it does not matter whose it is.
    assert_eq!(statuses, ["201", "403", "404", "200", "403"]);
    assert_eq!(super::ids(&answer["entry"][3]["resource"]), set(["ann-lab"]));
    assert_eq!(world.versions().await, before + 1);
    let entries = &entries.as_array().unwrap()[..2];
    let transaction = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let error = world.bundle(&ann, transaction).await.unwrap_err();
    assert_eq!(error.status.as_u16(), 403);
    assert!(error.to_json().contains("Bundle.entry[1]"), "{}", error.to_json());
    assert_eq!(world.versions().await, before + 1);
}

#[tokio::test]
async fn nobody_ties_themselves_to_a_patient_by_what_they_write() {
    let mut world = World::new().await;
    let doc = world.doc().await;
    let appointment = |patients: &[&str]| {
        let actor = |reference: String| json!({"actor": {"reference": reference}, "status": "accepted"});
        let mut participants = vec![actor("Practitioner/doc".to_owned())];
        participants.extend(patients.iter().map(|id| actor(format!("Patient/{id}"))));
        json!({
            "resourceType": "Appointment", "status": "booked", "participant": participants,
            "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:30:00Z"
        })
    };
    for patients in [&["bob"][..], &["ann", "bob"], &[]] {
        assert_eq!(
            world.refused(&doc, create(appointment(patients))).await,
            403,
            "{patients:?}"
        );
    }
    assert_eq!(world.refusal(&doc, "Patient/bob").await.0, 404);
    assert!(world.write(&doc, create(appointment(&["ann"]))).await.is_ok());
}

#[tokio::test]
async fn who_sees_a_patient_by_an_appointment_alone_notes_on_it_what_becomes_of_it() {
    let mut world = World::new().await;
    let appointment = |status: &str, patients: &[&str]| {
        let actor = |reference: String| json!({"actor": {"reference": reference}, "status": "accepted"});
        let mut participants = vec![actor("Practitioner/doc".to_owned())];
        participants.extend(patients.iter().map(|id| actor(format!("Patient/{id}"))));
        json!({
            "resourceType": "Appointment", "id": "visit", "status": status, "participant": participants,
            "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:30:00Z"
        })
    };
    for resource in record_of("cyd", "Practitioner/other") {
        world.store(resource).await;
    }
    world.store(appointment("booked", &["bob"])).await;
    let doc = world.doc().await;
    assert!(
        world
            .write(&doc, update(appointment("arrived", &["bob"])))
            .await
            .is_ok()
    );
    // Nobody else comes into reach by it.
    for patients in [&["bob", "cyd"][..], &["cyd"]] {
        for status in ["arrived", "cancelled"] {
            let changed = update(appointment(status, patients));
            assert_eq!(world.refused(&doc, changed).await, 403, "{status} {patients:?}");
        }
    }
    assert_eq!(world.refusal(&doc, "Patient/cyd").await.0, 404);
    // That the patient did not come ends the tie, and may be noted all the same.
    assert!(world.write(&doc, update(appointment("noshow", &["bob"]))).await.is_ok());
    assert_eq!(world.refusal(&doc, "Patient/bob").await.0, 404);
    assert_eq!(world.refused(&doc, update(appointment("booked", &["bob"]))).await, 403);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM care_relation WHERE source < 0")
        .fetch_one(&mut world.connection)
        .await
        .unwrap();
    assert_eq!(left, 0, "what stood for the judge is gone");
}

#[tokio::test]
async fn an_answer_is_the_practitioners_own() {
    let mut world = World::new().await;
    let doc = world.doc().await;
    let answer = |actor: &str| {
        json!({"resourceType": "AppointmentResponse", "participantStatus": "accepted",
            "appointment": {"reference": "Appointment/visit"}, "actor": {"reference": actor}})
    };
    assert!(world.write(&doc, create(answer("Practitioner/doc"))).await.is_ok());
    for other in ["Practitioner/other", "Patient/bob"] {
        assert_eq!(world.refused(&doc, create(answer(other))).await, 403, "{other}");
    }
}

#[tokio::test]
async fn whoever_acts_for_the_practice_is_not_judged_again() {
    let mut world = World::new().await;
    let ann = world.ann().await;
    let written = world
        .write(&ann.practice(), create(observation("-", "bob", "survey")))
        .await;
    assert_eq!(written.unwrap().effect, Effect::Created);
}

#[tokio::test]
async fn a_binary_is_stored_with_what_it_belongs_to() {
    let mut world = World::new().await;
    let binary = |context: Value| {
        let mut binary = json!({"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="});
        binary
            .as_object_mut()
            .unwrap()
            .extend(context.as_object().unwrap().clone());
        create(binary)
    };
    let of = |reference: &str| binary(json!({"securityContext": {"reference": reference}}));
    for caller in [world.ann().await, world.doc().await] {
        // Nobody would see it again but those who see everything.
        assert_eq!(world.refused(&caller, binary(json!({}))).await, 403);
        assert_eq!(world.refused(&caller, of("DocumentReference/bob-document")).await, 403);
        assert!(world.write(&caller, of("DocumentReference/ann-document")).await.is_ok());
    }
    let all = back_end(&["system/*.cruds"]);
    assert!(world.write(&all, binary(json!({}))).await.is_ok());
}
