//! The browser in front of a page: its cookie, its session, and proof that a form was ours.
//!
//! There is one cookie. Before somebody signs in it holds a random secret that the server does not know; signing in replaces
//! it by that of the session, so a secret that was planted before is worth nothing after. A form carries a hash of the
//! cookie, which another site can neither read nor set ([`Submitted`] refuses a form without it, so no page can forget to).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::PageError;
use crate::auth::AuthServer;
use crate::auth::factors::policy::{FactorPolicy, Missing};
use crate::auth::sessions::Session;
use crate::base::address::ClientAddress;
use crate::base::crypto;

/// Longest form that is read, in bytes.
const LONGEST_FORM: usize = 32 * 1024;

/// Who looks at a page.
#[derive(Debug)]
pub struct Browser {
    /// What the cookie holds.
    pub secret: String,
    /// Whether the answer must set the cookie.
    pub is_new: bool,
    pub session: Option<Session>,
    /// Where the request comes from.
    pub address: IpAddr,
    /// What the browser calls itself, cut.
    pub device: String,
    /// The languages that it asks for, cut.
    pub languages: String,
    /// The cookie of a browser that is remembered.
    pub remembered: Option<String>,
    /// Whether cookies are for https only.
    pub secure: bool,
    /// Which factors are asked for here.
    pub policy: FactorPolicy,
}

impl Browser {
    /// What the forms of this browser carry.
    pub fn form_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(crypto::digest(&format!("form\0{}", self.secret)))
    }

    /// The session, if somebody is signed in, whether or not the second factor was shown.
    ///
    /// # Errors
    /// A redirection to the sign-in page.
    pub fn begun(&self) -> Result<&Session, PageError> {
        self.session.as_ref().ok_or(PageError::SignIn)
    }

    /// The session of somebody who has shown all that their account asks for.
    ///
    /// # Errors
    /// A redirection to the page where the rest is shown.
    pub fn signed_in(&self) -> Result<&Session, PageError> {
        let session = self.begun()?;
        match self.policy.missing_in(session) {
            None => Ok(session),
            Some(Missing::Show) => Err(PageError::ShowFactor),
            Some(Missing::SetUp) => Err(PageError::SetUpFactor),
            Some(Missing::SetUpPasskey) => Err(PageError::SetUpPasskey),
        }
    }

    /// The same, a moment ago, by all that the account has: for what protects the account. `page` is where they go back to
    /// once they proved it.
    ///
    /// # Errors
    /// A redirection to the page where they prove it again.
    pub fn signed_in_afresh(&self, auth: &AuthServer, page: &'static str) -> Result<&Session, PageError> {
        let session = self.signed_in()?;
        match session.is_fresh(auth.clock.now(), self.policy.assurance_of(&session.account)) {
            true => Ok(session),
            false => Err(PageError::Prove(page)),
        }
    }

    /// Whether a form with this token is one of our pages, in this browser.
    ///
    /// # Errors
    /// [`PageError::NotOurForm`]
    pub(super) fn check_form(&self, headers: &HeaderMap, token: &str) -> Result<(), PageError> {
        // Browsers that say where a form comes from must not say that it comes from elsewhere.
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let is_from_here = site.is_none_or(|site| site == b"same-origin");
        match is_from_here && !self.is_new && crypto::equal(token, &self.form_token()) {
            true => Ok(()),
            false => Err(PageError::NotOurForm),
        }
    }

    /// What challenges to authenticators are sealed for: this browser as it is now.
    pub(super) fn challenge_place(&self) -> String {
        format!("passkey for {}", URL_SAFE_NO_PAD.encode(crypto::digest(&self.secret)))
    }
}

impl FromRequestParts<Arc<AuthServer>> for Browser {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, auth: &Arc<AuthServer>) -> Result<Browser, PageError> {
        let secret = cookie(&parts.headers, auth.cookie_name()).filter(|secret| is_secret(secret));
        let session = match secret {
            Some(secret) => Session::find(&auth.pool, auth.clock.now(), secret).await?,
            None => None,
        };
        let device = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let languages = parts
            .headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
        Ok(Browser {
            is_new: secret.is_none(),
            secret: secret.map_or_else(crypto::random_token, str::to_owned),
            session,
            address: address.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            device: device.unwrap_or("unknown").chars().take(200).collect(),
            languages: languages.unwrap_or_default().chars().take(200).collect(),
            remembered: cookie(&parts.headers, auth.device_cookie_name()).map(str::to_owned),
            secure: auth.is_https(),
            policy: auth.factors,
        })
    }
}

/// A form that one of our pages sent, from this browser.
#[derive(Debug)]
pub struct Submitted {
    pub browser: Browser,
    fields: Vec<(String, String)>,
}

impl Submitted {
    /// What was filled in; empty for what was not.
    pub fn get(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// All values of a name, as those of ticked boxes.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

impl FromRequest<Arc<AuthServer>> for Submitted {
    type Rejection = PageError;

    async fn from_request(request: Request<Body>, auth: &Arc<AuthServer>) -> Result<Submitted, PageError> {
        let (mut parts, body) = request.into_parts();
        let Ok(browser) = Browser::from_request_parts(&mut parts, auth).await else {
            return Err(PageError::Unavailable);
        };
        let body = to_bytes(body, LONGEST_FORM).await.map_err(|_| PageError::NotOurForm)?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        let submitted = Submitted { browser, fields };
        submitted
            .browser
            .check_form(&parts.headers, submitted.get("form_token"))?;
        Ok(submitted)
    }
}

/// The value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn is_secret(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; medconsult=x; b=2".parse().unwrap());
        headers.append(header::COOKIE, "not-medconsult=y;medconsult2=z".parse().unwrap());
        assert_eq!(cookie(&headers, "medconsult"), Some("x"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "medconsult2"), Some("z"));
        assert_eq!(cookie(&headers, "consult"), None);
        assert!(is_secret(&crypto::random_token()) && !is_secret("short") && !is_secret(&"é".repeat(43)));
    }
}
