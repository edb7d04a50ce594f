//! Whether the trail is whole: every AuditEvent as it was made, none added, none missing.

use std::fmt;

use futures::TryStreamExt;
use sqlx::{PgConnection, PgPool, Row};

use super::archive;
use super::chain::Head;
use crate::base::crypto::same_digest;
use crate::fhir::trail::{Key, is_genuine};

/// Most findings of one kind that are listed; the others are counted.
const LISTED: usize = 100;

/// Something that is not as the server left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Links that are not there: the first and the last.
    MissingLinks(i64, i64),
    /// The AuditEvent of this link is not there, or deleted.
    Missing { seq: i64 },
    /// This AuditEvent, or its link, is not what it was.
    Changed { seq: i64, id: String },
    /// This AuditEvent has former versions.
    Rewritten { id: String },
    /// No link leads to this AuditEvent.
    Added { id: String },
    /// The chain does not have the link that an anchor holds: its end was cut off, or replaced.
    Cut { anchor: i64, end: i64 },
    /// What says that the trail up to this link was archived was not written by a server with this key.
    ForgedArchive { seq: i64 },
    /// A record that waits to become an AuditEvent was not made by a server with this key.
    Foreign { record: i64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::MissingLinks(first, last) if first == last => write!(f, "link {first} is missing"),
            Finding::MissingLinks(first, last) => write!(f, "links {first} to {last} are missing"),
            Finding::Missing { seq } => write!(f, "the AuditEvent of link {seq} is missing"),
            Finding::Changed { seq, id } => write!(f, "AuditEvent/{id} (link {seq}) was changed, or its link was"),
            Finding::Rewritten { id } => write!(f, "AuditEvent/{id} was written more than once"),
            Finding::Added { id } => write!(f, "AuditEvent/{id} was added: no link leads to it"),
            Finding::Cut { anchor, end } => write!(
                f,
                "the chain does not have link {anchor} as it was anchored: its end, now link {end}, was cut off or replaced"
            ),
            Finding::ForgedArchive { seq } => {
                write!(f, "nobody with the key of the trail archived it up to link {seq}")
            }
            Finding::Foreign { record } => write!(f, "the waiting record {record} was not made by this server"),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub head: Head,
    /// AuditEvents that are as they were made.
    pub proved: u64,
    /// Records that wait to become AuditEvents.
    pub waiting: u64,
    pub findings: Vec<Finding>,
    /// Findings beyond those that are listed.
    pub unlisted: u64,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        let same_kind = |other: &&Finding| std::mem::discriminant(*other) == std::mem::discriminant(&finding);
        if self.findings.iter().filter(same_kind).count() < LISTED {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

/// Looks at the whole trail at one moment, beside servers that go on writing it. Memory does not grow with it; time does.
///
/// # Errors
/// Those of the database.
pub async fn verify(pool: &PgPool, key: &Key, anchors: &[Head]) -> Result<Report, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *transaction)
        .await?;
    let mut report = Report::default();
    follow_chain(&mut transaction, key, anchors, &mut report).await?;
    look_beside_chain(&mut transaction, &mut report).await?;
    look_at_records(&mut transaction, key, &mut report).await?;
    transaction.rollback().await?;
    Ok(report)
}

async fn follow_chain(
    connection: &mut PgConnection,
    key: &Key,
    anchors: &[Head],
    report: &mut Report,
) -> Result<(), sqlx::Error> {
    const LINKS: &str = "SELECT c.seq, c.mac, r.id, coalesce(r.exact, r.content::text) AS json \
         FROM audit_chain c LEFT JOIN resource r ON r.rid = c.rid \
              AND r.type = (SELECT id FROM resource_type WHERE name = 'AuditEvent') \
         ORDER BY c.seq";
    let mut last = match archive::last(connection, key).await? {
        Some(archived) if archived.is_proved => archived.head,
        Some(archived) => {
            report.add(Finding::ForgedArchive { seq: archived.head.seq });
            Head::default()
        }
        None => Head::default(),
    };
    // What lies before is in files, and proved there.
    let mut broken: Vec<&Head> = anchors.iter().filter(|anchor| anchor.seq >= last.seq).collect();
    broken.retain(|anchor| **anchor != last);
    let mut rows = sqlx::query(LINKS).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let seq: i64 = row.try_get("seq")?;
        let mac: Vec<u8> = row.try_get("mac")?;
        if seq != last.seq + 1 {
            report.add(Finding::MissingLinks(last.seq + 1, seq - 1));
            last.seq = seq - 1;
        }
        let json: Option<String> = row.try_get("json")?;
        match (row.try_get::<Option<String>, _>("id")?, json) {
            (Some(id), Some(json)) => {
                let expected = last.next(key, &id, &json);
                if expected.is_ok_and(|expected| same_digest(&expected.mac, &mac)) {
                    report.proved += 1;
                } else {
                    report.add(Finding::Changed { seq, id });
                }
            }
            _ => report.add(Finding::Missing { seq }),
        }
        // Each link is judged by the one before it as it stands, so that one change is one finding, or two.
        last = Head { seq, mac };
        broken.retain(|anchor| **anchor != last);
    }
    for anchor in broken {
        report.add(Finding::Cut {
            anchor: anchor.seq,
            end: last.seq,
        });
    }
    report.head = last;
    Ok(())
}

/// AuditEvents that the chain does not know, or not like this.
async fn look_beside_chain(connection: &mut PgConnection, report: &mut Report) -> Result<(), sqlx::Error> {
    const ADDED: &str = "SELECT r.id FROM resource r \
         WHERE r.type = (SELECT id FROM resource_type WHERE name = 'AuditEvent') AND r.version > 0 \
           AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.rid = r.rid)";
    const REWRITTEN: &str = "SELECT DISTINCT r.id FROM resource_history h JOIN resource r ON r.rid = h.rid \
         WHERE h.type = (SELECT id FROM resource_type WHERE name = 'AuditEvent')";
    let mut ids = sqlx::query_scalar(ADDED).fetch(&mut *connection);
    while let Some(id) = ids.try_next().await? {
        report.add(Finding::Added { id });
    }
    drop(ids);
    let mut ids = sqlx::query_scalar(REWRITTEN).fetch(&mut *connection);
    while let Some(id) = ids.try_next().await? {
        report.add(Finding::Rewritten { id });
    }
    Ok(())
}

async fn look_at_records(connection: &mut PgConnection, key: &Key, report: &mut Report) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query("SELECT seq, event, mac FROM audit_pending ORDER BY seq").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (event, mac): (String, Vec<u8>) = (row.try_get("event")?, row.try_get("mac")?);
        report.waiting += 1;
        if !is_genuine(key, &event, &mac) {
            report.add(Finding::Foreign {
                record: row.try_get("seq")?,
            });
        }
    }
    Ok(())
}
