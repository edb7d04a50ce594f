//! Amounts of money: whole minor units of a currency, never a float.
//!
//! | currency | ISO 4217 | counted by Stripe in | can be charged |
//! |---|---|---|---|
//! | most | 2 decimals | hundredths | 2 decimals |
//! | JPY, KRW, VND, … | 0 | whole units | 0 |
//! | ISK, UGX | 0 | hundredths, which must be whole units | 0 |
//! | BHD, JOD, KWD, OMR, TND | 3 | thousandths, of which the last digit must be 0 | 2 |
//! | MGA | 2 | whole units | 0 |
//!
//! (ISO 4217, list one; <https://docs.stripe.com/currencies#minor-units>, `#special-cases`.) What Stripe does not charge at
//! all it refuses itself.

use serde_json::{Value, json};

use crate::knowledge::fhirpath::values::Decimal;

/// A currency by its code of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Currency([u8; 3]);

/// Decimals of a currency: by ISO 4217, as Stripe counts, and as it charges.
struct Decimals {
    iso: u32,
    stripe: u32,
    charged: u32,
}

impl Currency {
    /// Three letters, in whichever case: FHIR writes `EUR`, Stripe `eur`.
    pub fn parse(code: &str) -> Option<Currency> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Currency(letters.map(|letter| letter.to_ascii_uppercase())))
    }

    /// As FHIR writes it: `EUR`.
    pub fn code(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    fn decimals(self) -> Decimals {
        let (iso, stripe, charged) = match self.code() {
            "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "VND" | "VUV" | "XAF" | "XOF"
            | "XPF" => (0, 0, 0),
            "ISK" | "UGX" => (0, 2, 0),
            "MGA" => (2, 0, 0),
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => (3, 3, 2),
            _ => (2, 2, 2),
        };
        Decimals { iso, stripe, charged }
    }
}

/// An amount that can be paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    /// In units of ISO 4217: cents, yen, fils.
    minor: i64,
    pub currency: Currency,
}

impl Money {
    pub const fn zero(currency: Currency) -> Money {
        Money { minor: 0, currency }
    }

    /// The nearest amount that can be charged; a half goes away from zero. `None` for what is too much to count.
    pub fn nearest(amount: Decimal, currency: Currency) -> Option<Money> {
        let Decimals { iso, charged, .. } = currency.decimals();
        let rounded = amount.round(charged);
        let minor = rounded.times_exactly(Decimal::new(10_i128.pow(iso), 0))?.to_i64()?;
        Some(Money { minor, currency })
    }

    /// A FHIR Money. `None` where it lacks value or currency, or has more digits than the currency.
    pub fn read(money: &Value) -> Option<Money> {
        let currency = Currency::parse(money["currency"].as_str()?)?;
        let unit = Decimal::new(10_i128.pow(currency.decimals().iso), 0);
        let minor = decimal(&money["value"])?.times_exactly(unit)?.to_i64()?;
        Some(Money { minor, currency })
    }

    /// As FHIR writes it, with all the digits that the currency has.
    pub fn to_json(self) -> Value {
        let value = Decimal::new(self.minor.into(), self.currency.decimals().iso.cast_signed());
        json!({"value": value.to_json_number(), "currency": self.currency.code()})
    }

    /// As Stripe counts it. `None` for an amount that it cannot charge.
    pub fn at_stripe(self) -> Option<i64> {
        let Decimals { iso, stripe, charged } = self.currency.decimals();
        let step = 10_i64.pow(iso.saturating_sub(charged));
        if self.minor % step != 0 {
            return None;
        }
        match stripe.checked_sub(iso) {
            Some(more) => self.minor.checked_mul(10_i64.pow(more)),
            None => Some(self.minor / 10_i64.pow(iso - stripe)),
        }
    }

    /// What Stripe tells. `None` for an amount that the currency does not have.
    pub fn from_stripe(amount: i64, currency: &str) -> Option<Money> {
        let currency = Currency::parse(currency)?;
        let Decimals { iso, stripe, .. } = currency.decimals();
        let minor = match stripe.checked_sub(iso) {
            Some(more) => {
                let unit = 10_i64.pow(more);
                (amount % unit == 0).then_some(amount / unit)?
            }
            None => amount.checked_mul(10_i64.pow(iso - stripe))?,
        };
        Some(Money { minor, currency })
    }

    /// That part of it, as near as it can be charged.
    pub fn percent(self, percent: u32) -> Money {
        let whole = Decimal::new(self.minor.into(), self.currency.decimals().iso.cast_signed());
        let part = whole.times_exactly(Decimal::new(percent.min(100).into(), 2));
        part.and_then(|part| Money::nearest(part, self.currency))
            .map_or(self, |part| if part.minor > self.minor { self } else { part })
    }

    /// What is left of it; nothing where `other` is as much, or of another currency.
    pub fn less(self, other: Money) -> Money {
        let minor = match self.currency == other.currency {
            true => self.minor.saturating_sub(other.minor).max(0),
            false => 0,
        };
        Money { minor, ..self }
    }

    /// Both together; amounts of another currency do not count.
    #[must_use]
    pub fn plus(self, other: Money) -> Money {
        let more = if self.currency == other.currency {
            other.minor
        } else {
            0
        };
        Money {
            minor: self.minor.saturating_add(more),
            ..self
        }
    }

    /// The lesser of two amounts of one currency.
    pub fn at_most(self, other: Money) -> Money {
        Money {
            minor: self.minor.min(other.minor),
            ..self
        }
    }

    pub fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Whether it is of the same currency, and not less.
    pub fn covers(self, other: Money) -> bool {
        self.currency == other.currency && self.minor >= other.minor
    }
}

/// A number of JSON, by its digits.
pub fn decimal(number: &Value) -> Option<Decimal> {
    match number {
        Value::Number(number) => Decimal::parse(number.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Option<Money> {
        Money::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn amounts_are_counted_as_the_currency_has_it() {
        for (text, at_stripe, written) in [
            (r#"{"value": 60, "currency": "EUR"}"#, Some(6000), "60.00"),
            (r#"{"value": 0.1, "currency": "USD"}"#, Some(10), "0.10"),
            (r#"{"value": 1.1e2, "currency": "USD"}"#, Some(11_000), "110.00"),
            (r#"{"value": 5000, "currency": "JPY"}"#, Some(5000), "5000"),
            (r#"{"value": 12.340, "currency": "KWD"}"#, Some(12_340), "12.340"),
            (r#"{"value": 12.345, "currency": "KWD"}"#, None, "12.345"),
            (r#"{"value": 900, "currency": "ISK"}"#, Some(90_000), "900"),
            (r#"{"value": 7000.00, "currency": "MGA"}"#, Some(7000), "7000.00"),
            (r#"{"value": 7000.50, "currency": "MGA"}"#, None, "7000.50"),
        ] {
            let money = money(text).unwrap();
            assert_eq!(money.at_stripe(), at_stripe, "{text}");
            assert_eq!(money.to_json()["value"].to_string(), written);
            if let Some(amount) = at_stripe {
                let code = money.currency.code().to_lowercase();
                assert_eq!(Money::from_stripe(amount, &code), Some(money), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_amount_of_the_currency_is_none() {
        for text in [
            r#"{"value": 60.005, "currency": "EUR"}"#,
            r#"{"value": 500.5, "currency": "JPY"}"#,
            r#"{"value": 1e30, "currency": "EUR"}"#,
            r#"{"value": "60", "currency": "EUR"}"#,
            r#"{"value": 60, "currency": "EURO"}"#,
            r#"{"value": 60}"#,
            r#"{"currency": "EUR"}"#,
        ] {
            assert_eq!(money(text), None, "{text}");
        }
        assert_eq!(Money::from_stripe(50, "isk"), None);
    }

    #[test]
    fn a_part_is_rounded_to_what_can_be_charged() {
        let part = |text: &str, percent| money(text).unwrap().percent(percent).to_json()["value"].to_string();
        assert_eq!(part(r#"{"value": 0.05, "currency": "EUR"}"#, 50), "0.03");
        assert_eq!(part(r#"{"value": 59.99, "currency": "EUR"}"#, 100), "59.99");
        assert_eq!(part(r#"{"value": 59.99, "currency": "EUR"}"#, 0), "0.00");
        assert_eq!(part(r#"{"value": 12.330, "currency": "KWD"}"#, 50), "6.170");
        assert_eq!(part(r#"{"value": 4999, "currency": "JPY"}"#, 50), "2500");
    }

    #[test]
    fn amounts_of_two_currencies_are_not_mixed() {
        let (euros, dollars) = (
            money(r#"{"value": 60, "currency": "EUR"}"#).unwrap(),
            money(r#"{"value": 60, "currency": "USD"}"#).unwrap(),
        );
        assert!(!euros.covers(dollars) && euros.covers(euros));
        assert!(!euros.less(dollars).is_positive() && !euros.less(euros).is_positive());
        assert_eq!(euros.plus(dollars), euros);
    }
}
