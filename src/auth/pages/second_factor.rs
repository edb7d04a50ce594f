//! The second factor: shown after the password, set up, removed.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use qrcode::QrCode;
use qrcode::render::svg;

use super::browser::{Browser, Submitted};
use super::sign_in::{Next, safe_next};
use super::{PageError, Result, alert, field, see_other};
use crate::auth::factors::{self, Authenticator};
use crate::auth::mail::Mail;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, throttle};

/// `GET /auth/second-factor`
pub async fn show(browser: Browser, Query(Next { next }): Query<Next>) -> Result<Response> {
    let session = browser.begun()?;
    match session.account.has_totp {
        true if !session.complete => Ok(form(&browser, safe_next(&next), None)),
        true => Ok(see_other(safe_next(&next))),
        false => Err(PageError::SetUpFactor),
    }
}

fn form(browser: &Browser, next: &str, wrong: Option<&str>) -> Response {
    let content = browser.form("/auth/second-factor", "Go on", html! {
        (field("Code", "code", "text", "one-time-code", ""))
        p {
            label class="check" { input type="checkbox" name="remember" value="yes"; " Do not ask in this browser for 30 days" }
        }
        input type="hidden" name="next" value=(next);
    });
    browser.page(
        "Your second factor",
        html! {
            p { "Type the six digits that your authenticator app shows, or one of your backup codes." }
            (alert(wrong))
            (content)
            (browser.form("/auth/sign-out", "Sign in as somebody else", html! {}))
        },
    )
}

/// `POST /auth/second-factor`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.begun()?;
    let next = safe_next(form_sent.get("next"));
    if !right_code(&auth, &session.account.id, form_sent.get("code")).await? {
        let mut response = form(browser, next, Some("This code is not right, or was used already."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    let now = auth.clock.now();
    Session::proved(&auth.pool, now, &session.id).await?;
    let mut response = see_other(next);
    if form_sent.get("remember") == "yes" {
        let secret = factors::remember(&auth.pool, now, &session.account.id).await?;
        browser.set_device_cookie(response.headers_mut(), &secret);
    }
    Ok(response)
}

/// Whether the code is right now. Attempts are counted before they are judged.
pub(super) async fn right_code(auth: &AuthServer, account: &str, code: &str) -> Result<bool> {
    let now = auth.clock.now();
    if !throttle::CODES.allows(&auth.pool, now, account).await? {
        return Err(PageError::Throttled);
    }
    let right = factors::check(&auth.pool, &auth.vault, now, account, code).await?;
    if right {
        throttle::CODES.forget(&auth.pool, account).await?;
    }
    Ok(right)
}

/// Who may set up an authenticator: somebody who has none and has just signed in, or who changes it and proved themselves.
fn may_set_up<'b>(auth: &AuthServer, browser: &'b Browser) -> Result<&'b Session> {
    let session = browser.begun()?;
    match session.account.has_totp || session.complete {
        true => browser.signed_in_afresh(auth),
        false => Ok(session),
    }
}

/// `GET /auth/second-factor/set-up`
pub async fn show_set_up(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = may_set_up(&auth, &browser)?;
    let authenticator = Authenticator::new();
    let sealed = STANDARD.encode(authenticator.seal(&auth.vault, &session.account.id));
    Ok(set_up_form(
        &browser,
        &session.account.email,
        &authenticator,
        &sealed,
        None,
    ))
}

fn set_up_form(
    browser: &Browser,
    email: &str,
    authenticator: &Authenticator,
    sealed: &str,
    wrong: Option<&str>,
) -> Response {
    let content = browser.form(
        "/auth/second-factor/set-up",
        "Turn it on",
        html! {
            input type="hidden" name="sealed" value=(sealed);
            (field("The six digits that the app shows now", "code", "text", "one-time-code", ""))
        },
    );
    browser.page(
        "Set up an authenticator app",
        html! {
            p { "Open an authenticator app on your phone and scan this picture." }
            (picture(&authenticator.url(email)))
            p { "Or type this key into the app: " code { (authenticator.key()) } }
            (alert(wrong))
            (content)
        },
    )
}

fn picture(url: &str) -> Markup {
    let svg = QrCode::new(url).map(|code| code.render::<svg::Color<'_>>().min_dimensions(240, 240).build());
    html! {
        @if let Ok(svg) = svg {
            p { img width="240" height="240" alt="A QR code with the key below" src={ "data:image/svg+xml;base64," (STANDARD.encode(svg)) }; }
        }
    }
}

/// `POST /auth/second-factor/set-up`
pub async fn submit_set_up(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = may_set_up(&auth, browser)?;
    let account = &session.account;
    // The key went out sealed for this account and comes back: nothing is stored before a code proves that the app has it.
    let sealed = STANDARD
        .decode(form_sent.get("sealed"))
        .map_err(|_| PageError::NotOurForm)?;
    let authenticator = Authenticator::open(&auth.vault, &account.id, &sealed).ok_or(PageError::NotOurForm)?;
    let now = auth.clock.now();
    let code: String = form_sent.get("code").chars().filter(char::is_ascii_digit).collect();
    let Some(step) = authenticator.step_of(now, &code) else {
        let wrong = Some("This code is not right. Is the clock of your phone?");
        return Ok(set_up_form(
            browser,
            &account.email,
            &authenticator,
            form_sent.get("sealed"),
            wrong,
        ));
    };
    let mut transaction = auth.pool.begin().await?;
    let codes = factors::set_up(&mut transaction, &account.id, &sealed, step).await?;
    Session::proved(&mut *transaction, now, &session.id).await?;
    let notice = Mail::notice(
        &account.email,
        &auth.issuer,
        "An authenticator app was set up for your MedConsult account.",
    );
    notice.enqueue(&mut transaction, &auth.vault, now).await?;
    transaction.commit().await?;
    Ok(codes_page(browser, &codes))
}

fn codes_page(browser: &Browser, codes: &[String]) -> Response {
    browser.page(
        "Your backup codes",
        html! {
            p { "Keep these on paper. Each lets you in once if you lose your authenticator. They are not shown again." }
            ul class="codes" { @for code in codes { li { (code) } } }
            p { a href="/auth/account" { "I have kept them" } }
        },
    )
}

/// `POST /auth/second-factor/backup-codes`
pub async fn new_codes(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth)?;
    if !session.account.has_totp {
        return Err(PageError::SetUpFactor);
    }
    let mut transaction = auth.pool.begin().await?;
    let codes = factors::new_backup_codes(&mut transaction, &session.account.id).await?;
    transaction.commit().await?;
    Ok(codes_page(&form_sent.browser, &codes))
}

/// `POST /auth/second-factor/remove`
pub async fn remove(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth)?;
    if session.account.role.needs_second_factor() {
        return Err(PageError::Forbidden);
    }
    let account = &session.account;
    let mut transaction = auth.pool.begin().await?;
    factors::remove(&mut *transaction, &account.id).await?;
    let notice = Mail::notice(
        &account.email,
        &auth.issuer,
        "The authenticator app of your MedConsult account was removed.",
    );
    notice.enqueue(&mut transaction, &auth.vault, auth.clock.now()).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/account"))
}
