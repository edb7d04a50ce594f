//! The only door for writes.
//!
//! [`commit`] takes any number of creates, updates, patches and deletes and stores all of them or none
//! (<https://hl7.org/fhir/R4/http.html#trules>). Whatever their number, it takes a constant number of statements:
//!
//! | step | where | statements |
//! |---|---|---|
//! | ask what belongs to the writes (`Consequence`) | `mod` | none where nothing does |
//! | check, give ids, rewrite links between the entries, validate | `prepare` | none |
//! | put the content of Binaries into the object store | `binaries` | 2 for each |
//! | take the locks of the criteria; find what they match | `resolve` | 0, or 4 |
//! | lock the resources that are there, in order of rid | `resolve` | 0 or 1 |
//! | judge what is there, and what was written, by what the caller may do | `authority` | 0 to 4 |
//! | guards; conditional references; validate what they changed; profiles | `transaction` | 0 or 1 |
//! | index; give numbers to new systems and targets | `write` | 0 in the usual case |
//! | store versions and index rows | `write` | 1 |
//!
//! Where every entry is a plain create, as in an import, the last line is all there is: one statement that commits itself.
//!
//! **Conditional writes have one winner.** Whoever uses the criteria of a type first takes an advisory lock on them until
//! its transaction ends; whoever comes second looks after that, and sees what the first one stored.
//!
//! **Deadlocks.** Locks are taken in one order (criteria, then rows by rid). What crosses nevertheless is resolved by
//! Postgres, and the whole is tried again a few times.
//!
//! **Records** of the [trail](super::trail) are part of the statement that writes, or of its transaction; what was refused
//! is recorded after it.
//!
//! **Content** of Binaries goes into the object store before the transaction begins ([`binaries`]).
//!
//! **Provenance** of what an application writes on behalf of a person is stored with it ([`provenance`]).
//!
//! **Labels** (`meta.profile`, `.tag`, `.security`) can be changed without a new version, by [`change_labels`].
//!
//! **Search parameters** may change at any time ([`own`](super::search::own)). The statement that writes names the generation
//! of the registry that its index rows were made by; when there is a newer one nothing is stored, and the whole is done
//! again by that.
//!
//! **An update that changes nothing makes no version**: a client that writes back what it read finds the same version.

mod append;
mod authority;
mod binaries;
mod changes;
mod labels;
mod prepare;
mod provenance;
mod records;
mod resolve;
mod statement;
mod transaction;
mod write;

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

pub use self::append::append;
use self::authority::Authority;
use self::binaries::Need;
pub use self::labels::{LabelChange, LabelTarget, change_labels};
use self::prepare::Prepared;
pub(super) use self::prepare::{check_content, refuse};
pub use self::statement::index_tables;
pub(super) use self::write::{Anew, index_version, reindex};
use super::access::{self, Permissions};
use super::caller::Caller;
use super::error::FhirError;
use super::patch::Patch;
use super::resource::StoredResource;
use super::server::FhirServer;
use crate::base::objects::ObjectId;

/// One write.
#[derive(Clone, Debug)]
pub enum Write {
    /// <https://hl7.org/fhir/R4/http.html#create>; with `if_none_exist` (a query) only if nothing matches it.
    Create {
        resource: Value,
        if_none_exist: Option<String>,
    },
    /// <https://hl7.org/fhir/R4/http.html#update>; creates what is not there, under the id that the client chose.
    Update {
        target: Target,
        resource: Value,
        if_match: Option<i32>,
        if_none_match_any: bool,
    },
    /// <https://hl7.org/fhir/R4/http.html#patch>
    Patch {
        target: Target,
        patch: Patch,
        if_match: Option<i32>,
    },
    /// <https://hl7.org/fhir/R4/http.html#delete>
    Delete { target: Target, if_match: Option<i32> },
}

impl Write {
    /// The type that it writes; empty where a resource does not say it.
    pub fn resource_type(&self) -> &str {
        match self {
            Write::Create { resource, .. } => resource["resourceType"].as_str().unwrap_or_default(),
            Write::Update { target, .. } | Write::Patch { target, .. } | Write::Delete { target, .. } => {
                target.resource_type()
            }
        }
    }

    /// Whether both are aimed at one resource by its id.
    fn is_about(&self, other: &Write) -> bool {
        let named = |write: &Write| match write {
            Write::Update { target, .. } | Write::Patch { target, .. } | Write::Delete { target, .. } => match target {
                Target::Instance { resource_type, id } => Some((resource_type.clone(), id.clone())),
                Target::Criteria { .. } => None,
            },
            Write::Create { .. } => None,
        };
        named(self).is_some() && named(self) == named(other)
    }

    /// What a caller needs for it. An update that creates what is not there counts as an update
    /// (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>). Criteria tell what matches them.
    fn permissions(&self) -> Permissions {
        let (write, criteria) = match self {
            Write::Create { if_none_exist, .. } => (Permissions::CREATE, if_none_exist.is_some()),
            Write::Update { target, .. } => (Permissions::UPDATE, target.is_criteria()),
            Write::Patch { target, .. } => (Permissions::UPDATE, target.is_criteria()),
            Write::Delete { target, .. } => (Permissions::DELETE, target.is_criteria()),
        };
        match criteria {
            true => write | Permissions::SEARCH,
            false => write,
        }
    }
}

/// What a write is aimed at.
#[derive(Clone, Debug)]
pub enum Target {
    Instance {
        resource_type: String,
        id: String,
    },
    /// The one resource that the query (`identifier=a|b`) matches.
    Criteria {
        resource_type: String,
        query: String,
    },
}

impl Target {
    fn resource_type(&self) -> &str {
        match self {
            Target::Instance { resource_type, .. } | Target::Criteria { resource_type, .. } => resource_type,
        }
    }

    fn is_criteria(&self) -> bool {
        matches!(self, Target::Criteria { .. })
    }
}

/// A write with the name that other writes of the same commit may call its resource by.
#[derive(Clone, Debug)]
pub struct Op {
    pub write: Write,
    /// `Bundle.entry.fullUrl`
    pub full_url: Option<String>,
}

/// What a write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Stored a resource that was not there, or had been deleted.
    Created,
    Updated,
    /// The resource said all this already, so no version was made.
    Unchanged,
    /// A conditional create found a match and left it as it was.
    Existing,
    Deleted,
    /// There was nothing to delete, or no more.
    NothingToDelete,
}

/// What became of an [`Op`].
#[derive(Clone, Debug)]
pub struct Outcome {
    pub effect: Effect,
    /// The version that is current now. After [`Effect::NothingToDelete`], the deletion that was there; version 0 and an
    /// empty id if there never was anything. Its `json` is empty, too, where the caller may not read it.
    pub stored: StoredResource,
}

/// Why nothing was stored.
#[derive(Debug)]
pub struct CommitError {
    /// Index of the [`Op`] that is the reason; `None` where it is none in particular.
    pub op: Option<usize>,
    pub error: FhirError,
}

impl From<FhirError> for CommitError {
    fn from(error: FhirError) -> CommitError {
        CommitError { op: None, error }
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> CommitError {
        CommitError {
            op: None,
            error: error.into(),
        }
    }
}

/// Marks an error as the fault of one op.
trait AtOp<T> {
    fn at_op(self, op: usize) -> Result<T, CommitError>;
}

impl<T> AtOp<T> for Result<T, FhirError> {
    fn at_op(self, op: usize) -> Result<T, CommitError> {
        self.map_err(|error| CommitError { op: Some(op), error })
    }
}

/// How an attempt ended that stored nothing.
enum Stop {
    /// Others were in the way: the same may succeed when it is done again from the start.
    Crossed,
    /// The search parameters have changed: done again by the present ones, the same may succeed.
    Outdated,
    /// Content of Binaries is to be fetched or put away first.
    Lacking(Vec<Need>),
    Failed(CommitError),
}

impl<E: Into<CommitError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        let error = error.into();
        if error.error.is_retryable() {
            Stop::Crossed
        } else {
            Stop::Failed(error)
        }
    }
}

/// Attempts before the client is told to come back.
const ATTEMPTS: u32 = 6;

/// Stores all of `ops` or none. Outcomes are in the order of `ops`; the order of `ops` has no influence on the result.
///
/// # Errors
/// With the index of the op: 403 for what the caller may not do, 400 for what is malformed or contradictory (two ops on one resource), 404 and 410 for a
/// patch of what is not there, 409 for a conflict, 412 for `if_match`, `if_none_match_any` and criteria with several
/// matches, 422 for an invalid resource. 503 where the database is not there or others were in the way too often.
pub async fn commit(server: &FhirServer, caller: &Caller, ops: Vec<Op>) -> Result<Vec<Outcome>, CommitError> {
    commit_placed(server, caller, ops, HashMap::new()).await
}

/// The same, where the content of some Binaries, by the index of their [`Op`], is in the object store already: they come without
/// `data`.
///
/// # Errors
/// As for [`commit`].
pub async fn commit_placed(
    server: &FhirServer,
    caller: &Caller,
    ops: Vec<Op>,
    placed: HashMap<usize, ObjectId>,
) -> Result<Vec<Outcome>, CommitError> {
    let mut asked = records::of_ops(server, caller, &ops);
    let result = commit_unrecorded(server, caller, ops, placed).await;
    if let Err(failed) = &result
        && let Some(event) = asked.refused(failed)
    {
        server.trail.note(event).await?;
    }
    result
}

/// The same, without a record of what is refused.
async fn commit_unrecorded(
    server: &FhirServer,
    caller: &Caller,
    ops: Vec<Op>,
    placed: HashMap<usize, ObjectId>,
) -> Result<Vec<Outcome>, CommitError> {
    for (index, op) in ops.iter().enumerate() {
        let resource_type = op.write.resource_type();
        // Of a type that there is not, nobody may do anything; what is wrong with it is told by who prepares it.
        if server.store.types().id(resource_type).is_some() {
            access::require(server, caller, op.write.permissions(), resource_type).at_op(index)?;
        }
    }
    let is_watched = |op: &Op| {
        let mut consequences = server.hooks.consequences.iter();
        consequences.any(|consequence| consequence.watches(op.write.resource_type()))
    };
    let own = ops.len();
    if !ops.iter().any(is_watched) {
        return store(server, caller, ops, own, placed).await;
    }
    for _ in 1..=ATTEMPTS {
        let mut all = ops.clone();
        all.extend(consequences(server, caller, &ops).await?);
        match store(server, caller, all, own, placed.clone()).await {
            Ok(mut outcomes) => {
                outcomes.truncate(own);
                return Ok(outcomes);
            }
            Err(CommitError { op: Some(op), error }) if op >= own => match error.status {
                // Another version than the one that it was made from.
                StatusCode::PRECONDITION_FAILED => {}
                _ => return Err(error.into()),
            },
            Err(error) => return Err(error),
        }
    }
    Err(in_the_way().into())
}

/// What belongs to these writes.
async fn consequences(server: &FhirServer, caller: &Caller, ops: &[Op]) -> Result<Vec<Op>, CommitError> {
    let mut more = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        for consequence in &server.hooks.consequences {
            if consequence.watches(op.write.resource_type()) {
                let mut following = consequence.follows(server, caller, &op.write).await.at_op(index)?;
                if consequence.yields() {
                    following.retain(|op| !ops.iter().any(|own| own.write.is_about(&op.write)));
                }
                more.extend(following);
            }
        }
    }
    Ok(more)
}

fn in_the_way() -> FhirError {
    FhirError::unavailable("Other changes to the same resources were in the way too often. Try again.")
}

/// Stores all of `ops` or none, the first `own` of them in the name of the caller, the others in that of the practice.
async fn store(
    server: &FhirServer,
    caller: &Caller,
    ops: Vec<Op>,
    own: usize,
    placed: HashMap<usize, ObjectId>,
) -> Result<Vec<Outcome>, CommitError> {
    let mut prepared = Prepared::new(server, ops, own)?;
    prepared.contents.placed = placed;
    prepared.put_away(server).await?;
    let authority = Authority { server, caller, own };
    let is_plain = prepared.is_plain() && !authority.must_judge(&prepared);
    let changes_registry = prepared
        .steps
        .iter()
        .any(|step| step.resource_type == "SearchParameter");
    for attempt in 1..=ATTEMPTS {
        let result = match is_plain {
            true => prepared.store_plain(server, caller).await,
            false => prepared.store(server, caller).await,
        };
        match result {
            Ok(mut outcomes) => {
                authority.hide_unreadable_types(&mut outcomes);
                // Who stores a search parameter may use it at once. Should this fail, the next write makes up for it.
                if changes_registry && let Err(error) = server.search.refresh(&server.store).await {
                    tracing::warn!(%error, "the search parameters could not be read again");
                }
                return Ok(outcomes);
            }
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Outdated) => server.search.refresh(&server.store).await?,
            Err(Stop::Lacking(needs)) => prepared.meet(server, needs).await?,
            Err(Stop::Crossed) => tokio::time::sleep(pause(server, attempt)).await,
        }
    }
    Err(in_the_way().into())
}

/// Longer each time, and not the same for those who crossed each other.
fn pause(server: &FhirServer, attempt: u32) -> Duration {
    let jitter = server.ids.next().as_u128() as u64 % 8;
    Duration::from_millis((4 << attempt) + jitter * u64::from(attempt))
}
