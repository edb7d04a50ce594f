//! What an application asks for at the authorize endpoint, and why it may not
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-authorization-code>).
//!
//! | what is wrong | answer |
//! |---|---|
//! | `client_id` or `redirect_uri` missing, repeated, unknown or not registered | a page: nobody is sent to an address that nobody registered |
//! | anything else | back to the application with `error`, `state` and `iss` |
//!
//! The answer always carries `iss` (<https://www.rfc-editor.org/rfc/rfc9207>), so that an application that talks to several
//! servers knows whose answer it is.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use crate::auth::AuthServer;
use crate::auth::clients::Client;
use crate::auth::pages::{PageError, page_for_app, see_other};
use crate::auth::scopes::{Kind, ScopeError, Scopes};

/// A request that can be put to a person.
#[derive(Debug)]
pub struct Asked {
    pub client: Client,
    pub redirect_uri: String,
    pub state: String,
    pub scopes: Scopes,
    pub challenge: String,
    pub nonce: Option<String>,
    /// The secret of a launch from within MedConsult.
    pub launch: Option<String>,
    /// `prompt=none`: the application wants an answer without a page.
    pub silent: bool,
}

/// Why a request is not put to anybody, or not granted.
#[derive(Debug)]
pub enum Refusal {
    /// Told to the person: the application's address cannot be trusted.
    Page(&'static str),
    /// Told to the application.
    Back {
        redirect_uri: String,
        state: Option<String>,
        error: &'static str,
        description: String,
    },
    /// A page that is not for this person now, as when the database does not answer.
    Other(PageError),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Refusal {
        Refusal::Other(error.into())
    }
}

impl From<PageError> for Refusal {
    fn from(error: PageError) -> Refusal {
        Refusal::Other(error)
    }
}

impl Refusal {
    pub fn answer(self, auth: &AuthServer) -> Response {
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
            Refusal::Other(error) => error.into_response(),
        }
    }
}

/// Sends the browser back to the application.
pub fn back_to(auth: &AuthServer, redirect_uri: &str, pairs: &[(&str, &str)]) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).append_pair("iss", &auth.issuer);
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    see_other(&format!("{redirect_uri}{separator}{}", query.finish()))
}

impl Asked {
    /// Judges a request, except for what depends on who is signed in.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn judge(auth: &AuthServer, query: &str) -> Result<Asked, Refusal> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let parameters = Parameters(&pairs);
        let (client, redirect_uri) = known_application(auth, &parameters).await?;
        let state = parameters.get("state");
        let refusal = |(error, description): (&'static str, String)| Refusal::Back {
            redirect_uri: redirect_uri.to_owned(),
            state: state.map(str::to_owned),
            error,
            description,
        };
        parameters.check_form().map_err(refusal)?;
        let scopes = scopes(auth, &client, &parameters).map_err(refusal)?;
        Ok(Asked {
            redirect_uri: redirect_uri.to_owned(),
            state: state.unwrap_or_default().to_owned(),
            challenge: parameters.get("code_challenge").unwrap_or_default().to_owned(),
            nonce: parameters.get("nonce").map(str::to_owned),
            launch: parameters.get("launch").map(str::to_owned),
            silent: parameters.get("prompt") == Some("none"),
            scopes,
            client,
        })
    }

    pub fn refuse(&self, error: &'static str, description: &str) -> Refusal {
        Refusal::Back {
            redirect_uri: self.redirect_uri.clone(),
            state: Some(self.state.clone()),
            error,
            description: description.to_owned(),
        }
    }
}

/// The pairs of a query.
struct Parameters<'q>(&'q [(String, String)]);

type Reason = (&'static str, String);

impl<'q> Parameters<'q> {
    fn all(&self, name: &str) -> Vec<&'q str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    fn get(&self, name: &str) -> Option<&'q str> {
        self.all(name).first().copied().filter(|value| !value.is_empty())
    }

    /// Whether the request is one of those that there are here.
    fn check_form(&self) -> Result<(), Reason> {
        let wrong = |error, text: &str| Err((error, text.to_owned()));
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let is_repeated = |(index, name): (usize, &&str)| names[..index].contains(name);
        if names.iter().enumerate().any(is_repeated) {
            return wrong("invalid_request", "A parameter comes twice.");
        }
        if self.get("state").is_none() {
            return wrong("invalid_request", "The parameter state is missing.");
        }
        if self.get("response_type") != Some("code") {
            return wrong("unsupported_response_type", "The only response_type is code.");
        }
        if self.get("response_mode").is_some_and(|mode| mode != "query") {
            return wrong("invalid_request", "The only response_mode is query.");
        }
        if self.get("request").is_some() || self.get("request_uri").is_some() {
            return wrong("request_not_supported", "Request objects are not supported.");
        }
        let is_challenge =
            |text: &&str| text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let challenge = self.get("code_challenge").filter(is_challenge);
        match (challenge, self.get("code_challenge_method")) {
            (Some(_), Some("S256")) => Ok(()),
            _ => wrong(
                "invalid_request",
                "A code_challenge of 43 characters with the method S256 is needed.",
            ),
        }
    }
}

/// The application that asks, and where its answer goes.
async fn known_application<'q>(auth: &AuthServer, parameters: &Parameters<'q>) -> Result<(Client, &'q str), Refusal> {
    let (clients, redirect_uris) = (parameters.all("client_id"), parameters.all("redirect_uri"));
    let (&[client], &[redirect_uri]) = (clients.as_slice(), redirect_uris.as_slice()) else {
        return Err(Refusal::Page(
            "The request must name the application and one address to go back to.",
        ));
    };
    // No id has a NUL, which the database would not take either.
    let client = match client.contains('\0') {
        true => None,
        false => Client::find(&auth.pool, client).await?,
    };
    match client.filter(|client| client.may_redirect_to(redirect_uri)) {
        Some(client) => Ok((client, redirect_uri)),
        None => Err(Refusal::Page(
            "The application is unknown, or wants people to be sent where it was not registered for.",
        )),
    }
}

/// What is asked for, as far as the application was registered for it. The answer to its request for a token tells it what that is.
fn scopes(auth: &AuthServer, client: &Client, parameters: &Parameters) -> Result<Scopes, Reason> {
    let invalid = |ScopeError(text)| ("invalid_scope", text);
    let asked = Scopes::parse(parameters.get("scope").unwrap_or_default()).map_err(invalid)?;
    let base = auth.fhir.settings.base_url.as_str();
    let is_ours = |aud: &str| aud.strip_suffix('/').unwrap_or(aud) == base;
    if !parameters.get("aud").is_some_and(is_ours) {
        let text = "The parameter aud must be the base of this FHIR server.";
        return Err(("invalid_request", text.to_owned()));
    }
    asked.check_filters(&auth.fhir).map_err(invalid)?;
    let registered = client.scopes.filtered(|kind| !kind.is_for_back_ends());
    let asked = registered.common(&asked);
    if asked.is_empty() {
        let text = format!("This application is registered for {} only.", client.scopes);
        return Err(("invalid_scope", text));
    }
    match parameters.get("launch") {
        Some(_) if !asked.has(Kind::Launch) => {
            let text = "A launch parameter comes with the scope launch.";
            Err(("invalid_scope", text.to_owned()))
        }
        Some(_) => Ok(asked),
        // Nothing was opened from within: there is no context to give by it.
        None => Ok(asked.filtered(|kind| *kind != Kind::Launch)),
    }
}
