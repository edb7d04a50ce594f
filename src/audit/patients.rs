//! Whom records concern: the Patients that a resource belongs to, by the parameters of their compartment
//! (<https://hl7.org/fhir/R4/compartmentdefinition-patient.html>), and those that a query names.
//!
//! What was shown or changed is a version of a resource. Of the current one the index tells the Patients; one that was
//! superseded in the meantime is read again. So it does not matter that this is asked some moments later.

use std::collections::{BTreeSet, HashMap, HashSet};

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

/// The Patients of each version.
///
/// # Errors
/// 503 when the database cannot answer.
pub async fn of_versions(
    server: &FhirServer,
    connection: &mut PgConnection,
    versions: &BTreeSet<Shown>,
) -> Result<HashMap<Shown, Ids>, FhirError> {
    // A contained resource belongs to whom its container belongs to.
    const CURRENT: &str = "SELECT w.rid, w.version, p.id \
         FROM unnest($1::bigint[], $2::int[]) AS w (rid, version) \
              LEFT JOIN contained i ON i.rid = w.rid \
              JOIN resource r ON r.rid = coalesce(i.container, w.rid) AND r.version = w.version \
              JOIN unnest($3::smallint[], $4::smallint[]) AS tie (type, param) ON tie.type = r.type \
              JOIN idx_reference x ON x.param = tie.param AND x.rid = r.rid \
              JOIN resource p ON p.rid = x.target AND p.type = $5 \
         UNION \
         SELECT w.rid, w.version, r.id \
         FROM unnest($1::bigint[], $2::int[]) AS w (rid, version) JOIN resource r ON r.rid = w.rid \
         WHERE r.type = $5";
    const SUPERSEDED: &str = "SELECT h.rid, h.version, h.type, coalesce(h.exact, h.content::text) \
         FROM unnest($1::bigint[], $2::int[]) AS w (rid, version) \
              JOIN resource_history h ON h.rid = w.rid AND h.version = w.version \
         WHERE NOT h.deleted AND h.type <> $3";
    let mut found: HashMap<Shown, Ids> = HashMap::new();
    let Some(patient) = server.store.types().id(PATIENT) else {
        return Ok(found);
    };
    if versions.is_empty() {
        return Ok(found);
    }
    let registry = server.search.current();
    let ties = ties(server, &registry)?;
    let (rids, numbers): (Vec<i64>, Vec<i32>) = versions.iter().copied().unzip();
    let (types, params): (Vec<i16>, Vec<i16>) = ties.iter().copied().unzip();
    let rows: Vec<(i64, i32, String)> = sqlx::query_as(CURRENT)
        .bind(&rids)
        .bind(&numbers)
        .bind(&types)
        .bind(&params)
        .bind(patient)
        .fetch_all(&mut *connection)
        .await?;
    for (rid, version, id) in rows {
        found.entry((rid, version)).or_default().insert(id);
    }
    let rows: Vec<(i64, i32, i16, String)> = sqlx::query_as(SUPERSEDED)
        .bind(&rids)
        .bind(&numbers)
        .bind(patient)
        .fetch_all(connection)
        .await?;
    let ties: HashSet<(i16, i16)> = ties.into_iter().collect();
    for (rid, version, type_id, text) in rows {
        let content: Value =
            serde_json::from_str(&text).map_err(|_| FhirError::internal("stored content is not JSON"))?;
        let name = server.store.types().name(type_id).unwrap_or_default();
        for row in registry.rows(name, &content)?.reference {
            if let Target::Local(PATIENT, id) = row.target
                && ties.contains(&(type_id, row.param))
            {
                found.entry((rid, version)).or_default().insert(id.to_owned());
            }
        }
    }
    Ok(found)
}

/// Pairs of a type and the number of a parameter that ties its resources to a Patient.
fn ties(server: &FhirServer, registry: &SearchRegistry) -> Result<Vec<(i16, i16)>, FhirError> {
    let types = server.store.types();
    let ties = registry.ties(PATIENT)?;
    let ties = ties.into_iter().filter(|(name, _)| *name != LEFT_OUT);
    Ok(ties
        .filter_map(|(name, param)| Some((types.id(name)?, param)))
        .collect())
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
