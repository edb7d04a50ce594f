//! Who asks. Every function that touches data takes a [`Caller`]: without one there is no query.

use std::sync::Arc;

use super::access::{Role, ScopeContext, ScopeGrant};
use super::error::FhirError;
use super::step_up::Proof;
use super::trail::Origin;

pub use super::access::Permissions;

/// The party on whose behalf a request runs, with what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `None` for what runs without a token.
    granted: Option<Arc<Granted>>,
    /// May see and change everything, whoever it is.
    is_unrestricted: bool,
    /// Where the request comes from; `None` for what the server does of its own accord.
    origin: Option<Arc<Origin>>,
    rehearses: bool,
}

/// What a token stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The token's name in records of what was done with it; not the token. Empty for what the server does in the name of an
    /// application without one.
    pub token: String,
    /// The registered application that holds the token.
    pub client: String,
    /// The account on whose behalf it acts; `None` where it acts in its own name.
    pub account: Option<String>,
    /// The person of that account.
    pub user: Option<User>,
    /// The id of the Patient that scopes of one patient are about.
    pub patient: Option<String>,
    pub scopes: Vec<ScopeGrant>,
    /// How and when the person behind it proved who they are.
    pub proof: Option<Proof>,
}

/// A person on whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub role: Role,
    /// The resource that stands for them: `Practitioner/7`, `Patient/7`.
    pub fhir_user: String,
    /// The id of their Person.
    pub person: String,
    /// As it is now: whoever makes the Caller of a request looks them up.
    pub holders: Holders,
}

/// The resources that stand for a person, by rid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// All of them: Practitioner, PractitionerRoles, RelatedPersons, Patient.
    pub all: Vec<i64>,
    /// The Patients whom the person is, or acts for.
    pub patients: Vec<i64>,
}

impl Caller {
    /// Whoever reaches the loopback address of a server whose `MEDCONSULT_AUTH` is `off`, and whoever has the database in
    /// their hands anyway, as an operator with a command of the program. May see and change everything.
    pub fn sandbox() -> Caller {
        Caller {
            granted: None,
            is_unrestricted: true,
            origin: None,
            rehearses: false,
        }
    }

    /// The server itself, for records that it keeps of its own accord, as those that stand for an account.
    pub fn server() -> Caller {
        Caller::sandbox()
    }

    /// The bearer of a token.
    pub fn granted(granted: Granted) -> Caller {
        Caller {
            granted: Some(Arc::new(granted)),
            is_unrestricted: false,
            origin: None,
            rehearses: false,
        }
    }

    /// The practice, doing what this caller has caused and does not have the right to do alone. It may see and change
    /// everything, so what the caller may ask for must have been judged before. Records name the caller.
    pub fn practice(&self) -> Caller {
        Caller {
            is_unrestricted: true,
            ..self.clone()
        }
    }

    /// The same caller, in a request from there.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Caller {
        Caller {
            origin: Some(Arc::new(origin)),
            ..self
        }
    }

    /// The same caller, for a try whose result is not answered: only its failures are recorded.
    #[must_use]
    pub fn rehearsing(&self) -> Caller {
        Caller {
            rehearses: true,
            ..self.clone()
        }
    }

    pub fn rehearses(&self) -> bool {
        self.rehearses
    }

    /// Whether what it does is somebody's doing, and not the server's own.
    pub fn is_recorded(&self) -> bool {
        self.granted.is_some() || self.origin.is_some()
    }

    /// Where the request comes from.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// What its token stands for, if it has one.
    pub fn grant(&self) -> Option<&Granted> {
        self.granted.as_deref()
    }

    pub(super) fn shared_grant(&self) -> Option<&Arc<Granted>> {
        self.granted.as_ref()
    }

    /// The person on whose behalf this runs, if there is one.
    pub fn user(&self) -> Option<&User> {
        self.grant()?.user.as_ref()
    }

    /// How and when that person proved who they are.
    pub fn proof(&self) -> Option<Proof> {
        self.grant()?.proof
    }

    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// Refuses what the caller's scopes do not allow.
    ///
    /// # Errors
    /// 403, with the letters that the token lacks.
    pub fn require(&self, needed: Permissions) -> Result<(), FhirError> {
        if self.is_unrestricted
            || self
                .grant()
                .is_some_and(|granted| granted.on_every_type().contain(needed))
        {
            return Ok(());
        }
        Err(FhirError::forbidden(format!(
            "The token's scopes do not allow this: it needs .{} on resources of every type.",
            needed.letters()
        )))
    }

    /// Refuses what no scope of the token allows on a type, whoever holds it: for what is judged otherwise, and then done in
    /// the name of the practice.
    ///
    /// # Errors
    /// 403, with the letters that it takes.
    pub fn require_on(&self, letters: Permissions, resource_type: &str) -> Result<(), FhirError> {
        let Some(granted) = self.grant().filter(|_| !self.is_unrestricted) else {
            return Ok(());
        };
        let of_type = granted
            .scopes
            .iter()
            .filter(|scope| scope.resource_type.is_none_or(|named| named == resource_type));
        let held = of_type.fold(Permissions::NONE, |held, scope| held | scope.permissions);
        match held.contain(letters) {
            true => Ok(()),
            false => Err(FhirError::forbidden(format!(
                "The token's scopes do not allow this: it takes .{} on {resource_type}.",
                letters.letters()
            ))),
        }
    }
}

impl Granted {
    /// What it allows on all resources of every type.
    pub fn on_every_type(&self) -> Permissions {
        let wanted = match &self.user {
            None => ScopeContext::System,
            Some(user) if user.role == Role::Admin => ScopeContext::User,
            Some(_) => return Permissions::NONE,
        };
        let whole =
            |scope: &&ScopeGrant| scope.context == wanted && scope.resource_type.is_none() && scope.filter.is_none();
        let scopes = self.scopes.iter().filter(whole);
        scopes.fold(Permissions::NONE, |all, scope| all | scope.permissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_end(permissions: Permissions) -> Caller {
        Caller::granted(Granted {
            scopes: vec![ScopeGrant {
                context: ScopeContext::System,
                resource_type: None,
                permissions,
                filter: None,
            }],
            ..Granted::default()
        })
    }

    #[test]
    fn a_caller_may_do_what_all_needed_letters_allow() {
        let reader = back_end(Permissions::LOOK);
        assert!(reader.require(Permissions::READ | Permissions::SEARCH).is_ok());
        let error = reader.require(Permissions::DELETE | Permissions::READ).unwrap_err();
        assert_eq!(error.status.as_u16(), 403);
        assert!(error.to_json().contains(".rd on resources"), "{}", error.to_json());
        assert!(back_end(Permissions::NONE).require(Permissions::READ).is_err());
        assert!(Caller::sandbox().require(Permissions::ALL).is_ok());
        assert!(reader.practice().require(Permissions::ALL).is_ok());
        assert_eq!(reader.practice().grant(), reader.grant());
    }

    #[test]
    fn a_token_without_the_letters_may_do_nothing_on_a_type() {
        let scope = |resource_type, permissions| ScopeGrant {
            context: ScopeContext::User,
            resource_type,
            permissions,
            filter: None,
        };
        let holder = Caller::granted(Granted {
            scopes: vec![
                scope(Some("Appointment"), Permissions::LOOK),
                scope(Some("Slot"), Permissions::ALL),
            ],
            ..Granted::default()
        });
        let error = holder.require_on(Permissions::UPDATE, "Appointment").unwrap_err();
        assert_eq!(error.status, 403);
        assert!(error.to_json().contains(".u on Appointment"), "{}", error.to_json());
        assert!(holder.require_on(Permissions::CREATE, "Slot").is_ok());
        assert!(holder.require_on(Permissions::LOOK, "Appointment").is_ok());
        assert!(Caller::sandbox().require_on(Permissions::ALL, "Appointment").is_ok());
    }
}
