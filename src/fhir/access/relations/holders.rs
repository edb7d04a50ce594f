//! Whom a user stands behind.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::fhir::caller::Holders;
use crate::fhir::error::FhirError;
use crate::fhir::search::SearchRegistry;
use crate::fhir::store::TypeNames;

/// The resources that the user `Practitioner/7` or the like stands behind at `now`, with the id of their Person: themselves,
/// whom their Person links to, their PractitionerRoles of the moment and the Organizations of these. Their own records are
/// those of the Patients among them.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn holders(
    connection: &mut PgConnection,
    registry: &SearchRegistry,
    types: &TypeNames,
    now: Timestamp,
    user: &str,
    person: &str,
) -> Result<Holders, FhirError> {
    // A role that says nothing about being active, or of its time, is one.
    const SQL: &str = "WITH link AS MATERIALIZED (\
             SELECT r.rid FROM resource r WHERE r.type = $1 AND r.id = $2 \
             UNION SELECT x.target FROM resource p JOIN idx_reference x ON x.param = $5 AND x.rid = p.rid \
             WHERE p.type = $3 AND p.id = $4 AND x.target IS NOT NULL), \
         role AS MATERIALIZED (\
             SELECT x.rid FROM link JOIN idx_reference x ON x.param = $6 AND x.target = link.rid \
             WHERE NOT EXISTS (SELECT FROM idx_token t WHERE t.param = $7 AND t.rid = x.rid AND t.code = 'false') \
               AND NOT EXISTS (SELECT FROM idx_date d WHERE d.param = $8 AND d.rid = x.rid \
                               AND NOT (d.low <= $10 AND d.high > $10))) \
         SELECT rid, type FROM resource WHERE NOT deleted AND rid IN (SELECT rid FROM link UNION SELECT rid FROM role \
             UNION SELECT x.target FROM role JOIN idx_reference x ON x.param = $9 AND x.rid = role.rid) ORDER BY rid";
    let number = |resource_type, code| {
        let parameter = registry.parameter(resource_type, code);
        let parameter = parameter.ok_or_else(|| FhirError::internal("a parameter of R4 is missing"))?;
        Ok::<i16, FhirError>(parameter.id)
    };
    let (resource_type, id) = user.split_once('/').unwrap_or_default();
    let rows: Vec<(i64, i16)> = sqlx::query_as(SQL)
        .bind(types.id(resource_type))
        .bind(id)
        .bind(types.id("Person"))
        .bind(person)
        .bind(number("Person", "link")?)
        .bind(number("PractitionerRole", "practitioner")?)
        .bind(number("PractitionerRole", "active")?)
        .bind(number("PractitionerRole", "date")?)
        .bind(number("PractitionerRole", "organization")?)
        .bind(now.to_sqlx())
        .fetch_all(connection)
        .await?;
    let is_patient = |ty: i16| types.name(ty) == Some("Patient");
    Ok(Holders {
        patients: rows
            .iter()
            .filter(|(_, ty)| is_patient(*ty))
            .map(|(rid, _)| *rid)
            .collect(),
        all: rows.into_iter().map(|(rid, _)| rid).collect(),
    })
}
