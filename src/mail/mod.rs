//! Mails out of the server: what they look like, where they wait, how they leave, and what becomes of them. Knows neither
//! FHIR nor accounts; docs/mail.md has it for operators.
//!
//! A mail is put into the [`Outbox`] in the transaction that makes it necessary. It is either a [`Letter`], or a cause, from
//! which a [`Composer`] makes the letter at the moment when it leaves: what is written then is true then, or not written.
//!
//! | file | concern |
//! |---|---|
//! | [`outbox`] | the table: what waits, in which order, and what became of it |
//! | [`sender`] | takes from the outbox, hands over, notes the outcome |
//! | [`templates`] | the words, by language |
//! | [`transport`] | SMTP, a provider by HTTP, or a folder |
//! | [`bounces`] | mails that come back |
//! | [`provider_events`] | the same, as a provider tells it |

pub mod bounces;
pub mod outbox;
pub mod provider_events;
pub mod sender;
pub mod templates;
pub mod transport;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::outbox::{NewMail, Outbox};
pub use self::sender::Sender;
pub use self::templates::Templates;
pub use self::transport::Transport;
use crate::jobs::JobError;

/// What is to be said to whom, before it has words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// An address.
    pub to: String,
    /// The name of the template.
    pub template: String,
    /// Languages that the reader understands, the best first, as in a header Accept-Language.
    pub languages: String,
    /// What the template may name. `link` and `code`, where there are any, stand by themselves below the text.
    pub values: Map<String, Value>,
    /// Where the reader says which mails they want; `None` for what is always sent.
    pub preferences: Option<String>,
}

/// Makes letters out of causes, right before they leave.
pub trait Composer: Send + Sync {
    /// The letter as it is to be now, or why there is none.
    ///
    /// An error keeps the mail in the outbox, to be tried again.
    fn compose<'a>(&'a self, cause: &'a Value) -> BoxFuture<'a, Result<Composed, JobError>>;
}

/// What a [`Composer`] has made.
#[derive(Debug)]
pub enum Composed {
    Letter(Letter),
    /// Nothing, for this reason: a code that is kept with the mail.
    Nothing(&'static str),
}
