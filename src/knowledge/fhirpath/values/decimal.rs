//! Decimals that keep their digits (<https://hl7.org/fhir/R4/datatypes.html#decimal>).
//!
//! A FHIR decimal says by its trailing zeros how precisely it was measured, and FHIRPath wants at least 28 digits with 8
//! behind the point. A decimal here is a 128-bit coefficient and a scale: 38 digits, copied rather than allocated.
//! Crates were compared: `rust_decimal` has no room for the exponents that FHIR allows (`1e-245`), `bigdecimal`
//! allocates for every number and takes gigabytes for `1e999999999 + 1`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive};

/// Results that do not end are rounded to this many significant digits, or a digit more.
const SIGNIFICANT_DIGITS: u32 = 28;
/// Scales outside ±this are refused, so that no short text can ask for a huge number of digits.
const MAX_SCALE: i32 = 4096;
/// Highest precision that a boundary may be asked for (<https://hl7.org/fhirpath/#lowboundaryprecision-integer-decimal--date--datetime--time>).
const MAX_BOUNDARY_DIGITS: i64 = 31;
/// Digits behind the point of a boundary for which no precision is asked.
const DEFAULT_BOUNDARY_DIGITS: i64 = 8;

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

    /// Reads a FHIR or JSON number: sign, digits, fraction, exponent. A leading `+` is allowed, as `toDecimal()` does.
    /// Digits beyond the 38th are rounded. `None` if malformed, or if the exponent is beyond ±4096.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let mut coefficient: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            match coefficient
                .checked_mul(10)
                .and_then(|c| c.checked_add(i128::from(digit - b'0')))
            {
                Some(c) => coefficient = c,
                None => return Decimal::from_long_digits(negative, whole, fraction, scale),
            }
        }
        Decimal {
            coefficient: if negative { -coefficient } else { coefficient },
            scale,
        }
        .in_range()
    }

    fn from_long_digits(negative: bool, whole: &str, fraction: &str, scale: i32) -> Option<Decimal> {
        if scale.abs() > MAX_SCALE || whole.len() + fraction.len() > MAX_SCALE as usize {
            return None;
        }
        let coefficient: BigInt = format!("{whole}{fraction}").parse().ok()?;
        Decimal::from_big(if negative { -coefficient } else { coefficient }, scale)
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

    /// As JSON, with the digits of [`Display`](fmt::Display).
    pub fn to_json_number(&self) -> serde_json::Number {
        // Our own text always is a JSON number; the fallback only spares a panic path.
        self.to_string().parse().unwrap_or_else(|_| serde_json::Number::from(0))
    }
}

fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
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

impl fmt::Display for Decimal {
    /// Plain notation with the digits as written; an exponent only where it would take more than 40 zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_ZEROS: usize = 40;
        let digits = self.coefficient.unsigned_abs().to_string();
        if self.is_negative() {
            f.write_str("-")?;
        }
        let scale = self.scale.unsigned_abs() as usize;
        if self.scale <= 0 {
            return match scale {
                0 => f.write_str(&digits),
                _ if scale > MAX_ZEROS && !self.is_zero() => write!(f, "{digits}e{scale}"),
                _ if self.is_zero() => f.write_str("0"),
                _ => write!(f, "{digits}{:0<scale$}", ""),
            };
        }
        if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            return write!(f, "{whole}.{fraction}");
        }
        if scale - digits.len() > MAX_ZEROS {
            return write!(f, "{digits}e-{scale}");
        }
        write!(f, "0.{digits:0>scale$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
    }

    #[test]
    fn digits_are_kept_as_written() {
        for text in [
            "0",
            "1.50",
            "-0.010",
            "100",
            "0.0000000000000000000000000000000000001",
            "1234567890987654321.0",
        ] {
            assert_eq!(d(text).to_string(), text);
        }
        assert_eq!(d("1e3").to_string(), "1000");
        assert_eq!(d("-1.00000000000000000e-2").to_string(), "-0.0100000000000000000");
        assert_eq!(d("1.0e245").to_json_number().to_string(), "10e+244");
        assert_eq!(d("1.0e-245").to_string(), "10e-246");
    }

    #[test]
    fn malformed_or_boundless_numbers_are_refused() {
        for text in [
            "",
            "-",
            "+",
            ".5",
            "1.",
            "1.a",
            "1e",
            "1e+",
            "--1",
            "1 ",
            "1e99999",
            "1e999999999999",
            "NaN",
            "１",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::parse(&"9".repeat(5000)).is_none());
    }

    #[test]
    fn numbers_longer_than_38_digits_are_rounded() {
        assert_eq!(
            d(&format!("0.{}", "3".repeat(60))).to_string(),
            format!("0.{}", "3".repeat(38))
        );
        assert_eq!(d(&format!("{}.{}", "9".repeat(38), "9".repeat(10))), d("1e38"));
        assert_eq!(d(&i128::MAX.to_string()).to_string(), i128::MAX.to_string());
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
