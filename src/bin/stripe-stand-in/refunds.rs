//! Refunds (<https://docs.stripe.com/api/refunds>).

use serde_json::{Value, json};

use crate::answer::Fault;
use crate::cards::{self, Card};
use crate::catalogue::check_amount;
use crate::form::Form;
use crate::shop::{INTENTS, REFUNDS, Shop, new_id};

pub fn create(shop: &mut Shop, form: &Form) -> Result<Value, Fault> {
    form.only(&["payment_intent", "amount", "reason", "metadata"])?;
    let intent = shop.get(INTENTS, form.required("payment_intent")?)?.clone();
    let id = intent["id"].as_str().unwrap_or_default().to_owned();
    let received = intent["amount_received"].as_i64().unwrap_or_default();
    if intent["status"] != "succeeded" {
        let message = "This PaymentIntent does not have a successful charge to refund.";
        return Err(Fault::invalid(message, Some("payment_intent")).with_code("payment_intent_unexpected_state"));
    }
    let good = shop.all(REFUNDS).iter();
    let good = good.filter(|refund| refund["payment_intent"] == id.as_str() && refund["status"] != "failed");
    let gone: i64 = good.filter_map(|refund| refund["amount"].as_i64()).sum();
    let left = received - gone;
    if left <= 0 {
        return Err(Fault::invalid("This charge has already been refunded.", None).with_code("charge_already_refunded"));
    }
    let amount = form.number("amount")?.unwrap_or(left);
    let currency = intent["currency"].as_str().unwrap_or_default();
    check_amount(amount, currency)?;
    if amount > left {
        let message = format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).");
        return Err(Fault::invalid(&message, Some("amount")));
    }
    let refund = shop.add(
        REFUNDS,
        json!({
            "amount": amount,
            "balance_transaction": new_id("txn_"),
            "charge": intent["latest_charge"],
            "currency": intent["currency"],
            "destination_details": null,
            "metadata": form.metadata("metadata"),
            "payment_intent": id,
            "reason": form.text("reason"),
            "receipt_number": null,
            "source_transfer_reversal": null,
            "status": "succeeded",
            "transfer_reversal": null
        }),
    );
    shop.tell("refund.created", &refund);
    let card = shop.cards.get(&id).map(|number| cards::find(number));
    if card == Some(Ok(Card::LosesRefunds)) {
        fail(shop, refund["id"].as_str().unwrap_or_default())?;
    }
    Ok(refund)
}

/// It looked good, and did not arrive.
fn fail(shop: &mut Shop, id: &str) -> Result<(), Fault> {
    let refund = shop.get_mut(REFUNDS, id)?;
    refund["status"] = json!("failed");
    refund["failure_reason"] = json!("expired_or_canceled_card");
    let refund = refund.clone();
    shop.tell("refund.failed", &refund);
    Ok(())
}
