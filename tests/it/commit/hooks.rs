//! What features hang into commits: guards and reactions.

use futures::future::BoxFuture;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::Effect;
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Change, Draft, Guard, Hooks, Reaction};
use medconsult::fhir::integrity::ReferentialIntegrity;
use medconsult::jobs::NewJob;
use serde_json::json;
use sqlx::PgConnection;

use super::{content, create, delete, patient, update};
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
