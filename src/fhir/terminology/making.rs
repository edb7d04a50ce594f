//! Makes the sets that searches need.
//!
//! A set is made in a transaction that holds a shared lock on all definitions; a write to one takes it exclusively before
//! it supersedes. So no set is stored that was made from what a write, committed meanwhile, has replaced.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use super::{FEW, Kind, StoredSet, refused, sources};
use crate::fhir::error::FhirError;
use crate::fhir::search::types::key;
use crate::fhir::search::types::token::folded;
use crate::fhir::store::{Ids, Store};
use crate::knowledge::definitions::Definitions;
use crate::knowledge::terminology::{Definition as _, Library, Reference, Unexpandable, expand, split_version};

/// Raise it whenever the same definitions would come to other sets than before.
const EXPANSION_RULES: u32 = 1;

/// Most definitions that one value set may draw on.
const MAX_DEFINITIONS: usize = 1_000;

/// Marks what sets depend on besides stored resources: this program. Another release makes sets of its own.
static RULES: LazyLock<i32> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    digest.update(EXPANSION_RULES.to_be_bytes());
    for text in Definitions::TERMINOLOGY {
        digest.update(text);
    }
    let digest = digest.finalize();
    i32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
});

/// Waits until nobody changes definitions, or, to change them, until nobody makes sets of them either. Held until the
/// transaction ends.
pub(super) async fn lock_definitions(transaction: &mut PgConnection, exclusively: bool) -> Result<(), sqlx::Error> {
    // Locks of two small numbers never meet those of one large number, which `commit` takes for criteria.
    const SHARED: &str = "SELECT pg_advisory_xact_lock_shared(6, 1)";
    const EXCLUSIVE: &str = "SELECT pg_advisory_xact_lock(6, 1)";
    let sql = if exclusively { EXCLUSIVE } else { SHARED };
    sqlx::query(sql).execute(transaction).await?;
    Ok(())
}

/// The current set of this name, which is made if there is none.
pub(super) async fn set(
    store: &Store,
    connection: &mut PgConnection,
    kind: Kind,
    name: &str,
) -> Result<StoredSet, FhirError> {
    if let Some(set) = current(connection, kind, name).await? {
        return Ok(set);
    }
    // Inside a transaction of the caller this is a savepoint, and the lock is held until that transaction ends.
    let mut transaction = connection.begin().await?;
    lock_definitions(&mut transaction, false).await?;
    let made = match make(store, &mut transaction, kind, name).await {
        Ok(()) => current(&mut transaction, kind, name).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(set) => {
            transaction.commit().await?;
            set.ok_or_else(|| FhirError::internal("a code set was not made"))
        }
        Err(error) => {
            transaction.rollback().await?;
            Err(error)
        }
    }
}

async fn current(connection: &mut PgConnection, kind: Kind, name: &str) -> Result<Option<StoredSet>, FhirError> {
    const SQL: &str = "SELECT id, system, size, notes FROM code_set \
         WHERE kind = $1 AND name = $2 AND rules = $3 AND superseded_at IS NULL";
    let query = sqlx::query_as(SQL)
        .bind(kind as i16)
        .bind(key(name.into()))
        .bind(*RULES);
    let row: Option<(i32, Option<i32>, i32, Vec<String>)> = query.fetch_optional(connection).await?;
    Ok(row.map(|(id, system, size, notes)| StoredSet {
        id,
        system,
        size,
        notes,
    }))
}

/// A set before it is stored.
struct NewSet {
    /// The code system of a hierarchy; `None` for a value set.
    system: Option<String>,
    /// System and code, or ancestor and descendant, as they stand in the index.
    rows: BTreeSet<(String, String)>,
    notes: Vec<String>,
    sources: Vec<String>,
}

/// Stores the set, unless somebody else does so this moment.
async fn make(store: &Store, transaction: &mut PgConnection, kind: Kind, name: &str) -> Result<(), FhirError> {
    const ADD: &str = "INSERT INTO code_set (kind, name, rules, system, size, sources, notes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (kind, name, rules) WHERE superseded_at IS NULL DO NOTHING RETURNING id";
    const ADD_CODES: &str = "INSERT INTO value_set_code (code_set, system, code) \
         SELECT $1, * FROM unnest($2::integer[], $3::text[])";
    const ADD_PAIRS: &str = "INSERT INTO code_closure (code_set, ancestor, descendant) \
         SELECT $1, * FROM unnest($2::text[], $3::text[])";
    let new = match kind {
        Kind::ValueSet => expansion(transaction, name).await?,
        Kind::Hierarchy => hierarchy(transaction, name).await?,
    };
    let systems = match kind {
        Kind::ValueSet => new.rows.iter().map(|(system, _)| system.as_str()).collect(),
        Kind::Hierarchy => new.system.iter().map(String::as_str).collect(),
    };
    let mut ids = intern(store, transaction, &systems).await?;
    let set: Option<i32> = sqlx::query_scalar(ADD)
        .bind(kind as i16)
        .bind(key(name.into()))
        .bind(*RULES)
        .bind(new.system.as_ref().map(|system| ids.system(system)))
        .bind(i32::try_from(new.rows.len()).unwrap_or(i32::MAX))
        .bind(&new.sources)
        .bind(&new.notes)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(set) = set else { return Ok(()) };
    let size = new.rows.len();
    let (first, second): (Vec<String>, Vec<String>) = new.rows.into_iter().unzip();
    match kind {
        Kind::ValueSet => {
            let systems: Vec<i32> = first.iter().map(|system| ids.system(system)).collect();
            let query = sqlx::query(ADD_CODES).bind(set).bind(systems).bind(second);
            query.execute(&mut *transaction).await?;
        }
        Kind::Hierarchy => {
            let query = sqlx::query(ADD_PAIRS).bind(set).bind(first).bind(second);
            query.execute(&mut *transaction).await?;
        }
    }
    if size > FEW {
        // Such a set is joined, and how well depends on what the planner knows of its size.
        let sql = match kind {
            Kind::ValueSet => "ANALYZE value_set_code",
            Kind::Hierarchy => "ANALYZE code_closure",
        };
        sqlx::query(sql).execute(&mut *transaction).await?;
    }
    remove_superseded(transaction).await
}

/// Removes sets that were superseded longer ago than any search takes. Instants are the database's own, since they are
/// compared with nothing else.
async fn remove_superseded(transaction: &mut PgConnection) -> Result<(), FhirError> {
    const REMOVE: &str = "WITH gone AS ( \
             DELETE FROM code_set WHERE superseded_at < now() - interval '10 minutes' RETURNING id), \
         codes AS (DELETE FROM value_set_code WHERE code_set IN (SELECT id FROM gone)) \
         DELETE FROM code_closure WHERE code_set IN (SELECT id FROM gone)";
    sqlx::query(REMOVE).execute(transaction).await?;
    Ok(())
}

/// Makes sure that each system has a number.
async fn intern<'s>(
    store: &'s Store,
    transaction: &mut PgConnection,
    systems: &HashSet<&str>,
) -> Result<Ids<'s>, FhirError> {
    let mut ids = Ids::new(store);
    for system in systems {
        ids.system(system);
    }
    if !ids.is_complete() {
        ids.intern(transaction).await?;
    }
    Ok(ids)
}

/// The codes of a value set.
async fn expansion(transaction: &mut PgConnection, name: &str) -> Result<NewSet, FhirError> {
    let (library, sources) = gather(transaction, name).await?;
    let wanted = name.to_owned();
    // Large ones take a while, which other requests should not wait for.
    let expanded = tokio::task::spawn_blocking(move || expand(&library, &wanted)).await;
    let expansion = expanded.map_err(FhirError::internal)?.map_err(|why| refused(&why))?;
    let rows = expansion
        .codes
        .iter()
        .map(|(system, code)| (system.clone(), folded(code).into_owned()));
    Ok(NewSet {
        system: None,
        rows: rows.collect(),
        notes: expansion.notes.into_iter().collect(),
        sources,
    })
}

/// The definitions that a value set draws on, and the names under which they were looked for.
async fn gather(transaction: &mut PgConnection, name: &str) -> Result<(Library, Vec<String>), FhirError> {
    let mut library = Library::default();
    let mut names = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut open = vec![Reference::ValueSet(name.to_owned())];
    while let Some(reference) = open.pop() {
        if !seen.insert(reference.clone()) {
            continue;
        }
        if seen.len() > MAX_DEFINITIONS {
            return Err(refused(&Unexpandable::TooLarge(name.to_owned())));
        }
        match reference {
            Reference::CodeSystem(canonical) => {
                names.insert(split_version(&canonical).0.to_owned());
                if let Some(system) = sources::code_system(transaction, &canonical).await? {
                    library.code_systems.insert(canonical, system);
                }
            }
            Reference::ValueSet(canonical) => {
                names.insert(split_version(&canonical).0.to_owned());
                if let Some(value_set) = sources::value_set(transaction, &canonical).await? {
                    open.extend(value_set.references());
                    library.value_sets.insert(canonical, value_set);
                }
            }
        }
    }
    Ok((library, names.into_iter().collect()))
}

/// The closure of a code system, with each code as its own ancestor.
async fn hierarchy(transaction: &mut PgConnection, url: &str) -> Result<NewSet, FhirError> {
    let Some(system) = sources::code_system(transaction, url).await? else {
        return Err(refused(&Unexpandable::UnknownCodeSystem(url.to_owned())));
    };
    let notes = system.note().into_iter().collect();
    let closed = tokio::task::spawn_blocking(move || {
        let itself = system
            .concepts()
            .iter()
            .map(|concept| (concept.code.as_str(), concept.code.as_str()));
        let pairs = system.closure()?.into_iter().chain(itself);
        let pairs = pairs.map(|(above, below)| (folded(above).into_owned(), folded(below).into_owned()));
        Ok(pairs.collect())
    });
    let rows = closed
        .await
        .map_err(FhirError::internal)?
        .map_err(|why: Unexpandable| refused(&why))?;
    Ok(NewSet {
        system: Some(url.to_owned()),
        rows,
        notes,
        sources: vec![url.to_owned()],
    })
}
