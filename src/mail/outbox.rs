//! Where mails wait: the table `mail`.
//!
//! | state | | next |
//! |---|---|---|
//! | `queued` | waits until it is due, and until earlier mails of its lane are settled | `sending` |
//! | `sending` | somebody has it, until `due_at`; after that they are lost, and it is free again | any other |
//! | `sent` | whoever delivers it has taken it | `bounced` |
//! | `refused` | they said that they never will | |
//! | `given-up` | it was tried until its time was over | |
//! | `withdrawn` | when it could have left, there was nothing to say any more | |
//! | `bounced` | they took it and gave it back | |
//!
//! **Order.** Mails of one lane (one person, for one purpose) leave in the order in which they were put in; a later one waits
//! for an earlier one that is still being tried. Lanes do not wait for each other.
//!
//! **Once.** A mail is claimed by an update that no two senders get (`SKIP LOCKED`), and is `sent` by another after the other
//! side has taken it. A server that is killed between these two sends it again a few minutes later, under the same Message-ID:
//! there is no transaction over two parties that SMTP knows.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, Row};

use super::Letter;
use super::sender::SEND;
use crate::base::Clock;
use crate::base::crypto::{self, Vault};
use crate::jobs::{self, NewJob};

/// How long a claimed mail belongs to whoever claimed it; longer than one mail can take.
const LEASE: SignedDuration = SignedDuration::from_secs(150);
/// How long settled mails are remembered: bounces come within days.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Takes mails in.
#[derive(Clone)]
pub struct Outbox {
    vault: Arc<Vault>,
    clock: Clock,
}

/// A mail to be sent.
#[derive(Debug)]
pub struct NewMail<'m> {
    /// What causes it, for whom. A second mail with the same key is not taken.
    pub key: &'m str,
    /// Whom it is for, and for which purpose: mails of one lane stay in order.
    pub lane: &'m str,
    /// Whether somebody waits for it at this moment.
    pub urgent: bool,
    /// For how long it is worth trying.
    pub life: SignedDuration,
    pub content: Content,
    /// The kind of job that is told, with `{"key": …}`, whenever what became of it is known.
    pub report: Option<&'static str>,
}

/// What a mail says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Content {
    Letter(Letter),
    /// Made by this [`Composer`](super::Composer) when it leaves.
    Cause {
        composer: String,
        cause: Value,
    },
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Sending,
    Sent,
    Bounced,
    Refused,
    GivenUp,
    Withdrawn,
}

/// A mail as those see it who are told what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub state: State,
    /// Why there was nothing to say, or the code of what kept it.
    pub reason: Option<String>,
    /// When it became so; `None` while it waits.
    pub at: Option<Timestamp>,
}

/// A mail that this process may send now.
#[derive(Debug)]
pub(super) struct Claimed {
    id: i64,
    pub message_id: String,
    /// `None` where the master key does not open it.
    pub content: Option<Content>,
    pub attempt: i32,
    pub expires_at: Timestamp,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// For good.
    Settled(State, Option<String>),
    /// Again at that instant. `counts` unless it was not about this mail.
    Again {
        at: Timestamp,
        reason: String,
        counts: bool,
    },
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Sending => "sending",
            State::Sent => "sent",
            State::Bounced => "bounced",
            State::Refused => "refused",
            State::GivenUp => "given-up",
            State::Withdrawn => "withdrawn",
        }
    }

    fn of_name(name: &str) -> Result<State, sqlx::Error> {
        use State::{Bounced, GivenUp, Queued, Refused, Sending, Sent, Withdrawn};
        let all = [Queued, Sending, Sent, Bounced, Refused, GivenUp, Withdrawn];
        let found = all.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| sqlx::Error::Decode(format!("a mail in the state {name}").into()))
    }
}

impl Outbox {
    pub fn new(vault: Arc<Vault>, clock: Clock) -> Outbox {
        Outbox { vault, clock }
    }

    /// Lets a mail leave once the transaction commits, unless one with its key was taken in before.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add(&self, transaction: &mut PgConnection, mail: &NewMail<'_>) -> Result<(), sqlx::Error> {
        let now = self.clock.now();
        let plain = json!(mail.content).to_string();
        let added = sqlx::query(
            "INSERT INTO mail (key, message_id, lane, urgent, state, sealed, report, created_at, due_at, expires_at)
             VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7, $7, $8) ON CONFLICT (key) DO NOTHING",
        )
        .bind(mail.key)
        .bind(crypto::random_token())
        .bind(crypto::digest(mail.lane))
        .bind(mail.urgent)
        .bind(self.vault.seal(&place(mail.key), plain.as_bytes()))
        .bind(mail.report)
        .bind(now.to_sqlx())
        .bind(now.saturating_add(mail.life).unwrap_or(Timestamp::MAX).to_sqlx())
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 1 {
            jobs::enqueue(transaction, now, &[NewJob::new(SEND, json!({}))]).await?;
        }
        Ok(())
    }

    /// Takes up to `limit` mails that are due, each the first of its lane: what somebody waits for before the others.
    pub(super) async fn claim(&self, pool: &PgPool, limit: u32) -> Result<Vec<Claimed>, sqlx::Error> {
        let now = self.clock.now();
        let rows = sqlx::query(
            "UPDATE mail SET state = 'sending', attempts = attempts + 1, due_at = $2
             WHERE id IN (
                 SELECT m.id FROM mail m
                 WHERE m.state IN ('queued', 'sending') AND m.due_at <= $1
                   AND NOT EXISTS (SELECT FROM mail earlier WHERE earlier.lane = m.lane AND earlier.id < m.id
                                                              AND earlier.state IN ('queued', 'sending'))
                 ORDER BY m.urgent DESC, m.due_at, m.id LIMIT $3 FOR UPDATE SKIP LOCKED
             )
             RETURNING id, key, message_id, sealed, attempts, expires_at",
        )
        .bind(now.to_sqlx())
        .bind(now.saturating_add(LEASE).unwrap_or(Timestamp::MAX).to_sqlx())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
        let claimed = rows.iter().map(|row| {
            let key: String = row.try_get("key")?;
            let sealed: Option<Vec<u8>> = row.try_get("sealed")?;
            let plain = sealed.and_then(|sealed| self.vault.open(&place(&key), &sealed).ok());
            Ok(Claimed {
                id: row.try_get("id")?,
                message_id: row.try_get("message_id")?,
                content: plain.and_then(|plain| serde_json::from_slice(&plain).ok()),
                attempt: row.try_get("attempts")?,
                expires_at: row.try_get::<jiff_sqlx::Timestamp, _>("expires_at")?.to_jiff(),
            })
        });
        claimed.collect()
    }

    /// Writes down how an attempt ended, and lets those know who want to, in one transaction. Does nothing where the attempt
    /// took so long that somebody else has begun another.
    pub(super) async fn end(&self, pool: &PgPool, mail: &Claimed, outcome: &Outcome) -> Result<(), sqlx::Error> {
        let now = self.clock.now();
        let mut transaction = pool.begin().await?;
        let query = match outcome {
            Outcome::Settled(state, reason) => sqlx::query(
                "UPDATE mail SET state = $3, reason = $4, sealed = NULL, settled_at = $5
                 WHERE id = $1 AND attempts = $2 AND state = 'sending' RETURNING key, report",
            )
            .bind(mail.id)
            .bind(mail.attempt)
            .bind(state.name())
            .bind(reason)
            .bind(now.to_sqlx()),
            Outcome::Again { at, reason, counts } => sqlx::query(
                "UPDATE mail SET state = 'queued', reason = $3, due_at = $4, attempts = attempts - $5
                 WHERE id = $1 AND attempts = $2 AND state = 'sending' RETURNING key, NULL::text AS report",
            )
            .bind(mail.id)
            .bind(mail.attempt)
            .bind(reason)
            .bind(at.to_sqlx())
            .bind(i32::from(!counts)),
        };
        let settled = query.fetch_optional(&mut *transaction).await?;
        if let Some(row) = settled {
            report(&mut transaction, now, &row).await?;
        }
        transaction.commit().await
    }

    /// Notes that a mail came back. Whether it was one of ours that was sent: a second note of it changes nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn bounced(&self, pool: &PgPool, message_id: &str, reason: &str) -> Result<bool, sqlx::Error> {
        let now = self.clock.now();
        let mut transaction = pool.begin().await?;
        let row = sqlx::query(
            "UPDATE mail SET state = 'bounced', reason = $2, settled_at = $3
             WHERE message_id = $1 AND state = 'sent' RETURNING key, report",
        )
        .bind(message_id)
        .bind(reason)
        .bind(now.to_sqlx())
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = &row {
            report(&mut transaction, now, row).await?;
        }
        transaction.commit().await?;
        Ok(row.is_some())
    }

    /// What became of the mail with this key; `None` where there is none, or it is long forgotten.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn fate(&self, pool: &PgPool, key: &str) -> Result<Option<Fate>, sqlx::Error> {
        let row = sqlx::query("SELECT state, reason, settled_at FROM mail WHERE key = $1")
            .bind(key)
            .fetch_optional(pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let at: Option<jiff_sqlx::Timestamp> = row.try_get("settled_at")?;
        Ok(Some(Fate {
            state: State::of_name(row.try_get("state")?)?,
            reason: row.try_get("reason")?,
            at: at.map(|at| at.to_jiff()),
        }))
    }

    /// Forgets what was settled long ago.
    pub(super) async fn sweep(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let before = self.clock.now().saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        sqlx::query("DELETE FROM mail WHERE settled_at < $1")
            .bind(before.to_sqlx())
            .execute(pool)
            .await?;
        Ok(())
    }
}

/// Enqueues the job that a mail names.
async fn report(
    transaction: &mut PgConnection,
    now: Timestamp,
    row: &sqlx::postgres::PgRow,
) -> Result<(), sqlx::Error> {
    let (key, kind): (String, Option<String>) = (row.try_get("key")?, row.try_get("report")?);
    let Some(kind) = kind else { return Ok(()) };
    jobs::enqueue(transaction, now, &[NewJob::new(kind, json!({"key": key}))]).await
}

/// What a mail is sealed for.
fn place(key: &str) -> String {
    format!("mail {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_a_letter_or_a_cause() {
        let letter = Letter {
            to: "ada@clinic.example".to_owned(),
            template: "account-reset".to_owned(),
            languages: "de".to_owned(),
            values: serde_json::Map::new(),
            preferences: None,
        };
        let back = |content: &Content| serde_json::from_str::<Content>(&json!(content).to_string()).unwrap();
        assert!(matches!(back(&Content::Letter(letter.clone())), Content::Letter(same) if same == letter));
        let cause = Content::Cause {
            composer: "visits".to_owned(),
            cause: json!({"about": "Appointment/7"}),
        };
        assert!(matches!(back(&cause), Content::Cause { composer, .. } if composer == "visits"));
    }
}
