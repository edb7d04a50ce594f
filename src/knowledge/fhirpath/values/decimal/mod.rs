//! Decimals that keep their digits (<https://hl7.org/fhir/R4/datatypes.html#decimal>).
//!
//! A FHIR decimal says by its trailing zeros how precisely it was measured, and FHIRPath wants at least 28 digits with 8
//! behind the point. A decimal here is a 128-bit coefficient and a scale: 38 digits, copied rather than allocated.
//! Crates were compared: `rust_decimal` has no room for the exponents that FHIR allows (`1e-245`), `bigdecimal`
//! allocates for every number and takes gigabytes for `1e999999999 + 1`.

mod arithmetic;
mod boundaries;
mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive};

/// Results that do not end are rounded to this many significant digits, or a digit more.
const SIGNIFICANT_DIGITS: u32 = 28;
/// Scales outside ±this are refused, so that no short text can ask for a huge number of digits.
const MAX_SCALE: i32 = 4096;

/// `coefficient × 10^-scale`. The scale is kept as written: `1.50` has scale 2 and prints as `1.50`, but equals `1.5`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    coefficient: i128,
    scale: i32,
}

/// How to drop digits.
#[derive(Clone, Copy)]
enum Rounding {
    /// To the nearest, a half away from zero.
    HalfAwayFromZero,
    TowardsZero,
    Down,
    Up,
}

impl Decimal {
    pub const ZERO: Decimal = Decimal::new(0, 0);
    pub const ONE: Decimal = Decimal::new(1, 0);

    /// `coefficient × 10^-scale`.
    pub const fn new(coefficient: i128, scale: i32) -> Decimal {
        Decimal { coefficient, scale }
    }

    /// Rounds to 38 digits if the coefficient needs more.
    fn from_big(coefficient: BigInt, scale: i32) -> Option<Decimal> {
        if let Some(coefficient) = coefficient.to_i128() {
            return Decimal { coefficient, scale }.in_range();
        }
        let excess = i32::try_from(coefficient.abs().to_string().len()).ok()? - 38;
        // 38 digits may still exceed an i128, whose largest value starts with 17.
        (excess.max(1)..=excess + 1).find_map(|drop| {
            let rounded = round_division(&coefficient, &ten_to(drop as u32)).to_i128()?;
            Decimal {
                coefficient: rounded,
                scale: scale - drop,
            }
            .in_range()
        })
    }

    fn in_range(self) -> Option<Decimal> {
        (self.scale.abs() <= MAX_SCALE).then_some(self)
    }

    pub fn coefficient(&self) -> i128 {
        self.coefficient
    }

    /// Digits behind the point; negative when the number was written with a positive exponent (`1e3` has scale −3).
    pub fn scale(&self) -> i32 {
        self.scale
    }

    pub fn is_zero(&self) -> bool {
        self.coefficient == 0
    }

    pub fn is_negative(&self) -> bool {
        self.coefficient < 0
    }

    /// The integer that this equals: `2.0` is 2. `None` if there is a fraction or it does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        let whole = self.normalized();
        if whole.scale > 0 {
            return None;
        }
        let factor = 10_i128.checked_pow(whole.scale.unsigned_abs())?;
        i64::try_from(whole.coefficient.checked_mul(factor)?).ok()
    }

    pub fn to_f64(&self) -> f64 {
        format!("{}e{}", self.coefficient, -self.scale)
            .parse()
            .unwrap_or(f64::NAN)
    }

    /// The decimal nearest to the first 15 significant digits of `value`; `None` if it is not finite.
    ///
    /// 15 are the digits that an `f64` keeps, so the last bit of a logarithm does not show: `100.log(10)` is 2.
    pub fn from_f64(value: f64) -> Option<Decimal> {
        value
            .is_finite()
            .then(|| Decimal::parse(&format!("{value:.14e}")))?
            .map(|d| d.normalized())
    }

    pub fn to_rational(&self) -> BigRational {
        let coefficient = BigInt::from(self.coefficient);
        let power = ten_to(self.scale.unsigned_abs());
        if self.scale >= 0 {
            BigRational::new(coefficient, power)
        } else {
            BigRational::from_integer(coefficient * power)
        }
    }

    /// Exact when the fraction ends within 28 significant digits, else rounded to 28 or 29; without trailing zeros.
    pub fn from_rational(value: &BigRational) -> Option<Decimal> {
        let magnitude = value.numer().bits() as i64 - value.denom().bits() as i64;
        if magnitude.unsigned_abs() > MAX_SCALE as u64 * 3 {
            return None;
        }
        // log10(2) is about 0.301; one digit to spare for the rounding of this estimate.
        let digits_before_point = (magnitude * 301 / 1000) as i32;
        let scale = SIGNIFICANT_DIGITS as i32 - digits_before_point;
        let scaled = if scale >= 0 {
            round_division(&(value.numer() * ten_to(scale as u32)), value.denom())
        } else {
            round_division(value.numer(), &(value.denom() * ten_to(scale.unsigned_abs())))
        };
        Decimal::from_big(scaled, scale).map(|d| d.normalized())
    }

    /// The same number without trailing zeros behind the point: `1.50` → `1.5`, `100` → `100`, `1e3` → `1e3`.
    fn normalized(self) -> Decimal {
        let Decimal {
            mut coefficient,
            mut scale,
        } = self;
        if coefficient == 0 {
            return Decimal::ZERO;
        }
        while scale > 0 && coefficient % 10 == 0 {
            coefficient /= 10;
            scale -= 1;
        }
        Decimal { coefficient, scale }
    }

    /// The coefficient at a scale at least as large as the present one; `None` when it does not fit.
    fn coefficient_at(&self, scale: i32) -> Option<i128> {
        let shift = u32::try_from(scale.checked_sub(self.scale)?).ok()?;
        if self.coefficient == 0 {
            return Some(0);
        }
        self.coefficient.checked_mul(10_i128.checked_pow(shift)?)
    }

    fn big_coefficient_at(&self, scale: i32) -> BigInt {
        BigInt::from(self.coefficient) * ten_to((scale - self.scale).unsigned_abs())
    }

    /// Drops digits beyond `scale`; a number with fewer is returned as it is.
    fn rescale(self, scale: i32, rounding: Rounding) -> Decimal {
        if self.scale <= scale {
            return self;
        }
        let Some(divisor) = 10_i128.checked_pow((self.scale - scale).unsigned_abs()) else {
            // More digits are dropped than an i128 has: what is left is 0, or ±1 when rounding away from zero.
            let coefficient = match rounding {
                Rounding::Down if self.coefficient < 0 => -1,
                Rounding::Up if self.coefficient > 0 => 1,
                _ => 0,
            };
            return Decimal { coefficient, scale };
        };
        let quotient = self.coefficient / divisor;
        let remainder = self.coefficient % divisor;
        let away = match rounding {
            Rounding::TowardsZero => false,
            Rounding::HalfAwayFromZero => remainder.abs() >= divisor - remainder.abs(),
            Rounding::Down => remainder < 0,
            Rounding::Up => remainder > 0,
        };
        let step = if away { self.coefficient.signum() } else { 0 };
        Decimal {
            coefficient: quotient + step,
            scale,
        }
    }
}

fn ten_to(power: u32) -> BigInt {
    if power == 0 {
        BigInt::one()
    } else {
        BigInt::from(10).pow(power)
    }
}

/// `numerator / denominator` to the nearest integer, a half away from zero; the denominator is positive.
fn round_division(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let doubled: BigInt = numerator.abs() * 2 + denominator;
    let quotient: BigInt = doubled / (denominator * 2);
    if numerator.is_negative() { -quotient } else { quotient }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Decimal::new(i128::from(value), 0)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.coefficient.signum().cmp(&other.coefficient.signum());
        if signs != Ordering::Equal || self.is_zero() {
            return signs;
        }
        let scale = self.scale.max(other.scale);
        match self.coefficient_at(scale).zip(other.coefficient_at(scale)) {
            Some((a, b)) => a.cmp(&b),
            None => self.big_coefficient_at(scale).cmp(&other.big_coefficient_at(scale)),
        }
    }
}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal numbers hash alike: no trailing zeros on either side of the point.
        let Decimal {
            mut coefficient,
            mut scale,
        } = self.normalized();
        while coefficient != 0 && coefficient % 10 == 0 {
            coefficient /= 10;
            scale -= 1;
        }
        (coefficient, scale).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
    }

    #[test]
    fn equality_order_and_hash_are_numeric() {
        assert_eq!(d("1.0"), d("1.00"));
        assert_eq!(d("1e3"), d("1000.000"));
        assert!(d("1e245") > d("9.99e244"));
        assert!(d("-1e-245") < d("0"));
        assert!(d("1e4000") > d("1e-4000"));
        let hash = |value: Decimal| {
            let mut hasher = std::hash::DefaultHasher::new();
            value.hash(&mut hasher);
            std::hash::Hasher::finish(&hasher)
        };
        assert_eq!(hash(d("1000.0")), hash(d("1e3")));
        assert_eq!(hash(d("0.00")), hash(d("0")));
    }
}
