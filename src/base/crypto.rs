//! Random secrets, what is stored of them, and what is stored sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Bytes that nobody can guess.
///
/// # Panics
/// When the operating system has no randomness: nothing safe can be done then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// A token of 256 random bits, in 43 characters that need no escaping anywhere.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// What is stored of a token. A plain hash is enough where the secret is random: there is nothing to guess.
pub fn digest(secret: &str) -> [u8; 32] {
    digest_of(secret.as_bytes())
}

/// The same of what is no text.
pub fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Whether two secrets are the same, in a time that does not tell how much of them is.
pub fn equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

/// The same, for what is stored of them.
pub fn same_digest(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Seals what must be read again, such as private keys, under the server's master key (AES-256-GCM).
///
/// There may be several master keys: the first one seals, all of them open, so that a key can be replaced.
pub struct Vault(Vec<MasterKey>);

struct MasterKey {
    /// The beginning of the key's hash, in front of all that it seals.
    name: [u8; NAME_LEN],
    key: RandomizedNonceKey,
}

const KEY_LEN: usize = 32;
const NAME_LEN: usize = 8;

/// Why there is no vault, or why it does not open something.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("a master key is 32 random bytes in base64, as `openssl rand -base64 32` makes them")]
    NotAKey,
    #[error("this was sealed under a master key that the server does not have, or was changed since")]
    Sealed,
}

impl Vault {
    /// Reads master keys, separated by white space or commas; the first one seals.
    ///
    /// # Errors
    /// When there is none, or one of them is no key.
    pub fn new(keys: &str) -> Result<Vault, VaultError> {
        let words = keys.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty());
        let keys: Result<Vec<MasterKey>, VaultError> = words.map(MasterKey::read).collect();
        match keys? {
            keys if keys.is_empty() => Err(VaultError::NotAKey),
            keys => Ok(Vault(keys)),
        }
    }

    /// A fresh master key, to be kept by the operator.
    pub fn new_key() -> String {
        STANDARD.encode(random_bytes::<KEY_LEN>())
    }

    /// Seals `plain` for one place: it only opens as long as `place` is the same, so that rows cannot be swapped.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let master = &self.0[0];
        let mut sealed = plain.to_vec();
        let nonce = master
            .key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("short texts can be sealed");
        [master.name.as_slice(), nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Whether this was sealed under the key that seals now, and not under one that is being replaced.
    pub fn would_seal_like(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.0[0].name)
    }

    /// What was sealed for this place.
    ///
    /// # Errors
    /// [`VaultError::Sealed`]
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (name, rest) = sealed.split_at_checked(NAME_LEN).ok_or(VaultError::Sealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
        let master = self
            .0
            .iter()
            .find(|master| master.name == name)
            .ok_or(VaultError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
        let mut plain = sealed.to_vec();
        let opened = master.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut plain);
        opened.map(|plain| plain.to_vec()).map_err(|_| VaultError::Sealed)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl MasterKey {
    fn read(text: &str) -> Result<MasterKey, VaultError> {
        let bytes = STANDARD.decode(text).map_err(|_| VaultError::NotAKey)?;
        if bytes.len() != KEY_LEN {
            return Err(VaultError::NotAKey);
        }
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&Sha256::digest(&bytes)[..NAME_LEN]);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| VaultError::NotAKey)?;
        Ok(MasterKey { name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_under_its_key_only() {
        let (old, new) = (Vault::new_key(), Vault::new_key());
        let vault = Vault::new(&old).unwrap();
        let sealed = vault.seal("row 1", b"secret");
        assert_ne!(sealed, vault.seal("row 1", b"secret"));
        assert_eq!(vault.open("row 1", &sealed).unwrap(), b"secret");
        assert_eq!(vault.open("row 2", &sealed), Err(VaultError::Sealed));
        assert_eq!(
            Vault::new(&new).unwrap().open("row 1", &sealed),
            Err(VaultError::Sealed)
        );
        for cut in 0..sealed.len() {
            assert!(vault.open("row 1", &sealed[..cut]).is_err());
        }
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(vault.open("row 1", &changed).is_err());

        // The key is replaced: the new one seals, what the old one sealed still opens.
        let both = Vault::new(&format!("{new}\n{old}\n")).unwrap();
        assert_eq!(both.open("row 1", &sealed).unwrap(), b"secret");
        assert!(vault.would_seal_like(&sealed) && !both.would_seal_like(&sealed));
        assert!(vault.open("x", &both.seal("x", b"")).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", " \n", "secret", "c2hvcnQ="] {
            assert_eq!(Vault::new(text).err(), Some(VaultError::NotAKey), "{text:?}");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(equal("abc", "abc") && !equal("abc", "abd") && !equal("abc", "ab"));
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (first, second) = (random_token(), random_token());
        assert_eq!((first.len(), second.len()), (43, 43));
        assert_ne!(first, second);
    }

    #[test]
    fn a_digest_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = digest("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
}
