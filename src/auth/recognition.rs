//! Callers, remembered by their token for as long as nothing was withdrawn.
//!
//! Looking somebody up takes two statements over a dozen tables, for what stays the same for half an hour. What is remembered must
//! still be worthless at every instance as soon as a token is given back, an account closed or a role ended. So each request asks
//! the database one number: how often something was withdrawn (`migrations/0026_gone.sql`). What was looked up under
//! another number is looked up anew. Requests of the same moment share the question.
//!
//! Why not a list of what was withdrawn, or messages between the instances: docs/decisions/0017.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::Mutex;

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::store::Store;

/// Tokens that are remembered at most.
const MOST: u64 = 50_000;

/// How long a token is remembered that nobody uses.
const IDLE: Duration = Duration::from_secs(300);

/// What is stored of a token.
pub type TokenHash = [u8; 32];

/// A caller as they were looked up.
#[derive(Clone, Debug)]
pub struct Recognised {
    pub caller: Caller,
    /// How often something had been withdrawn before they were looked up.
    pub withdrawals: i64,
    /// When their token expires, or one of their roles begins or ends.
    pub until: Timestamp,
}

/// Those who are remembered.
pub struct Recognition {
    known: Cache<TokenHash, Recognised>,
    question: Question,
}

impl Default for Recognition {
    fn default() -> Recognition {
        Recognition {
            known: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            question: Question::default(),
        }
    }
}

impl Recognition {
    /// Who holds the token of this hash, if that is known and nothing was withdrawn since. Asks the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recall(&self, store: &Store, now: Timestamp, token: &TokenHash) -> Result<Option<Caller>, FhirError> {
        let Some(known) = self.known.get(token).filter(|known| now < known.until) else {
            return Ok(None);
        };
        let withdrawals = self.question.ask(store).await?;
        Ok((known.withdrawals == withdrawals).then_some(known.caller))
    }

    /// Remembers who holds the token of this hash.
    pub fn remember(&self, token: TokenHash, recognised: Recognised) {
        self.known.insert(token, recognised);
    }
}

/// The question how often something was withdrawn. One at a time is put to the database; whoever comes meanwhile waits for the
/// next one and shares it, since the one under way may have been answered before they came.
#[derive(Default)]
struct Question {
    begun: AtomicU64,
    last: Mutex<Answered>,
}

/// The last question that was answered.
#[derive(Default)]
struct Answered {
    question: u64,
    withdrawals: i64,
}

impl Question {
    async fn ask(&self, store: &Store) -> Result<i64, FhirError> {
        let before = self.begun.load(SeqCst);
        let mut last = self.last.lock().await;
        if last.question > before {
            return Ok(last.withdrawals);
        }
        let question = self.begun.fetch_add(1, SeqCst) + 1;
        let mut lease = store.fixed().await?;
        let withdrawals = sqlx::query_scalar("SELECT n FROM withdrawal")
            .fetch_one(&mut *lease)
            .await?;
        lease.release();
        *last = Answered { question, withdrawals };
        Ok(withdrawals)
    }
}
