//! Checkout sessions (<https://docs.stripe.com/api/checkout/sessions>).

use serde_json::{Value, json};

use crate::answer::{Fault, PAGING, page};
use crate::catalogue;
use crate::form::Form;
use crate::intents;
use crate::shop::{PRICES, SESSIONS, Shop, new_id};

const HALF_AN_HOUR: i64 = 30 * 60;
const DAY: i64 = 24 * 60 * 60;
const MOST_LINES: usize = 100;

/// Most of an item that somebody buys.
const MOST_PIECES: i64 = 999_999;

const KNOWN: [&str; 9] = [
    "mode",
    "client_reference_id",
    "line_items",
    "payment_intent_data",
    "expires_at",
    "success_url",
    "cancel_url",
    "metadata",
    "customer_email",
];

pub fn create(shop: &mut Shop, form: &Form) -> Result<Value, Fault> {
    form.only(&KNOWN)?;
    if form.required("mode")? != "payment" {
        return Err(Fault::invalid(
            "The stand-in knows the mode 'payment' alone.",
            Some("mode"),
        ));
    }
    let success_url = address(form, "success_url")?.ok_or_else(|| {
        Fault::invalid("Missing required param: success_url.", Some("success_url")).with_code("parameter_missing")
    })?;
    let cancel_url = address(form, "cancel_url")?;
    let now = shop.now();
    let expires = form.number("expires_at")?.unwrap_or(now + DAY);
    if !(now + HALF_AN_HOUR..=now + DAY).contains(&expires) {
        let message =
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.";
        return Err(Fault::invalid(message, Some("expires_at")));
    }
    let lines = lines(shop, form)?;
    let total: i64 = lines.iter().filter_map(|line| line["amount_total"].as_i64()).sum();
    let currency = lines[0]["currency"].clone();
    if lines.iter().any(|line| line["currency"] != currency) {
        return Err(Fault::invalid(
            "All line items are in one currency.",
            Some("line_items"),
        ));
    }
    let intent = json!({
        "description": form.text("payment_intent_data/description"),
        "metadata": form.metadata("payment_intent_data/metadata")
    });
    // What a session of this mode never has is left out, where Stripe says null.
    let session = shop.add(
        SESSIONS,
        json!({
            "adaptive_pricing": {"enabled": false},
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
            "cancel_url": cancel_url,
            "client_reference_id": form.text("client_reference_id"),
            "currency": currency,
            "custom_fields": [],
            "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
            "customer_creation": "if_required",
            "customer_email": form.text("customer_email"),
            "expires_at": expires,
            "livemode": false,
            "metadata": form.metadata("metadata"),
            "mode": "payment",
            "payment_intent": null,
            "payment_method_collection": "if_required",
            "payment_method_options": {},
            "payment_method_types": ["card"],
            "payment_status": "unpaid",
            "phone_number_collection": {"enabled": false},
            "shipping_options": [],
            "status": "open",
            "success_url": success_url,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted_page"
        }),
    );
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    let url = format!("{}/c/pay/{id}", shop.address);
    shop.lines.insert(id.clone(), lines);
    // What the payment will be like is nobody's business but the stand-in's.
    shop.intended.insert(id.clone(), intent);
    let session = shop.get_mut(SESSIONS, &id)?;
    session["url"] = json!(url);
    Ok(session.clone())
}

fn address<'f>(form: &'f Form, name: &str) -> Result<Option<&'f str>, Fault> {
    let Some(url) = form.text(name) else {
        return Ok(None);
    };
    match url.starts_with("https://") || url.starts_with("http://") {
        true => Ok(Some(url)),
        false => Err(Fault::invalid("Not a valid URL", Some(name)).with_code("url_invalid")),
    }
}

fn lines(shop: &mut Shop, form: &Form) -> Result<Vec<Value>, Fault> {
    let count = form.at("line_items").and_then(Value::as_array).map_or(0, Vec::len);
    if !(1..=MOST_LINES).contains(&count) {
        return Err(
            Fault::invalid("Missing required param: line_items.", Some("line_items")).with_code("parameter_missing"),
        );
    }
    let mut lines = Vec::new();
    for index in 0..count {
        let at = format!("line_items/{index}");
        let price = match form.text(&format!("{at}/price")) {
            Some(id) => shop.get(PRICES, id)?.clone(),
            None => catalogue::price(shop, form, &format!("{at}/price_data/"))?,
        };
        if price["active"] == false {
            let message = "The price specified is inactive. This field only accepts active prices.";
            return Err(Fault::invalid(message, Some("line_items[price]")));
        }
        let quantity = form.number(&format!("{at}/quantity"))?.unwrap_or(1);
        if !(1..=MOST_PIECES).contains(&quantity) {
            return Err(Fault::invalid("Invalid quantity", Some("line_items[quantity]")));
        }
        let total = price["unit_amount"]
            .as_i64()
            .and_then(|amount| amount.checked_mul(quantity));
        let total = total.ok_or_else(|| Fault::invalid("The amount is too large.", Some("line_items")))?;
        let product = price["product"].as_str().unwrap_or_default();
        let name = shop.get(crate::shop::PRODUCTS, product)?["name"].clone();
        lines.push(json!({
            "id": new_id("li_"),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": total,
            "amount_tax": 0,
            "amount_total": total,
            "currency": price["currency"],
            "description": name,
            "price": price,
            "quantity": quantity
        }));
    }
    Ok(lines)
}

pub fn line_items(shop: &Shop, id: &str, form: &Form) -> Result<Value, Fault> {
    form.only(&PAGING)?;
    shop.get(SESSIONS, id)?;
    let lines = shop.lines.get(id).map_or(&[][..], Vec::as_slice);
    page(form, &format!("/v1/checkout/sessions/{id}/line_items"), lines.iter())
}

pub fn expire(shop: &mut Shop, id: &str) -> Result<Value, Fault> {
    let session = shop.get_mut(SESSIONS, id)?;
    if session["status"] != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of {}.",
            session["status"]
        );
        return Err(Fault::invalid(&message, None));
    }
    session["status"] = json!("expired");
    session["url"] = Value::Null;
    let session = session.clone();
    shop.tell("checkout.session.expired", &session);
    Ok(session)
}

/// Ends the sessions whose time has come.
pub fn close_what_is_over(shop: &mut Shop) {
    let now = shop.now();
    let over = shop.all(SESSIONS).iter();
    let over = over.filter(|session| session["status"] == "open" && session["expires_at"].as_i64() <= Some(now));
    let over: Vec<String> = over
        .filter_map(|session| session["id"].as_str().map(str::to_owned))
        .collect();
    for id in over {
        // It is open, so it can be ended.
        let _ = expire(shop, &id);
    }
}

/// Pays by a card: where the payer goes next.
///
/// # Errors
/// What the payer is told, when the card is refused or the session is over.
pub fn pay(shop: &mut Shop, id: &str, card: &str) -> Result<String, Fault> {
    let session = shop.get(SESSIONS, id)?.clone();
    if session["status"] != "open" {
        return Err(Fault::invalid("This page is over.", None));
    }
    let intent = match session["payment_intent"].as_str() {
        Some(intent) => intent.to_owned(),
        None => {
            let intended = shop.intended.get(id).cloned().unwrap_or_default();
            let (amount, currency) = (session["amount_total"].as_i64(), session["currency"].as_str());
            let (amount, currency) = (amount.unwrap_or_default(), currency.unwrap_or_default());
            let intent = intents::open(
                shop,
                amount,
                currency,
                intended["description"].as_str(),
                intended["metadata"].clone(),
            );
            shop.get_mut(SESSIONS, id)?["payment_intent"] = intent["id"].clone();
            intent["id"].as_str().unwrap_or_default().to_owned()
        }
    };
    intents::charge(shop, &intent, card)?;
    let session = shop.get_mut(SESSIONS, id)?;
    session["status"] = json!("complete");
    session["payment_status"] = json!("paid");
    session["url"] = Value::Null;
    let session = session.clone();
    shop.tell("checkout.session.completed", &session);
    let next = session["success_url"].as_str().unwrap_or_default();
    Ok(next.replace("{CHECKOUT_SESSION_ID}", id))
}
