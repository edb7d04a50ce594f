//! Whom a write may name.

use sqlx::PgConnection;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Micros;

/// Of the resources that a caller has just written (rid and type), one that names a Patient out of the caller's reach.
///
/// That a resource is about a patient of theirs is not enough: it could be about somebody else besides, and a second
/// participant of an Appointment would be tied to whoever adds them. So every Patient that it refers to by a search
/// parameter must be the caller, somebody whom they care for by another resource than these, or written here as well.
/// Whoever broke the glass may look, and tie nobody.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn check_reach(
    server: &FhirServer,
    connection: &mut PgConnection,
    caller: &Caller,
    written: &[(i64, &str)],
) -> Result<Option<i64>, FhirError> {
    const SQL: &str = "SELECT x.rid FROM idx_reference x JOIN resource p ON p.rid = x.target \
         WHERE x.param = ANY($1) AND x.rid = ANY($2) AND p.type = $3 AND p.rid <> ALL($2) AND p.rid <> ALL($4) \
           AND NOT EXISTS (SELECT FROM care_relation c WHERE c.holder = ANY($5) AND c.patient = p.rid \
               AND c.starts <= $6 AND c.ends > $6 AND c.source <> 0 AND c.source <> ALL($2)) LIMIT 1";
    let Some(user) = caller.user() else {
        return Ok(None);
    };
    let registry = server.search.current();
    let mut params: Vec<i16> = Vec::new();
    for (_, resource_type) in written {
        let references = registry
            .parameters(resource_type)
            .filter(|parameter| parameter.refers());
        params.extend(references.map(|parameter| parameter.id));
    }
    params.sort_unstable();
    params.dedup();
    let rids: Vec<i64> = written.iter().map(|(rid, _)| *rid).collect();
    Ok(sqlx::query_scalar(SQL)
        .bind(params)
        .bind(rids)
        .bind(server.store.types().id("Patient"))
        .bind(&user.holders.patients)
        .bind(&user.holders.all)
        .bind(Micros::from(server.clock.now()))
        .fetch_optional(connection)
        .await?)
}
