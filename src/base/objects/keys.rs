//! Master keys replaced, objects erased, and what nobody needs removed.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use object_store::ObjectStoreExt;

use super::{ObjectError, ObjectId, Objects};

/// How long an object that no version names is kept: longer than any request takes.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Rows that are handled together.
const BATCH: i64 = 500;

impl Objects {
    /// Seals all keys anew that are not under the first master key, and answers how many there were. Once it has run, the others
    /// open nothing any more. Objects stay as they are.
    ///
    /// # Errors
    /// [`ObjectError::Tampered`] when a key is under a master key that the server does not have, or those of the database.
    pub async fn rewrap(&self) -> Result<u64, ObjectError> {
        const NEXT: &str = "SELECT id, key FROM object WHERE id > $1 AND key <> '' ORDER BY id LIMIT $2";
        // Unless it was erased meanwhile.
        const STORE: &str = "UPDATE object SET key = $3 WHERE id = $1 AND key = $2";
        let mut after = Vec::new();
        let mut count = 0;
        loop {
            let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(NEXT)
                .bind(&after)
                .bind(BATCH)
                .fetch_all(&self.pool)
                .await?;
            let Some((last, _)) = rows.last() else { return Ok(count) };
            after.clone_from(last);
            for (bytes, key) in rows {
                if self.vault.would_seal_like(&key) {
                    continue;
                }
                let id = ObjectId::from_bytes(&bytes).ok_or(ObjectError::Tampered)?;
                let secret = self.vault.open(&id.seal(), &key).map_err(|_| ObjectError::Tampered)?;
                let sealed = self.vault.seal(&id.seal(), &secret);
                let stored = sqlx::query(STORE).bind(&bytes).bind(&key).bind(&sealed);
                count += stored.execute(&self.pool).await?.rows_affected();
            }
        }
    }

    /// Destroys the keys of objects: from this moment on nobody can read them, whoever has a copy. Their bytes are removed by
    /// [`Objects::collect`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn erase(&self, ids: &[ObjectId]) -> Result<u64, ObjectError> {
        const SQL: &str = "UPDATE object SET key = '', size = NULL, sha1 = NULL, sha256 = NULL \
             WHERE id = ANY ($1) AND key <> ''";
        let ids: Vec<&[u8]> = ids.iter().map(ObjectId::bytes).collect();
        Ok(sqlx::query(SQL).bind(ids).execute(&self.pool).await?.rows_affected())
    }

    /// Removes what was erased, and what nobody has needed for a day. Answers how many objects.
    ///
    /// # Errors
    /// [`ObjectError::Away`], or those of the database; the rest is removed the next time.
    pub async fn collect(&self) -> Result<u64, ObjectError> {
        const FORGET: &str = "UPDATE object SET key = '' WHERE NOT used AND created_at < $1 AND key <> ''";
        const NEXT: &str = "SELECT id, used FROM object WHERE key = '' AND NOT removed LIMIT $1";
        let before: Timestamp = self.clock.now() - GRACE;
        sqlx::query(FORGET).bind(before.to_sqlx()).execute(&self.pool).await?;
        let mut count = 0;
        loop {
            let rows: Vec<(Vec<u8>, bool)> = sqlx::query_as(NEXT).bind(BATCH).fetch_all(&self.pool).await?;
            if rows.is_empty() {
                return Ok(count);
            }
            for (bytes, used) in rows {
                let id = ObjectId::from_bytes(&bytes).ok_or(ObjectError::Tampered)?;
                match self.store.delete(&id.path()).await.map_err(ObjectError::from) {
                    Ok(()) | Err(ObjectError::Missing) => {}
                    Err(error) => return Err(error),
                }
                // A version still names what was erased, and is told so.
                let done = match used {
                    true => "UPDATE object SET removed = true WHERE id = $1",
                    false => "DELETE FROM object WHERE id = $1",
                };
                sqlx::query(done).bind(&bytes).execute(&self.pool).await?;
                count += 1;
            }
        }
    }
}
