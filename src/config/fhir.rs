//! The FHIR server and what works behind it: `[fhir]`, `[search]`, `[jobs]`.

use serde::{Deserialize, Serialize};

/// What the server demands of resources beyond the rules of FHIR.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FhirConfig {
    /// Refuse references that lead nowhere, and the deletion of what others refer to.
    pub referential_integrity: bool,
    /// Store MedConsult's own definitions (`profiles/`) at the start.
    pub profiles: bool,
}

impl Default for FhirConfig {
    fn default() -> Self {
        Self {
            referential_integrity: false,
            profiles: true,
        }
    }
}

/// How much a search answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Resources per page when the client does not say.
    pub default_count: u32,
    /// Resources per page at most, whatever the client says.
    pub max_count: u32,
    /// Matches that are counted for an accurate total at most; beyond, the client is told to ask for an estimate.
    pub max_counted: u32,
    /// How long each statement of a search may take before it is given up.
    pub timeout_seconds: u64,
    /// Whether `_text` and `_content` can be searched. It costs disk space, and some work after each write.
    pub full_text: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            default_count: 20,
            max_count: 1000,
            max_counted: 1_000_000,
            timeout_seconds: 10,
            full_text: true,
        }
    }
}

/// Background work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Jobs that this process runs at the same time; 0 to leave them to `medconsult worker`.
    pub concurrency: u32,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self { concurrency: 4 }
    }
}
