//! A mail, made at the moment when it leaves. Whatever became of the event, of the wishes of the person or of their address
//! in the meantime counts: a mail says what is so, goes where its reader is, or does not leave.
//!
//! It says that something happened, and when, on the reader's clock. It names neither what nor with whom, not even when a visit is:
//! mail passes through hands that are not bound to secrecy, and lies about in inboxes that others open. The link leads to an
//! id of the request, which says nothing by itself.

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Messaging, events, people};
use crate::jobs::JobError;
use crate::mail::{Composed, Composer, Letter};

/// The name of this room among those that make letters.
pub const COMPOSER: &str = "messaging";

/// Why there is no mail: codes of the system `mail-failure`.
pub const OPTED_OUT: &str = "opted-out";
pub const NO_ADDRESS: &str = "no-address";
pub const OVERTAKEN: &str = "overtaken";

impl Composer for Messaging {
    fn compose<'a>(&'a self, cause: &'a Value) -> BoxFuture<'a, Result<Composed, JobError>> {
        Box::pin(letter(self, cause))
    }
}

async fn letter(messaging: &Messaging, cause: &Value) -> Result<Composed, JobError> {
    let text = |name: &str| cause[name].as_str().unwrap_or_default();
    let (event, about, request) = (text("event"), text("about"), text("request"));
    let version = cause["version"]
        .as_i64()
        .and_then(|version| i32::try_from(version).ok());
    let asked = messaging.read(&format!("CommunicationRequest/{request}")).await?;
    if asked.is_none_or(|asked| asked["status"] != "active") {
        return Ok(Composed::Nothing(OVERTAKEN));
    }
    let Some(person) = messaging.read(text("person")).await? else {
        return Ok(Composed::Nothing(NO_ADDRESS));
    };
    if !people::wants(&person, event) {
        return Ok(Composed::Nothing(OPTED_OUT));
    }
    let Some(to) = messaging.addresses.address_of(text("person")).await? else {
        return Ok(Composed::Nothing(NO_ADDRESS));
    };
    let then = messaging.read_version(about, version.unwrap_or_default()).await?;
    let now = messaging.read(about).await?;
    let Some(then) = then.filter(|then| events::is_still_true(event, then, now.as_ref())) else {
        return Ok(Composed::Nothing(OVERTAKEN));
    };
    let at: Option<Timestamp> = then["meta"]["lastUpdated"].as_str().and_then(|at| at.parse().ok());
    let at = at.unwrap_or_else(|| messaging.fhir.clock.now());
    let role = text("role");
    let values = json!({
        "link": format!("{}/{role}/open/{request}", messaging.apps),
        "role": role,
        "state": now.as_ref().map(events::label).unwrap_or_default(),
        "at": people::moment(&person, at),
    });
    Ok(Composed::Letter(Letter {
        to,
        template: event.to_owned(),
        languages: people::language(&person).to_owned(),
        values: values.as_object().cloned().unwrap_or_default(),
        preferences: Some(messaging.preferences.clone()),
    }))
}
