//! How patients pay: `[payments]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// How patients pay. Without a key nothing can be paid, and visits that cost something stay unpaid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsConfig {
    /// The secret key of the practice at Stripe: `sk_live_…`, or `sk_test_…` to try it.
    pub stripe_key: Secret,
    /// A file with the same.
    pub stripe_key_file: PathBuf,
    /// Where Stripe is; empty for Stripe itself. `stripe-stand-in` takes its place in tests and demonstrations.
    pub stripe_url: String,
    /// What Stripe signs its webhooks with: `whsec_…`; several, separated by spaces, while it is being replaced. Without one,
    /// no webhook is taken and payments are found by asking, some minutes later.
    pub webhook_secret: Secret,
    /// A file with the same.
    pub webhook_secret_file: PathBuf,
    /// Where payers are sent on to when they come back, with `cancelled=1` if they did not pay; empty for a page of the server.
    pub return_url: String,
    /// What the payer reads on the page and on the statement of the card. It says nothing of what the visit is about.
    pub item: String,
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        Self {
            stripe_key: Secret::default(),
            stripe_key_file: PathBuf::new(),
            stripe_url: String::new(),
            webhook_secret: Secret::default(),
            webhook_secret_file: PathBuf::new(),
            return_url: String::new(),
            item: "Appointment".to_owned(),
        }
    }
}

impl PaymentsConfig {
    /// Whether Stripe is asked over TLS, or is this machine.
    pub fn is_private(&self) -> bool {
        let is_loopback = |host: &str| {
            ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| {
                host.strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            })
        };
        match self.stripe_url.strip_prefix("http://") {
            Some(host) => is_loopback(host),
            None => self.stripe_url.is_empty() || self.stripe_url.starts_with("https://"),
        }
    }
}
