//! The grammar of unit expressions (<https://ucum.org/ucum#section-Grammar-of-Units-and-Unit-Terms>).
//!
//! ```text
//! expression = ["/"] term
//! term       = component {("." | "/") component}
//! component  = "(" term ")" | digits [annotation] | atom [exponent] [annotation] | annotation
//! ```

use super::{Measure, whole_number};

/// Longer ones are refused, which also bounds how deeply parentheses nest. The longest in practical use have about 40.
const MAX_LENGTH: usize = 250;

pub(super) fn parse(code: &str) -> Option<Measure> {
    if code.len() > MAX_LENGTH || !code.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let mut parser = Parser { rest: code };
    let measure = if parser.take('/') {
        parser.term(Measure::one(), -1)?
    } else {
        parser.term(Measure::one(), 1)?
    };
    parser.rest.is_empty().then_some(measure)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Components from left to right; the first is multiplied with `start` to the power of `exponent`, ±1.
    fn term(&mut self, start: Measure, exponent: i8) -> Option<Measure> {
        let first = self.component()?;
        // A special unit stands alone, and then is not multiplied at all.
        if exponent == 1 && !self.rest.starts_with(['.', '/']) {
            return Some(first);
        }
        let mut product = start.times_power(&first, exponent)?;
        loop {
            let exponent = if self.take('.') {
                1
            } else if self.take('/') {
                -1
            } else {
                return Some(product);
            };
            product = product.times_power(&self.component()?, exponent)?;
        }
    }

    fn component(&mut self) -> Option<Measure> {
        if self.take('(') {
            let inner = self.term(Measure::one(), 1)?;
            return self.take(')').then_some(inner);
        }
        if self.rest.starts_with('{') {
            self.annotation()?;
            return Some(Measure::one());
        }
        let unit = self.unit()?;
        if self.rest.starts_with('{') {
            self.annotation()?;
        }
        Some(unit)
    }

    /// Comments in braces mean nothing: `{beats}/min` is `/min`.
    fn annotation(&mut self) -> Option<()> {
        let end = self.rest.find('}')?;
        self.rest = &self.rest[end + 1..];
        Some(())
    }

    /// Digits, or an atom with an exponent: `100`, `m2`, `s-1`, `10*3`, `[in_i]`.
    fn unit(&mut self) -> Option<Measure> {
        let mut in_brackets = false;
        let end = self.rest.find(|c| {
            match c {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                _ => {}
            }
            !in_brackets && matches!(c, '.' | '/' | '(' | ')' | '{' | '}')
        });
        let (unit, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let without_digits = unit.trim_end_matches(|c: char| c.is_ascii_digit());
        let atom = without_digits.strip_suffix(['+', '-']).unwrap_or(without_digits);
        let exponent = &unit[atom.len()..];
        match (atom, exponent) {
            ("", digits) => whole_number(digits).filter(|_| without_digits.is_empty()),
            (atom, "") => Measure::of_atom(atom),
            (atom, exponent) => Measure::one().times_power(&Measure::of_atom(atom)?, exponent.parse().ok()?),
        }
    }
}
