//! One object, read piece by piece, or a part of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore};

use super::cipher::{DataKey, Span};
use super::{ObjectError, ObjectId, Objects};

/// What has come of an object, and what is still to come.
struct Reading {
    from: BoxStream<'static, Result<Bytes, object_store::Error>>,
    sealed: BytesMut,
    key: DataKey,
    span: Span,
    next: u32,
    /// Bytes of the part that were not given out yet.
    left: u64,
}

impl Objects {
    /// The bytes of a part of an object; `part` must lie within its size. The store has been reached when this returns, and the
    /// first bytes have been opened.
    ///
    /// # Errors
    /// [`ObjectError`], here or in the stream.
    pub async fn read(
        &self,
        id: ObjectId,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, ObjectError> {
        const SQL: &str = "SELECT key, size FROM object WHERE id = $1";
        let row: Option<(Vec<u8>, Option<i64>)> =
            sqlx::query_as(SQL).bind(id.bytes()).fetch_optional(&self.pool).await?;
        let (key, size) = match row {
            Some((key, _)) if key.is_empty() => return Err(ObjectError::Erased),
            Some((key, Some(size))) => (key, size.unsigned_abs()),
            Some((_, None)) | None => return Err(ObjectError::Missing),
        };
        let secret = self.vault.open(&id.seal(), &key).map_err(|_| ObjectError::Tampered)?;
        let key = DataKey::new(&secret).ok_or(ObjectError::Tampered)?;
        let part = part.start.min(size)..part.end.min(size);
        let span = Span::new(&part, size).ok_or(ObjectError::Tampered)?;
        let options = GetOptions {
            range: Some(GetRange::Bounded(span.sealed.clone())),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&id.path(), options).await?;
        let mut reading = Reading {
            from: found.into_stream(),
            sealed: BytesMut::new(),
            key,
            next: span.first,
            span,
            left: part.end - part.start,
        };
        let first = reading.chunk().await?;
        let rest = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.chunk().await?.map(|chunk| (chunk, reading)))
        });
        Ok(stream::iter(first.map(Ok)).chain(rest).boxed())
    }

    /// All bytes of an object that is known to be short enough.
    ///
    /// # Errors
    /// [`ObjectError`]
    pub async fn read_whole(&self, id: ObjectId) -> Result<Vec<u8>, ObjectError> {
        let stream = self.read(id, 0..u64::MAX).await?;
        stream
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await
    }
}

impl Reading {
    /// The next bytes; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.next > self.span.end {
            return Ok(None);
        }
        let is_end = self.next == self.span.end;
        while is_end || self.sealed.len() < Span::SEALED_CHUNK {
            match self.from.try_next().await? {
                Some(bytes) => self.sealed.extend_from_slice(&bytes),
                None => break,
            }
        }
        let length = match is_end {
            true => self.sealed.len(),
            false => Span::SEALED_CHUNK.min(self.sealed.len()),
        };
        let sealed = self.sealed.split_to(length).to_vec();
        let mut chunk = self.key.open(self.next, self.next == self.span.last, sealed)?;
        if self.next == self.span.first {
            chunk.drain(..self.span.skip.min(chunk.len()));
        }
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= chunk.len() as u64;
        self.next += 1;
        if self.next > self.span.end && self.left > 0 {
            return Err(ObjectError::Tampered);
        }
        Ok(Some(Bytes::from(chunk)))
    }
}
