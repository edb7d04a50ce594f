//! What the features of the practice work with, out of the settings.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::settings::vault;
use crate::base::Database;
use crate::config::Config;
use crate::payments::signature::Secrets;
use crate::payments::stripe::{Back, Stripe};
use crate::payments::till::Payments;
use crate::prescriptions::authority::RoleCode;
use crate::prescriptions::formulary::Formulary;
use crate::prescriptions::office::Office;
use crate::prescriptions::printer::Printer;
use crate::prescriptions::signer::Signer;

/// What the features of the practice work with.
pub struct Features {
    pub payments: Arc<Payments>,
    pub prescriptions: Arc<Office>,
}

impl Features {
    /// # Errors
    /// What is wrong with a setting of theirs.
    pub(super) fn build(config: &Config, database: &Database) -> Result<Self> {
        Ok(Self {
            payments: Arc::new(payments(config)?),
            prescriptions: Arc::new(office(config, database)?),
        })
    }
}

/// How patients pay, by the settings.
fn payments(config: &Config) -> Result<Payments> {
    let settings = &config.payments;
    let stripe = match settings.stripe_key.reveal() {
        "" => None,
        key => Some(Stripe::new(key, &settings.stripe_url, &settings.item)?),
    };
    let back = format!("{}/payments/return", config.root_url());
    Ok(Payments {
        stripe,
        secrets: Secrets::new(settings.webhook_secret.reveal()),
        back: Back {
            paid: format!("{back}?session={{CHECKOUT_SESSION_ID}}"),
            cancelled: back,
        },
        return_url: settings.return_url.clone(),
    })
}

/// What prescriptions are written with.
///
/// # Errors
/// What is wrong with a setting of `[prescriptions]`.
fn office(config: &Config, database: &Database) -> Result<Office> {
    let settings = &config.prescriptions;
    let named = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
    let formulary = match named(&settings.formulary) {
        None => Formulary::built_in(),
        Some(file) => {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Formulary::parse(&text).with_context(|| format!("prescriptions.formulary, {}", file.display()))?
        }
    };
    let prescribers = settings.prescribers.iter().map(|text| {
        RoleCode::read(text).with_context(|| format!("prescriptions.prescribers: {text:?} is not a system|code"))
    });
    let for_vault = config.clone();
    Ok(Office {
        formulary,
        signer: Signer::new(database.write.clone(), move || vault(&for_vault)),
        printer: Arc::new(Printer::new(named(&settings.fonts))),
        prescribers: prescribers.collect::<Result<_>>()?,
        valid_days: settings.valid_days,
    })
}
