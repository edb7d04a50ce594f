//! Hands over what waits in the outbox.
//!
//! A job, [`SEND`], comes with every mail, and every minute for those that are to be tried again. One process has one run of it at
//! a time, whatever the number of jobs: it takes as many mails as there are connections, hands them over, and goes on until
//! nothing is due. So a thousand mails cost the database a bounded share, on connections of their own, and requests none of
//! theirs. Processes share the mails by claiming them ([`super::outbox`]).
//!
//! When the mail server is away, that is nothing about the mails: they wait, untouched, and each run tries a few of them
//! until one gets through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use futures::StreamExt;
use futures::stream;
use jiff::SignedDuration;
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::outbox::{Claimed, Content, Outcome, State};
use super::transport::{Delivery, Outgoing};
use super::{Composed, Composer, Letter, Outbox, Templates, Transport};
use crate::base::Clock;
use crate::jobs::{JobError, Registry};

/// The job that sends what is due.
pub const SEND: &str = "mail.send";
const SEND_SCHEDULE: &str = "* * * * *";
const SWEEP: &str = "mail.sweep";
const SWEEP_SCHEDULE: &str = "53 3 * * *";

/// How long mails rest while the mail server is away.
const WHILE_AWAY: SignedDuration = SignedDuration::from_secs(30);

/// Sends mails.
pub struct Sender {
    outbox: Outbox,
    /// Apart from that of the requests, and small.
    pool: PgPool,
    clock: Clock,
    transport: Transport,
    templates: Templates,
    composers: HashMap<&'static str, Arc<dyn Composer>>,
    /// How many mails are handed over at the same time.
    connections: u32,
    /// Held by the run that is under way.
    running: Mutex<()>,
    /// Set by whoever wants a run while there is one.
    wanted: AtomicBool,
}

/// What a [`Sender`] is made of.
pub struct SenderParts {
    pub outbox: Outbox,
    pub pool: PgPool,
    pub clock: Clock,
    pub transport: Transport,
    pub templates: Templates,
    pub connections: u32,
}

impl Sender {
    pub fn new(parts: SenderParts, composers: HashMap<&'static str, Arc<dyn Composer>>) -> Sender {
        let SenderParts {
            outbox,
            pool,
            clock,
            transport,
            templates,
            connections,
        } = parts;
        Sender {
            outbox,
            pool,
            clock,
            transport,
            templates,
            composers,
            connections: connections.max(1),
            running: Mutex::new(()),
            wanted: AtomicBool::new(false),
        }
    }

    /// Adds the jobs of this room.
    ///
    /// # Errors
    /// None in practice: the patterns of the schedules are fixed.
    pub fn register(self: &Arc<Self>, registry: Registry) -> Result<Registry> {
        let (sender, sweeper) = (self.clone(), self.clone());
        let registry = registry
            .on(SEND, move |_| {
                let sender = sender.clone();
                async move { sender.send_due().await }
            })
            .on(SWEEP, move |_| {
                let sweeper = sweeper.clone();
                async move { Ok(sweeper.outbox.sweep(&sweeper.pool).await?) }
            });
        Ok(registry.every(SEND_SCHEDULE, SEND)?.every(SWEEP_SCHEDULE, SWEEP)?)
    }

    /// Sends everything that is due, or leaves that to the run that is under way.
    ///
    /// # Errors
    /// `Retry` when the database does not answer.
    pub async fn send_due(&self) -> Result<(), JobError> {
        self.wanted.store(true, Ordering::SeqCst);
        // Whoever finds the run under way has said before that another one is wanted; it looks again after it has let go.
        while self.wanted.load(Ordering::SeqCst) {
            let Ok(_running) = self.running.try_lock() else {
                return Ok(());
            };
            while self.wanted.swap(false, Ordering::SeqCst) {
                self.run().await?;
            }
        }
        Ok(())
    }

    async fn run(&self) -> Result<(), JobError> {
        loop {
            let claimed = self.outbox.claim(&self.pool, self.connections).await?;
            if claimed.is_empty() {
                break;
            }
            let all = claimed.len();
            let attempts = stream::iter(claimed).map(|mail| self.attempt(mail));
            let away: Vec<bool> = attempts
                .buffer_unordered(self.connections as usize)
                .collect::<Vec<Result<bool, JobError>>>()
                .await
                .into_iter()
                .collect::<Result<_, _>>()?;
            if away.iter().filter(|away| **away).count() == all {
                break;
            }
        }
        self.transport.rest().await;
        Ok(())
    }

    /// Tries one mail and notes how that ended. Whether the mail server is away.
    async fn attempt(&self, mail: Claimed) -> Result<bool, JobError> {
        let (outcome, is_away) = match self.deliver(&mail).await {
            Ok(end) => end,
            Err(error) => {
                tracing::warn!(mail = mail.message_id, %error, "a mail could not be made, and will be tried again");
                (self.again(&mail, "composer"), false)
            }
        };
        match &outcome {
            Outcome::Settled(State::Refused | State::GivenUp, reason) => {
                tracing::warn!(mail = mail.message_id, reason, "a mail was not delivered");
            }
            Outcome::Again { reason, .. } => {
                tracing::info!(mail = mail.message_id, reason, "a mail waits to be tried again");
            }
            Outcome::Settled(..) => {}
        }
        self.outbox.end(&self.pool, &mail, &outcome).await?;
        Ok(is_away)
    }

    async fn deliver(&self, mail: &Claimed) -> Result<(Outcome, bool), JobError> {
        let settled = |state, reason: &str| Ok((Outcome::Settled(state, Some(reason.to_owned())), false));
        let Some(content) = &mail.content else {
            return settled(State::GivenUp, "master key");
        };
        if mail.expires_at <= self.clock.now() {
            return settled(State::GivenUp, "too late");
        }
        let letter = match content {
            Content::Letter(letter) => letter.clone(),
            Content::Cause { composer, cause } => match self.composers.get(composer.as_str()) {
                None => return settled(State::GivenUp, "composer"),
                Some(composer) => match composer.compose(cause).await? {
                    Composed::Letter(letter) => letter,
                    Composed::Nothing(reason) => return settled(State::Withdrawn, reason),
                },
            },
        };
        let Some(delivery) = self.hand_over(mail, &letter).await else {
            return settled(State::GivenUp, "template");
        };
        Ok(match delivery {
            Delivery::Taken => (Outcome::Settled(State::Sent, None), false),
            Delivery::Refused(reason) => (Outcome::Settled(State::Refused, Some(reason)), false),
            Delivery::Later(reason) => (self.again(mail, &reason), false),
            Delivery::Away(reason) => {
                tracing::warn!(reason, "the mail server is away");
                let at = self.clock.now().saturating_add(WHILE_AWAY);
                let at = at.unwrap_or(mail.expires_at);
                (
                    Outcome::Again {
                        at,
                        reason,
                        counts: false,
                    },
                    true,
                )
            }
        })
    }

    /// `None` where the letter has no words: its template is gone, or was changed.
    async fn hand_over(&self, mail: &Claimed, letter: &Letter) -> Option<Delivery> {
        let words = self.templates.write(letter).ok()?;
        let outgoing = Outgoing {
            message_id: &mail.message_id,
            to: &letter.to,
            words: &words,
            preferences: letter.preferences.as_deref(),
        };
        Some(self.transport.deliver(&outgoing).await)
    }

    /// Later, after a pause that grows; or never, where its time is over by then.
    fn again(&self, mail: &Claimed, reason: &str) -> Outcome {
        let at = self.clock.now().saturating_add(pause_after(mail.attempt));
        match at {
            Ok(at) if at < mail.expires_at => Outcome::Again {
                at,
                reason: reason.to_owned(),
                counts: true,
            },
            _ => Outcome::Settled(State::GivenUp, Some(reason.to_owned())),
        }
    }
}

/// The pause after the given attempt (1 is the first): a minute, doubled each time, at most two hours.
fn pause_after(attempt: i32) -> SignedDuration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(16);
    SignedDuration::from_mins((1_i64 << doublings).min(120))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_two_hours() {
        let pauses = [1, 2, 3, 7, 8, 1000].map(|attempt| pause_after(attempt).as_secs() / 60);
        assert_eq!(pauses, [1, 2, 4, 64, 120, 120]);
    }
}
