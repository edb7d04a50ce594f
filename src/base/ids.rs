//! Fresh identifiers, as a value that is passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Makes identifiers for resources and jobs.
///
/// They are UUIDs of version 7 ([RFC 9562, section 5.7](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)): as they
/// grow with time, a burst of new rows lands on neighbouring pages of the index. An identifier thus tells when it was
/// made, which `meta.lastUpdated` says anyway; what must be unguessable (tokens, secrets) is not made here.
#[derive(Clone, Debug)]
pub struct IdGenerator(Source);

#[derive(Clone, Debug)]
enum Source {
    Random,
    Counting(Arc<AtomicU64>),
}

impl IdGenerator {
    /// Identifiers from the time and the system's randomness.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// `00000000-0000-7000-8000-000000000001` and so on, for tests whose output must not vary.
    pub fn counting() -> Self {
        Self(Source::Counting(Arc::new(AtomicU64::new(1))))
    }

    /// The next identifier; never the same twice.
    #[expect(clippy::disallowed_methods, reason = "this is where identifiers come from")]
    pub fn next(&self) -> Uuid {
        match &self.0 {
            Source::Random => Uuid::now_v7(),
            Source::Counting(next) => {
                let number = u128::from(next.fetch_add(1, Ordering::Relaxed));
                Uuid::from_u128((0x7000_8000 << 48) | number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_ids_are_well_formed_and_in_order() {
        let ids = IdGenerator::counting();
        assert_eq!(ids.next().to_string(), "00000000-0000-7000-8000-000000000001");
        assert_eq!(ids.next().to_string(), "00000000-0000-7000-8000-000000000002");
        assert_eq!(ids.next().get_version_num(), 7);
    }

    #[test]
    fn random_ids_grow() {
        let ids = IdGenerator::random();
        let (first, second) = (ids.next(), ids.next());
        assert!(first < second);
    }
}
