//! Who may prescribe, and with what: `[prescriptions]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How prescriptions are checked, signed and printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrescriptionsConfig {
    /// Codes of PractitionerRole (`system|code`) whose holders may sign prescriptions.
    pub prescribers: Vec<String>,
    /// What is known of medicines, allergies and interactions; empty for the built-in file.
    pub formulary: PathBuf,
    /// A folder with the fonts that sheets are printed in; empty for those of the system.
    pub fonts: PathBuf,
    /// For how many days a prescription can be handed in that does not say so itself.
    pub valid_days: u32,
}

impl Default for PrescriptionsConfig {
    fn default() -> Self {
        Self {
            prescribers: vec!["http://terminology.hl7.org/CodeSystem/practitioner-role|doctor".to_owned()],
            formulary: PathBuf::new(),
            fonts: PathBuf::new(),
            valid_days: 90,
        }
    }
}
