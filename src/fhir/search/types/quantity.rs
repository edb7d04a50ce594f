//! Number and quantity parameters (<https://hl7.org/fhir/R4/search.html#number>,
//! <https://hl7.org/fhir/R4/search.html#quantity>).
//!
//! A value is the closed interval `[low, high]`: a point for a number, the ends of a Range, everything below for a
//! Quantity with the comparator `<`, the extremes of a SampledData. A searched number `v` stands, for `eq` and `ne`, for
//! `[a, b)`: half a unit of its last digit to each side (`100` is `[99.5, 100.5)`); the other
//! prefixes take it as exact.
//!
//! | prefix | condition |
//! |---|---|
//! | eq | `low ≥ a ∧ high < b` |
//! | ne | not eq |
//! | gt, lt | `high > v`, `low < v` |
//! | ge | gt, or `low ≥ v ∧ high ≥ v`: an interval that only ends at `v`, such as `<5` or a Range up to 5, is not `ge5` |
//! | le | lt, or `low ≤ v ∧ high ≤ v` |
//! | sa, eb | `low > v`, `high < v` |
//! | ap | `low ≤ v + \|v\|/10 ∧ high ≥ v - \|v\|/10` |
//!
//! **Units.** A quantity makes a row with its code and system as written; one with the human unit, if that differs from
//! the code (`value||unit` matches either); and for a UCUM unit one in base units under [`CANONICAL`], which a search
//! with system UCUM uses: `5|http://unitsofmeasure.org|mg` finds `0.005 g`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, Prefix, split, unescape};
use crate::fhir::search::sql::{Alias, Sql};
use crate::knowledge::fhirpath::values::{Decimal, ucum};

const UCUM: &str = "http://unitsofmeasure.org";
/// System of the rows whose value and unit are converted to UCUM's base units.
pub const CANONICAL: &str = "http://unitsofmeasure.org#base";
/// System of the currencies of Money.
const CURRENCY: &str = "urn:iso:std:iso:4217";

/// One index row, its system not yet interned (`""` is none). The ends are decimals as text, or `±Infinity`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    pub code: Cow<'v, str>,
    pub system: &'v str,
    pub low: String,
    pub high: String,
}

/// Rows of `idx_quantity`, a Vec per column; `low` and `high` are to be cast to `numeric`.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub low: Vec<String>,
    pub high: Vec<String>,
    pub system: Vec<i32>,
    pub code: Vec<String>,
}

/// `[low, high]`; `None` is an open end.
type Interval = (Option<Decimal>, Option<Decimal>);

pub fn index<'v>(param: i16, type_name: &str, value: &'v Value, rows: &mut Vec<Row<'v>>) {
    match type_name {
        "Range" => {
            let (low, high) = (value.get("low"), value.get("high"));
            if let Some(end) = low.or(high) {
                let number = |end: Option<&Value>| end.and_then(|end| decimal(end.get("value")?));
                push(param, (number(low), number(high)), end, rows);
            }
        }
        "SampledData" => {
            if let (Some(extremes), Some(origin)) = (extremes(value), value.get("origin")) {
                push(param, extremes, origin, rows);
            }
        }
        "Money" => {
            if let Some(amount) = value.get("value").and_then(decimal) {
                let currency = value.get("currency").and_then(Value::as_str).unwrap_or_default();
                rows.push(row(
                    param,
                    (Some(amount), Some(amount)),
                    CURRENCY,
                    Cow::Borrowed(currency),
                ));
            }
        }
        _ if value.is_object() => {
            let Some(number) = value.get("value").and_then(decimal) else {
                return;
            };
            let interval = match value.get("comparator").and_then(Value::as_str) {
                Some("<" | "<=") => (None, Some(number)),
                Some(">" | ">=") => (Some(number), None),
                _ => (Some(number), Some(number)),
            };
            push(param, interval, value, rows);
        }
        _ => {
            if let Some(number) = decimal(value) {
                rows.push(row(param, (Some(number), Some(number)), "", Cow::Borrowed("")));
            }
        }
    }
}

/// The rows of an interval in the unit of `quantity`.
fn push<'v>(param: i16, interval: Interval, quantity: &'v Value, rows: &mut Vec<Row<'v>>) {
    let text = |name: &str| quantity.get(name).and_then(Value::as_str).unwrap_or_default();
    let (system, code, unit) = (text("system"), text("code"), text("unit"));
    rows.push(row(param, interval, system, super::key(Cow::Borrowed(code))));
    if !unit.is_empty() && unit != code {
        rows.push(row(param, interval, "", super::key(Cow::Borrowed(unit))));
    }
    if system == UCUM && !code.is_empty() {
        let ends = [interval.0, interval.1].map(|end| end.map(|end| ucum::canonical(end, code)));
        let unit = ends.iter().flatten().flatten().next().map(|(_, unit)| unit.clone());
        // An end that cannot be converted makes the whole interval unfit for comparison.
        if let (Some(unit), [low @ (None | Some(Some(_))), high @ (None | Some(Some(_)))]) = (unit, ends) {
            let value = |end: Option<Option<(Decimal, String)>>| end.flatten().map(|(value, _)| value);
            rows.push(row(param, (value(low), value(high)), CANONICAL, Cow::Owned(unit)));
        }
    }
}

fn row<'v>(param: i16, (low, high): Interval, system: &'v str, code: Cow<'v, str>) -> Row<'v> {
    let low = low.map_or_else(|| "-Infinity".to_owned(), numeric);
    let high = high.map_or_else(|| "Infinity".to_owned(), numeric);
    Row {
        param,
        code,
        system,
        low,
        high,
    }
}

/// A JSON number, if it is of a magnitude that Postgres can store and anything can be measured in.
fn decimal(value: &Value) -> Option<Decimal> {
    let Value::Number(number) = value else { return None };
    parse_decimal(number.as_str())
}

fn parse_decimal(text: &str) -> Option<Decimal> {
    Decimal::parse(text).filter(|decimal| decimal.scale().unsigned_abs() <= 400)
}

/// As Postgres reads it, without an intermediate rounding. Equal numbers have equal texts, so that `5` and `5.0` in one
/// resource make one row: of two, neither would be the first to sort by.
fn numeric(decimal: Decimal) -> String {
    let (mut coefficient, mut exponent) = (decimal.coefficient(), -i64::from(decimal.scale()));
    while coefficient != 0 && coefficient % 10 == 0 {
        coefficient /= 10;
        exponent += 1;
    }
    if coefficient == 0 {
        exponent = 0;
    }
    format!("{coefficient}e{exponent}")
}

/// The smallest and the largest sample, scaled by `factor` and moved by `origin`. Samples that were below or above what
/// the device detects (`L`, `U`) and errors (`E`) have no number.
fn extremes(sampled: &Value) -> Option<Interval> {
    let origin = sampled
        .get("origin")
        .and_then(|origin| decimal(origin.get("value")?))
        .unwrap_or(Decimal::ZERO);
    let factor = sampled.get("factor").and_then(decimal).unwrap_or(Decimal::ONE);
    let samples = sampled.get("data")?.as_str()?.split_ascii_whitespace();
    let measured = samples
        .filter_map(parse_decimal)
        .filter_map(|x| x.checked_mul(factor)?.checked_add(origin));
    let (low, high) = measured.fold((None, None), |(low, high): Interval, x| {
        (
            Some(low.map_or(x, |low| low.min(x))),
            Some(high.map_or(x, |high| high.max(x))),
        )
    });
    low.is_some().then_some((low, high))
}

/// What is asked about the unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unit {
    /// `5.4`: whatever its unit.
    Any,
    /// `5.4||mg`: the code or the human unit.
    Named(String),
    /// `5.4|system|mg`, in a UCUM unit already in base units.
    Coded { system: String, code: String },
}

/// One searched number or quantity. The ends are decimals as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    pub prefix: Prefix,
    pub unit: Unit,
    /// For `eq` and `ne` the implicit precision; for `ap` a tenth to each side; else both are the value.
    pub low: String,
    pub high: String,
}

/// Reads `[prefix]number` of a number parameter.
///
/// # Errors
/// A sentence for the client when this is no number.
pub fn parse_number(text: &str) -> Result<Match, String> {
    let text = unescape(text);
    let (prefix, number) = Prefix::split(&text);
    let number = parse_decimal(number).ok_or(
        "A number to search for has digits, a point and perhaps an exponent (5.40, 1e-3), after an optional prefix \
         eq, ne, gt, lt, ge, le, sa, eb or ap",
    )?;
    searched(prefix, number, Unit::Any, Some)
}

/// Reads `[prefix]number`, `[prefix]number|system|code` or `[prefix]number||unit` of a quantity parameter.
///
/// # Errors
/// A sentence for the client when this is no quantity.
pub fn parse(text: &str) -> Result<Match, String> {
    let parts: Vec<Cow<str>> = split(text, '|').into_iter().map(unescape).collect();
    let (number, unit) = match &parts[..] {
        [number] => (number, Unit::Any),
        [number, system, code] if system.is_empty() && code.is_empty() => (number, Unit::Any),
        [number, system, code] if system.is_empty() => (number, Unit::Named(code.to_string())),
        [number, system, code] if !code.is_empty() => (
            number,
            Unit::Coded {
                system: system.to_string(),
                code: code.to_string(),
            },
        ),
        _ => return Err("A quantity to search for has the form number, number|system|code or number||unit".into()),
    };
    let (prefix, number) = Prefix::split(number);
    let number = parse_decimal(number)
        .ok_or("A quantity to search for begins with a number (5.40, 1e-3), after an optional prefix eq, ne, gt, lt, ge, le, sa, eb or ap")?;
    if let Unit::Coded { system, code } = &unit
        && system == UCUM
        && let Some((_, base)) = ucum::canonical(number, code)
    {
        let canonical = Unit::Coded {
            system: CANONICAL.to_owned(),
            code: base,
        };
        return searched(prefix, number, canonical, |end| {
            ucum::canonical(end, code).map(|(value, _)| value)
        });
    }
    searched(prefix, number, unit, Some)
}

/// `convert` takes an end to the unit that is compared.
fn searched(
    prefix: Prefix,
    number: Decimal,
    unit: Unit,
    convert: impl Fn(Decimal) -> Option<Decimal>,
) -> Result<Match, String> {
    let margin = match prefix {
        Prefix::Eq | Prefix::Ne => implicit_precision(number),
        Prefix::Ap => Decimal::new(number.abs().coefficient(), number.scale() + 1),
        _ => Decimal::ZERO,
    };
    let end = |end: Option<Decimal>| {
        end.and_then(&convert)
            .map(numeric)
            .ok_or("This number is too large to search for")
    };
    Ok(Match {
        prefix,
        unit,
        low: end(number.checked_sub(margin))?,
        high: end(number.checked_add(margin))?,
    })
}

/// Half a unit of the last digit. A single digit with an exponent counts as two digits, since the specification
/// reads `1e2` as `[95, 105)`.
fn implicit_precision(number: Decimal) -> Decimal {
    let scale = if number.scale() < 0 && number.coefficient().abs() < 10 {
        number.scale() + 2
    } else {
        number.scale() + 1
    };
    Decimal::new(5, scale)
}

/// The systems that must be looked up before [`branches`].
pub fn systems(matches: &[Match]) -> impl Iterator<Item = &str> {
    let systems = matches.iter().filter_map(|m| match &m.unit {
        Unit::Coded { system, .. } => Some(system.as_str()),
        _ => None,
    });
    systems.chain([CANONICAL])
}

/// The scans of `idx_quantity` that find any of `matches`. A system that is not in `systems` was never stored.
///
/// The index is by `low`, which a lower bound on `high` alone could not use. Therefore it is searched among all rows by
/// `low`, and among the few true intervals, which have an index of their own.
pub fn branches<'m>(matches: &[Match], systems: &HashMap<String, i32>) -> Vec<Branch<'m>> {
    let mut groups: HashMap<(Prefix, Unit), Vec<&Match>> = HashMap::new();
    for m in matches {
        groups.entry((m.prefix, m.unit.clone())).or_default().push(m);
    }
    let mut branches = Vec::new();
    for ((prefix, unit), group) in groups {
        let Some(unit) = UnitCondition::new(unit, systems) else {
            continue;
        };
        if group.len() > MAX_BRANCHES {
            branches.push(any(prefix, unit, &group));
            continue;
        }
        for m in group {
            if matches!(prefix, Prefix::Gt | Prefix::Ge | Prefix::Ap) {
                branches.push(one(unit.clone(), m.clone(), Some(Part::From)));
                branches.push(one(unit.clone(), m.clone(), Some(Part::Across)));
            } else {
                branches.push(one(unit.clone(), m.clone(), None));
            }
        }
    }
    branches
}

/// A half of a search for `high` above a bound.
#[derive(Clone, Copy)]
enum Part {
    /// `low` lies above as well.
    From,
    /// An interval across the bound.
    Across,
}

fn one<'m>(unit: UnitCondition, m: Match, part: Option<Part>) -> Branch<'m> {
    Branch::new(move |sql, t| {
        unit.write(sql, t);
        match part {
            None => {}
            Some(Part::From) => {
                sql.column(t, ".low >= ")
                    .bind(m.low.clone())
                    .push("::text::numeric AND ");
            }
            Some(Part::Across) => {
                // Said twice: in one way the index on intervals knows it, in the other the statistics on how many there are.
                sql.column(t, ".low <> ").column(t, ".high AND (");
                sql.column(t, ".low <> ").column(t, ".high) IS TRUE AND ");
                sql.column(t, ".low < ")
                    .bind(m.low.clone())
                    .push("::text::numeric AND ");
            }
        }
        let end = |text: &str| {
            let text = text.to_owned();
            move |sql: &mut Sql| _ = sql.bind(text.clone()).push("::text::numeric")
        };
        condition(sql, t, m.prefix, end(&m.low), end(&m.high));
    })
}

/// A long list in one scan.
fn any<'m>(prefix: Prefix, unit: UnitCondition, group: &[&Match]) -> Branch<'m> {
    let (low, high): (Vec<String>, Vec<String>) = group.iter().map(|m| (m.low.clone(), m.high.clone())).unzip();
    Branch {
        joins: Some(Box::new(move |sql, _| {
            sql.push(", unnest(").bind(low.clone()).push("::text[]::numeric[], ");
            sql.bind(high.clone()).push("::text[]::numeric[]) AS v(low, high)");
        })),
        condition: Box::new(move |sql, t| {
            unit.write(sql, t);
            condition(
                sql,
                t,
                prefix,
                |sql| _ = sql.push("v.low"),
                |sql| _ = sql.push("v.high"),
            );
        }),
        is_ordered: false,
    }
}

#[derive(Clone)]
enum UnitCondition {
    /// Every row but those of this system, the converted ones: their numbers are not as written.
    AllBut(i32),
    Named(String, i32),
    Coded(i32, String),
}

impl UnitCondition {
    /// `None` when no row can have this unit.
    fn new(unit: Unit, systems: &HashMap<String, i32>) -> Option<UnitCondition> {
        let converted = systems.get(CANONICAL).copied().unwrap_or(-1);
        Some(match unit {
            Unit::Any => UnitCondition::AllBut(converted),
            Unit::Named(unit) => UnitCondition::Named(unit, converted),
            Unit::Coded { system, code } => UnitCondition::Coded(*systems.get(&system)?, code),
        })
    }

    fn write(&self, sql: &mut Sql, t: Alias) {
        match self {
            UnitCondition::AllBut(converted) => sql.column(t, ".system <> ").bind(*converted),
            UnitCondition::Named(unit, converted) => sql
                .column(t, ".code = ")
                .bind(unit.clone())
                .push(" AND ")
                .column(t, ".system <> ")
                .bind(*converted),
            UnitCondition::Coded(system, code) => sql
                .column(t, ".code = ")
                .bind(code.clone())
                .push(" AND ")
                .column(t, ".system = ")
                .bind(*system),
        };
        sql.push(" AND ");
    }
}

/// The table above in SQL.
fn condition(sql: &mut Sql, t: Alias, prefix: Prefix, low: impl Fn(&mut Sql), high: impl Fn(&mut Sql)) {
    let mut compare = |before: &'static str, column: &'static str, end: &dyn Fn(&mut Sql)| {
        sql.push(before).column(t, column);
        end(sql);
    };
    match prefix {
        Prefix::Eq => {
            compare("", ".low >= ", &low);
            compare(" AND ", ".low < ", &high);
            compare(" AND ", ".high < ", &high);
        }
        Prefix::Ne => {
            compare("(", ".low < ", &low);
            compare(" OR ", ".high >= ", &high);
            sql.push(")");
        }
        Prefix::Gt => compare("", ".high > ", &high),
        Prefix::Ge => {
            compare("", ".high >= ", &high);
            compare(" AND (", ".high > ", &high);
            compare(" OR ", ".low >= ", &low);
            sql.push(")");
        }
        Prefix::Lt => compare("", ".low < ", &low),
        Prefix::Le => {
            compare("", ".low <= ", &low);
            compare(" AND (", ".low < ", &low);
            compare(" OR ", ".high <= ", &high);
            sql.push(")");
        }
        Prefix::Sa => compare("", ".low > ", &high),
        Prefix::Eb => compare("", ".high < ", &low),
        Prefix::Ap => {
            compare("", ".low <= ", &high);
            compare(" AND ", ".high >= ", &low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(type_name: &str, value: Value) -> Vec<(String, String, String, String)> {
        let mut rows = Vec::new();
        index(1, type_name, &value, &mut rows);
        rows.into_iter()
            .map(|row| (row.system.to_owned(), row.code.into_owned(), row.low, row.high))
            .collect()
    }

    fn found(system: &str, code: &str, low: &str, high: &str) -> (String, String, String, String) {
        (system.into(), code.into(), low.into(), high.into())
    }

    #[test]
    fn numbers_and_intervals_are_indexed() {
        assert_eq!(rows("decimal", json!(15)), [found("", "", "15e0", "15e0")]);
        assert_eq!(rows("decimal", json!(5.0)), rows("decimal", json!(5)));
        assert_eq!(
            rows("Range", json!({"low": {"value": 1, "code": "a"}})),
            [found("", "a", "1e0", "Infinity")]
        );
        assert_eq!(
            rows("Quantity", json!({"value": 5, "comparator": "<", "code": "a"})),
            [found("", "a", "-Infinity", "5e0")]
        );
        assert_eq!(
            rows("Money", json!({"value": 5, "currency": "EUR"})),
            [found(CURRENCY, "EUR", "5e0", "5e0")]
        );
        assert_eq!(
            rows(
                "SampledData",
                json!({"origin": {"value": 10}, "factor": 2, "data": "1 E -3 U 4"})
            ),
            [found("", "", "4e0", "18e0")]
        );
        assert!(rows("Quantity", json!({"unit": "mg"})).is_empty());
    }

    #[test]
    fn a_quantity_is_found_by_code_by_unit_and_in_base_units() {
        let kept = rows(
            "Quantity",
            json!({"value": 5, "unit": "milligrams", "system": UCUM, "code": "mg"}),
        );
        assert_eq!(
            kept[..2],
            [found(UCUM, "mg", "5e0", "5e0"), found("", "milligrams", "5e0", "5e0")]
        );
        let (_, gram) = ucum::canonical(Decimal::ONE, "g").unwrap();
        assert_eq!((&kept[2].0[..], &kept[2].1), (CANONICAL, &gram));
        assert_eq!(Decimal::parse(&kept[2].2), Decimal::parse("0.005"));
    }

    #[test]
    fn a_searched_number_stands_for_its_precision() {
        for (text, low, high) in [
            ("100", "99.5", "100.5"),
            ("100.00", "99.995", "100.005"),
            ("1e2", "95", "105"),
            ("1.5e2", "145", "155"),
            ("-5.4", "-5.45", "-5.35"),
            ("0", "-0.5", "0.5"),
            ("ne100", "99.5", "100.5"),
            ("gt100", "100", "100"),
            ("ap100", "90", "110"),
            ("ap-100", "-110", "-90"),
        ] {
            let m = parse_number(text).unwrap();
            assert_eq!(
                (Decimal::parse(&m.low), Decimal::parse(&m.high)),
                (Decimal::parse(low), Decimal::parse(high)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_forms_of_a_quantity() {
        assert_eq!(parse("5.4").unwrap().unit, Unit::Any);
        assert_eq!(parse("5.4||mg").unwrap().unit, Unit::Named("mg".into()));
        assert_eq!(
            parse("5.4|s|c").unwrap().unit,
            Unit::Coded {
                system: "s".into(),
                code: "c".into()
            }
        );
        let base = parse("le5|http://unitsofmeasure.org|mg").unwrap();
        assert!(matches!(&base.unit, Unit::Coded { system, .. } if system == CANONICAL));
        assert_eq!(Decimal::parse(&base.high), Decimal::parse("0.005"));
        for text in [
            "", "mg", "5|mg", "5|s|", "5|a|b|c", "1e999", "--5", "5 OR 1=1", "NaN", "Infinity",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
