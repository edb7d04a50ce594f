//! A change of profiles, tags and security labels that makes no version
//! (<https://hl7.org/fhir/R4/resource-operation-meta-add.html>).
//!
//! Labels say something about a version: who may see it, what it conforms to. They are changed where they stand, in the
//! current version or in one of the past, and neither `versionId` nor `lastUpdated` moves. Guards, index rows and jobs
//! are those of any other write.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection, Row};

use super::prepare::{check_marked, check_profiles};
use super::resolve::Current;
use super::transaction::{Pending, ask_guards, change_of, follow_up};
use super::{ATTEMPTS, Stop, pause, write};
use crate::fhir::access::{self, Permissions, judge};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::{self, StoredResource};
use crate::fhir::server::FhirServer;
use crate::fhir::store::{COLUMNS, Ids};
use crate::fhir::trail::{Event, Kind};

/// What becomes of the labels that a `Meta` names. A tag or security label is known by its system and code, a profile by
/// its URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LabelChange {
    /// They are there; those that were keep their display and version.
    Add,
    /// They are not there.
    Remove,
}

/// Who changes labels sees the others.
const LETTERS: Permissions = Permissions::READ.and(Permissions::UPDATE);

/// A version whose labels are to change.
#[derive(Clone, Copy, Debug)]
pub struct LabelTarget<'t> {
    pub resource_type: &'static str,
    pub id: &'t str,
    /// `None` for the current one.
    pub version: Option<i32>,
}

/// Changes the labels of one version and answers its `meta`.
///
/// # Errors
/// 403 when the caller may not read or update it, 404 and 410 when the version is not there, 422 when the labels are not valid, 503 as for any write.
pub async fn change_labels(
    server: &FhirServer,
    caller: &Caller,
    target: LabelTarget<'_>,
    change: LabelChange,
    labels: &Map<String, Value>,
) -> Result<Value, FhirError> {
    access::require(server, caller, LETTERS, target.resource_type)?;
    for attempt in 1..=ATTEMPTS {
        match attempt_change(server, caller, target, change, labels).await {
            Ok(content) => return Ok(content.get("meta").cloned().unwrap_or_default()),
            Err(Stop::Failed(error)) => return Err(error.error),
            Err(Stop::Outdated) => server.search.refresh(&server.store).await?,
            Err(Stop::Lacking(_)) => return Err(FhirError::internal("labels have no content")),
            Err(Stop::Crossed) => tokio::time::sleep(pause(server, attempt)).await,
        }
    }
    Err(FhirError::unavailable(
        "Other changes to the same resource were in the way too often. Try again.",
    ))
}

async fn attempt_change(
    server: &FhirServer,
    caller: &Caller,
    target: LabelTarget<'_>,
    change: LabelChange,
    labels: &Map<String, Value>,
) -> Result<Value, Stop> {
    let mut lease = server.store.fixed().await?;
    let mut ids = Ids::new(&server.store);
    let mut transaction = lease.begin().await?;
    let change = Change { target, change, labels };
    match change.run(server, caller, &mut transaction, &mut ids).await {
        Ok(content) => {
            transaction.commit().await?;
            lease.release();
            ids.publish();
            Ok(content)
        }
        Err(stop) => {
            if transaction.rollback().await.is_ok() {
                lease.release();
            }
            Err(stop)
        }
    }
}

#[derive(Clone, Copy)]
struct Change<'t> {
    target: LabelTarget<'t>,
    change: LabelChange,
    labels: &'t Map<String, Value>,
}

impl Change<'_> {
    async fn run(
        self,
        server: &FhirServer,
        caller: &Caller,
        transaction: &mut PgConnection,
        ids: &mut Ids<'_>,
    ) -> Result<Value, Stop> {
        let LabelTarget {
            resource_type,
            id,
            version,
        } = self.target;
        let not_found = || match version {
            None => FhirError::not_found(resource_type, id),
            Some(version) => FhirError::version_not_found(resource_type, id, &version.to_string()),
        };
        let type_id = server.store.types().id(resource_type).ok_or_else(not_found)?;
        // The row of the current version stands for the resource: who changes any version holds it.
        let current = current(server, transaction, type_id, id).await?.ok_or_else(not_found)?;
        if version.is_some_and(|version| version != current.stored.version) {
            return self.change_past(server, caller, transaction, &current.stored).await;
        }
        check(server, caller, transaction, &current.stored, not_found).await?;
        let before = current.content()?.ok_or_else(|| FhirError::gone(resource_type, id))?;
        let mut after = before.clone();
        apply(&mut after, self.change, self.labels);
        if resource::same_content(&before, &after) {
            return Ok(before);
        }
        let stored = current.stored.clone();
        let mut wave = vec![Pending::relabelled((resource_type, type_id), current, before, after)];
        ask_guards(server, caller, transaction, &mut wave, (1, &HashMap::new())).await?;
        write::write(server, caller, transaction, ids, &mut wave, true).await?;
        let content = wave[0].after.clone().unwrap_or_default();
        let relabelled = StoredResource {
            json: resource::to_json(&content),
            ..stored
        };
        check(server, caller, transaction, &relabelled, || refused(resource_type)).await?;
        let changes: Vec<_> = wave
            .into_iter()
            .filter(|p| server.hooks.concern(p.resource_type))
            .map(change_of)
            .collect();
        follow_up(server, caller, transaction, &changes).await?;
        Ok(content)
    }

    /// A version of the past, which has no index rows.
    async fn change_past(
        self,
        server: &FhirServer,
        caller: &Caller,
        transaction: &mut PgConnection,
        current: &StoredResource,
    ) -> Result<Value, Stop> {
        const FIND: &str = "SELECT deleted, coalesce(exact, content::text) FROM resource_history \
             WHERE rid = $1 AND version = $2 FOR UPDATE";
        const STORE: &str = "UPDATE resource_history SET content = $3::jsonb, exact = $4 \
             WHERE rid = $1 AND version = $2";
        let LabelTarget {
            resource_type,
            id,
            version,
        } = self.target;
        let version = version.unwrap_or_default();
        let row = sqlx::query(FIND)
            .bind(current.rid)
            .bind(version)
            .fetch_optional(&mut *transaction)
            .await?;
        let not_found = || FhirError::version_not_found(resource_type, id, &version.to_string());
        let row = row.ok_or_else(not_found)?;
        let (deleted, text): (bool, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let past = StoredResource {
            version,
            deleted,
            json: text.clone().unwrap_or_default(),
            ..current.clone()
        };
        check(server, caller, transaction, &past, not_found).await?;
        let before: Value = match text {
            Some(text) if !deleted => {
                serde_json::from_str(&text).map_err(|_| FhirError::internal("stored content is not JSON"))?
            }
            _ => return Err(FhirError::gone(resource_type, id).into()),
        };
        let mut after = before.clone();
        apply(&mut after, self.change, self.labels);
        if resource::same_content(&before, &after) {
            return Ok(before);
        }
        check_marked(server, &after)?;
        check_profiles(&after)?;
        let text = resource::to_json(&after);
        let exact = (!resource::survives_jsonb(&after)).then_some(&text);
        let relabelled = StoredResource {
            json: text.clone(),
            ..past
        };
        check(server, caller, transaction, &relabelled, || refused(resource_type)).await?;
        sqlx::query(STORE)
            .bind(current.rid)
            .bind(version)
            .bind(&text)
            .bind(exact)
            .execute(&mut *transaction)
            .await?;
        if caller.is_recorded() {
            let event = Event::new(Kind::Update).by(caller);
            let event = event
                .resource(resource_type, id, Some(version))
                .showing([(current.rid, version)]);
            server.trail.write(transaction, &[event]).await?;
        }
        Ok(after)
    }
}

/// Refuses a caller who may not read or update a version.
async fn check(
    server: &FhirServer,
    caller: &Caller,
    transaction: &mut PgConnection,
    version: &StoredResource,
    hidden: impl Fn() -> FhirError,
) -> Result<(), FhirError> {
    if !judge::may(server, caller, transaction, Permissions::READ, version).await? {
        return Err(hidden());
    }
    match judge::may(server, caller, transaction, Permissions::UPDATE, version).await? {
        true => Ok(()),
        false => Err(refused(version.resource_type)),
    }
}

fn refused(resource_type: &str) -> FhirError {
    access::forbidden(Permissions::UPDATE, &format!("this {resource_type}"))
}

/// The row of a resource, locked; `None` if there never was one.
async fn current(
    server: &FhirServer,
    transaction: &mut PgConnection,
    type_id: i16,
    id: &str,
) -> Result<Option<Current>, Stop> {
    let sql = format!(
        "SELECT {COLUMNS}, r.index_version FROM resource r WHERE r.type = $1 AND r.id = $2 AND r.version > 0 FOR UPDATE"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(type_id)
        .bind(id)
        .fetch_optional(transaction)
        .await?;
    let read = |row: &sqlx::postgres::PgRow| -> Result<Current, FhirError> {
        Ok(Current {
            stored: server.store.resource_of(row)?,
            index_version: row.try_get(8)?,
        })
    };
    Ok(row.as_ref().map(read).transpose()?)
}

/// Changes the labels in `resource.meta`.
fn apply(resource: &mut Value, change: LabelChange, labels: &Map<String, Value>) {
    let Value::Object(resource) = resource else { return };
    let meta = resource.entry("meta").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(meta) = meta else { return };
    for kind in ["profile", "security", "tag"] {
        let named = labels
            .get(kind)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let extensions = format!("_{kind}");
        let mut present = match meta.shift_remove(kind) {
            Some(Value::Array(present)) => present,
            _ => Vec::new(),
        };
        match change {
            LabelChange::Add => {
                for label in named {
                    if !present.iter().any(|known| is_same(known, label)) {
                        present.push(label.clone());
                    }
                }
            }
            LabelChange::Remove => {
                // The extensions of a primitive stand at its position in a list of their own.
                let goes: Vec<bool> = present
                    .iter()
                    .map(|known| named.iter().any(|label| is_same(known, label)))
                    .collect();
                let mut at = goes.iter();
                present.retain(|_| !at.next().copied().unwrap_or(false));
                if let Some(Value::Array(siblings)) = meta.get_mut(&extensions) {
                    let mut at = goes.iter();
                    siblings.retain(|_| !at.next().copied().unwrap_or(false));
                    if siblings.iter().all(Value::is_null) {
                        meta.shift_remove(&extensions);
                    }
                }
            }
        }
        if !present.is_empty() {
            meta.insert(kind.to_owned(), Value::Array(present));
        }
    }
}

/// Whether two profiles, or two codings, are the same label.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.get("system") == b.get("system") && a.get("code") == b.get("code"),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(meta: Value, change: LabelChange, labels: Value) -> Value {
        let mut resource = json!({"resourceType": "Patient", "meta": meta});
        apply(&mut resource, change, labels.as_object().unwrap());
        resource["meta"].take()
    }

    #[test]
    fn labels_are_sets() {
        let meta = json!({"tag": [{"system": "s", "code": "a", "display": "A"}], "profile": ["http://p"]});
        let labels = json!({
            "tag": [{"system": "s", "code": "a", "display": "other"}, {"system": "t", "code": "a"}],
            "profile": ["http://p", "http://q"],
            "security": [{"code": "R"}],
            "versionId": "9"
        });
        assert_eq!(
            changed(meta.clone(), LabelChange::Add, labels.clone()),
            json!({
                "profile": ["http://p", "http://q"],
                "security": [{"code": "R"}],
                "tag": [{"system": "s", "code": "a", "display": "A"}, {"system": "t", "code": "a"}]
            })
        );
        assert_eq!(changed(meta, LabelChange::Remove, labels), json!({}));
    }

    #[test]
    fn extensions_of_a_profile_go_with_it() {
        let meta = json!({"profile": ["http://p", "http://q"], "_profile": [{"id": "x"}, null]});
        assert_eq!(
            changed(meta.clone(), LabelChange::Remove, json!({"profile": ["http://p"]})),
            json!({"profile": ["http://q"]})
        );
        assert_eq!(
            changed(meta, LabelChange::Remove, json!({"profile": ["http://q"]})),
            json!({"profile": ["http://p"], "_profile": [{"id": "x"}]})
        );
    }
}
