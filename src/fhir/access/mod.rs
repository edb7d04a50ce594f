//! Who may do what with which resource.
//!
//! | | |
//! |---|---|
//! | [`policy`], [`role`] | what each role may do, as data |
//! | [`scope`] | what a token may do |
//! | [`rules`] | both, as one criterion of search per letter and type |
//! | [`restrict`] | a search with these criteria in all the places where something is found |
//! | [`judge`] | resources and versions that are named, rather than found |
//! | [`members`] | which parameters say whose record a resource is part of |
//! | [`relations`], [`break_glass`] | who looks after whom, and what patients refuse |
//! | [`explain`] | why, in words |

pub mod break_glass;
pub mod explain;
pub mod judge;
pub mod members;
pub mod policy;
pub mod relations;
mod restrict;
pub mod role;
mod rules;
pub mod scope;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use moka::sync::Cache;
use sqlx::PgConnection;

pub use break_glass::BreakGlass;
pub use relations::holders;
pub(super) use restrict::restrict;
pub use role::Role;
pub(super) use rules::{Across, Rule};
pub use scope::{Permissions, ScopeContext, ScopeGrant};

use self::rules::Rules;
use super::caller::{Caller, Granted};
use super::error::FhirError;
use super::search::{ResourceType, Types};
use super::server::FhirServer;
use super::store::Store;
use crate::knowledge::definitions::Definitions;

/// From so many ties on, each candidate of a search is asked whether it is about one of the patients. Below, they are looked for
/// by their patients, unless these are so large a part of all that most pages are full before that would be worth it: where
/// there are fewer patients than the square of the ties (docs/decisions/0017).
const MANY: i64 = 250;

/// How long it is remembered whether somebody looks after many patients: it decides how a search runs, not what it finds.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What was made of tokens and policies, as long as it is of use.
pub struct Access {
    all_types: Vec<ResourceType>,
    rules: Cache<Grounds, Arc<Rules>>,
    many: Cache<Vec<i64>, bool>,
}

/// All that rules are made of, beside the policies, which stay the same.
#[derive(Clone)]
struct Grounds {
    granted: Arc<Granted>,
    /// Of the search parameters.
    generation: i64,
}

impl Grounds {
    fn parts(&self) -> impl Hash + PartialEq + '_ {
        let Granted {
            user, patient, scopes, ..
        } = &*self.granted;
        let user = user.as_ref().map(|user| (user.role, &user.fhir_user));
        (self.generation, user, patient, scopes)
    }
}

impl PartialEq for Grounds {
    fn eq(&self, other: &Grounds) -> bool {
        let (a, b) = (&*self.granted, &*other.granted);
        let who = |granted: &Granted| granted.user.as_ref().map(|user| (user.role, user.fhir_user.clone()));
        self.generation == other.generation && a.patient == b.patient && a.scopes == b.scopes && who(a) == who(b)
    }
}

impl Eq for Grounds {}

impl Hash for Grounds {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Access {
    pub(super) fn new(store: &Store, definitions: &'static Definitions) -> Access {
        let names = definitions.resource_types().map(|ty| ty.name.as_str());
        let all_types = names.filter_map(|name| {
            let id = store.types().id(name)?;
            Some(ResourceType { id, name })
        });
        Access {
            all_types: all_types.collect(),
            rules: Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build(),
            many: Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build(),
        }
    }

    /// What the caller may do with several types; `letter` is one.
    pub(super) fn across(server: &FhirServer, caller: &Caller, letter: Permissions, types: &Types) -> Across {
        match rules_of(server, caller) {
            Some(rules) => rules.of_types(server, letter, types),
            None => Across {
                types: types.as_slice().to_vec(),
                rule: Rule::Everything,
            },
        }
    }

    /// Whether any of these holders is tied to many patients.
    pub(super) async fn looks_after_many(
        &self,
        connection: &mut PgConnection,
        holders: &[i64],
    ) -> Result<bool, FhirError> {
        const TIES: &str = "SELECT count(*) FROM (SELECT FROM care_relation WHERE holder = ANY ($1) LIMIT $2) c";
        const PATIENTS: &str = "SELECT count(*) FROM (SELECT FROM resource WHERE type = $1 AND NOT deleted LIMIT $2) p";
        if let Some(many) = self.many.get(holders) {
            return Ok(many);
        }
        let ties: i64 = sqlx::query_scalar(TIES)
            .bind(holders)
            .bind(MANY)
            .fetch_one(&mut *connection)
            .await?;
        let many = ties == MANY || {
            let patients: i64 = sqlx::query_scalar(PATIENTS)
                .bind(self.all_types.iter().find(|ty| ty.name == "Patient").map(|ty| ty.id))
                .bind(ties * ties)
                .fetch_one(connection)
                .await?;
            patients < ties * ties
        };
        self.many.insert(holders.to_vec(), many);
        Ok(many)
    }
}

/// The rules of a caller; `None` for one who may do everything.
fn rules_of(server: &FhirServer, caller: &Caller) -> Option<Arc<Rules>> {
    static NOBODY: LazyLock<Arc<Granted>> = LazyLock::new(Arc::default);
    if caller.is_unrestricted() {
        return None;
    }
    let granted = caller.shared_grant().unwrap_or(&NOBODY).clone();
    let registry = server.search.current();
    let grounds = Grounds {
        granted,
        generation: registry.generation(),
    };
    let make = || Arc::new(Rules::new(grounds.granted.clone(), registry));
    Some(server.access.rules.get_with_by_ref(&grounds, make))
}

/// What the caller may do with resources of a type; `letter` is one.
pub(super) fn rule(server: &FhirServer, caller: &Caller, letter: Permissions, resource_type: &str) -> Rule {
    let Some(rules) = rules_of(server, caller) else {
        return Rule::Everything;
    };
    let types = &server.access.all_types;
    match types.iter().find(|ty| ty.name == resource_type) {
        Some(ty) => rules.of_type(server, letter, *ty),
        None => Rule::Nothing,
    }
}

/// Refuses a caller who may do any of these with no resource of the type at all.
///
/// # Errors
/// 403
pub fn require(
    server: &FhirServer,
    caller: &Caller,
    letters: Permissions,
    resource_type: &str,
) -> Result<(), FhirError> {
    let lacks = |letter| matches!(rule(server, caller, letter, resource_type), Rule::Nothing);
    match letters.each().any(lacks) {
        true => Err(forbidden(letters, resource_type)),
        false => Ok(()),
    }
}

fn all_types(server: &FhirServer) -> Vec<ResourceType> {
    server.access.all_types.clone()
}

/// The refusal of something. It says what would be needed and nothing about what is there.
pub(super) fn forbidden(needed: Permissions, what: &str) -> FhirError {
    FhirError::forbidden(format!(
        "The token's scopes, or the policy of its user, do not allow this: it needs .{} on {what}.",
        needed.letters()
    ))
}
