//! The first openings of many calendars together, looked for part by part of the time, so that who asks for the next times
//! does not wait for what is taken in a month.
//!
//! Pure: which time is taken is given.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::availability::{Opening, Span};
use super::rules::Rules;

/// Seconds of the first part: three days.
const FIRST: i64 = 3 * 24 * 60 * 60;
/// How many times as long each part is as the one before.
const GROWTH: i64 = 3;

/// Somebody who looks through calendars.
pub struct Lookout<'r> {
    /// Each with the rid of its Schedule, and how many openings are still wanted of it.
    calendars: Vec<(i64, &'r Rules, usize)>,
    /// Up to where it was looked, and up to where to look.
    rest: Span,
    length: i64,
    now: i64,
    most: usize,
    /// What was found, by its beginning, each with the position of its calendar.
    pub found: Vec<(Opening, usize)>,
}

impl<'r> Lookout<'r> {
    /// Looks in `range` for openings that can be booked `now`: `each` of one calendar at most, `most` of all together.
    pub fn new(
        calendars: impl Iterator<Item = (i64, &'r Rules)>,
        range: Span,
        now: i64,
        each: usize,
        most: usize,
    ) -> Lookout<'r> {
        Lookout {
            calendars: calendars.map(|(id, rules)| (id, rules, each)).collect(),
            rest: Span {
                start: range.start.max(now),
                end: range.end,
            },
            length: FIRST,
            now,
            most,
            found: Vec::new(),
        }
    }

    /// The part that is to be looked at next; `None` when enough was found, or there is no more.
    pub fn next_part(&self) -> Option<Span> {
        let is_wanted = self.calendars.iter().any(|(.., left)| *left > 0);
        if self.found.len() >= self.most || !is_wanted || self.rest.start >= self.rest.end {
            return None;
        }
        Some(Span {
            start: self.rest.start,
            end: self.rest.end.min(self.rest.start.saturating_add(self.length)),
        })
    }

    /// The calendars that something is still wanted of.
    pub fn wanted(&self) -> Vec<i64> {
        let wanted = self.calendars.iter().filter(|(.., left)| *left > 0);
        wanted.map(|(id, ..)| *id).collect()
    }

    /// What must be known of what is taken, to look at a part: so much before it, and so much after it, as the longest visit
    /// with its buffers takes that begins in it.
    pub fn around(&self, part: Span) -> Span {
        let reach = |of: fn(Span, Span) -> i64| {
            let rhythms = self.calendars.iter().map(|(_, rules, _)| rules.rhythm);
            rhythms
                .map(|rhythm| of(rhythm.visit(0), rhythm.occupies(0)))
                .max()
                .unwrap_or_default()
        };
        Span {
            start: part
                .start
                .saturating_sub(reach(|visit, taken| visit.start - taken.start)),
            end: part.end.saturating_add(reach(|_, taken| taken.end)),
        }
    }

    /// Looks at the next part. `busy` is what is taken around it, by calendar and in order.
    pub fn look(&mut self, busy: &HashMap<i64, Vec<Span>>) {
        let Some(part) = self.next_part() else {
            return;
        };
        let now = self.now;
        let mut lists: Vec<_> = self
            .calendars
            .iter()
            .map(|(id, rules, left)| {
                let busy = busy.get(id).map_or(&[][..], Vec::as_slice);
                let bookable = rules.bookable(part, now);
                let most = if bookable.start < bookable.end { *left } else { 0 };
                rules.openings(bookable, busy).take(most)
            })
            .collect();
        // The earliest of all lists, again and again.
        let mut heads: BinaryHeap<Reverse<(i64, usize, Opening)>> = BinaryHeap::with_capacity(lists.len());
        for (n, list) in lists.iter_mut().enumerate() {
            heads.extend(list.next().map(|opening| Reverse((opening.start, n, opening))));
        }
        while self.found.len() < self.most
            && let Some(Reverse((_, n, opening))) = heads.pop()
        {
            self.found.push((opening, n));
            self.calendars[n].2 -= 1;
            heads.extend(lists[n].next().map(|opening| Reverse((opening.start, n, opening))));
        }
        self.rest.start = part.end;
        self.length = self.length.saturating_mul(GROWTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use crate::scheduling::names::PARAMETERS;

    const DAY: i64 = 24 * 60 * 60;
    /// With daylight saving on both halves of the earth, with half hours, and on both sides of the date line.
    const ZONES: [&str; 7] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Auckland",
        "Pacific/Pago_Pago",
        "America/St_Johns",
    ];
    /// Before the changes of March, April, October and November 2026.
    const STARTS: [&str; 4] = [
        "2026-03-06T11:13:00Z",
        "2026-03-27T00:00:00Z",
        "2026-10-01T23:59:59Z",
        "2026-10-23T05:30:00Z",
    ];

    fn minutes(part: &str, value: i64) -> Value {
        json!({"url": part, "valueDuration": {"value": value, "code": "min"}})
    }

    fn rules(rng: &mut Rng) -> Rules {
        let mut parts = vec![
            json!({"url": "timezone", "valueCode": rng.choice(ZONES).unwrap()}),
            minutes("duration", rng.i64(1..20) * 7),
            minutes("interval", rng.i64(1..20) * 5),
            minutes("bufferBefore", rng.i64(0..4) * 5),
            minutes("bufferAfter", rng.i64(0..4) * 10),
            minutes("minimumNotice", rng.i64(0..3) * 700),
        ];
        for _ in 0..rng.usize(1..4) {
            // Some of them over midnight, some into each other, some for a whole day.
            let time = |rng: &mut Rng| format!("{:02}:{:02}:00", rng.u8(0..24), rng.u8(0..4) * 15);
            let mut window = vec![
                json!({"url": "start", "valueTime": time(rng)}),
                json!({"url": "end", "valueTime": time(rng)}),
            ];
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let open = days.iter().filter(|_| rng.bool()).chain([&"sun"]);
            window.extend(open.map(|day| json!({"url": "daysOfWeek", "valueCode": day})));
            parts.push(json!({"url": "availability", "extension": window}));
        }
        let schedule = json!({"extension": [{"url": PARAMETERS, "extension": parts}]});
        Rules::read(&schedule, None).unwrap().unwrap()
    }

    /// Time that is taken: of all lengths, some of it long, none in any rhythm.
    fn taken(rng: &mut Rng, range: Span) -> Vec<Span> {
        let mut taken: Vec<Span> = (0..rng.usize(0..150))
            .map(|_| {
                let start = rng.i64(range.start - DAY..range.end + DAY);
                let length = if rng.u8(0..20) == 0 { 3 * DAY } else { 3600 };
                Span {
                    start,
                    end: start + rng.i64(60..length),
                }
            })
            .collect();
        taken.sort_unstable();
        taken
    }

    #[test]
    fn part_by_part_is_as_all_at_once() {
        let mut rng = Rng::with_seed(0x5ced);
        let mut several = 0;
        for case in 0..400 {
            let start = rng.choice(STARTS).unwrap().parse::<Timestamp>().unwrap().as_second();
            let range = Span {
                start: start + rng.i64(0..DAY),
                end: start + rng.i64(2 * DAY..40 * DAY),
            };
            let now = range.start + rng.i64(-2 * DAY..DAY);
            let rules: Vec<Rules> = (0..rng.usize(1..5)).map(|_| rules(&mut rng)).collect();
            let busy: HashMap<i64, Vec<Span>> = (0..rules.len()).map(|n| (n as i64, taken(&mut rng, range))).collect();
            let each = *rng.choice(&[1, 5, usize::MAX]).unwrap();
            let most = *rng.choice(&[1, 30, 400, usize::MAX]).unwrap();

            let calendars = rules.iter().enumerate().map(|(n, rules)| (n as i64, rules));
            let mut lookout = Lookout::new(calendars, range, now, each, most);
            let mut parts = 0;
            while let Some(part) = lookout.next_part() {
                let around = lookout.around(part);
                // As the database answers: what overlaps it, of those that are asked for.
                let wanted = lookout.wanted();
                let asked = busy.iter().filter(|(id, _)| wanted.contains(id));
                let known = asked
                    .map(|(id, spans)| {
                        (
                            *id,
                            spans.iter().copied().filter(|span| span.overlaps(around)).collect(),
                        )
                    })
                    .collect();
                lookout.look(&known);
                parts += 1;
            }
            several += usize::from(parts > 1);

            let whole = Span {
                start: range.start.max(now),
                end: range.end,
            };
            let mut plain: Vec<(Opening, usize)> = Vec::new();
            for (n, rules) in rules.iter().enumerate() {
                let bookable = rules.bookable(whole, now);
                let openings = rules.openings(bookable, &busy[&(n as i64)]).take(each);
                plain.extend(openings.map(|opening| (opening, n)));
            }
            plain.sort_by_key(|(opening, n)| (opening.start, *n));
            plain.truncate(most);
            assert_eq!(lookout.found, plain, "case {case}");

            // Whoever takes one of them asks for its moment alone, and finds it.
            for (opening, n) in plain.iter().step_by(17) {
                let moment = Span {
                    start: opening.start,
                    end: opening.start + 1,
                };
                let found: Vec<_> = rules[*n].openings(moment, &busy[&(*n as i64)]).collect();
                assert_eq!(found, [*opening], "case {case}");
            }
        }
        assert!(several > 100, "{several} of 400 needed several parts");
    }
}
