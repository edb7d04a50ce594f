//! The till: what all of this room works with, and how it reads.
//!
//! It looks with the eyes of the practice, since a patient sees neither prices of others nor the practice's books. Whoever
//! comes to the till has been judged before.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::Value;

use super::signature::Secrets;
use super::stripe::{Back, Stripe};
use crate::fhir::caller::{Caller, Granted};
use crate::fhir::commit::{Op, Outcome, Target, Write, commit};
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::preferences::Handling;
use crate::fhir::resource::StoredResource;
use crate::fhir::search;
use crate::fhir::server::FhirServer;

/// What the settings say about payments.
pub struct Payments {
    /// `None` where nothing can be paid.
    pub stripe: Option<Stripe>,
    pub secrets: Secrets,
    /// Where payers come back to at this server.
    pub back: Back,
    /// Where they are sent on to; empty for nowhere.
    pub return_url: String,
}

/// Where one caller is served.
#[derive(Clone, Copy)]
pub struct Till<'a> {
    pub server: &'a FhirServer,
    pub payments: &'a Payments,
    /// In whose name is written. Records name it; what it may do was judged before.
    pub caller: &'a Caller,
}

/// A resource as it is now.
#[derive(Clone, Debug)]
pub struct Record {
    pub resource_type: &'static str,
    pub id: String,
    pub version: i32,
    pub content: Value,
}

/// Who writes what Stripe has told: no person, but recorded all the same.
pub fn cashier() -> Caller {
    let granted = Granted {
        client: "payments".to_owned(),
        ..Granted::default()
    };
    Caller::granted(granted).practice()
}

impl Till<'_> {
    /// The practice's account.
    ///
    /// # Errors
    /// 501 where there is none.
    pub fn stripe(&self) -> Result<&Stripe, FhirError> {
        let text = "Nothing can be paid at this server: whoever runs it has not set payments.stripe_key.";
        let none = || FhirError::new(StatusCode::NOT_IMPLEMENTED, Issue::error(IssueType::NotSupported, text));
        self.payments.stripe.as_ref().ok_or_else(none)
    }

    /// What is at an address; `None` for what is not there, or no more.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn find(&self, resource_type: &str, id: &str) -> Result<Option<Record>, FhirError> {
        let found = self.server.read(&Caller::server(), resource_type, id).await?;
        found.filter(|found| !found.deleted).map(Record::of).transpose()
    }

    /// What a local reference (`Invoice/7`) of that type points at.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn follow(&self, resource_type: &str, reference: Option<&str>) -> Result<Option<Record>, FhirError> {
        let id = reference.and_then(|reference| reference.strip_prefix(resource_type)?.strip_prefix('/'));
        match id {
            Some(id) => self.find(resource_type, id).await,
            None => Ok(None),
        }
    }

    /// What matches a search, as many as fit on a page.
    ///
    /// # Errors
    /// Those of a search.
    pub async fn search(&self, resource_type: &str, query: &[(&str, &str)]) -> Result<Vec<Record>, FhirError> {
        let count = self.server.settings.max_count.to_string();
        let pairs = query.iter().copied().chain([("_count", count.as_str())]);
        let pairs: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let search = search::parse(self.server, resource_type, &pairs, Handling::Strict)?;
        let page = search::search(self.server, &Caller::server(), &search).await?;
        page.matches.into_iter().map(Record::of).collect()
    }

    /// Stores all of it or nothing.
    ///
    /// # Errors
    /// Those of a commit; 412 when something was changed meanwhile.
    pub async fn store(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, FhirError> {
        let outcomes = commit(self.server, &self.caller.practice(), ops).await;
        outcomes.map_err(|error| error.error)
    }
}

impl Record {
    pub fn of(stored: StoredResource) -> Result<Record, FhirError> {
        let content = serde_json::from_str(&stored.json);
        Ok(Record {
            resource_type: stored.resource_type,
            content: content.map_err(|_| FhirError::internal("stored content is not JSON"))?,
            id: stored.id,
            version: stored.version,
        })
    }

    /// `Invoice/7`
    pub fn reference(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }

    /// Its next version, unless somebody else makes one before.
    pub fn update(&self, after: Value) -> Op {
        op(Write::Update {
            target: Target::Instance {
                resource_type: self.resource_type.to_owned(),
                id: self.id.clone(),
            },
            resource: after,
            if_match: Some(self.version),
            if_none_match_any: false,
        })
    }
}

/// A write that nobody refers to.
pub fn op(write: Write) -> Op {
    Op { write, full_url: None }
}

/// Makes a resource, unless one matches `if_none_exist`; others of the same commit call it `name`.
pub fn create(resource: Value, if_none_exist: Option<String>, name: Option<String>) -> Op {
    let write = Write::Create {
        resource,
        if_none_exist,
    };
    Op { write, full_url: name }
}

/// Shared by whoever takes payments.
pub type Shared = Arc<Payments>;

/// Whether somebody else was faster, so that it is worth looking again.
pub fn is_too_late(error: &FhirError) -> bool {
    matches!(error.status, StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT)
}
