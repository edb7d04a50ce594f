//! Money that goes back: by policy, by hand, and not at all.

use medconsult::fhir::access::Role;
use serde_json::{Value, json};

use super::{Clinic, LOSES_REFUNDS, id, label, said};
use crate::app::Ask;

fn entry(kind: &str, status: &str, amount: &str) -> (String, String, String, String) {
    let [kind, outcome, status, amount] = [kind, "complete", status, amount].map(str::to_owned);
    (kind, outcome, status, amount)
}

#[tokio::test]
async fn who_is_rejected_gets_everything_back_once() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.settled("paid").await;
    let no = json!({"resourceType": "AppointmentResponse", "appointment": {"reference": format!("Appointment/{}", id(&visit))},
        "actor": {"reference": "Practitioner/dora"}, "participantStatus": "declined"});
    clinic
        .app
        .post("AppointmentResponse")
        .fhir(&no)
        .answer()
        .await
        .expect(201);
    clinic.run_jobs().await;
    assert_eq!(label(&clinic.again(&visit).await), "rejected");
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(
        (&invoice["status"], &invoice["cancelledReason"]),
        (&json!("cancelled"), &json!("The visit was cancelled."))
    );
    let charge = invoice["lineItem"][0]["chargeItemReference"]["reference"]
        .as_str()
        .unwrap();
    assert_eq!(clinic.get(charge).await["status"], "not-billable");
    // What Stripe tells of it afterwards changes nothing.
    clinic.hear("refund.created").await;
    clinic.hear("checkout.session.completed").await;
    let expected = [
        entry("payment", "active", "60.00"),
        entry("adjustment", "active", "60.00"),
    ];
    assert_eq!(clinic.entries(&page.invoice).await, expected);
    assert_eq!(clinic.stripe.ask("refunds").await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_cancels_late_gets_a_part_back_and_the_practice_gives_all() {
    let clinic = Clinic::open().await;
    let ada = clinic.person(Role::Patient, "Patient/ada").await;
    let cancel = |visit: &Value| format!("Appointment/{}/$cancel", id(visit));
    // Two days before the visit: in time for one service, late for the other, whatever the patient says.
    let (early, early_page) = clinic.settled("paid").await;
    clinic.call(&ada, &cancel(&early), json!([])).await.unwrap();
    let (late, late_page) = clinic.settled("late").await;
    let reason = json!([{"name": "reason", "valueCoding":
        {"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "prov"}}]);
    clinic.call(&ada, &cancel(&late), reason).await.unwrap();
    let (ours, our_page) = clinic.settled("late").await;
    clinic.act(&ours, "cancel").await.expect(200);
    clinic.run_jobs().await;
    for (page, back, status) in [
        (early_page, "60.00", "cancelled"),
        (late_page, "30.00", "balanced"),
        (our_page, "60.00", "cancelled"),
    ] {
        let expected = [entry("payment", "active", "60.00"), entry("adjustment", "active", back)];
        assert_eq!(clinic.entries(&page.invoice).await, expected);
        assert_eq!(clinic.get(&page.invoice).await["status"], status);
    }
}

#[tokio::test]
async fn the_practice_gives_back_by_hand_and_never_too_much() {
    let clinic = Clinic::open().await;
    let (_, page) = clinic.settled("quick").await;
    let path = format!("{}/$refund", page.invoice);
    let ask = |amount: &str, currency: &str| {
        let amount: Value = serde_json::from_str(amount).unwrap();
        json!([{"name": "amount", "valueMoney": {"value": amount, "currency": currency}}, {"name": "reason", "valueString": "She waited."}])
    };
    let first = clinic.operate(&path, ask("12.50", "EUR")).await.expect(200).json();
    assert_eq!(
        (&first["resourceType"], &first["disposition"]),
        (&json!("PaymentReconciliation"), &json!("She waited."))
    );
    assert_eq!(first["detail"][0]["type"]["coding"][0]["code"], "adjustment");
    assert_eq!(clinic.get(&page.invoice).await["status"], "balanced");
    assert!(said(clinic.operate(&path, ask("47.51", "EUR")).await, 409).contains("Only 47.50 EUR are left"));
    said(clinic.operate(&path, ask("1", "USD")).await, 400);
    said(clinic.operate(&path, ask("0.001", "EUR")).await, 400);
    said(clinic.operate(&path, json!([])).await, 400);
    let ada = clinic.person(Role::Patient, "Patient/ada").await;
    let refused = clinic.call(&ada, &path, ask("1", "EUR")).await.unwrap_err();
    assert_eq!(refused.status, 403);

    // Somebody gives back at the provider, and nobody tells.
    let payment = clinic.get(&page.invoice).await;
    let intents = payment["identifier"].as_array().unwrap();
    let intent = intents
        .iter()
        .find(|number| number["value"].as_str().unwrap().starts_with("pi_"))
        .unwrap();
    let intent = intent["value"].as_str().unwrap();
    clinic
        .stripe
        .make("refunds", &[("payment_intent", intent), ("amount", "1000")])
        .await
        .expect(200);
    let rest = || json!([{"name": "reason", "valueString": "All of it."}]);
    assert!(said(clinic.operate(&path, rest()).await, 409).contains("entered now"));
    clinic.operate(&path, rest()).await.expect(200);
    let amounts: Vec<String> = clinic
        .entries(&page.invoice)
        .await
        .into_iter()
        .map(|(.., amount)| amount)
        .collect();
    assert_eq!(amounts, ["60.00", "12.50", "10.00", "37.50"]);
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(
        (&invoice["status"], &invoice["cancelledReason"]),
        (&json!("cancelled"), &json!("All of it."))
    );
    assert!(said(clinic.operate(&path, rest()).await, 409).contains("already"));
    clinic.app.get(&format!("{path}?reason=x")).answer().await.expect(405);
}

#[tokio::test]
async fn a_refund_that_does_not_arrive_counts_no_more() {
    let clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    let page = clinic.pay(&visit).await;
    clinic.stripe.fill_in(&page.url, LOSES_REFUNDS).await.expect(303);
    clinic.hear("checkout.session.completed").await;
    let refund = json!([{"name": "reason", "valueString": "She waited."}]);
    clinic
        .operate(&format!("{}/$refund", page.invoice), refund)
        .await
        .expect(200);
    clinic.hear("refund.failed").await;
    let expected = [
        entry("payment", "active", "60.00"),
        entry("adjustment", "cancelled", "60.00"),
    ];
    assert_eq!(clinic.entries(&page.invoice).await, expected);
}
