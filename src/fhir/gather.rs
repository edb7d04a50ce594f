//! Moves the content of Binaries that was stored before there were objects out of the database, version by version. No version
//! changes by that: it holds what it held.

use sqlx::{Connection, PgConnection};

use super::content::{self, Held};
use super::error::FhirError;
use super::server::FhirServer;
use crate::base::objects::{self, ObjectId};

/// Moves all that is left, and answers how many versions that were. Several may try at once; whoever comes second finds less.
///
/// # Errors
/// 503 when the database or the object store is away; the rest is moved the next time.
pub async fn gather(server: &FhirServer) -> Result<u64, FhirError> {
    const NEXT: &str = "SELECT g.rid, g.version, v.content->>'data' FROM object_to_gather g LEFT JOIN LATERAL \
         (SELECT content FROM resource r WHERE r.rid = g.rid AND r.version = g.version \
         UNION ALL SELECT content FROM resource_history h WHERE h.rid = g.rid AND h.version = g.version) v ON true \
         WHERE (g.rid, g.version) > ($1, $2) ORDER BY g.rid, g.version LIMIT 1";
    let mut last = (i64::MIN, 0);
    let mut count = 0;
    loop {
        let mut lease = server.store.fixed().await?;
        let row: Option<(i64, i32, Option<String>)> = sqlx::query_as(NEXT)
            .bind(last.0)
            .bind(last.1)
            .fetch_optional(&mut *lease)
            .await?;
        lease.release();
        let Some((rid, version, data)) = row else {
            return Ok(count);
        };
        last = (rid, version);
        let data = data.and_then(|data| Some((content::decode(&data).ok()?, data)));
        let object = match data {
            Some((bytes, text)) => Some(Held::of_text(put_away(server, &bytes).await?, &text)),
            // It has none any more, or what it has is its object already.
            None => None,
        };
        let mut lease = server.store.fixed().await?;
        name(&mut lease, last, object).await?;
        lease.release();
        count += u64::from(object.is_some());
    }
}

async fn put_away(server: &FhirServer, bytes: &[u8]) -> Result<ObjectId, FhirError> {
    let mut upload = server.objects.begin().await?;
    upload.write(bytes).await?;
    Ok(upload.finish().await?.0)
}

/// Lets a version name its object.
async fn name(connection: &mut PgConnection, (rid, version): (i64, i32), held: Option<Held>) -> Result<(), FhirError> {
    // A version is in one of them; while it moves from one to the other, its resource is locked.
    const LOCK: &str = "SELECT FROM resource WHERE rid = $1 FOR UPDATE";
    const NAME: [&str; 2] = [
        "UPDATE resource SET content = jsonb_set(content, '{data}', $3) WHERE rid = $1 AND version = $2",
        "UPDATE resource_history SET content = jsonb_set(content, '{data}', $3) WHERE rid = $1 AND version = $2",
    ];
    const DONE: &str = "DELETE FROM object_to_gather WHERE rid = $1 AND version = $2";
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).bind(rid).execute(&mut *transaction).await?;
    let done = sqlx::query(DONE)
        .bind(rid)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
    if let (Some(held), 1..) = (held, done.rows_affected()) {
        for sql in NAME {
            sqlx::query(sql)
                .bind(rid)
                .bind(version)
                .bind(sqlx::types::Json(held.mark()))
                .execute(&mut *transaction)
                .await?;
        }
        objects::keep(&mut transaction, &[held.id]).await?;
    }
    transaction.commit().await?;
    Ok(())
}
