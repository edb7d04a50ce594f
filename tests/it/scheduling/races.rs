//! Many at once: one gets it, and everybody else is told so.

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use medconsult::fhir::caller::Caller;
use serde_json::json;

use super::{Practice, id, label, put, refused};

const NINE: &str = "2026-03-02T08:00:00Z";

/// As many at a time as a busy server has.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_five_hundred_after_one_time_one_gets_it() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "quick", NINE).await;
    for n in 0..500 {
        practice
            .put(json!({"resourceType": "Patient", "id": format!("p{n}")}))
            .await
            .unwrap();
    }
    let attempt = |n: usize| {
        let parameters = json!([
            {"name": "appointment-reference", "valueReference": {"reference": proposal}},
            {"name": "patient-reference", "valueReference": {"reference": format!("Patient/p{n}")}}]);
        // Half of them hold it first, as an application does.
        let operation = if n.is_multiple_of(2) {
            "Appointment/$book"
        } else {
            "Appointment/$hold"
        };
        let practice = &practice;
        async move { practice.call(&Caller::sandbox(), operation, parameters).await }
    };
    let answers: Vec<_> = stream::iter(0..500)
        .map(attempt)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 499));
    for answer in lost {
        let (status, text) = refused(answer);
        assert_eq!(status, 409);
        assert!(text.starts_with("This time is taken."), "{text}");
    }
    assert_eq!(practice.taken().await, (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_written_by_hand_never_overlap_either() {
    let practice = Practice::open().await;
    // Each begins ten minutes after the one before and lasts half an hour: of any three neighbours one can be there.
    let slot = |n: i64| {
        let start: jiff::Timestamp = NINE.parse().unwrap();
        let start = start + jiff::SignedDuration::from_mins(10 * n);
        json!({"resourceType": "Slot", "id": format!("s{n}"), "schedule": {"reference": "Schedule/dora"}, "status": "busy",
            "start": start.to_string(), "end": (start + jiff::SignedDuration::from_mins(30)).to_string()})
    };
    let caller = Caller::sandbox();
    let answers = join_all((0..30).map(|n| practice.write(&caller, vec![put(slot(n))]))).await;
    let refusals: Vec<u16> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .map(|error| error.status.as_u16())
        .collect();
    assert!(refusals.iter().all(|status| *status == 409), "{refusals:?}");
    let overlaps = practice
        .count("SELECT count(*) FROM calendar_entry a JOIN calendar_entry b ON a.slot < b.slot AND a.starts < b.ends AND b.starts < a.ends")
        .await;
    let (slots, entries) = practice.taken().await;
    assert_eq!((overlaps, slots), (0, entries));
    assert!((6..=10).contains(&slots), "{slots} of 30");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_answers_at_once_are_one() {
    let practice = Practice::open().await;
    for n in 0..6 {
        let visit = practice
            .booked("visit", &format!("2026-03-{:02}T08:00:00Z", 2 + n % 3))
            .await;
        let caller = Caller::sandbox();
        let (yes, no) = tokio::join!(
            practice.answer(&caller, &visit, "Practitioner/dora", "accepted"),
            practice.answer(
                &caller,
                &visit,
                "Practitioner/dora",
                if n % 2 == 0 { "accepted" } else { "declined" }
            ),
        );
        let label = label(&practice.get("Appointment", id(&visit)).await.unwrap()).to_owned();
        match (yes, no) {
            (Ok(_), Err(error)) => assert_eq!((error.status.as_u16(), label.as_str()), (409, "approved")),
            (Err(error), Ok(_)) => {
                let expected = if n % 2 == 0 { "approved" } else { "rejected" };
                assert_eq!((error.status.as_u16(), label.as_str()), (409, expected));
            }
            (yes, no) => panic!("{yes:?} and {no:?}"),
        }
        practice
            .call(&caller, &format!("Appointment/{}/$cancel", id(&visit)), json!([]))
            .await
            .ok();
    }
    assert_eq!(practice.taken().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_visit_and_an_absence_that_cross_see_each_other() {
    let practice = Practice::open().await;
    let caller = Caller::sandbox();
    for day in 2..7 {
        let start = format!("2026-03-{day:02}T08:00:00Z");
        let proposal = practice.proposal("dora", "quick", &start).await;
        let absence = json!([{"name": "start", "valueDateTime": start}, {"name": "end", "valueDateTime": format!("2026-03-{day:02}T12:00:00Z")}]);
        let (visit, absence) = tokio::join!(
            practice.take("book", &proposal),
            practice.call(&caller, "Schedule/dora/$block", absence)
        );
        absence.unwrap();
        // Whoever came second met the other: the visit is refused, or it was there before the absence.
        let is_there = visit.is_ok();
        if let Err(error) = visit {
            assert_eq!(error.status.as_u16(), 409);
        }
        let (busy, blocked) = (
            practice
                .count("SELECT count(*) FROM calendar_entry WHERE NOT blocked")
                .await,
            practice
                .count("SELECT count(*) FROM calendar_entry WHERE blocked")
                .await,
        );
        assert_eq!((busy, blocked), (i64::from(is_there), 1));
        for slot in practice.slots().await {
            let reference = format!("Slot/{slot}");
            if practice.write(&caller, vec![super::delete(&reference)]).await.is_err() {
                practice.cancel_all().await;
            }
        }
    }
}

impl Practice {
    /// Ids of the Slots that are there.
    async fn slots(&self) -> Vec<String> {
        self.ids_of("Slot").await
    }

    async fn ids_of(&self, resource_type: &str) -> Vec<String> {
        let mut lease = self.bench.server.store.fixed().await.unwrap();
        let type_id = self.bench.server.store.types().id(resource_type).unwrap();
        let ids = sqlx::query_scalar("SELECT id FROM resource WHERE type = $1 AND NOT deleted AND version > 0")
            .bind(type_id)
            .fetch_all(&mut *lease)
            .await
            .unwrap();
        lease.release();
        ids
    }

    async fn cancel_all(&self) {
        for id in self.ids_of("Appointment").await {
            let address = format!("Appointment/{id}/$cancel");
            self.call(&Caller::sandbox(), &address, json!([])).await.ok();
        }
    }
}
