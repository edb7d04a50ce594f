//! Moving the oldest part of the trail into a file, when an operator orders it: so that it may be kept for as long as the law
//! asks without growing for ever.
//!
//! A file begins with the link before its first one, `{"after": "0:"}` if there is none, and has a line for each AuditEvent
//! with its link: `{"link": "1:…", "id": "…", "resource": {…}}`. With the key of the trail it can be proved as before
//! ([`verify_file`]).

use std::fs::File;
use std::io::{BufRead, BufWriter, Write};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};

use super::chain::{self, Head};
use crate::base::crypto::same_digest;
use crate::fhir::commit;
use crate::fhir::trail::{Event, Key, Kind, Trail};

/// The link up to which the trail is in files.
#[derive(Clone, Debug)]
pub struct Archived {
    pub head: Head,
    /// Whether a server with this key said so: nobody passes off a deletion as an archive.
    pub is_proved: bool,
}

#[derive(Serialize, Deserialize)]
struct First {
    after: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    link: String,
    id: String,
    resource: Box<RawValue>,
}

fn proof(key: &Key, head: &Head) -> Vec<u8> {
    key.sign("archive", &[&head.seq.to_be_bytes(), &head.mac])
}

/// Where the part that is still in the database begins; `None` if all of it is there.
///
/// # Errors
/// Those of the database.
pub async fn last(connection: &mut PgConnection, key: &Key) -> Result<Option<Archived>, sqlx::Error> {
    let row: Option<(i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT seq, mac, proof FROM audit_archive ORDER BY seq DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(seq, mac, given)| {
        let head = Head { seq, mac };
        Archived {
            is_proved: same_digest(&proof(key, &head), &given),
            head,
        }
    }))
}

/// Writes all AuditEvents that were made before an instant to `file` and, once that is safe, removes them from the database.
/// Answers how many. The caller has proved the trail.
///
/// # Errors
/// Those of the database and of the file.
pub async fn archive(pool: &PgPool, trail: &Trail, before: Timestamp, file: &mut BufWriter<File>) -> Result<u64> {
    const LAST: &str = "SELECT c.seq, c.mac FROM audit_chain c JOIN resource r ON r.rid = c.rid \
         WHERE r.last_updated < $1 ORDER BY c.seq DESC LIMIT 1";
    const PART: &str = "SELECT c.seq, c.mac, r.id, coalesce(r.exact, r.content::text) AS json \
         FROM audit_chain c JOIN resource r ON r.rid = c.rid WHERE c.seq <= $1 ORDER BY c.seq";
    let key = trail.key().context("the trail has no key")?;
    let mut transaction = pool.begin().await?;
    sqlx::query(chain::LOCK).execute(&mut *transaction).await?;
    let end: Option<(i64, Vec<u8>)> = sqlx::query_as(LAST)
        .bind(before.to_sqlx())
        .fetch_optional(&mut *transaction)
        .await?;
    let Some((seq, mac)) = end else { return Ok(0) };
    let end = Head { seq, mac };
    let begin = last(&mut transaction, key).await?.map(|archived| archived.head);
    let after = begin.unwrap_or_default().to_string();
    let mut count = 0;
    writeln!(file, "{}", serde_json::to_string(&First { after })?)?;
    let mut rows = sqlx::query(PART).bind(end.seq).fetch(&mut *transaction);
    while let Some(row) = rows.try_next().await? {
        let head = Head {
            seq: row.try_get("seq")?,
            mac: row.try_get("mac")?,
        };
        let line = Line {
            link: head.to_string(),
            id: row.try_get("id")?,
            resource: RawValue::from_string(row.try_get("json")?)?,
        };
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
        count += 1;
    }
    drop(rows);
    file.flush()?;
    file.get_ref().sync_all()?;
    remove(&mut transaction, end.seq).await?;
    sqlx::query("INSERT INTO audit_archive (seq, mac, proof) VALUES ($1, $2, $3)")
        .bind(end.seq)
        .bind(&end.mac)
        .bind(proof(key, &end))
        .execute(&mut *transaction)
        .await?;
    let event = Event::new(Kind::Archive).detail("until", end.to_string());
    trail.write(&mut transaction, &[event]).await.context("the trail")?;
    transaction.commit().await?;
    Ok(count)
}

/// Removes AuditEvents with all that searches read of them.
async fn remove(transaction: &mut PgConnection, until: i64) -> Result<(), sqlx::Error> {
    for table in commit::index_tables().chain(["resource"]) {
        let sql = format!("DELETE FROM {table} t USING audit_chain c WHERE c.rid = t.rid AND c.seq <= $1");
        sqlx::query(AssertSqlSafe(sql))
            .bind(until)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("DELETE FROM audit_chain WHERE seq <= $1")
        .bind(until)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Proves a file that [`archive`] wrote; answers how many AuditEvents it holds, and the link that it ends with.
///
/// # Errors
/// The first line that is not as it was written.
pub fn verify_file(file: impl BufRead, key: &Key) -> Result<(u64, Head)> {
    let mut lines = file.lines();
    let first = lines.next().context("the file is empty")??;
    let First { after } = serde_json::from_str(&first).context("line 1")?;
    let mut head = match after.as_str() {
        "0:" => Head::default(),
        after => after.parse().context("line 1")?,
    };
    let mut count = 0;
    for (number, line) in (2..).zip(lines) {
        let line: Line = serde_json::from_str(&line?).with_context(|| format!("line {number}"))?;
        let next = head.next(key, &line.id, line.resource.get())?;
        if next.to_string() != line.link {
            bail!("line {number} is not as it was written, or the one before it is missing");
        }
        head = next;
        count += 1;
    }
    Ok((count, head))
}
