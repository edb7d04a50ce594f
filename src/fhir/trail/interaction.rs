//! Records of FHIR's interactions: each function of `http` that answers a read passes its result through here.

use super::{Event, Shown, Trail};
use crate::fhir::caller::Caller;
use crate::fhir::error::Result;
use crate::fhir::http::Answer;
use crate::fhir::resource::StoredResource;

/// What was answered shows versions of resources.
pub trait Shows {
    /// All of them.
    fn shown(&self) -> Vec<Shown>;

    /// The version, where it is one resource.
    fn version(&self) -> Option<i32>;
}

impl Shows for Answer {
    fn shown(&self) -> Vec<Shown> {
        self.shown.clone()
    }

    fn version(&self) -> Option<i32> {
        self.version
    }
}

impl Shows for StoredResource {
    fn shown(&self) -> Vec<Shown> {
        vec![self.into()]
    }

    fn version(&self) -> Option<i32> {
        Some(self.version)
    }
}

impl Trail {
    /// Records what an interaction came to, and gives that back once it is stored. What the server does of its own accord
    /// is nobody's interaction.
    ///
    /// # Errors
    /// That of the interaction; 503 when it cannot be recorded.
    pub async fn record<T: Shows>(
        &self,
        caller: &Caller,
        event: impl FnOnce() -> Event,
        result: Result<T>,
    ) -> Result<T> {
        if !self.is_on() || !caller.is_recorded() {
            return result;
        }
        let event = event().by(caller);
        let event = match &result {
            Ok(_) if caller.rehearses() => return result,
            // May come with what is written in between.
            Err(error) if caller.rehearses() && error.is_absence() => return result,
            Ok(answer) => event.version(answer.version()).showing(answer.shown()),
            Err(error) => event.ended_by(error),
        };
        self.note(event).await?;
        result
    }
}
