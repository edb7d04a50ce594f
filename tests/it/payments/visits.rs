//! From the price to the booked visit.

use jiff::SignedDuration;
use medconsult::base::crypto::Vault;
use serde_json::{Value, json};

use super::{BASE, Clinic, DECLINED, Page, id, label, said};
use crate::app::{Ask, clusters_directory};
use crate::audit::brief;

fn identifier<'v>(resource: &'v Value, name: &str) -> &'v Value {
    let system = format!("{BASE}/sid/{name}");
    let mut identifiers = resource["identifier"].as_array().unwrap().iter();
    &identifiers
        .find(|identifier| identifier["system"] == system.as_str())
        .unwrap()["value"]
}

#[tokio::test]
async fn a_payment_books_the_visit_in_one_transaction() {
    let clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    assert_eq!(label(&visit), "pending-payment");
    let page = clinic.pay(&visit).await;
    // The time is held for longer than anybody can pay, and the page is open for half an hour at least.
    let waiting = clinic.again(&visit).await;
    let held = waiting["extension"][0]["valueInstant"].as_str().unwrap();
    assert_eq!(
        held.parse::<jiff::Timestamp>().unwrap(),
        page.expires + SignedDuration::from_mins(5)
    );
    assert!(page.expires >= clinic.app.app.clock.now() + SignedDuration::from_mins(30));
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(
        (
            &invoice["status"],
            &invoice["totalGross"]["currency"],
            invoice["totalGross"]["value"].to_string()
        ),
        (&json!("issued"), &json!("EUR"), "60.00".to_owned())
    );
    let charge = invoice["lineItem"][0]["chargeItemReference"]["reference"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(clinic.get(&charge).await["status"], "billable");
    assert_eq!(waiting["supportingInformation"], json!([{"reference": page.invoice}]));
    // Stripe learns nothing of what the visit is about.
    let session = clinic
        .stripe
        .ask(&format!("checkout/sessions/{}", page.session()))
        .await;
    let lines = clinic
        .stripe
        .ask(&format!("checkout/sessions/{}/line_items", page.session()))
        .await;
    assert_eq!(
        (&session["amount_total"], &lines["data"][0]["description"]),
        (&json!(6000), &json!("Appointment"))
    );
    assert!(!format!("{session}{lines}").contains("private"), "{session} {lines}");

    let refused = clinic.stripe.fill_in(&page.url, DECLINED).await.expect(402).text();
    assert!(refused.contains(r#"role="alert">Your card was declined."#), "{refused}");
    clinic.hear("payment_intent.payment_failed").await;
    let next = clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(303);
    assert_eq!(
        next.header("location"),
        format!("{}/payments/return?session={}", clinic.app.address, page.session())
    );
    clinic.hear("checkout.session.completed").await;

    let booked = clinic.again(&visit).await;
    assert_eq!(
        (&booked["status"], label(&booked), booked.get("extension")),
        (&json!("booked"), "approved", None)
    );
    let slot = clinic.get(booked["slot"][0]["reference"].as_str().unwrap()).await;
    let (invoice, charge) = (clinic.get(&page.invoice).await, clinic.get(&charge).await);
    let notice = clinic
        .all(&format!("PaymentNotice?request={}", page.invoice))
        .await
        .remove(0);
    let payment = clinic.get(notice["payment"]["reference"].as_str().unwrap()).await;
    assert_eq!(
        (&slot["status"], &invoice["status"], &charge["status"]),
        (&json!("busy"), &json!("balanced"), &json!("billed"))
    );
    assert_eq!(identifier(&invoice, "stripe-session"), page.session());
    assert_eq!(
        identifier(&invoice, "stripe-payment-intent"),
        &payment["paymentIdentifier"]["value"]
    );
    let event = clinic.stripe.event("checkout.session.completed").await;
    assert_eq!(identifier(&payment, "stripe-event"), id(&event));
    assert_eq!(
        (&payment["outcome"], &payment["paymentAmount"], &notice["amount"]),
        (&json!("complete"), &invoice["totalGross"], &invoice["totalGross"])
    );
    assert_eq!(notice["paymentStatus"]["coding"][0]["code"], "paid");
    let stored = [&booked, &slot, &invoice, &charge, &notice, &payment].map(|stored| &stored["meta"]["lastUpdated"]);
    assert!(stored.iter().all(|at| *at == stored[0]), "one transaction: {stored:?}");
    let kinds: Vec<_> = clinic.entries(&page.invoice).await;
    let expected = [("payment", "error"), ("payment", "complete")];
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, outcome, ..)| (kind.as_str(), outcome.as_str()))
        .collect();
    assert_eq!(kinds, expected);
    assert!(said(clinic.act(&visit, "pay").await, 409).contains("It is paid."));
}

#[tokio::test]
async fn it_is_paid_before_or_after_the_approval_or_not_at_all() {
    let clinic = Clinic::open().await;
    let (before, _) = clinic.settled("paid").await;
    assert_eq!(label(&before), "requested");
    let before = clinic.act(&before, "confirm").await.expect(200).json();
    assert_eq!(label(&before), "approved");

    let after = clinic.book("billed", "ada").await;
    assert_eq!(label(&after), "requested");
    assert!(said(clinic.act(&after, "pay").await, 409).contains("after its approval"));
    let after = clinic.act(&after, "confirm").await.expect(200).json();
    assert_eq!(label(&after), "pending-payment");
    let page = clinic.pay(&after).await;
    clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(303);
    clinic.hear("checkout.session.completed").await;
    assert_eq!(label(&clinic.again(&after).await), "approved");

    let free = clinic.book("free", "ada").await;
    assert_eq!(label(&free), "approved");
    assert!(said(clinic.act(&free, "pay").await, 409).contains("Nothing is to be paid"));
    // A price of nothing is settled without a page.
    let gift = clinic.book("gift", "ada").await;
    let page = clinic.pay(&gift).await;
    assert_eq!(label(&clinic.again(&gift).await), "approved");
    assert_eq!(clinic.get(&page.invoice).await["status"], "balanced");
    assert_eq!(
        clinic.stripe.ask("checkout/sessions").await["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn asked_again_it_is_the_same_page_until_that_is_over() {
    let clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    // Two at once, as by an impatient hand.
    let (first, second) = tokio::join!(clinic.pay(&visit), clinic.pay(&visit));
    assert_eq!(first, second);
    assert_eq!(clinic.pay(&visit).await, first);
    assert_eq!(clinic.all("Invoice").await.len(), 1);
    assert_eq!(clinic.all("ChargeItem").await.len(), 1);

    let expire = format!("checkout/sessions/{}/expire", first.session());
    clinic.stripe.make(&expire, &[]).await.expect(200);
    let third = clinic.pay(&visit).await;
    assert_ne!(third.url, first.url);
    assert_eq!(third.invoice, first.invoice);
    let invoice = clinic.get(&third.invoice).await;
    assert_eq!(identifier(&invoice, "stripe-session"), third.session());
}

#[tokio::test]
async fn what_is_paid_stays_paid_wherever_the_visit_goes() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.settled("quick").await;
    let start = visit["start"].as_str().unwrap();
    let move_to = async |visit: &Value, service: &str, practitioner: &str| {
        let query = format!(
            "Appointment/$find?practitioner=Practitioner/{practitioner}&service=HealthcareService/{service}&start={start}&_count=3"
        );
        let proposal = clinic.all(&query).await.pop().unwrap();
        let to = json!([{"name": "appointment-reference", "valueReference": {"reference": format!("Appointment/{}", id(&proposal))}}]);
        let path = format!("Appointment/{}/$reschedule", id(visit));
        let moved = clinic.operate(&path, to).await.expect(200).json();
        clinic.run_jobs().await;
        moved["entry"][0]["resource"].clone()
    };
    let later = move_to(&visit, "quick", "dora").await;
    assert_eq!((id(&later), label(&later)), (id(&visit), "approved"));

    // Another service, with another practitioner, that asks for approval and then for money.
    let other = move_to(&later, "billed", "emil").await;
    assert_ne!(id(&other), id(&visit));
    assert_eq!(
        (label(&other), &other["supportingInformation"][0]["reference"]),
        ("requested", &json!(page.invoice))
    );
    assert_eq!(label(&clinic.again(&visit).await), "rescheduled");
    clinic.act(&other, "confirm").await.expect(200);
    clinic.run_jobs().await;
    assert_eq!(label(&clinic.again(&other).await), "approved");
    assert!(said(clinic.act(&other, "pay").await, 409).contains("It is paid."));
    assert_eq!(clinic.get(&page.invoice).await["status"], "balanced");
    assert_eq!(clinic.stripe.ask("refunds").await["data"], json!([]));
}

#[tokio::test]
async fn amounts_are_exact_in_every_currency() {
    let clinic = Clinic::open().await;
    for (service, at_stripe, written) in [("yen", 5000, "5000"), ("dinar", 12_350, "12.350")] {
        let (visit, page) = clinic.settled(service).await;
        assert_eq!(label(&visit), "approved", "{service}");
        let session = clinic
            .stripe
            .ask(&format!("checkout/sessions/{}", page.session()))
            .await;
        assert_eq!(session["amount_total"], at_stripe);
        let entries = clinic.entries(&page.invoice).await;
        assert_eq!(entries[0].3, written);
        assert_eq!(
            clinic.get(&page.invoice).await["totalGross"]["value"].to_string(),
            written
        );
    }
}

#[tokio::test]
async fn webhooks_and_pages_do_it_all_by_themselves() {
    let clinic = Clinic::open_with(true).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = clinic.app.app.worker();
    let running = tokio::spawn(async move { worker.run(stopped).await });
    let visit = clinic.book("quick", "ada").await;
    let page = clinic.pay(&visit).await;
    let shown = clinic.app.get(&page.url).answer().await.expect(200).text();
    assert!(
        shown.contains(r#"<label for="card">"#) && shown.contains("1 × Appointment"),
        "{shown}"
    );
    let next = clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(303);
    let back = clinic
        .app
        .get(next.header("location"))
        .answer()
        .await
        .expect(200)
        .text();
    assert!(back.contains("Thank you"), "{back}");
    super::faults::until(|| async { label(&clinic.again(&visit).await) == "approved" }).await;
    assert_eq!(
        Page::of(&json!({"parameter": [
        {"name": "url", "valueUri": page.url}, {"name": "expires", "valueInstant": page.expires.to_string()},
        {"name": "invoice", "valueReference": {"reference": page.invoice}}]})),
        page
    );
    stop.send_replace(true);
    running.await.unwrap();
    // Whatever the webhooks left.
    clinic.run_jobs().await;
    assert_eq!(clinic.entries(&page.invoice).await.len(), 1);
}

#[tokio::test]
async fn the_trail_tells_what_a_payment_did() {
    let clinic = Clinic::open_as(false, |config| {
        config.audit.without_auth = true;
        config.data_dir = clusters_directory().join(format!("{}-{}", std::process::id(), config.listen.port()));
        config.identity.master_key = Vault::new_key().into();
    })
    .await;
    clinic.paid("quick").await;
    let known = clinic.app.trail().await.len();
    clinic.hear("checkout.session.completed").await;
    let events = clinic.app.trail_since(known).await;
    let briefs: Vec<String> = events.iter().map(brief).collect();
    for step in [
        "create PaymentReconciliation/",
        "create PaymentNotice/",
        "update Invoice/",
        "update ChargeItem/",
        "update Appointment/",
        "update Slot/",
    ] {
        let found = briefs.iter().position(|brief| brief.starts_with(step));
        let event = &events[found.unwrap_or_else(|| panic!("{step} in {briefs:?}"))];
        let agent = &event["agent"][0];
        assert_eq!(
            (&agent["who"]["identifier"]["value"], agent.get("policy")),
            (&json!("payments"), None)
        );
    }
}
