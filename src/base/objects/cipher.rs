//! How an object is encrypted: in chunks, so that it is written and read piece by piece, and any part of it alone.
//!
//! A fresh key for each object. A chunk of 64 KiB is sealed by AES-256-GCM with the nonce `prefix ‖ number ‖ last`, where
//! `last` is 1 for the last chunk alone: chunks cannot be swapped, left out or cut off without being noticed (the STREAM
//! construction, <https://eprint.iacr.org/2015/189>). A sealed chunk is 16 bytes longer. An empty object is one empty chunk.

use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::base::crypto::random_bytes;

/// Bytes in a chunk, before it is sealed; the last one may have less.
pub const CHUNK: usize = 64 * 1024;
/// By how much a chunk grows.
const TAG: usize = 16;
const KEY: usize = 32;
const PREFIX: usize = 7;
/// Bytes of what opens an object.
pub const SECRET: usize = KEY + PREFIX;

/// Some bytes are not those that were stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Tampered;

/// Seals and opens the chunks of one object.
pub struct DataKey {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
}

impl DataKey {
    /// What opens a new object.
    pub fn new_secret() -> [u8; SECRET] {
        random_bytes()
    }

    /// The key out of a secret that [`DataKey::new_secret`] made; `None` if it is none.
    pub fn new(secret: &[u8]) -> Option<DataKey> {
        let (key, prefix) = secret.split_at_checked(KEY)?;
        Some(DataKey {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?),
            prefix: prefix.try_into().ok()?,
        })
    }

    fn nonce(&self, number: u32, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..PREFIX].copy_from_slice(&self.prefix);
        nonce[PREFIX..PREFIX + 4].copy_from_slice(&number.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(is_last);
        Nonce::assume_unique_for_key(nonce)
    }

    /// The sealed chunk. Each number may be used once.
    pub fn seal(&self, number: u32, is_last: bool, mut chunk: Vec<u8>) -> Vec<u8> {
        self.key
            .seal_in_place_append_tag(self.nonce(number, is_last), Aad::empty(), &mut chunk)
            .expect("a chunk is short enough to be sealed");
        chunk
    }

    /// The chunk that was sealed under this number.
    ///
    /// # Errors
    /// [`Tampered`]
    pub fn open(&self, number: u32, is_last: bool, mut sealed: Vec<u8>) -> Result<Vec<u8>, Tampered> {
        let opened = self
            .key
            .open_in_place(self.nonce(number, is_last), Aad::empty(), &mut sealed);
        let length = opened.map_err(|_| Tampered)?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

/// Where the chunks lie that hold a part of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Span {
    /// Numbers of the first chunk and of the last one that are needed.
    pub first: u32,
    pub end: u32,
    /// Number of the last chunk that the object has.
    pub last: u32,
    /// The bytes of those chunks in the store.
    pub sealed: Range<u64>,
    /// How many bytes of the first chunk come before the part.
    pub skip: usize,
}

impl Span {
    /// The span of `part` of an object of `size` bytes, in which it must lie. `None` for an object that is too long to be one.
    pub fn new(part: &Range<u64>, size: u64) -> Option<Span> {
        let chunk = CHUNK as u64;
        let number = |byte: u64| u32::try_from(byte / chunk).ok();
        let last = number(size.saturating_sub(1))?;
        let first = number(part.start)?.min(last);
        let end = number(part.end.saturating_sub(1).max(part.start))?.min(last);
        let sealed_chunk = chunk + TAG as u64;
        let total = size + (u64::from(last) + 1) * TAG as u64;
        Some(Span {
            first,
            end,
            last,
            sealed: u64::from(first) * sealed_chunk..((u64::from(end) + 1) * sealed_chunk).min(total),
            skip: usize::try_from(part.start - u64::from(first) * chunk).ok()?,
        })
    }

    /// Bytes of a sealed chunk that is not the last one.
    pub const SEALED_CHUNK: usize = CHUNK + TAG;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_opens_in_its_place_only() {
        let secret = DataKey::new_secret();
        let key = DataKey::new(&secret).unwrap();
        let sealed = key.seal(3, false, b"secret".to_vec());
        assert_eq!(sealed.len(), 6 + TAG);
        assert_eq!(key.open(3, false, sealed.clone()).unwrap(), b"secret");
        assert_eq!(key.open(4, false, sealed.clone()), Err(Tampered));
        assert_eq!(key.open(3, true, sealed.clone()), Err(Tampered));
        let other = DataKey::new(&DataKey::new_secret()).unwrap();
        assert_eq!(other.open(3, false, sealed.clone()), Err(Tampered));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(3, false, changed), Err(Tampered));
            assert_eq!(key.open(3, false, sealed[..at].to_vec()), Err(Tampered));
        }
        assert!(DataKey::new(&secret[1..]).is_none());
    }

    #[test]
    fn a_part_lies_in_as_few_chunks_as_can_be() {
        let chunk = CHUNK as u64;
        let span = |part: Range<u64>, size| {
            let span = Span::new(&part, size).unwrap();
            (span.first, span.end, span.last, span.sealed, span.skip)
        };
        assert_eq!(span(0..0, 0), (0, 0, 0, 0..16, 0));
        assert_eq!(span(0..1, 1), (0, 0, 0, 0..17, 0));
        assert_eq!(span(0..chunk, chunk), (0, 0, 0, 0..chunk + 16, 0));
        assert_eq!(span(0..chunk + 1, chunk + 1), (0, 1, 1, 0..chunk + 33, 0));
        let second = chunk + 16..2 * (chunk + 16);
        assert_eq!(span(chunk..2 * chunk, 3 * chunk), (1, 1, 2, second.clone(), 0));
        assert_eq!(span(chunk + 5..chunk + 6, 3 * chunk), (1, 1, 2, second, 5));
        assert_eq!(span(chunk - 1..chunk + 1, 3 * chunk).3, 0..2 * (chunk + 16));
    }
}
