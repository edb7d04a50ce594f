//! `$break-glass`: to reach the record of a patient in an emergency. An operation of this server's own.
//!
//! Whom the policies allow it gives a reason, and may then look into the patient's record for as long as they say, whatever
//! the patient has refused. The tie and its record in the trail are stored together; the patient finds it among the
//! AuditEvents of their record.
//!
//! | | status |
//! |---|---|
//! | done; the answer says how long it lasts | 200 |
//! | no reason, or none worth the name | 400 |
//! | who has no such right, or whose application acts for one patient only | 403 |
//! | there is no such Patient | 404 |

use futures::future::BoxFuture;
use jiff_sqlx::ToSqlx;
use serde_json::{Value, json};
use sqlx::Connection;

use super::ScopeContext;
use crate::fhir::caller::{Caller, User};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};
use crate::knowledge::profiles;

/// `$break-glass`
#[derive(Debug)]
pub struct BreakGlass;

/// Characters of a reason, from and to.
const REASON: std::ops::RangeInclusive<usize> = 5..=500;

impl Operation for BreakGlass {
    fn definition(&self) -> &Value {
        profiles::operation("break-glass")
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            let user = entitled(server, caller)?;
            let reason = input.parameters.text("reason").unwrap_or_default().trim();
            if !REASON.contains(&reason.chars().count()) {
                let text = "'reason' says in 5 to 500 characters why the record must be opened.";
                return Err(FhirError::bad_value(text));
            }
            open(server, caller, user, input.id.as_deref().unwrap_or_default(), reason).await
        })
    }
}

/// The user, if they may.
fn entitled<'c>(server: &FhirServer, caller: &'c Caller) -> Result<&'c User, FhirError> {
    let user = caller.user();
    let user = user.filter(|user| {
        let roles = &server.settings.policies.break_glass.roles;
        roles.iter().any(|role| role.name() == user.role.name())
    });
    let has_scope = caller
        .grant()
        .is_some_and(|granted| granted.scopes.iter().any(|scope| scope.context == ScopeContext::User));
    user.filter(|_| has_scope).ok_or_else(|| {
        FhirError::forbidden(
            "Only people of some roles may do this, through an application with scopes of theirs (user/…).",
        )
    })
}

async fn open(
    server: &FhirServer,
    caller: &Caller,
    user: &User,
    patient: &str,
    reason: &str,
) -> Result<Answer, FhirError> {
    const TIE: &str = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
         SELECT h.rid, p.rid, 0, $5, $6 FROM resource h, resource p \
         WHERE h.type = $1 AND h.id = $2 AND p.type = $3 AND p.id = $4 AND NOT p.deleted";
    let (user_type, user_id) = user.fhir_user.split_once('/').unwrap_or_default();
    let now = server.clock.now();
    let until = now
        .checked_add(server.settings.policies.break_glass.lasts)
        .map_err(|_| FhirError::internal("the time is out of range"))?;
    let mut lease = server.store.fixed().await?;
    let mut transaction = lease.begin().await?;
    let types = server.store.types();
    let tied = sqlx::query(TIE)
        .bind(types.id(user_type))
        .bind(user_id)
        .bind(types.id("Patient"))
        .bind(patient)
        .bind(now.to_sqlx())
        .bind(until.to_sqlx())
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    if tied == 0 {
        transaction.rollback().await?;
        lease.release();
        return Err(FhirError::not_found("Patient", patient));
    }
    let event = Event::new(Kind::BreakGlass)
        .by(caller)
        .resource("Patient", patient, None)
        .patient(patient)
        .reason(reason);
    server.trail.write(&mut transaction, &[event]).await?;
    transaction.commit().await?;
    lease.release();
    let period = json!({"start": instant(now), "end": instant(until)});
    let parameter = json!({"name": "period", "valuePeriod": period});
    Ok(Answer::with_value(
        &json!({"resourceType": "Parameters", "parameter": [parameter]}),
    ))
}
