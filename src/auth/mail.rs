//! Mails, sent by durable jobs. They hold a link or a sentence about the account, and never anything about health.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Message, SmtpTransport, Transport};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::base::crypto::Vault;
use crate::jobs::{self, Job, JobError, NewJob};

/// The job that sends one mail.
pub const SEND: &str = "auth.mail";
/// What jobs are sealed for.
const PLACE: &str = "mail";

/// A mail that waits to be sent. It may carry the secret of a link, so it waits sealed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// How mails leave the server.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Smtp(Arc<SmtpTransport>),
    /// One file per mail, for development.
    Folder(PathBuf),
}

impl Mailer {
    /// By the SMTP server of this URL (`smtps://user:password@mail.example`, or `smtp://mail.example:587?tls=required`), or
    /// into `folder` when it is empty.
    ///
    /// # Errors
    /// When the URL or the sender's address cannot be read. The text of the URL is not repeated: it has a password.
    pub fn new(server: &str, from: &str, folder: PathBuf) -> Result<Mailer> {
        let from = from
            .parse()
            .with_context(|| format!("mail.from is not an address: {from}"))?;
        let way = match server {
            "" => Way::Folder(folder),
            url => {
                let smtp = SmtpTransport::from_url(url)
                    .ok()
                    .context("mail.server is not the URL of an SMTP server")?;
                Way::Smtp(Arc::new(smtp.build()))
            }
        };
        Ok(Mailer { from, way })
    }

    /// Handles a job of [`SEND`]. Run twice, it sends the same mail under the same Message-ID, which mail programs show once.
    ///
    /// # Errors
    /// `Retry` when the mail server does not take it now; `Fail` for a mail that cannot be sent at all.
    pub async fn send(&self, vault: &Vault, job: &Job) -> Result<(), JobError> {
        let fail = |text: &str| JobError::Fail(text.to_owned());
        let sealed = job.payload["sealed"]
            .as_str()
            .and_then(|text| STANDARD.decode(text).ok());
        let plain = sealed.and_then(|sealed| vault.open(PLACE, &sealed).ok());
        let plain = plain.ok_or_else(|| fail("the mail does not open under the master key"))?;
        let mail: Mail = serde_json::from_slice(&plain).map_err(|_| fail("the mail cannot be read"))?;
        let to: Mailbox = mail
            .to
            .parse()
            .map_err(|_| fail("the address of the mail cannot be read"))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject)
            .message_id(Some(format!("<{}.{}@{}>", job.kind, job.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text)
            .map_err(|_| fail("the mail cannot be put together"))?;
        match &self.way {
            Way::Smtp(transport) => {
                let transport = transport.clone();
                let sent = tokio::task::spawn_blocking(move || transport.send(&message)).await;
                match sent.map_err(|_| JobError::Retry("the mailer stopped".to_owned()))? {
                    Ok(_) => Ok(()),
                    // The answer of the mail server may repeat the address, so only its kind is kept.
                    Err(error) if error.is_permanent() => Err(fail("the mail server refuses the mail")),
                    Err(_) => Err(JobError::Retry("the mail server does not take the mail now".to_owned())),
                }
            }
            Way::Folder(folder) => {
                let file = folder.join(format!("{}.eml", job.id));
                let written = async {
                    tokio::fs::create_dir_all(folder).await?;
                    tokio::fs::write(&file, message.formatted()).await
                };
                written
                    .await
                    .map_err(|error| JobError::Retry(format!("cannot write {}: {error}", file.display())))
            }
        }
    }
}

impl Mail {
    /// Lets the mail be sent when the transaction commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue(
        &self,
        transaction: &mut PgConnection,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        jobs::enqueue(transaction, now, &[NewJob::new(SEND, self.sealed(vault))]).await
    }

    fn sealed(&self, vault: &Vault) -> Value {
        let plain = json!(self).to_string();
        json!({"sealed": STANDARD.encode(vault.seal(PLACE, plain.as_bytes()))})
    }
}

/// The mails, in words. `root` is the address of the server.
impl Mail {
    pub fn sign_up(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(
            to,
            "Confirm your e-mail address",
            "Somebody, probably you, signed up at MedConsult with this address. To confirm it, open this page within a day:",
            &format!("{root}/auth/confirm?link={secret}"),
        )
    }

    pub fn already_signed_up(to: &str, root: &str) -> Mail {
        Mail::with_link(
            to,
            "You already have an account",
            "Somebody, probably you, tried to sign up at MedConsult with this address, which has an account. If you forgot \
             its password, you can choose another one here:",
            &format!("{root}/auth/forgot"),
        )
    }

    pub fn invitation(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(
            to,
            "You are invited to MedConsult",
            "An administrator of MedConsult invites you to open an account. To accept, open this page within a week:",
            &format!("{root}/auth/confirm?link={secret}"),
        )
    }

    pub fn reset(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(
            to,
            "Choose another password",
            "Somebody, probably you, forgot the password of your MedConsult account. To choose another one, open this page \
             within an hour:",
            &format!("{root}/auth/confirm?link={secret}"),
        )
    }

    /// To whoever forgot the password of an account that they closed, or signs up again.
    pub fn reopen(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(
            to,
            "Open your account again",
            "You closed your MedConsult account. To open it again, and choose another password, open this page within an hour:",
            &format!("{root}/auth/confirm?link={secret}"),
        )
    }

    /// To whoever tries to get into an account that the practice closed, or that was closed too long ago.
    pub fn closed(to: &str) -> Mail {
        Mail {
            to: to.to_owned(),
            subject: "Your account is closed".to_owned(),
            text: "Somebody, probably you, tried to use your MedConsult account, which is closed. Your practice can open it \
                   again.\n\nIf you did not expect this mail, you need not do anything.\n"
                .to_owned(),
        }
    }

    /// To whoever just closed their account.
    pub fn goodbye(to: &str, root: &str) -> Mail {
        Mail::with_link(
            to,
            "Your account was closed",
            "Your MedConsult account was closed. Should you change your mind within a month, or should that not have been \
             you, open it again here:",
            &format!("{root}/auth/forgot"),
        )
    }

    /// A code to sign in with.
    pub fn code(to: &str, code: &str) -> Mail {
        Mail {
            to: to.to_owned(),
            subject: "Your code".to_owned(),
            text: format!(
                "Somebody, probably you, signs in to MedConsult with your password. The code for the next ten minutes is\n\n\
                 {code}\n\nNobody of us will ever ask you for it. If that is not you, choose another password at once.\n"
            ),
        }
    }

    pub fn change_email(to: &str, root: &str, secret: &str) -> Mail {
        Mail::with_link(
            to,
            "Confirm your new e-mail address",
            "You asked MedConsult to use this address for your account. To confirm it, open this page within a day:",
            &format!("{root}/auth/confirm?link={secret}"),
        )
    }

    /// Tells the owner of an account what was just done to it.
    pub fn notice(to: &str, root: &str, what: &str) -> Mail {
        Mail::with_link(
            to,
            "Your account was changed",
            &format!("{what} If that was not you, choose another password at once:"),
            &format!("{root}/auth/forgot"),
        )
    }

    fn with_link(to: &str, subject: &str, sentence: &str, link: &str) -> Mail {
        Mail {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: format!("{sentence}\n\n{link}\n\nIf you did not expect this mail, you need not do anything.\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_waits_sealed() {
        let vault = Vault::new(&Vault::new_key()).unwrap();
        let waiting = Mail::reset("ada@clinic.example", "https://clinic.example", "s3cret")
            .sealed(&vault)
            .to_string();
        assert!(!waiting.contains("ada") && !waiting.contains("s3cret"));
    }

    #[test]
    fn what_cannot_be_a_mailer_is_refused_without_its_password() {
        let folder = PathBuf::new();
        assert!(Mailer::new("", "MedConsult <no-reply@clinic.example>", folder.clone()).is_ok());
        assert!(Mailer::new("", "nobody", folder.clone()).is_err());
        let error = Mailer::new("http://u:hunter2@mail.example", "a@b.example", folder)
            .err()
            .unwrap();
        assert!(!format!("{error:#}").contains("hunter2"));
    }
}
