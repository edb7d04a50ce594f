//! The pages where people sign up, sign in and look after their account.
//!
//! They are plain HTML: every one works without JavaScript, with a keyboard and with a screen reader; only passkeys need a
//! script, since browsers offer them to scripts alone. Whatever changes something is a form, is refused unless it was ours
//! ([`browser::Submitted`]), and ends in a redirection, so that loading a page again does nothing again.
//!
//! | file | pages |
//! |---|---|
//! | [`sign_up`] | sign up; ask for another password |
//! | [`confirm`] | what a mailed link leads to |
//! | [`sign_in`] | sign in, sign out |
//! | [`entry`] | none: what follows once somebody has shown who they are |
//! | [`prove`] | prove it again, before something important |
//! | [`second_factor`] | show a second factor; set up or remove an authenticator app, codes by mail and on paper |
//! | [`passkeys`] | sign in by a passkey; make, name and remove them |
//! | [`account`] | sessions, applications, closing the account |
//! | [`details`] | names, picture, address, language, time zone, which mails |
//! | [`security`] | password, address, factors |
//! | [`provider`] | signing in at another OpenID provider |
//! | [`invite`] | administrators invite |

pub mod account;
pub mod apps;
pub mod browser;
pub mod choose;
pub mod confirm;
pub mod details;
mod entry;
mod form;
pub mod invite;
pub mod passkeys;
pub mod prove;
pub mod provider;
pub mod second_factor;
pub mod security;
pub mod sign_in;
pub mod sign_up;
mod upload;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};
use sqlx::PgConnection;

use self::browser::Browser;
pub use self::entry::encoded;
use self::form::{Problems, alert, field};
use super::AuthServer;
use super::accounts::Account;
use super::mail::Mail;
use super::passwords::Busy;
use crate::fhir::error::FhirError;
use crate::fhir::trail::{Event, Kind};

const STYLE: &str = include_str!("style.css");
const PASSKEYS: &str = include_str!("passkeys.js");

/// `GET /auth/style.css`
pub async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE).into_response()
}

/// `GET /auth/passkeys.js`
pub async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, PASSKEYS).into_response()
}

/// Why somebody gets another page than the one that they asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Nobody is signed in.
    SignIn,
    /// The second factor is still to be shown, or to be set up.
    ShowFactor,
    SetUpFactor,
    SetUpPasskey,
    /// What they want to change asks for a fresh proof of who they are, and is found on this page.
    Prove(&'static str),
    /// The form did not come from a page of ours in this browser.
    NotOurForm,
    /// Their role may not see it.
    Forbidden,
    /// This server cannot have passkeys.
    NoPasskeys,
    /// The account has as many as it may, or has this one already.
    NoMorePasskeys,
    /// The passkey is unknown, or another account's.
    OtherPasskey,
    /// This deployment has no such OpenID provider.
    NoSuchProvider,
    /// The provider does not answer as it must.
    ProviderUnavailable,
    /// What came back from a provider belongs to no visit of this browser, or cannot be believed.
    NotAVisit,
    /// The name at the provider is connected with another account, or the account with another name.
    ConnectedElsewhere,
    /// Somebody else changed the same in between.
    Crossed,
    /// What was sent is longer than it may be.
    TooLong,
    /// The link was used, has expired, or never was.
    NoSuchLink,
    /// Too many attempts at something that must not be guessed.
    Throttled,
    /// Too many pages in a minute.
    TooMany,
    /// The form did not arrive in time.
    TooSlow,
    Unavailable,
}

impl From<sqlx::Error> for PageError {
    /// Only the kind of error is logged: its details may quote values.
    fn from(error: sqlx::Error) -> PageError {
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        tracing::warn!(sqlstate = code, "a page failed at the database");
        PageError::Unavailable
    }
}

impl From<Busy> for PageError {
    fn from(_: Busy) -> PageError {
        PageError::Unavailable
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            PageError::SignIn => return see_other("/auth/sign-in"),
            PageError::ShowFactor => return see_other("/auth/second-factor"),
            PageError::SetUpFactor => return see_other("/auth/second-factor/set-up"),
            PageError::SetUpPasskey => return see_other("/auth/passkeys"),
            PageError::Prove(page) => return see_other(&format!("/auth/prove?next={}", encoded(page))),
            PageError::NotOurForm => (
                StatusCode::FORBIDDEN,
                "This form has expired",
                "Go back, load the page again and send it once more. Cookies must be allowed for this site.",
            ),
            PageError::Forbidden => (
                StatusCode::FORBIDDEN,
                "Not for you",
                "Your account may not see this page.",
            ),
            PageError::NoPasskeys => (
                StatusCode::NOT_FOUND,
                "No passkeys here",
                "Passkeys need this server to be called by a name, and by https.",
            ),
            PageError::NoMorePasskeys => (
                StatusCode::CONFLICT,
                "Not another one",
                "This passkey is yours already, or you have as many as an account may have. Remove one first.",
            ),
            PageError::OtherPasskey => (
                StatusCode::UNAUTHORIZED,
                "Not this passkey",
                "It is not one of your account. Go back and try another one.",
            ),
            PageError::NoSuchProvider => (
                StatusCode::NOT_FOUND,
                "Nobody of this name",
                "People cannot sign in there.",
            ),
            PageError::ProviderUnavailable => (
                StatusCode::BAD_GATEWAY,
                "No answer from there",
                "The other provider does not answer as it should. Sign in with your password, or try again later.",
            ),
            PageError::NotAVisit => (
                StatusCode::BAD_REQUEST,
                "That did not work",
                "The other provider did not let you in, or the answer was not for this browser. Start again.",
            ),
            PageError::ConnectedElsewhere => (
                StatusCode::CONFLICT,
                "Connected already",
                "This name there belongs to another account here, or your account to another name there. Disconnect that first.",
            ),
            PageError::Crossed => (
                StatusCode::CONFLICT,
                "Changed in between",
                "Your record was changed by somebody else in this moment. Go back, load the page again and look at it.",
            ),
            PageError::TooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                "A picture may have up to 2 MB. Go back and choose a smaller one.",
            ),
            PageError::NoSuchLink => (
                StatusCode::GONE,
                "This link is not valid any more",
                "It was used already, or is too old. Ask for another one.",
            ),
            PageError::Throttled => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many attempts",
                "Wait a quarter of an hour and try again.",
            ),
            PageError::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "Wait a minute and try again.",
            ),
            PageError::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Too slow",
                "The form did not arrive in time. Go back and send it once more.",
            ),
            PageError::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Not now",
                "The server cannot answer at the moment. Try again in a minute.",
            ),
        };
        let content = html! { p { (text) } p { a href="/auth/account" { "Your account" } } };
        let mut response = page(title, content, false);
        *response.status_mut() = status;
        if matches!(self, PageError::Throttled | PageError::Unavailable) {
            let seconds = if self == PageError::Throttled { "900" } else { "60" };
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

impl From<FhirError> for PageError {
    fn from(error: FhirError) -> PageError {
        // Its text is for those who wrote the request, and here that is us.
        tracing::warn!(status = error.status.as_u16(), "a page failed at the records");
        PageError::Unavailable
    }
}

type Result<T, E = PageError> = std::result::Result<T, E>;

/// Tells the trail, and by mail the owner, what was just done to an account, both with the transaction that does it.
async fn tell(
    auth: &AuthServer,
    browser: &Browser,
    transaction: &mut PgConnection,
    account: &Account,
    change: &str,
) -> Result<()> {
    let mail = Mail::notice(&account.email, &auth.issuer, change);
    tell_by(auth, browser, transaction, account, (change, mail)).await
}

/// The same, by a mail that says more.
async fn tell_by(
    auth: &AuthServer,
    browser: &Browser,
    transaction: &mut PgConnection,
    account: &Account,
    (change, mail): (&str, Mail),
) -> Result<()> {
    let event = browser.event_of(Kind::Account, account).detail("change", change);
    auth.fhir.trail.write(&mut *transaction, &[event]).await?;
    mail.enqueue(transaction, auth, &browser.languages).await?;
    Ok(())
}

/// A redirection after a form: never one that would send the form again.
pub fn see_other(path: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    protect(response.headers_mut(), "form-action 'self'");
    response
}

/// A page with a form that ends at an application. Browsers apply the policy on forms to where the answer redirects, too.
pub fn page_for_app(title: &str, content: Markup, redirect_uri: Option<&str>) -> Response {
    let mut response = page(title, content, false);
    let target = redirect_uri.map(origin).unwrap_or_default();
    protect(response.headers_mut(), &format!("form-action 'self' {target}"));
    response
}

/// `https://app.example` of an address there, or its scheme where it has no host.
fn origin(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        _ => uri
            .split_once(':')
            .map(|(scheme, _)| format!("{scheme}:"))
            .unwrap_or_default(),
    }
}

/// A whole page, with the script for passkeys or without any.
fn page(title: &str, content: Markup, with_script: bool) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – MedConsult" }
                link rel="stylesheet" href="/auth/style.css";
                link rel="icon" href="data:,";
                @if with_script { script src="/auth/passkeys.js" defer {} }
            }
            body {
                header { p { a href="/" { "MedConsult" } } }
                main { h1 { (title) } (content) }
            }
        }
    };
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response();
    let script = if with_script { "; script-src 'self'" } else { "" };
    protect(response.headers_mut(), &format!("form-action 'self'{script}"));
    response
}

/// What keeps a page from being framed or kept. `more` says where its forms go to, and whether it has a script. What all answers
/// have beside that is told in [`edge::headers`](crate::edge::headers).
fn protect(headers: &mut HeaderMap, more: &str) {
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self' data:; {more}; base-uri 'none'; frame-ancestors 'none'"
    );
    // An address that was registered has nothing in it that a header could not hold.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

impl Browser {
    /// Something that somebody did in this browser, for the trail.
    fn event(&self, kind: Kind) -> Event {
        Event::new(kind).address(self.address)
    }

    /// The same, where it is known whose account it is.
    pub fn event_of(&self, kind: Kind, account: &Account) -> Event {
        self.event(kind).account(&account.id, &account.profile)
    }

    /// A page for this browser, whose cookie it sets if there is none yet.
    fn page(&self, title: &str, content: Markup) -> Response {
        self.wrapped(page(title, content, false))
    }

    /// The same, with the script for passkeys.
    fn page_with_passkeys(&self, title: &str, content: Markup) -> Response {
        self.wrapped(page(title, content, true))
    }

    /// Sets the cookie, if there is none yet.
    fn wrapped(&self, mut response: Response) -> Response {
        if self.is_new {
            self.set_cookie(response.headers_mut(), &self.secret);
        }
        response
    }

    /// A form whose fields are `content`, sent to `action` by a button.
    fn form(&self, action: &str, button: &str, content: Markup) -> Markup {
        html! {
            form method="post" action=(action) {
                input type="hidden" name="form_token" value=(self.form_token());
                (content)
                button { (button) }
            }
        }
    }

    fn set_cookie(&self, headers: &mut HeaderMap, secret: &str) {
        let name = super::cookie_name(self.secure);
        add_cookie(
            headers,
            &format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax{}", self.if_secure()),
        );
    }

    /// Remembers this browser, for as long as [`REMEMBERED`](super::factors::devices::REMEMBERED).
    fn set_device_cookie(&self, headers: &mut HeaderMap, secret: &str) {
        let (name, seconds) = (
            super::device_cookie_name(self.secure),
            super::factors::devices::REMEMBERED.as_secs(),
        );
        let attributes = format!("Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{}", self.if_secure());
        add_cookie(headers, &format!("{name}={secret}; {attributes}"));
    }

    fn if_secure(&self) -> &'static str {
        if self.secure { "; Secure" } else { "" }
    }
}

fn add_cookie(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(header::SET_COOKIE, value);
    }
}
