//! Units whose readings are not proportional to what they measure: degrees Celsius, pH, bel
//! (<https://ucum.org/ucum#section-Special-Units-on-non-ratio-Scales>).

use num_rational::BigRational;

use crate::knowledge::fhirpath::values::Decimal;

/// How a reading leads to a ratio: a multiple of the unit that the scale is built on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// The ratio is the reading plus this decimal; exact.
    Shifted(&'static str),
    /// Logarithms and the like, to 15 digits.
    Curved {
        ratio: fn(f64) -> f64,
        reading: fn(f64) -> f64,
    },
}

impl Scale {
    pub(super) const SLOPE: Scale = Scale::Curved {
        ratio: |reading| (reading / 100.0).atan(),
        reading: |ratio| ratio.tan() * 100.0,
    };
    pub(super) const DILUTION_10: Scale = Scale::Curved {
        ratio: |reading| 10_f64.powf(-reading),
        reading: |ratio| -ratio.log10(),
    };
    pub(super) const DILUTION_100: Scale = Scale::Curved {
        ratio: |reading| 100_f64.powf(-reading),
        reading: |ratio| -ratio.log(100.0),
    };
    pub(super) const DILUTION_1000: Scale = Scale::Curved {
        ratio: |reading| 1000_f64.powf(-reading),
        reading: |ratio| -ratio.log(1000.0),
    };
    pub(super) const DILUTION_50000: Scale = Scale::Curved {
        ratio: |reading| 50_000_f64.powf(-reading),
        reading: |ratio| -ratio.log(50_000.0),
    };
    pub(super) const NEPER: Scale = Scale::Curved {
        ratio: f64::exp,
        reading: f64::ln,
    };
    pub(super) const BEL: Scale = Scale::Curved {
        ratio: |reading| 10_f64.powf(reading),
        reading: f64::log10,
    };
    /// Of amplitudes, whose square is the power.
    pub(super) const FIELD_BEL: Scale = Scale::Curved {
        ratio: |reading| 10_f64.powf(reading / 2.0),
        reading: |ratio| 2.0 * ratio.log10(),
    };
    pub(super) const BIT: Scale = Scale::Curved {
        ratio: f64::exp2,
        reading: f64::log2,
    };
    pub(super) const SQUARE_ROOT: Scale = Scale::Curved {
        ratio: |reading| reading * reading,
        reading: f64::sqrt,
    };

    pub(super) fn ratio(self, reading: BigRational) -> Option<BigRational> {
        match self {
            Scale::Shifted(shift) => Some(reading + Decimal::parse(shift)?.to_rational()),
            Scale::Curved { ratio, .. } => through_float(&reading, ratio),
        }
    }

    pub(super) fn reading(self, ratio: BigRational) -> Option<BigRational> {
        match self {
            Scale::Shifted(shift) => Some(ratio - Decimal::parse(shift)?.to_rational()),
            Scale::Curved { reading, .. } => through_float(&ratio, reading),
        }
    }
}

fn through_float(value: &BigRational, function: fn(f64) -> f64) -> Option<BigRational> {
    let result = function(Decimal::from_rational(value)?.to_f64());
    Decimal::from_f64(result).map(|decimal| decimal.to_rational())
}
