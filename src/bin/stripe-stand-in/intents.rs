//! Payments (<https://docs.stripe.com/api/payment_intents>).

use serde_json::{Value, json};

use crate::answer::Fault;
use crate::cards;
use crate::catalogue::check_amount;
use crate::form::Form;
use crate::shop::{INTENTS, Shop, new_id};

pub fn create(shop: &mut Shop, form: &Form) -> Result<Value, Fault> {
    form.only(&[
        "amount",
        "currency",
        "confirm",
        "description",
        "metadata",
        "payment_method",
        "payment_method_types",
    ])?;
    let amount = form.number("amount")?;
    let amount = amount.ok_or_else(|| Fault::invalid("Missing required param: amount.", Some("amount")))?;
    let currency = form.required("currency")?.to_owned();
    check_amount(amount, &currency)?;
    let intent = open(
        shop,
        amount,
        &currency,
        form.text("description"),
        form.metadata("metadata"),
    );
    let id = intent["id"].as_str().unwrap_or_default().to_owned();
    match form.text("payment_method") {
        Some(method) if form.flag("confirm") => charge(shop, &id, method),
        _ => Ok(intent),
    }
}

/// A payment that nobody has tried yet.
pub fn open(shop: &mut Shop, amount: i64, currency: &str, description: Option<&str>, metadata: Value) -> Value {
    let intent = shop.add(
        INTENTS,
        json!({
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "application": null,
            "automatic_payment_methods": null,
            "canceled_at": null,
            "cancellation_reason": null,
            "capture_method": "automatic_async",
            "client_secret": new_id("pi_secret_"),
            "confirmation_method": "automatic",
            "currency": currency,
            "customer": null,
            "description": description,
            "last_payment_error": null,
            "latest_charge": null,
            "livemode": false,
            "metadata": metadata,
            "next_action": null,
            "payment_method": null,
            "payment_method_types": ["card"],
            "processing": null,
            "receipt_email": null,
            "review": null,
            "setup_future_usage": null,
            "shipping": null,
            "statement_descriptor": null,
            "status": "requires_payment_method",
            "transfer_data": null,
            "transfer_group": null
        }),
    );
    shop.tell("payment_intent.created", &intent);
    intent
}

pub fn confirm(shop: &mut Shop, id: &str, form: &Form) -> Result<Value, Fault> {
    form.only(&["payment_method", "return_url"])?;
    let method = form.required("payment_method")?.to_owned();
    charge(shop, id, &method)
}

/// Tries a card, named by its number or its payment method.
pub fn charge(shop: &mut Shop, id: &str, card: &str) -> Result<Value, Fault> {
    let number = cards::number(card);
    let found = cards::find(&number)?;
    let intent = shop.get_mut(INTENTS, id)?;
    if intent["status"] != "requires_payment_method" {
        let message = format!("This PaymentIntent's status is {}.", intent["status"]);
        return Err(Fault::invalid(&message, None).with_code("payment_intent_unexpected_state"));
    }
    intent["latest_charge"] = json!(new_id("ch_"));
    if let Some(refusal) = found.refusal() {
        let mut error = refusal.error.clone();
        error["charge"] = intent["latest_charge"].clone();
        intent["last_payment_error"] = error;
        let intent = intent.clone();
        shop.tell("payment_intent.payment_failed", &intent);
        return Err(refusal.with("payment_intent", Some(intent)));
    }
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent["last_payment_error"] = Value::Null;
    intent["payment_method"] = json!(new_id("pm_"));
    let intent = intent.clone();
    shop.cards.insert(id.to_owned(), number);
    shop.tell("payment_intent.succeeded", &intent);
    Ok(intent)
}

pub fn cancel(shop: &mut Shop, id: &str, form: &Form) -> Result<Value, Fault> {
    form.only(&["cancellation_reason"])?;
    let now = shop.now();
    let intent = shop.get_mut(INTENTS, id)?;
    if intent["status"] != "requires_payment_method" {
        let message = "You cannot cancel this PaymentIntent.";
        return Err(Fault::invalid(message, None).with_code("payment_intent_unexpected_state"));
    }
    intent["status"] = json!("canceled");
    intent["canceled_at"] = json!(now);
    intent["cancellation_reason"] = json!(form.text("cancellation_reason"));
    let intent = intent.clone();
    shop.tell("payment_intent.canceled", &intent);
    Ok(intent)
}
