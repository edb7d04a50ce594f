//! What holds of calendars whoever writes: plain creates, updates, deletes and transactions.

use medconsult::fhir::caller::Caller;
use serde_json::{Value, json};

use super::{BASE, Practice, delete, id, label, put, refused, unclaimed};

fn slot(id: &str, status: &str, start: &str, end: &str) -> Value {
    json!({"resourceType": "Slot", "id": id, "schedule": {"reference": "Schedule/dora"}, "status": status, "start": start, "end": end})
}

#[tokio::test]
async fn a_filled_slot_stays_as_it_is() {
    let practice = Practice::open().await;
    let visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let reference = visit["slot"][0]["reference"].as_str().unwrap();
    let caller = Caller::sandbox();
    let (status, text) = refused(practice.write(&caller, vec![delete(reference)]).await);
    assert!(
        status == 409 && text.contains("An Appointment fills this Slot"),
        "{text}"
    );
    let stored = practice
        .get("Slot", reference.strip_prefix("Slot/").unwrap())
        .await
        .unwrap();
    for (name, value) in [
        ("status", "free"),
        ("status", "busy-tentative"),
        ("end", "2026-03-02T09:00:00Z"),
    ] {
        let mut changed = unclaimed(&stored);
        changed[name] = json!(value);
        let answer = practice.put(changed).await;
        // Freed it would leave the visit; tentative or longer it would contradict it.
        assert_eq!(refused(answer).0, 409, "{name} {value}");
    }
    // Who says both in one transaction does what $cancel does.
    let mut cancelled = unclaimed(&visit);
    cancelled["status"] = json!("cancelled");
    cancelled.as_object_mut().unwrap().remove("slot");
    let (status, text) = refused(practice.put(cancelled.clone()).await);
    assert!(status == 409 && text.contains("still there"), "{text}");
    let written = practice
        .write(&caller, vec![put(cancelled), delete(reference)])
        .await
        .unwrap();
    assert_eq!(label(&written[0]), "cancelled");
    assert_eq!(practice.taken().await, (0, 0));
}

#[tokio::test]
async fn a_visit_and_its_slots_agree() {
    let practice = Practice::open().await;
    let visit = practice.booked("visit", "2026-03-02T08:00:00Z").await;
    let refuse = async |change: fn(&mut Value), reason: &str| {
        let mut changed = unclaimed(&visit);
        change(&mut changed);
        let (status, text) = refused(practice.put(changed).await);
        assert_eq!(status, 409, "{text}");
        assert!(text.contains(reason), "{text}");
    };
    refuse(
        |visit| visit["status"] = json!("booked"),
        "Its Slots must be busy while it is approved",
    )
    .await;
    refuse(|visit| visit["status"] = json!("fulfilled"), "cannot become completed").await;
    refuse(|visit| visit["status"] = json!("cancelled"), "takes no time").await;
    refuse(
        |visit| visit["start"] = json!("2026-03-02T07:00:00Z"),
        "begins and ends as its Slots do",
    )
    .await;
    refuse(
        |visit| visit["participant"][1]["status"] = json!("accepted"),
        "Everybody has accepted",
    )
    .await;
    refuse(
        |visit| drop(visit.as_object_mut().unwrap().remove("slot")),
        "still there",
    )
    .await;
    // What is said about it can change.
    let mut told = visit.clone();
    told["comment"] = json!("By the back door");
    assert_eq!(practice.put(told).await.unwrap()["comment"], "By the back door");
    // A Slot is filled once.
    let thief = json!({"resourceType": "Appointment", "id": "thief", "status": "pending", "start": visit["start"], "end": visit["end"],
        "slot": visit["slot"], "participant": visit["participant"]});
    let (status, text) = refused(practice.put(thief).await);
    assert!(status == 409 && text.contains("filled by another"), "{text}");
}

#[tokio::test]
async fn the_visit_goes_its_way_and_not_another() {
    let practice = Practice::open().await;
    let mut visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    for (status, tag) in [
        ("arrived", "waiting-room"),
        ("checked-in", "waiting-room"),
        ("fulfilled", "completed"),
    ] {
        visit["status"] = json!(status);
        visit = practice.put(visit).await.unwrap();
        assert_eq!(label(&visit), tag);
    }
    for status in ["booked", "noshow", "cancelled"] {
        visit["status"] = json!(status);
        let (found, text) = refused(practice.put(visit.clone()).await);
        assert_eq!(found, 409);
        assert!(
            text.contains("An appointment that is completed can become entered in error."),
            "{text}"
        );
    }
    assert_eq!(practice.taken().await, (1, 1), "a visit that took place took its time");
}

#[tokio::test]
async fn the_tag_is_the_servers() {
    let practice = Practice::open().await;
    let mut visit = practice.booked("quick", "2026-03-02T08:00:00Z").await;
    let system = format!("{BASE}/CodeSystem/appointment-label");
    visit["meta"]["tag"] =
        json!([{"system": system, "code": "completed"}, {"system": "http://example.org", "code": "vip"}]);
    let stored = practice.put(visit).await.unwrap();
    assert_eq!(
        stored["meta"]["tag"],
        json!([{"system": "http://example.org", "code": "vip"}, {"system": system, "code": "approved"}])
    );
}

#[tokio::test]
async fn calendars_of_others_are_not_judged() {
    let practice = Practice::open().await;
    let foreign = json!({"resourceType": "Schedule", "id": "foreign", "actor": [{"reference": "Practitioner/dora"}]});
    practice.put(foreign).await.unwrap();
    for n in 0..2 {
        let mut slot = slot(&format!("f{n}"), "busy", "2026-03-02T08:00:00Z", "2026-03-02T09:00:00Z");
        slot["schedule"]["reference"] = json!("Schedule/foreign");
        practice.put(slot).await.unwrap();
    }
    let imported = json!({"resourceType": "Appointment", "id": "imported", "status": "booked", "slot": [{"reference": "Slot/f0"}],
        "participant": [{"actor": {"reference": "Patient/ada"}, "status": "needs-action"}]});
    let stored = practice.put(imported).await.unwrap();
    let mut cancelled = stored.clone();
    cancelled["status"] = json!("cancelled");
    practice.put(cancelled.clone()).await.unwrap();
    cancelled["status"] = json!("booked");
    assert_eq!(
        refused(practice.put(cancelled).await).0,
        409,
        "the moves are those of R4 all the same"
    );
    assert_eq!(practice.count("SELECT count(*) FROM calendar_entry").await, 0);
}

#[tokio::test]
async fn slots_of_a_calendar_do_not_overlap() {
    let practice = Practice::open().await;
    practice
        .put(slot("a", "busy", "2026-03-02T08:00:00Z", "2026-03-02T08:30:00Z"))
        .await
        .unwrap();
    practice
        .put(slot("b", "busy", "2026-03-02T08:30:00Z", "2026-03-02T09:00:00Z"))
        .await
        .unwrap();
    let (status, text) = refused(
        practice
            .put(slot(
                "c",
                "busy-tentative",
                "2026-03-02T08:29:00Z",
                "2026-03-02T08:31:00Z",
            ))
            .await,
    );
    assert!(status == 409 && text.contains("This time is taken"), "{text}");
    practice
        .put(slot("c", "free", "2026-03-02T08:00:00Z", "2026-03-02T09:00:00Z"))
        .await
        .unwrap();
    // Two that change places in one transaction.
    let (a, b) = (
        slot("a", "busy", "2026-03-02T08:30:00Z", "2026-03-02T09:00:00Z"),
        slot("b", "busy", "2026-03-02T08:00:00Z", "2026-03-02T08:30:00Z"),
    );
    practice.write(&Caller::sandbox(), vec![put(a), put(b)]).await.unwrap();
    let backwards = slot("d", "busy", "2026-03-02T10:00:00Z", "2026-03-02T09:30:00Z");
    assert_eq!(refused(practice.put(backwards).await).0, 422);
    assert_eq!(id(&practice.get("Slot", "c").await.unwrap()), "c");
}
