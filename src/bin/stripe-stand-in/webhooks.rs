//! Tells of events, signed (<https://docs.stripe.com/webhooks>), again and again until it is heard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::hmac;
use medconsult::base::Clock;
use reqwest::Client;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is told.
const TRIES: u32 = 20;
/// The longest pause between two tries; the first is a second, and each the double of the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who is told.
pub struct Receiver {
    url: String,
    key: hmac::Key,
    client: Client,
    clock: Clock,
}

impl Receiver {
    pub fn new(url: String, secret: &str) -> Result<Receiver> {
        Ok(Receiver {
            url,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            client: Client::builder().no_proxy().timeout(PATIENCE).build()?,
            clock: Clock::system(),
        })
    }

    /// Whether it was heard.
    async fn tell(&self, event: &str) -> bool {
        let time = self.clock.now().as_second();
        let tag = hmac::sign(&self.key, format!("{time}.{event}").as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json; charset=utf-8")
            .header("stripe-signature", format!("t={time},v1={digits}"))
            .body(event.to_owned());
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Tells of each event, whatever became of the others.
pub async fn deliver(mut events: UnboundedReceiver<Value>, receiver: Option<Arc<Receiver>>) {
    while let Some(event) = events.recv().await {
        let Some(receiver) = receiver.clone() else { continue };
        tokio::spawn(async move {
            let text = event.to_string();
            for attempt in 0..TRIES {
                if receiver.tell(&text).await {
                    return;
                }
                sleep(Duration::from_secs(1 << attempt.min(6)).min(LONGEST_PAUSE)).await;
            }
        });
    }
}
