//! Terminology for searches: which codes `:in`, `:not-in`, `:above` and `:below` mean
//! (<https://hl7.org/fhir/R4/search.html#modifiers>).
//!
//! Definitions are the CodeSystem and ValueSet resources of this server and, where it has none of a URL, those of R4 itself.
//! What they come to is stored (migration 0006): the codes of a value set, the closure of a code system's hierarchy.
//!
//! **When.** A set is made by the first search that needs it, and superseded in the transaction that changes one of its
//! sources ([`upkeep`]). The other way, making all dependants anew in that transaction, would let a write to a code system
//! wait for value sets that nobody may ever search by, and loading a guide with a thousand of them would make most of
//! them many times. So the price is paid by one search; and as a superseded set is never looked at again, a search that
//! begins after the response to a write sees what was written.
//!
//! | file | concern |
//! |---|---|
//! | `making` | gathers the definitions that a set depends on, expands and stores it |
//! | `sources` | finds one definition by its canonical URL |
//! | [`upkeep`] | supersedes what a write makes untrue |

mod making;
mod sources;
pub mod upkeep;

use std::collections::{BTreeSet, HashMap};

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::error::{FhirError, Issue, IssueType};
use super::search::types::token::folded;
use super::store::Store;
use crate::knowledge::terminology::Unexpandable;

/// Up to this many codes are compared one by one; more are joined. Arrays are planned better, and few value sets that are
/// used in searches are larger.
const FEW: usize = 250;

/// The codes that a searched value means.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Concepts {
    /// Those of a value set, by its canonical URL or as `ValueSet/id`.
    ValueSet(String),
    /// This code of a system, and all above it.
    Above { system: String, code: String },
    /// This code of a system, and all below it.
    Below { system: String, code: String },
}

/// The same, as they can be compared with index rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Codes {
    /// Number of the system, and code as it stands in the index.
    Listed(Vec<(i32, String)>),
    /// Rows of `value_set_code`.
    ValueSet { set: i32 },
    /// Rows of `code_closure` with this ancestor, all of one system.
    Below { set: i32, system: i32, code: String },
}

/// A set as it is stored.
#[derive(Clone)]
struct StoredSet {
    id: i32,
    system: Option<i32>,
    size: i32,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Kind {
    ValueSet = 1,
    Hierarchy = 2,
}

/// What [`resolve`] found.
#[derive(Default)]
pub struct Resolved {
    pub codes: HashMap<Concepts, Codes>,
    /// What is known to be missing, as sentences for the client.
    pub notes: BTreeSet<String>,
}

/// Finds the codes of everything in `wanted`, making the sets that are not there.
///
/// # Errors
/// 400 with text when a definition is unknown or cannot be expanded in full, 422 when it is too large.
pub async fn resolve(
    store: &Store,
    connection: &mut PgConnection,
    wanted: &BTreeSet<&Concepts>,
) -> Result<Resolved, FhirError> {
    let mut resolved = Resolved::default();
    let mut sets: HashMap<(Kind, &str), StoredSet> = HashMap::new();
    for &concepts in wanted {
        let (kind, name) = match concepts {
            Concepts::ValueSet(name) => (Kind::ValueSet, name.as_str()),
            Concepts::Above { system, .. } | Concepts::Below { system, .. } => (Kind::Hierarchy, system.as_str()),
        };
        let set = match sets.get(&(kind, name)) {
            Some(set) => set.clone(),
            None => making::set(store, connection, kind, name).await?,
        };
        let codes = match concepts {
            Concepts::ValueSet(_) => value_set(connection, &set).await?,
            Concepts::Above { system, code } => hierarchy(connection, &set, (system, code), true).await?,
            Concepts::Below { system, code } => hierarchy(connection, &set, (system, code), false).await?,
        };
        resolved.codes.insert(concepts.clone(), codes);
        resolved.notes.extend(set.notes.iter().cloned());
        sets.insert((kind, name), set);
    }
    Ok(resolved)
}

async fn value_set(connection: &mut PgConnection, set: &StoredSet) -> Result<Codes, FhirError> {
    const SQL: &str = "SELECT system, code FROM value_set_code WHERE code_set = $1";
    if usize::try_from(set.size).unwrap_or_default() > FEW {
        return Ok(Codes::ValueSet { set: set.id });
    }
    let listed = sqlx::query_as(SQL).bind(set.id).fetch_all(connection).await?;
    Ok(Codes::Listed(listed))
}

/// A code of a system, with all above or below it.
async fn hierarchy(
    connection: &mut PgConnection,
    set: &StoredSet,
    (system, code): (&str, &str),
    above: bool,
) -> Result<Codes, FhirError> {
    const ABOVE: &str = "SELECT ancestor FROM code_closure WHERE code_set = $1 AND descendant = $2";
    const BELOW: &str = "SELECT descendant FROM code_closure WHERE code_set = $1 AND ancestor = $2 LIMIT $3";
    let number = set.system.unwrap_or_default();
    let searched = folded(code).into_owned();
    let query = match above {
        // Hierarchies are not deep, so nothing has to be joined upwards.
        true => sqlx::query_scalar(ABOVE).bind(set.id).bind(&searched),
        false => sqlx::query_scalar(BELOW)
            .bind(set.id)
            .bind(&searched)
            .bind(i64::try_from(FEW + 1).unwrap_or(i64::MAX)),
    };
    let found: Vec<String> = query.fetch_all(connection).await?;
    if found.is_empty() {
        // Of a code system that is known in part, any code may be one that was left out.
        return match set.notes.is_empty() {
            true => Err(refused(&Unexpandable::NoSuchCode(system.to_owned(), code.to_owned()))),
            false => Ok(Codes::Listed(vec![(number, searched)])),
        };
    }
    if found.len() > FEW && !above {
        return Ok(Codes::Below {
            set: set.id,
            system: number,
            code: searched,
        });
    }
    Ok(Codes::Listed(found.into_iter().map(|code| (number, code)).collect()))
}

/// 400, the search asks for codes that nobody here can tell; 422 where they are too many.
fn refused(why: &Unexpandable) -> FhirError {
    let code = match why {
        Unexpandable::TooLarge(_) => return FhirError::too_costly(why.to_string()),
        Unexpandable::UnknownValueSet(_) | Unexpandable::UnknownCodeSystem(_) => IssueType::NotFound,
        Unexpandable::NoSuchCode(..) => IssueType::CodeInvalid,
        _ => IssueType::NotSupported,
    };
    FhirError::new(StatusCode::BAD_REQUEST, Issue::error(code, why.to_string()))
}
