//! Arithmetic, rounding and functions (<https://hl7.org/fhirpath/N1/#math>).

use num_bigint::BigInt;

use super::{Decimal, Rounding, SIGNIFICANT_DIGITS};

impl Decimal {
    /// Exact unless more than 38 digits are needed, which are then rounded. `None` if out of range.
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale.max(other.scale);
        let exact = self
            .coefficient_at(scale)
            .zip(other.coefficient_at(scale))
            .and_then(|(a, b)| a.checked_add(b));
        match exact {
            Some(coefficient) => Some(Decimal { coefficient, scale }),
            None => Decimal::from_big(self.big_coefficient_at(scale) + other.big_coefficient_at(scale), scale),
        }
    }

    /// As [`checked_add`](Self::checked_add).
    pub fn checked_sub(self, other: Decimal) -> Option<Decimal> {
        self.checked_add(other.negate())
    }

    /// As [`checked_add`](Self::checked_add).
    pub fn checked_mul(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale + other.scale;
        match self.coefficient.checked_mul(other.coefficient) {
            Some(coefficient) => Decimal { coefficient, scale }.in_range(),
            None => Decimal::from_big(BigInt::from(self.coefficient) * other.coefficient, scale),
        }
    }

    /// The product without trailing zeros behind the point; `None` when it has more than 28 digits, where
    /// [`from_rational`](Self::from_rational) would round.
    pub fn times_exactly(self, other: Decimal) -> Option<Decimal> {
        let coefficient = self.coefficient.checked_mul(other.coefficient)?;
        let scale = self.scale + other.scale;
        let product = Decimal { coefficient, scale }.in_range()?.normalized();
        (product.coefficient.unsigned_abs() < 10_u128.pow(SIGNIFICANT_DIGITS)).then_some(product)
    }

    /// Exact when the quotient ends within 28 significant digits, else rounded to 28 or 29. `None` for a divisor of zero.
    pub fn checked_div(self, other: Decimal) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        Decimal::from_rational(&(self.to_rational() / other.to_rational()))
    }

    /// FHIRPath's `div`: the quotient without its fraction. `None` for a divisor of zero.
    pub fn div_truncate(self, other: Decimal) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        let scale = self.scale.max(other.scale);
        match self.coefficient_at(scale).zip(other.coefficient_at(scale)) {
            Some((a, b)) => Some(Decimal::new(a.checked_div(b)?, 0)),
            None => Decimal::from_big(self.big_coefficient_at(scale) / other.big_coefficient_at(scale), 0),
        }
    }

    /// FHIRPath's `mod`: what [`div_truncate`](Self::div_truncate) leaves, with the sign of `self`.
    pub fn remainder(self, other: Decimal) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        let scale = self.scale.max(other.scale);
        match self.coefficient_at(scale).zip(other.coefficient_at(scale)) {
            Some((a, b)) => Some(Decimal {
                coefficient: a.checked_rem(b)?,
                scale,
            }),
            None => Decimal::from_big(self.big_coefficient_at(scale) % other.big_coefficient_at(scale), scale),
        }
    }

    pub fn negate(self) -> Decimal {
        Decimal {
            coefficient: self.coefficient.saturating_neg(),
            scale: self.scale,
        }
    }

    pub fn abs(self) -> Decimal {
        if self.is_negative() { self.negate() } else { self }
    }

    /// The smallest whole number that is not less.
    pub fn ceiling(self) -> Decimal {
        self.rescale(0, Rounding::Up)
    }

    /// The largest whole number that is not greater.
    pub fn floor(self) -> Decimal {
        self.rescale(0, Rounding::Down)
    }

    /// The whole number towards zero.
    pub fn truncate(self) -> Decimal {
        self.rescale(0, Rounding::TowardsZero)
    }

    /// To `decimals` digits behind the point, a half away from zero.
    pub fn round(self, decimals: u32) -> Decimal {
        self.rescale(i32::try_from(decimals).unwrap_or(i32::MAX), Rounding::HalfAwayFromZero)
    }

    /// To 28 significant digits. `None` for a negative number.
    pub fn sqrt(self) -> Option<Decimal> {
        if self.is_negative() {
            return None;
        }
        // √(c·10^-s) with an even s and enough digits that the integer root has all that are wanted.
        let scale = (self.scale + self.scale.rem_euclid(2)).max(0) + 2 * SIGNIFICANT_DIGITS as i32;
        let root = self.big_coefficient_at(scale).sqrt();
        let root = Decimal::from_big(root, scale / 2)?;
        let digits = root.coefficient.checked_ilog10().map_or(1, |log| log as i32 + 1);
        let excess = (digits - SIGNIFICANT_DIGITS as i32).max(0);
        Some(
            root.rescale(root.scale - excess, Rounding::HalfAwayFromZero)
                .normalized(),
        )
    }

    /// e to the power of this, to 15 digits.
    pub fn exp(self) -> Option<Decimal> {
        Decimal::from_f64(self.to_f64().exp())
    }

    /// The natural logarithm, to 15 digits. `None` unless positive.
    pub fn ln(self) -> Option<Decimal> {
        Decimal::from_f64(self.to_f64().ln())
    }

    /// The logarithm to `base`, to 15 digits. `None` unless both are positive.
    pub fn log(self, base: Decimal) -> Option<Decimal> {
        Decimal::from_f64(self.to_f64().log(base.to_f64()))
    }

    /// Exact for a whole exponent as long as 38 digits hold the result, else to 15 digits. `None` if not real.
    pub fn power(self, exponent: Decimal) -> Option<Decimal> {
        if let Some(whole) = exponent.to_i64().and_then(|n| u32::try_from(n).ok()) {
            let exact = self
                .coefficient
                .checked_pow(whole)
                .zip(self.scale.checked_mul(whole as i32));
            if let Some((coefficient, scale)) = exact {
                return Decimal { coefficient, scale }.in_range();
            }
        }
        Decimal::from_f64(self.to_f64().powf(exponent.to_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(d("0.1").checked_add(d("0.2")), Some(d("0.3")));
        assert_eq!(d("1.8").checked_mul(d("1.8")), Some(d("3.24")));
        assert_eq!(
            d("1e30").checked_add(d("1e-30")),
            Some(d("1e30")),
            "38 digits hold either but not both"
        );
        assert_eq!(d("1").checked_div(d("8")).unwrap().to_string(), "0.125");
        assert_eq!(d("4").checked_div(d("2")).unwrap().to_string(), "2");
        assert_eq!(
            d("1.2").checked_div(d("1.8")).unwrap().round(8).to_string(),
            "0.66666667"
        );
        assert_eq!(d("1").checked_div(d("0.0")), None);
        assert_eq!(d("2.2").div_truncate(d("1.8")), Some(d("1")));
        assert_eq!(d("2.2").remainder(d("1.8")), Some(d("0.4")));
        assert_eq!(d("-5").remainder(d("2")), Some(d("-1")));
        assert_eq!(d("1e4000").checked_mul(d("1e4000")), None);
    }

    #[test]
    fn long_products_are_rounded_instead_of_refused() {
        let third = d("0.3333333333333333333333333333333333333");
        let product = third.checked_mul(third).unwrap();
        assert_eq!(product.round(20).to_string(), "0.11111111111111111111");
    }

    #[test]
    fn rounding_goes_by_direction() {
        assert_eq!(d("3.14159").round(3).to_string(), "3.142");
        assert_eq!(d("2.5").round(0), d("3"));
        assert_eq!(d("-2.5").round(0), d("-3"));
        assert_eq!(d("-1.1").ceiling(), d("-1"));
        assert_eq!(d("-2.1").floor(), d("-3"));
        assert_eq!(d("-1.56").truncate(), d("-1"));
        assert_eq!(d("1e-100").ceiling(), d("1"));
        assert_eq!(d("-1e-100").floor(), d("-1"));
    }

    #[test]
    fn functions_of_real_numbers() {
        assert_eq!(d("81").sqrt().unwrap().to_string(), "9");
        assert_eq!(d("2").sqrt().unwrap().to_string(), "1.414213562373095048801688724");
        assert_eq!(d("0.04").sqrt(), Some(d("0.2")));
        assert_eq!(d("1e7").sqrt().unwrap().round(6).to_string(), "3162.277660");
        assert_eq!(d("0").sqrt(), Some(Decimal::ZERO));
        assert_eq!(d("-1").sqrt(), None);
        assert_eq!(d("16").log(d("2")), Some(d("4")));
        assert_eq!(d("1000").log(d("10")), Some(d("3")));
        assert_eq!(d("0").ln(), None);
        assert_eq!(d("2.5").power(d("2")), Some(d("6.25")));
        assert_eq!(d("2").power(d("-1")), Some(d("0.5")));
        assert_eq!(d("-1").power(d("0.5")), None);
        assert_eq!(d("10").power(d("100")), Some(d("1e100")));
    }
}
