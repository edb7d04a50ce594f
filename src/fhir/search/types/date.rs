//! Date parameters (<https://hl7.org/fhir/R4/search.html#date>): spans of time compared with a searched span.
//!
//! Every value is the span `[low, high)` that it may mean: `2013-01` a month, `10:00:05` a second, a Period what lies
//! between its ends, a Timing its outer limits. An end that is not given is infinite. A date without time zone is taken
//! as UTC on both sides.
//!
//! With the searched span `[l, h)` a value `[low, high)` matches when:
//!
//! | prefix | condition | in words of the specification |
//! |---|---|---|
//! | eq | `low ≥ l ∧ high ≤ h` | the searched span contains the value |
//! | ne | not eq | |
//! | gt | `high > h` | the part above the searched span overlaps the value |
//! | lt | `low < l` | the part below it overlaps the value |
//! | ge | gt or eq | |
//! | le | lt or eq | |
//! | sa | `low ≥ h` | the value lies wholly above |
//! | eb | `high ≤ l` | the value lies wholly below |
//! | ap | `low < h ∧ high > l` | they overlap, after each end moved by a tenth of its distance from now |

use jiff::Timestamp;
use jiff::civil;
use serde_json::Value;

use super::{Branch, MAX_BRANCHES, Prefix, unescape};
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::store::Micros;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// The ends of all time, as Postgres counts it.
const BEGINNING: Micros = Micros(i64::MIN);
const END: Micros = Micros(i64::MAX);

fn plus(at: Micros, microseconds: i64) -> Micros {
    Micros(at.0.saturating_add(microseconds))
}

/// `[low, high)`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    pub low: Micros,
    pub high: Micros,
}

impl Span {
    /// The span that a FHIR date, dateTime or instant means: `2013`, `2013-01`, `2013-01-14`, `2013-01-14T10:00`,
    /// `…:05`, `…:05.123`, with or without `Z` or `±hh:mm`. `None` when it is none of these or does not exist.
    pub fn parse(text: &str) -> Option<Span> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year: i16 = digits(parts.next()?, 4)?.try_into().ok()?;
        let month = parts
            .next()
            .map(|part| digits(part, 2))
            .map_or(Some(None), |m| m.map(Some))?;
        let day = parts
            .next()
            .map(|part| digits(part, 2))
            .map_or(Some(None), |d| d.map(Some))?;
        if parts.next().is_some() || year == 0 {
            return None;
        }
        let at = |month: u32, day: u32| {
            let date = civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
            // Not by way of a Timestamp, which ends before 9999-12-31, a date that stands for "for ever" in many records.
            Some(Micros(date.duration_since(civil::date(1970, 1, 1)).as_secs() * SECOND))
        };
        let Some(time) = time else {
            return Some(match (month, day) {
                (Some(month), Some(day)) => Span {
                    low: at(month, day)?,
                    high: plus(at(month, day)?, DAY),
                },
                (Some(month), None) => {
                    let last = civil::Date::new(year, month.try_into().ok()?, 1).ok()?.days_in_month();
                    Span {
                        low: at(month, 1)?,
                        high: plus(at(month, last.unsigned_abs().into())?, DAY),
                    }
                }
                _ => Span {
                    low: at(1, 1)?,
                    high: plus(at(12, 31)?, DAY),
                },
            });
        };
        let midnight = at(month?, day?)?;
        let (clock, offset) = match time.find(['Z', '+', '-']) {
            Some(at) => (&time[..at], offset(&time[at..])?),
            None => (time, 0),
        };
        let mut parts = clock.split(':');
        let hour = i64::from(digits(parts.next()?, 2)?);
        let minute = i64::from(digits(parts.next()?, 2)?);
        let (seconds, precision) = match parts.next() {
            Some(seconds) => second(seconds)?,
            None => (0, MINUTE),
        };
        if parts.next().is_some() || hour > 23 || minute > 59 {
            return None;
        }
        let low = plus(midnight, (hour * 60 + minute - offset) * MINUTE + seconds);
        Some(Span {
            low,
            high: plus(low, precision),
        })
    }

    /// The outer limits of a Period; `None` for one that says nothing.
    pub fn period(value: &Value) -> Option<Span> {
        let end = |name: &str| value.get(name).and_then(Value::as_str).and_then(Span::parse);
        match (end("start"), end("end")) {
            (None, None) => None,
            (start, end) => Some(Span {
                low: start.map_or(BEGINNING, |span| span.low),
                high: end.map_or(END, |span| span.high),
            }),
        }
    }

    /// The outer limits of a Timing: of its events and of the bounds of its repetition.
    fn timing(value: &Value) -> Option<Span> {
        let events = value.get("event").and_then(Value::as_array).into_iter().flatten();
        let spans = events.filter_map(Value::as_str).filter_map(Span::parse);
        let bounds = value
            .get("repeat")
            .and_then(|repeat| repeat.get("boundsPeriod"))
            .and_then(Span::period);
        spans.chain(bounds).reduce(|a, b| Span {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
        })
    }
}

/// Exactly `count` ASCII digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// `05` or `05.123`: microseconds, and how many of them the last digit stands for. Digits beyond the sixth are dropped.
fn second(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    // 60 is a leap second; it falls together with the second after it, as in Postgres.
    let whole = i64::from(digits(whole, 2).filter(|&s| s <= 60)?) * SECOND;
    let Some(fraction) = fraction else {
        return Some((whole, SECOND));
    };
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = &fraction[..fraction.len().min(6)];
    let unit = 10_i64.pow(6 - u32::try_from(kept.len()).ok()?);
    Some((whole + kept.parse::<i64>().ok()? * unit, unit))
}

/// `Z` or `±hh:mm`, in minutes.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (hours, minutes) = text.strip_prefix(['+', '-'])?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    let offset = i64::from(hours * 60 + minutes);
    Some(if text.starts_with('-') { -offset } else { offset })
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row {
    pub param: i16,
    pub span: Span,
}

/// Rows of `idx_date`, a Vec per column.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub low: Vec<Micros>,
    pub high: Vec<Micros>,
}

pub fn index(param: i16, type_name: &str, value: &Value, rows: &mut Vec<Row>) {
    let span = match type_name {
        "Period" => Span::period(value),
        "Timing" => Span::timing(value),
        _ => value.as_str().and_then(Span::parse),
    };
    rows.extend(span.map(|span| Row { param, span }));
}

/// One searched date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Match {
    pub prefix: Prefix,
    /// For `ap` already widened.
    pub span: Span,
}

/// # Errors
/// A sentence for the client when this is no date.
pub fn parse(text: &str, now: Timestamp) -> Result<Match, String> {
    let text = unescape(text);
    let (prefix, date) = Prefix::split(&text);
    // A `+` that the client forgot to encode arrives as a space.
    let span = Span::parse(&date.replace(' ', "+")).ok_or(
        "A date to search for has the form yyyy, yyyy-mm, yyyy-mm-dd or yyyy-mm-ddThh:mm[:ss[.sss]] with Z or ±hh:mm, \
         after an optional prefix eq, ne, gt, lt, ge, le, sa, eb or ap",
    )?;
    Ok(Match {
        prefix,
        span: if prefix == Prefix::Ap {
            around(span, Micros::from(now))
        } else {
            span
        },
    })
}

/// Each end moved away from the other by a tenth of its distance from now.
fn around(span: Span, now: Micros) -> Span {
    let tenth = |end: Micros| end.0.abs_diff(now.0).cast_signed() / 10;
    Span {
        low: plus(span.low, -tenth(span.low)),
        high: plus(span.high, tenth(span.high)),
    }
}

/// The scans of `idx_date` that find any of `matches`.
pub fn branches<'m>(matches: &[Match]) -> Vec<Branch<'m>> {
    let mut matches = matches.to_vec();
    matches.sort_unstable();
    if matches.len() <= MAX_BRANCHES {
        return matches.into_iter().map(one).collect();
    }
    matches
        .chunk_by(|a, b| a.prefix == b.prefix)
        .map(|group| any(group[0].prefix, group))
        .collect()
}

fn one<'m>(Match { prefix, span }: Match) -> Branch<'m> {
    Branch::new(move |sql, t| {
        condition(
            sql,
            t,
            prefix,
            |sql| _ = sql.bind(span.low),
            |sql| _ = sql.bind(span.high),
        );
    })
}

/// A long list in one scan.
fn any<'m>(prefix: Prefix, group: &[Match]) -> Branch<'m> {
    let (low, high): (Vec<Micros>, Vec<Micros>) = group.iter().map(|m| (m.span.low, m.span.high)).unzip();
    Branch {
        joins: Some(Box::new(move |sql, _| {
            sql.push(", unnest(")
                .bind(low.clone())
                .push(", ")
                .bind(high.clone())
                .push(") AS v(low, high)");
        })),
        condition: Box::new(move |sql, t| {
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

/// The table above in SQL. What is redundant in it bounds the scan of an index: `ge` implies `high > low of the search`.
pub fn condition(sql: &mut Sql, t: Alias, prefix: Prefix, low: impl Fn(&mut Sql), high: impl Fn(&mut Sql)) {
    let mut compare = |before: &'static str, column: &'static str, end: &dyn Fn(&mut Sql)| {
        sql.push(before).column(t, column);
        end(sql);
    };
    match prefix {
        Prefix::Eq => {
            compare("", ".low >= ", &low);
            compare(" AND ", ".low < ", &high);
            compare(" AND ", ".high <= ", &high);
        }
        Prefix::Ne => {
            compare("(", ".low < ", &low);
            compare(" OR ", ".high > ", &high);
            sql.push(")");
        }
        Prefix::Gt => compare("", ".high > ", &high),
        Prefix::Lt => compare("", ".low < ", &low),
        Prefix::Ge => {
            compare("", ".high > ", &low);
            compare(" AND (", ".high > ", &high);
            compare(" OR ", ".low >= ", &low);
            sql.push(")");
        }
        Prefix::Le => {
            compare("", ".low < ", &high);
            compare(" AND (", ".low < ", &low);
            compare(" OR ", ".high <= ", &high);
            sql.push(")");
        }
        Prefix::Sa => compare("", ".low >= ", &high),
        Prefix::Eb => compare("", ".high <= ", &low),
        Prefix::Ap => {
            compare("", ".low < ", &high);
            compare(" AND ", ".high > ", &low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn span(low: &str, high: &str) -> Span {
        let at = |text: &str| Micros::from(text.parse::<Timestamp>().unwrap());
        Span {
            low: at(low),
            high: at(high),
        }
    }

    #[test]
    fn a_partial_date_is_the_span_that_it_may_mean() {
        for (text, low, high) in [
            ("2013", "2013-01-01T00:00:00Z", "2014-01-01T00:00:00Z"),
            ("2013-02", "2013-02-01T00:00:00Z", "2013-03-01T00:00:00Z"),
            ("2012-02-29", "2012-02-29T00:00:00Z", "2012-03-01T00:00:00Z"),
            ("2013-12-31", "2013-12-31T00:00:00Z", "2014-01-01T00:00:00Z"),
            ("2013-01-14T10:00", "2013-01-14T10:00:00Z", "2013-01-14T10:01:00Z"),
            ("2013-01-14T10:00:05Z", "2013-01-14T10:00:05Z", "2013-01-14T10:00:06Z"),
            (
                "2013-01-14T10:00:05.12+02:00",
                "2013-01-14T08:00:05.12Z",
                "2013-01-14T08:00:05.13Z",
            ),
            (
                "2013-01-14T23:00:00-05:00",
                "2013-01-15T04:00:00Z",
                "2013-01-15T04:00:01Z",
            ),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
        ] {
            assert_eq!(Span::parse(text), Some(span(low, high)), "{text}");
        }
        let last_day = Span::parse("9999-12-31").unwrap();
        assert_eq!(last_day.high.0 - last_day.low.0, DAY);
        let last_year = Span::parse("9999").unwrap();
        assert_eq!(last_year.high.0 - last_year.low.0, 365 * DAY);
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "",
            "13",
            "2013-13",
            "2013-02-30",
            "2013-1-1",
            "0000",
            "2013-01-01T",
            "2013-01-01T24:00",
            "2013-01-01T10:60",
            "2013-01T10:00",
            "2013-01-01T10:00:61",
            "2013-01-01T10:00:00.",
            "2013-01-01T10:00:00+25:00",
            "20130101",
            "2013-01-01T10:00:00+é1:00",
            "２０１３",
            "' OR 1=1 --",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn periods_and_timings_have_outer_limits() {
        let mut rows = Vec::new();
        index(1, "Period", &json!({"start": "2013-01-21"}), &mut rows);
        index(1, "Period", &json!({"end": "2013-01"}), &mut rows);
        index(1, "Period", &json!({}), &mut rows);
        index(
            1,
            "Timing",
            &json!({"event": ["2013-05", "2012"], "repeat": {"boundsPeriod": {"end": "2014"}}}),
            &mut rows,
        );
        let spans: Vec<Span> = rows.into_iter().map(|row| row.span).collect();
        let start = span("2013-01-21T00:00:00Z", "2013-02-01T00:00:00Z");
        let year = span("2014-01-01T00:00:00Z", "2015-01-01T00:00:00Z");
        assert_eq!(
            spans,
            [
                Span {
                    low: start.low,
                    high: END
                },
                Span {
                    low: BEGINNING,
                    high: start.high
                },
                Span {
                    low: BEGINNING,
                    high: year.high
                },
            ]
        );
    }

    #[test]
    fn about_a_date_means_within_a_tenth_of_its_distance_from_now() {
        let m = parse("ap2013-01-11", "2013-01-21T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(m.span, span("2013-01-10T00:00:00Z", "2013-01-12T21:36:00Z"));
    }

    #[test]
    fn a_plus_that_became_a_space_is_understood() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            parse("2013-01-14T10:00:00 02:00", now),
            parse("2013-01-14T10:00:00+02:00", now)
        );
    }
}
