//! Doses, rates and limits.

use std::cmp::Ordering;

use num_rational::BigRational;
use serde_json::Value;

use super::Problem;
use super::timing::Timing;
use super::words::{self, Unit};
use crate::knowledge::fhirpath::values::{Decimal, Quantity};
use crate::prescriptions::names::UCUM;

/// How much is taken at a time.
#[derive(Clone, Debug, Default)]
pub struct Dose {
    /// `1 to 2 tablets`
    pub words: Option<String>,
    /// `tablets`, for the choice of a verb.
    pub unit: Option<String>,
    /// `at 100 mL per hour`
    pub rate: Option<String>,
    /// The most that it allows at a time.
    pub most: Option<Value>,
}

impl Dose {
    pub fn read(dosage: &Value, problems: &mut Vec<Problem>) -> Dose {
        let given = dosage["doseAndRate"].as_array().map_or(&[][..], Vec::as_slice);
        if given.len() > 1 {
            let text = "One dose is one: of an ordered and a calculated one, say the one that holds.";
            problems.push(Problem::new("doseAndRate", text));
        }
        let Some(given) = given.first() else {
            return Dose::default();
        };
        let mut dose = Dose::default();
        if let Some(quantity) = given.get("doseQuantity") {
            dose.words = quantity_words(quantity, "doseAndRate.dose", problems);
            dose.most = Some(quantity.clone());
        }
        if let Some(range) = given.get("doseRange") {
            dose.words = range_words(range, "doseAndRate.dose", problems);
            dose.most = range.get("high").cloned();
        }
        dose.unit = dose
            .most
            .as_ref()
            .and_then(Unit::of)
            .map(|unit| unit.for_number(true).to_owned());
        dose.rate = rate(given, problems);
        dose
    }
}

fn rate(given: &Value, problems: &mut Vec<Problem>) -> Option<String> {
    if let Some(quantity) = given.get("rateQuantity") {
        return quantity_words(quantity, "doseAndRate.rate", problems).map(|words| format!("at {words}"));
    }
    if let Some(range) = given.get("rateRange") {
        return range_words(range, "doseAndRate.rate", problems).map(|words| format!("at {words}"));
    }
    let ratio = given.get("rateRatio")?;
    let amount = quantity_words(&ratio["numerator"], "doseAndRate.rate", problems)?;
    let per = per(&ratio["denominator"], "doseAndRate.rate", problems)?;
    Some(format!("at {amount} per {per}"))
}

/// `hour` of one hour, `4 hours` of four.
fn per(quantity: &Value, element: &'static str, problems: &mut Vec<Problem>) -> Option<String> {
    let value = decimal(&quantity["value"])?;
    let unit = Unit::of(quantity)?;
    match value == Decimal::from(1) {
        true => Some(unit.for_number(true).to_owned()),
        false => quantity_words(quantity, element, problems),
    }
}

/// What is stated as the most that may be taken.
pub fn limits(dosage: &Value) -> Vec<String> {
    let mut ignored = Vec::new();
    let mut limits = Vec::new();
    let mut limit = |quantity: &Value, end: &str| {
        if let Some(words) = quantity_words(quantity, "maxDosePerPeriod", &mut ignored) {
            limits.push(format!("At most {words} {end}."));
        }
    };
    limit(&dosage["maxDosePerAdministration"], "at a time");
    if let Some(ratio) = dosage.get("maxDosePerPeriod") {
        let span = &ratio["denominator"];
        let is_day = decimal(&span["value"]) == Some(Decimal::from(1)) && span["code"] == "d";
        let end = match is_day {
            // From midnight on, or from the last dose? "A day" leaves it open.
            true => Some("in 24 hours".to_owned()),
            false => quantity_words(span, "maxDosePerPeriod", &mut Vec::new()).map(|words| format!("in {words}")),
        };
        if let Some(end) = end {
            limit(&ratio["numerator"], &end);
        }
    }
    limit(&dosage["maxDosePerLifetime"], "in a lifetime");
    limits
}

/// Holds the dose against the limits that stand beside it.
pub fn check_limits(dosage: &Value, dose: &Dose, timing: &Timing, as_needed: bool, problems: &mut Vec<Problem>) {
    let Some(most) = &dose.most else { return };
    let at_a_time = &dosage["maxDosePerAdministration"];
    if compare(most, at_a_time) == Some(Ordering::Greater) {
        let text = "The dose is more than may be taken at a time.";
        problems.push(Problem::new("maxDosePerAdministration", text));
    }
    let (numerator, span) = (
        &dosage["maxDosePerPeriod"]["numerator"],
        &dosage["maxDosePerPeriod"]["denominator"],
    );
    // When needed, the limit is what tells how often at most.
    let (Some(a_day), Some(days), false) = (&timing.times_a_day, days(span), as_needed) else {
        return;
    };
    let Some(value) = decimal(&most["value"]) else { return };
    let planned = value.to_rational() * a_day * days;
    let comparable = compare(most, numerator).is_some();
    let allowed = decimal(&numerator["value"]).map(|value| value.to_rational());
    let in_same_unit = factor(most, numerator).zip(allowed);
    if comparable && in_same_unit.is_some_and(|(factor, allowed)| planned * factor > allowed) {
        let text = "Taken as often as it says, the dose is more than may be taken in that time.";
        problems.push(Problem::new("maxDosePerPeriod", text));
    }
}

/// How much of the second unit one of the first is; `None` where they cannot be compared.
pub fn factor(from: &Value, to: &Value) -> Option<BigRational> {
    let one = Decimal::from(1).to_rational();
    match (ucum(from), ucum(to)) {
        (Some(from), Some(to)) => {
            let unit = Quantity::ucum(Decimal::from(1), from).convert_to(to)?;
            Some(unit.value.to_rational())
        }
        _ => Unit::of(from)?.same(&Unit::of(to)?).then_some(one),
    }
}

/// How the amounts compare; `None` where their units cannot be compared.
pub fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let (left, right) = (decimal(&a["value"])?, decimal(&b["value"])?);
    let factor = factor(a, b)?;
    (left.to_rational() * factor).partial_cmp(&right.to_rational())
}

fn ucum(quantity: &Value) -> Option<&str> {
    let code = quantity["code"].as_str().filter(|_| quantity["system"] == UCUM)?;
    // Annotations are no units: {tablet} and {capsule} are both 1.
    (!code.contains('{')).then_some(code)
}

/// A span of time in days: only spans of which each is as long as the other.
fn days(quantity: &Value) -> Option<BigRational> {
    let value = decimal(&quantity["value"])?.to_rational();
    let code = quantity["code"].as_str().or(quantity["unit"].as_str())?;
    days_of(code).map(|days| value * days)
}

pub fn days_of(code: &str) -> Option<BigRational> {
    let ratio = |numerator: i64, denominator: i64| BigRational::new(numerator.into(), denominator.into());
    Some(match words::span(code)?.0 {
        "second" => ratio(1, 86_400),
        "minute" => ratio(1, 1440),
        "hour" => ratio(1, 24),
        "day" => ratio(1, 1),
        "week" => ratio(7, 1),
        _ => return None,
    })
}

pub fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => Decimal::parse(&number.to_string()),
        _ => None,
    }
}

/// `2 tablets`, `half a tablet`, `1,000 mg`
pub fn quantity_words(quantity: &Value, element: &'static str, problems: &mut Vec<Problem>) -> Option<String> {
    let value = decimal(&quantity["value"])?;
    if value.is_negative() || value.is_zero() {
        problems.push(Problem::new(element, "An amount is more than nothing."));
        return None;
    }
    let comparator = match quantity["comparator"].as_str() {
        Some("<") => "less than ",
        Some("<=") => "at most ",
        Some(">=") => "at least ",
        Some(">") => "more than ",
        _ => "",
    };
    let Some(unit) = Unit::of(quantity) else {
        return Some(format!("{comparator}{}", number(value)));
    };
    let part = match (unit.is_thing, number(value).as_str()) {
        (true, "0.5") => Some("half a"),
        (true, "0.25") => Some("a quarter of a"),
        (true, "0.75") => Some("three quarters of a"),
        _ => None,
    };
    let one = unit.for_number(true);
    Some(match part {
        Some(part) => format!("{comparator}{part} {one}"),
        None => {
            let name = unit.for_number(value <= Decimal::from(1));
            format!("{comparator}{} {name}", number(value))
        }
    })
}

/// `1 to 2 tablets`
pub fn range_words(range: &Value, element: &'static str, problems: &mut Vec<Problem>) -> Option<String> {
    let (low, high) = (&range["low"], &range["high"]);
    match (low.is_null(), high.is_null()) {
        (false, true) => return quantity_words(low, element, problems).map(|words| format!("at least {words}")),
        (true, false) => return quantity_words(high, element, problems).map(|words| format!("up to {words}")),
        (true, true) => return None,
        (false, false) => {}
    }
    match compare(low, high) {
        Some(Ordering::Less) => {}
        Some(Ordering::Equal) => return quantity_words(high, element, problems),
        Some(Ordering::Greater) => {
            problems.push(Problem::new(element, "A range goes from less to more."));
            return None;
        }
        None => {
            problems.push(Problem::new(element, "Both ends of a range are in the same unit."));
            return None;
        }
    }
    let (from, to) = (
        quantity_words(low, element, problems)?,
        quantity_words(high, element, problems)?,
    );
    match Unit::of(low).zip(Unit::of(high)) {
        Some((a, b)) if a.same(&b) && !from.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Some(format!("{} to {to}", number(decimal(&low["value"])?)))
        }
        _ => Some(format!("{from} to {to}")),
    }
}

/// Without zeros at the end, with commas from a thousand on.
pub fn number(value: Decimal) -> String {
    let text = value.to_string();
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    let (whole, rest) = text
        .split_once('.')
        .map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}
