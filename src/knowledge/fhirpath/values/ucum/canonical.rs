//! Quantities in base units, so that those that mean the same are the same.
//!
//! Every quantity that is stored or searched for passes here, and records use the same few units over and over: what a
//! unit is in base units is remembered, and where that is a decimal that ends (`mg/dL`, but not `/min`), a value is
//! converted by one multiplication of whole numbers.

use std::sync::{Arc, LazyLock};

use moka::sync::Cache;

use super::Measure;
use crate::knowledge::fhirpath::values::Decimal;

/// Unit expressions to remember: far more than a clinic uses. Texts that are no units count too.
const REMEMBERED: u64 = 4_096;
/// Longer ones are read anew: no real unit is, and a hostile client must not fill the memory.
const LONGEST_REMEMBERED: usize = 64;

/// `value` in base units, and these as a UCUM expression: 5 `mg/dL` is 50 `m-3.g`. Quantities that mean the same have the
/// same canonical form. `None` for an unknown unit, or a number out of range.
pub fn canonical(value: Decimal, code: &str) -> Option<(Decimal, String)> {
    let unit = Unit::of(code)?;
    let base = unit.exactly(value);
    let base = base.or_else(|| Decimal::from_rational(&unit.measure.to_base(value)?))?;
    Some((base, unit.base.clone()))
}

struct Unit {
    measure: Measure,
    /// How many base units it is, if that is a number of a few digits.
    factor: Option<Decimal>,
    /// The base units.
    base: String,
}

impl Unit {
    fn of(code: &str) -> Option<Arc<Unit>> {
        static UNITS: LazyLock<Cache<Box<str>, Option<Arc<Unit>>>> = LazyLock::new(|| Cache::new(REMEMBERED));
        if let Some(known) = UNITS.get(code) {
            return known;
        }
        let unit = Measure::parse(code).map(|measure| Arc::new(Unit::new(measure)));
        if code.len() <= LONGEST_REMEMBERED {
            UNITS.insert(code.into(), unit.clone());
        }
        unit
    }

    fn new(measure: Measure) -> Unit {
        let factor = measure.factor().and_then(|factor| {
            let decimal = Decimal::from_rational(factor)?;
            (decimal.to_rational() == *factor).then_some(decimal)
        });
        Unit {
            factor,
            base: measure.dimension().to_string(),
            measure,
        }
    }

    /// `value` in base units, where no digit is lost on the way.
    fn exactly(&self, value: Decimal) -> Option<Decimal> {
        value.times_exactly(self.factor?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lead_to_the_same_number() {
        let mut exact = 0;
        for code in [
            "mg/dL", "mmol/L", "mm[Hg]", "[in_i]", "kg", "/min", "Cel", "10*3/uL", "[lb_av]", "a",
        ] {
            let unit = Unit::of(code).unwrap();
            for value in [
                "0",
                "-0.0",
                "7",
                "1.50",
                "-120",
                "1e3",
                "0.000001",
                "99999999999999999999999999",
            ] {
                let value = Decimal::parse(value).unwrap();
                let slowly = Decimal::from_rational(&unit.measure.to_base(value).unwrap()).unwrap();
                if let Some(quickly) = unit.exactly(value) {
                    exact += 1;
                    assert_eq!(quickly, slowly, "{value} {code}");
                }
            }
        }
        assert!(exact > 40, "most of these need no fractions: {exact}");
        assert!(Unit::of("/min").unwrap().factor.is_none(), "a sixtieth does not end");
    }

    #[test]
    fn what_is_no_unit_stays_none_when_it_comes_again() {
        for _ in 0..2 {
            assert_eq!(canonical(Decimal::ONE, "pills"), None);
        }
    }
}
