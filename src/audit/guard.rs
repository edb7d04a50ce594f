//! AuditEvents are made by the server and by nobody else, and stay as they are.

use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};

/// Refuses every write to an AuditEvent, whoever asks and by whichever interaction.
#[derive(Debug)]
pub struct AppendOnly;

impl Guard for AppendOnly {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "AuditEvent"
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        let text = match draft.before {
            None => "AuditEvents are made by this server; nobody adds one.",
            Some(_) => "AuditEvents stay as they are; nobody changes or deletes one.",
        };
        Box::pin(async move { Err(FhirError::forbidden(text)) })
    }

    fn after_all<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async { Ok(()) })
    }
}
