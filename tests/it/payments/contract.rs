//! The stand-in answers as Stripe does: each of its answers is read by async-stripe's types, and what Stripe refuses it
//! refuses with the same errors.

use std::collections::HashMap;

use medconsult::payments::signature::Secrets;
use serde_json::{Value, json};
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_checkout::CheckoutSessionMode;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
    ExpireCheckoutSession, ListCheckoutSession, ListLineItemsCheckoutSession, RetrieveCheckoutSession,
};
use stripe_core::payment_intent::{
    CancelPaymentIntent, ConfirmPaymentIntent, CreatePaymentIntent, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_core::refund::{CreateRefund, ListRefund, RetrieveRefund};
use stripe_product::price::{CreatePrice, ListPrice, RetrievePrice, UpdatePrice};
use stripe_product::product::{CreateProduct, ListProduct, RetrieveProduct, UpdateProduct};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{DECLINED, KEY, PAYS, SECRET, StandIn};

fn client(stripe: &StandIn, key: &str) -> Client {
    ClientBuilder::new(key).url(stripe.address.as_str()).build().unwrap()
}

/// Status, type and code of an error.
#[track_caller]
fn refused<T>(result: Result<T, StripeError>) -> (u16, String, String) {
    match result {
        Err(StripeError::Stripe(error, status)) => {
            let code = error.code.as_ref().map_or("", |code| code.as_str());
            (status, error.type_.as_str().to_owned(), code.to_owned())
        }
        Err(other) => panic!("not an error of Stripe's: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn error(status: u16, kind: &str, code: &str) -> (u16, String, String) {
    (status, kind.to_owned(), code.to_owned())
}

/// A hundred euros, of which tests need the currency: its type has no name here.
fn euros() -> CreateCheckoutSessionLineItemsPriceData {
    CreateCheckoutSessionLineItemsPriceData {
        currency: "eur".parse().unwrap_or_else(|never| match never {}),
        product: None,
        product_data: None,
        recurring: None,
        tax_behavior: None,
        unit_amount: Some(10_000),
        unit_amount_decimal: None,
    }
}

async fn price(client: &Client) -> String {
    let product = CreateProduct::new("Visit")
        .description("A visit")
        .send(client)
        .await
        .unwrap();
    let request = CreatePrice::new(euros().currency)
        .unit_amount(6000)
        .product(product.id.as_str());
    request.send(client).await.unwrap().id.to_string()
}

fn session(price: &str) -> CreateCheckoutSession {
    let mut line = CreateCheckoutSessionLineItems::new();
    line.price = Some(price.to_owned());
    line.quantity = Some(2);
    CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Payment)
        .line_items(vec![line])
        .metadata(HashMap::from([("a".to_owned(), "b".to_owned())]))
        .success_url("https://clinic.example/done?s={CHECKOUT_SESSION_ID}")
        .cancel_url("https://clinic.example/back")
}

#[tokio::test]
async fn every_answer_is_one_of_stripes() {
    let stripe = StandIn::start(None);
    let client = client(&stripe, KEY);
    // Products and prices.
    let price = price(&client).await;
    let found = RetrievePrice::new(price.as_str()).send(&client).await.unwrap();
    assert_eq!(
        (found.unit_amount, found.currency.to_string().as_str()),
        (Some(6000), "eur")
    );
    let product = found.product.id().to_string();
    let renamed = UpdateProduct::new(product.as_str())
        .name("Long visit")
        .send(&client)
        .await
        .unwrap();
    assert_eq!(renamed.name, "Long visit");
    assert_eq!(
        RetrieveProduct::new(product.as_str()).send(&client).await.unwrap().name,
        "Long visit"
    );
    assert!(
        !UpdatePrice::new(price.as_str())
            .active(false)
            .send(&client)
            .await
            .unwrap()
            .active
    );
    assert_eq!(
        ListPrice::new()
            .product(product.as_str())
            .send(&client)
            .await
            .unwrap()
            .data
            .len(),
        1
    );
    assert_eq!(ListProduct::new().limit(1).send(&client).await.unwrap().data.len(), 1);

    // A session, from its page to its end.
    let inactive = session(&price).send(&client).await;
    assert_eq!(refused(inactive), error(400, "invalid_request_error", ""));
    UpdatePrice::new(price.as_str())
        .active(true)
        .send(&client)
        .await
        .unwrap();
    let open = session(&price).send(&client).await.unwrap();
    assert_eq!(
        (open.amount_total, open.payment_status.as_str()),
        (Some(12_000), "unpaid")
    );
    assert_eq!(open.metadata.as_ref().unwrap()["a"], "b");
    let lines = ListLineItemsCheckoutSession::new(open.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!((lines.data[0].quantity, lines.data[0].amount_total), (Some(2), 12_000));
    let page = open.url.clone().unwrap();
    stripe.fill_in(&page, "1234").await.expect(402);
    stripe.fill_in(&page, DECLINED).await.expect(402);
    let next = stripe.fill_in(&page, PAYS).await.expect(303);
    assert_eq!(
        next.header("location"),
        format!("https://clinic.example/done?s={}", open.id)
    );
    let paid = RetrieveCheckoutSession::new(open.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!(
        (paid.status.unwrap().as_str(), paid.payment_status.as_str()),
        ("complete", "paid")
    );
    let intent = paid.payment_intent.unwrap().id().to_string();
    let other = session(&price).send(&client).await.unwrap();
    let over = ExpireCheckoutSession::new(other.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!((over.status.unwrap().as_str(), over.url), ("expired", None));
    let again = ExpireCheckoutSession::new(other.id.clone()).send(&client).await;
    assert_eq!(refused(again), error(400, "invalid_request_error", ""));
    assert_eq!(ListCheckoutSession::new().send(&client).await.unwrap().data.len(), 2);

    // Its payment, and what goes back.
    let found = RetrievePaymentIntent::new(intent.as_str()).send(&client).await.unwrap();
    assert_eq!((found.amount_received, found.status.as_str()), (12_000, "succeeded"));
    let part = CreateRefund::new()
        .payment_intent(intent.as_str())
        .amount(2000)
        .send(&client)
        .await
        .unwrap();
    assert_eq!(
        RetrieveRefund::new(part.id.clone())
            .send(&client)
            .await
            .unwrap()
            .status
            .as_deref(),
        Some("succeeded")
    );
    let much = CreateRefund::new()
        .payment_intent(intent.as_str())
        .amount(10_001)
        .send(&client)
        .await;
    assert_eq!(refused(much), error(400, "invalid_request_error", ""));
    assert_eq!(
        CreateRefund::new()
            .payment_intent(intent.as_str())
            .send(&client)
            .await
            .unwrap()
            .amount,
        10_000
    );
    let more = CreateRefund::new().payment_intent(intent.as_str()).send(&client).await;
    assert_eq!(
        refused(more),
        error(400, "invalid_request_error", "charge_already_refunded")
    );
    assert_eq!(
        ListRefund::new()
            .payment_intent(intent.as_str())
            .send(&client)
            .await
            .unwrap()
            .data
            .len(),
        2
    );

    // Payments without a page.
    let intent = CreatePaymentIntent::new(500, euros().currency)
        .send(&client)
        .await
        .unwrap();
    let declined = ConfirmPaymentIntent::new(intent.id.clone()).payment_method("pm_card_visa_chargeDeclined");
    assert_eq!(
        refused(declined.send(&client).await),
        error(402, "card_error", "card_declined")
    );
    let failed = RetrievePaymentIntent::new(intent.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!(
        failed.last_payment_error.unwrap().decline_code.as_deref(),
        Some("generic_decline")
    );
    let good = ConfirmPaymentIntent::new(intent.id.clone())
        .payment_method("pm_card_visa")
        .send(&client)
        .await
        .unwrap();
    assert_eq!(good.status.as_str(), "succeeded");
    let late = CancelPaymentIntent::new(intent.id.clone()).send(&client).await;
    assert_eq!(
        refused(late),
        error(400, "invalid_request_error", "payment_intent_unexpected_state")
    );
    let dropped = CreatePaymentIntent::new(500, euros().currency)
        .send(&client)
        .await
        .unwrap();
    let dropped = CancelPaymentIntent::new(dropped.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!(dropped.status.as_str(), "canceled");
    assert!(ListPaymentIntent::new().limit(2).send(&client).await.unwrap().has_more);

    // An event holds what it tells of, as it is read otherwise.
    let event = stripe.event("checkout.session.completed").await;
    assert_eq!(
        event["data"]["object"],
        stripe.ask(&format!("checkout/sessions/{}", open.id)).await
    );
    let id = event["id"].as_str().unwrap();
    assert_eq!(stripe.ask(&format!("events/{id}")).await, event);
}

#[tokio::test]
async fn what_stripe_refuses_it_refuses() {
    let stripe = StandIn::start(None);
    let strange = client(&stripe, "sk_test_other");
    assert_eq!(
        refused(ListRefund::new().send(&strange).await),
        error(401, "invalid_request_error", "")
    );
    let client = client(&stripe, KEY);
    let missing = RetrieveCheckoutSession::new("cs_test_none").send(&client).await;
    assert_eq!(
        refused(missing),
        error(404, "invalid_request_error", "resource_missing")
    );
    let price = price(&client).await;
    for expires in [60, 25 * 60 * 60] {
        let expires = now() + expires;
        let refusal = refused(session(&price).expires_at(expires).send(&client).await);
        assert_eq!(refusal, error(400, "invalid_request_error", ""), "{expires}");
    }
    let unknown = stripe
        .make("refunds", &[("payment_intent", "pi_1"), ("colour", "blue")])
        .await
        .expect(400)
        .json();
    assert_eq!(
        (&unknown["error"]["code"], &unknown["error"]["param"]),
        (&json!("parameter_unknown"), &json!("colour"))
    );

    // One key means one request.
    let send = async |price: &str, back: &str| {
        let key = RequestStrategy::Idempotent(IdempotencyKey::new("once").unwrap());
        session(price)
            .cancel_url(back)
            .customize()
            .request_strategy(key)
            .send(&client)
            .await
    };
    let first = send(&price, "https://clinic.example/a").await.unwrap();
    assert_eq!(send(&price, "https://clinic.example/a").await.unwrap().id, first.id);
    let other = send(&price, "https://clinic.example/b").await;
    assert_eq!(refused(other), error(400, "idempotency_error", ""));
    assert_eq!(ListCheckoutSession::new().send(&client).await.unwrap().data.len(), 1);
}

/// Seconds since 1970.
fn now() -> i64 {
    medconsult::base::Clock::system().now().as_second()
}

#[tokio::test]
async fn events_are_told_signed_until_they_are_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stripe = StandIn::start(Some(&format!("http://{address}/hook")));
    stripe.make("products", &[("name", "Visit")]).await.expect(200);
    let mut bodies = Vec::new();
    // The first time nobody understands it, so it comes again.
    for status in ["500 Internal Server Error", "200 OK"] {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let (head, body) = loop {
            connection.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8(request.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if length == Some(body.len()) {
                    break (head.to_owned(), body.to_owned());
                }
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        connection.write_all(answer.as_bytes()).await.unwrap();
        let signature = head
            .lines()
            .find_map(|line| line.strip_prefix("stripe-signature: "))
            .unwrap();
        let now = medconsult::base::Clock::system().now();
        assert!(
            Secrets::new(SECRET).have_signed(signature, body.as_bytes(), now),
            "{signature}"
        );
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1]);
    let event: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["object"]["name"]),
        (&json!("product.created"), &json!("Visit"))
    );
}
