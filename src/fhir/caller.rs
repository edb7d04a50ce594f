//! Who asks. Every function that touches data takes a [`Caller`]: without one there is no query.

use std::ops::BitOr;
use std::sync::Arc;

use super::error::FhirError;

/// The party on whose behalf a request runs, with what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Party);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Party {
    /// May see and change everything.
    Unrestricted,
    Granted(Arc<Granted>),
}

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The token's name in records of what was done with it; not the token.
    pub token: String,
    /// The registered application that holds the token.
    pub client: String,
    /// The account on whose behalf it acts; `None` where it acts in its own name.
    pub account: Option<String>,
    /// What its scopes allow, on resources of every type.
    pub permissions: Permissions,
}

/// Letters of a scope (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>): create, read,
/// update, delete, search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// Whether all of `other` is among these.
    pub fn contain(self, other: Permissions) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Permissions {
    type Output = Permissions;

    fn bitor(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }
}

/// In the order in which scopes write them.
const LETTERS: [(char, Permissions); 5] = [
    ('c', Permissions::CREATE),
    ('r', Permissions::READ),
    ('u', Permissions::UPDATE),
    ('d', Permissions::DELETE),
    ('s', Permissions::SEARCH),
];

impl Caller {
    /// Whoever reaches the loopback address of a server whose `MEDCONSULT_AUTH` is `off`, and whoever has the database in
    /// their hands anyway, as an operator with a command of the program. May see and change everything.
    pub fn sandbox() -> Caller {
        Caller(Party::Unrestricted)
    }

    /// The server itself, for records that it keeps of its own accord, as those that stand for an account.
    pub fn server() -> Caller {
        Caller(Party::Unrestricted)
    }

    /// The bearer of a token.
    pub fn granted(granted: Granted) -> Caller {
        Caller(Party::Granted(Arc::new(granted)))
    }

    /// Refuses what the caller's scopes do not allow.
    ///
    /// # Errors
    /// 403, with the letters that the token lacks.
    pub fn require(&self, needed: Permissions) -> Result<(), FhirError> {
        match &self.0 {
            Party::Unrestricted => Ok(()),
            Party::Granted(granted) if granted.permissions.contain(needed) => Ok(()),
            Party::Granted(_) => Err(FhirError::forbidden(format!(
                "The token's scopes do not allow this: it needs .{} on resources of every type.",
                needed.letters()
            ))),
        }
    }
}

impl Permissions {
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

    /// The letters, in the order in which scopes write them.
    pub fn letters(self) -> String {
        LETTERS
            .iter()
            .filter(|(_, permission)| self.contain(*permission))
            .map(|(letter, _)| letter)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_do_what_all_needed_letters_allow() {
        let granted = |permissions| {
            Caller::granted(Granted {
                token: String::new(),
                client: String::new(),
                account: None,
                permissions,
            })
        };
        let reader = granted(Permissions::LOOK);
        assert!(reader.require(Permissions::READ | Permissions::SEARCH).is_ok());
        let error = reader.require(Permissions::DELETE | Permissions::READ).unwrap_err();
        assert_eq!(error.status.as_u16(), 403);
        assert!(error.to_json().contains(".rd on resources"), "{}", error.to_json());
        assert!(granted(Permissions::NONE).require(Permissions::READ).is_err());
        assert!(Caller::sandbox().require(Permissions::ALL).is_ok());
    }
}
