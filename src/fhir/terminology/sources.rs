//! One definition by its canonical URL, or by its id.

use serde_json::Value;
use sqlx::PgConnection;

use crate::fhir::error::FhirError;
use crate::fhir::search::types::key;
use crate::knowledge::definitions::Definitions;
use crate::knowledge::terminology::{CodeSystem, ValueSet, compare_versions, split_version};

/// The version of the value sets that come with R4.
const R4: &str = "4.0.1";

/// The code system that `canonical` means: a resource of this server, or else one of R4.
pub async fn code_system(connection: &mut PgConnection, canonical: &str) -> Result<Option<CodeSystem>, FhirError> {
    if let Some(resource) = by_canonical(connection, "CodeSystem", canonical).await? {
        return Ok(Some(CodeSystem::from_resource(&resource)));
    }
    let (url, version) = split_version(canonical);
    let built_in = Definitions::r4().code_systems.get(url);
    let is_meant = |has: &Option<String>| version.is_none() || version == has.as_deref();
    Ok(built_in
        .filter(|definition| is_meant(&definition.version))
        .map(|definition| CodeSystem::from_definitions(url, definition)))
}

/// The value set that `name` means: `ValueSet/id`, or a canonical URL as for [`code_system`].
pub async fn value_set(connection: &mut PgConnection, name: &str) -> Result<Option<ValueSet>, FhirError> {
    let resource = match name.strip_prefix("ValueSet/") {
        Some(id) => by_id(connection, "ValueSet", id).await?,
        None => by_canonical(connection, "ValueSet", name).await?,
    };
    if let Some(resource) = resource {
        return Ok(Some(ValueSet::from_resource(&resource)));
    }
    let (url, version) = split_version(name);
    let built_in = Definitions::r4().value_sets.get(url);
    let is_meant = version.is_none_or(|version| version == R4);
    Ok(built_in
        .filter(|_| is_meant)
        .map(|codes| ValueSet::from_definitions(url, codes)))
}

async fn by_id(connection: &mut PgConnection, resource_type: &str, id: &str) -> Result<Option<Value>, FhirError> {
    const SQL: &str = "SELECT r.content::text FROM resource_type t \
         JOIN resource r ON r.type = t.id AND r.id = $2 WHERE t.name = $1 AND NOT r.deleted";
    let query = sqlx::query_scalar(SQL).bind(resource_type).bind(id);
    let json: Option<String> = query.fetch_optional(connection).await?;
    json.map(|json| read(&json)).transpose()
}

/// Of several resources with one URL, the one with the version asked for; where none is asked for, the latest version that
/// is not retired, and of equal versions the one that was written last.
async fn by_canonical(
    connection: &mut PgConnection,
    resource_type: &str,
    canonical: &str,
) -> Result<Option<Value>, FhirError> {
    const FIND: &str = "SELECT r.rid, r.content->>'version', r.content->>'status' = 'retired' FROM resource_type t \
         JOIN search_parameter p ON p.type = t.id AND p.code = 'url' \
         JOIN idx_uri x ON x.param = p.id AND x.uri = $2 \
         JOIN resource r ON r.rid = x.rid WHERE t.name = $1 AND NOT r.deleted ORDER BY r.last_updated, r.rid";
    const READ: &str = "SELECT r.content::text FROM resource r WHERE r.rid = $1 AND NOT r.deleted";
    let (url, wanted) = split_version(canonical);
    let query = sqlx::query_as(FIND).bind(resource_type).bind(key(url.into()));
    let mut found: Vec<(i64, Option<String>, Option<bool>)> = query.fetch_all(&mut *connection).await?;
    found.retain(|(_, version, _)| wanted.is_none() || wanted == version.as_deref());
    // The last of equal ones is taken.
    let best = found.into_iter().max_by(|(_, a, a_retired), (_, b, b_retired)| {
        let by_use = (*b_retired == Some(true)).cmp(&(*a_retired == Some(true)));
        by_use.then_with(|| compare_versions(a.as_deref(), b.as_deref()))
    });
    let Some((rid, ..)) = best else { return Ok(None) };
    let json: Option<String> = sqlx::query_scalar(READ).bind(rid).fetch_optional(connection).await?;
    json.map(|json| read(&json)).transpose()
}

fn read(json: &str) -> Result<Value, FhirError> {
    serde_json::from_str(json).map_err(FhirError::internal)
}
