//! What a search says about parameters that may not have found everything.
//!
//! R4's parameters are always there and, but for the time after an upgrade, complete; a search by them pays nothing. Others
//! may go or be defined anew while a search reads their rows. So their state is read after the rows, from the database:
//! only if the definition is still the one that the search knew, nothing can have been removed before it looked.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::runs::percent;
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::search::criterion::Search;
use crate::fhir::search::registry::SearchRegistry;

/// A parameter whose state a search must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Concern {
    pub param: i16,
    pub resource_type: &'static str,
    pub code: String,
    /// The generation of the registry that its definition came with.
    pub generation: i64,
    pub is_incomplete: bool,
}

/// The parameters of `search` whose state must be known, each once.
pub(in crate::fhir::search) fn concerns(registry: &SearchRegistry, search: &Search) -> Vec<Concern> {
    let mut concerns: Vec<Concern> = Vec::new();
    search.visit_params(&mut |param| {
        if let Some(concern) = registry.concern(param)
            && !concerns.iter().any(|known| known.param == param)
        {
            concerns.push(concern.clone());
        }
    });
    concerns
}

/// Of a parameter: its number, the generation of its definition, whether it is complete; else how many resources are
/// indexed, and of how many.
type State = (i16, i64, bool, Option<i64>, Option<i64>);

/// Looks after the rows were read, on any connection.
///
/// # Errors
/// 503 when a definition has changed since the search was read.
pub async fn look_back(connection: &mut PgConnection, concerns: &[Concern]) -> Result<Vec<Issue>, FhirError> {
    const SQL: &str = "SELECT p.id, p.generation, p.reindex IS NULL, x.done, x.total FROM search_parameter p \
         LEFT JOIN reindex x ON x.id = p.reindex WHERE p.id = ANY($1) AND NOT p.dropped";
    if concerns.is_empty() {
        return Ok(Vec::new());
    }
    let params: Vec<i16> = concerns.iter().map(|concern| concern.param).collect();
    let rows: Vec<State> = sqlx::query_as(SQL).bind(params).fetch_all(connection).await?;
    let rows: HashMap<i16, _> = rows.into_iter().map(|row| (row.0, row)).collect();
    let mut issues = Vec::new();
    for concern in concerns {
        match rows.get(&concern.param) {
            Some((_, generation, is_complete, done, total)) if *generation == concern.generation => {
                // It may have been completed after this search had read its rows.
                if !is_complete || concern.is_incomplete {
                    let percent = percent(done.unwrap_or_default(), *total, *is_complete);
                    issues.push(incomplete(concern, percent));
                }
            }
            _ => {
                let text = format!(
                    "The search parameter '{}' of {} was changed while this search ran. Search again.",
                    concern.code, concern.resource_type
                );
                return Err(FhirError::unavailable(text));
            }
        }
    }
    Ok(issues)
}

/// For what must not be answered by half: a conditional interaction, a whole record.
///
/// # Errors
/// 503 when not all resources are indexed by one of the parameters.
pub fn require_complete<'c>(concerns: impl IntoIterator<Item = &'c Concern>) -> Result<(), FhirError> {
    match concerns.into_iter().find(|concern| concern.is_incomplete) {
        None => Ok(()),
        Some(Concern {
            resource_type, code, ..
        }) => Err(FhirError::unavailable(format!(
            "Resources are still being indexed by '{code}' of {resource_type}, and this needs them all. \
             $reindex-status tells how far that is."
        ))),
    }
}

fn incomplete(concern: &Concern, percent: u8) -> Issue {
    let text = format!(
        "Resources are being indexed by '{}' of {}: {percent} % are. Until all are, this search may miss some, and find \
         some too many by :missing and :not.",
        concern.code, concern.resource_type
    );
    Issue::warning(IssueType::Incomplete, text).at(format!("http.{}", concern.code))
}
