//! Mails about accounts. They hold a link, a code or a sentence about the account, and never anything about health.
//!
//! They leave through the [`Outbox`] like all mails, but before others and in lanes of their own: whoever waits for a code does not
//! wait for a mail about a visit. Nobody can switch them off, since they protect the account.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::AuthServer;
use super::factors::mailed;
use crate::mail::outbox::Content;
use crate::mail::{Letter, NewMail};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A mail about an account: what is in it, and for how long it is worth sending.
#[derive(Debug)]
pub struct Mail {
    to: String,
    template: &'static str,
    values: Map<String, Value>,
    life: SignedDuration,
}

/// `root` is the address of the server.
impl Mail {
    pub fn sign_up(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(to, "account-created", link(root, secret), DAY)
    }

    /// To whoever just confirmed their address.
    pub fn verified(to: &str, root: &str) -> Mail {
        Mail::with_link(to, "account-verified", format!("{root}/auth/sign-in"), DAY)
    }

    pub fn already_signed_up(to: &str, root: &str) -> Mail {
        Mail::with_link(to, "account-exists", forgot(root), DAY)
    }

    pub fn invitation(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(to, "account-invitation", link(root, secret), DAY * 7)
    }

    pub fn reset(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(to, "account-reset", link(root, secret), HOUR)
    }

    /// To whoever forgot the password of an account that they closed, or signs up again.
    pub fn reopen(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(to, "account-reopen", link(root, secret), HOUR)
    }

    /// To whoever tries to get into an account that the practice closed, or that was closed too long ago.
    pub fn closed(to: &str) -> Mail {
        Mail::new(to, "account-is-closed", json!({}), DAY)
    }

    /// To whoever just closed their account.
    pub fn goodbye(to: &str, root: &str) -> Mail {
        Mail::with_link(to, "account-closed", forgot(root), DAY * 7)
    }

    /// A code to sign in with.
    pub fn code(to: &str, code: &str) -> Mail {
        Mail::new(to, "account-code", json!({"code": code}), mailed::LIFE)
    }

    pub fn change_email(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(to, "account-new-address", link(root, secret), DAY)
    }

    /// Tells the owner of an account what was just done to it: one of [`CHANGES`](crate::mail::templates::CHANGES).
    pub fn notice(to: &str, root: &str, change: &str) -> Mail {
        let values = json!({"link": forgot(root), "change": change});
        Mail::new(to, "account-changed", values, DAY * 4)
    }

    /// The same mail, naming another OpenID provider.
    #[must_use]
    pub fn naming_provider(mut self, label: &str) -> Mail {
        self.values.insert("provider".to_owned(), json!(label));
        self
    }

    /// Lets the mail be sent when the transaction commits, in the first of these languages (as in a header Accept-Language) that
    /// there is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue(
        self,
        transaction: &mut PgConnection,
        auth: &AuthServer,
        languages: &str,
    ) -> Result<(), sqlx::Error> {
        let mail = NewMail {
            key: &format!("account {}", auth.ids.next()),
            lane: &format!("account {}", self.to),
            urgent: true,
            life: self.life,
            content: Content::Letter(Letter {
                to: self.to,
                template: self.template.to_owned(),
                languages: languages.to_owned(),
                values: self.values,
                preferences: None,
            }),
            report: None,
        };
        auth.outbox.add(transaction, &mail).await
    }

    fn with_link(to: &str, template: &'static str, link: String, life: SignedDuration) -> Mail {
        Mail::new(to, template, json!({"link": link}), life)
    }

    fn new(to: &str, template: &'static str, values: Value, life: SignedDuration) -> Mail {
        Mail {
            to: to.to_owned(),
            template,
            values: values.as_object().cloned().unwrap_or_default(),
            life,
        }
    }
}

fn link(root: &str, secret: &str) -> String {
    format!("{root}/auth/confirm?link={secret}")
}

fn forgot(root: &str) -> String {
    format!("{root}/auth/forgot")
}
