//! Where the rooms join the core: every hook, in the order in which they run, and every job.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::SignedDuration;

use super::features::Features;
use super::mail::MailRoom;
use crate::audit::guard::AppendOnly;
use crate::auth::{AuthServer, background};
use crate::base::Clock;
use crate::config::{Auth, Config};
use crate::documents::guard::Documents;
use crate::documents::housekeeping;
use crate::documents::intake::Intake;
use crate::documents::presigned::PresignedUrl;
use crate::documents::replacing::Replacing;
use crate::documents::scanner::Scanner;
use crate::documents::upload::Upload;
use crate::fhir::access::BreakGlass;
use crate::fhir::access::relations::RolesUpkeep;
use crate::fhir::hooks::{Guard, Hooks, Reaction};
use crate::fhir::integrity::ReferentialIntegrity;
use crate::fhir::operations;
use crate::fhir::search::own::OwnSearchParameters;
use crate::fhir::search::{reindex, text};
use crate::fhir::server::FhirServer;
use crate::fhir::step_up::SigningIsProved;
use crate::fhir::terminology::upkeep::TerminologyUpkeep;
use crate::jobs::Registry;
use crate::messaging::reaction::Events;
use crate::payments::guard::Books;
use crate::prescriptions::guard::Prescriptions;
use crate::prescriptions::reprint::{self, Reprints};
use crate::scheduling::answers::{AnsweredOnce, Answers};
use crate::scheduling::directory::Directory;
use crate::scheduling::expiry;
use crate::scheduling::guard::Calendars;
use crate::{payments, prescriptions, scheduling};

/// Every hook, in the order in which they run.
///
/// # Errors
/// When a setting of theirs cannot be read.
pub(super) fn all(config: &Config, clock: &Clock, features: &Features) -> Result<Hooks> {
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
pub(super) fn jobs(
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
