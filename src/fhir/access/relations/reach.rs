//! Whom a write may name, and which ties it leaves standing.

use std::collections::HashSet;

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

/// Types whose resources go on tying their writer while a write is judged. (A Consent is its patient's word, not its writer's.)
const STANDING: [&str; 5] = ["Appointment", "CareTeam", "Encounter", "Patient", "RelatedPerson"];
/// As what former ties stand in `care_relation` while a write is judged.
const FORMER: i64 = -1;

/// How a resource ties a holder to a patient, by rid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tie {
    source: i64,
    holder: i64,
    patient: i64,
}

/// How these resources (rid and type) tie the caller to patients at this moment.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn ties_by(
    server: &FhirServer,
    connection: &mut PgConnection,
    caller: &Caller,
    resources: &[(i64, &str)],
) -> Result<HashSet<Tie>, FhirError> {
    const SQL: &str = "SELECT DISTINCT c.source, c.holder, c.patient FROM care_relation c \
         WHERE c.source = ANY($1) AND c.holder = ANY($2) AND c.starts <= $3 AND c.ends > $3";
    let standing = resources.iter().filter(|(_, ty)| STANDING.contains(ty));
    let rids: Vec<i64> = standing.map(|(rid, _)| *rid).collect();
    let Some(user) = caller.user().filter(|_| !rids.is_empty()) else {
        return Ok(HashSet::new());
    };
    let ties: Vec<(i64, i64, i64)> = sqlx::query_as(SQL)
        .bind(rids)
        .bind(&user.holders.all)
        .bind(Micros::from(server.clock.now()))
        .fetch_all(connection)
        .await?;
    let tie = |(source, holder, patient)| Tie {
        source,
        holder,
        patient,
    };
    Ok(ties.into_iter().map(tie).collect())
}

/// Lets ties stand that a write has ended, or may have brought about itself, until it is judged: who is to see a patient may
/// note on the appointment that the patient came, or did not. Those of resources that tie the caller to anybody new do not.
/// They are of this transaction alone, and [`let_fall`] takes them away again.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn let_stand(
    connection: &mut PgConnection,
    former: &HashSet<Tie>,
    present: &HashSet<Tie>,
) -> Result<(), FhirError> {
    const SQL: &str = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
         SELECT n.holder, n.patient, $3, '-infinity', 'infinity' \
         FROM unnest($1::bigint[], $2::bigint[]) AS n (holder, patient)";
    let new: HashSet<i64> = present.difference(former).map(|tie| tie.source).collect();
    let (holders, patients): (Vec<i64>, Vec<i64>) = former
        .iter()
        .filter(|tie| !new.contains(&tie.source))
        .map(|tie| (tie.holder, tie.patient))
        .unzip();
    if !holders.is_empty() {
        sqlx::query(SQL)
            .bind(holders)
            .bind(patients)
            .bind(FORMER)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Takes away what [`let_stand`] put there.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn let_fall(connection: &mut PgConnection) -> Result<(), FhirError> {
    sqlx::query("DELETE FROM care_relation WHERE source = $1")
        .bind(FORMER)
        .execute(connection)
        .await?;
    Ok(())
}
