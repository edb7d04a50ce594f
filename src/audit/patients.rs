//! Whom records concern: the Patients that a resource belongs to, by the parameters of their compartment
//! (<https://hl7.org/fhir/R4/compartmentdefinition-patient.html>), and those that a query names.
//!
//! What was shown or changed is a version of a resource. Of the current one the index tells the Patients; one that was
//! superseded in the meantime is read again. So it does not matter that this is asked some moments later.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use sqlx::PgConnection;

use crate::fhir::error::FhirError;
use crate::fhir::search::SearchRegistry;
use crate::fhir::search::types::reference::Target;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Shown};

/// Ids of Patients.
pub type Ids = BTreeSet<String>;

const PATIENT: &str = "Patient";

/// Looks at AuditEvents are records of their own; they do not multiply by the patients that these name.
const LEFT_OUT: &str = "AuditEvent";

/// The current state of what a version belongs to.
struct Current {
    rid: i64,
    type_id: i16,
    version: i32,
    /// Where it is a Patient.
    id: Option<String>,
}

/// The Patients of each version.
///
/// # Errors
/// 503 when the database cannot answer.
pub async fn of_versions(
    server: &FhirServer,
    connection: &mut PgConnection,
    versions: &BTreeSet<Shown>,
) -> Result<HashMap<Shown, Ids>, FhirError> {
    // Each by primary keys or whole index keys: the plan is made once, for tables of any size.
    const TIED: &str = "SELECT x.rid, p.id FROM unnest($1::bigint[], $2::smallint[]) AS t (rid, param) \
         JOIN idx_reference x ON x.param = t.param AND x.rid = t.rid \
         JOIN resource p ON p.rid = x.target WHERE p.type = $3";
    const SUPERSEDED: &str = "SELECT h.rid, h.version, h.type, coalesce(h.exact, h.content::text) \
         FROM unnest($1::bigint[], $2::int[]) AS w (rid, version) \
              JOIN resource_history h ON h.rid = w.rid AND h.version = w.version WHERE NOT h.deleted";
    let mut found: HashMap<Shown, Ids> = HashMap::new();
    let Some(patient) = server.store.types().id(PATIENT) else {
        return Ok(found);
    };
    if versions.is_empty() {
        return Ok(found);
    }
    let registry = server.search.current();
    let ties = ties(server, &registry)?;
    let current = current(server, connection, patient, versions).await?;
    let mut now: HashMap<i64, Vec<Shown>> = HashMap::new();
    let (mut rids, mut params): (Vec<i64>, Vec<i16>) = (Vec::new(), Vec::new());
    let mut superseded = Vec::new();
    for (&version, current) in &current {
        if let Some(id) = &current.id {
            found.entry(version).or_default().insert(id.clone());
        } else if current.version != version.1 {
            superseded.push(version);
        } else {
            let same = now.entry(current.rid).or_default();
            if same.is_empty() {
                let params_of = ties.get(&current.type_id).map_or(&[][..], Vec::as_slice);
                rids.extend(params_of.iter().map(|_| current.rid));
                params.extend(params_of);
            }
            same.push(version);
        }
    }
    if !rids.is_empty() {
        let rows: Vec<(i64, String)> = sqlx::query_as(TIED)
            .bind(rids)
            .bind(params)
            .bind(patient)
            .fetch_all(&mut *connection)
            .await?;
        for (rid, id) in rows {
            for version in now.get(&rid).into_iter().flatten() {
                found.entry(*version).or_default().insert(id.clone());
            }
        }
    }
    if !superseded.is_empty() {
        let (rids, numbers): (Vec<i64>, Vec<i32>) = superseded.into_iter().unzip();
        let rows: Vec<(i64, i32, i16, String)> = sqlx::query_as(SUPERSEDED)
            .bind(rids)
            .bind(numbers)
            .fetch_all(connection)
            .await?;
        for (rid, version, type_id, text) in rows {
            let ids = named_by(server, &registry, &ties, type_id, &text)?;
            found.entry((rid, version)).or_default().extend(ids);
        }
    }
    Ok(found)
}

/// What each version belongs to now: the resource, or that which contains it.
async fn current(
    server: &FhirServer,
    connection: &mut PgConnection,
    patient: i16,
    versions: &BTreeSet<Shown>,
) -> Result<HashMap<Shown, Current>, FhirError> {
    const FIND: &str = "SELECT r.rid, r.type, r.version, CASE WHEN r.type = $2 THEN r.id END \
         FROM unnest($1::bigint[]) AS w (rid) JOIN resource r ON r.rid = w.rid";
    const CONTAINED: &str = "SELECT rid, container FROM contained WHERE type = ANY ($1) AND rid = ANY ($2)";
    type Row = (i64, i16, i32, Option<String>);
    let mut wanted: BTreeSet<i64> = versions.iter().map(|(rid, _)| *rid).collect();
    let mut containers: HashMap<i64, i64> = HashMap::new();
    let mut known: HashMap<i64, Row> = HashMap::new();
    for round in 0..2 {
        let rids: Vec<i64> = wanted.iter().copied().collect();
        let rows: Vec<Row> = sqlx::query_as(FIND)
            .bind(rids)
            .bind(patient)
            .fetch_all(&mut *connection)
            .await?;
        known.extend(rows.into_iter().map(|row| (row.0, row)));
        let missing: Vec<i64> = wanted.iter().filter(|rid| !known.contains_key(rid)).copied().collect();
        if missing.is_empty() || round > 0 {
            break;
        }
        let types: Vec<i16> = server
            .definitions
            .resource_types()
            .filter_map(|ty| server.store.types().id(&ty.name))
            .collect();
        let rows: Vec<(i64, i64)> = sqlx::query_as(CONTAINED)
            .bind(types)
            .bind(missing)
            .fetch_all(&mut *connection)
            .await?;
        wanted = rows.iter().map(|(_, container)| *container).collect();
        containers.extend(rows);
    }
    let of = |version: &Shown| {
        let rid = containers.get(&version.0).copied().unwrap_or(version.0);
        let (rid, type_id, number, id) = known.get(&rid)?.clone();
        Some(Current {
            rid,
            type_id,
            // What is contained has no versions of its own.
            version: if rid == version.0 { number } else { version.1 },
            id,
        })
    };
    Ok(versions
        .iter()
        .filter_map(|version| Some((*version, of(version)?)))
        .collect())
}

/// The Patients to whom a version of the past belonged.
fn named_by(
    server: &FhirServer,
    registry: &SearchRegistry,
    ties: &HashMap<i16, Vec<i16>>,
    type_id: i16,
    text: &str,
) -> Result<Ids, FhirError> {
    let content: Value = serde_json::from_str(text).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    let name = server.store.types().name(type_id).unwrap_or_default();
    let params = ties.get(&type_id).map_or(&[][..], Vec::as_slice);
    let rows = registry.rows(name, &content)?.reference;
    let ids = rows
        .iter()
        .filter(|row| params.contains(&row.param))
        .filter_map(|row| match row.target {
            Target::Local(PATIENT, id) => Some(id.to_owned()),
            _ => None,
        });
    Ok(ids.collect())
}

/// By type, the numbers of the parameters that tie resources to a Patient.
fn ties(server: &FhirServer, registry: &SearchRegistry) -> Result<HashMap<i16, Vec<i16>>, FhirError> {
    let mut ties: HashMap<i16, Vec<i16>> = HashMap::new();
    for (name, param) in registry.patient_ties()? {
        if let Some(type_id) = server.store.types().id(name).filter(|_| name != LEFT_OUT) {
            ties.entry(type_id).or_default().push(param);
        }
    }
    Ok(ties)
}

/// The ids in a query that are meant to be those of Patients: `patient=7`, `subject=Patient/7`, `Patient?_id=7`,
/// `Patient/7/Observation`.
pub fn named(event: &Event) -> Ids {
    let mut ids = Ids::new();
    let Some(request) = &event.request else { return ids };
    let (path, query) = request.split_once('?').unwrap_or((request, ""));
    let mut segments = path.split('/');
    let resource_type = segments.next().unwrap_or_default();
    if let (PATIENT, Some(id)) = (resource_type, segments.next())
        && !id.starts_with(['$', '_'])
    {
        ids.insert(id.to_owned());
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let (code, modifier) = name
            .split_once(':')
            .map_or((&*name, ""), |(code, modifier)| (code, modifier));
        let is_about = match code {
            "patient" | "subject" => matches!(modifier, "" | PATIENT),
            "_id" => resource_type == PATIENT && modifier.is_empty(),
            _ => false,
        };
        if is_about {
            let values = value.split(',');
            let own = values.map(|value| value.rsplit_once("Patient/").map_or(value, |(_, id)| id));
            ids.extend(own.filter(|id| !id.contains('/')).map(str::to_owned));
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::trail::Kind;

    #[test]
    fn queries_name_patients() {
        let named = |request: &str| {
            let event = Event::new(Kind::SearchType).request(request);
            named(&event).into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("Observation?patient=1&code=x"), "1");
        assert_eq!(named("Observation?subject=Patient%2F1,Patient/2&status=final"), "1 2");
        assert_eq!(named("Observation?subject:Patient=1"), "1");
        assert_eq!(named("Observation?subject=http://x.org/fhir/Patient/3"), "3");
        assert_eq!(
            named("Observation?subject=Group/1&patient.name=7&subject:missing=true"),
            ""
        );
        assert_eq!(named("Patient?_id=1,2"), "1 2");
        assert_eq!(named("Observation?_id=1"), "");
        assert_eq!(named("Patient/1/Observation?code=x"), "1");
        assert_eq!(named("Patient/_history"), "");
        assert_eq!(named("Patient/$everything"), "");
    }
}
