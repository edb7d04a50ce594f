//! Who may do what with whose visit.

use medconsult::fhir::access::Role;
use serde_json::{Value, json};

use super::{Practice, id, label, matches, refused};

const NINE: &str = "2026-03-02T08:00:00Z";

fn of(proposal: &str) -> Value {
    json!([{"name": "appointment-reference", "valueReference": {"reference": proposal}}])
}

#[tokio::test]
async fn a_patient_books_and_cancels_what_they_could_never_write() {
    let practice = Practice::open().await;
    let ada = practice.ada().await;
    let proposal = practice.proposal("dora", "quick", NINE).await;
    let bundle = practice.call(&ada, "Appointment/$book", of(&proposal)).await.unwrap();
    let visit = matches(&bundle).remove(0);
    assert_eq!(
        (label(&visit), &visit["participant"][0]["actor"]["reference"]),
        ("approved", &json!("Patient/ada"))
    );
    // By hand she moves nothing: neither status, nor time, nor away.
    for (name, value) in [
        ("status", json!("fulfilled")),
        ("start", json!("2026-03-02T09:00:00Z")),
        ("participant", json!([])),
    ] {
        let mut changed = visit.clone();
        changed[name] = value;
        let status = refused(practice.put_as(&ada, changed).await).0;
        assert!(matches!(status, 403 | 409 | 422), "{name}: {status}");
    }
    let delete = super::delete(&format!("Appointment/{}", id(&visit)));
    assert!(matches!(refused(practice.write(&ada, vec![delete]).await).0, 403 | 409));
    assert_eq!(
        practice.get("Appointment", id(&visit)).await.unwrap()["meta"],
        visit["meta"]
    );
    let cancelled = practice
        .call(&ada, &format!("Appointment/{}/$cancel", id(&visit)), json!([]))
        .await
        .unwrap();
    assert_eq!(cancelled["cancelationReason"]["coding"][0]["code"], "pat-cpp");
}

#[tokio::test]
async fn a_visit_is_agreed_to_by_its_practitioner() {
    let practice = Practice::open().await;
    let ada = practice.ada().await;
    let visit = practice.booked("visit", NINE).await;
    let confirm = format!("Appointment/{}/$confirm", id(&visit));
    let emil = practice.person(Role::Practitioner, "Practitioner/emil").await;
    for caller in [&ada, &emil] {
        let status = refused(practice.call(caller, &confirm, json!([])).await).0;
        assert!(matches!(status, 403 | 404), "{status}");
    }
    let cancel = format!("Appointment/{}/$cancel", id(&visit));
    assert!(matches!(
        refused(practice.call(&emil, &cancel, json!([])).await).0,
        403 | 404
    ));
    assert_eq!(
        label(&practice.get("Appointment", id(&visit)).await.unwrap()),
        "requested"
    );
    let rejected = practice.call(&practice.dora().await, &cancel, json!([])).await;
    if let Ok(rejected) = rejected {
        assert_eq!(label(&rejected), "rejected");
    }
}

#[tokio::test]
async fn the_address_of_a_calendar_is_made_by_its_owner() {
    let practice = Practice::open().await;
    let (ada, dora) = (practice.ada().await, practice.dora().await);
    let url = practice
        .call(&ada, "Patient/ada/$calendar-feed", json!([]))
        .await
        .unwrap();
    let url = url["parameter"][0]["valueUri"].as_str().unwrap().to_owned();
    assert!(
        url.starts_with("http://localhost/calendar/") && url.ends_with(".ics"),
        "{url}"
    );
    let again = practice
        .call(&ada, "Patient/ada/$calendar-feed", json!([]))
        .await
        .unwrap();
    assert_ne!(again["parameter"][0]["valueUri"], url);
    for (caller, address) in [
        (&dora, "Patient/ada/$calendar-feed"),
        (&ada, "Patient/ben/$calendar-feed"),
        (&ada, "Practitioner/dora/$calendar-feed"),
    ] {
        let status = refused(practice.call(caller, address, json!([])).await).0;
        assert!(matches!(status, 403 | 404), "{address}: {status}");
    }
    assert_eq!(practice.count("SELECT count(*) FROM calendar_feed").await, 1);
}
