//! What the hooks of this room share: who may prescribe, what is known of medicines, the key, the printer.

use std::sync::Arc;

use super::authority::RoleCode;
use super::formulary::Formulary;
use super::printer::Printer;
use super::signer::Signer;

/// See the [module](self).
pub struct Office {
    pub formulary: Formulary,
    pub signer: Signer,
    pub printer: Arc<Printer>,
    /// Codes of PractitionerRole that let somebody prescribe.
    pub prescribers: Vec<RoleCode>,
    /// How many days a prescription can be handed in that does not say so itself.
    pub valid_days: u32,
}
