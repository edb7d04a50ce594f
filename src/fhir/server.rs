//! All that the FHIR server is made of.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::access::policy::Policies;
use super::commit;
use super::error::FhirError;
use super::hooks::Hooks;
use super::metadata::OAuthEndpoints;
use super::search::LiveRegistry;
use super::search::index::INDEX_VERSION;
use super::search::text;
use super::store::Store;
use super::trail::{self, Trail};
use crate::base::objects::Objects;
use crate::base::{Clock, Database, IdGenerator};
use crate::knowledge::definitions::Definitions;
use crate::knowledge::profiles::Package;
use crate::knowledge::validation::Validator;

/// One FHIR endpoint over one database; shared by all requests.
pub struct FhirServer {
    pub store: Store,
    pub search: LiveRegistry,
    pub definitions: &'static Definitions,
    pub validator: Validator,
    pub access: Access,
    pub hooks: Hooks,
    pub trail: Trail,
    /// Where the content of Binaries lies.
    pub objects: Objects,
    pub clock: Clock,
    pub ids: IdGenerator,
    pub settings: FhirSettings,
    /// Marks the rules by which index rows are made: rows with another mark are replaced when their resource is written.
    pub(super) index_version: i32,
}

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct FhirSettings {
    /// The base of all URLs, as clients see it: `https://example.org/fhir`, without a slash at the end.
    pub base_url: String,
    /// Largest request body, after decompression.
    pub max_body_bytes: usize,
    /// Longest content of a Binary that is taken as bytes.
    pub max_content_bytes: u64,
    /// Entries on a page where the client does not say.
    pub default_count: u32,
    /// Entries on a page at most.
    pub max_count: u32,
    /// Up to this many matches an accurate total is counted; beyond, it is refused.
    pub max_counted: u32,
    /// How long one statement of a search, a history or another reading operation may take.
    pub search_timeout: Duration,
    /// Whether web pages of other origins may call the server, as the CapabilityStatement says.
    pub cors: bool,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// Whether the words of resources are collected, for `_text` and `_content`.
    pub full_text: bool,
    /// What each role may do.
    pub policies: Arc<Policies>,
    /// Where tokens come from; `None` for an open sandbox.
    pub oauth: Option<OAuthEndpoints>,
    /// Whether what applications write on behalf of people is stored with a Provenance.
    pub provenance: bool,
    /// The key of the trail; `None` to keep none.
    pub trail: Option<trail::Key>,
}

impl FhirServer {
    /// Opens the server on a migrated database.
    ///
    /// # Errors
    /// When the database cannot be reached or is not migrated.
    pub async fn open(
        database: &Database,
        objects: Objects,
        settings: FhirSettings,
        hooks: Hooks,
        clock: Clock,
        ids: IdGenerator,
    ) -> Result<FhirServer, FhirError> {
        let definitions = Definitions::r4();
        let store = Store::open(database, definitions, settings.search_timeout).await?;
        text::prepare(&store, settings.full_text).await?;
        let search = LiveRegistry::open(&store, definitions, &settings.base_url).await?;
        let validator = Validator::new(definitions);
        let trail = match &settings.trail {
            Some(key) => Trail::new(database, clock.clone(), key.clone()),
            None => Trail::off(),
        };
        // Read now, so that no request waits for it, and a package that cannot be enforced stops the start.
        Package::medconsult();
        let access = Access::new(&store, definitions);
        let index_version = commit::index_version(INDEX_VERSION, &settings.base_url);
        Ok(FhirServer {
            store,
            search,
            definitions,
            validator,
            access,
            hooks,
            trail,
            objects,
            clock,
            ids,
            settings,
            index_version,
        })
    }
}
