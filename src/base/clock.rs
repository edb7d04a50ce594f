//! The time, as a value that is passed in: tests move it by hand instead of sleeping.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Tells the time. Cloning is cheap; clones of a manual clock move together.
///
/// This is the only reader of the system's clock in the package: `clippy.toml` forbids the others.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`ManualClock::advance`] moves it, with the hand that does so.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let time = Arc::new(Mutex::new(start));
        (Self(Source::Manual(time.clone())), ManualClock(time))
    }

    /// The current instant, in whole microseconds: finer digits would be lost in the database, and an instant that was
    /// stored must equal the one that was answered.
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let now = Timestamp::now();
                Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
            }
            Source::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The hand of a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// Moves the clock forward (or back, by a negative duration).
    pub fn advance(&self, by: SignedDuration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time = time.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let start: Timestamp = "2026-01-31T23:59:59Z".parse().unwrap();
        let (clock, hand) = Clock::manual(start);
        let seen_elsewhere = clock.clone();
        assert_eq!(clock.now(), start);
        hand.advance(SignedDuration::from_secs(2));
        assert_eq!(seen_elsewhere.now().to_string(), "2026-02-01T00:00:01Z");
    }

    #[test]
    fn the_system_clock_tells_whole_microseconds() {
        let now = Clock::system().now();
        assert_eq!(now.subsec_nanosecond() % 1000, 0);
    }
}
