//! Referential integrity, for those who want it.
//!
//! FHIR leaves it to the server whether a reference may point to nothing
//! (<https://hl7.org/fhir/R4/http.html#delete>). By default it may, since records arrive in any order and from several
//! systems. With this guard, a relative reference must lead to a resource that is there when its transaction ends, and
//! what others refer to cannot be deleted.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;

use super::caller::Caller;
use super::error::FhirError;
use super::hooks::{Change, Draft, Guard};

/// Refuses dangling references (409).
#[derive(Debug)]
pub struct ReferentialIntegrity;

impl Guard for ReferentialIntegrity {
    fn watches(&self, _: &str) -> bool {
        true
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        // Only the end of a transaction tells: entries may refer to each other.
        Box::pin(async { Ok(()) })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let mut targets = BTreeSet::new();
            changes
                .iter()
                .filter_map(|change| change.after.as_ref())
                .for_each(|after| collect(after, &mut targets));
            require(transaction, &targets).await?;
            let deleted: Vec<i64> = changes
                .iter()
                .filter(|change| change.after.is_none())
                .map(|change| change.rid)
                .collect();
            require_unreferenced(transaction, &deleted).await
        })
    }
}

/// Type and id of every relative reference.
fn collect<'v>(value: &'v Value, targets: &mut BTreeSet<(&'v str, &'v str)>) {
    match value {
        Value::Object(object) => {
            for (key, child) in object {
                match child.as_str() {
                    Some(reference) if key == "reference" => targets.extend(relative(reference)),
                    _ => collect(child, targets),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, targets)),
        _ => {}
    }
}

/// `Patient/1` and `Patient/1/_history/2`; contained, absolute and logical references are none of ours.
fn relative(reference: &str) -> Option<(&str, &str)> {
    let (resource_type, rest) = reference.split_once('/')?;
    let is_type = resource_type.starts_with(|c: char| c.is_ascii_uppercase());
    let id = rest.split('/').next().filter(|id| !id.is_empty())?;
    is_type.then_some((resource_type, id))
}

/// # Errors
/// 409 with the first reference that leads nowhere.
async fn require(transaction: &mut PgConnection, targets: &BTreeSet<(&str, &str)>) -> Result<(), FhirError> {
    // The lock makes a delete of a target wait for this transaction, which it will then see.
    const FIND: &str = "SELECT t.name, r.id FROM unnest($1::text[], $2::text[]) AS wanted (type, id) \
         JOIN resource_type t ON t.name = wanted.type \
         JOIN resource r ON r.type = t.id AND r.id = wanted.id WHERE NOT r.deleted ORDER BY r.rid FOR SHARE OF r";
    if targets.is_empty() {
        return Ok(());
    }
    let (types, ids): (Vec<&str>, Vec<&str>) = targets.iter().copied().unzip();
    let found: Vec<(String, String)> = sqlx::query_as(FIND)
        .bind(types)
        .bind(ids)
        .fetch_all(transaction)
        .await?;
    let found: BTreeSet<(&str, &str)> = found.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    match targets.difference(&found).next() {
        None => Ok(()),
        Some((resource_type, id)) => Err(FhirError::conflict(format!(
            "A reference leads to {resource_type}/{id}, which is not here. Store that first, or in the same transaction."
        ))),
    }
}

/// # Errors
/// 409 if a live resource refers to one of `deleted`.
async fn require_unreferenced(transaction: &mut PgConnection, deleted: &[i64]) -> Result<(), FhirError> {
    // A probe for each search parameter: few microseconds each, and the index needs no entry of its own for deletes.
    const FIND: &str = "SELECT t.name, r.id FROM unnest($1::bigint[]) AS gone (rid) CROSS JOIN search_parameter p \
         JOIN idx_reference x ON x.param = p.id AND x.target = gone.rid \
         JOIN resource r ON r.rid = x.rid JOIN resource_type t ON t.id = r.type LIMIT 1";
    if deleted.is_empty() {
        return Ok(());
    }
    let user: Option<(String, String)> = sqlx::query_as(FIND).bind(deleted).fetch_optional(transaction).await?;
    match user {
        None => Ok(()),
        Some((resource_type, id)) => Err(FhirError::conflict(format!(
            "{resource_type}/{id} refers to what was to be deleted. Change or delete that first, or in the same transaction."
        ))),
    }
}
