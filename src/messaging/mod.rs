//! What people are told by mail of visits, payments, documents and prescriptions: docs/mail.md.
//!
//! A [`reaction`] sees that something was committed and enqueues a job, which makes a CommunicationRequest for each person who is
//! to be told, and puts the cause into the outbox of [`mail`](crate::mail). The letter is made when it leaves, of what the
//! records say then ([`letters`]). What became of it is a Communication ([`outcome`]).
//!
//! | file | concern |
//! |---|---|
//! | [`events`] | which change is an event, for whom, and whether it is still true. Pure |
//! | [`reaction`] | from a change to a job |
//! | [`requests`] | who is told: CommunicationRequests, and mails that wait |
//! | [`letters`] | a mail, of the state at the moment when it leaves |
//! | [`outcome`] | what became of it: Communications |
//! | [`people`] | how somebody is written to: language, time zone, what they want |
//! | [`names`] | URLs and codes |

pub mod events;
pub mod letters;
pub mod names;
pub mod outcome;
pub mod people;
pub mod reaction;
pub mod requests;

use std::sync::Arc;

use serde_json::Value;
use sqlx::PgPool;

use self::people::Addresses;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::jobs::{JobError, Registry};
use crate::mail::Outbox;

/// What this room works with.
pub struct Messaging {
    pub fhir: Arc<FhirServer>,
    pub outbox: Outbox,
    pub pool: PgPool,
    pub addresses: Arc<dyn Addresses>,
    /// Below which the applications are: `https://clinic.example/apps`.
    pub apps: String,
    /// Where people say which mails they want.
    pub preferences: String,
}

impl Messaging {
    /// Adds the jobs of this room.
    pub fn register(self: &Arc<Self>, registry: Registry) -> Registry {
        let (teller, clerk) = (self.clone(), self.clone());
        registry
            .on(reaction::TELL, move |job| {
                let teller = teller.clone();
                async move { requests::tell(&teller, &job.payload).await }
            })
            .on(outcome::NOTE, move |job| {
                let clerk = clerk.clone();
                async move { outcome::note(&clerk, &job.payload).await }
            })
    }

    /// The current version of `Type/id`; `None` if there is none, or no more.
    async fn read(&self, reference: &str) -> Result<Option<Value>, JobError> {
        let Some((resource_type, id)) = reference.split_once('/') else {
            return Ok(None);
        };
        let stored = self.fhir.read(&Caller::server(), resource_type, id).await;
        content(stored.map_err(|error| not_now(&error))?)
    }

    /// A version of `Type/id`.
    async fn read_version(&self, reference: &str, version: i32) -> Result<Option<Value>, JobError> {
        let Some((resource_type, id)) = reference.split_once('/') else {
            return Ok(None);
        };
        let stored = self.fhir.vread(&Caller::server(), resource_type, id, version).await;
        content(stored.map_err(|error| not_now(&error))?)
    }
}

fn content(stored: Option<StoredResource>) -> Result<Option<Value>, JobError> {
    let stored = stored.filter(|stored| !stored.deleted);
    let content = stored.map(|stored| serde_json::from_str(&stored.json)).transpose();
    content.map_err(|_| JobError::Fail("what is stored cannot be read".to_owned()))
}

/// An error of the records, without what it may quote.
fn not_now(error: &FhirError) -> JobError {
    JobError::Retry(format!("the records answered {}", error.status.as_u16()))
}
