//! The conformance suites and the record of what passes.
//!
//! A suite turns a folder of published cases into [`CaseResult`]s. Cases that we hold to be wrong are named, with the
//! reason, in `conformance/exceptions.toml`; a run fails on a failing case that is not named there *and* on a named one
//! that passes, so that the record cannot go stale in either direction.

pub mod examples;
pub mod fhirpath;
pub mod patch;
mod record;
mod xml;

pub use record::{Exception, Exceptions, Record, SuiteRecord};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Name of the case, unique in its suite.
    pub name: String,
    /// `None` when it passed, else what was seen instead of what was expected.
    pub failure: Option<String>,
}

impl CaseResult {
    pub fn passed(name: impl Into<String>) -> CaseResult {
        CaseResult {
            name: name.into(),
            failure: None,
        }
    }

    pub fn failed(name: impl Into<String>, why: impl Into<String>) -> CaseResult {
        CaseResult {
            name: name.into(),
            failure: Some(why.into()),
        }
    }
}

/// The cases of one suite, run.
#[derive(Debug, Clone)]
pub struct SuiteResult {
    /// Short name, the key in `conformance/exceptions.toml`: `examples`, `fhirpath`, …
    pub suite: &'static str,
    /// What it is and where its cases come from, for the record.
    pub title: &'static str,
    pub cases: Vec<CaseResult>,
}
