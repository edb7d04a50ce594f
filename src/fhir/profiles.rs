//! The resources that MedConsult brings: the definitions of `profiles/`, compiled into the program.
//!
//! They are stored at the start of a server, by the same door as what a client sends. Each is stored once per text: what an
//! operator changes or deletes afterwards stays so, until a release brings another text of it.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::commit::{Op, Target, Write, commit};
use super::error::FhirError;
use super::server::FhirServer;

/// Name and text of each file in `profiles/`.
const PROFILES: [(&str, &str); 9] = [
    (
        "appointment-hold-expires",
        include_str!("../../profiles/appointment-hold-expires.json"),
    ),
    (
        "communication-about",
        include_str!("../../profiles/communication-about.json"),
    ),
    (
        "communication-in-response-to",
        include_str!("../../profiles/communication-in-response-to.json"),
    ),
    (
        "communication-topic",
        include_str!("../../profiles/communication-topic.json"),
    ),
    ("coverage-period", include_str!("../../profiles/coverage-period.json")),
    ("flag-status", include_str!("../../profiles/flag-status.json")),
    (
        "medicationrequest-group-identifier",
        include_str!("../../profiles/medicationrequest-group-identifier.json"),
    ),
    (
        "paymentnotice-payment",
        include_str!("../../profiles/paymentnotice-payment.json"),
    ),
    (
        "paymentreconciliation-payment-identifier",
        include_str!("../../profiles/paymentreconciliation-payment-identifier.json"),
    ),
];

/// Stores what is new or has changed since the last start.
///
/// # Errors
/// 503 when the database cannot be reached. A profile that is refused, because an operator's own search parameter has its
/// code, is left out and tried again at the next start.
pub async fn load(server: &FhirServer) -> Result<(), FhirError> {
    let mut lease = server.store.fixed().await?;
    let known: Vec<(String, Vec<u8>)> = sqlx::query_as("SELECT name, digest FROM loaded_profile")
        .fetch_all(&mut *lease)
        .await?;
    lease.release();
    for (name, text) in PROFILES {
        let digest = Sha256::digest(text.as_bytes()).to_vec();
        if known.iter().any(|(known, loaded)| known == name && *loaded == digest) {
            continue;
        }
        match store(server, text).await {
            Ok(()) => remember(server, name, &digest).await?,
            Err(error) if error.status.is_client_error() => {
                tracing::warn!(profile = name, reason = error.to_json(), "a profile is not loaded");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Stores the resource, unless an operator has deleted it.
async fn store(server: &FhirServer, text: &str) -> Result<(), FhirError> {
    let resource: Value = serde_json::from_str(text).map_err(FhirError::internal)?;
    let text_of = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
    let (resource_type, id) = (text_of("resourceType"), text_of("id"));
    let caller = Caller::sandbox();
    let stored = server.store.read(&caller, &resource_type, &id).await?;
    if stored.is_some_and(|stored| stored.deleted) {
        return Ok(());
    }
    let write = Write::Update {
        target: Target::Instance { resource_type, id },
        resource,
        if_match: None,
        if_none_match_any: false,
    };
    let outcome = commit(server, &caller, vec![Op { write, full_url: None }]).await;
    outcome.map(|_| ()).map_err(|error| error.error)
}

async fn remember(server: &FhirServer, name: &str, digest: &[u8]) -> Result<(), FhirError> {
    const SQL: &str = "INSERT INTO loaded_profile (name, digest) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET digest = excluded.digest";
    let mut lease = server.store.fixed().await?;
    sqlx::query(SQL).bind(name).bind(digest).execute(&mut *lease).await?;
    lease.release();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::search::own::check::check;
    use crate::knowledge::definitions::Definitions;
    use crate::knowledge::validation::Validator;

    #[test]
    fn every_file_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, PROFILES.map(|(name, _)| format!("{name}.json")));
    }

    #[test]
    fn every_profile_is_valid_and_can_be_used() {
        let validator = Validator::new(Definitions::r4());
        for (name, text) in PROFILES {
            let resource: Value = serde_json::from_str(text).unwrap();
            let findings = validator.validate(&resource);
            assert!(findings.is_empty(), "{name}: {findings:?}");
            let checked = check(Definitions::r4(), &resource);
            assert!(checked.is_ok(), "{name}: {}", checked.unwrap_err().to_json());
            assert_eq!(resource["status"], "active", "{name}");
        }
    }
}
