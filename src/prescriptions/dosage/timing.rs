//! When and how often (<https://hl7.org/fhir/R4/datatypes.html#Timing>).

use num_rational::BigRational;
use serde_json::Value;

use super::Problem;
use super::amount::{days_of, decimal, number, quantity_words, range_words};
use super::words::{self, list};
use crate::knowledge::fhirpath::values::Decimal;
use crate::prescriptions::concept;
use crate::prescriptions::day;
use crate::prescriptions::names::TIMING_ABBREVIATIONS;

/// A timing in words, as far as it is told in elements.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// `3 times a day`, `every 4 to 6 hours`
    pub often: Option<String>,
    /// `at bedtime`, `on Monday and Thursday`, `10 times in all`
    pub when: Vec<String>,
    /// `over 30 minutes`
    pub over: Option<String>,
    /// `for 7 days`
    pub bounds: Option<String>,
    /// How often in 24 hours at most, where that follows.
    pub times_a_day: Option<BigRational>,
}

/// How often, as numbers.
#[derive(Clone, Debug, PartialEq)]
struct Rhythm {
    frequency: u64,
    frequency_max: Option<u64>,
    period: Decimal,
    period_max: Option<Decimal>,
    unit: String,
}

impl Timing {
    pub fn read(timing: &Value, problems: &mut Vec<Problem>) -> Timing {
        let repeat = &timing["repeat"];
        let stated = rhythm(repeat, problems);
        let code = concept::codes(&timing["code"], TIMING_ABBREVIATIONS).find_map(abbreviation);
        let days_of_week = weekdays(repeat, problems);
        let moments = moments(repeat, problems);
        let is_told = stated.is_some() || !days_of_week.is_empty() || !moments.is_empty();
        let (rhythm, by_code) = match (stated, code) {
            (Some(stated), Some((coded, _))) => {
                if coded.as_ref().is_some_and(|coded| *coded != stated) {
                    let text = "The code of the timing says something else than its numbers.";
                    problems.push(Problem::new("timing.code", text));
                }
                (Some(stated), None)
            }
            (Some(stated), None) => (Some(stated), None),
            (None, Some((coded, moment))) if !is_told => (coded, moment),
            (None, _) => (None, None),
        };
        check_rhythm(rhythm.as_ref(), &moments, &days_of_week, problems);
        let times_a_day = times_a_day(rhythm.as_ref(), moments.len(), days_of_week.len());
        let mut when = Vec::new();
        let named: Vec<String> = moments.iter().map(|moment| moment.words.clone()).collect();
        when.extend((!named.is_empty()).then(|| list(&named)));
        when.extend(by_code.map(str::to_owned));
        if !days_of_week.is_empty() {
            when.push(format!("on {}", list(&days_of_week)));
        }
        let dates = dates(timing);
        when.extend((!dates.is_empty()).then(|| list(&dates)));
        let often = match &rhythm {
            Some(rhythm) => Some(rhythm.words()),
            // Without other days, a moment is that of each day.
            None if !named.is_empty() && days_of_week.is_empty() && dates.is_empty() => Some("every day".to_owned()),
            None => None,
        };
        let count = count(repeat, problems);
        let often = match (often, count.as_deref()) {
            (None, Some("once")) => Some("once".to_owned()),
            (often, _) => often,
        };
        let once_is_said = often.as_deref() == Some("once");
        when.extend(count.filter(|_| !once_is_said).map(|count| format!("{count} in all")));
        Timing {
            often,
            when,
            over: over(repeat, problems),
            bounds: bounds(repeat, problems),
            times_a_day,
        }
    }

    /// Whether it says neither how often nor when.
    pub fn is_empty(&self) -> bool {
        self.often.is_none() && self.when.is_empty()
    }
}

impl Rhythm {
    fn words(&self) -> String {
        let (one, many) = words::span(&self.unit).unwrap_or(("day", "days"));
        let is_one = self.period == Decimal::from(1) && self.period_max.is_none();
        let often = match (self.frequency, self.frequency_max) {
            (low, Some(high)) if high > low => format!("{low} to {high} times"),
            (1, _) => "once".to_owned(),
            (2, _) => "twice".to_owned(),
            (n, _) => format!("{n} times"),
        };
        // "Once a day", but "every hour".
        let is_long = matches!(one, "day" | "week" | "month" | "year");
        let every = match (self.period_max, is_one) {
            (Some(max), _) => format!("every {} to {} {many}", number(self.period), number(max)),
            (None, true) => format!("every {one}"),
            (None, false) => format!("every {} {many}", number(self.period)),
        };
        match (often.as_str(), is_one && is_long) {
            (often, true) => format!("{often} a {one}"),
            ("once", false) => every,
            (often, false) => format!("{often} {every}"),
        }
    }
}

fn rhythm(repeat: &Value, problems: &mut Vec<Problem>) -> Option<Rhythm> {
    let (frequency, frequency_max) = (repeat["frequency"].as_u64(), repeat["frequencyMax"].as_u64());
    let Some(period) = decimal(&repeat["period"]) else {
        let single = repeat["count"] == 1;
        if (frequency.is_some() || frequency_max.is_some()) && !single {
            let text = "Say in which time: a period with its unit.";
            problems.push(Problem::new("timing.repeat.frequency", text));
        }
        return None;
    };
    let unit = repeat["periodUnit"].as_str().unwrap_or_default();
    if words::span(unit).is_none() {
        problems.push(Problem::new("timing.repeat.periodUnit", "A period needs a unit."));
        return None;
    }
    let period_max = decimal(&repeat["periodMax"]);
    let low = frequency.unwrap_or(1);
    let mut refuse = |element: &'static str, text: &str| problems.push(Problem::new(element, text));
    if low == 0 || frequency_max.is_some_and(|max| max < low) {
        refuse("timing.repeat.frequency", "It goes from once or more often to no less.");
        return None;
    }
    if period.is_zero() || period.is_negative() || period_max.is_some_and(|max| max < period) {
        refuse("timing.repeat.period", "It goes from a time above nothing to no less.");
        return None;
    }
    Some(Rhythm {
        frequency: low,
        frequency_max: frequency_max.filter(|max| *max > low),
        period,
        period_max: period_max.filter(|max| *max > period),
        unit: unit.to_owned(),
    })
}

/// What `BID` and its like stand for: a rhythm, or a moment of the day
/// (<https://terminology.hl7.org/CodeSystem-v3-GTSAbbreviation.html>).
fn abbreviation(code: &str) -> Option<(Option<Rhythm>, Option<&'static str>)> {
    let every = |frequency: u64, period: i64, unit: &str| {
        let rhythm = Rhythm {
            frequency,
            frequency_max: None,
            period: Decimal::from(period),
            period_max: None,
            unit: unit.to_owned(),
        };
        (Some(rhythm), None)
    };
    Some(match code {
        "QD" => every(1, 1, "d"),
        "BID" => every(2, 1, "d"),
        "TID" => every(3, 1, "d"),
        "QID" => every(4, 1, "d"),
        "QOD" => every(1, 2, "d"),
        "Q1H" => every(1, 1, "h"),
        "Q2H" => every(1, 2, "h"),
        "Q3H" => every(1, 3, "h"),
        "Q4H" => every(1, 4, "h"),
        "Q6H" => every(1, 6, "h"),
        "Q8H" => every(1, 8, "h"),
        "WK" => every(1, 1, "wk"),
        "MO" => every(1, 1, "mo"),
        "AM" => (every(1, 1, "d").0, Some("in the morning")),
        "PM" => (every(1, 1, "d").0, Some("in the afternoon")),
        "BED" => (every(1, 1, "d").0, Some("at bedtime")),
        _ => return None,
    })
}

/// A moment of a day.
struct Moment {
    words: String,
    /// A meal, whichever.
    is_any_meal: bool,
}

fn moments(repeat: &Value, problems: &mut Vec<Problem>) -> Vec<Moment> {
    let texts = |name: &str| -> Vec<String> {
        let list = repeat[name].as_array().into_iter().flatten();
        list.filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let clock = texts("timeOfDay");
    let events = texts("when");
    if !clock.is_empty() && !events.is_empty() {
        let text = "Either times of the clock or moments of the day (when), not both.";
        problems.push(Problem::new("timing.repeat.timeOfDay", text));
    }
    let by_clock = clock.iter().enumerate().map(|(index, time)| Moment {
        words: format!("{}{}", if index == 0 { "at " } else { "" }, clock_time(time)),
        is_any_meal: false,
    });
    let mut found: Vec<Moment> = by_clock.collect();
    let offset = repeat["offset"].as_u64().filter(|minutes| *minutes > 0);
    for code in &events {
        match words::moment(code) {
            Some((words, is_any_meal)) => {
                let ahead = offset.filter(|_| words.starts_with("before") || words.starts_with("after"));
                if offset.is_some() && ahead.is_none() {
                    let text = "Minutes are counted before or after something.";
                    problems.push(Problem::new("timing.repeat.offset", text));
                }
                let lead = ahead.map(|minutes| format!("{} ", minutes_words(minutes)));
                found.push(Moment {
                    words: format!("{}{words}", lead.unwrap_or_default()),
                    is_any_meal,
                });
            }
            None => problems.push(Problem::new("timing.repeat.when", "There is no such moment.")),
        }
    }
    found
}

/// `08:00` of `08:00:00`
fn clock_time(time: &str) -> &str {
    time.strip_suffix(":00").filter(|rest| rest.len() == 5).unwrap_or(time)
}

fn minutes_words(minutes: u64) -> String {
    match minutes {
        60 => "1 hour".to_owned(),
        hours if hours % 60 == 0 => format!("{} hours", hours / 60),
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn weekdays(repeat: &Value, problems: &mut Vec<Problem>) -> Vec<String> {
    let codes = repeat["dayOfWeek"].as_array().into_iter().flatten();
    let names = codes.filter_map(Value::as_str).map(words::weekday);
    let found: Option<Vec<String>> = names.map(|name| name.map(str::to_owned)).collect();
    found.unwrap_or_else(|| {
        problems.push(Problem::new("timing.repeat.dayOfWeek", "There is no such day."));
        Vec::new()
    })
}

/// Holds how often against when: "three times a day, at bedtime" cannot be meant.
fn check_rhythm(rhythm: Option<&Rhythm>, moments: &[Moment], weekdays: &[String], problems: &mut Vec<Problem>) {
    let Some(rhythm) = rhythm else { return };
    let most = rhythm.frequency_max.unwrap_or(rhythm.frequency);
    let is = |period: i64, unit: &str| {
        rhythm.period == Decimal::from(period) && rhythm.period_max.is_none() && rhythm.unit == unit
    };
    let any_meal = moments.iter().any(|moment| moment.is_any_meal);
    let named = moments.len() as u64;
    if is(1, "d") && named > 0 && !any_meal && !(rhythm.frequency..=most).contains(&named) {
        let text = format!(
            "{} at {named} moment{}: say as many moments as times.",
            capital(&rhythm.words()),
            if named == 1 { "" } else { "s" }
        );
        problems.push(Problem::new("timing.repeat.when", text));
    }
    if matches!(rhythm.unit.as_str(), "h" | "min" | "s") && named > 0 && !any_meal {
        let text = "Every so many hours, or at moments of the day: say one of them.";
        problems.push(Problem::new("timing.repeat.when", text));
    }
    let days = weekdays.len() as u64;
    if is(1, "wk") && days > 0 && !(rhythm.frequency..=most).contains(&days) {
        let text = format!(
            "{} on {days} day{}: say as many days as times.",
            capital(&rhythm.words()),
            if days == 1 { "" } else { "s" }
        );
        problems.push(Problem::new("timing.repeat.dayOfWeek", text));
    }
    if days > 0 && !is(1, "wk") && !is(1, "d") {
        let text = "On days of the week, it is so many times a day or a week.";
        problems.push(Problem::new("timing.repeat.dayOfWeek", text));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

fn times_a_day(rhythm: Option<&Rhythm>, moments: usize, weekdays: usize) -> Option<BigRational> {
    let whole = |number: usize| BigRational::from_integer(number.into());
    match rhythm {
        Some(rhythm) => {
            let often = rhythm.frequency_max.unwrap_or(rhythm.frequency);
            let span = rhythm.period.to_rational() * days_of(&rhythm.unit)?;
            // On a day on which it is taken at all, it is taken once.
            match weekdays > 0 && rhythm.unit == "wk" {
                true => Some(whole(1)),
                false => Some(BigRational::from_integer(often.into()) / span),
            }
        }
        None if moments > 0 => Some(whole(moments)),
        None => None,
    }
}

fn count(repeat: &Value, problems: &mut Vec<Problem>) -> Option<String> {
    let (count, max) = (repeat["count"].as_u64()?, repeat["countMax"].as_u64());
    if count == 0 || max.is_some_and(|max| max < count) {
        let text = "It goes from once or more often to no less.";
        problems.push(Problem::new("timing.repeat.count", text));
    }
    Some(match (count, max) {
        (low, Some(high)) if high > low => format!("{low} to {high} times"),
        (1, _) => "once".to_owned(),
        (2, _) => "twice".to_owned(),
        (n, _) => format!("{n} times"),
    })
}

/// How long one dose takes.
fn over(repeat: &Value, problems: &mut Vec<Problem>) -> Option<String> {
    let duration = decimal(&repeat["duration"])?;
    let (one, many) = words::span(repeat["durationUnit"].as_str().unwrap_or_default())?;
    let max = decimal(&repeat["durationMax"]);
    if max.is_some_and(|max| max < duration) {
        problems.push(Problem::new("timing.repeat.duration", "It goes from less to more."));
    }
    Some(match max {
        Some(max) if max > duration => format!("over {} to {} {many}", number(duration), number(max)),
        _ if duration == Decimal::from(1) => format!("over 1 {one}"),
        _ => format!("over {} {many}", number(duration)),
    })
}

fn bounds(repeat: &Value, problems: &mut Vec<Problem>) -> Option<String> {
    const ELEMENT: &str = "timing.repeat.bounds";
    if let Some(duration) = repeat.get("boundsDuration") {
        return quantity_words(duration, ELEMENT, problems).map(|words| format!("for {words}"));
    }
    if let Some(range) = repeat.get("boundsRange") {
        return range_words(range, ELEMENT, problems).map(|words| format!("for {words}"));
    }
    let period = repeat.get("boundsPeriod")?;
    let (start, end) = (period["start"].as_str(), period["end"].as_str());
    if start
        .zip(end)
        .is_some_and(|(start, end)| day::date(start) > day::date(end))
    {
        problems.push(Problem::new(ELEMENT, "It ends before it begins."));
    }
    match (start.map(day::words), end.map(day::words)) {
        (Some(start), Some(end)) => Some(format!("from {start} until {end}")),
        (Some(start), None) => Some(format!("from {start} on")),
        (None, Some(end)) => Some(format!("until {end}")),
        (None, None) => None,
    }
}

/// Days that are named one by one.
fn dates(timing: &Value) -> Vec<String> {
    let events = timing["event"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    events
        .map(|at| match at.split_once('T') {
            Some((_, time)) => format!("on {} at {}", day::words(at), &time[..time.len().min(5)]),
            None => format!("on {}", day::words(at)),
        })
        .collect()
}
