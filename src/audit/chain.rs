//! AuditEvents out of records, each linked to the one before it.
//!
//! A link is a code under the key of the trail over its number, the link before, and the id and content of its AuditEvent.
//! Whoever has the database and not the key can change, add or take away nothing without breaking a link. What they can do
//! is cut off the end; so the last link is also kept elsewhere ([`anchor`](super::anchor)).

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::anchor::Anchor;
use super::balp::{self, Known, Place};
use super::patients;
use crate::fhir::commit;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;
use crate::fhir::trail::{Ending, Event, Key, Kind, Recorded, Shown};

/// Records that become AuditEvents in one transaction, at most.
const BATCH: i64 = 500;

/// Versions shown by them at most, beyond the first: their patients are looked up in one statement.
const SHOWN: usize = 10_000;

/// One at a time, whichever server: a link needs the one before it.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('audit.chain'), 0)";

/// Longest part of a foreign row that is kept as evidence.
const EVIDENCE: usize = 2_000;

/// The end of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// 0 before the first link.
    pub seq: i64,
    pub mac: Vec<u8>,
}

impl Head {
    /// The link that follows, for an AuditEvent with this id and content.
    ///
    /// # Errors
    /// When the content is not JSON.
    pub fn next(&self, key: &Key, id: &str, json: &str) -> Result<Head, serde_json::Error> {
        let content: Value = serde_json::from_str(json)?;
        let mut canonical = String::with_capacity(json.len());
        write_canonical(&content, &mut canonical);
        let seq = self.seq + 1;
        let parts = [&seq.to_be_bytes()[..], &self.mac, id.as_bytes(), canonical.as_bytes()];
        Ok(Head {
            seq,
            mac: key.sign("link", &parts),
        })
    }
}

/// The same text for the same content, in whatever order the database keeps its members.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in members {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// What one batch came to.
#[derive(Debug)]
pub struct Linked {
    /// Whether there may be more.
    pub is_full: bool,
    pub head: Head,
    /// Whether the link that was known before is still there.
    pub is_whole: bool,
}

/// A row of `audit_pending`.
struct Row {
    seq: i64,
    at: Timestamp,
    event: Event,
}

/// Makes AuditEvents of the records that wait, at most [`BATCH`]. `anchor` is the link that was last known to be the end.
///
/// # Errors
/// 503 when the database cannot do it now. Nothing is lost then: the records wait.
pub async fn link(server: &FhirServer, key: &Key, anchor: Option<&Anchor>) -> Result<Linked, FhirError> {
    const FORGET: &str = "DELETE FROM audit_pending WHERE seq = ANY ($1)";
    const ADD: &str = "INSERT INTO audit_chain (seq, rid, mac) \
         SELECT seq, rid, mac FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS new (seq, rid, mac)";
    let mut lease = server.store.fixed().await?;
    let mut ids = Ids::new(&server.store);
    let mut transaction = lease.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    let mut head = head(&mut transaction).await?;
    let is_whole = match anchor {
        Some(anchor) => holds(&mut transaction, anchor).await?,
        None => true,
    };
    let (mut rows, is_full) = waiting(server, &mut transaction).await?;
    if !is_whole && anchor.is_some_and(|anchor| !anchor.is_known_broken) {
        rows.push(alarm(server, "AuditEvents are missing at the end of the trail"));
    }
    if !rows.is_empty() {
        let stored = store(server, &mut transaction, &mut ids, &rows).await?;
        let (mut seqs, mut rids, mut macs) = (Vec::new(), Vec::new(), Vec::new());
        for event in &stored {
            head = head
                .next(key, &event.id, &event.json)
                .map_err(|_| FhirError::internal("an AuditEvent is not JSON"))?;
            seqs.push(head.seq);
            rids.push(event.rid);
            macs.push(head.mac.clone());
        }
        sqlx::query(ADD)
            .bind(seqs)
            .bind(rids)
            .bind(macs)
            .execute(&mut *transaction)
            .await?;
        let done: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        sqlx::query(FORGET).bind(done).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    lease.release();
    ids.publish();
    Ok(Linked {
        is_full,
        head,
        is_whole,
    })
}

async fn head(connection: &mut PgConnection) -> Result<Head, sqlx::Error> {
    const LAST: &str = "(SELECT seq, mac FROM audit_chain ORDER BY seq DESC LIMIT 1) \
         UNION ALL (SELECT seq, mac FROM audit_archive ORDER BY seq DESC LIMIT 1) ORDER BY seq DESC LIMIT 1";
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(LAST).fetch_optional(connection).await?;
    Ok(row.map(|(seq, mac)| Head { seq, mac }).unwrap_or_default())
}

/// Whether the chain still has the link of the anchor.
async fn holds(connection: &mut PgConnection, anchor: &Anchor) -> Result<bool, sqlx::Error> {
    const FIND: &str =
        "SELECT mac FROM audit_chain WHERE seq = $1 UNION ALL SELECT mac FROM audit_archive WHERE seq = $1";
    let mac: Option<Vec<u8>> = sqlx::query_scalar(FIND)
        .bind(anchor.head.seq)
        .fetch_optional(connection)
        .await?;
    Ok(mac.as_ref() == Some(&anchor.head.mac))
}

/// The records that wait, and whether there are more.
async fn waiting(server: &FhirServer, connection: &mut PgConnection) -> Result<(Vec<Row>, bool), FhirError> {
    const TAKE: &str = "SELECT seq, event, mac FROM audit_pending ORDER BY seq LIMIT $1";
    let found: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(TAKE).bind(BATCH).fetch_all(connection).await?;
    let mut is_full = found.len() as i64 == BATCH;
    let mut shown = 0;
    let mut rows = Vec::with_capacity(found.len());
    for (seq, text, mac) in found {
        if !server.trail.is_genuine(&text, &mac) {
            tracing::error!(seq, "a record of the trail was not made by this server, or was changed");
            let evidence = &text[..text.floor_char_boundary(EVIDENCE)];
            let mut row = alarm(
                server,
                "a record that waited was not made by this server, or was changed",
            );
            row.seq = seq;
            row.event = row.event.detail("record", evidence);
            rows.push(row);
            continue;
        }
        match serde_json::from_str::<Recorded>(&text) {
            Ok(Recorded { at, event }) => {
                shown += event.shown.len();
                if shown > SHOWN && !rows.is_empty() {
                    is_full = true;
                    break;
                }
                rows.push(Row {
                    seq,
                    at: Timestamp::from_microsecond(at).unwrap_or_default(),
                    event,
                });
            }
            // A newer release runs beside this one, and will read it.
            Err(_) => tracing::warn!(seq, "a record of the trail is of another release; it waits"),
        }
    }
    Ok((rows, is_full))
}

fn alarm(server: &FhirServer, text: &str) -> Row {
    let mut event = Event::new(Kind::Alarm).refused(text);
    event.ending = Ending::Failed;
    Row {
        seq: 0,
        at: server.clock.now(),
        event,
    }
}

/// Stores the AuditEvents of the records, in their order.
async fn store(
    server: &FhirServer,
    transaction: &mut PgConnection,
    ids: &mut Ids<'_>,
    rows: &[Row],
) -> Result<Vec<StoredResource>, FhirError> {
    let there = there(server, transaction, rows).await?;
    let versions: BTreeSet<Shown> = rows
        .iter()
        .flat_map(|row| row.event.shown.iter().copied())
        .chain(there.values().copied())
        .collect();
    let of_versions = patients::of_versions(server, transaction, &versions).await?;
    let candidates: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| {
            patients::named(&row.event)
                .into_iter()
                .chain(row.event.patients.iter().cloned())
        })
        .collect();
    let candidates = existing_patients(server, transaction, candidates).await?;
    let place = Place {
        base: &server.settings.base_url,
    };
    let mut resources = Vec::with_capacity(rows.len());
    for row in rows {
        let event = &row.event;
        let is_shown = !event.shown.is_empty();
        let resource = event
            .resource
            .as_ref()
            .map(|(name, id, _)| (name.as_str(), id.as_str()));
        let found = resource.and_then(|key| there.get(&key));
        let mut concerned = patients::named(event);
        concerned.extend(event.patients.iter().cloned());
        concerned.retain(|id| candidates.contains(id));
        for version in event.shown.iter().chain(found.filter(|_| !is_shown)) {
            concerned.extend(of_versions.get(version).into_iter().flatten().cloned());
        }
        let known = Known {
            event,
            at: row.at,
            patients: concerned.into_iter().collect(),
            is_there: found.is_some(),
        };
        resources.extend(balp::audit_events(place, &known));
    }
    commit::append(server, transaction, ids, "AuditEvent", resources).await
}

/// The current versions of the resources that the records name, as far as there are any.
async fn there<'r>(
    server: &FhirServer,
    connection: &mut PgConnection,
    rows: &'r [Row],
) -> Result<HashMap<(&'r str, &'r str), Shown>, FhirError> {
    const FIND: &str = "SELECT w.n, r.rid, r.version FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS w (type, id, n) \
         JOIN resource r ON r.type = w.type AND r.id = w.id WHERE r.version > 0";
    let named: BTreeSet<(&str, &str)> = rows
        .iter()
        .filter_map(|row| row.event.resource.as_ref())
        .map(|(name, id, _)| (name.as_str(), id.as_str()))
        .collect();
    let named: Vec<(i16, (&str, &str))> = named
        .into_iter()
        .filter_map(|key| Some((server.store.types().id(key.0)?, key)))
        .collect();
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(i64, i64, i32)> = sqlx::query_as(FIND)
        .bind(named.iter().map(|(type_id, _)| *type_id).collect::<Vec<_>>())
        .bind(named.iter().map(|(_, (_, id))| *id).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let key = |n: i64| usize::try_from(n - 1).ok().and_then(|n| named.get(n));
    Ok(found
        .into_iter()
        .filter_map(|(n, rid, version)| Some((key(n)?.1, (rid, version))))
        .collect())
}

async fn existing_patients(
    server: &FhirServer,
    connection: &mut PgConnection,
    candidates: BTreeSet<String>,
) -> Result<BTreeSet<String>, FhirError> {
    const FIND: &str = "SELECT id FROM resource WHERE type = $1 AND id = ANY ($2) AND version > 0";
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let found: Vec<String> = sqlx::query_scalar(FIND)
        .bind(server.store.types().id("Patient"))
        .bind(candidates.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_content_and_not_its_order() {
        let key = Key::new(&[7; 32]);
        let start = Head::default();
        let first = start.next(&key, "a", r#"{"b":[1,{"d":2,"c":"x"}],"a":null}"#).unwrap();
        assert_eq!(first.seq, 1);
        let reordered = start
            .next(&key, "a", r#"{ "a": null, "b": [1, {"c": "x", "d": 2}] }"#)
            .unwrap();
        assert_eq!(first, reordered);
        for other in [
            r#"{"b":[{"d":2,"c":"x"},1],"a":null}"#,
            r#"{"b":[1,{"d":2,"c":"y"}],"a":null}"#,
        ] {
            assert_ne!(first, start.next(&key, "a", other).unwrap());
        }
        assert_ne!(
            first,
            start.next(&key, "b", r#"{"b":[1,{"d":2,"c":"x"}],"a":null}"#).unwrap()
        );
        assert_ne!(
            first.next(&key, "a", "{}").unwrap().mac,
            start.next(&key, "a", "{}").unwrap().mac
        );
    }
}
