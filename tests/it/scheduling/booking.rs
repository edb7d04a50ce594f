//! From a proposal to a visit: `$hold`, `$book`, `$confirm`, `$cancel`, AppointmentResponse, and what lapses.

use medconsult::fhir::caller::Caller;
use medconsult::fhir::error::FhirError;
use serde_json::{Value, json};

use super::{Practice, id, label, refused, said};

const NINE: &str = "2026-03-02T08:00:00Z";
const HALF_PAST: &str = "2026-03-02T08:30:00Z";

impl Practice {
    /// What somebody says to an invitation.
    pub async fn answer(&self, caller: &Caller, visit: &Value, actor: &str, status: &str) -> Result<Value, FhirError> {
        let response = json!({"resourceType": "AppointmentResponse",
            "appointment": {"reference": format!("Appointment/{}", id(visit))},
            "actor": {"reference": actor}, "participantStatus": status});
        self.create(caller, response).await
    }

    async fn act(&self, operation: &str, visit: &Value) -> Result<Value, FhirError> {
        let address = format!("Appointment/{}/${operation}", id(visit));
        self.call(&Caller::sandbox(), &address, json!([])).await
    }

    async fn again(&self, visit: &Value) -> Value {
        self.get("Appointment", id(visit)).await.unwrap()
    }
}

#[tokio::test]
async fn a_held_time_is_booked_confirmed_and_cancelled() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "visit", NINE).await;
    let held = practice.take("hold", &proposal).await.unwrap();
    assert_eq!(
        (held["status"].as_str(), said(&held), label(&held)),
        (Some("pending"), ("needs-action", "needs-action"), "held")
    );
    assert_eq!((&held["start"], &held["minutesDuration"]), (&json!(NINE), &json!(30)));
    assert_eq!(held["extension"][0]["valueInstant"], "2026-03-01T10:10:00Z");
    let slot = held["slot"][0]["reference"]
        .as_str()
        .unwrap()
        .strip_prefix("Slot/")
        .unwrap()
        .to_owned();
    assert_eq!(practice.get("Slot", &slot).await.unwrap()["status"], "busy-tentative");

    let booked = practice
        .take("book", &format!("Appointment/{}", id(&held)))
        .await
        .unwrap();
    assert_eq!(id(&booked), id(&held));
    assert_eq!(
        (said(&booked), label(&booked)),
        (("accepted", "needs-action"), "requested")
    );
    assert_eq!(booked.get("extension"), None);

    let approved = practice.act("confirm", &booked).await.unwrap();
    assert_eq!(
        (&approved["status"], said(&approved), label(&approved)),
        (&json!("booked"), ("accepted", "accepted"), "approved")
    );
    assert_eq!(practice.get("Slot", &slot).await.unwrap()["status"], "busy");

    let cancelled = practice.act("cancel", &approved).await.unwrap();
    assert_eq!(
        (&cancelled["status"], label(&cancelled)),
        (&json!("cancelled"), "cancelled")
    );
    assert_eq!(cancelled["cancelationReason"]["coding"][0]["code"], "prov");
    assert_eq!((cancelled.get("slot"), practice.taken().await), (None, (0, 0)));
    let (status, text) = refused(practice.act("cancel", &approved).await);
    assert_eq!(status, 409);
    assert!(
        text.contains("cancelled already") && text.contains("entered in error"),
        "{text}"
    );
    // The time is there again, for somebody else.
    practice.proposal("dora", "visit", NINE).await;
}

#[tokio::test]
async fn a_policy_says_whom_a_booking_waits_for() {
    let practice = Practice::open().await;
    for (service, start, status, participants, tag) in [
        (
            "quick",
            "2026-03-02T08:00:00Z",
            "booked",
            ("accepted", "accepted"),
            "approved",
        ),
        (
            "visit",
            "2026-03-02T08:30:00Z",
            "pending",
            ("accepted", "needs-action"),
            "requested",
        ),
        (
            "paid",
            "2026-03-02T09:00:00Z",
            "pending",
            ("tentative", "needs-action"),
            "pending-payment",
        ),
        (
            "billed",
            "2026-03-02T09:30:00Z",
            "pending",
            ("accepted", "needs-action"),
            "requested",
        ),
    ] {
        let visit = practice.booked(service, start).await;
        assert_eq!(
            (&visit["status"], said(&visit), label(&visit)),
            (&json!(status), participants, tag),
            "{service}"
        );
    }
    let unpaid = practice.booked("paid", "2026-03-02T10:00:00Z").await;
    let agreed = practice.act("confirm", &unpaid).await.unwrap();
    assert_eq!(
        (said(&agreed), label(&agreed)),
        (("tentative", "accepted"), "pending-payment")
    );
    assert_eq!(refused(practice.act("confirm", &unpaid).await).0, 409);
    let billed = practice.booked("billed", "2026-03-02T10:30:00Z").await;
    let agreed = practice.act("confirm", &billed).await.unwrap();
    assert_eq!(
        (said(&agreed), label(&agreed)),
        (("tentative", "accepted"), "pending-payment")
    );
    assert!(agreed["extension"][0]["valueInstant"].is_string());
}

#[tokio::test]
async fn an_answer_approves_or_rejects_in_the_same_transaction() {
    let practice = Practice::open().await;
    let (dora, sandbox) = (practice.dora().await, Caller::sandbox());
    let visit = practice.booked("visit", NINE).await;
    practice
        .answer(&sandbox, &visit, "Practitioner/dora", "accepted")
        .await
        .unwrap();
    assert_eq!(label(&practice.again(&visit).await), "approved");
    let (status, text) = refused(practice.answer(&sandbox, &visit, "Practitioner/dora", "accepted").await);
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("can become arrived"), "{text}");
    assert_eq!(practice.count("SELECT count(*) FROM resource WHERE type = (SELECT id FROM resource_type WHERE name = 'AppointmentResponse')").await, 1);

    let other = practice.booked("visit", HALF_PAST).await;
    practice
        .answer(&sandbox, &other, "Practitioner/dora", "declined")
        .await
        .unwrap();
    let rejected = practice.again(&other).await;
    assert_eq!(
        (&rejected["status"], said(&rejected), label(&rejected)),
        (&json!("cancelled"), ("accepted", "declined"), "rejected")
    );
    let codes: Vec<&Value> = rejected["cancelationReason"]["coding"]
        .as_array()
        .unwrap()
        .iter()
        .map(|coding| &coding["code"])
        .collect();
    assert_eq!(codes, ["rejected", "prov"]);
    assert_eq!(practice.taken().await, (1, 1));

    let third = practice.booked("visit", HALF_PAST).await;
    practice
        .answer(&sandbox, &third, "Practitioner/dora", "tentative")
        .await
        .unwrap();
    assert_eq!(label(&practice.again(&third).await), "requested");
    assert_eq!(
        refused(practice.answer(&sandbox, &third, "Practitioner/emil", "accepted").await).0,
        409
    );
    // Nobody answers for somebody else.
    let ada = practice.ada().await;
    let emil = practice
        .person(medconsult::fhir::access::Role::Practitioner, "Practitioner/emil")
        .await;
    for stranger in [&ada, &emil] {
        let answer = practice.answer(stranger, &third, "Practitioner/dora", "accepted").await;
        assert_eq!(refused(answer).0, 403);
    }
    assert_eq!(label(&practice.again(&third).await), "requested");
    assert!(dora.user().is_some());
}

#[tokio::test]
async fn who_comes_back_finds_their_own_hold() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "visit", NINE).await;
    let held = practice.take("hold", &proposal).await.unwrap();
    let again = practice.take("hold", &proposal).await.unwrap();
    assert_eq!(held, again);
    let for_ben = json!([
        {"name": "appointment-reference", "valueReference": {"reference": proposal}},
        {"name": "patient-reference", "valueReference": {"reference": "Patient/ben"}}]);
    for operation in ["Appointment/$hold", "Appointment/$book"] {
        let (status, text) = refused(practice.call(&Caller::sandbox(), operation, for_ben.clone()).await);
        assert_eq!(status, 409);
        assert!(text.contains("This time is taken"), "{text}");
    }
    let booked = practice.take("book", &proposal).await.unwrap();
    assert_eq!((id(&booked), label(&booked)), (id(&held), "requested"));
    assert_eq!(practice.taken().await, (1, 1));
}

#[tokio::test]
async fn the_whole_resource_may_be_sent_with_what_the_patient_says() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "quick", NINE).await;
    let resource = json!({"resourceType": "Appointment", "id": proposal.strip_prefix("Appointment/").unwrap(),
        "status": "proposed", "reasonCode": [{"text": "Cough"}], "start": "2030-01-01T00:00:00Z",
        "participant": [{"actor": {"reference": "Patient/ada"}, "status": "accepted"}]});
    let parameters = json!([{"name": "appointment-resource", "resource": resource}, {"name": "comment", "valueString": "Ring twice"}]);
    let bundle = practice
        .call(&Caller::sandbox(), "Appointment/$book", parameters)
        .await
        .unwrap();
    let visit = super::matches(&bundle).remove(0);
    assert_eq!(
        (&visit["start"], &visit["reasonCode"][0]["text"], &visit["comment"]),
        (&json!(NINE), &json!("Cough"), &json!("Ring twice"))
    );
    let mut cancel = visit.clone();
    cancel["status"] = json!("cancelled");
    let parameters = json!([{"name": "appointment-resource", "resource": cancel}]);
    let bundle = practice
        .call(&Caller::sandbox(), "Appointment/$book", parameters)
        .await
        .unwrap();
    assert_eq!(super::matches(&bundle)[0]["status"], "cancelled");
}

#[tokio::test]
async fn what_was_never_offered_cannot_be_taken() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "quick", NINE).await;
    let (name, start) = proposal.rsplit_once('-').unwrap();
    let start = i64::from_str_radix(start, 16).unwrap();
    let invented = |start: i64| format!("{name}-{start:x}");
    for start in [start + 60, start - 3600, start + 365 * 86_400, start - 7 * 86_400] {
        let (status, text) = refused(practice.take("book", &invented(start)).await);
        assert_eq!(status, 409);
        assert!(text.contains("No visit can begin"), "{text}");
    }
    assert_eq!(refused(practice.take("book", "Appointment/p-0-0-0").await).0, 409);
    assert_eq!(refused(practice.take("hold", "Appointment/x").await).0, 400);
    assert_eq!(refused(practice.take("book", "Appointment/x").await).0, 404);
    assert_eq!(refused(practice.take("book", "Patient/ada").await).0, 400);
    // Those who run the practice may, where nobody else is.
    let forced = |start: i64| {
        json!([{"name": "appointment-reference", "valueReference": {"reference": invented(start)}},
            {"name": "patient-reference", "valueReference": {"reference": "Patient/ben"}}, {"name": "force", "valueBoolean": true}])
    };
    practice
        .call(&Caller::sandbox(), "Appointment/$book", forced(start - 3600))
        .await
        .unwrap();
    assert_eq!(
        refused(
            practice
                .call(&Caller::sandbox(), "Appointment/$book", forced(start - 3000))
                .await
        )
        .0,
        409
    );
    let dora = practice.dora().await;
    assert_eq!(
        refused(practice.call(&dora, "Appointment/$book", forced(start)).await).0,
        403
    );
}

#[tokio::test]
async fn what_nobody_settles_lapses() {
    let practice = Practice::open().await;
    let soon = "2026-03-02T08:00:00Z";
    let proposal = practice.proposal("dora", "visit", soon).await;
    let held = practice.take("hold", &proposal).await.unwrap();
    let unpaid = practice.booked("paid", "2026-03-02T08:30:00Z").await;
    let requested = practice.booked("visit", "2026-03-02T09:00:00Z").await;
    let approved = practice.booked("quick", "2026-03-02T09:30:00Z").await;
    practice.advance(9);
    practice.run_jobs().await;
    assert_eq!(practice.taken().await, (4, 4));
    practice.advance(1);
    practice.run_jobs().await;
    let labels = async |visits: [&Value; 4]| {
        let mut labels = Vec::new();
        for visit in visits {
            labels.push(label(&practice.again(visit).await).to_owned());
        }
        labels
    };
    let all = [&held, &unpaid, &requested, &approved];
    assert_eq!(
        labels(all).await,
        ["hold-expired", "payment-expired", "requested", "approved"]
    );
    assert_eq!(practice.taken().await, (2, 2));
    let (status, text) = refused(practice.take("book", &format!("Appointment/{}", id(&held))).await);
    assert_eq!(status, 409, "{text}");
    // Nobody answered until the time had come.
    practice.advance(23 * 60);
    practice.run_jobs().await;
    assert_eq!(labels(all).await[2..], ["cancelled", "approved"]);
    let reason = practice.again(&requested).await["cancelationReason"]["coding"][0]["code"].clone();
    assert_eq!(reason, "request-expired");
    assert_eq!(practice.count("SELECT count(*) FROM appointment_expiry").await, 0);
}

#[tokio::test]
async fn a_lapsed_time_is_free_before_anybody_has_swept() {
    let practice = Practice::open().await;
    let proposal = practice.proposal("dora", "visit", NINE).await;
    let held = practice.take("hold", &proposal).await.unwrap();
    practice.advance(10);
    // Found, held by another patient, and the former hold is gone.
    assert_eq!(practice.proposal("dora", "visit", NINE).await, proposal);
    let for_ben = json!([
        {"name": "appointment-reference", "valueReference": {"reference": proposal}},
        {"name": "patient-reference", "valueReference": {"reference": "Patient/ben"}}]);
    practice
        .call(&Caller::sandbox(), "Appointment/$hold", for_ben)
        .await
        .unwrap();
    assert_eq!(label(&practice.again(&held).await), "hold-expired");
    assert_eq!(practice.taken().await, (1, 1));
}
