//! A provider that takes mails by HTTP, as SendGrid does and others that speak like it
//! (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>).
//!
//! It is asked to follow nobody: neither who opens a mail, nor who follows a link, whose address would be replaced by one of
//! the provider's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lettre::message::Mailbox;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

use super::{Delivery, Outgoing, message_id};

const PATIENCE: Duration = Duration::from_secs(30);
/// The custom argument that comes back with the provider's events: the mail's `message_id`.
pub(in crate::mail) const ARGUMENT: &str = "medconsult_mail";

pub(super) struct Provider {
    client: Client,
    url: Url,
    authorization: HeaderValue,
}

impl Provider {
    /// `key` is sent to nobody but the host of `url`, and only by TLS, unless that is this machine.
    ///
    /// # Errors
    /// When the address is none of that kind, or there is no key.
    pub(super) fn new(url: &str, key: &str) -> Result<Provider> {
        let url = Url::parse(url).ok().context("mail.provider is not an address")?;
        let is_here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        ensure!(
            url.scheme() == "https" || url.scheme() == "http" && is_here,
            "mail.provider must be https://: the key would cross the network in the clear"
        );
        ensure!(!key.is_empty(), "mail.provider needs mail.provider_key");
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}"))
            .ok()
            .context("mail.provider_key has characters that no key has")?;
        authorization.set_sensitive(true);
        let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build();
        Ok(Provider {
            client: client.context("cannot prepare TLS for mail.provider")?,
            url: url.join("/v3/mail/send").context("mail.provider is not an address")?,
            authorization,
        })
    }

    pub(super) async fn deliver(&self, from: &Mailbox, mail: &Outgoing<'_>) -> Delivery {
        let request = self
            .client
            .post(self.url.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body(from, mail).to_string());
        match request.send().await {
            Ok(response) => judge(response.status()),
            Err(error) if error.is_connect() => Delivery::Away("provider: no connection".to_owned()),
            Err(_) => Delivery::Later("provider: no answer".to_owned()),
        }
    }
}

fn judge(status: StatusCode) -> Delivery {
    let text = format!("provider {}", status.as_u16());
    match status.as_u16() {
        200..300 => Delivery::Taken,
        400 | 413 => Delivery::Refused(text),
        500.. => Delivery::Later(text),
        // Not let in, too many, or not a provider at all: nothing about this mail.
        _ => Delivery::Away(text),
    }
}

fn body(from: &Mailbox, mail: &Outgoing<'_>) -> Value {
    let mut sender = json!({"email": from.email.to_string()});
    if let Some(name) = &from.name {
        sender["name"] = json!(name);
    }
    let mut headers = json!({
        "Message-ID": message_id(mail.message_id, from),
        "Auto-Submitted": "auto-generated",
    });
    if let Some(preferences) = mail.preferences {
        headers["List-Unsubscribe"] = json!(format!("<{preferences}>"));
    }
    json!({
        "personalizations": [{"to": [{"email": mail.to}], "custom_args": {ARGUMENT: mail.message_id}}],
        "from": sender,
        "subject": mail.words.subject,
        "content": [
            {"type": "text/plain", "value": mail.words.text},
            {"type": "text/html", "value": mail.words.html},
        ],
        "headers": headers,
        "tracking_settings": {
            "click_tracking": {"enable": false, "enable_text": false},
            "open_tracking": {"enable": false},
            "subscription_tracking": {"enable": false},
            "ganalytics": {"enable": false},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_the_mail_is_told_from_one_about_us() {
        let of = |status: u16| judge(StatusCode::from_u16(status).unwrap());
        assert_eq!((of(202), of(200)), (Delivery::Taken, Delivery::Taken));
        for status in [400, 413] {
            assert_eq!(of(status), Delivery::Refused(format!("provider {status}")));
        }
        for status in [500, 503] {
            assert_eq!(of(status), Delivery::Later(format!("provider {status}")));
        }
        for status in [302, 401, 403, 404, 429] {
            assert_eq!(of(status), Delivery::Away(format!("provider {status}")));
        }
    }
}
