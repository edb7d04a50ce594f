//! Decimals as text: FHIR's, FHIRPath's and JSON's notation.

use std::fmt;

use num_bigint::BigInt;

use super::{Decimal, MAX_SCALE};

impl Decimal {
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
}
