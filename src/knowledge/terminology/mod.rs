//! Code systems and value sets: which codes there are, which stand above which, and which belong to a set.
//!
//! <https://hl7.org/fhir/R4/terminology-module.html>. Pure: whoever asks has put every definition that the answer may
//! depend on into a [`Library`]. [`references`](Definition::references) tells what a definition refers to, so that a
//! library can be filled step by step.
//!
//! | file | concern |
//! |---|---|
//! | [`code_system`] | concepts with their properties and the hierarchy between them |
//! | [`value_set`] | a value set as it is written: parts to take in and to leave out |
//! | [`expansion`] | the codes that it comes to |
//! | `filter` | codes chosen by a property |
//!
//! What cannot be told in full is refused ([`Unexpandable`]): a search by half of a value set would miss patients without
//! saying so. The one exception are code systems that call themselves a fragment or an example; their codes are taken for
//! what they are, and the expansion carries a note that says so.

pub mod code_system;
pub mod expansion;
mod filter;
pub mod value_set;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

pub use code_system::CodeSystem;
pub use expansion::{Expansion, expand};
pub use value_set::ValueSet;

/// Most codes of one expansion, and most pairs of one closure.
pub const MAX_SIZE: usize = 2_000_000;

/// The definitions that an expansion may draw on, by the canonical URL that others use for them, with its version if
/// they give one. A name that was looked for and not found is simply not there.
#[derive(Default, Debug)]
pub struct Library {
    pub code_systems: HashMap<String, CodeSystem>,
    pub value_sets: HashMap<String, ValueSet>,
}

/// What a definition refers to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reference {
    /// The canonical URL of a code system whose content is needed.
    CodeSystem(String),
    /// The canonical URL of a value set.
    ValueSet(String),
}

/// Something that refers to definitions.
pub trait Definition {
    /// Everything that must be looked up before this can be expanded; each once.
    fn references(&self) -> BTreeSet<Reference>;
}

/// Why a value set has no expansion, or a code system no hierarchy. Each is a sentence for the client.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unexpandable {
    #[error("The value set {0} is not known here. Store it as a ValueSet resource with that url.")]
    UnknownValueSet(String),
    #[error("The code system {0} is not known here. Store it as a CodeSystem resource with that url.")]
    UnknownCodeSystem(String),
    #[error("The codes of {0} are not here: its CodeSystem says that its content is {1}.")]
    WithoutContent(String, String),
    #[error("The value set {0} imports itself.")]
    Cycle(String),
    #[error("The value set {0} has neither a definition (compose) nor a complete expansion.")]
    WithoutDefinition(String),
    #[error("{0} cannot be read: {1}.")]
    Malformed(String, String),
    #[error("The code system {0} has no property '{1}' that a value set could be filtered by.")]
    UnknownProperty(String, String),
    #[error("The code system {0} has no code '{1}', which a value set is filtered by.")]
    UnknownCode(String, String),
    #[error("The code system {0} has no code '{1}'.")]
    NoSuchCode(String, String),
    #[error("{0} comes to more than {MAX_SIZE} codes, which is more than this server keeps.")]
    TooLarge(String),
}

/// URL and version of a canonical: `http://…|2.0`.
pub fn split_version(canonical: &str) -> (&str, Option<&str>) {
    match canonical.split_once('|') {
        Some((url, version)) if !version.is_empty() => (url, Some(version)),
        Some((url, _)) => (url, None),
        None => (canonical, None),
    }
}

/// Which of two business versions is the later one, for definitions with one URL: numbers are compared as numbers, so
/// `10.0` comes after `9.1`. No version at all is the earliest.
pub fn compare_versions(a: Option<&str>, b: Option<&str>) -> std::cmp::Ordering {
    fn parts(version: &str) -> impl Iterator<Item = (Option<u64>, &str)> {
        version
            .split(['.', '-', '+', '_', ' '])
            .map(|part| (part.parse().ok(), part))
    }
    match (a, b) {
        (Some(a), Some(b)) => parts(a).cmp(parts(b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
