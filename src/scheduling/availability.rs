//! When somebody can be booked: weekly windows and exceptions, as wall times of one place, made into instants.
//!
//! Pure: no database, no FHIR, no clock. Instants are seconds since 1970-01-01T00:00:00Z.
//!
//! **Daylight saving.** A window is what a clock on the practitioner's wall shows. Where the clock jumps over a wall time,
//! the window begins or ends at the jump; where it shows a wall time twice, the first one counts. Visits are laid into a
//! window by elapsed time, from its beginning: on the day that has an hour less, a window across the jump holds
//! fewer visits, on the day that has one more, it holds more, and no visit is ever shorter than it says.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// From an instant up to, not including, another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

impl Span {
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Wall times between which somebody works. One that ends at or before its beginning ends on the next day, so that
/// 00:00 to 00:00 is a whole day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub start: Time,
    pub end: Time,
    /// The first and the last date on which there is such a window.
    pub dates: (Date, Date),
}

impl Window {
    /// One that no date ends.
    pub fn daily(start: Time, end: Time) -> Window {
        Window {
            start,
            end,
            dates: (Date::MIN, Date::MAX),
        }
    }
}

/// The hours of one person in one place.
#[derive(Clone, Debug)]
pub struct Hours {
    pub zone: TimeZone,
    /// By day, Monday first.
    pub weekly: [Vec<Window>; 7],
    /// Days with other windows than their weekday has; none: closed.
    pub exceptions: BTreeMap<Date, Vec<Window>>,
}

/// How visits follow each other in a window. All in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    pub duration: i64,
    /// From one possible beginning to the next.
    pub interval: i64,
    /// Kept free before a visit, and after it.
    pub buffer_before: i64,
    pub buffer_after: i64,
}

impl Rhythm {
    pub fn visit(&self, start: i64) -> Span {
        Span {
            start,
            end: start + self.duration,
        }
    }

    /// What a visit that begins at `start` takes out of the calendar.
    pub fn occupies(&self, start: i64) -> Span {
        Span {
            start: start - self.buffer_before,
            end: start + self.duration + self.buffer_after,
        }
    }
}

/// A time at which a visit could begin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Opening {
    pub start: i64,
    /// When the window that it lies in begins, which names the window.
    pub window: i64,
}

impl Hours {
    /// The instants of the windows that touch `range`, in order. Windows of a day that overlap each other are one; one that
    /// reaches into those of the next day takes its time from them. So a window is the same whatever range it is looked for in.
    pub fn windows(&self, range: Span) -> Windows<'_> {
        // The local date may be a day off that of UTC; a window of the day before may reach into the range, and where that one
        // begins depends on the day before it.
        let day = |at: i64| instant(at).to_zoned(self.zone.clone()).date();
        let first = day(range.start);
        Windows {
            hours: self,
            range,
            day: first.checked_sub(2.days()).ok(),
            last: day(range.end),
            ready: Vec::new(),
            reached: i64::MIN,
        }
    }

    /// The times in `range` at which a visit could begin, in order, beside what is `busy` (in order of their beginning).
    pub fn openings<'h>(&'h self, range: Span, rhythm: Rhythm, busy: &'h [Span]) -> Openings<'h> {
        Openings {
            windows: self.windows(range),
            range,
            rhythm,
            busy,
            current: None,
        }
    }

    fn of_day(&self, day: Date) -> &[Window] {
        match self.exceptions.get(&day) {
            Some(windows) => windows,
            None => &self.weekly[day.weekday().to_monday_zero_offset() as usize],
        }
    }

    fn span(&self, day: Date, window: Window) -> Option<Span> {
        if !(window.dates.0..=window.dates.1).contains(&day) {
            return None;
        }
        let last = if window.end <= window.start {
            day.tomorrow().ok()?
        } else {
            day
        };
        let start = self.instant_of(day.to_datetime(window.start))?;
        let end = self.instant_of(last.to_datetime(window.end))?;
        (start < end).then_some(Span { start, end })
    }

    /// The instant of a wall time: the first one where there are two, the jump where there is none.
    fn instant_of(&self, wall: DateTime) -> Option<i64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let at = match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => {
                let before = ambiguous.earlier().ok()?;
                self.zone.following(before).next()?.timestamp()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.compatible().ok()?,
        };
        Some(at.as_second())
    }
}

/// See [`Hours::windows`].
pub struct Windows<'h> {
    hours: &'h Hours,
    range: Span,
    /// The next day to look at; `None` past the last one.
    day: Option<Date>,
    last: Date,
    /// Of the day looked at last, the latest first.
    ready: Vec<Span>,
    /// Where the windows of the days that were looked at end.
    reached: i64,
}

impl Windows<'_> {
    /// The windows of a day, the latest first.
    fn of_day(&self, day: Date) -> Vec<Span> {
        let windows = self.hours.of_day(day).iter();
        let mut spans: Vec<Span> = windows.filter_map(|window| self.hours.span(day, *window)).collect();
        spans.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            let start = span.start.max(self.reached);
            match merged.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(span.end),
                _ if start < span.end => merged.push(Span { start, end: span.end }),
                _ => {}
            }
        }
        merged.reverse();
        merged
    }
}

impl Iterator for Windows<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        loop {
            if let Some(window) = self.ready.pop() {
                if window.overlaps(self.range) {
                    return Some(window);
                }
                continue;
            }
            let day = self.day.filter(|day| *day <= self.last)?;
            self.ready = self.of_day(day);
            if let Some(latest) = self.ready.first() {
                self.reached = latest.end;
            }
            self.day = day.tomorrow().ok();
        }
    }
}

/// See [`Hours::openings`].
pub struct Openings<'h> {
    windows: Windows<'h>,
    range: Span,
    rhythm: Rhythm,
    /// From the first that may still be in the way.
    busy: &'h [Span],
    /// A window, and the next beginning in it to look at.
    current: Option<(Span, i64)>,
}

impl Iterator for Openings<'_> {
    type Item = Opening;

    fn next(&mut self) -> Option<Opening> {
        loop {
            let (window, start) = match self.current {
                Some(current) => current,
                None => {
                    let window = self.windows.next()?;
                    // The first beginning in the range, in the rhythm of the window.
                    let late = (self.range.start - window.start).max(0);
                    let skipped = (late + self.rhythm.interval - 1) / self.rhythm.interval;
                    (window, window.start + skipped * self.rhythm.interval)
                }
            };
            if start >= self.range.end {
                return None;
            }
            if start + self.rhythm.duration > window.end {
                self.current = None;
                continue;
            }
            self.current = Some((window, start + self.rhythm.interval));
            if self.is_free(self.rhythm.occupies(start)) {
                return Some(Opening {
                    start,
                    window: window.start,
                });
            }
        }
    }
}

impl Openings<'_> {
    /// Beginnings only grow, so what ends before one is never looked at again.
    fn is_free(&mut self, wanted: Span) -> bool {
        let passed = self.busy.iter().take_while(|span| span.end <= wanted.start).count();
        self.busy = &self.busy[passed..];
        // A long absence may hide shorter ones behind it that have ended: those do not overlap either.
        let in_the_way = self.busy.iter().take_while(|span| span.start < wanted.end);
        !in_the_way.into_iter().any(|span| span.overlaps(wanted))
    }
}

/// The instant, within what jiff can tell.
pub fn instant(seconds: i64) -> Timestamp {
    let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn range(start: &str, end: &str) -> Span {
        Span {
            start: at(start),
            end: at(end),
        }
    }

    fn window(start: &str, end: &str) -> Window {
        Window::daily(start.parse().unwrap(), end.parse().unwrap())
    }

    /// The same windows on every day.
    fn daily(zone: &str, windows: &[(&str, &str)]) -> Hours {
        let windows: Vec<Window> = windows.iter().map(|(start, end)| window(start, end)).collect();
        Hours {
            zone: TimeZone::get(zone).unwrap(),
            weekly: std::array::from_fn(|_| windows.clone()),
            exceptions: BTreeMap::new(),
        }
    }

    fn every(minutes: i64) -> Rhythm {
        Rhythm {
            duration: minutes * 60,
            interval: minutes * 60,
            buffer_before: 0,
            buffer_after: 0,
        }
    }

    /// The beginnings, as the clock on the practitioner's wall shows them.
    fn walls(hours: &Hours, range: Span, rhythm: Rhythm, busy: &[Span]) -> Vec<String> {
        let openings = hours.openings(range, rhythm, busy);
        openings
            .map(|opening| {
                instant(opening.start)
                    .to_zoned(hours.zone.clone())
                    .strftime("%d %H:%M%:z")
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn visits_fill_a_window_and_none_reaches_beyond_it() {
        let hours = daily("UTC", &[("09:00", "10:40")]);
        let day = range("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        assert_eq!(
            walls(&hours, day, every(30), &[]),
            ["02 09:00+00:00", "02 09:30+00:00", "02 10:00+00:00"]
        );
        let overlapping = Rhythm {
            interval: 15 * 60,
            ..every(30)
        };
        let starts = walls(&hours, day, overlapping, &[]);
        assert_eq!(
            (starts.len(), starts.last().map(String::as_str)),
            (5, Some("02 10:00+00:00"))
        );
    }

    #[test]
    fn the_rhythm_is_that_of_the_window_wherever_the_question_begins() {
        let hours = daily("UTC", &[("09:00", "11:00")]);
        let late = range("2026-03-02T09:40:00Z", "2026-03-02T10:30:00Z");
        assert_eq!(walls(&hours, late, every(30), &[]), ["02 10:00+00:00"]);
        let exact = range("2026-03-02T09:30:00Z", "2026-03-02T09:30:01Z");
        assert_eq!(walls(&hours, exact, every(30), &[]), ["02 09:30+00:00"]);
    }

    #[test]
    fn what_is_busy_takes_its_time_and_buffers_keep_theirs() {
        let hours = daily("UTC", &[("09:00", "12:00")]);
        let day = range("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        let busy = [
            range("2026-03-02T09:10:00Z", "2026-03-02T09:20:00Z"),
            range("2026-03-02T10:00:00Z", "2026-03-02T10:30:00Z"),
        ];
        // Back to back is no overlap.
        assert_eq!(
            walls(&hours, day, every(30), &busy),
            ["02 09:30+00:00", "02 10:30+00:00", "02 11:00+00:00", "02 11:30+00:00"]
        );
        let buffered = Rhythm {
            buffer_before: 5 * 60,
            buffer_after: 10 * 60,
            ..every(30)
        };
        // 09:30 would need 09:25 to 10:10, 10:30 would need 10:25.
        assert_eq!(
            walls(&hours, day, buffered, &busy),
            ["02 11:00+00:00", "02 11:30+00:00"]
        );
    }

    #[test]
    fn a_long_absence_hides_nothing_that_follows() {
        let hours = daily("UTC", &[("09:00", "17:00")]);
        let day = range("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        let busy = [
            range("2026-03-02T09:00:00Z", "2026-03-02T15:00:00Z"),
            range("2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"),
            range("2026-03-02T15:30:00Z", "2026-03-02T16:00:00Z"),
        ];
        assert_eq!(
            walls(&hours, day, every(30), &busy),
            ["02 15:00+00:00", "02 16:00+00:00", "02 16:30+00:00"]
        );
    }

    #[test]
    fn windows_that_overlap_are_one_and_those_that_touch_are_two() {
        let hours = daily("UTC", &[("09:00", "10:00"), ("09:30", "11:00"), ("11:00", "12:00")]);
        let day = range("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        let windows: Vec<i64> = hours.windows(day).map(|span| (span.end - span.start) / HOUR).collect();
        assert_eq!(windows, [2, 1]);
    }

    #[test]
    fn windows_that_reach_into_the_next_day_are_the_same_from_wherever_they_are_looked_at() {
        // Each day's reach into the next one's, for ever.
        let hours = daily("UTC", &[("06:00", "00:00"), ("23:00", "07:00")]);
        let windows = |start: &str| -> Vec<i64> {
            let range = range(start, "2026-03-04T12:00:00Z");
            hours
                .windows(range)
                .map(|window| (window.start - at("2026-03-01T00:00:00Z")) / HOUR)
                .collect()
        };
        assert_eq!(windows("2026-03-02T12:00:00Z"), [31, 55, 79]);
        assert_eq!(windows("2026-03-03T12:00:00Z"), [55, 79]);
        // In visits of 50 minutes, of which no whole number is a day.
        let late = range("2026-03-03T12:00:00Z", "2026-03-03T13:00:00Z");
        let early = range("2026-03-01T12:00:00Z", "2026-03-03T13:00:00Z");
        let openings = |range| hours.openings(range, every(50), &[]).map(|opening| opening.start);
        let (late, early): (Vec<i64>, Vec<i64>) = (openings(late).collect(), openings(early).collect());
        assert!(!late.is_empty() && early.ends_with(&late), "{late:?}");
    }

    #[test]
    fn a_window_may_run_past_midnight_and_last_a_day() {
        let hours = daily("Europe/Berlin", &[("22:00", "02:00")]);
        let night = range("2026-03-02T23:00:00Z", "2026-03-03T02:00:00Z");
        assert_eq!(
            walls(&hours, night, every(60), &[]),
            ["03 00:00+01:00", "03 01:00+01:00"]
        );
        let always = daily("Europe/Berlin", &[("00:00", "00:00")]);
        let day = range("2026-03-02T23:00:00Z", "2026-03-03T23:00:00Z");
        assert_eq!(walls(&always, day, every(60), &[]).len(), 24);
    }

    #[test]
    fn a_day_with_an_hour_less_has_fewer_visits() {
        // Berlin, 29 March 2026: 02:00 becomes 03:00.
        let day = range("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        let across = daily("Europe/Berlin", &[("01:00", "04:00")]);
        assert_eq!(
            walls(&across, day, every(30), &[]),
            ["29 01:00+01:00", "29 01:30+01:00", "29 03:00+02:00", "29 03:30+02:00"]
        );
        let into_the_gap = daily("Europe/Berlin", &[("01:00", "02:30")]);
        assert_eq!(
            walls(&into_the_gap, day, every(30), &[]),
            ["29 01:00+01:00", "29 01:30+01:00"]
        );
        let out_of_the_gap = daily("Europe/Berlin", &[("02:30", "03:30")]);
        assert_eq!(walls(&out_of_the_gap, day, every(30), &[]), ["29 03:00+02:00"]);
        let within_the_gap = daily("Europe/Berlin", &[("02:10", "02:50")]);
        assert!(walls(&within_the_gap, day, every(30), &[]).is_empty());
    }

    #[test]
    fn a_day_with_an_hour_more_has_more_visits() {
        // New York, 1 November 2026: 02:00 EDT becomes 01:00 EST.
        let day = range("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
        let across = daily("America/New_York", &[("00:30", "02:30")]);
        assert_eq!(
            walls(&across, day, every(60), &[]),
            ["01 00:30-04:00", "01 01:30-04:00", "01 01:30-05:00"]
        );
        // Until 01:30, the first time that the clock shows it.
        let into_the_fold = daily("America/New_York", &[("00:00", "01:30")]);
        assert_eq!(
            walls(&into_the_fold, day, every(30), &[]),
            ["01 00:00-04:00", "01 00:30-04:00", "01 01:00-04:00"]
        );
    }

    #[test]
    fn half_hours_of_offset_and_of_daylight_saving() {
        let kolkata = daily("Asia/Kolkata", &[("09:00", "10:00")]);
        let day = range("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        let first = kolkata.openings(day, every(30), &[]).next().unwrap();
        assert_eq!(first.start, at("2026-03-02T03:30:00Z"));
        let kathmandu = daily("Asia/Kathmandu", &[("09:00", "10:00")]);
        let first = kathmandu.openings(day, every(30), &[]).next().unwrap();
        assert_eq!(first.start, at("2026-03-02T03:15:00Z"));
        // Lord Howe moves by half an hour: on 5 April 2026, 02:00+11:00 becomes 01:30+10:30.
        let howe = daily("Australia/Lord_Howe", &[("01:00", "02:30")]);
        let night = range("2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z");
        assert_eq!(
            walls(&howe, night, every(30), &[]),
            ["05 01:00+11:00", "05 01:30+11:00", "05 01:30+10:30", "05 02:00+10:30"]
        );
    }

    #[test]
    fn both_sides_of_the_date_line() {
        // The same instant is Sunday noon on Kiritimati (+14) and Saturday 11:00 on Pago Pago (-11).
        let one = range("2026-03-07T22:00:00Z", "2026-03-07T22:00:01Z");
        let mut kiritimati = daily("Pacific/Kiritimati", &[]);
        kiritimati.weekly[6] = vec![window("12:00", "13:00")];
        assert_eq!(walls(&kiritimati, one, every(30), &[]), ["08 12:00+14:00"]);
        let mut pago_pago = daily("Pacific/Pago_Pago", &[]);
        pago_pago.weekly[5] = vec![window("11:00", "12:00")];
        assert_eq!(walls(&pago_pago, one, every(30), &[]), ["07 11:00-11:00"]);
        // Apia went over to the other side: there was no 30 December 2011.
        let apia = daily("Pacific/Apia", &[("09:00", "09:30")]);
        let days = range("2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z");
        assert_eq!(walls(&apia, days, every(30), &[]), ["29 09:00-10:00", "31 09:00+14:00"]);
    }

    #[test]
    fn a_window_may_hold_between_two_dates() {
        let mut hours = daily("UTC", &[]);
        let dates = ("2026-03-03".parse().unwrap(), "2026-03-04".parse().unwrap());
        let summer = Window {
            dates,
            ..window("09:00", "09:30")
        };
        hours.weekly = std::array::from_fn(|_| vec![summer]);
        let week = range("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z");
        assert_eq!(
            walls(&hours, week, every(30), &[]),
            ["03 09:00+00:00", "04 09:00+00:00"]
        );
    }

    #[test]
    fn an_exception_takes_the_place_of_its_weekday() {
        let mut hours = daily("Europe/Berlin", &[("09:00", "10:00")]);
        hours.exceptions.insert("2026-03-03".parse().unwrap(), Vec::new());
        hours
            .exceptions
            .insert("2026-03-04".parse().unwrap(), vec![window("14:00", "14:30")]);
        let days = range("2026-03-01T23:00:00Z", "2026-03-05T23:00:00Z");
        assert_eq!(
            walls(&hours, days, every(60), &[]),
            ["02 09:00+01:00", "05 09:00+01:00"]
        );
        assert_eq!(walls(&hours, days, every(30), &[])[2], "04 14:00+01:00");
    }
}
