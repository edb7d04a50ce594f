//! Reading resources with their content.

use serde_json::Value;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::preferences::Handling;
use crate::fhir::resource::StoredResource;
use crate::fhir::search;
use crate::fhir::server::FhirServer;

/// A resource as it stands.
#[derive(Clone, Debug)]
pub struct Record {
    pub stored: StoredResource,
    pub content: Value,
}

impl Record {
    fn new(stored: StoredResource) -> Result<Record, FhirError> {
        let content =
            serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
        Ok(Record { stored, content })
    }

    /// `Patient/7`
    pub fn reference(&self) -> String {
        format!("{}/{}", self.stored.resource_type, self.stored.id)
    }

    /// `Patient/7/_history/3`
    pub fn version_reference(&self) -> String {
        format!("{}/_history/{}", self.reference(), self.stored.version)
    }
}

/// What the caller may read at `Type/id`.
///
/// # Errors
/// 404 for what they may not read or is not there, 410 for what is there no more.
pub async fn read(server: &FhirServer, caller: &Caller, resource_type: &str, id: &str) -> Result<Record, FhirError> {
    let found = server.read(caller, resource_type, id).await?;
    match found {
        None => Err(FhirError::not_found(resource_type, id)),
        Some(stored) if stored.deleted => Err(FhirError::gone(resource_type, id)),
        Some(stored) => Record::new(stored),
    }
}

/// The same by a reference, which may name a version.
///
/// # Errors
/// As of [`read`], and 422 for a reference to another type or server.
pub async fn follow(
    server: &FhirServer,
    caller: &Caller,
    reference: &str,
    resource_type: &str,
) -> Result<Record, FhirError> {
    let mut parts = reference.split('/');
    let (Some(named), Some(id)) = (parts.next(), parts.next()) else {
        return Err(FhirError::unprocessable("It refers to nothing on this server."));
    };
    if named != resource_type {
        return Err(FhirError::unprocessable(format!(
            "A {resource_type} of this server is expected."
        )));
    }
    match (parts.next(), parts.next().and_then(|version| version.parse().ok())) {
        (Some("_history"), Some(version)) => {
            let found = server.vread(caller, resource_type, id, version).await?;
            let stored = found.ok_or_else(|| FhirError::not_found(resource_type, id))?;
            Record::new(stored)
        }
        _ => read(server, caller, resource_type, id).await,
    }
}

/// All matches of a search.
///
/// # Errors
/// 403 where the caller may search nothing of the type; 422 where there are more than fit on a page: a check of a part
/// would be worse than none.
pub async fn find(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    criteria: &[(&str, &str)],
) -> Result<Vec<Record>, FhirError> {
    let count = server.settings.max_count.to_string();
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut pairs: Vec<(String, String)> = criteria.iter().map(pair).collect();
    pairs.push(pair(&("_count", count.as_str())));
    let search = search::parse(server, resource_type, &pairs, Handling::Strict)?;
    let page = search::search(server, caller, &search).await?;
    if page.next.is_some() {
        let text = format!("There are more than {count} of {resource_type}: too many to look at all of them.");
        return Err(FhirError::too_costly(text));
    }
    page.matches.into_iter().map(Record::new).collect()
}
