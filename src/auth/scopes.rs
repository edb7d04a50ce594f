//! Scopes, as SMART App Launch 2.2 writes them, in its first form (`system/*.read`) and its second (`system/*.rs`):
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>.
//!
//! A token is only given for what is enforced. The scopes of one patient (`patient/…`), of one type and of one part of a type
//! (`Observation.rs?category=…`) need a condition in every search; until there is one, they are refused here, in words. For
//! the same reason `user/…` scopes are for administrators, who may see everything.

use std::fmt;

use crate::fhir::caller::Permissions;

/// Longest list of scopes that is read, in bytes.
const LONGEST: usize = 2000;

/// A list of scopes, each well formed and enforced by this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// As it was asked for: an application gets its answer in the form of its question.
    pub text: String,
    pub kind: Kind,
}

/// What a scope is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Resources of every type, in the client's own name.
    System(Permissions),
    /// Resources of every type, on behalf of a user.
    User(Permissions),
    /// Who the user is, to the application: `openid`.
    OpenId,
    /// Their resource: `fhirUser`.
    FhirUser,
    /// Their name: `profile`.
    Profile,
    /// Access that outlives the session: `offline_access`.
    Offline,
    /// Access as long as the session: `online_access`.
    Online,
}

/// Why a list of scopes is refused. The text is a whole sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeError(pub String);

impl Scopes {
    /// Reads a list. Repeated scopes count once.
    ///
    /// # Errors
    /// For a scope that is malformed, unknown or not enforced, and for a list that is empty, too long, or allows to write
    /// but not to read: the answer to a write shows the resource.
    pub fn parse(text: &str) -> Result<Scopes, ScopeError> {
        if text.len() > LONGEST {
            return Err(ScopeError(format!("The scopes are longer than {LONGEST} characters.")));
        }
        let mut scopes = Scopes::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let scope = Scope {
                text: word.to_owned(),
                kind: kind_of(word)?,
            };
            if !scopes.0.contains(&scope) {
                scopes.0.push(scope);
            }
        }
        if scopes.0.is_empty() {
            return Err(ScopeError("There are no scopes.".to_owned()));
        }
        let permissions = [scopes.system(), scopes.user()];
        if permissions
            .iter()
            .any(|p| *p != Permissions::NONE && !p.contain(Permissions::LOOK))
        {
            return Err(ScopeError(
                "A token must allow to read and to search (.rs): the answer to a write shows the resource.".to_owned(),
            ));
        }
        Ok(scopes)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|scope| scope.kind == kind)
    }

    /// What they allow a client in its own name.
    pub fn system(&self) -> Permissions {
        self.union(|kind| match kind {
            Kind::System(permissions) => Some(permissions),
            _ => None,
        })
    }

    /// What they allow on behalf of a user.
    pub fn user(&self) -> Permissions {
        self.union(|kind| match kind {
            Kind::User(permissions) => Some(permissions),
            _ => None,
        })
    }

    fn union(&self, of: impl Fn(Kind) -> Option<Permissions>) -> Permissions {
        let permissions = self.0.iter().filter_map(|scope| of(scope.kind));
        permissions.fold(Permissions::NONE, |all, permissions| all | permissions)
    }

    /// Whether these are for a back end, which acts in its own name.
    pub fn are_for_back_ends(&self) -> bool {
        self.0.iter().all(|scope| matches!(scope.kind, Kind::System(_)))
    }

    /// Whether these are for an application that acts on behalf of users.
    pub fn are_for_apps(&self) -> bool {
        !self.0.iter().any(|scope| matches!(scope.kind, Kind::System(_)))
    }

    /// Whether whoever holds these may have `other`, in whatever form it is written.
    pub fn cover(&self, other: &Scopes) -> bool {
        let is_covered = |scope: &Scope| match scope.kind {
            Kind::System(permissions) => self.system().contain(permissions),
            Kind::User(permissions) => self.user().contain(permissions),
            kind => self.has(kind),
        };
        other.0.iter().all(is_covered)
    }

    /// Those of them whose text is in `chosen`.
    pub fn only(&self, chosen: &[&str]) -> Scopes {
        let scopes = self.0.iter().filter(|scope| chosen.contains(&scope.text.as_str()));
        Scopes(scopes.cloned().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", scope.text)?;
        }
        Ok(())
    }
}

fn kind_of(word: &str) -> Result<Kind, ScopeError> {
    match word {
        "openid" => Ok(Kind::OpenId),
        "fhirUser" => Ok(Kind::FhirUser),
        "profile" => Ok(Kind::Profile),
        "offline_access" => Ok(Kind::Offline),
        "online_access" => Ok(Kind::Online),
        _ if word == "launch" || word.starts_with("launch/") => Err(ScopeError(
            "Launch contexts are not supported by this server yet.".to_owned(),
        )),
        _ => resource_scope(word),
    }
}

/// `system/*.cruds`, `user/*.cruds` and their shorter forms.
fn resource_scope(word: &str) -> Result<Kind, ScopeError> {
    let malformed = || {
        let shown: String = word.chars().take(60).collect();
        ScopeError(format!(
            "The scope '{shown}' is unknown; access to resources is system/*.rs or user/*.rs, with some of the letters c, r, \
             u, d, s in this order, or read, write or * in their place."
        ))
    };
    let not_enforced = |what: &str| {
        Err(ScopeError(format!(
            "Scopes of {what} are not enforced by this server yet, so it gives no token for them."
        )))
    };
    let (context, rest) = word.split_once('/').ok_or_else(malformed)?;
    let (resource_type, access) = rest.split_once('.').ok_or_else(malformed)?;
    let (access, query) = match access.split_once('?') {
        Some((access, query)) => (access, Some(query)),
        None => (access, None),
    };
    let is_type =
        resource_type == "*" || !resource_type.is_empty() && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    let permissions = access_of(access).filter(|_| is_type).ok_or_else(malformed)?;
    let kind = match context {
        "system" => Kind::System(permissions),
        "user" => Kind::User(permissions),
        "patient" => return not_enforced("one patient"),
        _ => return Err(malformed()),
    };
    match query {
        Some(_) => not_enforced("a part of a type"),
        None if resource_type == "*" => Ok(kind),
        None => not_enforced("single types"),
    }
}

/// The part after the dot.
fn access_of(text: &str) -> Option<Permissions> {
    match text {
        "read" => return Some(Permissions::LOOK),
        "write" => return Some(Permissions::WRITE),
        "*" => return Some(Permissions::ALL),
        _ => {}
    }
    Permissions::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Scopes::parse(text).unwrap_err().0
    }

    #[test]
    fn both_forms_are_understood() {
        for (text, system, user) in [
            ("system/*.rs", "rs", ""),
            ("system/*.read", "rs", ""),
            ("system/*.cruds", "cruds", ""),
            ("user/*.*", "", "cruds"),
            ("system/*.read system/*.write", "cruds", ""),
            ("user/*.rs  user/*.c user/*.rs openid", "", "crs"),
            ("openid fhirUser profile", "", ""),
        ] {
            let scopes = Scopes::parse(text).unwrap();
            assert_eq!(
                (scopes.system().letters(), scopes.user().letters()),
                (system.to_owned(), user.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_answer_repeats_the_words_of_the_question() {
        let scopes = Scopes::parse("system/*.read system/*.c system/*.read").unwrap();
        assert_eq!(scopes.to_string(), "system/*.read system/*.c");
    }

    #[test]
    fn what_is_not_enforced_is_refused_in_words() {
        assert!(refusal("patient/*.rs").contains("of one patient are not enforced"));
        assert!(refusal("user/Patient.rs").contains("of single types are not enforced"));
        assert!(refusal("system/Observation.rs?category=laboratory").contains("of a part of a type"));
        assert!(refusal("openid launch/patient").contains("Launch contexts"));
        assert!(refusal("system/*.rs patient/*.rs").contains("of one patient"));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "openID",
            "system",
            "system/",
            "system/*",
            "system/*.",
            "system/*.sr",
            "user/*.dus",
            "system/*.rr",
            "system/*.rsx",
            "system/*.reads",
            "System/*.rs",
            "system/Pat*.rs",
            "system/.rs",
            "other/*.rs",
            "é/*.rs",
        ] {
            assert!(refusal(text).contains("is unknown"), "{text}");
        }
        assert!(refusal(" ").contains("no scopes"));
        assert!(refusal("system/*.cud").contains("to read and to search"));
        assert!(refusal("user/*.rs system/*.write").contains("to read and to search"));
        assert!(refusal(&"system/*.rs ".repeat(500)).contains("longer than"));
    }

    #[test]
    fn a_list_covers_what_allows_no_more() {
        let parse = |text| Scopes::parse(text).unwrap();
        let all = parse("system/*.cruds");
        let look = parse("system/*.read");
        assert!(all.cover(&look) && all.cover(&all) && look.cover(&parse("system/*.rs")));
        assert!(!look.cover(&all) && !all.cover(&parse("user/*.rs")) && !all.cover(&parse("system/*.rs openid")));
        assert_eq!(
            parse("openid user/*.rs profile").only(&["profile", "openid", "other"]),
            parse("openid profile")
        );
    }
}
