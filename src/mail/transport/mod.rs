//! How mails leave the server.
//!
//! | [`Delivery`] | an SMTP server | a provider | what becomes of the mail |
//! |---|---|---|---|
//! | `Taken` | 250 after the text | 202 | sent |
//! | `Refused` | 5xx for the recipient or the text | 400, 413 | refused, for good |
//! | `Later` | 4xx, or the connection broke | 5xx | tried again, after growing pauses |
//! | `Away` | no connection, no TLS, no sign-in, 421; does not let us send | no connection, 401, 403, 429 | all mails wait: it is not about this one |

mod provider;
mod smtp;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

pub(super) use self::provider::ARGUMENT;
use self::provider::Provider;
use self::smtp::Smtp;
use super::templates::Words;

/// Hands mails over to whoever delivers them.
pub struct Transport {
    from: Mailbox,
    /// Where what cannot be delivered comes back to.
    return_path: Address,
    way: Way,
}

/// Where mails are handed over.
#[derive(Debug)]
pub enum Via<'s> {
    /// `smtps://user:password@mail.example`, or `smtp://mail.example:587?tls=required`. `authority` is a PEM file of whoever
    /// vouches for the server, if the machine does not know them; empty otherwise.
    Smtp {
        url: &'s str,
        authority: &'s Path,
    },
    /// Who is spoken to as SendGrid is.
    Provider {
        url: &'s str,
        key: &'s str,
    },
    Folder(PathBuf),
}

enum Way {
    Smtp(Box<Smtp>),
    Provider(Provider),
    /// One file per mail, for development.
    Folder(PathBuf),
}

/// A mail as it leaves.
#[derive(Debug)]
pub struct Outgoing<'m> {
    /// In front of the `@` of the Message-ID: the same at every attempt, so that whoever gets a mail twice sees one.
    pub message_id: &'m str,
    pub to: &'m str,
    pub words: &'m Words,
    /// Where the reader says which mails they want.
    pub preferences: Option<&'m str>,
}

/// What became of an attempt. The text is a code, never an answer of the other side, which may quote the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Taken,
    Refused(String),
    Later(String),
    Away(String),
}

impl Transport {
    /// Mails come from `from` (`Clinic <no-reply@clinic.example>`), and go back to `return_path`, or if that is empty to the
    /// address in `from`.
    ///
    /// # Errors
    /// When an address, a URL or a certificate cannot be used. The URL is not repeated: it has a password.
    pub fn open(via: Via<'_>, from: &str, return_path: &str) -> Result<Transport> {
        let from: Mailbox = from
            .parse()
            .with_context(|| format!("mail.from is not an address: {from}"))?;
        let return_path = match return_path {
            "" => from.email.clone(),
            address => address
                .parse()
                .with_context(|| format!("mail.return_path is not an address: {address}"))?,
        };
        let way = match via {
            Via::Smtp { url, authority } => Way::Smtp(Box::new(Smtp::new(url, authority)?)),
            Via::Provider { url, key } => Way::Provider(Provider::new(url, key)?),
            Via::Folder(folder) => Way::Folder(folder),
        };
        Ok(Transport { from, return_path, way })
    }

    /// The name of who sends, for people.
    pub fn sender(&self) -> &str {
        self.from.name.as_deref().unwrap_or(self.from.email.domain())
    }

    /// Hands a mail over.
    pub async fn deliver(&self, mail: &Outgoing<'_>) -> Delivery {
        if let Way::Provider(provider) = &self.way {
            return provider.deliver(&self.from, mail).await;
        }
        let Some(message) = self.message(mail) else {
            return Delivery::Refused("address".to_owned());
        };
        match &self.way {
            Way::Smtp(smtp) => smtp.deliver(message.envelope(), &message.formatted()).await,
            Way::Folder(folder) => write(folder, mail.message_id, &message).await,
            Way::Provider(_) => Delivery::Away("no transport".to_owned()),
        }
    }

    /// Lets go of connections that are kept between mails.
    pub async fn rest(&self) {
        if let Way::Smtp(smtp) = &self.way {
            smtp.rest().await;
        }
    }

    /// The mail as text (RFC 5322), with a plain and an HTML form. `None` where an address is none.
    fn message(&self, mail: &Outgoing<'_>) -> Option<Message> {
        let to: Address = mail.to.parse().ok()?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to.clone().into())
            .subject(mail.words.subject.clone())
            .message_id(Some(message_id(mail.message_id, &self.from)))
            // RFC 3834: who answers by itself, as those on vacation do, does not answer this.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .envelope(Envelope::new(Some(self.return_path.clone()), vec![to]).ok()?);
        if let Some(preferences) = mail.preferences {
            message = message.raw_header(header("List-Unsubscribe", &format!("<{preferences}>")));
        }
        let body = MultiPart::alternative_plain_html(mail.words.text.clone(), mail.words.html.clone());
        message.multipart(body).ok()
    }
}

fn message_id(id: &str, from: &Mailbox) -> String {
    format!("<{id}@{}>", from.email.domain())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

async fn write(folder: &PathBuf, name: &str, message: &Message) -> Delivery {
    let written = async {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::write(folder.join(format!("{name}.eml")), message.formatted()).await
    };
    match written.await {
        Ok(()) => Delivery::Taken,
        Err(error) => Delivery::Away(format!("folder: {}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLINIC: &str = "Klinik Süd <no-reply@clinic.example>";

    fn open(via: Via<'_>, from: &str) -> Result<Transport> {
        Transport::open(via, from, "")
    }

    fn smtp(url: &str) -> Via<'_> {
        Via::Smtp {
            url,
            authority: Path::new(""),
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_password() {
        assert!(open(Via::Folder(PathBuf::new()), CLINIC).is_ok());
        assert!(open(Via::Folder(PathBuf::new()), "nobody").is_err());
        for wrong in [
            "http://u:hunter2@mail.example",
            "u:hunter2@mail.example",
            // The password would cross the network in the clear.
            "smtp://u:hunter2@mail.example",
            "smtps://u:hunter2@mail.example?tls=sometimes",
        ] {
            let error = open(smtp(wrong), CLINIC).err().expect(wrong);
            assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        }
        for right in [
            "smtps://u:hunter2@mail.example",
            "smtp://u:hunter2@mail.example:2525?tls=required",
            "smtp://u:hunter2@127.0.0.1",
            "smtp://mail.example",
        ] {
            assert!(open(smtp(right), CLINIC).is_ok(), "{right}");
        }
        let provider = Via::Provider {
            url: "http://api.sendgrid.com",
            key: "SG.hunter2",
        };
        assert!(!format!("{:#}", open(provider, CLINIC).err().unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_mail_has_a_plain_and_an_html_form_and_says_that_a_machine_wrote_it() {
        let transport = open(Via::Folder(PathBuf::new()), CLINIC).unwrap();
        let words = Words {
            subject: "Grüße\r\nBcc: eve@evil.example".to_owned(),
            text: "plain".to_owned(),
            html: "<p>rich</p>".to_owned(),
        };
        let mail = Outgoing {
            message_id: "abc",
            to: "ada@clinic.example",
            words: &words,
            preferences: Some("https://clinic.example/settings"),
        };
        let message = transport.message(&mail).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        for expected in [
            "Message-ID: <abc@clinic.example>\r\n",
            "To: ada@clinic.example\r\n",
            "List-Unsubscribe: <https://clinic.example/settings>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("\nBcc:"), "{text}");
        assert_eq!(transport.sender(), "Klinik Süd");
        let nobody = Outgoing { to: "nobody", ..mail };
        assert!(transport.message(&nobody).is_none());
    }
}
