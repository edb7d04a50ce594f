//! How many requests somebody may send in a minute, counted for all instances together.
//!
//! No request waits for the database to be counted. Each instance counts what it lets in, and reports to the table
//! `request_count` when somebody has sent another [`STRIDE`]th of what they may; the answer tells how many all instances
//! have let in. Reports are made by one task, all that are due in one statement. So who sends little never causes one, and
//! who sends all that they may causes 64 a minute.
//!
//! **The error.** Until its report is answered, an instance lets somebody in at most two strides further than it knows of;
//! then they wait for the answer. So all instances together let in at most 1/32 of the limit too many for each of them (and
//! two for each where the limit is below 64), and never refuse who is within the limit. While the database does not answer,
//! each instance counts for itself.
//!
//! Minutes are those of the clock, so that all instances begin to count anew together. Two of them side by side may see
//! twice the limit within a shorter time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::Clock;
use super::crypto;

/// A report is due after this part of the limit.
const STRIDE: u32 = 64;
/// How long a request waits for a report before it is let in without.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after the database did not take a report.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds.
const WINDOW: i64 = 60;

/// What is counted, each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// Requests of one address, with or without a token.
    Address,
    /// Requests with tokens of one application.
    Client,
    /// Requests with tokens of one person.
    User,
    /// Requests of one address to the endpoints where tokens are given out.
    TokensByAddress,
    /// Tokens given to one application.
    TokensByClient,
    /// Pages and forms that one address asks for.
    PagesByAddress,
}

/// Requests per minute; 0 for as many as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budgets {
    pub per_address: u32,
    pub per_client: u32,
    pub per_user: u32,
    pub tokens_per_address: u32,
    pub tokens_per_client: u32,
    pub pages_per_address: u32,
}

impl Budgets {
    fn of(&self, counted: Counted) -> u32 {
        match counted {
            Counted::Address => self.per_address,
            Counted::Client => self.per_client,
            Counted::User => self.per_user,
            Counted::TokensByAddress => self.tokens_per_address,
            Counted::TokensByClient => self.tokens_per_client,
            Counted::PagesByAddress => self.pages_per_address,
        }
    }
}

/// Somebody has sent all that they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Seconds until they may go on; at least one.
    pub retry_after: u32,
}

/// Counts requests. Clones count together.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

struct Shared {
    clock: Clock,
    budgets: Budgets,
    tallies: Mutex<Tallies>,
    /// A report is due.
    due: Notify,
    /// A report was answered, or failed.
    reported: Notify,
}

/// The counts of one minute.
#[derive(Default)]
struct Tallies {
    /// Number of the minute, since 1970.
    minute: i64,
    by_name: HashMap<Counted, HashMap<Box<str>, Tally>>,
    due: Vec<(Counted, Box<str>)>,
    /// The last report failed: nobody waits for the next one.
    is_alone: bool,
}

#[derive(Default)]
struct Tally {
    /// Let in by this instance.
    here: u32,
    /// Of these, in a report that is made or due.
    reported: u32,
    /// Of these, in a report that was answered.
    known: u32,
    /// Let in by the other instances, as of the last answer.
    elsewhere: u32,
    is_due: bool,
}

/// What is decided about a request.
enum Decision {
    Welcome,
    Exceeded(Exceeded),
    /// Too much is unknown: ask again after the next report.
    Wait,
}

impl Limits {
    pub fn new(clock: Clock, budgets: Budgets) -> Limits {
        Limits(Arc::new(Shared {
            clock,
            budgets,
            tallies: Mutex::default(),
            due: Notify::new(),
            reported: Notify::new(),
        }))
    }

    /// Counts a request of `who`, unless they have sent all that they may.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub async fn count(&self, counted: Counted, who: &str) -> Result<(), Exceeded> {
        let limit = self.0.budgets.of(counted);
        if limit == 0 {
            return Ok(());
        }
        let mut waits = true;
        loop {
            // Before the decision: a report that ends in between must not be missed.
            let reported = self.0.reported.notified();
            match self.decide(counted, who, limit, waits) {
                Decision::Welcome => return Ok(()),
                Decision::Exceeded(exceeded) => return Err(exceeded),
                Decision::Wait => waits = timeout(PATIENCE, reported).await.is_ok(),
            }
        }
    }

    /// `waits` tells whether the request waits for a report where one is needed to decide.
    fn decide(&self, counted: Counted, who: &str, limit: u32, waits: bool) -> Decision {
        let now = self.0.clock.now().as_second();
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.div_euclid(WINDOW);
        if tallies.minute != minute {
            *tallies = Tallies {
                minute,
                is_alone: tallies.is_alone,
                ..Tallies::default()
            };
        }
        let Tallies {
            by_name, due, is_alone, ..
        } = &mut *tallies;
        let by_name = by_name.entry(counted).or_default();
        if !by_name.contains_key(who) {
            by_name.insert(who.into(), Tally::default());
        }
        let Some(tally) = by_name.get_mut(who) else {
            return Decision::Welcome;
        };
        if tally.here.saturating_add(tally.elsewhere) >= limit {
            let retry_after = u32::try_from(WINDOW - now.rem_euclid(WINDOW)).unwrap_or(1);
            return Decision::Exceeded(Exceeded { retry_after });
        }
        let stride = limit.div_ceil(STRIDE);
        if waits && !*is_alone && tally.here - tally.known >= 2 * stride {
            return Decision::Wait;
        }
        tally.here += 1;
        if tally.here - tally.reported >= stride && !tally.is_due {
            tally.is_due = true;
            due.push((counted, who.into()));
            self.0.due.notify_one();
        }
        Decision::Welcome
    }

    /// Makes the reports, until `stop` becomes true.
    pub async fn report(&self, pool: &PgPool, mut stop: watch::Receiver<bool>) {
        let reporting = async {
            loop {
                self.0.due.notified().await;
                while let Some(report) = self.take_due() {
                    let answer = report.send(pool).await.ok();
                    let is_away = answer.is_none();
                    self.note(&report, answer);
                    self.0.reported.notify_waiters();
                    if is_away {
                        // Requests that need the database say that it is away.
                        sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = reporting => {}
        }
    }

    /// All that is due; `None` when nothing is.
    fn take_due(&self) -> Option<Report> {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let Tallies {
            by_name, due, minute, ..
        } = &mut *tallies;
        let mut lines = Vec::with_capacity(due.len());
        for (counted, who) in due.drain(..) {
            if let Some(tally) = by_name.get_mut(&counted).and_then(|by_name| by_name.get_mut(&who)) {
                tally.is_due = false;
                let more = tally.here - tally.reported;
                tally.reported = tally.here;
                lines.push(Line {
                    key: key(counted, &who),
                    counted,
                    who,
                    more,
                });
            }
        }
        // In one order for all instances, so that none waits for another in a circle.
        lines.sort_by_key(|line| line.key);
        (!lines.is_empty()).then_some(Report { minute: *minute, lines })
    }

    /// Takes note of an answer, pairs of key and count, or of none. What is not answered is lost to the other instances.
    fn note(&self, report: &Report, answer: Option<Vec<(Vec<u8>, i64)>>) {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.is_alone = answer.is_none();
        let answer: HashMap<Vec<u8>, i64> = answer.into_iter().flatten().collect();
        if tallies.minute != report.minute {
            return;
        }
        for line in &report.lines {
            let tallies = tallies.by_name.get_mut(&line.counted);
            if let Some(tally) = tallies.and_then(|by_name| by_name.get_mut(&line.who)) {
                tally.known += line.more;
                if let Some(all) = answer.get(line.key.as_slice()) {
                    let all = u32::try_from(*all).unwrap_or(u32::MAX);
                    tally.elsewhere = all.saturating_sub(tally.known);
                }
            }
        }
    }
}

/// What an instance has let in since its last report.
struct Report {
    minute: i64,
    lines: Vec<Line>,
}

struct Line {
    key: [u8; 32],
    counted: Counted,
    who: Box<str>,
    more: u32,
}

impl Report {
    /// Adds to the counts of all instances; gives them.
    async fn send(&self, pool: &PgPool) -> Result<Vec<(Vec<u8>, i64)>, sqlx::Error> {
        let keys: Vec<&[u8]> = self.lines.iter().map(|line| line.key.as_slice()).collect();
        let more: Vec<i64> = self.lines.iter().map(|line| i64::from(line.more)).collect();
        let ends_at = Timestamp::from_second((self.minute + 1) * WINDOW).unwrap_or(Timestamp::MAX);
        sqlx::query_as(
            "INSERT INTO request_count AS c (key, count, ends_at)
             SELECT key, more, $3 FROM unnest($1::bytea[], $2::bigint[]) AS report (key, more)
             ON CONFLICT (key) DO UPDATE SET
                 count = CASE WHEN c.ends_at < excluded.ends_at THEN excluded.count ELSE c.count + excluded.count END,
                 ends_at = greatest(c.ends_at, excluded.ends_at)
             RETURNING key, count",
        )
        .bind(keys)
        .bind(more)
        .bind(ends_at.to_sqlx())
        .fetch_all(pool)
        .await
    }
}

/// No address of a person is stored where a number would do.
fn key(counted: Counted, who: &str) -> [u8; 32] {
    crypto::digest(&format!("{counted:?}\0{who}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn limits(per_user: u32) -> (Limits, super::super::clock::ManualClock) {
        let (clock, hand) = Clock::manual("2026-03-01T10:00:10Z".parse().unwrap());
        let budgets = Budgets {
            per_user,
            ..Budgets::default()
        };
        (Limits::new(clock, budgets), hand)
    }

    /// Lets in whom it can without waiting for a report.
    fn let_in(limits: &Limits, limit: u32, who: &str) -> u32 {
        let mut count = 0;
        while matches!(limits.decide(Counted::User, who, limit, true), Decision::Welcome) {
            count += 1;
        }
        count
    }

    /// What the table would answer, had the other instances let in `elsewhere`.
    fn answer(limits: &Limits, here: i64, elsewhere: i64) {
        let report = limits.take_due().expect("a report is due");
        let answer = report.lines.iter().map(|line| (line.key.to_vec(), here + elsewhere));
        limits.note(&report, Some(answer.collect()));
    }

    #[test]
    fn nobody_is_two_strides_ahead_of_what_is_known() {
        let (limits, _) = limits(640);
        assert_eq!(let_in(&limits, 640, "ada"), 20);
        answer(&limits, 20, 0);
        assert_eq!(let_in(&limits, 640, "ada"), 20);
        // Others have used up all but ten of what is left.
        answer(&limits, 40, 590);
        assert_eq!(let_in(&limits, 640, "ada"), 10);
        let exceeded = limits.decide(Counted::User, "ada", 640, true);
        assert!(matches!(exceeded, Decision::Exceeded(Exceeded { retry_after: 50 })));
        // Somebody else is counted for themselves.
        assert_eq!(let_in(&limits, 640, "grace"), 20);
    }

    #[test]
    fn the_next_minute_begins_anew() {
        let (limits, hand) = limits(1);
        assert_eq!(let_in(&limits, 1, "ada"), 1);
        hand.advance(SignedDuration::from_secs(49));
        assert_eq!(let_in(&limits, 1, "ada"), 0);
        hand.advance(SignedDuration::from_secs(1));
        assert_eq!(let_in(&limits, 1, "ada"), 1);
    }

    #[test]
    fn what_arrives_late_belongs_to_its_own_minute() {
        let (limits, hand) = limits(64);
        assert_eq!(let_in(&limits, 64, "ada"), 2);
        let report = limits.take_due().unwrap();
        hand.advance(SignedDuration::from_secs(60));
        assert_eq!(let_in(&limits, 64, "ada"), 2);
        limits.note(&report, Some(vec![(report.lines[0].key.to_vec(), 64)]));
        assert!(matches!(limits.decide(Counted::User, "ada", 64, true), Decision::Wait));
    }

    #[test]
    fn who_sends_little_causes_no_report() {
        let (limits, _) = limits(640);
        for _ in 0..9 {
            assert!(matches!(
                limits.decide(Counted::User, "ada", 640, true),
                Decision::Welcome
            ));
        }
        assert!(limits.take_due().is_none());
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_counted() {
        let (limits, _) = limits(0);
        assert_eq!(limits.count(Counted::User, "ada").await, Ok(()));
        assert!(limits.0.tallies.lock().unwrap().by_name.is_empty());
    }
}
