//! `Schedule/[id]/$block`: an absence over visits.

use medconsult::fhir::access::Role;
use medconsult::fhir::caller::Caller;
use serde_json::{Value, json};

use super::{BASE, Practice, entries, id, label, matches, refused};

fn week(preview: bool) -> Value {
    json!([{"name": "start", "valueDateTime": "2026-03-02T00:00:00+01:00"}, {"name": "end", "valueDateTime": "2026-03-07T00:00:00+01:00"},
        {"name": "comment", "valueString": "Conference"}, {"name": "preview", "valueBoolean": preview}])
}

fn of_type<'v>(resources: &'v [Value], name: &str) -> Vec<&'v Value> {
    resources
        .iter()
        .filter(|resource| resource["resourceType"] == name)
        .collect()
}

#[tokio::test]
async fn an_absence_lists_the_visits_that_it_hits_and_offers_others() {
    let practice = Practice::open().await;
    let hit = practice.booked("quick", "2026-03-03T08:00:00Z").await;
    let outside = practice.booked("quick", "2026-03-09T08:00:00Z").await;
    let before = practice.taken().await;

    let preview = practice
        .call(&practice.dora().await, "Schedule/dora/$block", week(true))
        .await
        .unwrap();
    let listed = matches(&preview);
    assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), [id(&hit)]);
    let proposals = entries(&preview, "include");
    let starts: Vec<&Value> = proposals.iter().map(|proposal| &proposal["start"]).collect();
    // The first of the week after, but for the time that somebody has.
    assert_eq!(
        starts,
        [
            "2026-03-09T09:30:00+01:00",
            "2026-03-09T10:00:00+01:00",
            "2026-03-09T10:30:00+01:00"
        ]
    );
    assert_eq!(practice.taken().await, before);

    let done = practice
        .call(&practice.dora().await, "Schedule/dora/$block", week(false))
        .await
        .unwrap();
    let slots = matches(&done);
    let slot = of_type(&slots, "Slot")[0];
    assert_eq!(
        (&slot["status"], &slot["start"], &slot["comment"]),
        (
            &json!("busy-unavailable"),
            &json!("2026-03-01T23:00:00Z"),
            &json!("Conference")
        )
    );
    let included = entries(&done, "include");
    let offers = of_type(&included, "Task");
    assert_eq!(offers.len(), 1);
    assert_eq!(
        (
            &offers[0]["owner"]["reference"],
            offers[0]["input"].as_array().unwrap().len()
        ),
        (&json!("Patient/ada"), 3)
    );
    assert_eq!(
        label(&practice.get("Appointment", id(&hit)).await.unwrap()),
        "approved",
        "it stays until it is moved"
    );
    let free = practice.find(json!([{"name": "practitioner", "valueReference": {"reference": "Practitioner/dora"}}, {"name": "_count", "valuePositiveInt": 1}])).await;
    assert_eq!(free[0]["start"], "2026-03-09T09:30:00+01:00");

    // The patient takes the second of the offers.
    let mut answer = offers[0].clone();
    answer["status"] = json!("accepted");
    answer["output"] = json!([{"type": {"coding": [{"system": format!("{BASE}/CodeSystem/task-parameter"), "code": "chosen-start"}]},
        "valueInstant": "2026-03-09T09:00:00Z"}]);
    assert_eq!(practice.put(answer).await.unwrap()["status"], "completed");
    let moved = practice.get("Appointment", id(&hit)).await.unwrap();
    assert_eq!(
        (&moved["start"], label(&moved)),
        (&json!("2026-03-09T09:00:00Z"), "approved")
    );
    assert_eq!(
        practice.get("Appointment", id(&outside)).await.unwrap()["start"],
        outside["start"]
    );
}

#[tokio::test]
async fn only_who_works_there_is_absent() {
    let practice = Practice::open().await;
    for (role, fhir_user) in [
        (Role::Patient, "Patient/ada"),
        (Role::Practitioner, "Practitioner/emil"),
    ] {
        let caller = practice.person(role, fhir_user).await;
        assert_eq!(
            refused(practice.call(&caller, "Schedule/dora/$block", week(false)).await).0,
            403,
            "{fhir_user}"
        );
    }
    assert_eq!(practice.taken().await, (0, 0));
    let backwards = json!([{"name": "start", "valueDateTime": "2026-03-02T00:00:00Z"}, {"name": "end", "valueDateTime": "2026-03-01T00:00:00Z"}]);
    assert_eq!(
        refused(
            practice
                .call(&Caller::sandbox(), "Schedule/dora/$block", backwards)
                .await
        )
        .0,
        400
    );
    // What is blocked cannot be booked, even by those who run the practice; the end of the absence frees it.
    practice
        .call(&Caller::sandbox(), "Schedule/dora/$block", week(false))
        .await
        .unwrap();
    let slot = practice.all("Slot").await.remove(0);
    practice
        .write(&Caller::sandbox(), vec![super::delete(&format!("Slot/{}", id(&slot)))])
        .await
        .unwrap();
    practice.proposal("dora", "quick", "2026-03-03T08:00:00Z").await;
}
