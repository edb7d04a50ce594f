//! Objects: bytes of any length that are kept apart from the database, in a folder or a bucket (S3), and nowhere readable.
//!
//! Each is encrypted under a key of its own ([`cipher`]), which stands in the table `object`, sealed under a master key of the
//! [`Vault`]. So master keys are replaced by sealing rows anew ([`Objects::rewrap`]), and nobody rewrites an object; and an
//! object is destroyed, wherever copies of it lie, by forgetting its key ([`Objects::erase`]).
//!
//! The row comes first, then the bytes, then size and hashes: whatever a crash leaves behind has a row, by which it is found and
//! removed ([`Objects::collect`]). Who needs an object for good says so in the transaction that names it ([`keep`]).
//!
//! | file | |
//! |---|---|
//! | [`cipher`] | chunks, and which of them hold a part |
//! | [`place`] | the folder or the bucket |
//! | [`writing`], [`reading`] | one object, piece by piece |
//! | [`keys`] | master keys replaced, objects erased and removed |

pub mod cipher;
mod keys;
mod place;
mod reading;
mod writing;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use sqlx::{PgConnection, PgPool};

pub use self::place::{Bucket, Place};
pub use self::writing::Upload;
use crate::base::Clock;
use crate::base::crypto::{Vault, random_bytes};

/// The store of objects.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    pool: PgPool,
    vault: Arc<Vault>,
    clock: Clock,
}

/// The name of an object: random, so that it tells nothing and cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 16]);

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// In bytes.
    pub size: u64,
    pub sha1: Vec<u8>,
    pub sha256: Vec<u8>,
}

/// Why an object cannot be written or read. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The folder or the bucket does not answer, or refuses.
    #[error("the object store does not answer: {0}")]
    Away(object_store::Error),
    #[error("the object store is full")]
    Full,
    /// There is no such object, or its bytes are gone although nobody removed them.
    #[error("an object is missing")]
    Missing,
    /// Its key was destroyed on purpose.
    #[error("the object was erased")]
    Erased,
    /// The bytes are not those that were written, or the master key is not there.
    #[error("an object cannot be opened")]
    Tampered,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<object_store::Error> for ObjectError {
    fn from(error: object_store::Error) -> ObjectError {
        if let object_store::Error::NotFound { .. } = error {
            return ObjectError::Missing;
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
            if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) = kind {
                return ObjectError::Full;
            }
            cause = inner.source();
        }
        ObjectError::Away(error)
    }
}

impl From<cipher::Tampered> for ObjectError {
    fn from(_: cipher::Tampered) -> ObjectError {
        ObjectError::Tampered
    }
}

impl ObjectId {
    fn random() -> ObjectId {
        ObjectId(random_bytes())
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_bytes(bytes: &[u8]) -> Option<ObjectId> {
        Some(ObjectId(bytes.try_into().ok()?))
    }

    /// Where it lies. Folders of a few thousand files each are easier to handle than one of millions.
    fn path(&self) -> Path {
        let name = self.to_string();
        Path::from_iter([&name[..2], &name])
    }

    /// What its key is sealed for.
    fn seal(&self) -> String {
        format!("object {self}")
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = ();

    /// Reads what `Display` wrote, and nothing else.
    fn from_str(text: &str) -> Result<ObjectId, ()> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(());
        }
        u128::from_str_radix(text, 16)
            .map(|number| ObjectId(number.to_be_bytes()))
            .map_err(|_| ())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects in {}", self.store)
    }
}

impl Objects {
    /// Objects in `place`, with their keys in the database under the master keys of `vault`.
    ///
    /// # Errors
    /// When the folder cannot be made, or the settings name no bucket.
    pub fn open(place: &Place, pool: PgPool, vault: Vault, clock: Clock) -> Result<Objects, object_store::Error> {
        Ok(Objects {
            store: place.open()?,
            pool,
            vault: Arc::new(vault),
            clock,
        })
    }

    /// Size and hashes.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Erased`], or those of the database.
    pub async fn facts(&self, id: ObjectId) -> Result<Facts, ObjectError> {
        facts(&mut *self.pool.acquire().await?, id).await
    }
}

/// Size and hashes, read in a transaction.
///
/// # Errors
/// As for [`Objects::facts`].
pub async fn facts(connection: &mut PgConnection, id: ObjectId) -> Result<Facts, ObjectError> {
    const SQL: &str = "SELECT size, sha1, sha256, key = '' FROM object WHERE id = $1";
    /// Nothing is known of one that is being written, or was erased.
    type Row = (Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, bool);
    let row: Option<Row> = sqlx::query_as(SQL).bind(id.bytes()).fetch_optional(connection).await?;
    match row {
        Some((.., true)) => Err(ObjectError::Erased),
        Some((Some(size), Some(sha1), Some(sha256), false)) => Ok(Facts {
            size: size.unsigned_abs(),
            sha1,
            sha256,
        }),
        Some(_) | None => Err(ObjectError::Missing),
    }
}

/// Says, in the transaction that names them, that these objects are needed for good.
///
/// # Errors
/// [`ObjectError::Missing`] when one of them is not there any more, or those of the database.
pub async fn keep(connection: &mut PgConnection, ids: &[ObjectId]) -> Result<(), ObjectError> {
    const SQL: &str = "UPDATE object SET used = true WHERE id = ANY ($1) AND key <> '' AND size IS NOT NULL";
    let mut wanted: Vec<&[u8]> = ids.iter().map(ObjectId::bytes).collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    let kept = sqlx::query(SQL)
        .bind(&wanted)
        .execute(connection)
        .await?
        .rows_affected();
    match kept == wanted.len() as u64 {
        true => Ok(()),
        false => Err(ObjectError::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_only() {
        let id = ObjectId::random();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert!(text.to_uppercase().parse::<ObjectId>().is_err() || text.bytes().all(|byte| byte.is_ascii_digit()));
        for wrong in ["", "+0000000000000000000000000000000", &text[1..], &format!("{text}0")] {
            assert!(wrong.parse::<ObjectId>().is_err(), "{wrong}");
        }
        assert_eq!(id.path().as_ref(), format!("{}/{text}", &text[..2]));
    }

    #[test]
    fn a_full_disk_is_told_from_one_that_is_away() {
        let of = |kind: ErrorKind| {
            ObjectError::from(object_store::Error::Generic {
                store: "test",
                source: Box::new(io::Error::from(kind)),
            })
        };
        assert!(matches!(of(ErrorKind::StorageFull), ObjectError::Full));
        assert!(matches!(of(ErrorKind::QuotaExceeded), ObjectError::Full));
        assert!(matches!(of(ErrorKind::ConnectionRefused), ObjectError::Away(_)));
    }
}
