//! Another time: at once within the notice, by asking after it.

use medconsult::fhir::access::Role;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::error::FhirError;
use serde_json::{Value, json};

use super::{BASE, Practice, id, label, matches, refused, said};

impl Practice {
    async fn reschedule(&self, caller: &Caller, visit: &Value, proposal: &str) -> Result<Value, FhirError> {
        let parameters = json!([{"name": "appointment-reference", "valueReference": {"reference": proposal}}]);
        let bundle = self
            .call(caller, &format!("Appointment/{}/$reschedule", id(visit)), parameters)
            .await?;
        Ok(matches(&bundle).remove(0))
    }

    async fn visit(&self, visit: &Value) -> Value {
        self.get("Appointment", id(visit)).await.unwrap()
    }
}

fn with_status(task: &Value, status: &str) -> Value {
    let mut task = task.clone();
    task["status"] = json!(status);
    task
}

#[tokio::test]
async fn a_visit_moves_across_a_change_of_the_clock_and_stays_the_same_visit() {
    let practice = Practice::open().await;
    let visit = practice.booked("quick", "2026-03-27T08:00:00Z").await;
    let proposal = practice.proposal("dora", "quick", "2026-03-30T07:00:00Z").await;
    let moved = practice
        .reschedule(&practice.ada().await, &visit, &proposal)
        .await
        .unwrap();
    assert_eq!(
        (id(&moved), label(&moved), said(&moved)),
        (id(&visit), "approved", ("accepted", "accepted"))
    );
    assert_eq!(
        (&moved["start"], &moved["end"]),
        (&json!("2026-03-30T07:00:00Z"), &json!("2026-03-30T07:30:00Z"))
    );
    assert_ne!(moved["slot"], visit["slot"]);
    assert_eq!(practice.taken().await, (1, 1));
    // The time before is free, and the history says who moved it.
    practice.proposal("dora", "quick", "2026-03-27T08:00:00Z").await;
    let provenance = practice.only("Provenance").await;
    let version = visit["meta"]["versionId"].as_str().unwrap();
    assert_eq!(
        provenance["target"][0]["reference"],
        format!("Appointment/{}", id(&visit))
    );
    assert_eq!(
        provenance["entity"][0]["what"]["reference"],
        format!("Appointment/{}/_history/{version}", id(&visit))
    );
    assert_eq!(provenance["agent"][0]["who"]["reference"], "Patient/ada");
}

#[tokio::test]
async fn a_visit_may_move_into_its_own_time() {
    let practice = Practice::open().await;
    let parts = json!([{"url": "timezone", "valueCode": "UTC"}, super::weekly(&super::EVERY_DAY, "00:00:00", "00:00:00"), super::minutes("interval", 15)]);
    practice
        .put(super::schedule("dora", "dora", &["quick"], parts))
        .await
        .unwrap();
    let visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let found = practice
        .find(json!([{"name": "start", "valueDateTime": "2026-03-02T08:15:00Z"}, {"name": "end", "valueDateTime": "2026-03-02T08:16:00Z"},
            {"name": "practitioner", "valueReference": {"reference": "Practitioner/dora"}},
            {"name": "ignore-appointment", "valueReference": {"reference": format!("Appointment/{}", id(&visit))}}]))
        .await;
    let proposal = format!("Appointment/{}", id(&found[0]));
    assert_eq!(
        refused(practice.take("book", &proposal).await).0,
        409,
        "taken, for everybody else"
    );
    let moved = practice
        .reschedule(&Caller::sandbox(), &visit, &proposal)
        .await
        .unwrap();
    assert_eq!(moved["start"], "2026-03-02T08:15:00Z");
    assert_eq!(practice.taken().await, (1, 1));
}

#[tokio::test]
async fn late_the_practitioner_is_asked_and_the_visit_stays_meanwhile() {
    let practice = Practice::open().await;
    let (ada, dora) = (practice.ada().await, practice.dora().await);
    // In 22 hours, where a day of notice is due.
    let visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let proposal = practice.proposal("dora", "quick", "2026-03-04T08:00:00Z").await;
    let task = practice.reschedule(&ada, &visit, &proposal).await.unwrap();
    assert_eq!(
        (&task["resourceType"], &task["status"]),
        (&json!("Task"), &json!("requested"))
    );
    assert_eq!(
        (&task["owner"]["reference"], &task["requester"]["reference"]),
        (&json!("Practitioner/dora"), &json!("Patient/ada"))
    );
    assert_eq!(task["input"][0]["valueInstant"], "2026-03-04T08:00:00Z");
    assert_eq!(practice.visit(&visit).await["start"], "2026-03-02T08:00:00Z");
    let (status, text) = refused(practice.reschedule(&ada, &visit, &proposal).await);
    assert!(status == 409 && text.contains("asks already"), "{text}");

    let done = practice.put(with_status(&task, "accepted")).await.unwrap();
    assert_eq!(done["status"], "completed");
    let moved = practice.visit(&visit).await;
    assert_eq!(
        (&moved["start"], label(&moved)),
        (&json!("2026-03-04T08:00:00Z"), "approved")
    );
    let (status, text) = refused(practice.put(with_status(&task, "rejected")).await);
    assert!(status == 409 && text.contains("answered already"), "{text}");
    // The practitioner moves it without asking.
    let proposal = practice.proposal("dora", "quick", "2026-03-02T08:00:00Z").await;
    let moved = practice.reschedule(&dora, &visit, &proposal).await.unwrap();
    assert_eq!(moved["start"], "2026-03-02T08:00:00Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_practitioners_who_approve_one_move_one_wins() {
    let practice = Practice::open().await;
    let ada = practice.ada().await;
    let visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let proposal = practice.proposal("dora", "quick", "2026-03-04T08:00:00Z").await;
    let task = practice.reschedule(&ada, &visit, &proposal).await.unwrap();
    let (one, two) = tokio::join!(
        practice.put(with_status(&task, "accepted")),
        practice.put(with_status(&task, "accepted"))
    );
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(won.unwrap()["status"], "completed");
    let (status, text) = refused(lost);
    assert_eq!(status, 409, "{text}");
    assert_eq!(practice.visit(&visit).await["start"], "2026-03-04T08:00:00Z");
    assert_eq!(
        (practice.taken().await, practice.all("Provenance").await.len()),
        ((1, 1), 1)
    );
}

#[tokio::test]
async fn a_request_is_refused_taken_back_or_overtaken() {
    let practice = Practice::open().await;
    let ada = practice.ada().await;
    let visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let wanted = "2026-03-04T08:00:00Z";
    let proposal = practice.proposal("dora", "quick", wanted).await;
    for end in ["rejected", "cancelled"] {
        let task = practice.reschedule(&ada, &visit, &proposal).await.unwrap();
        practice.put(with_status(&task, end)).await.unwrap();
        assert_eq!(practice.visit(&visit).await["start"], "2026-03-02T08:00:00Z");
    }
    let task = practice.reschedule(&ada, &visit, &proposal).await.unwrap();
    let mut chosen = with_status(&task, "accepted");
    chosen["output"] = json!([{"type": {"coding": [{"system": format!("{BASE}/CodeSystem/task-parameter"), "code": "chosen-start"}]},
        "valueInstant": "2026-03-05T08:00:00Z"}]);
    assert!(
        refused(practice.put(chosen).await)
            .1
            .contains("none of those that were proposed")
    );
    practice.take("book", &proposal).await.unwrap();
    let (status, text) = refused(practice.put(with_status(&task, "accepted")).await);
    assert!(status == 409 && text.contains("taken"), "{text}");
    assert_eq!(practice.get("Task", id(&task)).await.unwrap()["status"], "requested");
}

#[tokio::test]
async fn another_practitioner_means_another_visit_and_nothing_is_paid_twice() {
    let practice = Practice::open().await;
    let mut visit = practice.booked("quick", "2026-03-10T08:00:00Z").await;
    visit["supportingInformation"] = json!([{"reference": "Invoice/i"}]);
    let visit = practice.put(visit).await.unwrap();
    let proposal = practice.proposal("emil", "quick", "2026-03-11T20:00:00Z").await;
    let new = practice
        .reschedule(&practice.ada().await, &visit, &proposal)
        .await
        .unwrap();
    assert_ne!(id(&new), id(&visit));
    assert_eq!((label(&new), said(&new)), ("approved", ("accepted", "accepted")));
    assert_eq!(new["supportingInformation"][0]["reference"], "Invoice/i");
    assert_eq!(new["participant"][1]["actor"]["reference"], "Practitioner/emil");
    let replaces = new["extension"]
        .as_array()
        .unwrap()
        .iter()
        .find(|extension| extension["url"].as_str().unwrap().ends_with("Appointment.replaces"));
    assert_eq!(
        replaces.unwrap()["valueReference"]["reference"],
        format!("Appointment/{}", id(&visit))
    );
    let old = practice.visit(&visit).await;
    assert_eq!((&old["status"], label(&old)), (&json!("cancelled"), "rescheduled"));
    assert_eq!(practice.taken().await, (1, 1));
    // For whom it is new, it waits for their approval.
    let proposal = practice.proposal("dora", "visit", "2026-03-12T08:00:00Z").await;
    let asked = practice
        .reschedule(&practice.ada().await, &new, &proposal)
        .await
        .unwrap();
    assert_eq!(
        (label(&asked), said(&asked)),
        ("requested", ("accepted", "needs-action"))
    );
}

#[tokio::test]
async fn what_has_ended_is_not_moved() {
    let practice = Practice::open().await;
    let visit = practice.booked("quick", "2026-03-10T08:00:00Z").await;
    let proposal = practice.proposal("dora", "quick", "2026-03-11T08:00:00Z").await;
    let emil = practice.person(Role::Practitioner, "Practitioner/emil").await;
    let status = refused(practice.reschedule(&emil, &visit, &proposal).await).0;
    assert!(matches!(status, 403 | 404), "{status}");
    practice
        .call(
            &Caller::sandbox(),
            &format!("Appointment/{}/$cancel", id(&visit)),
            json!([]),
        )
        .await
        .unwrap();
    let (status, text) = refused(practice.reschedule(&Caller::sandbox(), &visit, &proposal).await);
    assert!(status == 409 && text.contains("can no longer be moved"), "{text}");
    let hold = practice.take("hold", &proposal).await.unwrap();
    let other = practice.proposal("dora", "quick", "2026-03-11T08:30:00Z").await;
    assert!(
        refused(practice.reschedule(&Caller::sandbox(), &hold, &other).await)
            .1
            .contains("held, not booked")
    );
}

impl Practice {
    pub async fn all(&self, resource_type: &str) -> Vec<Value> {
        let mut lease = self.bench.server.store.fixed().await.unwrap();
        let type_id = self.bench.server.store.types().id(resource_type).unwrap();
        let found = sqlx::query_scalar(
            "SELECT content FROM resource WHERE type = $1 AND NOT deleted AND version > 0 ORDER BY rid",
        )
        .bind(type_id)
        .fetch_all(&mut *lease)
        .await
        .unwrap();
        lease.release();
        found
    }

    async fn only(&self, resource_type: &str) -> Value {
        let mut found = self.all(resource_type).await;
        assert_eq!(found.len(), 1, "one {resource_type}");
        found.remove(0)
    }
}
