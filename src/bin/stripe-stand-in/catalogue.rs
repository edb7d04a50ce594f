//! Products and prices (<https://docs.stripe.com/api/products>, <https://docs.stripe.com/api/prices>).

use serde_json::{Value, json};

use crate::answer::Fault;
use crate::form::Form;
use crate::shop::{Kind, PRICES, PRODUCTS, Shop};

pub fn create_product(shop: &mut Shop, form: &Form) -> Result<Value, Fault> {
    form.only(&["name", "description", "active", "metadata"])?;
    let name = form.required("name")?.to_owned();
    let product = product(shop, &name, form.text("description"), form.metadata("metadata"));
    shop.tell("product.created", &product);
    Ok(product)
}

fn product(shop: &mut Shop, name: &str, description: Option<&str>, metadata: Value) -> Value {
    let now = shop.now();
    shop.add(
        PRODUCTS,
        json!({
            "active": true,
            "default_price": null,
            "description": description,
            "images": [],
            "livemode": false,
            "marketing_features": [],
            "metadata": metadata,
            "name": name,
            "package_dimensions": null,
            "shippable": null,
            "statement_descriptor": null,
            "tax_code": null,
            "type": "service",
            "unit_label": null,
            "updated": now,
            "url": null
        }),
    )
}

pub fn create_price(shop: &mut Shop, form: &Form) -> Result<Value, Fault> {
    form.only(&[
        "currency",
        "unit_amount",
        "product",
        "product_data",
        "nickname",
        "lookup_key",
        "metadata",
    ])?;
    let price = price(shop, form, "")?;
    shop.tell("price.created", &price);
    Ok(price)
}

/// A price out of a form, or out of a part of one (`line_items/0/price_data/`).
pub fn price(shop: &mut Shop, form: &Form, at: &str) -> Result<Value, Fault> {
    let place = |name: &str| format!("{at}{name}");
    let currency = form.required(&place("currency"))?.to_owned();
    let amount = form.number(&place("unit_amount"))?;
    let amount = amount.ok_or_else(|| Fault::invalid("Missing required param: unit_amount.", Some("unit_amount")))?;
    check_amount(amount, &currency)?;
    let product_id = match form.text(&place("product")) {
        Some(id) => shop.get(PRODUCTS, id)?["id"].clone(),
        None => {
            let name = form.required(&place("product_data/name"))?.to_owned();
            product(shop, &name, None, json!({}))["id"].clone()
        }
    };
    Ok(shop.add(
        PRICES,
        json!({
            "active": true,
            "billing_scheme": "per_unit",
            "currency": currency,
            "custom_unit_amount": null,
            "livemode": false,
            "lookup_key": form.text(&place("lookup_key")),
            "metadata": form.metadata(&place("metadata")),
            "nickname": form.text(&place("nickname")),
            "product": product_id,
            "recurring": null,
            "tax_behavior": "unspecified",
            "tiers_mode": null,
            "transform_quantity": null,
            "type": "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": amount.to_string()
        }),
    ))
}

/// What may be changed of a product or a price.
pub fn update(shop: &mut Shop, kind: Kind, id: &str, form: &Form) -> Result<Value, Fault> {
    let texts: &[&str] = match kind == PRODUCTS {
        true => &["name", "description"],
        false => &["nickname", "lookup_key"],
    };
    form.only(&[texts, &["active", "metadata"]].concat())?;
    let now = shop.now();
    let object = shop.get_mut(kind, id)?;
    for name in texts {
        if let Some(text) = form.text(name) {
            object[*name] = json!(text);
        }
    }
    if form.text("active").is_some() {
        object["active"] = json!(form.flag("active"));
    }
    if let (Some(metadata), Value::Object(more)) = (object["metadata"].as_object_mut(), form.metadata("metadata")) {
        metadata.extend(more);
    }
    if kind == PRODUCTS {
        object["updated"] = json!(now);
    }
    let object = object.clone();
    shop.tell(&format!("{}.updated", kind.name), &object);
    Ok(object)
}

/// Refuses amounts that Stripe does not charge (<https://docs.stripe.com/currencies>).
pub fn check_amount(amount: i64, currency: &str) -> Result<(), Fault> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Fault::invalid(
            &format!("Invalid currency: {currency}."),
            Some("currency"),
        ));
    }
    let unit = match currency {
        "bhd" | "jod" | "kwd" | "omr" | "tnd" => 10,
        "isk" | "ugx" => 100,
        _ => 1,
    };
    match amount {
        1.. if amount % unit == 0 => Ok(()),
        1.. => Err(Fault::invalid("Invalid amount for this currency.", Some("amount"))
            .with_code("invalid_charge_amount_no_decimal_compatible")),
        _ => Err(Fault::invalid(
            "The amount must be greater than or equal to the minimum charge amount.",
            Some("amount"),
        )
        .with_code("amount_too_small")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_that_can_be_charged() {
        for (amount, currency) in [(1, "eur"), (12_340, "kwd"), (500, "jpy"), (90_000, "isk")] {
            assert!(check_amount(amount, currency).is_ok(), "{amount} {currency}");
        }
        for (amount, currency) in [
            (0, "eur"),
            (-1, "eur"),
            (12_345, "kwd"),
            (90_050, "isk"),
            (1, "EUR"),
            (1, "euro"),
        ] {
            assert!(check_amount(amount, currency).is_err(), "{amount} {currency}");
        }
    }
}
