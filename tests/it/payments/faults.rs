//! What goes wrong around a payment: forged, repeated, late, misordered and missing messages, clocks that differ, a visit that
//! is lost while it is being paid, a provider that is away, a server that is killed.

use std::net::TcpListener;
use std::time::Duration;

use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Clinic, KEY, Page, SECRET, StandIn, id, label, practice, said, signature};
use crate::app::Ask;
use crate::faults::{PATIENCE, Server, data_dir};

/// Waits for what other processes do.
pub async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it does not come to pass");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_not_signed_by_stripe_about_now_is_refused() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.paid("quick").await;
    let body = clinic.stripe.event("checkout.session.completed").await.to_string();
    let now = clinic.app.app.clock.now();
    let minutes = |minutes| now + SignedDuration::from_mins(minutes);
    for (wrong, why) in [
        (String::new(), "no signature"),
        (signature("whsec_guessed", now, &body), "another secret"),
        (signature(SECRET, now, "{}"), "another body"),
        (signature(SECRET, minutes(-6), &body), "caught, and sent again later"),
        (signature(SECRET, minutes(6), &body), "from the future"),
        (signature("", now, &body), "an empty secret"),
    ] {
        assert_eq!(clinic.tell(&body, &wrong).await, 400, "{why}");
    }
    let junk = "not an event";
    assert_eq!(clinic.tell(junk, &signature(SECRET, now, junk)).await, 400);
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(clinic.tell(&long, &signature(SECRET, now, &long)).await, 413);
    clinic.run_jobs().await;
    assert_eq!(
        (
            label(&clinic.again(&visit).await),
            clinic.entries(&page.invoice).await.len()
        ),
        ("pending-payment", 0)
    );

    // Clocks may differ by minutes, and the secret of before counts as long as it is named.
    for (right, why) in [
        (signature(SECRET, minutes(-4), &body), "our clock is ahead"),
        (signature(SECRET, minutes(4), &body), "our clock is behind"),
        (signature("whsec_of_before", now, &body), "the secret of before"),
        (
            format!("{},v1={}", signature(SECRET, now, &body), "0".repeat(64)),
            "two signatures",
        ),
    ] {
        assert_eq!(clinic.tell(&body, &right).await, 200, "{why}");
    }
    clinic.run_jobs().await;
    assert_eq!(label(&clinic.again(&visit).await), "approved");
}

#[tokio::test]
async fn messages_come_twice_in_any_order_and_about_strangers() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.settled("quick").await;
    let before = clinic.again(&visit).await["meta"]["versionId"].clone();
    for kind in [
        "checkout.session.completed",
        "payment_intent.succeeded",
        "payment_intent.created",
    ] {
        clinic.hear(kind).await;
    }
    // An event that was overtaken: the page is told to have expired, and a payment to have failed.
    let mut overtaken = clinic.stripe.event("checkout.session.completed").await;
    overtaken["type"] = json!("checkout.session.expired");
    let mut failed = clinic.stripe.event("payment_intent.succeeded").await;
    failed["type"] = json!("payment_intent.payment_failed");
    // A page that is not ours, with a payment that is not: the account is used for other things, too.
    let form = [
        ("mode", "payment"),
        ("success_url", "https://shop.example"),
        ("line_items[0][price_data][currency]", "eur"),
        ("line_items[0][price_data][unit_amount]", "100"),
        ("line_items[0][price_data][product_data][name]", "Coffee"),
        ("client_reference_id", "nobody"),
    ];
    let strange = clinic.stripe.make("checkout/sessions", &form).await.expect(200).json();
    clinic
        .stripe
        .fill_in(strange["url"].as_str().unwrap(), super::PAYS)
        .await
        .expect(303);
    let strange = clinic.stripe.event("checkout.session.completed").await;
    for event in [overtaken, failed, strange.clone(), strange] {
        let body = event.to_string();
        let signature = signature(SECRET, clinic.app.app.clock.now(), &body);
        let (first, second) = tokio::join!(clinic.tell(&body, &signature), clinic.tell(&body, &signature));
        assert_eq!((first.as_u16(), second.as_u16()), (200, 200));
    }
    clinic.run_jobs().await;
    assert_eq!(clinic.again(&visit).await["meta"]["versionId"], before);
    assert_eq!(
        (
            clinic.entries(&page.invoice).await.len(),
            clinic.all("PaymentNotice").await.len()
        ),
        (1, 1)
    );
    assert_eq!(clinic.stripe.ask("refunds").await["data"], json!([]));
    // One of which Stripe itself knows nothing: signed by whoever has the secret. It is looked at again later, and not believed.
    let unknown =
        json!({"id": "evt_x", "type": "checkout.session.completed", "data": {"object": {"id": "cs_test_unknown"}}})
            .to_string();
    assert_eq!(
        clinic
            .tell(&unknown, &signature(SECRET, clinic.app.app.clock.now(), &unknown))
            .await,
        200
    );
    clinic.run_jobs().await;
    assert_eq!(clinic.all("PaymentReconciliation").await.len(), 1);
}

#[tokio::test]
async fn a_webhook_that_never_comes_is_made_up_for() {
    let clinic = Clinic::open().await;
    let (visit, _) = clinic.paid("quick").await;
    clinic.run_scheduled("payments.reconcile").await;
    assert_eq!(label(&clinic.again(&visit).await), "approved");
    // The payer comes back to us sooner than the schedule.
    let (visit, page) = clinic.paid("quick").await;
    for odd in ["", "?session=", "?session=../../x", "?session=cs_test_unknown"] {
        clinic
            .app
            .get(&format!("/payments/return{odd}"))
            .answer()
            .await
            .expect(200);
    }
    clinic
        .app
        .get(&format!("/payments/return?session={}", page.session()))
        .answer()
        .await
        .expect(200);
    clinic.run_jobs().await;
    assert_eq!(label(&clinic.again(&visit).await), "approved");
}

#[tokio::test]
async fn a_visit_cancelled_while_it_is_being_paid_costs_nothing() {
    let clinic = Clinic::open().await;
    // The page is still open: it is closed.
    let open = clinic.book("quick", "ada").await;
    let page = clinic.pay(&open).await;
    clinic.act(&open, "cancel").await.expect(200);
    clinic.run_jobs().await;
    clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(400);
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(
        (&invoice["status"], clinic.entries(&page.invoice).await.len()),
        (&json!("cancelled"), 0)
    );
    let charge = invoice["lineItem"][0]["chargeItemReference"]["reference"]
        .as_str()
        .unwrap();
    assert_eq!(clinic.get(charge).await["status"], "aborted");
    assert!(said(clinic.act(&open, "pay").await, 409).contains("It is cancelled"));

    // The card was charged a moment before: everything goes back, whichever of the two is heard of first.
    for hears_of_payment_first in [false, true] {
        let (paid, page) = clinic.paid("late").await;
        clinic.act(&paid, "cancel").await.expect(200);
        match hears_of_payment_first {
            false => clinic.run_jobs().await,
            true => clinic.hear("checkout.session.completed").await,
        }
        clinic.hear("checkout.session.completed").await;
        assert_eq!(label(&clinic.again(&paid).await), "rejected");
        let amounts: Vec<(String, String)> = clinic
            .entries(&page.invoice)
            .await
            .into_iter()
            .map(|(kind, _, _, amount)| (kind, amount))
            .collect();
        let expected =
            [("payment", "60.00"), ("adjustment", "60.00")].map(|(kind, amount)| (kind.to_owned(), amount.to_owned()));
        assert_eq!(amounts, expected);
        let invoice = clinic.get(&page.invoice).await;
        assert_eq!(invoice["status"], "cancelled");
    }
    assert_eq!(clinic.stripe.ask("refunds").await["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_late_payment_takes_the_time_if_it_is_still_there() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.paid("quick").await;
    clinic.let_lapse(&visit).await;
    clinic.run_scheduled("scheduling.expire").await;
    let lapsed = clinic.again(&visit).await;
    assert_eq!(label(&lapsed), "payment-expired");
    let visits = clinic
        .all(&format!("Appointment?supporting-info={}", page.invoice))
        .await;
    let anew = visits
        .iter()
        .find(|other| id(other) != id(&visit))
        .expect("it was booked anew");
    assert_eq!((label(anew), &anew["start"]), ("approved", &visit["start"]));
    let replaces = anew["extension"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["url"].as_str().unwrap().ends_with("replaces"));
    assert_eq!(
        replaces.unwrap()["valueReference"]["reference"],
        format!("Appointment/{}", id(&visit))
    );
    assert_eq!(clinic.get(&page.invoice).await["status"], "balanced");
    clinic.hear("checkout.session.completed").await;
    assert_eq!((visits.len(), clinic.entries(&page.invoice).await.len()), (2, 1));
    assert_eq!(clinic.stripe.ask("refunds").await["data"], json!([]));
}

#[tokio::test]
async fn a_late_payment_for_a_lost_time_goes_back_and_says_so() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.paid("quick").await;
    clinic.let_lapse(&visit).await;
    // Somebody else takes the time, before anybody has heard of the payment.
    let start = visit["start"].as_str().unwrap();
    let query = format!(
        "Appointment/$find?practitioner=Practitioner/dora&service=HealthcareService/free&start={start}&_count=1"
    );
    let proposal = clinic.all(&query).await.remove(0);
    let other = clinic.take(id(&proposal), "ben").await;
    assert_eq!((&other["start"], label(&other)), (&visit["start"], "approved"));
    clinic.hear("checkout.session.completed").await;
    assert_eq!(label(&clinic.again(&visit).await), "payment-expired");
    assert_eq!(label(&clinic.again(&other).await), "approved");
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(invoice["status"], "cancelled");
    let said = invoice["cancelledReason"].as_str().unwrap();
    assert!(said.contains("given back"), "{said}");
    let kinds: Vec<String> = clinic
        .entries(&page.invoice)
        .await
        .into_iter()
        .map(|(kind, ..)| kind)
        .collect();
    assert_eq!(kinds, ["payment", "adjustment"]);
    let refunds = clinic.stripe.ask("refunds").await;
    assert_eq!(
        (&refunds["data"][0]["amount"], refunds["data"].as_array().unwrap().len()),
        (&json!(6000), 1)
    );
}

#[tokio::test]
async fn an_unpaid_visit_lapses_and_its_page_closes() {
    let clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    let page = clinic.pay(&visit).await;
    clinic.let_lapse(&visit).await;
    clinic.run_scheduled("scheduling.expire").await;
    assert_eq!(label(&clinic.again(&visit).await), "payment-expired");
    let invoice = clinic.get(&page.invoice).await;
    assert_eq!(
        (&invoice["status"], &invoice["cancelledReason"]),
        (&json!("cancelled"), &json!("It was not paid in time."))
    );
    clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(400);
}

#[tokio::test]
async fn while_the_provider_is_away_nothing_is_charged_and_nothing_is_lost() {
    let mut clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    clinic.stripe.stop();
    assert!(said(clinic.act(&visit, "pay").await, 503).contains("Nothing was charged"));
    let waiting = clinic.again(&visit).await;
    assert_eq!(label(&waiting), "pending-payment");
    // The Invoice is there, so that the next try means the same page.
    assert_eq!(clinic.all("Invoice?status=issued").await.len(), 1);
}

#[tokio::test]
async fn a_server_killed_between_payment_and_booking_books_when_it_is_back() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let stripe = StandIn::start(Some(&format!("http://{address}/payments/stripe")));
    let directory = data_dir();
    let start = async |concurrency: &str| {
        let settings = [
            ("MEDCONSULT_LISTEN", address.as_str()),
            ("MEDCONSULT_PAYMENTS_STRIPE_KEY", KEY),
            ("MEDCONSULT_PAYMENTS_STRIPE_URL", stripe.address.as_str()),
            ("MEDCONSULT_PAYMENTS_WEBHOOK_SECRET", SECRET),
            ("MEDCONSULT_JOBS_CONCURRENCY", concurrency),
            ("MEDCONSULT_FHIR_PROFILES", "false"),
        ];
        Server::start_with(&directory, &settings).await
    };
    // A server that takes webhooks and does nothing about them, so that it dies in between for sure.
    let server = start("0").await;
    for resource in practice() {
        let url = format!(
            "{}/{}/{}",
            server.base,
            resource["resourceType"].as_str().unwrap(),
            id(&resource)
        );
        server.client.put(url).fhir(&resource).answer().await.expect(201);
    }
    let find = format!(
        "{}/Appointment/$find?service=HealthcareService/quick&_count=1",
        server.base
    );
    let found = server.client.get(find).answer().await.expect(200).json();
    let book = json!({"resourceType": "Parameters", "parameter": [
        {"name": "appointment-reference", "valueReference": {"reference": found["entry"][0]["fullUrl"]}},
        {"name": "patient-reference", "valueReference": {"reference": "Patient/ada"}}]});
    let booked = server
        .client
        .post(format!("{}/Appointment/$book", server.base))
        .fhir(&book)
        .answer()
        .await
        .expect(200)
        .json();
    let visit = booked["entry"][0]["resource"].clone();
    let url = format!("{}/Appointment/{}", server.base, id(&visit));
    let page = Page::of(
        &server
            .client
            .post(format!("{url}/$pay"))
            .answer()
            .await
            .expect(200)
            .json(),
    );
    stripe.fill_in(&page.url, super::PAYS).await.expect(303);
    kill_process(Pid::from_raw(server.pid().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    drop(server);

    let server = start("2").await;
    let read = async || -> Value { server.client.get(&url).answer().await.expect(200).json() };
    until(|| async { label(&read().await) == "approved" }).await;
    let invoice = server
        .client
        .get(format!("{}/{}", server.base, page.invoice))
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(invoice["status"], "balanced");
}

#[tokio::test]
async fn a_second_payment_of_one_invoice_goes_back() {
    let clinic = Clinic::open().await;
    let (visit, page) = clinic.settled("quick").await;
    // As if two pages had been open at once.
    let form = [
        ("mode", "payment"),
        ("success_url", "https://clinic.example"),
        ("line_items[0][price_data][currency]", "eur"),
        ("line_items[0][price_data][unit_amount]", "6000"),
        ("line_items[0][price_data][product_data][name]", "Appointment"),
        ("client_reference_id", page.invoice.strip_prefix("Invoice/").unwrap()),
    ];
    let second = clinic.stripe.make("checkout/sessions", &form).await.expect(200).json();
    clinic
        .stripe
        .fill_in(second["url"].as_str().unwrap(), super::PAYS)
        .await
        .expect(303);
    for _ in 0..2 {
        clinic.hear("checkout.session.completed").await;
    }
    let kinds: Vec<String> = clinic
        .entries(&page.invoice)
        .await
        .into_iter()
        .map(|(kind, ..)| kind)
        .collect();
    assert_eq!(kinds, ["payment", "payment", "adjustment"]);
    assert_eq!(clinic.get(&page.invoice).await["status"], "balanced");
    assert_eq!(label(&clinic.again(&visit).await), "approved");
    assert_eq!(clinic.stripe.ask("refunds").await["data"].as_array().unwrap().len(), 1);
}
