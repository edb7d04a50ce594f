//! What the parts of the server are told, out of the settings of the program.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::base::crypto::Vault;
use crate::base::objects::{Bucket, Objects, Place};
use crate::base::tls::Tls;
use crate::base::{Clock, Database, secrets};
use crate::config::{Auth, Config};
use crate::fhir::access::policy::{BUILT_IN, Policies};
use crate::fhir::metadata::OAuthEndpoints;
use crate::fhir::server::FhirSettings;

/// What TLS is spoken with, if the settings name a certificate.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub fn tls(config: &Config) -> Result<Option<Arc<Tls>>> {
    let tls = config.tls.files().map(|(certificate, key)| Tls::open(certificate, key));
    Ok(tls.transpose().context("tls.certificate and tls.key")?.map(Arc::new))
}

/// The settings of the FHIR server, out of those of the program.
pub(super) fn of_fhir(config: &Config) -> Result<FhirSettings> {
    Ok(FhirSettings {
        base_url: config.fhir_base(),
        max_body_bytes: config.http.max_body_bytes,
        max_content_bytes: config.objects.max_bytes,
        default_count: config.search.default_count,
        max_count: config.search.max_count,
        max_counted: config.search.max_counted,
        search_timeout: Duration::from_secs(config.search.timeout_seconds),
        cors: config.auth == Auth::On || !config.http.cors_origins.is_empty(),
        body_timeout: Duration::from_secs(config.http.body_timeout_seconds),
        full_text: config.search.full_text,
        policies: Arc::new(policies(config)?),
        oauth: (config.auth == Auth::On).then(|| oauth_endpoints(&config.root_url())),
        provenance: config.audit.provenance,
        trail: None,
    })
}

/// The policies of the settings.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn policies(config: &Config) -> Result<Policies> {
    let policies = Policies::parse(&policy_text(config)?);
    policies.with_context(|| format!("identity.policies, {}", config.identity.policies.display()))
}

/// The policies of the settings as they are written: those of the file that is named, or the built-in ones.
///
/// # Errors
/// When the file cannot be read.
pub fn policy_text(config: &Config) -> Result<String> {
    let file = &config.identity.policies;
    if file.as_os_str().is_empty() {
        return Ok(BUILT_IN.to_owned());
    }
    fs::read_to_string(file).with_context(|| format!("cannot read the policies {}", file.display()))
}

/// The vault under the master key of the settings. A server with a private database, and a sandbox, makes one for itself; those that
/// share a database must be given the same one.
///
/// # Errors
/// When there is no key, or it cannot be read.
pub fn vault(config: &Config) -> Result<Vault> {
    let key = config.identity.master_key.reveal();
    if !key.is_empty() {
        return Vault::new(key).context("identity.master_key");
    }
    let file = &config.identity.master_key_file;
    let named = !file.as_os_str().is_empty();
    let file = if named {
        file.clone()
    } else {
        config.data_dir.join("master.key")
    };
    let text = match secrets::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound && !named => {
            ensure!(
                config.database.url.reveal().is_none() || config.auth == Auth::Off,
                "servers that share a database need the same master key: make one by `openssl rand -base64 32` and name \
                 its file as identity.master_key_file"
            );
            let key = Vault::new_key();
            fs::create_dir_all(&config.data_dir)?;
            let mut new = File::options().write(true).create_new(true).mode(0o600).open(&file)?;
            new.write_all(key.as_bytes())?;
            new.sync_all()?;
            tracing::info!(file = %file.display(), "made a master key; without it, sealed secrets are lost");
            key
        }
        read => read.context("the master key")?,
    };
    Vault::new(&text).with_context(|| format!("in {}", file.display()))
}

/// Where the content of files lies.
///
/// # Errors
/// When there is no master key, the folder cannot be made, or the bucket cannot be addressed.
pub fn objects(config: &Config, database: &Database, clock: &Clock) -> Result<Objects> {
    let settings = &config.objects;
    let place = match (settings.bucket.as_str(), settings.folder.as_os_str().is_empty()) {
        ("", true) => Place::Folder(config.data_dir.join("objects")),
        ("", false) => Place::Folder(settings.folder.clone()),
        (bucket, _) => Place::Bucket(Bucket {
            endpoint: settings.endpoint.clone(),
            name: bucket.to_owned(),
            region: settings.region.clone(),
            access_key: settings.access_key.reveal().to_owned(),
            secret_key: settings.secret_key.reveal().to_owned(),
        }),
    };
    let objects = Objects::open(&place, database.write.clone(), vault(config)?, clock.clone());
    objects.with_context(|| format!("objects: {place:?}"))
}

fn oauth_endpoints(root: &str) -> OAuthEndpoints {
    OAuthEndpoints {
        authorize: format!("{root}/auth/authorize"),
        token: format!("{root}/auth/token"),
        introspect: format!("{root}/auth/introspect"),
        manage: format!("{root}/auth/account"),
        revoke: format!("{root}/auth/revoke"),
    }
}
