//! The composition root: where the parts of the server are put together.
//!
//! | file | concern |
//! |---|---|
//! | here | what a running server consists of, from its start to its stop |
//! | [`hooks`] | where the rooms join the core: guards, reactions, operations, jobs |
//! | [`features`] | what the features of the practice work with |
//! | [`identity`] | who may come in |
//! | [`mail`] | how mails leave |
//! | [`settings`] | the settings of the program, as each part is told them |

mod features;
mod hooks;
mod identity;
mod mail;
mod settings;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::features::Features;
use self::mail::MailRoom;
pub use self::settings::{objects, policies, policy_text, tls, vault};
use crate::apps::changes::Changes;
use crate::apps::files::Files;
use crate::audit::anchor::AnchorFile;
use crate::audit::keeper::Keeper;
use crate::auth::AuthServer;
use crate::base::limits::{Budgets, Limits};
use crate::base::tls::Tls;
use crate::base::{Clock, Database, IdGenerator, listen, migrations};
use crate::config::{Auth, Config};
use crate::fhir::access::relations;
use crate::fhir::profiles;
use crate::fhir::search::reindex;
use crate::fhir::server::{FhirServer, FhirSettings};
use crate::jobs::{Registry, Worker};
use crate::mail::provider_events::ProviderEvents;
use crate::{apps, audit, router};

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
        let features = Features::build(&config, &database)?;
        let objects = objects(&config, &database, &clock)?;
        let server = FhirServer::open(
            &database,
            objects,
            FhirSettings {
                trail,
                ..settings::of_fhir(&config)?
            },
            hooks::all(&config, &clock, &features)?,
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
            Some(endpoints) => Some(Arc::new(identity::server(
                &config, &database, &fhir, &limits, endpoints,
            )?)),
            None => None,
        };
        let audit = Arc::new(Keeper::new(fhir.clone(), AnchorFile::of(&config.data_dir))?);
        let files = Files::read(&config.apps.folder).context("cannot read the apps")?;
        let mail = auth.as_ref().map(|auth| MailRoom::build(&config, &database, auth));
        let mail = mail.transpose()?;
        let jobs = hooks::jobs(&fhir, auth.as_ref(), &features, mail.as_ref()).context("a schedule cannot be read")?;
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
