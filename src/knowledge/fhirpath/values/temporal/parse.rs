//! FHIR's `date`, `dateTime`, `instant` and `time`, and FHIRPath's literals without their `@` and leading `T`.

use super::{Date, DateTime, Second, Time, UtcOffset};

/// Offsets from UTC go from −14:00 to +14:00.
const MAX_OFFSET_MINUTES: i16 = 14 * 60;

impl Date {
    /// `2014`, `2014-01` or `2014-01-05`. `None` if malformed or if there is no such day.
    pub fn parse(text: &str) -> Option<Date> {
        let mut parts = text.split('-');
        let year = digits(parts.next()?, 4)?;
        let month = optional(parts.next(), two_digits)?;
        let day = optional(parts.next(), two_digits)?;
        if parts.next().is_some() {
            return None;
        }
        Date::from_parts(year, month, day)
    }
}

impl Time {
    /// `10`, `10:30`, `10:30:00` or `10:30:00.123`. `None` if malformed or if there is no such time.
    /// Digits of a second beyond the ninth are dropped.
    pub fn parse(text: &str) -> Option<Time> {
        let mut parts = text.split(':');
        let hour = two_digits(parts.next()?).filter(|&hour| hour < 24)?;
        let minute = optional(parts.next(), |text| two_digits(text).filter(|&minute| minute < 60))?;
        let second = optional(parts.next(), Second::parse)?;
        parts.next().is_none().then_some(Time { hour, minute, second })
    }
}

impl Second {
    fn parse(text: &str) -> Option<Second> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (text, ""),
        };
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole = two_digits(whole).filter(|&second| second <= 60)?;
        let kept = &fraction[..fraction.len().min(9)];
        let nanos = format!("{kept:0<9}").parse().ok()?;
        Some(Second {
            whole,
            nanos,
            digits: kept.len() as u8,
        })
    }
}

impl DateTime {
    /// A date, or a date, `T` and a time with or without offset. FHIRPath's `2014T` is a date-time without a time.
    /// `None` if malformed or if there is no such moment.
    pub fn parse(text: &str) -> Option<DateTime> {
        let Some((date, rest)) = text.split_once('T') else {
            return Date::parse(text).map(Date::to_date_time);
        };
        let date = Date::parse(date)?;
        if rest.is_empty() {
            return Some(date.to_date_time());
        }
        date.day?;
        let (time, offset) = match rest.find(['Z', '+', '-']) {
            Some(at) => (&rest[..at], Some(UtcOffset::parse(&rest[at..])?)),
            None => (rest, None),
        };
        Some(DateTime {
            date,
            time: Some(Time::parse(time)?),
            offset,
        })
    }
}

impl UtcOffset {
    fn parse(text: &str) -> Option<UtcOffset> {
        if text == "Z" {
            return Some(UtcOffset::Zulu);
        }
        let (hours, minutes) = text[1..].split_once(':')?;
        let minutes = i16::from(two_digits(hours)?) * 60 + i16::from(two_digits(minutes).filter(|&m| m < 60)?);
        let signed = if text.starts_with('-') { -minutes } else { minutes };
        (minutes <= MAX_OFFSET_MINUTES).then_some(UtcOffset::Minutes(signed))
    }
}

/// An absent part is fine, a malformed one is not.
fn optional<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        Some(text) => parse(text).map(Some),
        None => Some(None),
    }
}

fn two_digits(text: &str) -> Option<u8> {
    digits(text, 2).map(|number| number as u8)
}

fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_printed() {
        for text in ["2014", "2014-01", "2016-02-29"] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        for text in ["10", "10:30", "23:59:60", "10:30:00.120"] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "2014",
            "2014-01-05T08",
            "2014-01-05T08:05Z",
            "2014-01-05T08:05:30.1234+08:00",
            "2014-01-05T08:05-00:30",
        ] {
            assert_eq!(DateTime::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DateTime::parse("2014-01T").unwrap().to_string(), "2014-01");
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for text in [
            "",
            "0000",
            "214",
            "2014-",
            "2014-13",
            "2014-00",
            "2015-02-29",
            "2014-1-5",
            "2014-01-05-01",
            "２０１４",
        ] {
            assert!(Date::parse(text).is_none(), "{text}");
        }
        for text in [
            "24",
            "10:60",
            "10:30:61",
            "10:30:",
            "10:30:00.",
            "10:30:00.x",
            "1:30",
            "10:30:00:00",
            "14:34:28Z",
        ] {
            assert!(Time::parse(text).is_none(), "{text}");
        }
        for text in [
            "2014T08",
            "2014-01-05TZ",
            "2014-01-05T08:00+15:00",
            "2014-01-05T08:00+1:00",
            "2014-01-05T08:00+é:00",
        ] {
            assert!(DateTime::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn precision_counts_digits() {
        assert_eq!(Date::parse("2014").unwrap().precision(), 4);
        assert_eq!(DateTime::parse("2014-01-05T10:30:00.000").unwrap().precision(), 17);
        assert_eq!(DateTime::parse("2014-01-05T10:30").unwrap().precision(), 12);
        assert_eq!(Time::parse("10:30").unwrap().precision(), 4);
        assert_eq!(Time::parse("10:30:00.000").unwrap().precision(), 9);
    }
}
