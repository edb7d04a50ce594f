//! Who asks. Every function that touches data takes a [`Caller`]: without one there is no query.

/// The party on whose behalf a request runs.
///
/// Only a server that runs without authentication has a way to make one so far: [`Caller::sandbox`]. It may see and
/// change everything, which is why such a server listens on loopback only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    _private: (),
}

impl Caller {
    /// Whoever reaches the loopback address of a server whose `MEDCONSULT_AUTH` is `off`.
    pub fn sandbox() -> Caller {
        Caller { _private: () }
    }
}
