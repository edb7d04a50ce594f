//! Who may come in: accounts, clients, factors and outside providers, out of the settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::settings::vault;
use crate::auth::AuthServer;
use crate::auth::accounts::Role;
use crate::auth::clients::keys::KeySets;
use crate::auth::factors::passkeys::RelyingParty;
use crate::auth::factors::policy::{Demand, FactorPolicy};
use crate::auth::passwords::Passwords;
use crate::auth::provider::{Provider, ProviderSettings};
use crate::auth::recognition::Recognition;
use crate::base::Database;
use crate::base::limits::Limits;
use crate::base::outbound::Outbound;
use crate::config::{Config, FactorDemand};
use crate::fhir::metadata::OAuthEndpoints;
use crate::fhir::server::FhirServer;
use crate::mail::Outbox;

/// How long a client may take to tell its keys: a request for a token waits for them.
const KEYS_PATIENCE: Duration = Duration::from_secs(5);

/// What signs people and clients in, and answers below `/auth`.
///
/// # Errors
/// What is wrong with a setting of `[identity]`.
pub(super) fn server(
    config: &Config,
    database: &Database,
    fhir: &Arc<FhirServer>,
    limits: &Limits,
    endpoints: OAuthEndpoints,
) -> Result<AuthServer> {
    let clock = &fhir.clock;
    Ok(AuthServer {
        fhir: fhir.clone(),
        pool: database.write.clone(),
        clock: clock.clone(),
        ids: fhir.ids.clone(),
        vault: vault(config)?,
        passwords: Passwords::default(),
        outbox: Outbox::new(Arc::new(vault(config)?), clock.clone()),
        key_sets: KeySets::new(Outbound::new(config.identity.private_hosts.clone(), KEYS_PATIENCE)?),
        issuer: config.root_url(),
        endpoints,
        sign_up: config.identity.sign_up,
        factors: factor_policy(config)?,
        relying_party: RelyingParty::new(&config.root_url()),
        providers: providers(config)?,
        recognition: Recognition::default(),
        limits: limits.clone(),
    })
}

/// Which factors the settings ask for.
fn factor_policy(config: &Config) -> Result<FactorPolicy> {
    let factors = &config.identity.factors;
    let demand = |setting: FactorDemand| match setting {
        FactorDemand::Optional => Demand::Optional,
        FactorDemand::Required => Demand::Required,
        FactorDemand::Passkey => Demand::Passkey,
    };
    let by_mail: Result<Vec<Role>, String> = factors.by_mail.iter().map(|role| role.parse()).collect();
    let by_mail = by_mail
        .map_err(anyhow::Error::msg)
        .context("identity.factors.by_mail")?;
    let policy = FactorPolicy {
        patient: demand(factors.patient),
        practitioner: demand(factors.practitioner),
        admin: demand(factors.admin),
        by_mail: [Role::Patient, Role::Practitioner, Role::Admin].map(|role| by_mail.contains(&role)),
    };
    let asks_for_passkeys = [policy.patient, policy.practitioner, policy.admin].contains(&Demand::Passkey);
    ensure!(
        !asks_for_passkeys || RelyingParty::new(&config.root_url()).is_some(),
        "identity.factors asks for passkeys, which browsers only have where public_url is https:// and a name"
    );
    Ok(policy)
}

/// The OpenID providers of the settings.
fn providers(config: &Config) -> Result<Vec<Provider>> {
    let providers = config.identity.providers.iter().map(|(name, provider)| {
        let label = if provider.label.is_empty() {
            name
        } else {
            &provider.label
        };
        let settings = ProviderSettings {
            name: name.clone(),
            label: label.clone(),
            issuer: provider.issuer.clone(),
            client_id: provider.client_id.clone(),
            client_secret: provider.client_secret.reveal().to_owned(),
            scopes: provider.scopes.clone(),
            connect_by_email: provider.connect_by_email,
        };
        Provider::new(settings).with_context(|| format!("in identity.providers.{name}"))
    });
    providers.collect()
}
