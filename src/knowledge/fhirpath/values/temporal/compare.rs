//! FHIRPath's `=`, `~`, `<` and `>` of dates and times: part by part from the largest, until one value has no more.
//! <https://hl7.org/fhirpath/N1/#equality>, <https://hl7.org/fhirpath/N1/#comparison>

use std::cmp::Ordering;

use jiff::civil;

use super::{Date, DateTime, Time};

/// Year, month, day, hour, minute, and nanoseconds within the minute; absent from the first unwritten part on.
type Parts = [Option<u64>; 6];

/// How two values compare over the parts that both have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// A shared part differs, or all parts are there and equal.
    Certain(Ordering),
    /// Equal as far as both go, but one goes further.
    Undetermined,
}

impl Comparison {
    fn of(a: Parts, b: Parts) -> Comparison {
        for (a, b) in a.into_iter().zip(b) {
            match (a, b) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(b)) => return Comparison::Certain(a.cmp(&b)),
                (None, None) => break,
                _ => return Comparison::Undetermined,
            }
        }
        Comparison::Certain(Ordering::Equal)
    }

    fn certain(self) -> Option<Ordering> {
        match self {
            Comparison::Certain(ordering) => Some(ordering),
            Comparison::Undetermined => None,
        }
    }
}

impl Date {
    fn parts(&self) -> Parts {
        [
            Some(self.year.into()),
            self.month.map(u64::from),
            self.day.map(u64::from),
            None,
            None,
            None,
        ]
    }

    /// `<` and `>`. `None` when the less precise value covers the other.
    pub fn compare(&self, other: &Date) -> Option<Ordering> {
        Comparison::of(self.parts(), other.parts()).certain()
    }

    /// `=`. `None` when the less precise value covers the other.
    pub fn equal(&self, other: &Date) -> Option<bool> {
        self.compare(other).map(Ordering::is_eq)
    }

    /// `~`: the same precision, and equal.
    pub fn equivalent(&self, other: &Date) -> bool {
        self.equal(other) == Some(true)
    }
}

impl Time {
    fn parts(&self) -> Parts {
        let nanos = self
            .second
            .map(|s| u64::from(s.whole) * 1_000_000_000 + u64::from(s.nanos));
        [
            None,
            None,
            None,
            Some(self.hour.into()),
            self.minute.map(u64::from),
            nanos,
        ]
    }

    /// `<` and `>`. `None` when the less precise value covers the other.
    pub fn compare(&self, other: &Time) -> Option<Ordering> {
        let of_day = |time: &Time| {
            let [_, _, _, hour, minute, second] = time.parts();
            [hour, minute, second, None, None, None]
        };
        Comparison::of(of_day(self), of_day(other)).certain()
    }

    /// `=`. `None` when the less precise value covers the other.
    pub fn equal(&self, other: &Time) -> Option<bool> {
        self.compare(other).map(Ordering::is_eq)
    }

    /// `~`: the same precision, and equal.
    pub fn equivalent(&self, other: &Time) -> bool {
        self.equal(other) == Some(true)
    }
}

impl DateTime {
    fn parts(&self) -> Parts {
        let [year, month, day, ..] = self.date.parts();
        let [.., hour, minute, second] = self.time.map_or([None; 6], |time| time.parts());
        [year, month, day, hour, minute, second]
    }

    /// The parts as a clock in UTC shows them, if this one stands at `offset`.
    fn utc_parts(&self, offset_minutes: i16) -> Parts {
        let (Some(time), Some(day)) = (self.time, self.date.day) else {
            return self.parts();
        };
        let [.., second] = time.parts();
        let local = civil::Date::new(self.date.year as i16, self.date.month.unwrap_or(1) as i8, day as i8)
            .map(|date| date.at(time.hour as i8, time.minute.unwrap_or(0) as i8, 0, 0));
        let shift = jiff::Span::new().minutes(i64::from(offset_minutes));
        match local.and_then(|local| local.checked_sub(shift)) {
            Ok(utc) => [
                // Midnight of 1 January in the year 1 may be in the year 0 in UTC, never earlier.
                Some(u64::try_from(utc.year()).unwrap_or(0)),
                Some(utc.month().unsigned_abs().into()),
                Some(utc.day().unsigned_abs().into()),
                Some(utc.hour().unsigned_abs().into()),
                time.minute.map(|_| utc.minute().unsigned_abs().into()),
                second,
            ],
            Err(_) => self.parts(),
        }
    }

    /// `<` and `>`. `None` when the less precise value covers the other, and when it depends on an unknown offset.
    ///
    /// A missing offset is not taken for the server's own: the official suite wants no answer for
    /// `15:00:00Z = 10:00:00`. It lies somewhere from −12:00 to +14:00, and where all of these give the same answer, that is it.
    pub fn compare(&self, other: &DateTime) -> Option<Ordering> {
        if self.time.is_none() || other.time.is_none() {
            // With no time on one side there is no clock to shift.
            return Comparison::of(self.parts(), other.parts()).certain();
        }
        match (self.offset, other.offset) {
            (None, None) => Comparison::of(self.parts(), other.parts()).certain(),
            (Some(a), Some(b)) => self.compare_at(a.minutes(), other, b.minutes()).certain(),
            (Some(a), None) => same(EXTREME_OFFSETS.map(|b| self.compare_at(a.minutes(), other, b))),
            (None, Some(b)) => same(EXTREME_OFFSETS.map(|a| self.compare_at(a, other, b.minutes()))),
        }
    }

    fn compare_at(&self, offset: i16, other: &DateTime, other_offset: i16) -> Comparison {
        Comparison::of(self.utc_parts(offset), other.utc_parts(other_offset))
    }

    /// `=`. `None` where [`compare`](Self::compare) has no answer.
    pub fn equal(&self, other: &DateTime) -> Option<bool> {
        self.compare(other).map(Ordering::is_eq)
    }

    /// `~`: the same precision, and equal.
    pub fn equivalent(&self, other: &DateTime) -> bool {
        self.equal(other) == Some(true)
    }
}

/// The clocks of the world, in minutes east of UTC.
pub(super) const EXTREME_OFFSETS: [i16; 2] = [14 * 60, -12 * 60];

fn same([a, b]: [Comparison; 2]) -> Option<Ordering> {
    if a == b { a.certain() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dt(text: &str) -> DateTime {
        DateTime::parse(text).unwrap_or_else(|| panic!("{text} is a dateTime"))
    }

    fn equal(a: &str, b: &str) -> Option<bool> {
        dt(a).equal(&dt(b))
    }

    fn less(a: &str, b: &str) -> Option<bool> {
        dt(a).compare(&dt(b)).map(Ordering::is_lt)
    }

    #[test]
    fn a_difference_in_a_shared_part_decides() {
        assert_eq!(equal("2012-04-15", "2012-04-16"), Some(false));
        assert_eq!(equal("2012", "2013-04-16"), Some(false));
        assert_eq!(equal("1974-12-25", "1975-01-01T12:34:00Z"), Some(false));
        assert_eq!(less("1974-12-25", "2026-11-23T10:00:00.000+01:00"), Some(true));
    }

    #[test]
    fn equal_as_far_as_it_goes_is_undetermined() {
        assert_eq!(equal("2012-04-15", "2012-04-15T10:00:00"), None);
        assert_eq!(less("2018-03", "2018-03-01"), None);
        assert_eq!(less("2018-03-01T10:30", "2018-03-01T10:30:00"), None);
        assert_eq!(equal("1974-12-25", "1974-12-25T12:34:00-10:00"), None);
        assert!(!dt("2012-04-15").equivalent(&dt("2012-04-15T10:00:00")));
    }

    #[test]
    fn seconds_and_their_fraction_are_one_precision() {
        assert_eq!(equal("2012-04-15T15:30:31", "2012-04-15T15:30:31.0"), Some(true));
        assert_eq!(equal("2012-04-15T15:30:31", "2012-04-15T15:30:31.1"), Some(false));
        assert_eq!(
            Time::parse("10:30:00")
                .unwrap()
                .compare(&Time::parse("10:30:00.0").unwrap()),
            Some(Ordering::Equal)
        );
        assert_eq!(
            Time::parse("10:30").unwrap().compare(&Time::parse("10:30:00").unwrap()),
            None
        );
    }

    #[test]
    fn offsets_are_brought_to_utc() {
        assert_eq!(
            equal("2017-11-05T01:30:00.0-04:00", "2017-11-05T00:30:00.0-05:00"),
            Some(true)
        );
        assert_eq!(
            less("2017-11-05T01:30:00.0-04:00", "2017-11-05T01:15:00.0-05:00"),
            Some(true)
        );
        assert_eq!(
            equal("2012-04-15T15:00:00+02:00", "2012-04-15T16:00:00+03:00"),
            Some(true)
        );
        assert_eq!(less("2011-12-31T23:00:00-02:00", "2012-01-01T00:30:00Z"), Some(false));
        assert_eq!(less("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"), Some(true));
        assert_eq!(less("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"), Some(false));
    }

    #[test]
    fn an_unknown_offset_leaves_close_times_open() {
        assert_eq!(equal("2012-04-15T15:00:00Z", "2012-04-15T10:00:00"), None);
        assert_eq!(equal("2012-04-15T15:00:00Z", "2012-04-17T10:00:00"), Some(false));
        assert_eq!(less("2012-04-15T10:00:00", "2012-04-17T10:00:00Z"), Some(true));
    }
}
