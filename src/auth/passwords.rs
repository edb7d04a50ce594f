//! Passwords: how good they must be, and how they are kept (Argon2id).
//!
//! Hashing is meant to be slow, for us as for a thief, so it happens in few threads of its own: a burst of sign-ins waits
//! for its turn and the API does not notice.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unicode_normalization::UnicodeNormalization;
use zxcvbn::{Score, zxcvbn};

use crate::base::crypto;

/// Memory in KiB, passes and lanes, as OWASP's cheat sheet on storing passwords recommends.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// How long somebody waits for their turn before they are told to come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// In characters.
const SHORTEST: usize = 8;
/// In bytes. Long enough for any pass phrase, and short enough to hash.
const LONGEST: usize = 512;

/// The only place where passwords are hashed.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// The hash of a password that nobody knows, for accounts that are not there.
    nobody: Arc<OnceLock<String>>,
    work: Arc<Mutex<Work>>,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Passwords that were hashed.
    pub hashes: u64,
    /// Of these, now.
    pub at_once: usize,
    /// Of these, at the same time at most.
    pub most_at_once: usize,
}

/// Too many people sign in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Default for Passwords {
    fn default() -> Passwords {
        let cores = available_parallelism().map_or(1, usize::from);
        Passwords {
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
            nobody: Arc::default(),
            work: Arc::default(),
        }
    }
}

impl Passwords {
    /// The text to keep of a password.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let password = normalized(password);
        self.in_turn(move || hash(&password)).await
    }

    /// Whether this is the password that `kept` is the hash of. Takes as long, and says no, when there is no such account.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn verify(&self, password: &str, kept: Option<String>) -> Result<bool, Busy> {
        let password = normalized(password);
        let nobody = self.nobody.clone();
        let work = move || {
            // Made by whoever comes first, and not by the first without an account, who could be told by it.
            let nobody = nobody.get_or_init(|| hash(&crypto::random_token()));
            let known = kept.is_some();
            let kept = kept.unwrap_or_else(|| nobody.clone());
            let fits =
                PasswordHash::new(&kept).is_ok_and(|kept| argon().verify_password(password.as_bytes(), &kept).is_ok());
            known && fits
        };
        self.in_turn(work).await
    }

    pub fn work(&self) -> Work {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let turn = timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Busy);
        };
        let count = self.work.clone();
        let counted = move |change: fn(&mut Work)| change(&mut count.lock().unwrap_or_else(PoisonError::into_inner));
        let work = tokio::task::spawn_blocking(move || {
            counted(|work| {
                work.hashes += 1;
                work.at_once += 1;
                work.most_at_once = work.most_at_once.max(work.at_once);
            });
            let done = work();
            counted(|work| work.at_once -= 1);
            drop(turn);
            done
        });
        work.await.map_err(|_| Busy)
    }
}

fn argon() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("the cost is within the bounds of Argon2");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    let salt = crypto::random_bytes::<16>();
    let hash = argon().hash_password_with_salt(password.as_bytes(), &salt);
    hash.expect("a salt of 16 bytes and a short password can be hashed")
        .to_string()
}

/// An é that was typed as one character is the same as one that was typed as two.
fn normalized(password: &str) -> String {
    let within: String = password.chars().take(LONGEST).collect();
    within.nfc().collect()
}

/// Whether a password is good enough: long, and not among those that are tried first, which are the 30,000 most common ones,
/// names, words, dates, rows of keys, and what is known about the person.
///
/// # Errors
/// Sentences that tell the person what is wrong.
pub fn check_strength(password: &str, about_the_person: &[&str]) -> Result<(), String> {
    if password.chars().count() < SHORTEST {
        return Err(format!("Choose a password of at least {SHORTEST} characters."));
    }
    if password.len() > LONGEST {
        return Err(format!("Choose a password of at most {LONGEST} characters."));
    }
    let mut known: Vec<&str> = about_the_person
        .iter()
        .flat_map(|text| text.split(['@', '.', ' ']))
        .collect();
    known.extend(about_the_person);
    known.push("medconsult");
    let found = zxcvbn(password, &known);
    if found.score() >= Score::Three {
        return Ok(());
    }
    let mut sentences = vec!["This password is too easy to guess.".to_owned()];
    if let Some(feedback) = found.feedback() {
        sentences.extend(feedback.warning().map(|warning| warning.to_string()));
        sentences.extend(feedback.suggestions().iter().map(|suggestion| suggestion.to_string()));
    }
    Err(sentences.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_are_tried_first_are_refused() {
        for weak in [
            "short",
            "password123",
            "qwertyuiop",
            "ada.lovelace",
            "Lovelace1815",
            "medconsult1",
            "aaaaaaaaaaaa",
        ] {
            let refused = check_strength(weak, &["ada.lovelace@clinic.example", "Ada", "Lovelace"]);
            assert!(refused.is_err(), "{weak}");
        }
        assert!(check_strength(&"x1".repeat(300), &[]).unwrap_err().contains("at most"));
        assert_eq!(
            check_strength("plover wants eleven lamps", &["ada@clinic.example"]),
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_password_fits_its_hash_however_it_was_typed() {
        let passwords = Passwords::default();
        let kept = passwords.hash("caf\u{e9} au lait").await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_eq!(
            passwords.verify("cafe\u{301} au lait", Some(kept.clone())).await,
            Ok(true)
        );
        assert_eq!(passwords.verify("cafe au lait", Some(kept)).await, Ok(false));
        assert_eq!(passwords.verify("anything", None).await, Ok(false));
    }
}
