//! The resources that MedConsult brings: the definitions of `profiles/`, compiled into the program.
//!
//! They are stored at the start of a server, by the same door as what a client sends. Each is stored once per text: what an
//! operator changes or deletes afterwards stays so, until a release brings another text of it. What is enforced is the
//! package in the program ([`Package`]), whatever became of its copies in the database.

use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::commit::{CommitError, Op, Target, Write, commit};
use super::error::FhirError;
use super::server::FhirServer;
use crate::knowledge::profiles::{File, Package};

/// Stores what is new or has changed since the last start.
///
/// # Errors
/// 503 when the database cannot be reached. A definition that is refused, because an operator's own search parameter has
/// its code, is left out and tried again at the next start.
pub async fn load(server: &FhirServer) -> Result<(), FhirError> {
    let mut lease = server.store.fixed().await?;
    let known: Vec<(String, Vec<u8>)> = sqlx::query_as("SELECT name, digest FROM loaded_profile")
        .fetch_all(&mut *lease)
        .await?;
    lease.release();
    let mut new = Vec::new();
    for file in Package::medconsult().files() {
        let digest = Sha256::digest(file.text.as_bytes()).to_vec();
        if !known
            .iter()
            .any(|(name, loaded)| name == file.name && *loaded == digest)
        {
            new.push((file, digest));
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    let files: Vec<&File> = new.iter().map(|(file, _)| *file).collect();
    match store(server, &files).await {
        Ok(()) => return remember(server, &new).await,
        Err(CommitError { error, .. }) if !error.status.is_client_error() => return Err(error),
        // One of them is in the way of all: each for itself, then.
        Err(_) => {}
    }
    for (file, digest) in new {
        match store(server, &[file]).await {
            Ok(()) => remember(server, &[(file, digest)]).await?,
            Err(CommitError { error, .. }) if error.status.is_client_error() => {
                tracing::warn!(profile = file.name, reason = error.to_json(), "a profile is not loaded");
            }
            Err(CommitError { error, .. }) => return Err(error),
        }
    }
    Ok(())
}

/// Stores the resources, but for those that an operator has deleted.
async fn store(server: &FhirServer, files: &[&File]) -> Result<(), CommitError> {
    let caller = Caller::sandbox();
    let mut ops = Vec::with_capacity(files.len());
    for file in files {
        let text_of = |name: &str| file.resource[name].as_str().unwrap_or_default().to_owned();
        let (resource_type, id) = (text_of("resourceType"), text_of("id"));
        let stored = server.read(&caller, &resource_type, &id).await?;
        if stored.is_some_and(|stored| stored.deleted) {
            continue;
        }
        let write = Write::Update {
            target: Target::Instance { resource_type, id },
            resource: file.resource.clone(),
            if_match: None,
            if_none_match_any: false,
        };
        ops.push(Op { write, full_url: None });
    }
    if ops.is_empty() {
        return Ok(());
    }
    commit(server, &caller, ops).await.map(|_| ())
}

async fn remember(server: &FhirServer, files: &[(&File, Vec<u8>)]) -> Result<(), FhirError> {
    const SQL: &str = "INSERT INTO loaded_profile (name, digest) SELECT * FROM unnest($1::text[], $2::bytea[]) \
         ON CONFLICT (name) DO UPDATE SET digest = excluded.digest";
    let (names, digests): (Vec<&str>, Vec<&[u8]>) = files
        .iter()
        .map(|(file, digest)| (file.name, digest.as_slice()))
        .unzip();
    let mut lease = server.store.fixed().await?;
    sqlx::query(SQL).bind(names).bind(digests).execute(&mut *lease).await?;
    lease.release();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::search::own::check::check;
    use crate::knowledge::definitions::Definitions;

    #[test]
    fn every_search_parameter_can_be_used() {
        let all = Package::medconsult().files().iter();
        let parameters: Vec<&File> = all
            .filter(|file| file.resource["resourceType"] == "SearchParameter")
            .collect();
        assert!(!parameters.is_empty());
        for file in parameters {
            let checked = check(Definitions::r4(), &file.resource);
            assert!(checked.is_ok(), "{}: {}", file.name, checked.unwrap_err().to_json());
        }
    }
}
