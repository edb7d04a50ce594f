//! What a scope gives, when it is read: which letters, on resources of which type, in which context
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>).

use std::ops::BitOr;

use super::members::patient_parameters;
use crate::fhir::search;
use crate::fhir::server::FhirServer;
use crate::knowledge::definitions::Definitions;

/// One scope of a token over resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeGrant {
    pub context: ScopeContext,
    /// `None` for every type.
    pub resource_type: Option<&'static str>,
    pub permissions: Permissions,
    /// What the resources must be, as a query (`category=…|laboratory`), percent-encoded as in the scope.
    pub filter: Option<String>,
}

/// Whose resources a scope is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeContext {
    /// What is in the compartment of the patient of the launch.
    Patient,
    /// What the user may reach.
    User,
    /// What the client may reach in its own name.
    System,
}

/// In the order in which scopes write them.
const LETTERS: [(char, Permissions); 5] = [
    ('c', Permissions::CREATE),
    ('r', Permissions::READ),
    ('u', Permissions::UPDATE),
    ('d', Permissions::DELETE),
    ('s', Permissions::SEARCH),
];

/// Letters of a scope: create, read, update, delete, search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    pub const NONE: Permissions = Permissions(0);
    pub const CREATE: Permissions = Permissions(1);
    pub const READ: Permissions = Permissions(2);
    pub const UPDATE: Permissions = Permissions(4);
    pub const DELETE: Permissions = Permissions(8);
    pub const SEARCH: Permissions = Permissions(16);
    pub const WRITE: Permissions = Permissions(1 | 4 | 8);
    pub const LOOK: Permissions = Permissions(2 | 16);
    pub const ALL: Permissions = Permissions(31);

    /// These and the others.
    pub const fn and(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// Those that are among the others, too.
    pub const fn common(self, other: Permissions) -> Permissions {
        Permissions(self.0 & other.0)
    }

    /// Whether all of `other` is among these.
    pub fn contain(self, other: Permissions) -> bool {
        self.common(other) == other
    }

    /// Reads letters: each at most once, at least one, and in this order only, since `.dus` is not another way to write
    /// `.uds`.
    pub fn parse(text: &str) -> Option<Permissions> {
        let mut rest = text;
        let mut permissions = Permissions::NONE;
        for (letter, permission) in LETTERS {
            if let Some(after) = rest.strip_prefix(letter) {
                permissions = permissions | permission;
                rest = after;
            }
        }
        (rest.is_empty() && permissions != Permissions::NONE).then_some(permissions)
    }

    /// One by one, in the order in which scopes write them.
    pub fn each(self) -> impl Iterator<Item = Permissions> {
        let letters = LETTERS.into_iter().map(|(_, permission)| permission);
        letters.filter(move |permission| self.contain(*permission))
    }

    /// The letters, in the order in which scopes write them.
    pub fn letters(self) -> String {
        LETTERS
            .iter()
            .filter(|(_, permission)| self.contain(*permission))
            .map(|(letter, _)| letter)
            .collect()
    }
}

impl BitOr for Permissions {
    type Output = Permissions;

    fn bitor(self, other: Permissions) -> Permissions {
        self.and(other)
    }
}

/// The same name, living as long as the program; `None` for what is no concrete resource type of R4.
pub fn resource_type(name: &str) -> Option<&'static str> {
    Definitions::r4().resource_type(name).map(|ty| ty.name.as_str())
}

/// Every concrete resource type of R4, in alphabetical order.
pub fn resource_types() -> impl Iterator<Item = &'static str> {
    Definitions::r4().resource_types().map(|ty| ty.name.as_str())
}

/// Those that can be about a patient.
pub fn patient_types() -> impl Iterator<Item = &'static str> {
    let is_about_patients = |name: &&str| *name == "Patient" || !patient_parameters(Definitions::r4(), name).is_empty();
    resource_types().filter(is_about_patients)
}

/// Whether the part of a scope behind `?` can be enforced: parameters that this server knows of the type, with a value
/// each, compared with the resource itself. Chains, `_has`, `_filter`, `_list` and text are out: who may see a resource is
/// to be told by looking at it.
///
/// # Errors
/// A sentence that says what cannot be.
pub fn check_filter(server: &FhirServer, resource_type: &str, filter: &str) -> Result<(), String> {
    let registry = server.search.current();
    match search::conditions(server, &registry, resource_type, filter) {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .issues
            .into_iter()
            .map(|issue| issue.diagnostics)
            .collect::<Vec<_>>()
            .join(" ")),
    }
}
