//! A person allows an application something (<https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html>):
//! `GET` or `POST /auth/authorize`, and `POST /auth/consent` from the page that it shows.
//!
//! | what is wrong | answer |
//! |---|---|
//! | `client_id` or `redirect_uri` missing, repeated, unknown or not registered | a page: nobody is sent to an address that nobody registered |
//! | anything else | back to the application with `error`, `state` and `iss` |
//! | nobody is signed in | the sign-in page, which leads back here |
//!
//! The answer always carries `iss` (<https://www.rfc-editor.org/rfc/rfc9207>), so that an application that talks to several
//! servers knows whose answer it is.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use crate::auth::AuthServer;
use crate::auth::accounts::Role;
use crate::auth::clients::Client;
use crate::auth::pages::browser::{Browser, Submitted};
use crate::auth::pages::{PageError, page_for_app, see_other};
use crate::auth::scopes::{Kind, ScopeError, Scopes};
use crate::auth::sessions::Session;
use crate::auth::tokens::{self, GrantedBy, NewCode, NewGrant};
use crate::fhir::caller::Permissions;

/// Longest request, in bytes.
const LONGEST: usize = 8 * 1024;

/// A request that can be put to a person.
#[derive(Debug)]
struct Asked {
    client: Client,
    redirect_uri: String,
    state: String,
    scopes: Scopes,
    challenge: String,
    nonce: Option<String>,
    /// `prompt=none`: the application wants an answer without a page.
    silent: bool,
}

/// Why a request is not put to anybody.
#[derive(Debug)]
enum Refusal {
    /// Told to the person: the application's address cannot be trusted.
    Page(&'static str),
    /// Told to the application.
    Back {
        redirect_uri: String,
        state: Option<String>,
        error: &'static str,
        description: String,
    },
    /// The database does not answer.
    Unavailable(PageError),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Refusal {
        Refusal::Unavailable(error.into())
    }
}

impl Refusal {
    fn answer(self, auth: &AuthServer) -> Response {
        match self {
            Refusal::Page(text) => {
                let content = html! { p { (text) } p { "Nothing was sent to the application. Tell whoever runs it." } };
                let mut response = page_for_app("This application cannot be let in", content, None);
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }
            Refusal::Back {
                redirect_uri,
                state,
                error,
                description,
            } => {
                let mut pairs = vec![("error", error), ("error_description", &description)];
                pairs.extend(state.as_deref().map(|state| ("state", state)));
                back_to(auth, &redirect_uri, &pairs)
            }
            Refusal::Unavailable(error) => error.into_response(),
        }
    }
}

/// Sends the browser back to the application.
fn back_to(auth: &AuthServer, redirect_uri: &str, pairs: &[(&str, &str)]) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).append_pair("iss", &auth.issuer);
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    see_other(&format!("{redirect_uri}{separator}{}", query.finish()))
}

/// Judges a request, except for what depends on who is signed in.
async fn judge(auth: &AuthServer, query: &str) -> Result<Asked, Refusal> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let all = |name: &str| -> Vec<&str> {
        pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    };
    let get = |name: &str| all(name).first().copied().filter(|value| !value.is_empty());

    let (clients, redirect_uris) = (all("client_id"), all("redirect_uri"));
    let (&[client], &[redirect_uri]) = (clients.as_slice(), redirect_uris.as_slice()) else {
        return Err(Refusal::Page(
            "The request must name the application and one address to go back to.",
        ));
    };
    let client = Client::find(&auth.pool, client).await?;
    let client = client.filter(|client| client.may_redirect_to(redirect_uri));
    let Some(client) = client else {
        return Err(Refusal::Page(
            "The application is unknown, or wants people to be sent where it was not registered for.",
        ));
    };
    let state = get("state").map(str::to_owned);
    let back = |error, description: &str| {
        Err(Refusal::Back {
            redirect_uri: redirect_uri.to_owned(),
            state: state.clone(),
            error,
            description: description.to_owned(),
        })
    };
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    if names
        .iter()
        .enumerate()
        .any(|(index, name)| names[..index].contains(name))
    {
        return back("invalid_request", "A parameter comes twice.");
    }
    let Some(state_text) = &state else {
        return back("invalid_request", "The parameter state is missing.");
    };
    if get("response_type") != Some("code") {
        return back("unsupported_response_type", "The only response_type is code.");
    }
    if get("response_mode").is_some_and(|mode| mode != "query") {
        return back("invalid_request", "The only response_mode is query.");
    }
    if get("request").is_some() || get("request_uri").is_some() {
        return back("request_not_supported", "Request objects are not supported.");
    }
    if get("launch").is_some() {
        return back(
            "invalid_request",
            "Launches from within an EHR are not supported by this server yet.",
        );
    }
    let is_challenge =
        |text: &&str| text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let challenge = get("code_challenge").filter(is_challenge);
    let (Some(challenge), Some("S256")) = (challenge, get("code_challenge_method")) else {
        return back(
            "invalid_request",
            "A code_challenge of 43 characters with the method S256 is needed.",
        );
    };
    // SMART's applications say which server's records they want; a sign-in that wants none need not.
    let scopes = match Scopes::parse(get("scope").unwrap_or_default()) {
        Ok(scopes) => scopes,
        Err(ScopeError(text)) => return back("invalid_scope", &text),
    };
    let base = auth.fhir.settings.base_url.as_str();
    let is_ours = get("aud").is_some_and(|aud| aud.strip_suffix('/').unwrap_or(aud) == base);
    if !is_ours {
        return back(
            "invalid_request",
            "The parameter aud must be the base of this FHIR server.",
        );
    }
    if !scopes.are_for_apps() || !client.scopes.cover(&scopes) {
        return back(
            "invalid_scope",
            &format!("This application is registered for {} only.", client.scopes),
        );
    }
    Ok(Asked {
        redirect_uri: redirect_uri.to_owned(),
        state: state_text.clone(),
        challenge: challenge.to_owned(),
        nonce: get("nonce").map(str::to_owned),
        silent: get("prompt") == Some("none"),
        scopes,
        client,
    })
}

impl Asked {
    fn refuse(&self, error: &'static str, description: &str) -> Refusal {
        Refusal::Back {
            redirect_uri: self.redirect_uri.clone(),
            state: Some(self.state.clone()),
            error,
            description: description.to_owned(),
        }
    }

    /// What depends on the person: only administrators may see everything, and nothing less is enforced yet.
    fn check_person(&self, session: &Session) -> Result<(), Refusal> {
        let wants_records = self.scopes.user() != Permissions::NONE;
        match session.account.role {
            Role::Admin => Ok(()),
            Role::Patient | Role::Practitioner if !wants_records => Ok(()),
            Role::Patient | Role::Practitioner => {
                let text = "Access to records is given to applications of administrators only, until it can be narrowed to \
                            what others may see.";
                Err(self.refuse("access_denied", text))
            }
        }
    }
}

/// `GET` and `POST /auth/authorize`
pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    browser: Browser,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = if request.method() == Method::POST {
        let body = to_bytes(request.into_body(), LONGEST).await.unwrap_or_default();
        String::from_utf8_lossy(&body).into_owned()
    } else {
        query.unwrap_or_default()
    };
    let answer = match query.len() {
        0..=LONGEST => show(&auth, &browser, &query).await,
        _ => Err(Refusal::Page("The request is too long.")),
    };
    answer.unwrap_or_else(|refusal| refusal.answer(&auth))
}

async fn show(auth: &AuthServer, browser: &Browser, query: &str) -> Result<Response, Refusal> {
    let asked = judge(auth, query).await?;
    let next = form_urlencoded::byte_serialize(format!("/auth/authorize?{query}").as_bytes()).collect::<String>();
    let session = match &browser.session {
        Some(session) if session.complete => session,
        _ if asked.silent => return Err(asked.refuse("login_required", "Nobody is signed in.")),
        Some(session) if session.account.has_totp => return Ok(see_other(&format!("/auth/second-factor?next={next}"))),
        Some(_) => return Ok(see_other("/auth/second-factor/set-up")),
        None => return Ok(see_other(&format!("/auth/sign-in?next={next}"))),
    };
    asked.check_person(session)?;
    if asked.silent {
        return Err(asked.refuse("consent_required", "People are asked each time."));
    }
    Ok(consent_page(auth, browser, session, &asked, query))
}

fn consent_page(auth: &AuthServer, browser: &Browser, session: &Session, asked: &Asked, query: &str) -> Response {
    // The request comes back with the answer, sealed for this session: what was shown is what is allowed.
    let sealed = STANDARD.encode(auth.vault.seal(&place(session), query.as_bytes()));
    let content = html! {
        p { strong { (asked.client.name) } " asks for access. You are signed in as " (session.account.email) "." }
        form method="post" action="/auth/consent" {
            input type="hidden" name="form_token" value=(browser.form_token());
            input type="hidden" name="request" value=(sealed);
            fieldset {
                legend { "It may" }
                @for scope in asked.scopes.iter() {
                    p {
                        label class="check" {
                            input type="checkbox" name="scope" value=(scope.text) checked;
                            " " (in_words(scope.kind))
                        }
                    }
                }
            }
            p class="hint" { "You go back to " code { (asked.redirect_uri) } }
            div class="row" {
                button name="decision" value="allow" { "Allow" }
                button name="decision" value="deny" { "Do not allow" }
            }
        }
    };
    page_for_app("Allow access?", content, Some(&asked.redirect_uri))
}

fn place(session: &Session) -> String {
    format!("consent in {}", session.id)
}

fn in_words(kind: Kind) -> Markup {
    match kind {
        Kind::OpenId => html! { "know that it is you" },
        Kind::FhirUser => html! { "know which record or staff entry is yours" },
        Kind::Profile => html! { "know your name" },
        Kind::Offline => html! { "keep its access when you have signed out, until you take it away" },
        Kind::Online => html! { "keep its access as long as you are signed in" },
        Kind::User(permissions) | Kind::System(permissions) => {
            let verbs = [
                (Permissions::LOOK, "see and search"),
                (Permissions::CREATE, "add"),
                (Permissions::UPDATE, "change"),
                (Permissions::DELETE, "delete"),
            ];
            let verbs: Vec<&str> = verbs
                .iter()
                .filter(|(needed, _)| permissions.contain(*needed))
                .map(|(_, verb)| *verb)
                .collect();
            html! { (verbs.join(", ")) " all records" }
        }
    }
}

/// `POST /auth/consent`
pub async fn decide(State(auth): State<Arc<AuthServer>>, form: Submitted) -> Result<Response, PageError> {
    let session = form.browser.signed_in()?;
    let sealed = STANDARD
        .decode(form.get("request"))
        .map_err(|_| PageError::NotOurForm)?;
    let query = auth
        .vault
        .open(&place(session), &sealed)
        .map_err(|_| PageError::NotOurForm)?;
    let query = String::from_utf8(query).map_err(|_| PageError::NotOurForm)?;
    let answer = allow_or_deny(&auth, session, &query, &form).await;
    Ok(answer.unwrap_or_else(|refusal| refusal.answer(&auth)))
}

async fn allow_or_deny(
    auth: &AuthServer,
    session: &Session,
    query: &str,
    form: &Submitted,
) -> Result<Response, Refusal> {
    // Judged again: the client may have been disabled while the person was reading.
    let asked = judge(auth, query).await?;
    asked.check_person(session)?;
    let chosen = asked.scopes.only(&form.all("scope"));
    // What is left must make sense on its own, as a list that was asked for must.
    let chosen = Scopes::parse(&chosen.to_string());
    let (true, Ok(chosen)) = (form.get("decision") == "allow", chosen) else {
        return Err(asked.refuse("access_denied", "The person did not allow it."));
    };
    let now = auth.clock.now();
    let grant = NewGrant {
        client: &asked.client.id,
        scopes: &chosen,
        person: Some(GrantedBy {
            account: &session.account.id,
            session: &session.id,
            proved_at: session.proved_at,
        }),
    };
    let code = NewCode {
        redirect_uri: &asked.redirect_uri,
        challenge: &asked.challenge,
        nonce: asked.nonce.as_deref(),
    };
    let mut transaction = auth.pool.begin().await?;
    let grant = grant.store(&mut transaction, &auth.ids, now).await?;
    let code = tokens::new_code(&mut transaction, now, &grant, &code).await?;
    transaction.commit().await?;
    Ok(back_to(
        auth,
        &asked.redirect_uri,
        &[("code", &code), ("state", &asked.state)],
    ))
}
