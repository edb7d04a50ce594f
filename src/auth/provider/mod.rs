//! Signing in at another OpenID provider, such as the directory of a clinic
//! (<https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth>). MedConsult is the client here.
//!
//! | file | concern |
//! |---|---|
//! | [`metadata`] | what the provider publishes: its endpoints and keys |
//! | [`visit`] | a browser that was sent there and comes back |
//! | [`id_token`] | what the provider says about who came |
//! | [`links`] | which account that is |
//!
//! **Which account it is** is only ever said by the account's owner: they sign in here, prove it afresh, and connect. Until
//! then nobody is let in by the provider's word, even if it names the address of an account, since addresses change
//! hands, and some providers let people type any. A deployment may trust a provider of its own with addresses
//! (`connect_by_email`); then a verified address connects the account that has it, and its owner is told by mail.
//!
//! **Mix-up** ([RFC 9700, section 4.4](https://www.rfc-editor.org/rfc/rfc9700#section-4.4)): each provider has a redirection address of its own,
//! a visit is bound to one of them, `iss` in the answer must be its issuer, and so must that in the id_token. **Injection**:
//! a visit is bound to the browser by its cookie, its code to us by PKCE, and its id_token to the visit by a nonce.

pub mod id_token;
pub mod links;
pub mod metadata;
pub mod visit;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;

use self::metadata::Published;

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator says about a provider.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// As in the address of its pages here: letters, digits and `-`.
    pub name: String,
    /// What people read on the button.
    pub label: String,
    pub issuer: String,
    pub client_id: String,
    /// Empty for a public client, which PKCE protects alone.
    pub client_secret: String,
    pub scopes: Vec<String>,
    pub connect_by_email: bool,
}

/// A provider that people may sign in at.
#[derive(Debug)]
pub struct Provider {
    pub settings: ProviderSettings,
    http: Client,
    published: Mutex<Option<Published>>,
}

/// Why nobody was let in. Told to the person in general words; the details would help nobody but who plays with the answer.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("the provider does not answer, or not as it must")]
    Unavailable,
    #[error("the answer is not one to a visit of this browser, or is too late")]
    NotAVisit,
    #[error("the provider refuses: the person changed their mind, or may not")]
    Denied,
    #[error("what the provider says cannot be believed")]
    Untrusted(&'static str),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

impl Provider {
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(settings: ProviderSettings) -> Result<Provider> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            !settings.name.is_empty() && settings.name.bytes().all(is_plain),
            "the name of a provider has small letters, digits and -"
        );
        ensure!(!settings.client_id.is_empty(), "client_id is missing");
        ensure!(
            settings.scopes.iter().any(|scope| scope == "openid"),
            "scopes must have openid"
        );
        let is_local = is_loopback(&settings.issuer);
        if !settings.issuer.starts_with("https://") && !is_local {
            bail!("issuer must be https://, or http:// on loopback for tests");
        }
        let mut http = Client::builder()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .https_only(!is_local);
        if is_local {
            http = http.no_proxy();
        }
        Ok(Provider {
            http: http.build().context("no HTTP client can be made")?,
            settings,
            published: Mutex::default(),
        })
    }

    /// Where the provider sends people back to: an address of its own, so that no other provider's answer comes there.
    pub fn redirect_uri(&self, root: &str) -> String {
        format!("{root}/auth/provider/{}/callback", self.settings.name)
    }

    /// Whether the provider may name this address for what it serves: https, or loopback where the provider itself is there.
    fn may_use(&self, url: &str) -> bool {
        url.starts_with("https://") || (is_loopback(&self.settings.issuer) && is_loopback(url))
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split(['/', ':']).next());
    host.is_some_and(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ProviderSettings {
        ProviderSettings {
            name: "clinic".to_owned(),
            label: "The clinic".to_owned(),
            issuer: "https://id.clinic.example".to_owned(),
            client_id: "medconsult".to_owned(),
            client_secret: String::new(),
            scopes: vec!["openid".to_owned()],
            connect_by_email: false,
        }
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused() {
        assert!(Provider::new(settings()).is_ok());
        let wrong: [fn(&mut ProviderSettings); 5] = [
            |settings| settings.name = "the/clinic".to_owned(),
            |settings| settings.name.clear(),
            |settings| settings.client_id.clear(),
            |settings| settings.scopes.clear(),
            |settings| settings.issuer = "http://id.clinic.example".to_owned(),
        ];
        for change in wrong {
            let mut settings = settings();
            change(&mut settings);
            assert!(Provider::new(settings.clone()).is_err(), "{settings:?}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for (url, expected) in [
            ("http://127.0.0.1:80/x", true),
            ("http://localhost/", true),
            ("http://127.0.0.1.evil.example/", false),
            ("http://10.0.0.1/", false),
            ("https://127.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
        let provider = Provider::new(settings()).unwrap();
        assert!(provider.may_use("https://id.clinic.example/token") && !provider.may_use("http://127.0.0.1/token"));
    }
}
