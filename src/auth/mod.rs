//! Who may do what: people and their accounts, registered applications and their tokens, and the
//! [`Caller`](crate::fhir::caller::Caller) that a request runs as. What is promised and how it is kept is told in
//! docs/security.md.
//!
//! | file | concern |
//! |---|---|
//! | [`accounts`] | people, and the resources that stand for them |
//! | [`details`] | what they say about themselves in those resources |
//! | [`passwords`], [`factors`] | how they prove who they are |
//! | [`sessions`] | browsers that are signed in |
//! | [`provider`] | signing in at another OpenID provider |
//! | [`links`], [`mail`] | links that are mailed to prove an address, and what else people are told of their accounts |
//! | [`throttle`] | how often something may be tried |
//! | [`pages`] | what people see of all this |
//! | [`clients`] | applications that an operator registered |
//! | [`launches`] | what they are opened about |
//! | [`scopes`] | what they can ask for |
//! | [`keys`] | what id_tokens are signed with |
//! | [`tokens`] | access tokens: issued, looked up, withdrawn |
//! | [`oauth`] | the endpoints of OAuth 2 and SMART |
//! | [`bearer`] | from the token of a request to its caller |
//! | [`background`] | jobs |

pub mod accounts;
pub mod background;
pub mod bearer;
pub mod clients;
pub mod details;
pub mod factors;
pub mod keys;
pub mod launches;
pub mod links;
pub mod mail;
pub mod oauth;
pub mod pages;
pub mod passwords;
pub mod provider;
pub mod recognition;
pub mod scopes;
pub mod sessions;
pub mod throttle;
pub mod tokens;

use std::sync::Arc;

use sqlx::PgPool;

use self::clients::keys::KeySets;
use self::factors::passkeys::RelyingParty;
use self::factors::policy::FactorPolicy;
use self::passwords::Passwords;
use self::provider::Provider;
use self::recognition::Recognition;
use crate::base::crypto::Vault;
use crate::base::limits::Limits;
use crate::base::{Clock, IdGenerator};
use crate::fhir::metadata::OAuthEndpoints;
use crate::fhir::server::FhirServer;
use crate::mail::Outbox;

/// Everything that says who a caller is; shared by all requests.
pub struct AuthServer {
    pub fhir: Arc<FhirServer>,
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: IdGenerator,
    pub vault: Vault,
    pub passwords: Passwords,
    pub outbox: Outbox,
    pub key_sets: KeySets,
    /// The address of the whole server, without a slash at the end, by which tokens, assertions and links call it.
    pub issuer: String,
    pub endpoints: OAuthEndpoints,
    /// Whether people may open an account without being invited.
    pub sign_up: bool,
    /// Which factors a role must show.
    pub factors: FactorPolicy,
    /// `None` where browsers have no passkeys.
    pub relying_party: Option<RelyingParty>,
    /// Other OpenID providers that people may sign in at.
    pub providers: Vec<Provider>,
    /// Who was recognised by their token.
    pub recognition: Recognition,
    /// How many tokens one application gets.
    pub limits: Limits,
}

impl AuthServer {
    /// Whether browsers reach the server by TLS only.
    pub fn is_https(&self) -> bool {
        self.issuer.starts_with("https://")
    }

    fn cookie_name(&self) -> &'static str {
        cookie_name(self.is_https())
    }

    fn device_cookie_name(&self) -> &'static str {
        device_cookie_name(self.is_https())
    }
}

/// The prefix lets browsers refuse a cookie of this name that another host of the domain, or a page without TLS, tries to set.
fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-medconsult" } else { "medconsult" }
}

fn device_cookie_name(secure: bool) -> &'static str {
    if secure {
        "__Host-medconsult-device"
    } else {
        "medconsult-device"
    }
}
