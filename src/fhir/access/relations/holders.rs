//! Whom a user stands behind.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::fhir::caller::Holders;
use crate::fhir::error::FhirError;
use crate::fhir::search::SearchRegistry;
use crate::fhir::store::{Micros, TypeNames};

/// The resources that the user `Practitioner/7` or the like stands behind at `now`, with the id of their Person: themselves,
/// whom their Person links to, their PractitionerRoles of the moment and the Organizations of these. Their own records are
/// those of the Patients among them. And the next instant at which one of these roles begins or ends.
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
) -> Result<(Holders, Option<Timestamp>), FhirError> {
    // A role that says nothing about being active, or of its time, is one.
    const SQL: &str = "WITH link AS MATERIALIZED (\
             SELECT r.rid FROM resource r WHERE r.type = $1 AND r.id = $2 \
             UNION SELECT x.target FROM resource p JOIN idx_reference x ON x.param = $5 AND x.rid = p.rid \
             WHERE p.type = $3 AND p.id = $4 AND x.target IS NOT NULL), \
         any_role AS MATERIALIZED (\
             SELECT x.rid FROM link JOIN idx_reference x ON x.param = $6 AND x.target = link.rid \
             WHERE NOT EXISTS (SELECT FROM idx_token t WHERE t.param = $7 AND t.rid = x.rid AND t.code = 'false')), \
         role AS MATERIALIZED (\
             SELECT r.rid FROM any_role r \
             WHERE NOT EXISTS (SELECT FROM idx_date d WHERE d.param = $8 AND d.rid = r.rid \
                               AND NOT (d.low <= $10 AND d.high > $10))) \
         SELECT rid, type, NULL FROM resource WHERE NOT deleted AND rid IN (SELECT rid FROM link UNION SELECT rid FROM role \
             UNION SELECT x.target FROM role JOIN idx_reference x ON x.param = $9 AND x.rid = role.rid) \
         UNION ALL SELECT NULL, NULL, min(turn) FROM any_role r JOIN idx_date d ON d.param = $8 AND d.rid = r.rid \
             CROSS JOIN LATERAL (VALUES (d.low), (d.high)) AS turns (turn) WHERE turn > $10 \
         ORDER BY 1";
    let number = |resource_type, code| {
        let parameter = registry.parameter(resource_type, code);
        let parameter = parameter.ok_or_else(|| FhirError::internal("a parameter of R4 is missing"))?;
        Ok::<i16, FhirError>(parameter.id)
    };
    let (resource_type, id) = user.split_once('/').unwrap_or_default();
    let rows: Vec<(Option<i64>, Option<i16>, Option<Micros>)> = sqlx::query_as(SQL)
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
    let until = rows.iter().find_map(|(.., turn)| Some((*turn)?.timestamp()));
    let found = rows.into_iter().filter_map(|(rid, ty, _)| rid.zip(ty));
    let (mut all, mut patients) = (Vec::new(), Vec::new());
    for (rid, ty) in found {
        all.push(rid);
        if types.name(ty) == Some("Patient") {
            patients.push(rid);
        }
    }
    Ok((Holders { all, patients }, until))
}
