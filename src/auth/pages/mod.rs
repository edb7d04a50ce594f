//! The pages where people sign up, sign in and look after their account.
//!
//! They are plain HTML: every one works without JavaScript, with a keyboard and with a screen reader. Whatever changes something
//! is a form, is refused unless it was ours ([`browser::Submitted`]), and ends in a redirection, so that loading a page again
//! does nothing again.
//!
//! | file | pages |
//! |---|---|
//! | [`sign_up`] | sign up; ask for another password |
//! | [`confirm`] | what a mailed link leads to |
//! | [`sign_in`] | sign in, prove it again, sign out |
//! | [`second_factor`] | show it, set it up, remove it |
//! | [`account`] | password, address, sessions, closing the account |
//! | [`invite`] | administrators invite |

pub mod account;
pub mod apps;
pub mod browser;
pub mod choose;
pub mod confirm;
pub mod invite;
pub mod second_factor;
pub mod sign_in;
pub mod sign_up;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};

use self::browser::Browser;
use super::passwords::Busy;

const STYLE: &str = include_str!("style.css");

/// `GET /auth/style.css`
pub async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE).into_response()
}

/// Why somebody gets another page than the one that they asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Nobody is signed in.
    SignIn,
    /// The second factor is still to be shown, or to be set up.
    ShowFactor,
    SetUpFactor,
    /// What they want to change asks for a fresh proof of who they are.
    Prove,
    /// The form did not come from a page of ours in this browser.
    NotOurForm,
    /// Their role may not see it.
    Forbidden,
    /// The link was used, has expired, or never was.
    NoSuchLink,
    Throttled,
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
            PageError::Prove => return see_other("/auth/prove"),
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
            PageError::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Not now",
                "The server cannot answer at the moment. Try again in a minute.",
            ),
        };
        let mut response = page(
            title,
            html! { p { (text) } p { a href="/auth/account" { "Your account" } } },
        );
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

type Result<T, E = PageError> = std::result::Result<T, E>;

/// A redirection after a form: never one that would send the form again.
pub fn see_other(path: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    protect(response.headers_mut(), "");
    response
}

/// A page with a form that ends at an application. Browsers apply the policy on forms to where the answer redirects, too.
pub fn page_for_app(title: &str, content: Markup, redirect_uri: Option<&str>) -> Response {
    let mut response = page(title, content);
    protect(response.headers_mut(), &redirect_uri.map(origin).unwrap_or_default());
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

/// A whole page.
fn page(title: &str, content: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – MedConsult" }
                link rel="stylesheet" href="/auth/style.css";
            }
            body {
                header { p { "MedConsult" } }
                main { h1 { (title) } (content) }
            }
        }
    };
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response();
    protect(response.headers_mut(), "");
    response
}

/// What keeps a page from being framed, kept, or told about to others. Its forms go to us, or on to `form_target`.
fn protect(headers: &mut HeaderMap, form_target: &str) {
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {form_target}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    // An address that was registered has nothing in it that a header could not hold.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl Browser {
    /// A page for this browser, whose cookie it sets if there is none yet.
    fn page(&self, title: &str, content: Markup) -> Response {
        let mut response = page(title, content);
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

    /// Remembers this browser, for as long as [`REMEMBERED`](super::factors::REMEMBERED).
    fn set_device_cookie(&self, headers: &mut HeaderMap, secret: &str) {
        let (name, seconds) = (
            super::device_cookie_name(self.secure),
            super::factors::REMEMBERED.as_secs(),
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

/// A labelled field. `kind` is that of HTML's `input`; `autocomplete` helps password managers and people who find typing hard.
fn field(label: &str, name: &str, kind: &str, autocomplete: &str, value: &str) -> Markup {
    html! {
        p {
            label for=(name) { (label) }
            input id=(name) name=(name) type=(kind) autocomplete=(autocomplete) value=(value) required maxlength="500";
        }
    }
}

/// A sentence about what is wrong, read aloud by screen readers when the page opens.
fn alert(sentence: Option<&str>) -> Markup {
    html! {
        @if let Some(sentence) = sentence {
            p class="alert" role="alert" { (sentence) }
        }
    }
}
