//! SMTP (RFC 5321), in steps, so that what is said about the recipient is told from what is said about us.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Severity;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Delivery;

/// How long a connection may take, with TLS and signing in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How long one mail may take on it.
const MAIL_PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection is kept for the next mail. Servers hang up on those that are silent for minutes.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// An SMTP server, with the connections to it that wait for the next mail.
pub(super) struct Smtp {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
    kept: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

enum Security {
    /// TLS from the first byte on.
    Wrapped(TlsParameters),
    /// STARTTLS, or nothing is sent.
    Required(TlsParameters),
    /// STARTTLS where the server offers it.
    Opportunistic(TlsParameters),
    None,
}

/// What an answer of the server is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Us: what we send from.
    Sender,
    /// Whom the mail is for, or what it says.
    Mail,
}

/// How a conversation ended without an error.
enum Said {
    Taken,
    /// The address has letters that this server does not take.
    NotOffered,
}

impl Smtp {
    /// # Errors
    /// What is wrong with the URL, without its text, or with the certificate.
    pub(super) fn new(url: &str, authority: &Path) -> Result<Smtp> {
        const SHAPE: &str = "mail.server is not the URL of an SMTP server, as smtps://user:password@mail.example, or \
             smtp://mail.example:587?tls=required";
        let url = Url::parse(url).ok().context(SHAPE)?;
        let host = url.host_str().filter(|host| !host.is_empty()).context(SHAPE)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = || {
            let mut parameters = TlsParameters::builder(host.clone());
            if !authority.as_os_str().is_empty() {
                let pem = fs::read(authority).with_context(|| format!("cannot read {}", authority.display()))?;
                let certificate = Certificate::from_pem(&pem).context("mail.authority is no certificate in PEM")?;
                parameters = parameters.add_root_certificate(certificate);
            }
            parameters.build().context("cannot prepare TLS for mail.server")
        };
        let wanted = url.query_pairs().find(|(key, _)| key == "tls");
        let security = match (url.scheme(), wanted.as_ref().map(|(_, value)| value.as_ref())) {
            ("smtps", None) => Security::Wrapped(tls()?),
            ("smtp", Some("required")) => Security::Required(tls()?),
            ("smtp", Some("opportunistic")) => Security::Opportunistic(tls()?),
            ("smtp", None) => Security::None,
            _ => bail!(SHAPE),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
        let credentials = match url.username() {
            "" => None,
            user => Some(Credentials::new(
                decoded(user).ok().context(SHAPE)?,
                decoded(url.password().unwrap_or_default()).ok().context(SHAPE)?,
            )),
        };
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let is_sealed = matches!(security, Security::Wrapped(_) | Security::Required(_));
        ensure!(
            credentials.is_none() || is_sealed || is_here,
            "mail.server: the password would cross the network in the clear; use smtps://, or ?tls=required"
        );
        Ok(Smtp {
            port: url.port().unwrap_or(match security {
                Security::Wrapped(_) => 465,
                _ => 587,
            }),
            host,
            security,
            credentials,
            hello: ClientId::default(),
            kept: Mutex::default(),
        })
    }

    pub(super) async fn deliver(&self, envelope: &Envelope, message: &[u8]) -> Delivery {
        let mut connection = match timeout(CONNECT_PATIENCE, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Delivery::Away(code("connect", &error)),
            Err(_) => return Delivery::Away("smtp connect: too slow".to_owned()),
        };
        match timeout(MAIL_PATIENCE, converse(&mut connection, envelope, message)).await {
            Ok(Ok(Said::NotOffered)) => Delivery::Refused("smtp: no SMTPUTF8".to_owned()),
            Ok(Ok(Said::Taken)) => {
                self.kept.lock().await.push((connection, Instant::now()));
                Delivery::Taken
            }
            Ok(Err((step, error))) => {
                let _ = timeout(Duration::from_secs(1), connection.abort()).await;
                judge(step, &error)
            }
            Err(_) => Delivery::Later("smtp: too slow".to_owned()),
        }
    }

    /// Ends the connections that are kept.
    pub(super) async fn rest(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().await);
        for (mut connection, _) in kept {
            let _ = timeout(Duration::from_secs(1), connection.quit()).await;
        }
    }

    /// One that is kept and still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        loop {
            let Some((mut connection, since)) = self.kept.lock().await.pop() else {
                return self.connect().await;
            };
            if since.elapsed() < KEPT_FOR && connection.test_connected().await {
                return Ok(connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapped = match &self.security {
            Security::Wrapped(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let address = (self.host.as_str(), self.port);
        let patience = Some(CONNECT_PATIENCE);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, patience, &self.hello, wrapped, None).await?;
        match &self.security {
            Security::Required(parameters) => connection.starttls(parameters.clone(), &self.hello).await?,
            Security::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await?;
        }
        Ok(connection)
    }
}

async fn converse(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
) -> Result<Said, (Step, Error)> {
    let sender = |error| (Step::Sender, error);
    let mail = |error| (Step::Mail, error);
    // RFC 6531: addresses in other letters, where the server takes them.
    let speaks_utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    let is_ascii = envelope.to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii());
    let parameters = match is_ascii {
        true => Vec::new(),
        false if speaks_utf8 => vec![MailParameter::SmtpUtfEight],
        false => return Ok(Said::NotOffered),
    };
    let from = Mail::new(envelope.from().cloned(), parameters);
    connection.command(from).await.map_err(sender)?;
    for recipient in envelope.to() {
        let recipient = Rcpt::new(recipient.clone(), Vec::new());
        connection.command(recipient).await.map_err(mail)?;
    }
    connection.command(Data).await.map_err(mail)?;
    connection.message(message).await.map_err(mail)?;
    Ok(Said::Taken)
}

fn judge(step: Step, error: &Error) -> Delivery {
    let text = code("mail", error);
    match error.status() {
        // "Service not available, closing transmission channel"
        Some(status) if status.to_string() == "421" => Delivery::Away(text),
        Some(status) if status.severity == Severity::PermanentNegativeCompletion => match step {
            Step::Sender => Delivery::Away(text),
            Step::Mail => Delivery::Refused(text),
        },
        Some(_) | None => Delivery::Later(text),
    }
}

/// The number of the answer, or the kind of what went wrong. The server's sentences may quote the address.
fn code(step: &str, error: &Error) -> String {
    match error.status() {
        Some(status) => format!("smtp {status}"),
        None if error.is_tls() => format!("smtp {step}: tls"),
        None if error.is_client() => format!("smtp {step}: not offered"),
        None => format!("smtp {step}: no answer"),
    }
}
