//! What applications are opened about (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>).
//!
//! A launch is made for one application and one session, and is good once and for minutes: whoever else gets hold of it
//! learns nothing by it.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgExecutor, Row};

use super::AuthServer;
use crate::base::crypto;
use crate::fhir::error::FhirError;
use crate::fhir::trail::Event;

/// How long a launch waits until the person has decided about it.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// What an application is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The id of a Patient.
    pub patient: Option<String>,
    /// The id of an Encounter of this patient.
    pub encounter: Option<String>,
    /// `intent`, `need_patient_banner`, `fhirContext`, as the answer to the application shows them.
    pub rest: Map<String, Value>,
}

impl Context {
    /// Reads the columns `patient`, `encounter` and `context`.
    pub(super) fn of_row(row: &PgRow) -> Result<Context, sqlx::Error> {
        let rest: Option<Json<Map<String, Value>>> = row.try_get("context")?;
        Ok(Context {
            patient: row.try_get("patient")?,
            encounter: row.try_get("encounter")?,
            rest: rest.map(|rest| rest.0).unwrap_or_default(),
        })
    }

    /// Adds it to what an application is told.
    pub fn add_to(&self, answer: &mut Value) {
        for (name, id) in [("patient", &self.patient), ("encounter", &self.encounter)] {
            if let Some(id) = id {
                answer[name] = json!(id);
            }
        }
        for (name, value) in &self.rest {
            answer[name] = value.clone();
        }
    }
}

/// Makes a launch of `client` within `session`, and records who opens it about whom; gives its secret, which the application hands
/// back. `by` is an event of [`Kind::Launch`](crate::fhir::trail::Kind::Launch) that says who.
///
/// # Errors
/// Those of the database.
pub async fn make(
    auth: &AuthServer,
    client: &str,
    session: &str,
    context: &Context,
    by: Event,
) -> Result<String, FhirError> {
    let mut event = by.detail("opens", client);
    if let Some(patient) = &context.patient {
        event = event.patient(patient);
    }
    if let Some(encounter) = &context.encounter {
        event = event.resource("Encounter", encounter, None);
    }
    let mut transaction = auth.pool.begin().await?;
    let secret = store(&mut *transaction, auth.clock.now(), client, session, context).await?;
    auth.fhir.trail.write(&mut transaction, &[event]).await?;
    transaction.commit().await?;
    Ok(secret)
}

/// Stores a launch without a record of it; gives its secret. For [`make`], and for tests.
///
/// # Errors
/// Those of the database.
pub async fn store(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    client: &str,
    session: &str,
    context: &Context,
) -> Result<String, sqlx::Error> {
    let secret = crypto::random_token();
    sqlx::query(
        "INSERT INTO launch (hash, client, session, patient, encounter, context, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(crypto::digest(&secret))
    .bind(client)
    .bind(session)
    .bind(&context.patient)
    .bind(&context.encounter)
    .bind(Json(&context.rest))
    .bind(now.saturating_add(LIFE).unwrap_or(now).to_sqlx())
    .execute(database)
    .await?;
    Ok(secret)
}

/// What a launch is about, without using it up.
///
/// # Errors
/// Those of the database.
pub async fn find(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    client: &str,
    session: &str,
    secret: &str,
) -> Result<Option<Context>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT patient, encounter, context FROM launch
         WHERE hash = $1 AND client = $2 AND session = $3 AND expires_at > $4",
    )
    .bind(crypto::digest(secret))
    .bind(client)
    .bind(session)
    .bind(now.to_sqlx())
    .fetch_optional(database)
    .await?;
    row.as_ref().map(Context::of_row).transpose()
}

/// Uses a launch up. Whether it was still there: of two that come at the same time, one does.
///
/// # Errors
/// Those of the database.
pub async fn take(database: impl PgExecutor<'_>, secret: &str) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query("DELETE FROM launch WHERE hash = $1")
        .bind(crypto::digest(secret))
        .execute(database)
        .await?;
    Ok(taken.rows_affected() == 1)
}
