//! An application launches another one for the person in front of it
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch>): `POST /auth/launch`, JSON, with the access
//! token of the person. `GET /auth/launch` tells which ones it may: `{"applications": [{"client_id": "…", "name": "…"}]}`.
//!
//! | in | |
//! |---|---|
//! | `client_id` | the application that is to be opened |
//! | `patient`, `encounter` | ids of what it is to be about; the caller must see them |
//! | `intent`, `need_patient_banner`, `fhirContext` | handed on as they are |
//!
//! | out | |
//! |---|---|
//! | `url` | where to send the browser |
//! | `launch`, `expires_in` | what is in it, and for how many seconds it is good |
//!
//! | what is wrong | status | error |
//! |---|---|---|
//! | no good token | 401 | `invalid_token` |
//! | the token's application may not launch others, or the token outlives the session | 403 | `insufficient_scope` |
//! | anything else | 400 | `invalid_request` |

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::not_to_be_stored;
use crate::auth::AuthServer;
use crate::auth::bearer::{self, Refusal};
use crate::auth::clients::{self, Client};
use crate::auth::launches::{self, Context};
use crate::auth::tokens::Live;
use crate::fhir::access::scope::resource_type;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::http;
use crate::fhir::trail::{Event, Kind, Origin};

/// Longest body, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// Most entries of a `fhirContext`.
const MOST_CONTEXT: usize = 50;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    client_id: String,
    patient: Option<String>,
    encounter: Option<String>,
    intent: Option<String>,
    need_patient_banner: Option<bool>,
    #[serde(rename = "fhirContext", default)]
    fhir_context: Vec<ContextItem>,
}

/// Something else that the application is to be about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextItem {
    reference: Option<String>,
    canonical: Option<String>,
    identifier: Option<Map<String, Value>>,
    r#type: Option<String>,
    role: Option<String>,
}

/// Why nothing is launched.
#[derive(Debug)]
pub enum LaunchError {
    Token(Refusal),
    NotAllowed(&'static str),
    Invalid(&'static str),
    Unavailable,
}

impl From<sqlx::Error> for LaunchError {
    fn from(error: sqlx::Error) -> LaunchError {
        FhirError::from(error).into()
    }
}

impl From<FhirError> for LaunchError {
    fn from(error: FhirError) -> LaunchError {
        LaunchError::Token(Refusal::Unavailable(error))
    }
}

impl From<Refusal> for LaunchError {
    fn from(refusal: Refusal) -> LaunchError {
        LaunchError::Token(refusal)
    }
}

impl IntoResponse for LaunchError {
    fn into_response(self) -> Response {
        let (status, error, text) = match self {
            LaunchError::Token(refusal) => return refusal.into_response(),
            LaunchError::NotAllowed(text) => (StatusCode::FORBIDDEN, "insufficient_scope", text),
            LaunchError::Invalid(text) => (StatusCode::BAD_REQUEST, "invalid_request", text),
            LaunchError::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The server cannot answer now. Try again.",
            ),
        };
        let mut response = not_to_be_stored(&json!({"error": error, "error_description": text}));
        *response.status_mut() = status;
        response
    }
}

/// `GET /auth/launch`
///
/// # Errors
/// See the [module](self).
pub async fn list(State(auth): State<Arc<AuthServer>>, headers: HeaderMap) -> Result<Response, LaunchError> {
    let live = bearer::live(&auth, &headers).await?;
    session_of(&auth, &live).await?;
    let others = clients::launchable(&auth.pool).await?;
    let applications: Vec<Value> = others
        .into_iter()
        .filter(|application| application.id != live.client)
        .map(|application| json!({"client_id": application.id, "name": application.name}))
        .collect();
    Ok(not_to_be_stored(&json!({"applications": applications})))
}

/// The session in which an application launches others, if it may.
async fn session_of(auth: &AuthServer, live: &Live) -> Result<String, LaunchError> {
    let opener = Client::find(&auth.pool, &live.client).await?;
    if !opener.is_some_and(|opener| opener.launches) {
        return Err(LaunchError::NotAllowed("This application may not launch others."));
    }
    live.session.clone().ok_or(LaunchError::NotAllowed(
        "Launching needs a token that ends with the person's session: one without offline_access.",
    ))
}

/// `POST /auth/launch`
pub async fn handle(
    State(auth): State<Arc<AuthServer>>,
    origin: Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, LaunchError> {
    let live = bearer::live(&auth, &headers).await?;
    let by = Event::new(Kind::Launch)
        .client(&live.client)
        .token(&live.jti)
        .at(&origin);
    let by = match &live.user {
        Some(user) => by.account(&user.account, &user.profile),
        None => by,
    };
    match launch(&auth, live, &body, by.clone()).await {
        Err(LaunchError::NotAllowed(text)) => {
            let recorded = auth.fhir.trail.note(by.refused("insufficient_scope")).await;
            recorded.map_err(|_| LaunchError::Unavailable)?;
            Err(LaunchError::NotAllowed(text))
        }
        answered => answered,
    }
}

async fn launch(auth: &AuthServer, live: Live, body: &[u8], by: Event) -> Result<Response, LaunchError> {
    let session = session_of(auth, &live).await?;
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|_| LaunchError::Invalid("The body must be JSON with client_id and what the launch is about."))?;
    let client = launchable(auth, &wish.client_id).await?;
    let caller = bearer::caller_of(auth, live).await?;
    let context = wish.context(auth, &caller).await?;
    let launch = launches::make(auth, &client.id, &session, &context, by).await?;
    Ok(not_to_be_stored(&json!({
        "url": launch_url(auth, &client, &launch),
        "launch": launch,
        "expires_in": launches::LIFE.as_secs(),
    })))
}

async fn launchable(auth: &AuthServer, id: &str) -> Result<Client, LaunchError> {
    let client = match id.contains('\0') {
        true => None,
        false => Client::find(&auth.pool, id).await?,
    };
    client
        .filter(|client| client.launch_url.is_some())
        .ok_or(LaunchError::Invalid(
            "There is no such application that can be launched.",
        ))
}

/// Where the browser goes to open an application.
pub fn launch_url(auth: &AuthServer, client: &Client, launch: &str) -> String {
    let address = client.launch_url.as_deref().unwrap_or_default();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("iss", &auth.fhir.settings.base_url)
        .append_pair("launch", launch)
        .finish();
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}{query}")
}

impl Wish {
    async fn context(self, auth: &AuthServer, caller: &Caller) -> Result<Context, LaunchError> {
        if let Some(patient) = &self.patient {
            read(auth, caller, "Patient", patient).await?;
        }
        if let Some(encounter) = &self.encounter {
            let encounter = read(auth, caller, "Encounter", encounter).await?;
            let subject = encounter["subject"]["reference"].as_str().unwrap_or_default();
            let is_theirs = |patient: &String| subject == format!("Patient/{patient}");
            if !self.patient.as_ref().is_some_and(is_theirs) {
                return Err(LaunchError::Invalid("The encounter is not one of the patient."));
            }
        }
        let mut rest = Map::new();
        if let Some(intent) = self.intent {
            if !(1..=200).contains(&intent.len()) || intent.chars().any(char::is_control) {
                return Err(LaunchError::Invalid("An intent has 1 to 200 characters."));
            }
            rest.insert("intent".to_owned(), json!(intent));
        }
        if let Some(banner) = self.need_patient_banner {
            rest.insert("need_patient_banner".to_owned(), json!(banner));
        }
        if self.fhir_context.len() > MOST_CONTEXT {
            return Err(LaunchError::Invalid("The fhirContext has more than 50 entries."));
        }
        if !self.fhir_context.is_empty() {
            let items: Option<Vec<Value>> = self.fhir_context.into_iter().map(ContextItem::checked).collect();
            let items = items.ok_or(LaunchError::Invalid(
                "An entry of fhirContext has a relative reference, a canonical or an identifier; it is neither the patient nor \
                 the encounter; and its role is launch or an absolute URI.",
            ))?;
            rest.insert("fhirContext".to_owned(), json!(items));
        }
        Ok(Context {
            patient: self.patient,
            encounter: self.encounter,
            rest,
        })
    }
}

/// What the caller sees there; whether it is hidden or absent is the same to them.
async fn read(auth: &AuthServer, caller: &Caller, resource_type: &str, id: &str) -> Result<Value, LaunchError> {
    let invalid = LaunchError::Invalid("The patient or the encounter is not there.");
    if id.contains(['/', '?']) {
        return Err(invalid);
    }
    let url = format!("{resource_type}/{id}");
    let answer = http::get(
        &auth.fhir,
        caller,
        &url,
        http::Conditions::default(),
        Default::default(),
    )
    .await;
    let body = match answer {
        Ok(answer) => answer.body.unwrap_or_default(),
        Err(error) if error.status.is_server_error() => return Err(LaunchError::Unavailable),
        Err(_) => return Err(invalid),
    };
    serde_json::from_str(&body).map_err(|_| LaunchError::Unavailable)
}

impl ContextItem {
    /// As it is handed on; `None` if it is none (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#fhir-context>).
    fn checked(self) -> Option<Value> {
        let mut item = Map::new();
        if let Some(reference) = self.reference {
            let (name, id) = reference.split_once('/')?;
            resource_type(name)?;
            let is_id =
                (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
            let has_place_of_its_own = matches!(name, "Patient" | "Encounter") && self.role.is_none();
            if !is_id || has_place_of_its_own {
                return None;
            }
            item.insert("reference".to_owned(), json!(reference));
        }
        if let Some(canonical) = self.canonical {
            let is_canonical = canonical.len() <= 500
                && canonical.bytes().all(|byte| byte.is_ascii_graphic())
                && (canonical.starts_with("http://") || canonical.starts_with("https://"));
            item.insert("canonical".to_owned(), json!(is_canonical.then_some(canonical)?));
        }
        if let Some(identifier) = self.identifier {
            item.insert(
                "identifier".to_owned(),
                json!((!identifier.is_empty()).then_some(identifier)?),
            );
        }
        if item.is_empty() {
            return None;
        }
        if let Some(name) = self.r#type {
            item.insert("type".to_owned(), json!(resource_type(&name)?));
        }
        if let Some(role) = self.role {
            let is_role = role == "launch"
                || role.len() <= 500 && role.contains(':') && role.bytes().all(|b| b.is_ascii_graphic());
            item.insert("role".to_owned(), json!(is_role.then_some(role)?));
        }
        Some(Value::Object(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(item: Value) -> Option<Value> {
        serde_json::from_value::<ContextItem>(item).ok()?.checked()
    }

    #[test]
    fn other_contexts_name_something_that_has_no_place_of_its_own() {
        for good in [
            json!({"reference": "ImagingStudy/7"}),
            json!({"reference": "Patient/7", "role": "https://clinic.example/roles/sibling"}),
            json!({"canonical": "https://clinic.example/Questionnaire/phq9|1", "type": "Questionnaire", "role": "launch"}),
            json!({"identifier": {"system": "urn:x", "value": "1"}, "type": "Medication"}),
        ] {
            assert_eq!(checked(good.clone()), Some(good));
        }
        for wrong in [
            json!({}),
            json!({"type": "Questionnaire"}),
            json!({"reference": "Patient/7"}),
            json!({"reference": "Encounter/7"}),
            json!({"reference": "Nothing/7"}),
            json!({"reference": "ImagingStudy/"}),
            json!({"reference": "https://other.example/ImagingStudy/7"}),
            json!({"reference": "ImagingStudy/7", "role": ""}),
            json!({"reference": "ImagingStudy/7", "role": "anything"}),
            json!({"reference": "ImagingStudy/7", "type": "Nothing"}),
            json!({"reference": "ImagingStudy/7", "other": 1}),
            json!({"canonical": "Questionnaire/1"}),
            json!({"identifier": {}}),
        ] {
            assert_eq!(checked(wrong.clone()), None, "{wrong}");
        }
    }
}
