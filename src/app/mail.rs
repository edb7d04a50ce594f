//! How mails are put together: the settings, the rooms of mails and messages, and the accounts that they write to.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use sqlx::PgPool;

use crate::auth::AuthServer;
use crate::auth::accounts::Account;
use crate::base::Database;
use crate::config::Config;
use crate::jobs::Registry;
use crate::mail::provider_events::ProviderEvents;
use crate::mail::sender::SenderParts;
use crate::mail::transport::Via;
use crate::mail::{Composer, Sender, Templates, Transport};
use crate::messaging::Messaging;
use crate::messaging::letters::COMPOSER;
use crate::messaging::people::Addresses;

/// How many connections to the database mails have for themselves.
const MAIL_CONNECTIONS: u32 = 2;

/// How mails leave the server, and what they are about.
pub(super) struct MailRoom {
    sender: Arc<Sender>,
    messaging: Arc<Messaging>,
    pub(super) provider_events: Option<Arc<ProviderEvents>>,
}

impl MailRoom {
    /// # Errors
    /// When a setting of `[mail]` cannot be used.
    pub(super) fn build(config: &Config, database: &Database, auth: &Arc<AuthServer>) -> Result<MailRoom> {
        let settings = &config.mail;
        let via = match (settings.server.reveal(), settings.provider.as_str()) {
            ("", "") => Via::Folder(config.data_dir.join("mail")),
            ("", url) => Via::Provider {
                url,
                key: settings.provider_key.reveal(),
            },
            (url, _) => Via::Smtp {
                url,
                authority: &settings.authority,
            },
        };
        let transport = Transport::open(via, &settings.from, &settings.return_path)?;
        let templates = Templates::open(&settings.templates, &settings.language, transport.sender())
            .context("mail.templates and mail.language")?;
        let pool = database.apart(MAIL_CONNECTIONS);
        let apps = match settings.apps.trim_end_matches('/') {
            "" => format!("{}/apps", config.root_url()),
            apps => apps.to_owned(),
        };
        let messaging = Arc::new(Messaging {
            fhir: auth.fhir.clone(),
            outbox: auth.outbox.clone(),
            pool: pool.clone(),
            addresses: Arc::new(AccountAddresses(pool.clone())),
            apps,
            preferences: format!("{}/auth/account/details", config.root_url()),
        });
        let key = settings.provider_event_key.as_str();
        let provider_events = (!key.is_empty())
            .then(|| ProviderEvents::new(key, auth.outbox.clone(), pool.clone(), auth.clock.clone()))
            .transpose()?;
        let parts = SenderParts {
            outbox: auth.outbox.clone(),
            pool,
            clock: auth.clock.clone(),
            transport,
            templates,
            connections: settings.connections,
        };
        let composer: Arc<dyn Composer> = messaging.clone();
        Ok(MailRoom {
            sender: Arc::new(Sender::new(parts, HashMap::from([(COMPOSER, composer)]))),
            messaging,
            provider_events: provider_events.map(Arc::new),
        })
    }

    /// Adds the jobs of both rooms.
    ///
    /// # Errors
    /// None in practice: the patterns of the schedules are fixed.
    pub(super) fn register(&self, registry: Registry) -> Result<Registry> {
        Ok(self.messaging.register(self.sender.register(registry)?))
    }
}

/// Accounts, as those see them who write to people.
struct AccountAddresses(PgPool);

impl Addresses for AccountAddresses {
    fn address_of<'a>(&'a self, person: &'a str) -> BoxFuture<'a, Result<Option<String>, sqlx::Error>> {
        Box::pin(Account::address_of(&self.0, person))
    }
}
