//! Dates and times plus or minus a duration (<https://hl7.org/fhirpath/N1/#datetime-arithmetic>).

use jiff::{Span, civil};

use super::{Date, DateTime, Second, Time};
use crate::knowledge::fhirpath::values::Decimal;

/// A calendar duration's unit, largest first: two dates a month apart need not be 30 days apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CalendarUnit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl CalendarUnit {
    /// FHIRPath's keyword in singular or plural.
    pub fn parse(text: &str) -> Option<CalendarUnit> {
        Some(match text.strip_suffix('s').unwrap_or(text) {
            "year" => CalendarUnit::Year,
            "month" => CalendarUnit::Month,
            "week" => CalendarUnit::Week,
            "day" => CalendarUnit::Day,
            "hour" => CalendarUnit::Hour,
            "minute" => CalendarUnit::Minute,
            "second" => CalendarUnit::Second,
            "millisecond" => CalendarUnit::Millisecond,
            _ => return None,
        })
    }

    /// The singular keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            CalendarUnit::Year => "year",
            CalendarUnit::Month => "month",
            CalendarUnit::Week => "week",
            CalendarUnit::Day => "day",
            CalendarUnit::Hour => "hour",
            CalendarUnit::Minute => "minute",
            CalendarUnit::Second => "second",
            CalendarUnit::Millisecond => "millisecond",
        }
    }

    /// FHIRPath's fixed rates for durations that are finer than the date they are added to: a month has 30 days, a year 365.
    fn milliseconds(self) -> i64 {
        const SECOND: i64 = 1000;
        const DAY: i64 = 86_400 * SECOND;
        match self {
            CalendarUnit::Year => 365 * DAY,
            CalendarUnit::Month => 30 * DAY,
            CalendarUnit::Week => 7 * DAY,
            CalendarUnit::Day => DAY,
            CalendarUnit::Hour => 3600 * SECOND,
            CalendarUnit::Minute => 60 * SECOND,
            CalendarUnit::Second => SECOND,
            CalendarUnit::Millisecond => 1,
        }
    }

    /// `value` of this unit as a span, for a date or time whose finest part is `finest`. The fraction is dropped except
    /// from seconds, as is what the finest part cannot show: 23 months are one year when only the year is known.
    fn span(self, value: Decimal, finest: CalendarUnit) -> Option<Span> {
        let (value, unit) = match (self, finest) {
            (CalendarUnit::Month, CalendarUnit::Year) => (value.truncate().checked_div(Decimal::from(12))?, finest),
            _ if self > finest && finest != CalendarUnit::Second => {
                let milliseconds = value.checked_mul(Decimal::from(self.milliseconds()))?;
                (milliseconds.checked_div(Decimal::from(finest.milliseconds()))?, finest)
            }
            _ => (value, self),
        };
        let whole = value.truncate().to_i64()?;
        let span = Span::new();
        match unit {
            CalendarUnit::Year => span.try_years(whole),
            CalendarUnit::Month => span.try_months(whole),
            CalendarUnit::Week => span.try_weeks(whole),
            CalendarUnit::Day => span.try_days(whole),
            CalendarUnit::Hour => span.try_hours(whole),
            CalendarUnit::Minute => span.try_minutes(whole),
            CalendarUnit::Second | CalendarUnit::Millisecond => {
                let nanos = value
                    .checked_mul(Decimal::from(unit.milliseconds() * 1_000_000))?
                    .truncate()
                    .to_i64()?;
                span.try_seconds(nanos / 1_000_000_000)
                    .and_then(|span| span.try_nanoseconds(nanos % 1_000_000_000))
            }
        }
        .ok()
    }
}

impl Date {
    /// `value` may be negative. The end of a month stays within the month: 31 January plus one month is the last of
    /// February. `None` when the result is outside the years 1 to 9999.
    pub fn add(&self, value: Decimal, unit: CalendarUnit) -> Option<Date> {
        self.to_date_time().add(value, unit).map(|sum| sum.date)
    }

    fn finest(&self) -> CalendarUnit {
        match (self.month, self.day) {
            (None, _) => CalendarUnit::Year,
            (_, None) => CalendarUnit::Month,
            _ => CalendarUnit::Day,
        }
    }
}

impl Time {
    /// Goes around the clock; `value` may be negative. `None` for units of a day and longer.
    pub fn add(&self, value: Decimal, unit: CalendarUnit) -> Option<Time> {
        if unit < CalendarUnit::Hour {
            return None;
        }
        let span = unit.span(value, self.finest())?;
        let duration = span.to_duration(civil::date(2000, 1, 1)).ok()?;
        Some(self.with_clock(self.clock()?.wrapping_add(duration)))
    }

    fn finest(&self) -> CalendarUnit {
        match (self.minute, self.second) {
            (None, _) => CalendarUnit::Hour,
            (_, None) => CalendarUnit::Minute,
            _ => CalendarUnit::Second,
        }
    }

    /// A leap second counts as the second before it, as clocks without leap seconds show it.
    fn clock(&self) -> Option<civil::Time> {
        let second = self.second.unwrap_or(Second {
            whole: 0,
            nanos: 0,
            digits: 0,
        });
        let whole = second.whole.min(59);
        civil::Time::new(
            self.hour as i8,
            self.minute.unwrap_or(0) as i8,
            whole as i8,
            second.nanos as i32,
        )
        .ok()
    }

    /// Another time of day at the precision of this one.
    fn with_clock(&self, clock: civil::Time) -> Time {
        let nanos = clock.subsec_nanosecond().unsigned_abs();
        let second = self.second.map(|old| Second {
            whole: clock.second() as u8,
            nanos,
            digits: old.digits.max(digits_needed(nanos)),
        });
        Time {
            hour: clock.hour() as u8,
            minute: self.minute.map(|_| clock.minute() as u8),
            second,
        }
    }
}

impl DateTime {
    /// As [`Date::add`], at the precision of this value and without leaving its offset.
    pub fn add(&self, value: Decimal, unit: CalendarUnit) -> Option<DateTime> {
        let finest = self.time.map_or(self.date.finest(), |time| time.finest());
        let span = unit.span(value, finest)?;
        let date = civil::Date::new(
            i16::try_from(self.date.year).ok()?,
            self.date.month.unwrap_or(1) as i8,
            self.date.day.unwrap_or(1) as i8,
        );
        let clock = self.time.map_or(Some(civil::Time::midnight()), |time| time.clock())?;
        let sum = date.ok()?.to_datetime(clock).checked_add(span).ok()?;
        let date = Date::from_parts(
            u16::try_from(sum.year()).ok()?,
            self.date.month.map(|_| sum.month() as u8),
            self.date.day.map(|_| sum.day() as u8),
        )?;
        Some(DateTime {
            date,
            time: self.time.map(|time| time.with_clock(sum.time())),
            offset: self.offset,
        })
    }
}

/// Digits behind the point that show `nanos` without loss; milliseconds are written in full.
fn digits_needed(nanos: u32) -> u8 {
    match nanos {
        0 => 0,
        _ if nanos.is_multiple_of(1_000_000) => 3,
        _ if nanos.is_multiple_of(1000) => 6,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plus(text: &str, value: &str, unit: &str) -> Option<String> {
        let value = Decimal::parse(value).unwrap();
        let unit = CalendarUnit::parse(unit).unwrap();
        DateTime::parse(text)
            .unwrap()
            .add(value, unit)
            .map(|sum| sum.to_string())
    }

    #[test]
    fn parts_carry_over() {
        assert_eq!(plus("1973-12-25", "7", "days").unwrap(), "1974-01-01");
        assert_eq!(plus("1973-12-25", "7.7", "days").unwrap(), "1974-01-01");
        assert_eq!(plus("1973-12-25", "1", "week").unwrap(), "1974-01-01");
        assert_eq!(plus("1974-12-25", "-1", "month").unwrap(), "1974-11-25");
        assert_eq!(
            plus("1973-12-25T23:59:59.999Z", "1", "millisecond").unwrap(),
            "1973-12-26T00:00:00.000Z"
        );
        assert_eq!(
            plus("1973-12-25T00:00:00.000+10:00", "10", "milliseconds").unwrap(),
            "1973-12-25T00:00:00.010+10:00"
        );
        assert_eq!(
            plus("1973-12-25T00:00:00", "0.5", "seconds").unwrap(),
            "1973-12-25T00:00:00.500"
        );
    }

    #[test]
    fn the_end_of_a_month_is_kept() {
        assert_eq!(plus("2015-01-31", "1", "month").unwrap(), "2015-02-28");
        assert_eq!(plus("2016-02-29", "1", "year").unwrap(), "2017-02-28");
        assert_eq!(plus("2016-02-29", "-4", "years").unwrap(), "2012-02-29");
    }

    #[test]
    fn partial_dates_take_what_they_can_show() {
        assert_eq!(plus("2014", "24", "months").unwrap(), "2016");
        assert_eq!(plus("2014", "23", "months").unwrap(), "2015");
        assert_eq!(plus("2014", "364", "days").unwrap(), "2014");
        assert_eq!(plus("2014", "365", "days").unwrap(), "2015");
        assert_eq!(plus("2019-03", "61", "days").unwrap(), "2019-05");
        assert_eq!(plus("2019-03-01", "49", "hours").unwrap(), "2019-03-03");
        assert_eq!(plus("2019-03-01T10", "119", "minutes").unwrap(), "2019-03-01T11");
    }

    #[test]
    fn out_of_range_is_empty() {
        assert_eq!(plus("9999-12-31", "1", "day"), None);
        assert_eq!(plus("0001", "-1", "year"), None);
        assert_eq!(plus("2014", "1e30", "years"), None);
        assert_eq!(plus("2014-01-01T00:00:00", "1e20", "milliseconds"), None);
    }

    #[test]
    fn times_go_around_the_clock() {
        let plus = |text: &str, value: i64, unit| Time::parse(text).unwrap().add(Decimal::from(value), unit);
        assert_eq!(plus("23:30", 45, CalendarUnit::Minute).unwrap().to_string(), "00:15");
        assert_eq!(
            plus("00:00:00", -1, CalendarUnit::Second).unwrap().to_string(),
            "23:59:59"
        );
        assert_eq!(plus("10", 90, CalendarUnit::Minute).unwrap().to_string(), "11");
        assert_eq!(plus("10:00", 1, CalendarUnit::Day), None);
    }
}
