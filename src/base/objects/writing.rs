//! One object, written piece by piece.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::Bytes;
use jiff_sqlx::ToSqlx;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use super::cipher::{CHUNK, DataKey};
use super::{Facts, ObjectError, ObjectId, Objects};

/// Bytes that wait for the store; S3 takes parts of no less. Two further parts may be on their way.
const PART: usize = 5 * 1024 * 1024;
const PARTS_ON_THEIR_WAY: usize = 2;

/// An object that is being written. It is there once [`Upload::finish`] has returned; one that is dropped never is.
pub struct Upload<'o> {
    objects: &'o Objects,
    id: ObjectId,
    key: DataKey,
    out: BufWriter,
    /// What is not sealed yet, since it may turn out to be the last.
    chunk: Vec<u8>,
    number: u32,
    size: u64,
    sha1: Context,
    sha256: Context,
}

impl Objects {
    /// Begins an object.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<Upload<'_>, ObjectError> {
        const SQL: &str = "INSERT INTO object (id, key, created_at) VALUES ($1, $2, $3)";
        let id = ObjectId::random();
        let secret = DataKey::new_secret();
        let key = DataKey::new(&secret).ok_or(ObjectError::Tampered)?;
        sqlx::query(SQL)
            .bind(id.bytes())
            .bind(self.vault.seal(&id.seal(), &secret))
            .bind(self.clock.now().to_sqlx())
            .execute(&self.pool)
            .await?;
        let out = BufWriter::with_capacity(self.store.clone(), id.path(), PART);
        Ok(Upload {
            objects: self,
            id,
            key,
            out: out.with_max_concurrency(PARTS_ON_THEIR_WAY),
            chunk: Vec::with_capacity(CHUNK + 16),
            number: 0,
            size: 0,
            sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
            sha256: Context::new(&SHA256),
        })
    }
}

impl Upload<'_> {
    /// Adds bytes.
    ///
    /// # Errors
    /// When the store does not take them: nothing of the object will be there.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.chunk.len() == CHUNK {
                self.seal(false).await?;
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(fits);
            bytes = rest;
        }
        Ok(())
    }

    async fn seal(&mut self, is_last: bool) -> Result<(), ObjectError> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + 16));
        let sealed = self.key.seal(self.number, is_last, chunk);
        self.out.put(Bytes::from(sealed)).await?;
        // 2^32 chunks are 256 TiB.
        self.number = self.number.checked_add(1).ok_or(ObjectError::Full)?;
        Ok(())
    }

    /// Ends the object: from now on it can be read, and is kept for a day if nobody needs it for good.
    ///
    /// # Errors
    /// When the store does not take it: nothing of it will be there.
    pub async fn finish(mut self) -> Result<(ObjectId, Facts), ObjectError> {
        const SQL: &str = "UPDATE object SET size = $2, sha1 = $3, sha256 = $4 WHERE id = $1";
        self.seal(true).await?;
        self.out.shutdown().await.map_err(as_store_error)?;
        let facts = Facts {
            size: self.size,
            sha1: self.sha1.finish().as_ref().to_vec(),
            sha256: self.sha256.finish().as_ref().to_vec(),
        };
        sqlx::query(SQL)
            .bind(self.id.bytes())
            .bind(self.size.cast_signed())
            .bind(&facts.sha1)
            .bind(&facts.sha256)
            .execute(&self.objects.pool)
            .await?;
        Ok((self.id, facts))
    }

    /// Gives up what was written. What cannot be removed now is removed with what nobody needs.
    pub async fn abort(mut self) {
        if let Err(error) = self.out.abort().await {
            tracing::warn!(%error, "an object that was begun cannot be removed yet");
        }
    }
}

/// The error of the store in one of its writer.
fn as_store_error(error: std::io::Error) -> ObjectError {
    let kind = error.kind();
    match error.into_inner().map(|inner| inner.downcast::<object_store::Error>()) {
        Some(Ok(error)) => (*error).into(),
        Some(Err(source)) => ObjectError::from(object_store::Error::Generic {
            store: "writer",
            source,
        }),
        None => ObjectError::from(object_store::Error::Generic {
            store: "writer",
            source: std::io::Error::from(kind).into(),
        }),
    }
}
