//! Dates, times and date-times that know how precise they are
//! (<https://hl7.org/fhir/R4/datatypes.html#dateTime>, <https://hl7.org/fhirpath/N1/#date>).
//!
//! `2014` is neither the first of January nor all of the year: comparing it with `2014-05` has no answer. So the parts
//! that were not written stay unwritten through every operation. Calendar and time-zone arithmetic is `jiff`'s.

mod arithmetic;
mod boundaries;
mod compare;
mod parse;

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;

pub use arithmetic::CalendarUnit;

/// A year, a month of a year or a day. `==` compares what was written; see [`Date::equal`] for FHIRPath's `=`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Date {
    year: u16,
    month: Option<u8>,
    day: Option<u8>,
}

/// A time of day, to the hour, the minute or the second with its fraction. `==` compares what was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Time {
    hour: u8,
    minute: Option<u8>,
    second: Option<Second>,
}

/// Seconds and their fraction are one precision: `30` and `30.0` are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Second {
    whole: u8,
    nanos: u32,
    /// Digits of the fraction as written, at most 9.
    digits: u8,
}

/// A [`Date`], perhaps with a [`Time`], perhaps with an offset from UTC. `==` compares what was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DateTime {
    date: Date,
    time: Option<Time>,
    offset: Option<UtcOffset>,
}

/// An offset as written: `Z` and `+00:00` mean the same but print differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum UtcOffset {
    Zulu,
    Minutes(i16),
}

impl UtcOffset {
    fn minutes(self) -> i16 {
        match self {
            UtcOffset::Zulu => 0,
            UtcOffset::Minutes(minutes) => minutes,
        }
    }
}

impl Date {
    /// `None` if that day does not exist.
    pub fn from_ymd(year: u16, month: u8, day: u8) -> Option<Date> {
        Date::from_parts(year, Some(month), Some(day))
    }

    fn from_parts(year: u16, month: Option<u8>, day: Option<u8>) -> Option<Date> {
        let first_of_month = jiff::civil::Date::new(i16::try_from(year).ok()?, month.unwrap_or(1) as i8, 1).ok()?;
        let day_exists = day.is_none_or(|day| (1..=first_of_month.days_in_month()).contains(&(day as i8)));
        ((1..=9999).contains(&year) && day_exists).then_some(Date { year, month, day })
    }

    pub fn to_date_time(self) -> DateTime {
        DateTime {
            date: self,
            time: None,
            offset: None,
        }
    }

    pub fn year(&self) -> u32 {
        self.year.into()
    }

    /// 1 to 12.
    pub fn month(&self) -> Option<u32> {
        self.month.map(u32::from)
    }

    /// 1 to 31.
    pub fn day(&self) -> Option<u32> {
        self.day.map(u32::from)
    }

    /// Number of digits written: 4, 6 or 8.
    pub fn precision(&self) -> u32 {
        match (self.month, self.day) {
            (None, _) => 4,
            (_, None) => 6,
            _ => 8,
        }
    }
}

impl Time {
    /// To the millisecond. `None` if that time does not exist.
    pub fn from_hms_milli(hour: u8, minute: u8, second: u8, millisecond: u16) -> Option<Time> {
        let second = Second {
            whole: second,
            nanos: u32::from(millisecond) * 1_000_000,
            digits: 3,
        };
        let exists = hour < 24 && minute < 60 && second.whole < 60 && millisecond < 1000;
        exists.then_some(Time {
            hour,
            minute: Some(minute),
            second: Some(second),
        })
    }

    /// 0 to 23.
    pub fn hour(&self) -> u32 {
        self.hour.into()
    }

    /// 0 to 59.
    pub fn minute(&self) -> Option<u32> {
        self.minute.map(u32::from)
    }

    /// 0 to 60: FHIR allows for leap seconds.
    pub fn second(&self) -> Option<u32> {
        self.second.map(|s| s.whole.into())
    }

    /// 0 to 999; `None` when no fraction of a second was written.
    pub fn millisecond(&self) -> Option<u32> {
        self.second.filter(|s| s.digits > 0).map(|s| s.nanos / 1_000_000)
    }

    /// Number of digits: 2, 4, 6, or 9 with any fraction of a second.
    pub fn precision(&self) -> u32 {
        match (self.minute, self.second) {
            (None, _) => 2,
            (_, None) => 4,
            (_, Some(Second { digits: 0, .. })) => 6,
            _ => 9,
        }
    }
}

impl DateTime {
    /// The instant to the millisecond, seen at `offset_minutes` from UTC; `None` if that is beyond the year 9999.
    pub fn from_timestamp(timestamp: Timestamp, offset_minutes: i16) -> Option<DateTime> {
        let local = Offset::from_seconds(i32::from(offset_minutes) * 60)
            .ok()?
            .to_datetime(timestamp);
        let date = Date::from_ymd(
            u16::try_from(local.year()).ok()?,
            local.month() as u8,
            local.day() as u8,
        )?;
        let time = Time::from_hms_milli(
            local.hour() as u8,
            local.minute() as u8,
            local.second() as u8,
            local.millisecond().unsigned_abs(),
        )?;
        let offset = if offset_minutes == 0 {
            UtcOffset::Zulu
        } else {
            UtcOffset::Minutes(offset_minutes)
        };
        Some(DateTime {
            date,
            time: Some(time),
            offset: Some(offset),
        })
    }

    pub fn date(&self) -> Date {
        self.date
    }

    pub fn time(&self) -> Option<Time> {
        self.time
    }

    /// Minutes east of UTC.
    pub fn offset_minutes(&self) -> Option<i16> {
        self.offset.map(UtcOffset::minutes)
    }

    /// Number of digits of date and time: 4, 6, 8, 10, 12, 14, or 17 with any fraction of a second.
    pub fn precision(&self) -> u32 {
        self.date.precision() + self.time.map_or(0, |t| t.precision())
    }
}

impl fmt::Display for Date {
    /// As FHIR writes it: `2014`, `2014-01`, `2014-01-05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        for part in [self.month, self.day].into_iter().map_while(|part| part) {
            write!(f, "-{part:02}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Time {
    /// As FHIR writes it, without a leading `T`: `10:30:00.000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.hour)?;
        if let Some(minute) = self.minute {
            write!(f, ":{minute:02}")?;
        }
        if let Some(Second { whole, nanos, digits }) = self.second {
            write!(f, ":{whole:02}")?;
            if digits > 0 {
                let fraction = format!("{nanos:09}");
                write!(f, ".{}", &fraction[..usize::from(digits)])?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DateTime {
    /// As FHIR writes it: `2014-01-05T08:05:30.123+08:00`, and `2014-01` when there is no time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date.fmt(f)?;
        if let Some(time) = self.time {
            write!(f, "T{time}")?;
        }
        match self.offset {
            None => Ok(()),
            Some(UtcOffset::Zulu) => f.write_str("Z"),
            Some(UtcOffset::Minutes(minutes)) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.unsigned_abs();
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}
