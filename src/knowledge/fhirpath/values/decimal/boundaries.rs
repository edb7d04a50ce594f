//! How precise a decimal is, and what it may stand for at that precision.

use super::{Decimal, Rounding};

/// Highest precision that a boundary may be asked for (<https://hl7.org/fhirpath/#lowboundaryprecision-integer-decimal--date--datetime--time>).
const MAX_BOUNDARY_DIGITS: i64 = 31;
/// Digits behind the point of a boundary for which no precision is asked.
const DEFAULT_BOUNDARY_DIGITS: i64 = 8;

impl Decimal {
    /// FHIRPath's `precision()`: digits behind the point as written.
    pub fn precision(&self) -> u32 {
        u32::try_from(self.scale).unwrap_or(0)
    }

    /// The least value that would be written as this one, to `digits` behind the point (8 if `None`).
    /// `None` for digits outside 0 to 31 (<https://hl7.org/fhirpath/#lowboundaryprecision-integer-decimal--date--datetime--time>).
    pub fn low_boundary(self, digits: Option<i64>) -> Option<Decimal> {
        self.boundary(digits, Rounding::Down)
    }

    /// The greatest value that would be written as this one; otherwise as [`low_boundary`](Self::low_boundary).
    pub fn high_boundary(self, digits: Option<i64>) -> Option<Decimal> {
        self.boundary(digits, Rounding::Up)
    }

    fn boundary(self, digits: Option<i64>, direction: Rounding) -> Option<Decimal> {
        let digits = digits.unwrap_or(DEFAULT_BOUNDARY_DIGITS);
        if !(0..=MAX_BOUNDARY_DIGITS).contains(&digits) {
            return None;
        }
        let digits = digits as i32;
        let half_step = Decimal::new(5, self.scale + 1);
        // The official suite wants 0 where the wanted precision shows no digit of the number: 0.0034 to one digit.
        let one_step = Decimal::new(1, digits);
        if !self.is_zero() && self.abs().checked_add(half_step)? < one_step {
            return Some(Decimal::new(0, digits));
        }
        let exact = match direction {
            Rounding::Down => self.checked_sub(half_step)?,
            _ => self.checked_add(half_step)?,
        };
        let rounded = exact.rescale(digits, direction);
        Some(Decimal {
            coefficient: rounded.coefficient_at(digits)?,
            scale: digits,
        })
    }

    /// FHIRPath's `~`: equal when rounded to the precision of the less precise, trailing zeros not counted.
    pub fn equivalent(self, other: Decimal) -> bool {
        let scale = self.normalized().scale.min(other.normalized().scale);
        self.rescale(scale, Rounding::HalfAwayFromZero) == other.rescale(scale, Rounding::HalfAwayFromZero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
    }

    #[test]
    fn boundaries_follow_the_official_suite() {
        let low = |text: &str, digits| d(text).low_boundary(digits).map(|b| b.to_string());
        let high = |text: &str, digits| d(text).high_boundary(digits).map(|b| b.to_string());
        assert_eq!(low("1.587", None).unwrap(), "1.58650000");
        assert_eq!(low("1.587", Some(2)).unwrap(), "1.58");
        assert_eq!(low("-1.587", Some(0)).unwrap(), "-2");
        assert_eq!(low("1.587", Some(-1)), None);
        assert_eq!(low("1.587", Some(32)), None);
        assert_eq!(low("1", Some(0)).unwrap(), "0");
        assert_eq!(low("12.500", Some(4)).unwrap(), "12.4995");
        assert_eq!(low("-0.0034", Some(1)).unwrap(), "0.0");
        assert_eq!(high("1.587", Some(2)).unwrap(), "1.59");
        assert_eq!(high("1", Some(0)).unwrap(), "2");
        assert_eq!(high("120", Some(2)).unwrap(), "120.50");
        assert_eq!(high("0.0034", Some(1)).unwrap(), "0.0");
    }

    #[test]
    fn equivalence_rounds_to_the_less_precise() {
        assert!(d("1.2").checked_div(d("1.8")).unwrap().equivalent(d("0.67")));
        assert!(d("1.10").equivalent(d("1.1")));
        assert!(!d("1.1").equivalent(d("1.2")));
    }
}
