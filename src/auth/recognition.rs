//! Callers, remembered by their token for as long as nothing was withdrawn.
//!
//! Looking somebody up takes two statements over a dozen tables, for what stays the same for half an hour. What is remembered must
//! still be worthless at every instance as soon as a token is given back, an account closed or a role ended. So there is a number
//! in the database, how often something was withdrawn (`migrations/0026_gone.sql`), and what was looked up under another number is
//! looked up anew. A server asks for it at most every 20 milliseconds ([`BELIEVED`]), and whoever withdraws something waits a little
//! longer than that before it is done: then nobody believes in the former number any more. No clocks are compared.
//!
//! Why not a list of what was withdrawn, or messages between the instances: docs/decisions/0017.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use moka::sync::Cache;
use sqlx::PgConnection;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::store::Store;

/// Tokens that are remembered at most.
const MOST: u64 = 50_000;

/// How long a token is remembered that nobody uses.
const IDLE: Duration = Duration::from_secs(300);

/// For how long the number is believed, from before it was asked for. `note_withdrawal` waits 5 milliseconds longer.
const BELIEVED: Duration = Duration::from_millis(20);

/// What is stored of a token.
pub type TokenHash = [u8; 32];

/// A caller as they were looked up.
#[derive(Clone, Debug)]
pub struct Recognised {
    pub caller: Caller,
    /// When their token expires, or one of their roles begins or ends.
    pub until: Timestamp,
}

/// Those who are remembered.
pub struct Recognition {
    known: Cache<TokenHash, (Withdrawals, Recognised)>,
    last: Mutex<Option<Believed>>,
}

/// How often something was withdrawn, by everybody together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Withdrawals(i64);

/// The number, and when it was asked for.
#[derive(Clone, Copy)]
struct Believed {
    number: Withdrawals,
    asked_at: Instant,
}

impl Default for Recognition {
    fn default() -> Recognition {
        Recognition {
            known: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            last: Mutex::default(),
        }
    }
}

impl Recognition {
    /// Who holds the token of this hash, if that is known and nothing was withdrawn since.
    ///
    /// # Errors
    /// When the database is asked and does not answer.
    pub async fn recall(&self, store: &Store, now: Timestamp, token: &TokenHash) -> Result<Option<Caller>, FhirError> {
        let Some((number, known)) = self.known.get(token).filter(|(_, known)| now < known.until) else {
            return Ok(None);
        };
        Ok((number == self.number(store).await?).then_some(known.caller))
    }

    /// Remembers who holds the token of this hash. They were looked up after [`settled`] had told the number.
    pub fn remember(&self, token: TokenHash, number: Withdrawals, recognised: Recognised) {
        self.known.insert(token, (number, recognised));
    }

    async fn number(&self, store: &Store) -> Result<Withdrawals, FhirError> {
        if let Some(last) = self.believed().filter(|last| last.asked_at.elapsed() < BELIEVED) {
            return Ok(last.number);
        }
        let asked_at = Instant::now();
        let mut lease = store.fixed().await?;
        let number: i64 = sqlx::query_scalar("SELECT last_value FROM withdrawal")
            .fetch_one(&mut *lease)
            .await?;
        lease.release();
        let number = Withdrawals(number);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.number != number) {
            self.known.invalidate_all();
        }
        // Of several that ask at the same time, the one that asked last knows best.
        if last.is_none_or(|last| last.asked_at < asked_at) {
            *last = Some(Believed { number, asked_at });
        }
        Ok(number)
    }

    fn believed(&self) -> Option<Believed> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number under which what is looked up from now on may be remembered; `None` while something is being withdrawn.
///
/// # Errors
/// When the database does not answer.
pub async fn settled(connection: &mut PgConnection) -> Result<Option<Withdrawals>, sqlx::Error> {
    let number: Option<i64> = sqlx::query_scalar("SELECT settled_withdrawals()")
        .fetch_one(connection)
        .await?;
    Ok(number.map(Withdrawals))
}
