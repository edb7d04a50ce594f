//! Whether one value meets one searched value: the rules of each type of parameter
//! (<https://hl7.org/fhir/R4/search.html#ptypes>), read as simply as they can be.

use jiff::Timestamp;
use jiff::civil;
use medconsult::knowledge::definitions::{Definitions, SearchParameterType as Kind};
use medconsult::knowledge::fhirpath::values::Decimal;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::resources::BASE;
use super::searches::Asked;

/// A value that a parameter's expression yields.
#[derive(Clone, Debug)]
pub struct Found {
    /// `CodeableConcept`, `dateTime`, …
    pub type_name: &'static str,
    pub value: Value,
    /// For a `code`: the systems from which its binding takes it.
    pub implied_systems: Vec<&'static str>,
}

/// What results are sorted by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SortValue {
    Text(String),
    Instant(i128),
    Number(Decimal),
}

impl Found {
    /// The Identifier in a Reference, for `:identifier`.
    pub fn identifier(&self) -> Option<Found> {
        let value = self.value.get("identifier")?.clone();
        Some(Found {
            type_name: "Identifier",
            value,
            implied_systems: Vec::new(),
        })
    }

    fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap_or_default()
    }

    /// Whether there is anything to compare. A Period without ends, for one, is as good as none.
    pub fn says_something(&self) -> bool {
        match self.type_name {
            "HumanName" | "Address" => !self.texts().is_empty(),
            "Period" | "Timing" => span_of(self).is_some(),
            "Range" | "SampledData" | "Money" => stretch_of(self).is_some(),
            _ if self.is_quantity() => stretch_of(self).is_some(),
            _ => true,
        }
    }

    fn is_quantity(&self) -> bool {
        let definitions = Definitions::r4();
        let id = |name| definitions.type_id(name).unwrap();
        definitions.is_a(id(self.type_name), id("Quantity"))
    }

    /// A string, or the parts of a name or an address.
    pub fn texts(&self) -> Vec<&str> {
        let parts: &[&str] = match self.type_name {
            "HumanName" => &["family", "given", "text", "prefix", "suffix"],
            "Address" => &["text", "line", "city", "district", "state", "postalCode", "country"],
            _ => return self.value.as_str().into_iter().collect(),
        };
        let parts = parts.iter().filter_map(|part| self.value.get(part));
        parts
            .flat_map(|part| part.as_array().map_or(std::slice::from_ref(part), Vec::as_slice))
            .filter_map(Value::as_str)
            .collect()
    }

    /// Systems and codes; either may be empty.
    pub fn tokens(&self) -> Vec<(String, String)> {
        let pair = |coding: &Value, code: &str| {
            [&coding["system"], &coding[code]]
                .map(|text| text.as_str().unwrap_or_default().to_owned())
                .into()
        };
        match (self.type_name, &self.value) {
            ("CodeableConcept", value) => value["coding"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|coding| pair(coding, "code"))
                .collect(),
            ("Coding", value) => vec![pair(value, "code")],
            ("Identifier", value) => vec![pair(value, "value")],
            ("ContactPoint", _) => vec![(String::new(), self.text("value").to_owned())],
            (_, Value::String(code)) => vec![(String::new(), code.clone())],
            (_, other) => vec![(String::new(), other.to_string())],
        }
    }

    /// What a person reads beside a code.
    pub fn labels(&self) -> Vec<&str> {
        let codings = self.value["coding"].as_array().into_iter().flatten();
        let displays = codings.map(|coding| &coding["display"]);
        let labels: Vec<&Value> = match self.type_name {
            "CodeableConcept" => displays.chain([&self.value["text"]]).collect(),
            "Coding" => vec![&self.value["display"]],
            "Identifier" => vec![&self.value["type"]["text"]],
            _ => Vec::new(),
        };
        labels.into_iter().filter_map(Value::as_str).collect()
    }

    /// Systems and codes of the types of an Identifier.
    pub fn types_of_identifier(&self) -> Vec<(&str, &str)> {
        let codings = self.value["type"]["coding"].as_array().into_iter().flatten();
        codings
            .filter_map(|coding| Some((coding["system"].as_str().unwrap_or_default(), coding["code"].as_str()?)))
            .collect()
    }

    /// Whether it is a text where others have a date, as the time of a procedure may be: nothing is searched for by it.
    pub fn is_no_date(&self) -> bool {
        self.value.as_str().is_some_and(|text| span(text).is_none())
    }

    /// What a Reference or a canonical says literally.
    pub fn literal(&self) -> Option<&str> {
        self.value.as_str().or_else(|| self.value.get("reference")?.as_str())
    }

    /// The dates in it, as they are written.
    pub fn dates(&self) -> Vec<&str> {
        match self.type_name {
            "Period" => [&self.value["start"], &self.value["end"]]
                .into_iter()
                .filter_map(Value::as_str)
                .collect(),
            "Timing" => {
                let bounds = &self.value["repeat"]["boundsPeriod"];
                let events = self.value["event"].as_array().into_iter().flatten();
                events
                    .chain([&bounds["start"], &bounds["end"]])
                    .filter_map(Value::as_str)
                    .collect()
            }
            _ => self.value.as_str().into_iter().collect(),
        }
    }

    /// The Quantities in it, whose `value`s are what is compared: one, or those at the ends of a Range.
    pub fn quantities(&self) -> Vec<&Value> {
        match self.type_name {
            "Range" => [self.value.get("low"), self.value.get("high")]
                .into_iter()
                .flatten()
                .collect(),
            "SampledData" => vec![&self.value["origin"]],
            _ => vec![&self.value],
        }
    }
}

/// <https://hl7.org/fhir/R4/search.html#string>: without case, accents, punctuation and differences of white space, from
/// the start.
pub fn string(found: &Found, modifier: Option<&str>, asked: &Asked) -> bool {
    found
        .texts()
        .into_iter()
        .any(|text| matches_text(text, modifier.unwrap_or("sw"), asked.text()))
}

/// `:text` of a token: what a person reads is searched as a string.
pub fn label(found: &Found, asked: &Asked) -> bool {
    found
        .labels()
        .into_iter()
        .any(|label| matches_text(label, "sw", asked.text()))
}

/// How texts compare, by the modifier or the operator of a filter.
fn matches_text(text: &str, how: &str, asked: &str) -> bool {
    if how == "exact" {
        return text.nfc().eq(asked.nfc());
    }
    // Punctuation alone is taken as it stands, else it would mean nothing and match everything.
    let (text, asked) = match plain(asked).is_empty() {
        true => (text.to_owned(), asked.to_owned()),
        false => (plain(text), plain(asked)),
    };
    match how {
        "eq" => text == asked,
        "ne" => text != asked,
        "sw" => text.starts_with(&asked),
        "co" | "contains" => text.contains(&asked),
        "ew" => text.ends_with(&asked),
        other => panic!("{other} has no naive reading for texts"),
    }
}

fn plain(text: &str) -> String {
    let base: String = text.nfkd().filter(|&c| !is_combining_mark(c)).collect();
    let lower: String = base
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || c.is_whitespace())
        .collect();
    // A final sigma is one in the middle of a longer word.
    lower.split_whitespace().collect::<Vec<_>>().join(" ").replace('ς', "σ")
}

/// <https://hl7.org/fhir/R4/search.html#token>: `code`, `system|code`, `|code`, `system|`.
pub fn token(found: &Found, asked: &Asked) -> bool {
    let ignores_case = ignores_case(found);
    let same = |code: &str, asked: &str| match ignores_case {
        true => code.to_lowercase() == asked.to_lowercase(),
        false => code == asked,
    };
    found.tokens().iter().any(|(system, code)| {
        let of = |asked: &str| system == asked || found.implied_systems.contains(&asked);
        match &asked.parts[..] {
            [asked] => same(code, asked),
            [system, any] if any.is_empty() => of(system) && !code.is_empty(),
            [system, asked] => of(system) && same(code, asked),
            parts => panic!("a token of {} parts", parts.len()),
        }
    })
}

/// Case matters for what identifies. Of most code systems it is not known to matter, so that it does not.
fn ignores_case(found: &Found) -> bool {
    matches!(
        found.type_name,
        "Coding" | "CodeableConcept" | "code" | "ContactPoint" | "boolean"
    )
}

/// <https://hl7.org/fhir/R4/search.html#reference>: `id`, `Type/id` or a URL; `targets` are the types that may be meant; a
/// parameter that names none means any.
pub fn reference(found: &Found, targets: &[&str], asked: &Asked) -> bool {
    let asked = asked.text();
    let Some(literal) = found.literal() else { return false };
    let local = local(literal);
    let may_be = |resource_type: &str| targets.is_empty() || targets.contains(&resource_type);
    match self::local(asked) {
        Some(asked) => local == Some(asked) && may_be(asked.0),
        // An element that holds a URL is followed like a canonical, whichever of the two its type is.
        None if asked.contains([':', '/']) => {
            literal == asked || literal.rsplit_once('|').is_some_and(|(bare, _)| bare == asked)
        }
        None => local.is_some_and(|(resource_type, id)| id == asked && may_be(resource_type)),
    }
}

/// Type and id of what a reference names, if it is of this server.
pub fn local(reference: &str) -> Option<(&str, &str)> {
    let relative = reference
        .strip_prefix(BASE)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(reference);
    let current = relative
        .split_once("/_history/")
        .map_or(relative, |(current, _)| current);
    let (resource_type, id) = current.split_once('/')?;
    (!id.contains('/') && Definitions::r4().resource_type(resource_type).is_some()).then_some((resource_type, id))
}

/// <https://hl7.org/fhir/R4/search.html#uri>: the whole, and a canonical also without its version.
pub fn uri(found: &Found, asked: &Asked) -> bool {
    uris(found).contains(&asked.text())
}

fn uris(found: &Found) -> Vec<&str> {
    let whole = found.value.as_str();
    let unversioned = whole
        .and_then(|uri| uri.rsplit_once('|'))
        .filter(|_| found.type_name == "canonical");
    whole.into_iter().chain(unversioned.map(|(bare, _)| bare)).collect()
}

/// `:of-type` (<https://hl7.org/fhir/R4/search.html#token>): a code of the type, with or without its system, and the value.
pub fn of_type(found: &Found, asked: &Asked) -> bool {
    let (system, code, value) = match &asked.parts[..] {
        [code, value] => (None, code, value),
        [system, code, value] => (Some(system), code, value),
        parts => panic!("an identifier of a type of {} parts", parts.len()),
    };
    found.text("value") == value
        && found
            .types_of_identifier()
            .iter()
            .any(|ty| ty.1.to_lowercase() == code.to_lowercase() && system.is_none_or(|system| system == ty.0))
}

/// A comparison of a filter (<https://hl7.org/fhir/R4/search_filter.html#ops>) with one value.
pub fn compares(
    found: &Found,
    kind: Kind,
    operator: &'static str,
    asked: &Asked,
    targets: &[&str],
    now: Timestamp,
) -> bool {
    let as_prefix = Asked {
        prefix: operator,
        parts: asked.parts.clone(),
    };
    match (kind, operator) {
        (Kind::String, operator) => found
            .texts()
            .into_iter()
            .any(|text| matches_text(text, operator, asked.text())),
        (Kind::Date, "po") => overlaps(found, asked),
        (Kind::Date, _) => date(found, &as_prefix, now),
        (Kind::Number | Kind::Quantity, _) => quantity(found, &as_prefix),
        (Kind::Reference, "eq" | "re") => reference(found, targets, asked),
        (Kind::Reference, "ne") => !reference(found, targets, asked),
        (Kind::Uri, "eq") => uri(found, asked),
        (Kind::Token, "eq") => token(found, asked),
        // Each code of a concept is a value of its own.
        (Kind::Token, "ne") => each_code(found).iter().any(|code| !token(code, asked)),
        (Kind::Token | Kind::Uri, operator) => {
            let codes = found.tokens().into_iter().map(|(_, code)| code);
            let mut texts: Vec<String> = if kind == Kind::Uri {
                uris(found).into_iter().map(str::to_owned).collect()
            } else {
                codes.collect()
            };
            let mut asked = asked.text().to_owned();
            if kind == Kind::Token && ignores_case(found) {
                texts = texts.iter().map(|text| text.to_lowercase()).collect();
                asked = asked.to_lowercase();
            }
            texts.iter().any(|text| match operator {
                "co" => text.contains(&asked),
                "sw" => text.starts_with(&asked),
                "ew" => text.ends_with(&asked),
                other => panic!("{other} has no naive reading for codes"),
            })
        }
        (kind, operator) => panic!("{kind:?} {operator} has no naive reading"),
    }
}

/// The codings of a concept one by one, or the concept where it has none.
fn each_code(found: &Found) -> Vec<Found> {
    let codings = found.value["coding"]
        .as_array()
        .filter(|_| found.type_name == "CodeableConcept");
    match codings {
        Some(codings) => codings
            .iter()
            .map(|coding| Found {
                type_name: "Coding",
                value: coding.clone(),
                implied_systems: Vec::new(),
            })
            .collect(),
        None => vec![found.clone()],
    }
}

/// A stretch of time in microseconds, without its end.
#[derive(Clone, Copy)]
struct Span {
    low: i128,
    high: i128,
}

/// <https://hl7.org/fhir/R4/search.html#date>, by the table of prefixes.
pub fn date(found: &Found, asked: &Asked, now: Timestamp) -> bool {
    let Some(target) = span_of(found) else { return false };
    let text = asked.text();
    let mut searched = span(text).unwrap_or_else(|| panic!("{text} is searched for as a date"));
    let contained = searched.low <= target.low && target.high <= searched.high;
    let (above, below) = (target.high > searched.high, target.low < searched.low);
    match asked.prefix {
        "" | "eq" => contained,
        "ne" => !contained,
        "gt" => above,
        "lt" => below,
        "ge" => above || contained,
        "le" => below || contained,
        "sa" => target.low >= searched.high,
        "eb" => target.high <= searched.low,
        // Give or take a tenth of the time between then and now.
        "ap" => {
            let now = i128::from(now.as_microsecond());
            searched.low -= (searched.low - now).abs() / 10;
            searched.high += (searched.high - now).abs() / 10;
            target.low < searched.high && target.high > searched.low
        }
        other => panic!("the prefix {other}"),
    }
}

fn overlaps(found: &Found, asked: &Asked) -> bool {
    let searched = span(asked.text()).expect("dates that are searched for are dates");
    span_of(found).is_some_and(|target| target.low < searched.high && target.high > searched.low)
}

/// From the earliest to the latest moment that is meant.
fn span_of(found: &Found) -> Option<Span> {
    if found.type_name == "Period" {
        let end = |name| span(found.text(name));
        let (start, end) = (end("start"), end("end"));
        return start.or(end).map(|_| Span {
            low: start.map_or(i128::MIN, |start| start.low),
            high: end.map_or(i128::MAX, |end| end.high),
        });
    }
    let mut spans: Vec<Span> = Vec::new();
    if found.type_name == "Timing" {
        let bounds = found.value["repeat"].get("boundsPeriod").cloned();
        let bounds = bounds.map(|value| Found {
            type_name: "Period",
            value,
            implied_systems: Vec::new(),
        });
        spans.extend(bounds.as_ref().and_then(span_of));
        spans.extend(
            found.value["event"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter_map(span),
        );
    } else {
        spans.extend(found.value.as_str().and_then(span));
    }
    spans.into_iter().reduce(|a, b| Span {
        low: a.low.min(b.low),
        high: a.high.max(b.high),
    })
}

/// All that a date of some precision may mean; UTC where no zone is given.
fn span(text: &str) -> Option<Span> {
    const SECOND: i128 = 1_000_000;
    let midnight = |date: civil::Date| date.duration_since(civil::date(1970, 1, 1)).as_micros();
    let (day, time) = text
        .split_once('T')
        .map_or((text, None), |(day, time)| (day, Some(time)));
    let numbers: Vec<i16> = day.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (first, last) = match numbers[..] {
        [year] => (civil::date(year, 1, 1), civil::date(year, 12, 31)),
        [year, month] => {
            let first = civil::date(year, month.try_into().ok()?, 1);
            (first, first.last_of_month())
        }
        [year, month, day] => {
            let day = civil::date(year, month.try_into().ok()?, day.try_into().ok()?);
            (day, day)
        }
        _ => return None,
    };
    let Some(time) = time else {
        return Some(Span {
            low: midnight(first),
            high: midnight(last) + 86_400 * SECOND,
        });
    };
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let minutes = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        Some(hours.parse::<i128>().ok()? * 60 + minutes.parse::<i128>().ok()?)
    };
    let offset = match zone.split_at_checked(1) {
        Some(("+", ahead)) => minutes(ahead)?,
        Some(("-", behind)) => -minutes(behind)?,
        _ => 0,
    };
    let (hour_and_minute, seconds) = clock.split_at_checked(5)?;
    let low = midnight(first) + (minutes(hour_and_minute)? - offset) * 60 * SECOND;
    let Some(seconds) = seconds.strip_prefix(':') else {
        return Some(Span {
            low,
            high: low + 60 * SECOND,
        });
    };
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let step = SECOND / 10_i128.pow(fraction.len().try_into().ok()?);
    let low = low + whole.parse::<i128>().ok()? * SECOND + fraction.parse::<i128>().unwrap_or(0) * step;
    Some(Span { low, high: low + step })
}

/// A stretch of numbers with both its ends, all in one unit.
struct Stretch {
    low: Decimal,
    high: Decimal,
    /// Any of these is its unit: system and code, or nothing and the code, or nothing and the name for people.
    units: Vec<(String, String)>,
}

/// <https://hl7.org/fhir/R4/search.html#number>, <https://hl7.org/fhir/R4/search.html#quantity>
pub fn quantity(found: &Found, asked: &Asked) -> bool {
    let Some(target) = stretch_of(found) else { return false };
    let number = &asked.parts[0];
    let mut value = decimal(number);
    let mut margin = match asked.prefix {
        "" | "eq" | "ne" => half_of_last_digit(number),
        "ap" => value.abs().checked_mul(decimal("0.1")).unwrap(),
        _ => Decimal::ZERO,
    };
    let (mut low, mut high) = (target.low, target.high);
    match &asked.parts[1..] {
        [] => {}
        [system, code] if system.is_empty() => {
            if !target.units.iter().any(|unit| unit.1 == *code) {
                return false;
            }
        }
        [system, code] => {
            let Some((factor, base)) = target
                .units
                .iter()
                .filter(|unit| unit.0 == *system)
                .map(in_base_units)
                .next()
            else {
                return false;
            };
            let (asked_factor, asked_base) = in_base_units(&(system.clone(), code.clone()));
            if base != asked_base {
                return false;
            }
            let scale = |number: Decimal, factor: Decimal| number.checked_mul(factor).unwrap();
            (low, high) = (scale(low, factor), scale(high, factor));
            (value, margin) = (scale(value, asked_factor), scale(margin, asked_factor));
        }
        parts => panic!("a unit of {} parts", parts.len()),
    }
    let (least, most) = (value.checked_sub(margin).unwrap(), value.checked_add(margin).unwrap());
    let exactly = low == value && high == value;
    match asked.prefix {
        "" | "eq" => low >= least && high < most,
        "ne" => !(low >= least && high < most),
        "gt" => high > value,
        "lt" => low < value,
        "ge" => high > value || exactly,
        "le" => low < value || exactly,
        "sa" => low > value,
        "eb" => high < value,
        "ap" => low <= most && high >= least,
        other => panic!("the prefix {other}"),
    }
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
}

/// Half of what the last digit stands for: `5.40` is given to 0.01. The specification takes `1e2` for a number of two
/// digits, given to 10.
fn half_of_last_digit(number: &str) -> Decimal {
    let (digits, exponent) = number.split_once('e').unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap();
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i64);
    let decimals = if exponent > 0 && digits.trim_start_matches('-').len() == 1 {
        1
    } else {
        decimals
    };
    decimal(&format!("5e{}", exponent - decimals - 1))
}

/// How many of the base unit a unit is, as far as these tests use units that convert.
fn in_base_units((system, code): &(String, String)) -> (Decimal, (String, String)) {
    let (factor, base) = match (system.as_str(), code.as_str()) {
        ("http://unitsofmeasure.org", "mg") => ("0.001", "g"),
        ("http://unitsofmeasure.org", "kg") => ("1000", "g"),
        (_, code) => ("1", code),
    };
    (decimal(factor), (system.clone(), base.to_owned()))
}

/// `None` when there is no number in it.
fn stretch_of(found: &Found) -> Option<Stretch> {
    let number = |value: &Value| value.as_number().map(|number| decimal(number.as_str()));
    let (lowest, highest) = (decimal("-1e200"), decimal("1e200"));
    if let Some(number) = number(&found.value) {
        return Some(Stretch {
            low: number,
            high: number,
            units: Vec::new(),
        });
    }
    if found.type_name == "Money" {
        let amount = number(&found.value["value"])?;
        let currency = ("urn:iso:std:iso:4217".to_owned(), found.text("currency").to_owned());
        return Some(Stretch {
            low: amount,
            high: amount,
            units: vec![currency],
        });
    }
    let (low, high) = match found.type_name {
        "Range" => {
            let end = |name| number(&found.value[name]["value"]);
            (end("low").unwrap_or(lowest), end("high").unwrap_or(highest))
        }
        "SampledData" => {
            let origin = number(&found.value["origin"]["value"]).unwrap_or(Decimal::ZERO);
            let factor = number(&found.value["factor"]).unwrap_or(Decimal::ONE);
            // Samples that say that they were out of range or failed are no numbers.
            let samples = found.text("data").split(' ').filter_map(Decimal::parse);
            let measured: Vec<Decimal> = samples
                .map(|sample| sample.checked_mul(factor).and_then(|x| x.checked_add(origin)).unwrap())
                .collect();
            (*measured.iter().min()?, *measured.iter().max()?)
        }
        _ => {
            let value = number(&found.value["value"])?;
            match found.text("comparator") {
                "<" | "<=" => (lowest, value),
                ">" | ">=" => (value, highest),
                _ => (value, value),
            }
        }
    };
    let unit = found.quantities().first().copied()?;
    let text = |name: &str| unit[name].as_str().unwrap_or_default().to_owned();
    let units = vec![(text("system"), text("code")), (String::new(), text("unit"))];
    Some(Stretch { low, high, units })
}

/// What a value is sorted by: texts as they are compared, dates and numbers by where they begin.
pub fn sort_values(found: &Found, kind: Kind) -> Vec<SortValue> {
    match kind {
        Kind::String => found
            .texts()
            .into_iter()
            .map(|text| SortValue::Text(plain(text)))
            .collect(),
        Kind::Uri => uris(found)
            .into_iter()
            .map(|uri| SortValue::Text(uri.to_owned()))
            .collect(),
        Kind::Date => span_of(found)
            .into_iter()
            .map(|span| SortValue::Instant(span.low))
            .collect(),
        Kind::Number | Kind::Quantity => stretch_of(found)
            .into_iter()
            .map(|stretch| SortValue::Number(stretch.low))
            .collect(),
        Kind::Token => {
            let ignores_case = ignores_case(found);
            let mut codes: Vec<String> = found.tokens().into_iter().map(|(_, code)| code).collect();
            if codes.is_empty() {
                codes.push(String::new());
            }
            let key = |code: String| SortValue::Text(if ignores_case { code.to_lowercase() } else { code });
            codes.into_iter().map(key).collect()
        }
        Kind::Reference | Kind::Composite | Kind::Special => panic!("{kind:?} is not sorted by"),
    }
}
