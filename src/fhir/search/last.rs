//! The latest Observations of each kind, among those that a search matches: what `$lastn` answers with.

use super::plan::{LastParameters, Numbers, Plan};
use super::reindex::honesty;
use super::{Search, Statements};
use crate::fhir::access;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;

/// Observations in one answer at most.
pub const MAX_LAST: i64 = 5_000;

/// Of each kind of Observation among the matches of `search` the `max` latest, and what ties with the last of them.
///
/// # Errors
/// 403 when the caller may search no Observations, 422 when there are more than [`MAX_LAST`], 503 when the database cannot answer or takes too long.
pub async fn last_of_each(
    server: &FhirServer,
    caller: &Caller,
    search: &Search,
    max: u32,
) -> Result<Vec<StoredResource>, FhirError> {
    let narrowed = access::restrict(server, caller, search)?;
    let search = &*narrowed;
    honesty::require_complete(&search.concerns)?;
    let registry = server.search.current();
    let number = |code: &str| {
        let parameter = registry.parameter("Observation", code);
        parameter
            .map(|parameter| parameter.id)
            .ok_or_else(|| FhirError::internal("a search parameter of R4 is missing"))
    };
    let parameters = LastParameters {
        code: number("code")?,
        date: number("date")?,
    };
    let mut lease = server.store.planned().await?;
    let mut statements = Statements::new(&mut lease, false);
    let numbers = Numbers::look_up(server, caller, statements.connection(), [search], true).await?;
    let rows = match Plan::new(search, &numbers) {
        None => Vec::new(),
        Some(plan) => {
            let write = || plan.last_of_each(parameters, i64::from(max), MAX_LAST + 1);
            statements.fetch("last", write).await?
        }
    };
    lease.release();
    if rows.len() > usize::try_from(MAX_LAST).unwrap_or(usize::MAX) {
        return Err(FhirError::too_costly(format!(
            "These are more than {MAX_LAST} observations. Ask for fewer codes or categories, or for a smaller max."
        )));
    }
    rows.iter().map(|row| server.store.resource_of(row)).collect()
}
