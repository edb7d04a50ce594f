//! The tables of this room: which time is taken, and what lapses. Written by the [`guard`](super::guard) alone.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, Row};

use super::availability::Span;
use super::names::PARAMETERS;
use crate::fhir::error::FhirError;
use crate::fhir::store::Micros;

/// Time that a Slot takes.
#[derive(Clone, Debug)]
pub struct Entry {
    pub slot: i64,
    /// Id of the Schedule.
    pub schedule: String,
    /// `None` where it does not end after it begins, or where what it occupies does not lie around it.
    pub taken: Option<Span>,
    /// `busy-unavailable`
    pub blocked: bool,
}

/// What everybody is told who comes second.
pub fn taken() -> FhirError {
    FhirError::conflict(
        "This time is taken. Ask Appointment/$find for the times that are free, and choose another one.",
    )
}

fn micros(seconds: i64) -> Micros {
    Micros(seconds.saturating_mul(1_000_000))
}

/// What the Slots with these rids took is free again. Answers the Appointments that they were of, by Slot.
pub async fn free(connection: &mut PgConnection, slots: &[i64]) -> Result<HashMap<i64, i64>, sqlx::Error> {
    let freed: Vec<(i64, Option<i64>)> =
        sqlx::query_as("DELETE FROM calendar_entry WHERE slot = ANY ($1) RETURNING slot, appointment")
            .bind(slots)
            .fetch_all(connection)
            .await?;
    Ok(freed
        .into_iter()
        .filter_map(|(slot, appointment)| Some((slot, appointment?)))
        .collect())
}

/// Takes time for Slots; `keepers` are the Appointments that some of them belong to already. Slots of a Schedule without
/// `scheduling-parameters`, or of one that is not here, are none of ours.
///
/// Whoever takes or blocks time of a Schedule first holds its row until the transaction ends, so that a visit and an
/// absence that cross each other see each other. That two visits never overlap is the table's own constraint.
///
/// # Errors
/// 409 for time that is taken, 422 for a Slot without a length.
pub async fn take(
    connection: &mut PgConnection,
    entries: &[Entry],
    keepers: &HashMap<i64, i64>,
) -> Result<(), FhirError> {
    const LOCK: &str = "SELECT r.id, r.rid FROM resource r \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Schedule') AND r.id = ANY ($1) AND NOT r.deleted \
           AND r.content->'extension' @> jsonb_build_array(jsonb_build_object('url', $2::text)) \
         ORDER BY r.rid FOR NO KEY UPDATE OF r";
    const ADD: &str = "INSERT INTO calendar_entry (slot, schedule, starts, ends, blocked, appointment) \
         SELECT n.slot, n.schedule, n.starts, n.ends, n.blocked, n.appointment \
         FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::bool[], $6::bigint[]) \
              AS n (slot, schedule, starts, ends, blocked, appointment) \
         WHERE n.blocked OR NOT EXISTS (SELECT FROM calendar_entry e WHERE e.schedule = n.schedule \
               AND e.ends > n.starts AND e.starts < n.ends AND e.blocked)";
    if entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = entries.iter().map(|entry| entry.schedule.as_str()).collect();
    let schedules: Vec<(String, i64)> = sqlx::query_as(LOCK)
        .bind(ids)
        .bind(PARAMETERS)
        .fetch_all(&mut *connection)
        .await?;
    let schedules: HashMap<String, i64> = schedules.into_iter().collect();
    let mut ours: Vec<(&Entry, i64, Span)> = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(schedule) = schedules.get(&entry.schedule) {
            let taken = entry.taken.ok_or_else(|| {
                let text = "A Slot ends after it begins, within what it occupies.";
                FhirError::unprocessable(text).at("Slot.end")
            })?;
            ours.push((entry, *schedule, taken));
        }
    }
    if ours.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&Span) -> i64| {
        ours.iter()
            .map(|(.., taken)| micros(value(taken)))
            .collect::<Vec<Micros>>()
    };
    let added = sqlx::query(ADD)
        .bind(ours.iter().map(|(entry, ..)| entry.slot).collect::<Vec<i64>>())
        .bind(ours.iter().map(|(_, schedule, _)| *schedule).collect::<Vec<i64>>())
        .bind(column(|taken| taken.start))
        .bind(column(|taken| taken.end))
        .bind(ours.iter().map(|(entry, ..)| entry.blocked).collect::<Vec<bool>>())
        .bind(
            ours.iter()
                .map(|(entry, ..)| keepers.get(&entry.slot).copied())
                .collect::<Vec<Option<i64>>>(),
        )
        .execute(connection)
        .await;
    match added {
        Ok(done) if done.rows_affected() == ours.len() as u64 => Ok(()),
        // One of them lies in a time that was blocked.
        Ok(_) => Err(taken()),
        Err(error) if is_overlap(&error) => Err(taken()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the table's constraint said that a time is taken.
fn is_overlap(error: &sqlx::Error) -> bool {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    constraint == Some("calendar_entry_once")
}

/// A Slot as an Appointment that fills it must agree with it.
#[derive(Debug)]
pub struct Filled {
    pub id: String,
    pub status: String,
    pub start: String,
    pub end: String,
}

/// Gives Slots to an Appointment. Those that are missing from the answer are none, take no time, or are another's.
pub async fn fill(connection: &mut PgConnection, appointment: i64, slots: &[&str]) -> Result<Vec<Filled>, sqlx::Error> {
    const SQL: &str = "UPDATE calendar_entry e SET appointment = $1 FROM resource r \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Slot') AND r.id = ANY ($2) AND e.slot = r.rid \
           AND NOT e.blocked AND (e.appointment IS NULL OR e.appointment = $1) \
         RETURNING r.id, r.content->>'status', r.content->>'start', r.content->>'end'";
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(SQL)
        .bind(appointment)
        .bind(slots)
        .fetch_all(connection)
        .await?;
    let filled = rows
        .into_iter()
        .map(|(id, status, start, end)| Filled { id, status, start, end });
    Ok(filled.collect())
}

/// Whether any of these Slots is in a calendar.
pub async fn any_entry(connection: &mut PgConnection, slots: &[&str]) -> Result<bool, sqlx::Error> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM resource r JOIN calendar_entry e ON e.slot = r.rid \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Slot') AND r.id = ANY ($1))";
    sqlx::query_scalar(SQL).bind(slots).fetch_one(connection).await
}

/// How many Slots an Appointment fills.
pub async fn filled(connection: &mut PgConnection, appointment: i64) -> Result<usize, sqlx::Error> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM calendar_entry WHERE appointment = $1")
        .bind(appointment)
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Notes when an Appointment lapses, or that it does not.
pub async fn set_expiry(
    connection: &mut PgConnection,
    appointment: i64,
    at: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    const SET: &str = "INSERT INTO appointment_expiry (appointment, expires_at) VALUES ($1, $2) \
         ON CONFLICT (appointment) DO UPDATE SET expires_at = excluded.expires_at";
    let query = match at {
        Some(at) => sqlx::query(SET).bind(appointment).bind(Micros::from(at)),
        None => sqlx::query("DELETE FROM appointment_expiry WHERE appointment = $1").bind(appointment),
    };
    query.execute(connection).await?;
    Ok(())
}

/// Ids of Appointments that have lapsed by `now`, the longest overdue first; of one Schedule (by its rid), or of all.
pub async fn lapsed(
    connection: &mut PgConnection,
    now: Timestamp,
    schedule: Option<i64>,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    const SQL: &str = "SELECT r.id FROM appointment_expiry x JOIN resource r ON r.rid = x.appointment \
         WHERE x.expires_at <= $1 AND ($2::bigint IS NULL OR EXISTS ( \
               SELECT FROM calendar_entry e WHERE e.appointment = x.appointment AND e.schedule = $2)) \
         ORDER BY x.expires_at, x.appointment LIMIT $3";
    sqlx::query_scalar(SQL)
        .bind(Micros::from(now))
        .bind(schedule)
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// What is taken in `range`, by rid of the Schedule and in order, apart from what has lapsed by `now` and from what the
/// Appointment with the id `ignoring` takes.
pub async fn busy(
    connection: &mut PgConnection,
    schedules: &[i64],
    range: Span,
    now: Timestamp,
    ignoring: Option<&str>,
) -> Result<HashMap<i64, Vec<Span>>, sqlx::Error> {
    // Arrays per schedule: a row for each of the visits of a large practice takes longer to send than to find.
    const SQL: &str = "SELECT e.schedule, array_agg(e.starts), array_agg(e.ends) \
         FROM calendar_entry e WHERE e.schedule = ANY ($1) AND e.ends > $2 AND e.starts < $3 \
           AND (e.appointment IS NULL OR NOT e.appointment = ANY (ARRAY( \
                SELECT x.appointment FROM appointment_expiry x WHERE x.expires_at <= $4 \
                UNION ALL SELECT r.rid FROM resource r \
                WHERE r.type = (SELECT id FROM resource_type WHERE name = 'Appointment') AND r.id = $5))) \
         GROUP BY e.schedule";
    let rows = sqlx::query(SQL)
        .bind(schedules)
        .bind(micros(range.start))
        .bind(micros(range.end))
        .bind(Micros::from(now))
        .bind(ignoring)
        .fetch_all(connection)
        .await?;
    let mut busy = HashMap::with_capacity(rows.len());
    for row in rows {
        let (starts, ends): (Vec<Micros>, Vec<Micros>) = (row.try_get(1)?, row.try_get(2)?);
        let spans = starts.iter().zip(&ends).map(|(start, end)| Span {
            start: start.0.div_euclid(1_000_000),
            end: end.0.div_euclid(1_000_000),
        });
        // Sorted here: PostgreSQL takes longer.
        let mut spans: Vec<Span> = spans.collect();
        spans.sort_unstable();
        busy.insert(row.try_get(0)?, spans);
    }
    Ok(busy)
}

/// Ids of the Appointments that fill time of a Schedule in `range`, by their beginning.
pub async fn visits(connection: &mut PgConnection, schedule: i64, range: Span) -> Result<Vec<String>, sqlx::Error> {
    const SQL: &str = "SELECT r.id FROM calendar_entry e JOIN resource r ON r.rid = e.appointment \
         WHERE e.schedule = $1 AND e.ends > $2 AND e.starts < $3 ORDER BY e.starts";
    sqlx::query_scalar(SQL)
        .bind(schedule)
        .bind(micros(range.start))
        .bind(micros(range.end))
        .fetch_all(connection)
        .await
}
