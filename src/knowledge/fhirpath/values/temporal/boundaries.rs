//! The first and the last moment that a partial date or time may mean: FHIRPath's `lowBoundary()` and `highBoundary()`,
//! and the half-open ranges that search compares (<https://hl7.org/fhir/R4/search.html#date>).

use jiff::tz::Offset;
use jiff::{Span, Timestamp, civil};

use super::compare::EXTREME_OFFSETS;
use super::{CalendarUnit, Date, DateTime, Second, Time, UtcOffset};
use crate::knowledge::fhirpath::values::Decimal;

/// Digits of a full date and of a full time.
const DATE_DIGITS: i64 = 8;
const TIME_DIGITS: i64 = 9;

/// Which end of what a partial value may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Low,
    High,
}

impl Date {
    /// The first date of `digits` digits (4, 6 or 8; 8 if `None`) within this one; cuts it if it has more.
    /// `None` for other numbers of digits.
    pub fn low_boundary(&self, digits: Option<i64>) -> Option<Date> {
        self.boundary(digits.unwrap_or(DATE_DIGITS), End::Low)
    }

    /// The last such date; otherwise as [`low_boundary`](Self::low_boundary).
    pub fn high_boundary(&self, digits: Option<i64>) -> Option<Date> {
        self.boundary(digits.unwrap_or(DATE_DIGITS), End::High)
    }

    fn boundary(&self, digits: i64, end: End) -> Option<Date> {
        let month = self.month.unwrap_or(if end == End::Low { 1 } else { 12 });
        let last_day = civil::Date::new(i16::try_from(self.year).ok()?, month as i8, 1)
            .ok()?
            .days_in_month();
        let day = self.day.unwrap_or(if end == End::Low { 1 } else { last_day as u8 });
        match digits {
            4 => Date::from_parts(self.year, None, None),
            6 => Date::from_parts(self.year, Some(month), None),
            8 => Date::from_parts(self.year, Some(month), Some(day)),
            _ => None,
        }
    }

    /// The instants `[low, high)` that this date covers on a clock `offset_minutes` east of UTC.
    pub fn bounds(&self, offset_minutes: i16) -> (Timestamp, Timestamp) {
        self.to_date_time().bounds(offset_minutes)
    }
}

impl Time {
    /// The first time of `digits` digits (2, 4, 6 or 9; 9 if `None`) within this one; cuts it if it has more.
    /// `None` for other numbers of digits.
    pub fn low_boundary(&self, digits: Option<i64>) -> Option<Time> {
        self.boundary(digits.unwrap_or(TIME_DIGITS), End::Low)
    }

    /// The last such time; otherwise as [`low_boundary`](Self::low_boundary).
    pub fn high_boundary(&self, digits: Option<i64>) -> Option<Time> {
        self.boundary(digits.unwrap_or(TIME_DIGITS), End::High)
    }

    fn boundary(&self, digits: i64, end: End) -> Option<Time> {
        // FHIR's times have minutes at least, so the official suite reads a bare hour as its first minute, at both ends.
        let minute = self.minute.unwrap_or(0);
        let second = self.second.unwrap_or(Second {
            whole: if end == End::Low { 0 } else { 59 },
            nanos: 0,
            digits: 0,
        });
        let milliseconds = Second {
            nanos: match (second.digits, end) {
                (0, End::High) => 999_000_000,
                _ => second.nanos / 1_000_000 * 1_000_000,
            },
            digits: 3,
            ..second
        };
        let whole_second = Second {
            nanos: 0,
            digits: 0,
            ..second
        };
        let (minute, second) = match digits {
            2 => (None, None),
            4 => (Some(minute), None),
            6 => (Some(minute), Some(whole_second)),
            9 => (Some(minute), Some(milliseconds)),
            _ => return None,
        };
        Some(Time {
            hour: self.hour,
            minute,
            second,
        })
    }
}

impl DateTime {
    /// The first moment of `digits` digits (4, 6, 8, 10, 12, 14 or 17; 17 if `None`) within this one. Where the offset is
    /// unknown and a time is asked, the easternmost clock has it first. `None` for other numbers of digits.
    pub fn low_boundary(&self, digits: Option<i64>) -> Option<DateTime> {
        self.boundary(digits.unwrap_or(DATE_DIGITS + TIME_DIGITS), End::Low)
    }

    /// The last such moment, on the westernmost clock if the offset is unknown; otherwise as
    /// [`low_boundary`](Self::low_boundary).
    pub fn high_boundary(&self, digits: Option<i64>) -> Option<DateTime> {
        self.boundary(digits.unwrap_or(DATE_DIGITS + TIME_DIGITS), End::High)
    }

    fn boundary(&self, digits: i64, end: End) -> Option<DateTime> {
        let date = self.date.boundary(digits.min(DATE_DIGITS), end)?;
        if digits <= DATE_DIGITS {
            return Some(date.to_date_time());
        }
        let whole_day = match end {
            End::Low => Time {
                hour: 0,
                minute: Some(0),
                second: None,
            },
            End::High => Time {
                hour: 23,
                minute: Some(59),
                second: None,
            },
        };
        let time = self.time.unwrap_or(whole_day).boundary(digits - DATE_DIGITS, end)?;
        let [easternmost, westernmost] = EXTREME_OFFSETS.map(UtcOffset::Minutes);
        let unknown = if end == End::Low { easternmost } else { westernmost };
        Some(DateTime {
            date,
            time: Some(time),
            offset: Some(self.offset.unwrap_or(unknown)),
        })
    }

    /// The instants `[low, high)` that this value covers; `default_offset_minutes` stands in for an offset that was not
    /// written. The end of the year 9999 is cut at the last instant that can be represented, in the UTC day before.
    pub fn bounds(&self, default_offset_minutes: i16) -> (Timestamp, Timestamp) {
        let minutes = self.offset_minutes().unwrap_or(default_offset_minutes);
        let offset = Offset::from_seconds(i32::from(minutes) * 60).unwrap_or(Offset::UTC);
        let low = self.start(offset);
        let high = match self.time {
            Some(Time {
                second: Some(second), ..
            }) => low
                .saturating_add(Span::new().nanoseconds(10_i64.pow(9 - u32::from(second.digits))))
                .unwrap_or(low),
            _ => self.next().map_or(Timestamp::MAX, |next| next.start(offset)),
        };
        (low, high)
    }

    /// The first instant, on a clock at `offset`.
    fn start(&self, offset: Offset) -> Timestamp {
        let second = self.time.and_then(|time| time.second).unwrap_or(Second {
            whole: 0,
            nanos: 0,
            digits: 0,
        });
        let civil = civil::DateTime::new(
            self.date.year as i16,
            self.date.month.unwrap_or(1) as i8,
            self.date.day.unwrap_or(1) as i8,
            self.time.map_or(0, |time| time.hour) as i8,
            self.time.and_then(|time| time.minute).unwrap_or(0) as i8,
            0,
            0,
        );
        // The parts were checked when this value was made; only the range of `Timestamp` can be exceeded, at its upper end.
        let minute = civil
            .and_then(|civil| offset.to_timestamp(civil))
            .unwrap_or(Timestamp::MAX);
        let within = Span::new()
            .seconds(i64::from(second.whole))
            .nanoseconds(i64::from(second.nanos));
        minute.saturating_add(within).unwrap_or(minute)
    }

    /// The following value of the same precision.
    fn next(&self) -> Option<DateTime> {
        let unit = match (self.date.month, self.date.day, self.time) {
            (None, ..) => CalendarUnit::Year,
            (_, None, _) => CalendarUnit::Month,
            (.., None) => CalendarUnit::Day,
            (.., Some(Time { minute: None, .. })) => CalendarUnit::Hour,
            _ => CalendarUnit::Minute,
        };
        self.add(Decimal::ONE, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low(text: &str, digits: i64) -> Option<String> {
        DateTime::parse(text)
            .unwrap()
            .low_boundary(Some(digits))
            .map(|b| b.to_string())
    }

    fn high(text: &str, digits: i64) -> Option<String> {
        DateTime::parse(text)
            .unwrap()
            .high_boundary(Some(digits))
            .map(|b| b.to_string())
    }

    fn bounds(text: &str) -> String {
        let (low, high) = DateTime::parse(text).unwrap().bounds(0);
        format!("{low} {high}")
    }

    #[test]
    fn boundaries_follow_the_official_suite() {
        assert_eq!(low("2014", 6).unwrap(), "2014-01");
        assert_eq!(high("2014", 6).unwrap(), "2014-12");
        assert_eq!(high("2016-02", 8).unwrap(), "2016-02-29");
        assert_eq!(low("2014-01-01T08", 17).unwrap(), "2014-01-01T08:00:00.000+14:00");
        assert_eq!(high("2014-01-01T08", 17).unwrap(), "2014-01-01T08:00:59.999-12:00");
        assert_eq!(
            low("2014-01-01T08:05+08:00", 17).unwrap(),
            "2014-01-01T08:05:00.000+08:00"
        );
        assert_eq!(
            high("2014-01-01T08:05-05:00", 17).unwrap(),
            "2014-01-01T08:05:59.999-05:00"
        );
        assert_eq!(high("2014", 17).unwrap(), "2014-12-31T23:59:59.999-12:00");
        assert_eq!(low("2014-01-01T08", 8).unwrap(), "2014-01-01");
        assert_eq!(low("2014-01-01T08", 5), None);
        let time = Time::parse("10:30").unwrap();
        assert_eq!(time.low_boundary(None).unwrap().to_string(), "10:30:00.000");
        assert_eq!(time.high_boundary(Some(9)).unwrap().to_string(), "10:30:59.999");
    }

    #[test]
    fn bounds_are_half_open() {
        assert_eq!(bounds("2014"), "2014-01-01T00:00:00Z 2015-01-01T00:00:00Z");
        assert_eq!(bounds("2016-02"), "2016-02-01T00:00:00Z 2016-03-01T00:00:00Z");
        assert_eq!(bounds("2016-12-31"), "2016-12-31T00:00:00Z 2017-01-01T00:00:00Z");
        assert_eq!(
            bounds("2016-12-31T23:59+02:00"),
            "2016-12-31T21:59:00Z 2016-12-31T22:00:00Z"
        );
        assert_eq!(
            bounds("2016-12-31T23:59:59Z"),
            "2016-12-31T23:59:59Z 2017-01-01T00:00:00Z"
        );
        assert_eq!(
            bounds("2016-12-31T23:59:60Z"),
            "2017-01-01T00:00:00Z 2017-01-01T00:00:01Z"
        );
        assert_eq!(
            bounds("2016-12-31T23:59:59.25Z"),
            "2016-12-31T23:59:59.25Z 2016-12-31T23:59:59.26Z"
        );
    }

    #[test]
    fn an_offset_is_assumed_only_where_none_is_written() {
        let day = Date::parse("2016-12-31").unwrap();
        assert_eq!(day.bounds(60).0.to_string(), "2016-12-30T23:00:00Z");
        let moment = DateTime::parse("2016-12-31T00:00:00Z").unwrap();
        assert_eq!(moment.bounds(60).0.to_string(), "2016-12-31T00:00:00Z");
    }

    #[test]
    fn the_last_year_has_an_end() {
        let (low, high) = DateTime::parse("9999").unwrap().bounds(0);
        assert!(low < high);
        let (low, high) = DateTime::parse("9999-12-31T23:59:59.999-14:00").unwrap().bounds(0);
        assert!(low <= high);
    }
}
