//! A person allows an application something (<https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html>).
//!
//! | | |
//! |---|---|
//! | `GET` or `POST /auth/authorize` | where the application sends the browser |
//! | `POST /auth/authorize/about` | which patient and visit, chosen on a page |
//! | `POST /auth/consent` | the decision |
//!
//! An application that comes with the server is not asked about: whoever signs in to the practice uses its pages and apps alike.
//! Who is not signed in signs in first and comes back. Between the pages nothing is stored: what was asked and chosen so far
//! travels in the form, sealed for the session.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::Method;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::consent;
use super::request::{Asked, Refusal, back_to};
use super::step_up::{self, Verdict};
use crate::auth::AuthServer;
use crate::auth::factors::policy::Missing;
use crate::auth::launches;
use crate::auth::pages::browser::{Browser, Submitted};
use crate::auth::pages::choose::{self, Answers, Choice, Question, Wanted};
use crate::auth::pages::{PageError, encoded, page_for_app, see_other};
use crate::auth::scopes::{Kind, Scopes};
use crate::auth::sessions::Session;
use crate::auth::tokens::{self, GrantedBy, NewCode, NewGrant};
use crate::fhir::trail;

/// Longest request, in bytes.
const LONGEST: usize = 8 * 1024;

/// A request on its way through the pages.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    query: String,
    /// What was chosen; empty: none. Absent: not asked yet.
    patient: Option<String>,
    encounter: Option<String>,
}

impl Progress {
    /// Sealed for one session: what was shown is what is allowed, to whom it was shown.
    fn seal(&self, auth: &AuthServer, session: &Session) -> String {
        let text = json!(self).to_string();
        STANDARD.encode(auth.vault.seal(&place(session), text.as_bytes()))
    }

    fn open(auth: &AuthServer, session: &Session, sealed: &str) -> Result<Progress, PageError> {
        let sealed = STANDARD.decode(sealed).map_err(|_| PageError::NotOurForm)?;
        let opened = auth.vault.open(&place(session), &sealed);
        let text = opened.map_err(|_| PageError::NotOurForm)?;
        serde_json::from_slice(&text).map_err(|_| PageError::NotOurForm)
    }
}

fn place(session: &Session) -> String {
    format!("consent in {}", session.id)
}

/// `GET` and `POST /auth/authorize`
pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let is_form = request.method() == Method::POST;
    let query = if is_form {
        let body = to_bytes(request.into_body(), LONGEST).await.unwrap_or_default();
        String::from_utf8_lossy(&body).into_owned()
    } else {
        query.unwrap_or_default()
    };
    let answer = match query.len() {
        0..=LONGEST if is_form => ask_again(&auth, &query).await,
        0..=LONGEST => show(&auth, &browser, query).await,
        _ => Err(Refusal::Page("The request is too long.")),
    };
    answer.unwrap_or_else(|refusal| refusal.answer(&auth))
}

/// A form that comes from another site comes without our cookie. Asked again by a link, the browser says who it is.
async fn ask_again(auth: &AuthServer, query: &str) -> Result<Response, Refusal> {
    Asked::judge(auth, query).await?;
    let plain: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(plain)
        .finish();
    Ok(see_other(&format!("/auth/authorize?{query}")))
}

async fn show(auth: &AuthServer, browser: &Browser, query: String) -> Result<Response, Refusal> {
    let asked = Asked::judge(auth, &query).await?;
    let next = form_urlencoded::byte_serialize(format!("/auth/authorize?{query}").as_bytes()).collect::<String>();
    let session = match &browser.session {
        Some(session) if session.complete => session,
        _ if asked.silent => return Err(asked.refuse("login_required", "Nobody is signed in.")),
        Some(session) => match auth.factors.missing_in(session) {
            None | Some(Missing::Show) => return Ok(see_other(&format!("/auth/second-factor?next={next}"))),
            Some(Missing::SetUp) => return Ok(see_other("/auth/second-factor/set-up")),
            Some(Missing::SetUpPasskey) => return Ok(see_other("/auth/passkeys")),
        },
        None => return Ok(see_other(&format!("/auth/sign-in?next={next}"))),
    };
    if let Some(answer) = prove_again(auth, session, &asked, &query)? {
        return Ok(answer);
    }
    if asked.silent {
        return Err(asked.refuse("consent_required", "People are asked each time."));
    }
    let progress = Progress {
        query,
        ..Progress::default()
    };
    next_page(auth, browser, session, &asked, progress, &Answers::default()).await
}

/// Sends a person who has not proved enough for what the application wants to prove it, and back.
fn prove_again(auth: &AuthServer, session: &Session, asked: &Asked, query: &str) -> Result<Option<Response>, Refusal> {
    let wanted = step_up::Asked::read(query).map_err(|text| asked.refuse("invalid_request", text))?;
    let by_passkey = match wanted.judge(&auth.factors, session, auth.clock.now()) {
        Verdict::Enough => return Ok(None),
        Verdict::Unmet => {
            let text = "The person cannot prove who they are in the way that is asked for.";
            return Err(asked.refuse("unmet_authentication_requirements", text));
        }
        Verdict::Prove { .. } if asked.silent => {
            return Err(asked.refuse("login_required", "The person must prove who they are again."));
        }
        Verdict::Prove { by_passkey } => by_passkey,
    };
    let next = encoded(&format!("/auth/authorize?{}", step_up::once_proved(query)));
    let by = if by_passkey { "by=passkey&" } else { "" };
    Ok(Some(see_other(&format!("/auth/prove?{by}next={next}"))))
}

/// `POST /auth/authorize/about`
pub async fn about(State(auth): State<Arc<AuthServer>>, form: Submitted) -> Result<Response, PageError> {
    let session = form.browser.signed_in()?;
    let progress = Progress::open(&auth, session, form.get("request"))?;
    let asked = match Asked::judge(&auth, &progress.query).await {
        Ok(asked) => asked,
        Err(refusal) => return Ok(refusal.answer(&auth)),
    };
    if form.get("decision") == "deny" {
        return Ok(denied(&asked).answer(&auth));
    }
    let answer = next_page(&auth, &form.browser, session, &asked, progress, &Answers::of(&form)).await;
    Ok(answer.unwrap_or_else(|refusal| refusal.answer(&auth)))
}

/// The next question about the context, or the page where the person decides.
async fn next_page(
    auth: &AuthServer,
    browser: &Browser,
    session: &Session,
    asked: &Asked,
    progress: Progress,
    answers: &Answers<'_>,
) -> Result<Response, Refusal> {
    let (choice, question) = settle(auth, session, asked, &progress, answers).await?;
    let settled = |is_settled: bool, id: &Option<String>| is_settled.then(|| id.clone().unwrap_or_default());
    let progress = Progress {
        patient: settled(choice.patient_is_settled, &choice.context.patient),
        encounter: settled(choice.encounter_is_settled, &choice.context.encounter),
        ..progress
    };
    if question.is_none() && asked.client.is_own {
        return allow(auth, browser, session, asked, &asked.scopes, choice).await;
    }
    let sealed = progress.seal(auth, session);
    let (title, content) = match question {
        Some(Question { title, fields }) => (
            title,
            html! {
                (who_asks(session, asked))
                form method="post" action="/auth/authorize/about" {
                    (hidden(browser, &sealed))
                    (fields)
                    p { button name="decision" value="deny" { "Do not allow" } }
                }
            },
        ),
        None => (
            "Allow access?",
            html! {
                (who_asks(session, asked))
                form method="post" action="/auth/consent" {
                    (hidden(browser, &sealed))
                    (consent::boxes(&asked.scopes))
                    p class="hint" { "You go back to " code { (asked.redirect_uri) } }
                    div class="row" {
                        button name="decision" value="allow" { "Allow" }
                        button name="decision" value="deny" { "Do not allow" }
                    }
                }
            },
        ),
    };
    Ok(page_for_app(title, content, Some(&asked.redirect_uri)))
}

fn who_asks(session: &Session, asked: &Asked) -> Markup {
    html! { p { strong { (asked.client.name) } " asks for access. You are signed in as " (session.account.email) "." } }
}

fn hidden(browser: &Browser, sealed: &str) -> Markup {
    html! {
        input type="hidden" name="form_token" value=(browser.form_token());
        input type="hidden" name="request" value=(sealed);
    }
}

/// What the application is to be about: what the launch says, what was chosen before and what is answered now.
async fn settle(
    auth: &AuthServer,
    session: &Session,
    asked: &Asked,
    progress: &Progress,
    answers: &Answers<'_>,
) -> Result<(Choice, Option<Question>), Refusal> {
    let mut choice = Choice::default();
    if let Some(launch) = &asked.launch {
        let found = launches::find(&auth.pool, auth.clock.now(), &asked.client.id, &session.id, launch).await?;
        let unknown = "The launch is unknown, too old, was used, or was not made for this application and person.";
        choice.context = found.ok_or_else(|| asked.refuse("invalid_request", unknown))?;
        choice.patient_is_settled = choice.context.patient.is_some();
        choice.encounter_is_settled = choice.context.encounter.is_some();
    }
    let filled = |id: &String| Some(id.clone()).filter(|id| !id.is_empty());
    if let Some(patient) = progress.patient.as_ref().filter(|_| !choice.patient_is_settled) {
        choice.context.patient = filled(patient);
        choice.patient_is_settled = true;
    }
    if let Some(encounter) = progress.encounter.as_ref().filter(|_| !choice.encounter_is_settled) {
        choice.context.encounter = filled(encounter);
        choice.encounter_is_settled = true;
    }
    let encounter = asked.scopes.has(Kind::LaunchEncounter);
    let wanted = Wanted {
        patient: asked.scopes.are_about_a_patient() || asked.scopes.has(Kind::LaunchPatient) || encounter,
        encounter,
        optional: false,
    };
    let question = choose::settle(auth, session, wanted, &mut choice, answers).await?;
    Ok((choice, question))
}

/// `POST /auth/consent`
pub async fn decide(State(auth): State<Arc<AuthServer>>, form: Submitted) -> Result<Response, PageError> {
    let session = form.browser.signed_in()?;
    let progress = Progress::open(&auth, session, form.get("request"))?;
    let answer = allow_or_deny(&auth, session, &progress, &form).await;
    Ok(answer.unwrap_or_else(|refusal| refusal.answer(&auth)))
}

fn denied(asked: &Asked) -> Refusal {
    asked.refuse("access_denied", "The person did not allow it.")
}

async fn allow_or_deny(
    auth: &AuthServer,
    session: &Session,
    progress: &Progress,
    form: &Submitted,
) -> Result<Response, Refusal> {
    // Judged again: the client may have been disabled while the person was reading.
    let asked = Asked::judge(auth, &progress.query).await?;
    let chosen = match form.get("decision") {
        "allow" => consent::granted(&asked.scopes, &form.all("scope"))?,
        _ => Scopes::default(),
    };
    if chosen.is_empty() {
        let event = form.browser.event_of(trail::Kind::Consent, &session.account);
        let event = event.client(&asked.client.id).refused("denied");
        let recorded = auth.fhir.trail.note(event).await;
        recorded.map_err(PageError::from)?;
        return Err(denied(&asked));
    }
    let (choice, question) = settle(auth, session, &asked, progress, &Answers::default()).await?;
    if question.is_some() {
        return Err(PageError::NotOurForm.into());
    }
    allow(auth, &form.browser, session, &asked, &chosen, choice).await
}

/// Makes the grant and goes back with its code.
async fn allow(
    auth: &AuthServer,
    browser: &Browser,
    session: &Session,
    asked: &Asked,
    chosen: &Scopes,
    choice: Choice,
) -> Result<Response, Refusal> {
    let context = told(chosen, choice.context);
    let now = auth.clock.now();
    let grant = NewGrant {
        client: &asked.client.id,
        scopes: chosen,
        context: &context,
        person: Some(GrantedBy {
            account: &session.account.id,
            session: &session.id,
            proof: session.proof(),
            methods: &session.methods,
        }),
    };
    let code = NewCode {
        redirect_uri: &asked.redirect_uri,
        challenge: &asked.challenge,
        nonce: asked.nonce.as_deref(),
    };
    let mut transaction = auth.pool.begin().await?;
    if let Some(launch) = &asked.launch {
        // Of two decisions about one launch, one counts.
        if !launches::take(&mut *transaction, launch).await? {
            return Err(asked.refuse("invalid_request", "The launch was used."));
        }
    }
    let grant = grant.store(&mut transaction, &auth.ids, now).await?;
    let code = tokens::new_code(&mut transaction, now, &grant, &code).await?;
    let event = browser.event_of(trail::Kind::Consent, &session.account);
    let event = event.client(&asked.client.id).detail("scope", chosen.to_string());
    let event = match &context.patient {
        Some(patient) => event.patient(patient),
        None => event,
    };
    let recorded = auth.fhir.trail.write(&mut transaction, &[event]).await;
    recorded.map_err(PageError::from)?;
    transaction.commit().await?;
    Ok(back_to(
        auth,
        &asked.redirect_uri,
        &[("code", &code), ("state", &asked.state)],
    ))
}

/// The context as far as the person lets the application know it. Scopes about one patient tell who that is.
fn told(chosen: &Scopes, mut context: launches::Context) -> launches::Context {
    let by_launch = chosen.has(Kind::Launch);
    if !by_launch && !chosen.has(Kind::LaunchPatient) && !chosen.are_about_a_patient() {
        context.patient = None;
    }
    if !by_launch && !chosen.has(Kind::LaunchEncounter) {
        context.encounter = None;
    }
    if !by_launch {
        context.rest.clear();
    }
    if context.patient.is_some() || by_launch {
        // An application in a tab of its own must say whose record it shows, unless whoever opened it does.
        context.rest.entry("need_patient_banner").or_insert(json!(true));
    }
    context
}
