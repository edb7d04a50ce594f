//! Quantities: a decimal with a UCUM unit or a calendar duration's unit (<https://hl7.org/fhirpath/N1/#quantity>).

use std::cmp::Ordering;
use std::fmt;

use num_rational::BigRational;

use super::ucum::Measure;
use super::{CalendarUnit, Decimal};

#[derive(Clone, Debug)]
pub struct Quantity {
    pub value: Decimal,
    pub unit: Unit,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `4 days`. Years and months have no fixed length, so they only compare with each other.
    Calendar(CalendarUnit),
    /// `4 'mg'`; a pure number has the unit `1`. Need not be valid UCUM.
    Ucum(Box<str>),
}

impl Unit {
    /// As UCUM says it. The lengths of year and month are the Julian calendar's mean.
    fn code(&self) -> &str {
        match self {
            Unit::Ucum(code) => code,
            Unit::Calendar(CalendarUnit::Year) => "a",
            Unit::Calendar(CalendarUnit::Month) => "mo",
            Unit::Calendar(CalendarUnit::Week) => "wk",
            Unit::Calendar(CalendarUnit::Day) => "d",
            Unit::Calendar(CalendarUnit::Hour) => "h",
            Unit::Calendar(CalendarUnit::Minute) => "min",
            Unit::Calendar(CalendarUnit::Second) => "s",
            Unit::Calendar(CalendarUnit::Millisecond) => "ms",
        }
    }

    fn measure(&self) -> Option<Measure> {
        Measure::parse(self.code())
    }

    /// A calendar year or month.
    fn is_indefinite(&self) -> bool {
        matches!(self, Unit::Calendar(CalendarUnit::Year | CalendarUnit::Month))
    }

    fn is_one(&self) -> bool {
        *self == Unit::Ucum("1".into())
    }
}

impl Quantity {
    pub fn new(value: Decimal, unit: Unit) -> Quantity {
        Quantity { value, unit }
    }

    /// With a UCUM code, which is not checked here.
    pub fn ucum(value: Decimal, code: &str) -> Quantity {
        Quantity {
            value,
            unit: Unit::Ucum(code.into()),
        }
    }

    /// What `toQuantity()` accepts: `4 days`, `1.5 'mg'`, or a number alone, whose unit is `1`.
    pub fn parse(text: &str) -> Option<Quantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number = text.len()
            - unsigned
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let value = Decimal::parse(&text[..number])?;
        let unit = text[number..].trim_start();
        if unit.is_empty() {
            return Some(Quantity::ucum(value, "1"));
        }
        match unit.strip_prefix('\'') {
            Some(quoted) => {
                let code = quoted
                    .strip_suffix('\'')
                    .filter(|code| !code.is_empty() && !code.contains('\''))?;
                Some(Quantity::ucum(value, code))
            }
            None => Some(Quantity {
                value,
                unit: Unit::Calendar(CalendarUnit::parse(unit)?),
            }),
        }
    }

    /// The measures of both, if the strict rules of `=`, `<` and `+` let them meet.
    fn measures(&self, other: &Quantity) -> Option<(Measure, Measure)> {
        if self.unit.is_indefinite() != other.unit.is_indefinite() {
            return None;
        }
        self.commensurable(other)
    }

    /// The measures of both, if they measure the same kind of thing.
    fn commensurable(&self, other: &Quantity) -> Option<(Measure, Measure)> {
        let (mine, theirs) = (self.unit.measure()?, other.unit.measure()?);
        (mine.dimension() == theirs.dimension()).then_some((mine, theirs))
    }

    /// `<` and `>`. `None` for unknown units and different dimensions, and for calendar years and months against
    /// anything else.
    pub fn compare(&self, other: &Quantity) -> Option<Ordering> {
        if self.unit == other.unit {
            return Some(self.value.cmp(&other.value));
        }
        let (mine, theirs) = self.measures(other)?;
        Some(mine.to_base(self.value)?.cmp(&theirs.to_base(other.value)?))
    }

    /// `=`. `None` where [`compare`](Self::compare) has no answer.
    pub fn equal(&self, other: &Quantity) -> Option<bool> {
        self.compare(other).map(Ordering::is_eq)
    }

    /// `~`: equal when both are rounded to the step of the one with the larger step. Calendar years and months count
    /// with their mean length.
    pub fn equivalent(&self, other: &Quantity) -> bool {
        if self.unit == other.unit {
            return self.value.equivalent(other.value);
        }
        self.equivalent_in_base(other).unwrap_or(false)
    }

    fn equivalent_in_base(&self, other: &Quantity) -> Option<bool> {
        let (mine, theirs) = self.commensurable(other)?;
        let (Some(my_step), Some(their_step)) = (self.step(&mine), other.step(&theirs)) else {
            return Some(mine.to_base(self.value)? == theirs.to_base(other.value)?);
        };
        let (coarse, in_coarse, fine, in_fine) = if my_step >= their_step {
            (self, mine, other, theirs)
        } else {
            (other, theirs, self, mine)
        };
        let converted = Decimal::from_rational(&in_coarse.from_base(in_fine.to_base(fine.value)?)?)?;
        let digits = coarse.value.precision();
        Some(converted.round(digits) == coarse.value.round(digits))
    }

    /// What one more in the last digit means in base units; `None` on a special scale.
    fn step(&self, measure: &Measure) -> Option<BigRational> {
        Some(Decimal::new(1, self.value.scale()).to_rational() * measure.factor()?)
    }

    /// Whether both measure the same kind of thing; `false` for unknown units.
    pub fn comparable(&self, other: &Quantity) -> bool {
        self.commensurable(other).is_some()
    }

    pub fn negate(&self) -> Quantity {
        Quantity {
            value: self.value.negate(),
            unit: self.unit.clone(),
        }
    }

    /// The sum in the smaller of both units. `None` where [`compare`](Self::compare) has no answer, and for readings on
    /// different special scales.
    pub fn add(&self, other: &Quantity) -> Option<Quantity> {
        if self.unit == other.unit {
            return Some(Quantity {
                value: self.value.checked_add(other.value)?,
                unit: self.unit.clone(),
            });
        }
        let (mine, theirs) = self.measures(other)?;
        let (fine, unit) = if mine.factor()? <= theirs.factor()? {
            (&mine, &self.unit)
        } else {
            (&theirs, &other.unit)
        };
        let sum = mine.to_base(self.value)? + theirs.to_base(other.value)?;
        Some(Quantity {
            value: Decimal::from_rational(&fine.from_base(sum)?)?,
            unit: unit.clone(),
        })
    }

    /// As [`add`](Self::add).
    pub fn subtract(&self, other: &Quantity) -> Option<Quantity> {
        self.add(&other.negate())
    }

    /// The product; its unit is written with those of both, or as a power if they measure the same kind of thing:
    /// 2 `cm` × 2 `m` is 400 `cm2`. `None` for unknown and special units, except times a pure number.
    pub fn multiply(&self, other: &Quantity) -> Option<Quantity> {
        if self.unit.is_one() || other.unit.is_one() {
            let unit = if self.unit.is_one() { &other.unit } else { &self.unit };
            return Some(Quantity {
                value: self.value.checked_mul(other.value)?,
                unit: unit.clone(),
            });
        }
        let (code, other_value) = match other.convert_to(self.unit.code()) {
            Some(converted) => (squared(self.unit.code()), converted.value),
            None => (format!("{}.{}", self.unit.code(), other.unit.code()), other.value),
        };
        Quantity::with_known_unit(self.value.checked_mul(other_value)?, &code)
    }

    /// The quotient; 1 for its unit if both measure the same kind of thing, else written with those of both.
    /// `None` for a divisor of zero, and for unknown and special units, except when divided by a pure number.
    pub fn divide(&self, other: &Quantity) -> Option<Quantity> {
        if other.unit.is_one() {
            return Some(Quantity {
                value: self.value.checked_div(other.value)?,
                unit: self.unit.clone(),
            });
        }
        let (mine, theirs) = (self.unit.measure()?, other.unit.measure()?);
        if mine.dimension() == theirs.dimension() {
            let ratio = mine.factor()? / theirs.factor()?;
            let quotient = self.value.checked_div(other.value)?;
            return Some(Quantity::ucum(
                Decimal::from_rational(&(quotient.to_rational() * ratio))?,
                "1",
            ));
        }
        let dividend = if self.unit.is_one() { "" } else { self.unit.code() };
        let divisor = other.unit.code();
        let code = if divisor.contains(['.', '/']) {
            format!("{dividend}/({divisor})")
        } else {
            format!("{dividend}/{divisor}")
        };
        Quantity::with_known_unit(self.value.checked_div(other.value)?, &code)
    }

    fn with_known_unit(value: Decimal, code: &str) -> Option<Quantity> {
        super::ucum::is_valid(code).then(|| Quantity::ucum(value, code))
    }

    /// The same in another UCUM unit. `None` for unknown units and different dimensions.
    pub fn convert_to(&self, code: &str) -> Option<Quantity> {
        let target = Quantity::ucum(self.value, code);
        if self.unit == target.unit {
            return Some(target);
        }
        let (mine, theirs) = self.measures(&target)?;
        let value = theirs.from_base(mine.to_base(self.value)?)?;
        Some(Quantity::ucum(Decimal::from_rational(&value)?, code))
    }

    /// What this adds to a date or time, as a calendar duration. `None` if it is not a duration, or one whose length is
    /// not the calendar's: `'a'` and `'mo'` (<https://hl7.org/fhirpath/N1/#datetime-arithmetic>).
    pub fn as_duration(&self) -> Option<(Decimal, CalendarUnit)> {
        let code = match &self.unit {
            Unit::Calendar(unit) => return Some((self.value, *unit)),
            Unit::Ucum(code) => code,
        };
        // The official suite drops the fraction of UCUM's seconds, though not of the calendar's, and takes the quoted
        // keyword `'month'` for the bare one.
        let unit = match &**code {
            "wk" => CalendarUnit::Week,
            "d" => CalendarUnit::Day,
            "h" => CalendarUnit::Hour,
            "min" => CalendarUnit::Minute,
            "s" => CalendarUnit::Second,
            "ms" => CalendarUnit::Millisecond,
            word => CalendarUnit::parse(word)?,
        };
        Some((self.value.truncate(), unit))
    }
}

/// The square of a unit as UCUM writes it: `cm2`; only a unit of letters can take the exponent directly.
fn squared(code: &str) -> String {
    if code.bytes().all(|b| b.is_ascii_alphabetic()) {
        format!("{code}2")
    } else {
        format!("{code}.{code}")
    }
}

impl fmt::Display for Quantity {
    /// As FHIRPath writes it: `1.5 'mg'`, `1 day`, `4 days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Unit::Ucum(code) => write!(f, "{} '{code}'", self.value),
            Unit::Calendar(unit) => {
                let plural = if self.value == Decimal::ONE { "" } else { "s" };
                write!(f, "{} {}{plural}", self.value, unit.keyword())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"))
    }

    #[test]
    fn text_forms() {
        for text in ["1.50 'mg'", "1 week", "4 days", "-2 '[degF]'"] {
            assert_eq!(q(text).to_string(), text);
        }
        assert_eq!(q("10").to_string(), "10 '1'");
        assert_eq!(q("+1day").to_string(), "1 day");
        for text in ["", "1 wk", "1.a", "'mg'", "1 'mg", "1 ''", "1 'a'b'", "1e3 'mg'", "é"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn equality_converts() {
        let equal = |a, b| q(a).equal(&q(b));
        assert_eq!(equal("4.0000 'g'", "4000.0 'mg'"), Some(true));
        assert_eq!(equal("4 'g'", "4040 'mg'"), Some(false));
        assert_eq!(equal("1 '[in_i]'", "2.54 'cm'"), Some(true));
        assert_eq!(equal("37 'Cel'", "98.6 '[degF]'"), Some(true));
        assert_eq!(equal("1 'g'", "1 'm'"), None);
        assert_eq!(equal("1 'smurf'", "1 'smurf'"), Some(true));
        assert_eq!(equal("1 'smurf'", "1 'g'"), None);
        assert_eq!(q("6 days").compare(&q("1 week")), Some(Ordering::Less));
    }

    #[test]
    fn calendar_durations_meet_definite_ones_below_the_month() {
        let equal = |a, b| q(a).equal(&q(b));
        assert_eq!(equal("7 days", "1 week"), Some(true));
        assert_eq!(equal("7 days", "1 'wk'"), Some(true));
        assert_eq!(equal("1 year", "12 months"), Some(true));
        assert_eq!(equal("1 year", "1 'a'"), None);
        assert_eq!(equal("1 month", "30 days"), None);
        assert!(q("1 year").equivalent(&q("1 'a'")));
        assert!(q("1 year").equivalent(&q("365 days")));
    }

    #[test]
    fn equivalence_rounds_to_the_coarser_step() {
        assert!(q("4 'g'").equivalent(&q("4040 'mg'")));
        assert!(q("4040 'mg'").equivalent(&q("4 'g'")));
        assert!(!q("4.00 'g'").equivalent(&q("4040 'mg'")));
        assert!(!q("4 'g'").equivalent(&q("4 'm'")));
        assert!(q("37 'Cel'").equivalent(&q("98.6 '[degF]'")));
    }

    #[test]
    fn arithmetic_combines_units() {
        assert_eq!(
            q("2.0 'cm'").multiply(&q("2.0 'm'")).unwrap().equal(&q("0.040 'm2'")),
            Some(true)
        );
        assert_eq!(q("4.0 'g'").divide(&q("2.0 'm'")).unwrap().to_string(), "2 'g/m'");
        assert_eq!(q("1.0 'm'").divide(&q("2 'cm'")).unwrap().to_string(), "50 '1'");
        assert_eq!(q("6").divide(&q("2 'mg/mL'")).unwrap().to_string(), "3 '/(mg/mL)'");
        assert_eq!(
            q("2 'mg/mL'").multiply(&q("3 'mg/mL'")).unwrap().to_string(),
            "6 'mg/mL.mg/mL'"
        );
        assert_eq!(q("2 days").multiply(&q("3")).unwrap().to_string(), "6 days");
        assert_eq!(q("3 'm'").add(&q("3 'cm'")).unwrap().to_string(), "303 'cm'");
        assert_eq!(q("1 'g'").subtract(&q("1 'mg'")).unwrap().to_string(), "999 'mg'");
        assert!(q("1 'g'").add(&q("1 'm'")).is_none());
        assert!(q("1 'g'").divide(&q("0 'g'")).is_none());
        assert!(q("1 'Cel'").multiply(&q("1 'm'")).is_none());
    }

    #[test]
    fn conversion() {
        assert_eq!(q("37 'Cel'").convert_to("[degF]").unwrap().to_string(), "98.6 '[degF]'");
        assert_eq!(
            q("1 'kg'").convert_to("[lb_av]").unwrap().value.round(5).to_string(),
            "2.20462"
        );
        assert!(q("1 'kg'").convert_to("m").is_none());
    }

    #[test]
    fn durations_for_dates() {
        assert_eq!(
            q("0.5 seconds").as_duration(),
            Some((Decimal::new(5, 1), CalendarUnit::Second))
        );
        assert_eq!(q("0.5 's'").as_duration(), Some((Decimal::ZERO, CalendarUnit::Second)));
        assert_eq!(q("1 'month'").as_duration(), Some((Decimal::ONE, CalendarUnit::Month)));
        for text in ["1 'a'", "1 'mo'", "1 'cm'", "1"] {
            assert_eq!(q(text).as_duration(), None, "{text}");
        }
    }
}
