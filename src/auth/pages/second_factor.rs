//! The second factor: shown after the first one; an authenticator app, codes by mail and codes on paper set up and removed.

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
use super::entry::{self, Next, encoded, safe_next};
use super::{PageError, Problems, Result, alert, field, passkeys, see_other, tell};
use crate::auth::accounts::Account;
use crate::auth::factors::authenticator::Authenticator;
use crate::auth::factors::policy::Missing;
use crate::auth::factors::{self, CodeKind, Shown, authenticator, devices, mailed, paper};
use crate::auth::mail::Mail;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, throttle};
use crate::fhir::step_up::Assurance;
use crate::fhir::trail::Kind;

/// `GET /auth/second-factor`
pub async fn show(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    Query(Next { next }): Query<Next>,
) -> Result<Response> {
    let session = browser.begun()?;
    match auth.factors.missing_in(session) {
        None => Ok(see_other(safe_next(&next))),
        Some(Missing::Show) => Ok(form(&auth, &browser, session, safe_next(&next), None)),
        Some(Missing::SetUp) => Err(PageError::SetUpFactor),
        Some(Missing::SetUpPasskey) => Err(PageError::SetUpPasskey),
    }
}

fn form(auth: &AuthServer, browser: &Browser, session: &Session, next: &str, wrong: Option<&str>) -> Response {
    let account = &session.account;
    let going_on = html! { input type="hidden" name="next" value=(next); };
    let by_mail = auth.factors.mails_codes_to(account);
    let content = browser.form("/auth/second-factor", "Go on", html! {
        (field("Code", "code", "text", "one-time-code", ""))
        p {
            label class="check" { input type="checkbox" name="remember" value="yes"; " Do not ask in this browser for 30 days" }
        }
        (going_on)
    });
    browser.page_with_passkeys(
        "Your second factor",
        html! {
            (alert(wrong))
            @if account.passkeys > 0 {
                (passkeys::show_form(auth, browser, "/auth/passkeys/prove", "Use a passkey", going_on))
            }
            p {
                @if account.has_totp { "Type the six digits that your authenticator app shows, or one of your backup codes." }
                @else if by_mail { "Let us mail you a code, and type its eight digits." }
                @else { "Without your passkey at hand, type one of your backup codes." }
            }
            @if by_mail { (mail_form(browser, "/auth/second-factor", next)) }
            (content)
            (browser.form("/auth/sign-out", "Sign in as somebody else", html! {}))
        },
    )
}

/// A button by which a code is mailed, and which leads back to `page`.
pub(super) fn mail_form(browser: &Browser, page: &str, next: &str) -> Markup {
    browser.form(
        "/auth/second-factor/mail",
        "Mail me a code",
        html! {
            input type="hidden" name="page" value=(page);
            input type="hidden" name="next" value=(next);
        },
    )
}

/// `POST /auth/second-factor/mail`
pub async fn send_mail(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.begun()?;
    let account = &session.account;
    if !auth.factors.mails_codes_to(account) {
        return Err(PageError::Forbidden);
    }
    let now = auth.clock.now();
    if !throttle::MAILED_CODES.allows(&auth.pool, now, &account.id).await? {
        return Err(PageError::Throttled);
    }
    let mut transaction = auth.pool.begin().await?;
    let code = mailed::make(&mut transaction, &auth.vault, now, &session.id).await?;
    let mail = Mail::code(&account.email, &code);
    mail.enqueue(&mut transaction, &auth, &form_sent.browser.languages)
        .await?;
    transaction.commit().await?;
    let page = match form_sent.get("page") {
        "/auth/prove" => "/auth/prove",
        _ => "/auth/second-factor",
    };
    Ok(see_other(&format!(
        "{page}?next={}",
        encoded(safe_next(form_sent.get("next")))
    )))
}

/// `POST /auth/second-factor`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.begun()?;
    let next = safe_next(form_sent.get("next"));
    let Some(kind) = right_code(&auth, browser, session, form_sent.get("code")).await? else {
        let wrong = Some("This code is not right, or was used already.");
        let mut response = form(&auth, browser, session, next, wrong);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let now = auth.clock.now();
    let shown = Shown::code_after(&session.methods, kind);
    let missing = auth.factors.missing(&session.account, shown.assurance);
    let secret = Session::proved(&auth.pool, now, &session.id, &shown, missing.is_none()).await?;
    if missing.is_none() {
        entry::note(&auth, browser, session, &shown).await?;
    }
    let mut response = see_other(next);
    browser.set_cookie(response.headers_mut(), &secret);
    if form_sent.get("remember") == "yes" {
        let secret = devices::remember(&auth.pool, now, &session.account.id).await?;
        browser.set_device_cookie(response.headers_mut(), &secret);
    }
    Ok(response)
}

/// Whose code this is, if it is right now. Attempts are counted before they are judged.
pub(super) async fn right_code(
    auth: &AuthServer,
    browser: &Browser,
    session: &Session,
    code: &str,
) -> Result<Option<CodeKind>> {
    let now = auth.clock.now();
    let account = &session.account;
    if !throttle::CODES.allows(&auth.pool, now, &account.id).await? {
        return Err(PageError::Throttled);
    }
    let takes_mail = auth.factors.mails_codes_to(account);
    let right = factors::check_code(&auth.pool, &auth.vault, now, session, takes_mail, code).await?;
    if right.is_some() {
        throttle::CODES.forget(&auth.pool, &account.id).await?;
    } else {
        let event = browser.event_of(Kind::Login, account).refused("code");
        auth.fhir.trail.note(event).await?;
    }
    Ok(right)
}

/// Who may set up a factor: somebody who must and has none that they could show, or who changes what they have and proved
/// themselves by all of it.
pub(super) fn may_set_up<'b>(auth: &AuthServer, browser: &'b Browser) -> Result<&'b Session> {
    let session = browser.begun()?;
    match auth.factors.missing_in(session) {
        Some(Missing::SetUp | Missing::SetUpPasskey) => {
            let needed = auth.factors.assurance_of(&session.account);
            match session.is_fresh(auth.clock.now(), needed) {
                true => Ok(session),
                // An incomplete session cannot be proved again, only begun anew.
                false => Err(PageError::SignIn),
            }
        }
        Some(Missing::Show) => Err(PageError::ShowFactor),
        None => browser.signed_in_afresh(auth, "/auth/account/security"),
    }
}

/// `GET /auth/second-factor/set-up`
pub async fn show_set_up(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = may_set_up(&auth, &browser)?;
    let authenticator = Authenticator::new();
    let sealed = STANDARD.encode(authenticator.seal(&auth.vault, &session.account.id));
    let problems = Problems::default();
    Ok(set_up_form(
        &auth,
        &browser,
        &session.account,
        &authenticator,
        &sealed,
        &problems,
    ))
}

fn set_up_form(
    auth: &AuthServer,
    browser: &Browser,
    account: &Account,
    authenticator: &Authenticator,
    sealed: &str,
    problems: &Problems,
) -> Response {
    let content = browser.form(
        "/auth/second-factor/set-up",
        "Turn it on",
        html! {
            input type="hidden" name="sealed" value=(sealed);
            (problems.field("The six digits that the app shows now", "code", "text", "one-time-code", ""))
        },
    );
    browser.page(
        "Set up an authenticator app",
        html! {
            (problems.summary())
            @if auth.relying_party.is_some() {
                p class="hint" { "Easier and safer, where your device can: " a href="/auth/passkeys" { "a passkey" } "." }
            }
            p { "Open an authenticator app on your phone and scan this picture." }
            (picture(&authenticator.url(&account.email)))
            p { "Or type this key into the app: " code { (authenticator.key()) } }
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
        let problems = Problems::one("code", "This code is not right. Is the clock of your phone?");
        let sealed = form_sent.get("sealed");
        return Ok(set_up_form(&auth, browser, account, &authenticator, sealed, &problems));
    };
    let mut transaction = auth.pool.begin().await?;
    authenticator::set_up(&mut transaction, &account.id, &sealed, step).await?;
    let codes = paper::renew(&mut transaction, &account.id).await?;
    // They showed a code: with what they showed before that makes two factors, or more if it was more.
    let shown = match session.assurance {
        Assurance::Passkey => Shown::passkey(),
        Assurance::OneFactor | Assurance::TwoFactors => Shown::code_after(&session.methods, CodeKind::App),
    };
    let account_now = Account {
        has_totp: true,
        ..account.clone()
    };
    let complete = session.complete || auth.factors.missing(&account_now, shown.assurance).is_none();
    let secret = Session::proved(&mut *transaction, now, &session.id, &shown, complete).await?;
    tell(
        &auth,
        &form_sent.browser,
        &mut transaction,
        account,
        "authenticator set up",
    )
    .await?;
    transaction.commit().await?;
    let mut response = codes_page(browser, &codes);
    browser.set_cookie(response.headers_mut(), &secret);
    Ok(response)
}

pub(super) fn codes_page(browser: &Browser, codes: &[String]) -> Response {
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
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    if !account.has_totp && account.passkeys == 0 {
        return Err(PageError::SetUpFactor);
    }
    let mut transaction = auth.pool.begin().await?;
    let codes = paper::renew(&mut transaction, &account.id).await?;
    tell(&auth, &form_sent.browser, &mut transaction, account, "backup codes").await?;
    transaction.commit().await?;
    Ok(codes_page(&form_sent.browser, &codes))
}

/// Whether the account still has what its role asks for once it is as in `after`.
pub(super) fn check_enough(auth: &AuthServer, after: &Account) -> Result<()> {
    match auth.factors.may_do_without(after.role) || auth.factors.has_second_factor(after) {
        true => Ok(()),
        false => Err(PageError::Forbidden),
    }
}

/// `POST /auth/second-factor/remove`
pub async fn remove(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    check_enough(
        &auth,
        &Account {
            has_totp: false,
            ..account.clone()
        },
    )?;
    let mut transaction = auth.pool.begin().await?;
    authenticator::remove(&mut transaction, &account.id).await?;
    tell(
        &auth,
        &form_sent.browser,
        &mut transaction,
        account,
        "authenticator removed",
    )
    .await?;
    transaction.commit().await?;
    Ok(see_other("/auth/account/security"))
}

/// `POST /auth/second-factor/mail-codes`: lets codes come by mail, or no more.
pub async fn choose_mail(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in_afresh(&auth, "/auth/account/security")?;
    let account = &session.account;
    let chosen = form_sent.get("chosen") == "yes";
    if chosen && !auth.factors.may_have_codes_by_mail(account.role) {
        return Err(PageError::Forbidden);
    }
    check_enough(
        &auth,
        &Account {
            mail_codes: chosen,
            ..account.clone()
        },
    )?;
    let mut transaction = auth.pool.begin().await?;
    mailed::choose(&mut *transaction, &account.id, chosen).await?;
    factors::changed(&mut transaction, &account.id).await?;
    let change = match chosen {
        true => "codes by mail",
        false => "codes by mail ended",
    };
    tell(&auth, &form_sent.browser, &mut transaction, account, change).await?;
    transaction.commit().await?;
    Ok(see_other("/auth/account/security"))
}
