//! The composition root: where the parts of the server are put together, and where every hook is listed.

mod mail;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::mail::MailRoom;
use crate::apps;
use crate::apps::changes::Changes;
use crate::apps::files::Files;
use crate::audit;
use crate::audit::anchor::AnchorFile;
use crate::audit::guard::AppendOnly;
use crate::audit::keeper::Keeper;
use crate::auth::accounts::Role;
use crate::auth::clients::keys::KeySets;
use crate::auth::factors::passkeys::RelyingParty;
use crate::auth::factors::policy::{Demand, FactorPolicy};
use crate::auth::passwords::Passwords;
use crate::auth::provider::{Provider, ProviderSettings};
use crate::auth::recognition::Recognition;
use crate::auth::{AuthServer, background};
use crate::base::crypto::Vault;
use crate::base::limits::{Budgets, Limits};
use crate::base::objects::{Bucket, Objects, Place};
use crate::base::outbound::Outbound;
use crate::base::tls::Tls;
use crate::base::{Clock, Database, IdGenerator, listen, migrations, secrets};
use crate::config::{Auth, Config, FactorDemand};
use crate::documents::guard::Documents;
use crate::documents::housekeeping;
use crate::documents::intake::Intake;
use crate::documents::presigned::PresignedUrl;
use crate::documents::replacing::Replacing;
use crate::documents::scanner::Scanner;
use crate::documents::upload::Upload;
use crate::fhir::access::BreakGlass;
use crate::fhir::access::policy::{BUILT_IN, Policies};
use crate::fhir::access::relations;
use crate::fhir::access::relations::RolesUpkeep;
use crate::fhir::hooks::{Guard, Hooks, Reaction};
use crate::fhir::integrity::ReferentialIntegrity;
use crate::fhir::metadata::OAuthEndpoints;
use crate::fhir::operations;
use crate::fhir::profiles;
use crate::fhir::search::own::OwnSearchParameters;
use crate::fhir::search::{reindex, text};
use crate::fhir::server::{FhirServer, FhirSettings};
use crate::fhir::step_up::SigningIsProved;
use crate::fhir::terminology::upkeep::TerminologyUpkeep;
use crate::jobs::{Registry, Worker};
use crate::mail::Outbox;
use crate::mail::provider_events::ProviderEvents;
use crate::messaging::reaction::Events;
use crate::payments;
use crate::payments::guard::Books;
use crate::payments::signature::Secrets;
use crate::payments::stripe::{Back, Stripe};
use crate::payments::till::Payments;
use crate::prescriptions;
use crate::prescriptions::authority::RoleCode;
use crate::prescriptions::formulary::Formulary;
use crate::prescriptions::guard::Prescriptions;
use crate::prescriptions::office::Office;
use crate::prescriptions::printer::Printer;
use crate::prescriptions::reprint::{self, Reprints};
use crate::prescriptions::signer::Signer;
use crate::router;
use crate::scheduling;
use crate::scheduling::answers::{AnsweredOnce, Answers};
use crate::scheduling::directory::Directory;
use crate::scheduling::expiry;
use crate::scheduling::guard::Calendars;

/// How long a client may take to tell its keys: a request for a token waits for them.
const KEYS_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that a running server consists of.
pub struct App {
    pub config: Config,
    pub fhir: Arc<FhirServer>,
    /// `None` for an open sandbox.
    pub auth: Option<Arc<AuthServer>>,
    pub audit: Arc<Keeper>,
    pub features: Features,
    /// Takes what a provider of mails tells; `None` without its key.
    pub provider_events: Option<Arc<ProviderEvents>>,
    /// Counts requests; where there is no `auth`, without a limit.
    pub limits: Limits,
    pub database: Database,
    pub clock: Clock,
    pub ids: IdGenerator,
    pub jobs: Arc<Registry>,
    /// What was built of our own apps.
    pub files: Arc<Files>,
    pub changes: Arc<Changes>,
}

/// What the features of the practice work with.
pub struct Features {
    pub payments: Arc<Payments>,
    pub prescriptions: Arc<Office>,
}

impl App {
    /// Puts the server together on a database that [`migrate`] has prepared.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn build(config: Config, database: Database, clock: Clock, ids: IdGenerator) -> Result<Arc<Self>> {
        let trail = match config.is_audited() {
            true => Some(audit::key::load(&database.write, &vault(&config)?).await?),
            false => None,
        };
        let features = Features {
            payments: Arc::new(payments_of(&config)?),
            prescriptions: Arc::new(office(&config, &database)?),
        };
        let objects = objects(&config, &database, &clock)?;
        let server = FhirServer::open(
            &database,
            objects,
            FhirSettings {
                trail,
                ..settings(&config)?
            },
            hooks(&config, &clock, &features)?,
            clock.clone(),
            ids.clone(),
        );
        let fhir = Arc::new(server.await.context("cannot open the FHIR server on the database")?);
        let budgets = match config.auth {
            Auth::On => config.limits.budgets(),
            Auth::Off => Budgets::default(),
        };
        let limits = Limits::new(clock.clone(), budgets);
        let auth = match fhir.settings.oauth.clone() {
            Some(endpoints) => Some(Arc::new(AuthServer {
                fhir: fhir.clone(),
                pool: database.write.clone(),
                clock: clock.clone(),
                ids: ids.clone(),
                vault: vault(&config)?,
                passwords: Passwords::default(),
                outbox: Outbox::new(Arc::new(vault(&config)?), clock.clone()),
                key_sets: KeySets::new(Outbound::new(config.identity.private_hosts.clone(), KEYS_PATIENCE)?),
                issuer: config.root_url(),
                endpoints,
                sign_up: config.identity.sign_up,
                factors: factor_policy(&config)?,
                relying_party: RelyingParty::new(&config.root_url()),
                providers: providers(&config)?,
                recognition: Recognition::default(),
                limits: limits.clone(),
            })),
            None => None,
        };
        let audit = Arc::new(Keeper::new(fhir.clone(), AnchorFile::of(&config.data_dir))?);
        let files = Files::read(&config.apps.folder).context("cannot read the apps")?;
        let mail = auth.as_ref().map(|auth| MailRoom::build(&config, &database, auth));
        let mail = mail.transpose()?;
        let jobs = handlers(&fhir, auth.as_ref(), &features, mail.as_ref()).context("a schedule cannot be read")?;
        Ok(Arc::new(Self {
            config,
            fhir,
            auth,
            audit,
            features,
            provider_events: mail.and_then(|mail| mail.provider_events),
            limits,
            database,
            clock,
            ids,
            jobs: Arc::new(jobs),
            files: Arc::new(files),
            changes: Arc::default(),
        }))
    }

    /// A worker for this server's jobs.
    pub fn worker(&self) -> Worker {
        let concurrency = self.config.jobs.concurrency as usize;
        Worker::new(
            self.database.write.clone(),
            self.clock.clone(),
            &self.ids,
            self.jobs.clone(),
            concurrency,
        )
    }

    /// What a server does before its first request: its rules become those of the database, and its definitions are
    /// stored.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn prepare(&self) -> Result<()> {
        let in_charge = reindex::take_charge(&self.fhir).await;
        in_charge.context("cannot compare the rules of the index with those in the database")?;
        let tied = relations::take_charge(&self.fhir).await;
        tied.context("cannot read anew who cares for whom")?;
        if self.config.fhir.profiles {
            let loaded = profiles::load(&self.fhir).await;
            loaded.context("cannot store the definitions that the server brings")?;
        }
        let policies = &self.fhir.settings.policies;
        policies.check_filters(&self.fhir).context("identity.policies")?;
        if self.auth.is_some() {
            apps::register(&self.database.write, &self.clock, &self.config.root_url(), &self.files).await?;
        }
        Ok(())
    }

    /// Answers requests until `stop` becomes true; then takes no new ones and finishes those that have begun.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Option<Arc<Tls>>, stop: watch::Receiver<bool>) {
        let (audit, stopped) = (self.audit.clone(), stop.clone());
        tokio::spawn(async move { audit.run(stopped).await });
        let (app, certificate, stopped) = (self.clone(), tls.clone(), stop.clone());
        tokio::spawn(async move {
            let FhirServer { search, store, .. } = &*app.fhir;
            let pool = &app.database.write;
            tokio::join!(
                search.follow(store, pool, stopped.clone()),
                app.limits.report(pool, stopped.clone()),
                app.changes.run(&app.fhir, stopped.clone()),
                async {
                    if let Some(tls) = certificate {
                        tls.follow(stopped.clone()).await;
                    }
                },
            );
        });
        let service = listen::Service {
            turned_away: router::turned_away(&self),
            bounds: self.config.http.bounds(),
            routes: router::router(self),
            tls,
        };
        listen::serve(listener, service, stop).await;
    }
}

/// What TLS is spoken with, if the settings name a certificate.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub fn tls(config: &Config) -> Result<Option<Arc<Tls>>> {
    let tls = config.tls.files().map(|(certificate, key)| Tls::open(certificate, key));
    Ok(tls.transpose().context("tls.certificate and tls.key")?.map(Arc::new))
}

/// The settings of the FHIR server, out of those of the program.
fn settings(config: &Config) -> Result<FhirSettings> {
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

fn oauth_endpoints(root: &str) -> OAuthEndpoints {
    OAuthEndpoints {
        authorize: format!("{root}/auth/authorize"),
        token: format!("{root}/auth/token"),
        introspect: format!("{root}/auth/introspect"),
        manage: format!("{root}/auth/account"),
        revoke: format!("{root}/auth/revoke"),
    }
}

/// How patients pay, by the settings.
fn payments_of(config: &Config) -> Result<Payments> {
    let settings = &config.payments;
    let stripe = match settings.stripe_key.reveal() {
        "" => None,
        key => Some(Stripe::new(key, &settings.stripe_url, &settings.item)?),
    };
    let back = format!("{}/payments/return", config.root_url());
    Ok(Payments {
        stripe,
        secrets: Secrets::new(settings.webhook_secret.reveal()),
        back: Back {
            paid: format!("{back}?session={{CHECKOUT_SESSION_ID}}"),
            cancelled: back,
        },
        return_url: settings.return_url.clone(),
    })
}

/// What prescriptions are written with.
///
/// # Errors
/// What is wrong with a setting of `[prescriptions]`.
fn office(config: &Config, database: &Database) -> Result<Office> {
    let settings = &config.prescriptions;
    let named = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
    let formulary = match named(&settings.formulary) {
        None => Formulary::built_in(),
        Some(file) => {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Formulary::parse(&text).with_context(|| format!("prescriptions.formulary, {}", file.display()))?
        }
    };
    let prescribers = settings.prescribers.iter().map(|text| {
        RoleCode::read(text).with_context(|| format!("prescriptions.prescribers: {text:?} is not a system|code"))
    });
    let for_vault = config.clone();
    Ok(Office {
        formulary,
        signer: Signer::new(database.write.clone(), move || vault(&for_vault)),
        printer: Arc::new(Printer::new(named(&settings.fonts))),
        prescribers: prescribers.collect::<Result<_>>()?,
        valid_days: settings.valid_days,
    })
}

/// Every hook, in the order in which they run.
///
/// # Errors
/// When a setting of theirs cannot be read.
fn hooks(config: &Config, clock: &Clock, features: &Features) -> Result<Hooks> {
    let mut guards: Vec<Box<dyn Guard>> = vec![
        Box::new(OwnSearchParameters::new(clock.clone())),
        Box::new(TerminologyUpkeep),
    ];
    if config.is_audited() {
        guards.push(Box::new(AppendOnly));
    }
    if config.auth == Auth::On {
        let within = SignedDuration::from_mins(config.identity.sign_within_minutes.into());
        guards.push(Box::new(SigningIsProved::new(clock.clone(), within)));
    }
    if config.fhir.referential_integrity {
        guards.push(Box::new(ReferentialIntegrity));
    }
    guards.push(Box::new(Documents {
        base_url: config.fhir_base(),
    }));
    guards.push(Box::new(Calendars));
    guards.push(Box::new(AnsweredOnce));
    guards.push(Box::new(Books::new(clock.clone())));
    guards.push(Box::new(Prescriptions {
        office: features.prescriptions.clone(),
        clock: clock.clone(),
    }));
    if config.auth == Auth::On {
        // The last one: it waits a moment, and what others have locked is locked meanwhile.
        guards.push(Box::new(RolesUpkeep));
    }
    let mut reactions: Vec<Box<dyn Reaction>> = vec![Box::new(Reprints)];
    if config.auth == Auth::On && config.mail.events {
        reactions.push(Box::new(Events));
    }
    let directory = Arc::new(Directory::default());
    let mut hooks = Hooks {
        intakes: vec![Box::new(Intake {
            types: config.documents.types.clone(),
            scanner: scanner(config)?,
        })],
        consequences: vec![Box::new(Answers(directory.clone())), Box::new(Replacing)],
        guards,
        reactions,
        operations: vec![
            Box::new(operations::Validate),
            Box::new(operations::Everything::of_patient()),
            Box::new(operations::Everything::of_encounter()),
            Box::new(operations::Everything::of_practitioner()),
            Box::new(operations::LastN),
            Box::new(operations::Meta),
            Box::new(operations::MetaAdd),
            Box::new(operations::MetaDelete),
            Box::new(operations::Reindex),
            Box::new(operations::ReindexStatus),
            Box::new(BreakGlass),
            Box::new(Upload),
            Box::new(PresignedUrl {
                root_url: config.root_url(),
                lasts: SignedDuration::from_secs(config.documents.presigned_seconds.cast_signed()),
            }),
        ],
    };
    hooks.operations.extend(payments::operations::all(&features.payments));
    hooks.operations.extend(scheduling::operations::all(&directory));
    hooks
        .operations
        .extend(prescriptions::operations::all(&features.prescriptions));
    Ok(hooks)
}

/// The virus scanner of the settings, if they name one.
fn scanner(config: &Config) -> Result<Option<Scanner>> {
    let documents = &config.documents;
    if documents.scanner.is_empty() {
        return Ok(None);
    }
    let address = documents.scanner.parse().map_err(anyhow::Error::msg);
    let patience = Duration::from_secs(documents.scanner_timeout_seconds);
    Ok(Some(Scanner::new(address.context("documents.scanner")?, patience)))
}

/// The handlers of jobs, and the jobs that come with the clock.
fn handlers(
    fhir: &Arc<FhirServer>,
    auth: Option<&Arc<AuthServer>>,
    features: &Features,
    mail: Option<&MailRoom>,
) -> Result<Registry> {
    let mut registry = reindex::handlers(Registry::new(), fhir);
    if fhir.settings.full_text {
        let fhir = fhir.clone();
        let collect = move |_| {
            let fhir = fhir.clone();
            async move { text::job(&fhir).await }
        };
        registry = registry.on(text::JOB, collect).every(text::SCHEDULE, text::JOB)?;
    }
    registry = expiry::register(registry, fhir)?;
    registry = payments::jobs::register(registry, fhir, &features.payments)?;
    registry = reprint::register(registry, fhir, &features.prescriptions);
    registry = housekeeping::register(registry, fhir)?;
    if let Some(auth) = auth {
        registry = background::register(registry, auth)?;
    }
    if let Some(mail) = mail {
        registry = mail.register(registry)?;
    }
    Ok(registry)
}

/// Brings the database's layout up to this release. Several instances may try at once.
///
/// # Errors
/// When the database is not there, or was changed by a newer release.
pub async fn migrate(pool: &PgPool) -> Result<()> {
    let mut connection = pool.acquire().await.context("cannot reach the database")?;
    let outcome = migrations::run(&mut connection).await;
    if let Err(MigrateError::VersionMissing(version)) = outcome {
        bail!(
            "the database was changed by a newer release (its migration {version}): start that release, or a later one"
        );
    }
    outcome.context("cannot bring the database up to date")
}
