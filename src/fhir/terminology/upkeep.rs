//! Supersedes the stored sets that a write makes untrue, in the transaction of the write.

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;

use super::making::lock_definitions;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};

/// Watches over CodeSystem and ValueSet.
#[derive(Debug)]
pub struct TerminologyUpkeep;

impl Guard for TerminologyUpkeep {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "CodeSystem" | "ValueSet")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        // A definition that cannot be expanded may be stored nevertheless: it can be read, and a search says what is wrong.
        Box::pin(async { Ok(()) })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        // Sets are kept until nobody can be reading them any more, hence no DELETE.
        const SUPERSEDE: &str =
            "UPDATE code_set SET superseded_at = now() WHERE superseded_at IS NULL AND sources && $1";
        Box::pin(async move {
            let mut names: Vec<String> = Vec::new();
            for change in changes {
                names.push(format!("{}/{}", change.resource_type, change.id));
                let contents = [&change.before, &change.after].into_iter().flatten();
                names.extend(
                    contents
                        .filter_map(|content| content.get("url").and_then(Value::as_str))
                        .map(str::to_owned),
                );
            }
            // Whoever is making a set from the old definitions finishes first, so that its set is seen here.
            lock_definitions(transaction, true).await?;
            sqlx::query(SUPERSEDE).bind(names).execute(transaction).await?;
            Ok(())
        })
    }
}
