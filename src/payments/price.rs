//! What a visit costs, and on which terms it is paid and given back: the `booking-policy` of a HealthcareService and the
//! ChargeItemDefinition that it names.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::money::{Currency, Money, decimal};
use super::names::POLICY;
use crate::fhir::extensions::find;
use crate::knowledge::fhirpath::values::Decimal;

/// What a HealthcareService lays down about money.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// The canonical URL of the price; without one, visits cost nothing.
    pub price: Option<String>,
    /// Until how long before the visit a patient who cancels gets everything back.
    cancel_notice: SignedDuration,
    /// How much of it afterwards, in percent.
    late_percent: u32,
}

impl Terms {
    pub fn of(service: &Value) -> Terms {
        let nothing = Value::Null;
        let policy = find(service, POLICY).unwrap_or(&nothing);
        let part = |name| find(policy, name).unwrap_or(&nothing);
        let is_paid = matches!(
            part("payment")["valueCode"].as_str(),
            Some("before-approval" | "after-approval")
        );
        let price = part("price")["valueCanonical"].as_str().filter(|_| is_paid);
        let percent = part("lateRefundPercent")["valueUnsignedInt"].as_u64();
        Terms {
            price: price.map(str::to_owned),
            cancel_notice: duration(&part("cancelNotice")["valueDuration"]).unwrap_or_default(),
            late_percent: percent.map_or(0, |percent| percent.min(100) as u32),
        }
    }

    /// How much a patient gets back, in percent, who cancels at that instant a visit that begins at `start`.
    pub fn refund_percent(&self, start: Option<Timestamp>, at: Timestamp) -> u32 {
        let in_time = start.and_then(|start| start.checked_sub(self.cancel_notice).ok());
        match in_time.is_none_or(|last| at <= last) {
            true => 100,
            false => self.late_percent,
        }
    }
}

/// A Duration in whole minutes, hours, days or weeks, as `booking-policy` has them.
fn duration(duration: &Value) -> Option<SignedDuration> {
    let minutes = match duration["code"].as_str().or_else(|| duration["unit"].as_str())? {
        "min" => 1,
        "h" => 60,
        "d" => 24 * 60,
        "wk" => 7 * 24 * 60,
        _ => return None,
    };
    SignedDuration::try_from_mins(duration["value"].as_i64()?.checked_mul(minutes)?)
}

/// A price, worked out.
#[derive(Clone, Debug)]
pub struct Price {
    /// `Invoice.lineItem.priceComponent`: as the definition has them, with the amount that each comes to.
    pub components: Vec<Value>,
    /// Before taxes.
    pub net: Money,
    pub gross: Money,
}

impl Price {
    /// Works out a ChargeItemDefinition: the base and what is added to it, less what is taken off, and taxes on that. A
    /// `factor` is a part of the base; that of a tax a part of what comes before taxes. Each tax is rounded to what can be
    /// charged.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn of(definition: &Value) -> Result<Price, &'static str> {
        let components = definition["propertyGroup"][0]["priceComponent"].as_array();
        let components = components.ok_or("has no price")?;
        let of_type = |kinds: &'static [&'static str]| {
            components
                .iter()
                .filter(move |component| kinds.iter().any(|kind| component["type"] == *kind))
        };
        let base = of_type(&["base"]).next().ok_or("has no base price")?;
        let base = Money::read(&base["amount"]).ok_or("has no amount that its currency knows")?;
        let currency = base.currency;
        let mut price = Price {
            components: Vec::new(),
            net: base,
            gross: base,
        };
        for component in of_type(&["base", "surcharge", "discount", "deduction"]) {
            let amount = match component["type"] == "base" {
                true => base,
                false => part(component, base)?,
            };
            match component["type"].as_str() {
                Some("surcharge") => price.net = price.net.plus(amount),
                Some("discount" | "deduction") if price.net.covers(amount) => price.net = price.net.less(amount),
                Some("discount" | "deduction") => return Err("takes off more than the price"),
                _ => {}
            }
            price.components.push(with_amount(component, amount));
        }
        price.net = chargeable(price.net, currency)?;
        price.gross = price.net;
        for component in of_type(&["tax"]) {
            let amount = part(component, price.net)?;
            price.gross = price.gross.plus(amount);
            price.components.push(with_amount(component, amount));
        }
        price.gross = chargeable(price.gross, currency)?;
        Ok(price)
    }
}

/// What a component comes to, of `whole` where it is a factor.
fn part(component: &Value, whole: Money) -> Result<Money, &'static str> {
    let fault = "has a part without an amount or a factor, or in another currency";
    let amount = match (component.get("amount"), decimal(&component["factor"])) {
        (Some(amount), _) => Money::read(amount),
        (None, Some(factor)) => decimal(&whole.to_json()["value"])
            .and_then(|whole| whole.times_exactly(factor))
            .and_then(|part| Money::nearest(part, whole.currency)),
        (None, None) => None,
    };
    let amount = amount.filter(|amount| amount.covers(Money::zero(whole.currency)));
    amount.ok_or(fault)
}

fn with_amount(component: &Value, amount: Money) -> Value {
    let mut component = component.clone();
    component["amount"] = amount.to_json();
    component
}

fn chargeable(amount: Money, currency: Currency) -> Result<Money, &'static str> {
    let exact: Option<Decimal> = decimal(&amount.to_json()["value"]);
    let nearest = exact.and_then(|exact| Money::nearest(exact, currency));
    nearest.ok_or("comes to more than can be counted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(components: Value) -> Value {
        json!({"propertyGroup": [{"priceComponent": components}]})
    }

    fn amount(value: &str, currency: &str) -> Value {
        serde_json::from_str(&format!(r#"{{"value": {value}, "currency": "{currency}"}}"#)).unwrap()
    }

    #[test]
    fn a_price_adds_up_exactly() {
        let price = Price::of(&definition(json!([
            {"type": "base", "amount": amount("60.10", "EUR")},
            {"type": "surcharge", "factor": serde_json::from_str::<Value>("0.1").unwrap()},
            {"type": "discount", "amount": amount("5", "EUR")},
            {"type": "tax", "factor": serde_json::from_str::<Value>("0.19").unwrap()},
            {"type": "informational", "amount": amount("3", "EUR")}
        ])))
        .unwrap();
        // 60.10 + 6.01 − 5.00 = 61.11; 19 % of that are 11.6109.
        assert_eq!(price.net.to_json()["value"].to_string(), "61.11");
        assert_eq!(price.gross.to_json()["value"].to_string(), "72.72");
        let amounts: Vec<String> = price
            .components
            .iter()
            .map(|component| component["amount"]["value"].to_string())
            .collect();
        assert_eq!(amounts, ["60.10", "6.01", "5.00", "11.61"]);
    }

    #[test]
    fn a_price_is_one_that_can_be_charged() {
        let base = |value, currency| definition(json!([{"type": "base", "amount": amount(value, currency)}]));
        let gross = |definition| Price::of(&definition).unwrap().gross.at_stripe();
        assert_eq!(gross(base("12.345", "KWD")), Some(12_350));
        assert_eq!(gross(base("5000", "JPY")), Some(5000));
        assert_eq!(gross(base("0", "EUR")), Some(0));
        for wrong in [
            base("500.5", "JPY"),
            definition(json!([{"type": "tax", "amount": amount("1", "EUR")}])),
            definition(
                json!([{"type": "base", "amount": amount("1", "EUR")}, {"type": "tax", "amount": amount("1", "USD")}]),
            ),
            definition(
                json!([{"type": "base", "amount": amount("1", "EUR")}, {"type": "discount", "amount": amount("2", "EUR")}]),
            ),
            definition(json!([{"type": "base", "amount": amount("1", "EUR")}, {"type": "tax"}])),
            json!({}),
        ] {
            assert!(Price::of(&wrong).is_err(), "{wrong}");
        }
    }

    fn service(payment: &str, more: Value) -> Value {
        let mut parts = vec![
            json!({"url": "payment", "valueCode": payment}),
            json!({"url": "price", "valueCanonical": "https://clinic.example/price"}),
        ];
        parts.extend(more.as_array().unwrap().iter().cloned());
        json!({"extension": [{"url": POLICY, "extension": parts}]})
    }

    #[test]
    fn who_cancels_late_gets_a_part_back() {
        let terms = Terms::of(&service(
            "before-approval",
            json!([
                {"url": "cancelNotice", "valueDuration": {"value": 1, "code": "d"}},
                {"url": "lateRefundPercent", "valueUnsignedInt": 40}]),
        ));
        let start: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        for (at, percent) in [
            ("2026-03-01T08:00:00Z", 100),
            ("2026-03-01T08:00:01Z", 40),
            ("2026-03-02T09:00:00Z", 40),
        ] {
            assert_eq!(terms.refund_percent(Some(start), at.parse().unwrap()), percent, "{at}");
        }
        let plain = Terms::of(&service("after-approval", json!([])));
        assert_eq!(
            plain.refund_percent(Some(start), start - SignedDuration::from_secs(1)),
            100
        );
        assert_eq!(
            plain.refund_percent(Some(start), start + SignedDuration::from_secs(1)),
            0
        );
    }

    #[test]
    fn what_costs_nothing_has_no_price() {
        assert_eq!(Terms::of(&service("none", json!([]))).price, None);
        assert_eq!(Terms::of(&json!({})).price, None);
        assert!(Terms::of(&service("after-approval", json!([]))).price.is_some());
    }
}
