//! Tells the servers that remember whom a user stands behind when that may have changed.

use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};

/// Watches over what says whom a user stands behind. That a Practitioner or the like is deleted is noticed by the database
/// itself, so that creating one needs no transaction of its own.
#[derive(Debug)]
pub struct RolesUpkeep;

impl Guard for RolesUpkeep {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "Person" | "PractitionerRole")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async { Ok(()) })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        _: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            sqlx::query("SELECT note_withdrawal()").execute(transaction).await?;
            Ok(())
        })
    }
}
