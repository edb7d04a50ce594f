//! What features hang into commits: guards and reactions.

use futures::future::{BoxFuture, join_all};
use medconsult::fhir::access::{Permissions, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted};
use medconsult::fhir::commit::{Effect, Op, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Change, Consequence, Draft, Guard, Hooks, Reaction};
use medconsult::fhir::integrity::ReferentialIntegrity;
use medconsult::fhir::server::FhirServer;
use medconsult::jobs::NewJob;
use serde_json::json;
use sqlx::PgConnection;

use super::{content, create, delete, patient, update, update_if};
use crate::bench::bench_with;

/// Marks what it lets pass, and refuses a family of three letters.
struct Watchman;

impl Guard for Watchman {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Patient"
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            if let Some(after) = draft.after {
                after["language"] = json!("en");
            }
            Ok(())
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let rids: Vec<i64> = changes.iter().map(|change| change.rid).collect();
            let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM resource WHERE rid = ANY ($1) AND version > 0")
                .bind(&rids)
                .fetch_one(transaction)
                .await?;
            assert_eq!(seen as usize, changes.len(), "everything is written by now");
            match changes.iter().any(|change| {
                change
                    .after
                    .as_ref()
                    .is_some_and(|after| after["name"][0]["family"] == "Bad")
            }) {
                true => Err(FhirError::conflict("Refused.")),
                false => Ok(()),
            }
        })
    }
}

struct Greeting;

impl Reaction for Greeting {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Patient"
    }

    fn job(&self, change: &Change) -> Option<NewJob> {
        (change.effect == Effect::Created).then(|| NewJob::new("greeting", json!({"id": change.id})))
    }
}

#[tokio::test]
async fn guards_amend_and_refuse_and_reactions_leave_jobs() {
    let hooks = Hooks {
        guards: vec![Box::new(Watchman)],
        reactions: vec![Box::new(Greeting)],
        ..Hooks::default()
    };
    let bench = bench_with(hooks).await;
    let created = bench.write(create(patient("x", "Good"))).await.unwrap();
    assert_eq!(content(&created.stored)["language"], "en");
    let both = vec![create(patient("x", "Good")), create(patient("x", "Bad"))];
    assert_eq!(bench.commit(both).await.unwrap_err().error.status.as_u16(), 409);
    assert_eq!(bench.count("SELECT count(*) FROM resource").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM job WHERE kind = 'greeting'").await, 1);
    bench
        .write(update(patient(&created.stored.id, "Better")))
        .await
        .unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM job").await, 1);
}

/// Each Patient brings a Basic along, and counts in one that all share.
struct Companion;

impl Consequence for Companion {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Patient"
    }

    fn follows<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        _: &'a Write,
    ) -> BoxFuture<'a, Result<Vec<Op>, FhirError>> {
        Box::pin(async move {
            let counter = server.read(&caller.practice(), "Basic", "counter").await?.unwrap();
            let mut next = content(&counter);
            next["code"]["text"] =
                json!((next["code"]["text"].as_str().unwrap().parse::<i32>().unwrap() + 1).to_string());
            let companion = json!({"resourceType": "Basic", "code": {"text": "companion"}});
            let writes = [update_if(next, Some(counter.version)), create(companion)];
            Ok(writes.map(|write| Op { write, full_url: None }).to_vec())
        })
    }
}

/// Lets Patients pass from whom they came, and what they bring along from the practice.
struct Notary;

impl Guard for Notary {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "Patient" | "Basic")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        let is_right = caller.is_unrestricted() == (draft.resource_type == "Basic") && caller.grant().is_some();
        let may = is_right || draft.id == "counter" && draft.before.is_none();
        Box::pin(async move {
            match may {
                true => Ok(()),
                false => Err(FhirError::forbidden("In another's name.")),
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_belongs_to_a_write_is_stored_with_it_in_the_name_of_the_practice() {
    let bench = bench_with(Hooks {
        consequences: vec![Box::new(Companion)],
        guards: vec![Box::new(Notary)],
        ..Hooks::default()
    })
    .await;
    bench
        .write(update(
            json!({"resourceType": "Basic", "id": "counter", "code": {"text": "0"}}),
        ))
        .await
        .unwrap();
    let caller = Caller::granted(Granted {
        scopes: vec![ScopeGrant {
            context: ScopeContext::System,
            resource_type: None,
            permissions: Permissions::ALL,
            filter: None,
        }],
        ..Granted::default()
    });
    // Those who meet at the counter are made anew until they fit.
    let race = (0..4).map(|n| {
        let write = create(patient("x", &format!("N{n}")));
        commit(&bench.server, &caller, vec![Op { write, full_url: None }])
    });
    for outcomes in join_all(race).await {
        let outcomes = outcomes.unwrap();
        assert_eq!((outcomes.len(), outcomes[0].stored.resource_type), (1, "Patient"));
    }
    assert_eq!(
        content(&bench.read("Basic", "counter").await.unwrap())["code"]["text"],
        "4"
    );
    assert_eq!(
        bench.count("SELECT count(*) FROM resource WHERE version > 0").await,
        1 + 2 * 4
    );
}

#[tokio::test]
async fn with_integrity_references_lead_somewhere() {
    let bench = bench_with(Hooks {
        guards: vec![Box::new(ReferentialIntegrity)],
        ..Hooks::default()
    })
    .await;
    let observation = || {
        create(
            json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}),
        )
    };
    assert_eq!(bench.write(observation()).await.unwrap_err().status.as_u16(), 409);
    let both = bench
        .commit(vec![observation(), update(patient("p", "x"))])
        .await
        .unwrap();
    assert_eq!(
        bench.write(delete("Patient", "p")).await.unwrap_err().status.as_u16(),
        409
    );
    bench
        .commit(vec![delete("Patient", "p"), delete("Observation", &both[0].stored.id)])
        .await
        .unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM resource WHERE NOT deleted").await, 0);
}
