//! How features join the server without the server knowing them. `app/hooks.rs` lists every hook, in order.
//!
//! | hook | when | may |
//! |---|---|---|
//! | [`Intake`] | while content of a Binary comes in | refuse it or change it |
//! | [`Consequence`] | before the transaction of a write | add writes to it |
//! | [`Guard`] | inside the transaction of a write | refuse it or amend what is stored; no network |
//! | [`Reaction`] | after the commit, as a job whose row the transaction wrote | do anything, more than once |
//! | [`Operation`] | on `$name` | what its OperationDefinition says |

use std::collections::HashMap;

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;

use super::caller::Caller;
use super::commit::{Effect, Op, Write};
use super::content::ContentStream;
use super::error::FhirError;
use super::http::Answer;
use super::parameters::Parameters;
use super::preferences::Preferences;
use super::server::FhirServer;
use super::summary::Projection;
use crate::jobs::NewJob;

/// Everything that takes part, in the order in which it runs.
#[derive(Default)]
pub struct Hooks {
    pub intakes: Vec<Box<dyn Intake>>,
    pub consequences: Vec<Box<dyn Consequence>>,
    pub guards: Vec<Box<dyn Guard>>,
    pub reactions: Vec<Box<dyn Reaction>>,
    pub operations: Vec<Box<dyn Operation>>,
}

impl Hooks {
    /// Whether a write to this type needs a transaction of its own for the sake of a hook.
    pub(super) fn concern(&self, resource_type: &str) -> bool {
        self.guards.iter().any(|guard| guard.watches(resource_type))
            || self.reactions.iter().any(|reaction| reaction.watches(resource_type))
    }
}

/// A resource that is about to be stored, between its old version and its new one.
pub struct Draft<'a> {
    pub resource_type: &'static str,
    pub id: &'a str,
    /// `None` for a create.
    pub before: Option<&'a Value>,
    /// `None` for a delete. What a guard changes here is validated and stored.
    pub after: Option<&'a mut Value>,
    /// The Binaries of the same commit, by id, with the marks of their [content](super::content). They may not be stored yet.
    pub binaries: &'a HashMap<String, Value>,
}

/// A resource as it was stored in this transaction.
#[derive(Debug)]
pub struct Change {
    pub resource_type: &'static str,
    pub id: String,
    pub rid: i64,
    /// The version that this change made.
    pub version: i32,
    /// `Created`, `Updated` or `Deleted`: a write that changed nothing is no change.
    pub effect: Effect,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// A rule over the content of Binaries, whichever way it comes in.
pub trait Intake: Send + Sync {
    /// Takes the content of `binary`, which is all but the content, and answers what is to be stored: the same stream, one that
    /// fails at the piece that must not be stored, or another one. Nothing is stored unless it ends without an error.
    fn take<'a>(&'a self, binary: &'a Value, content: ContentStream)
    -> BoxFuture<'a, Result<ContentStream, FhirError>>;
}

/// Writes that belong to a write: what an answer to an invitation does to the appointment. They are stored in the same
/// transaction, or neither is.
///
/// They are made from what was read before the transaction, so each names the version it was made from (`if_match`); when
/// one of them comes too late, all are made anew.
pub trait Consequence: Send + Sync {
    /// Whether writes to this type concern it.
    fn watches(&self, resource_type: &str) -> bool;

    /// Whether a write of the same commit to the same resource takes its place: whoever writes it has said what becomes of it.
    /// Else two writes to one resource refuse the commit.
    fn yields(&self) -> bool {
        false
    }

    /// What else is to be written. The caller's rights are not asked for it: whoever adds a write has judged that this
    /// caller may cause it. An error refuses the whole.
    fn follows<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        write: &'a Write,
    ) -> BoxFuture<'a, Result<Vec<Op>, FhirError>>;
}

/// A rule over writes. Runs inside the transaction, after the rows it may look at are locked.
///
/// Work that leaves the database belongs in a [`Reaction`]: a guard that waits for a network holds locks meanwhile, and
/// runs again when the transaction is retried.
pub trait Guard: Send + Sync {
    /// Whether writes to this type concern it.
    fn watches(&self, resource_type: &str) -> bool;

    /// Called for each resource of a watched type before anything is written. An error refuses the whole transaction.
    fn before<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>>;

    /// Called once, when everything is written, with the changes of watched types. An error undoes them all.
    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        caller: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>>;
}

/// Work that follows from a change. It names a job; the job's row is written in the transaction of the change, so it runs
/// if and only if the change was committed.
pub trait Reaction: Send + Sync {
    /// Whether changes of this type concern it.
    fn watches(&self, resource_type: &str) -> bool;

    /// The job that this change calls for, if any.
    fn job(&self, change: &Change) -> Option<NewJob>;
}

/// An operation (<https://hl7.org/fhir/R4/operations.html>): its definition and its handler in one place.
pub trait Operation: Send + Sync {
    /// The OperationDefinition, from which the CapabilityStatement and the routes are made, and against which input is
    /// checked before [`Operation::call`].
    fn definition(&self) -> &Value;

    /// Whether it can also be called on one version of a resource: `Patient/1/_history/2/$meta`.
    fn takes_versions(&self) -> bool {
        false
    }

    /// Whether it takes the search parameters of its type besides those that its definition names.
    fn takes_search_parameters(&self) -> bool {
        false
    }

    /// Whether it asks by itself what its caller may do with what it touches. Another one that changes something is for
    /// those alone who may do everything.
    fn judges_its_caller(&self) -> bool {
        false
    }

    /// Runs it.
    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>>;
}

/// What an operation was called on and with.
#[derive(Debug)]
pub struct OperationInput {
    pub resource_type: Option<&'static str>,
    pub id: Option<String>,
    /// The version in the URL; only for an operation that takes them.
    pub version: Option<String>,
    /// As the definition allows them.
    pub parameters: Parameters,
    /// The part of each resource that the client wants, for an operation that answers with a Bundle.
    pub projection: Projection,
    pub preferences: Preferences,
}
