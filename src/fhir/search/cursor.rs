//! Where a page ends and the next one starts.
//!
//! A cursor names the last resource of a page by what it was ordered by: the values of the sort keys and its rid. It stays
//! right whatever is written in between, unlike a count of rows to skip. Clients get it inside a link. It is tied to its
//! search by a digest, so that a link that was altered, or joined to another search, is refused rather than misread.
//! There is nothing secret in it and it grants nothing: every page is searched with the rights of its caller.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::criterion::{Search, SortBy};
use crate::fhir::error::FhirError;

const DIGEST: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The values of the sort keys as text; `None` is a missing one.
    pub(super) values: Vec<Option<String>>,
    pub(super) rid: i64,
    digest: [u8; DIGEST],
}

impl Cursor {
    /// A cursor into the results of `search`.
    pub(super) fn new(search: &Search, values: Vec<Option<String>>, rid: i64) -> Cursor {
        let digest = digest(search, &values, rid);
        Cursor { values, rid, digest }
    }

    /// Reads what a `next` link carried.
    ///
    /// # Errors
    /// 400 when it is not of this search.
    pub(super) fn read(text: &str, search: &Search) -> Result<Cursor, FhirError> {
        let cursor = Cursor::decode(text).filter(|cursor| {
            cursor.values.len() == search.sort.len() && cursor.digest == digest(search, &cursor.values, cursor.rid)
        });
        cursor.ok_or_else(|| {
            FhirError::bad_value(
                "This page link was altered or belongs to another search. Follow links as they are given.",
            )
        })
    }

    fn decode(text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (digest, rest) = bytes.split_first_chunk::<DIGEST>()?;
        let (rid, mut rest) = rest.split_first_chunk::<8>()?;
        let mut values = Vec::new();
        while let Some((&present, tail)) = rest.split_first() {
            let (length, tail) = tail.split_first_chunk::<4>()?;
            let (value, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            values.push(if present == 1 {
                Some(String::from_utf8(value.to_vec()).ok()?)
            } else {
                None
            });
            rest = tail;
        }
        Some(Cursor {
            values,
            rid: i64::from_be_bytes(*rid),
            digest: *digest,
        })
    }
}

/// The rid, then each value with its length.
fn encode(values: &[Option<String>], rid: i64) -> Vec<u8> {
    let mut bytes = rid.to_be_bytes().to_vec();
    for value in values {
        let text = value.as_deref().unwrap_or_default();
        bytes.push(u8::from(value.is_some()));
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// Over all that decides which resources come in which order.
fn digest(search: &Search, values: &[Option<String>], rid: i64) -> [u8; DIGEST] {
    let mut hasher = Sha256::new();
    hasher.update(&search.path);
    for (name, value) in search.honoured.iter().filter(|(name, _)| !is_presentation(name)) {
        hasher.update([0]);
        hasher.update(name);
        hasher.update([0]);
        hasher.update(value);
    }
    hasher.update(encode(values, rid));
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&hasher.finalize()[..DIGEST]);
    digest
}

/// What may change from page to page without changing what is found.
fn is_presentation(name: &str) -> bool {
    let code = name.split(':').next().unwrap_or_default();
    matches!(
        code,
        "_count"
            | "_total"
            | "_summary"
            | "_elements"
            | "_format"
            | "_pretty"
            | "_include"
            | "_revinclude"
            | "_explain"
    )
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.digest.to_vec();
        bytes.extend(encode(&self.values, self.rid));
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The text of a sort value as Postgres takes it back.
pub(super) fn cast(by: &SortBy) -> &'static str {
    use super::registry::Family;
    match by {
        SortBy::LastUpdated
        | SortBy::Parameter {
            family: Family::Date, ..
        } => "::text::timestamptz",
        SortBy::Parameter {
            family: Family::Quantity,
            ..
        }
        | SortBy::Score => "::text::numeric",
        SortBy::Parameter {
            family: Family::Reference,
            ..
        } => "::text::bigint",
        SortBy::Id | SortBy::Parameter { .. } => "::text",
    }
}
