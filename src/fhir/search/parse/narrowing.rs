//! What narrows somebody's access: the query of a granular scope, the `where` of a policy.
//!
//! It must be told by looking at one resource, in whatever version: so no chains, no `_has`, no `_list`, no words, and no
//! modifier whose meaning lies in another resource, as that of `:in` does in a value set.

use super::Refusal;
use super::value::Criteria;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::http::query::Query;
use crate::fhir::search::criterion::Criterion;
use crate::fhir::search::registry::{Family, SearchRegistry};
use crate::fhir::server::FhirServer;

/// Modifiers that need no other resource, beside `:[type]`.
const MODIFIERS: [&str; 7] = ["not", "text", "of-type", "exact", "contains", "identifier", "missing"];

/// The criteria of a query, all of which must hold for a resource of the type.
///
/// # Errors
/// A sentence that says what cannot be asked of every resource alone.
pub(in crate::fhir) fn conditions(
    server: &FhirServer,
    registry: &SearchRegistry,
    resource_type: &str,
    query: &str,
) -> Result<Vec<Criterion>, FhirError> {
    let criteria = Criteria::new(server, registry);
    let ty = criteria
        .resource_type(resource_type)
        .ok_or_else(|| FhirError::unknown_type(resource_type))?;
    let pairs = Query::parse(query)?.0;
    if pairs.is_empty() {
        return Err(FhirError::bad_value("There is no parameter behind the question mark."));
    }
    let condition = |(name, value): &(String, String)| {
        let (code, modifier) = name
            .split_once(':')
            .map_or((name.as_str(), None), |(code, modifier)| (code, Some(modifier)));
        let is_plain =
            modifier.is_none_or(|modifier| MODIFIERS.contains(&modifier) || criteria.resource_type(modifier).is_some());
        if !is_plain || name.contains('.') || value.contains('\0') {
            let text = format!("'{}' cannot be told by looking at one resource.", excerpt(name));
            return Err(FhirError::not_supported(text));
        }
        if code != "_id" {
            let parameter = criteria.parameter_of(ty, code).map_err(in_words)?;
            if matches!(parameter.family, Family::Quantity | Family::Composite) {
                let text = format!(
                    "Access cannot be narrowed by {code} of {}, which compares numbers.",
                    ty.name
                );
                return Err(FhirError::not_supported(text));
            }
        }
        criteria.parameter(&[ty], name, value).map_err(in_words)
    };
    pairs.iter().map(condition).collect()
}

fn in_words(refusal: Refusal) -> FhirError {
    match refusal {
        Refusal::Unknown(text) => FhirError::not_supported(text),
        Refusal::Error(error) => error,
    }
}
