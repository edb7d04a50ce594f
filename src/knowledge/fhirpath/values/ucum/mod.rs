//! The Unified Code for Units of Measure (<https://ucum.org/ucum>): reads case-sensitive unit expressions, and converts
//! between those that measure the same kind of thing.
//!
//! Factors are fractions of whole numbers, so that `9 [degF]` and `5 K` differ by nothing but the definition.
//! The crate `octofhir-ucum` was considered: it calculates with 28 digits or `f64`, and brings a fuzzy search along.

mod canonical;
mod parse;
mod special;
mod table;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Zero};

use super::Decimal;
pub use canonical::canonical;
use special::Scale;

/// A short text like `[m_e]127.[m_e]127` must not ask for arithmetic with a hundred thousand digits; `10*99` takes 330 bits.
const MAX_FACTOR_BITS: u64 = 4096;

/// What a unit measures: exponents of base units and of arbitrary units. Units convert if theirs are equal.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Dimension {
    base: [i8; table::BASE.len()],
    /// Sorted, without zero exponents.
    arbitrary: Vec<(&'static str, i8)>,
}

/// A unit expression in terms of base units.
#[derive(Clone, Debug)]
pub struct Measure {
    factor: BigRational,
    dimension: Dimension,
    scale: Option<SpecialScale>,
}

#[derive(Clone, Debug)]
struct SpecialScale {
    scale: Scale,
    /// Of a prefix, which multiplies the reading: 10 dB are 1 B.
    prefix: BigRational,
}

/// Whether `code` is a unit expression of UCUM, case-sensitive.
pub fn is_valid(code: &str) -> bool {
    Measure::parse(code).is_some()
}

impl Measure {
    /// `None` if `code` is no unit expression, or combines a special unit such as `Cel` with others.
    pub fn parse(code: &str) -> Option<Measure> {
        parse::parse(code)
    }

    /// A unit atom without exponent: `mg`, `[in_i]`.
    fn of_atom(atom: &str) -> Option<Measure> {
        if let Some(unit) = UNITS.get(atom) {
            return unit.measure().cloned();
        }
        table::PREFIXES.iter().find_map(|(prefix, factor)| {
            let unit = UNITS.get(atom.strip_prefix(prefix)?).filter(|unit| unit.is_metric)?;
            unit.measure()?
                .clone()
                .with_prefix(Decimal::parse(factor)?.to_rational())
        })
    }

    fn number(factor: BigRational) -> Measure {
        Measure {
            factor,
            dimension: Dimension::default(),
            scale: None,
        }
    }

    fn one() -> Measure {
        Measure::number(BigRational::one())
    }

    fn with_prefix(mut self, prefix: BigRational) -> Option<Measure> {
        match &mut self.scale {
            Some(special) => special.prefix = prefix,
            None => self.factor *= prefix,
        }
        Some(self)
    }

    /// `self × other^exponent`. `None` if either is special, an exponent leaves ±127, or the factor gets too long.
    fn times_power(&self, other: &Measure, exponent: i8) -> Option<Measure> {
        let bits = |measure: &Measure| measure.factor.numer().bits() + measure.factor.denom().bits();
        let bits = bits(self) + bits(other) * u64::from(exponent.unsigned_abs());
        if self.scale.is_some() || other.scale.is_some() || bits > MAX_FACTOR_BITS {
            return None;
        }
        let factor = &self.factor * Pow::pow(&other.factor, i32::from(exponent));
        Some(Measure {
            factor,
            dimension: self.dimension.times_power(&other.dimension, exponent)?,
            scale: None,
        })
    }

    pub fn dimension(&self) -> &Dimension {
        &self.dimension
    }

    /// How many times the base units one of this is; `None` for a special unit, where that depends on the reading.
    pub fn factor(&self) -> Option<&BigRational> {
        self.scale.is_none().then_some(&self.factor)
    }

    /// `value` of this in base units. `None` if out of range.
    pub fn to_base(&self, value: Decimal) -> Option<BigRational> {
        let value = value.to_rational();
        match &self.scale {
            None => Some(value * &self.factor),
            Some(special) => Some(special.scale.ratio(value * &special.prefix)? * &self.factor),
        }
    }

    /// The inverse of [`to_base`](Self::to_base).
    pub fn from_base(&self, value: BigRational) -> Option<BigRational> {
        match &self.scale {
            None => Some(value / &self.factor),
            Some(special) => Some(special.scale.reading(value / &self.factor)? / &special.prefix),
        }
    }
}

impl Dimension {
    fn times_power(&self, other: &Dimension, exponent: i8) -> Option<Dimension> {
        let mut product = self.clone();
        for (mine, theirs) in product.base.iter_mut().zip(other.base) {
            *mine = mine.checked_add(theirs.checked_mul(exponent)?)?;
        }
        for &(unit, theirs) in &other.arbitrary {
            let theirs = theirs.checked_mul(exponent)?;
            match product.arbitrary.iter_mut().find(|(mine, _)| *mine == unit) {
                Some((_, mine)) => *mine = mine.checked_add(theirs)?,
                None => product.arbitrary.push((unit, theirs)),
            }
        }
        product.arbitrary.retain(|(_, exponent)| *exponent != 0);
        product.arbitrary.sort_unstable();
        Some(product)
    }
}

impl std::fmt::Display for Dimension {
    /// As a UCUM expression of base and arbitrary units: `m-3.g`; `1` for a pure number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let base = table::BASE.into_iter().zip(self.base);
        let mut separator = "";
        for (unit, exponent) in base
            .chain(self.arbitrary.iter().copied())
            .filter(|(_, exponent)| *exponent != 0)
        {
            write!(f, "{separator}{unit}")?;
            if exponent != 1 {
                write!(f, "{exponent}")?;
            }
            separator = ".";
        }
        if separator.is_empty() { f.write_str("1") } else { Ok(()) }
    }
}

/// A unit of the table; what it is made of is worked out on first use.
struct Unit {
    is_metric: bool,
    definition: Definition,
    measure: OnceLock<Option<Measure>>,
}

enum Definition {
    /// Index into the exponents of a [`Dimension`].
    Base(usize),
    Linear {
        factor: &'static str,
        unit: &'static str,
    },
    Arbitrary(&'static str),
    Special {
        scale: Scale,
        factor: &'static str,
        unit: &'static str,
    },
}

static UNITS: LazyLock<HashMap<&'static str, Unit>> = LazyLock::new(|| {
    let unit = |is_metric, definition| Unit {
        is_metric,
        definition,
        measure: OnceLock::new(),
    };
    let base = table::BASE
        .iter()
        .enumerate()
        .map(|(at, &code)| (code, unit(true, Definition::Base(at))));
    let linear = table::LINEAR
        .iter()
        .map(|&(code, is_metric, factor, of)| (code, unit(is_metric, Definition::Linear { factor, unit: of })));
    let arbitrary = table::ARBITRARY
        .iter()
        .map(|&(code, is_metric)| (code, unit(is_metric, Definition::Arbitrary(code))));
    let special = table::SPECIAL.iter().map(|&(code, is_metric, scale, factor, of)| {
        (
            code,
            unit(
                is_metric,
                Definition::Special {
                    scale,
                    factor,
                    unit: of,
                },
            ),
        )
    });
    base.chain(linear).chain(arbitrary).chain(special).collect()
});

impl Unit {
    fn measure(&self) -> Option<&Measure> {
        self.measure.get_or_init(|| self.definition.measure()).as_ref()
    }
}

impl Definition {
    fn measure(&self) -> Option<Measure> {
        match *self {
            Definition::Base(at) => {
                let mut measure = Measure::one();
                measure.dimension.base[at] = 1;
                Some(measure)
            }
            Definition::Arbitrary(code) => {
                let mut measure = Measure::one();
                measure.dimension.arbitrary.push((code, 1));
                Some(measure)
            }
            Definition::Linear { factor, unit } => {
                Measure::number(Decimal::parse(factor)?.to_rational()).times_power(&Measure::parse(unit)?, 1)
            }
            Definition::Special { scale, factor, unit } => {
                let linear = Definition::Linear { factor, unit }.measure()?;
                Some(Measure {
                    scale: Some(SpecialScale {
                        scale,
                        prefix: BigRational::one(),
                    }),
                    ..linear
                })
            }
        }
    }
}

/// A whole number as a unit: the `100` of `g/100.mL`. Zero cannot be divided by, so it is none.
fn whole_number(digits: &str) -> Option<Measure> {
    let number: BigInt = digits.parse().ok()?;
    (!number.is_zero()).then(|| Measure::number(BigRational::from_integer(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_text(value: &str, code: &str) -> Option<String> {
        let (value, unit) = canonical(Decimal::parse(value).unwrap(), code)?;
        Some(format!("{value} {unit}"))
    }

    #[test]
    fn every_unit_of_the_table_resolves() {
        for (code, unit) in UNITS.iter() {
            assert!(unit.measure().is_some(), "{code}");
        }
        let rows = table::BASE.len() + table::LINEAR.len() + table::ARBITRARY.len() + table::SPECIAL.len();
        assert_eq!(UNITS.len(), rows, "no code stands in the table twice");
    }

    #[test]
    fn units_of_the_laboratory() {
        assert_eq!(canonical_text("5", "mg/dL").unwrap(), "50 m-3.g");
        assert_eq!(canonical_text("1", "mmol/L").unwrap(), "602214076000000000000000 m-3");
        assert_eq!(canonical_text("4.5", "10*3/uL").unwrap(), "4500000000000 m-3");
        assert_eq!(canonical_text("4.5", "10*9/L").unwrap(), "4500000000000 m-3");
        assert_eq!(canonical_text("120", "mm[Hg]").unwrap(), "15998640 m-1.s-2.g");
        assert_eq!(
            canonical_text("70", "{beats}/min").unwrap(),
            "1.1666666666666666666666666667 s-1"
        );
        assert_eq!(canonical_text("3", "m[IU]/L").unwrap(), "3 m-3.[iU]");
        assert_eq!(
            canonical_text("1", "mL/min/{1.73_m2}").unwrap(),
            canonical_text("1", "mL/min").unwrap()
        );
        assert_eq!(canonical_text("50", "%").unwrap(), "0.5 1");
    }

    #[test]
    fn factors_are_exact() {
        assert_eq!(canonical_text("72", "[in_i]").unwrap(), "1.8288 m");
        assert_eq!(canonical_text("185", "[lb_av]").unwrap(), "83914.58845 g");
        assert_eq!(canonical_text("36", "km/h").unwrap(), "10 m.s-1");
        assert_eq!(canonical_text("1", "a").unwrap(), "31557600 s");
    }

    #[test]
    fn readings_of_special_scales() {
        assert_eq!(canonical_text("37", "Cel").unwrap(), "310.15 K");
        assert_eq!(canonical_text("98.6", "[degF]").unwrap(), "310.15 K");
        assert_eq!(canonical_text("20", "dB").unwrap(), "100 1");
        assert_eq!(
            canonical_text("7", "[pH]").unwrap(),
            canonical_text("1e-7", "mol/L").unwrap()
        );
        let celsius = Measure::parse("Cel").unwrap();
        let reading = celsius
            .from_base(Decimal::parse("310.15").unwrap().to_rational())
            .unwrap();
        assert_eq!(Decimal::from_rational(&reading).unwrap().to_string(), "37");
    }

    #[test]
    fn what_is_no_unit() {
        for code in [
            "", "[s]", "mgg", "m/", "m..s", "(m", "m)", "{a", "a}", "m 2", "Cel2", "Cel/min", "k[in_i]", "0", "m/0",
            "10*999", "µg",
        ] {
            assert!(!is_valid(code), "{code}");
        }
        assert!(!is_valid(&"(".repeat(100_000)));
        assert!(!is_valid("m127.m"));
        assert!(!is_valid(&["[m_e]127"; 25].join(".")));
    }
}
