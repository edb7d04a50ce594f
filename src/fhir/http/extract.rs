//! What handlers take from a request: names in the URL, the caller, and everything in query and headers that says how to
//! answer. A part that is wrong is refused here, as an OperationOutcome, before any handler runs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::conditions::Conditions;
use super::query::Query;
use super::{envelope, negotiation};
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::preferences::{Handling, Preferences};
use crate::fhir::search::Scope;
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;
use crate::fhir::trail::Origin;

/// The state of all handlers.
pub type Server = axum::extract::State<Arc<FhirServer>>;

/// `[type]`, which is a concrete resource type of R4.
pub struct TypePath(pub &'static str);

/// `[type]/[id]`
pub struct InstancePath {
    pub resource_type: &'static str,
    pub id: String,
}

/// `[type]/[id]/_history/[vid]`
pub struct VersionPath {
    pub resource_type: &'static str,
    pub id: String,
    pub version: String,
}

/// `[compartment]/[id]/[type]`
pub struct CompartmentPath {
    owner: &'static str,
    id: String,
    /// `None` for `*`.
    member: Option<&'static str>,
}

impl CompartmentPath {
    /// # Errors
    /// 404 for a type that R4 does not have and for what can be no id.
    pub fn new(server: &FhirServer, owner: &str, id: &str, member: &str) -> Result<CompartmentPath> {
        let owner = resource_type(server, owner)?;
        check_id(owner, id, &Method::GET)?;
        let member = match member {
            "*" => None,
            name => Some(resource_type(server, name)?),
        };
        Ok(CompartmentPath {
            owner,
            id: id.to_owned(),
            member,
        })
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope::Compartment {
            owner: self.owner,
            id: &self.id,
            member: self.member,
        }
    }
}

/// The name in `/$name`, and the type, id and version before it as far as the URL has them.
#[derive(Default)]
pub struct OperationPath {
    pub resource_type: Option<&'static str>,
    pub id: Option<String>,
    pub version: Option<String>,
    pub name: String,
}

/// How the client wants to be answered.
#[derive(Debug, Default)]
pub struct Ask {
    /// Without `_format` and `_pretty`.
    pub query: Query,
    /// The query as it was sent.
    pub raw_query: String,
    pub projection: Projection,
    pub conditions: Conditions,
    pub preferences: Preferences,
}

impl Ask {
    /// Reads query and headers without judging the format that the client accepts.
    pub fn new(raw_query: Option<&str>, headers: &HeaderMap) -> Result<Ask> {
        Ask::of_parts(
            raw_query,
            Conditions::from_headers(headers)?,
            Preferences::from_headers(headers),
        )
    }

    /// The same, for an interaction that answers with a resource.
    ///
    /// # Errors
    /// 406 when the client does not take FHIR's JSON.
    pub fn checked(raw_query: Option<&str>, headers: &HeaderMap) -> Result<Ask> {
        let format = match raw_query {
            Some(query) if query.contains("_format") => Query::parse(query)?.get("_format").map(str::to_owned),
            _ => None,
        };
        negotiation::check_accept(headers, format.as_deref())?;
        Ask::new(raw_query, headers)
    }

    /// For an entry of a Bundle, which has its conditions in elements and its preferences from the whole request.
    pub fn of_parts(raw_query: Option<&str>, conditions: Conditions, preferences: Preferences) -> Result<Ask> {
        let Some(raw_query) = raw_query.filter(|query| !query.is_empty()) else {
            return Ok(Ask {
                conditions,
                preferences,
                ..Ask::default()
            });
        };
        let query = Query::parse(raw_query)?.without_format();
        let projection = query.projection()?;
        Ok(Ask {
            query,
            raw_query: raw_query.to_owned(),
            projection,
            conditions,
            preferences,
        })
    }

    /// Under `handling=strict`, refuses parameters that this interaction does not have.
    pub fn check_parameters(&self, known: &[&str]) -> Result<()> {
        match self.preferences.handling {
            Handling::Strict => self.query.allow_only(known),
            Handling::Lenient => Ok(()),
        }
    }

    /// For one resource: a projection that leaves nothing of it is refused.
    pub fn resource_projection(&self) -> Result<&Projection> {
        match self.projection {
            Projection::Count => Err(FhirError::not_supported(
                "_summary=count counts matches; only a search has them.",
            )
            .at("http._summary")),
            _ => Ok(&self.projection),
        }
    }
}

impl FromRequestParts<Arc<FhirServer>> for Ask {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<FhirServer>) -> Result<Ask> {
        Ask::checked(parts.uri.query(), &parts.headers)
    }
}

impl FromRequestParts<Arc<FhirServer>> for Caller {
    type Rejection = FhirError;

    /// The caller whom the layer in front of the routes has recognised.
    async fn from_request_parts(parts: &mut Parts, _: &Arc<FhirServer>) -> Result<Caller> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| FhirError::internal("a route lacks the layer that recognises callers"))
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Origin, Infallible> {
        Ok(envelope::origin(&parts.extensions))
    }
}

impl FromRequestParts<Arc<FhirServer>> for TypePath {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<FhirServer>) -> Result<TypePath> {
        let names = Names::of(parts).await?;
        Ok(TypePath(names.resource_type(server)?))
    }
}

impl FromRequestParts<Arc<FhirServer>> for InstancePath {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<FhirServer>) -> Result<InstancePath> {
        let names = Names::of(parts).await?;
        let resource_type = names.resource_type(server)?;
        Ok(InstancePath {
            resource_type,
            id: names.id(resource_type, &parts.method)?,
        })
    }
}

impl FromRequestParts<Arc<FhirServer>> for CompartmentPath {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<FhirServer>) -> Result<CompartmentPath> {
        let names = Names::of(parts).await?;
        let name = |name| names.get(name).unwrap_or_default();
        CompartmentPath::new(server, name("type"), name("id"), name("member"))
    }
}

impl FromRequestParts<Arc<FhirServer>> for VersionPath {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<FhirServer>) -> Result<VersionPath> {
        let names = Names::of(parts).await?;
        let resource_type = names.resource_type(server)?;
        let version = names.get("version").unwrap_or_default().to_owned();
        Ok(VersionPath {
            resource_type,
            id: names.id(resource_type, &parts.method)?,
            version,
        })
    }
}

impl FromRequestParts<Arc<FhirServer>> for OperationPath {
    type Rejection = FhirError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<FhirServer>) -> Result<OperationPath> {
        let names = Names::of(parts).await?;
        let resource_type = names.get("type").map(|_| names.resource_type(server)).transpose()?;
        let id = match (resource_type, names.get("id")) {
            (Some(resource_type), Some(_)) => Some(names.id(resource_type, &parts.method)?),
            _ => None,
        };
        Ok(OperationPath {
            resource_type,
            id,
            version: names.get("version").map(str::to_owned),
            name: names.get("operation").unwrap_or_default().to_owned(),
        })
    }
}

/// The parameters of the matched route.
struct Names(RawPathParams);

impl Names {
    async fn of(parts: &mut Parts) -> Result<Names> {
        let names = RawPathParams::from_request_parts(parts, &()).await;
        names
            .map(Names)
            .map_err(|_| FhirError::bad_request("The path of the URL is not UTF-8 when decoded."))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn resource_type(&self, server: &FhirServer) -> Result<&'static str> {
        resource_type(server, self.get("type").unwrap_or_default())
    }

    fn id(&self, resource_type: &str, method: &Method) -> Result<String> {
        let id = self.get("id").unwrap_or_default();
        check_id(resource_type, id, method)?;
        Ok(id.to_owned())
    }
}

/// The type of that name.
///
/// # Errors
/// 404 when R4 has no such concrete resource type.
pub fn resource_type(server: &FhirServer, name: &str) -> Result<&'static str> {
    let found = server.definitions.resource_type(name);
    found
        .map(|ty| ty.name.as_str())
        .ok_or_else(|| FhirError::unknown_type(name))
}

/// Checks an id in a URL against <https://hl7.org/fhir/R4/datatypes.html#id>.
///
/// # Errors
/// 404 for a read, since nothing can be stored under a malformed id; 400 for what would write there.
pub fn check_id(resource_type: &str, id: &str, method: &Method) -> Result<()> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if matches!(id.len(), 1..=64) && id.bytes().all(is_id) {
        return Ok(());
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Err(FhirError::not_found(resource_type, id));
    }
    let text = format!(
        "'{}' is not an id: 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'.",
        excerpt(id)
    );
    Err(FhirError::bad_value(text))
}
