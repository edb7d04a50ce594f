//! Scopes, as SMART App Launch 2.2 writes them, in its first form (`patient/*.read`) and its second
//! (`patient/Observation.rs?category=laboratory`):
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>.
//!
//! | file | concern |
//! |---|---|
//! | here | lists of scopes, and whether one list is within another |
//! | [`records`] | scopes about resources |
//!
//! A list is read as a whole or refused as a whole: a scope that is misspelt must neither widen what is granted nor vanish
//! unnoticed. Hints about contexts that this server never has (`launch/questionnaire`, `launch/imagingstudy?role=…`) are
//! understood and left out, as the guide asks.

pub mod records;

use std::fmt;

pub use self::records::RecordScope;
use crate::fhir::access::scope::{ScopeContext, ScopeGrant};
use crate::fhir::server::FhirServer;

/// Longest list of scopes that is read, in bytes.
/// Long enough for what is left of two scopes for all types, type by type.
const LONGEST: usize = 16_000;

/// A list of scopes, each well formed.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Resources.
    Records(RecordScope),
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
    /// What the application was launched about, from within MedConsult: `launch`.
    Launch,
    /// Which patient it is to be about: `launch/patient`.
    LaunchPatient,
    /// Which encounter: `launch/encounter`.
    LaunchEncounter,
}

impl Kind {
    /// Whether only a back end can have it, which acts in its own name.
    pub fn is_for_back_ends(&self) -> bool {
        matches!(self, Kind::Records(records) if records.context == ScopeContext::System)
    }
}

/// Why a list of scopes is refused. The text is a whole sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeError(pub String);

impl Scopes {
    /// Reads a list. Repeated scopes count once.
    ///
    /// # Errors
    /// For a scope that is malformed or unknown, and for a list that is empty or longer than 16,000 bytes.
    pub fn parse(text: &str) -> Result<Scopes, ScopeError> {
        if text.len() > LONGEST {
            return Err(ScopeError(format!("The scopes are longer than {LONGEST} characters.")));
        }
        let mut scopes = Scopes::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let Some(kind) = kind_of(word)? else { continue };
            scopes.add(Scope {
                text: word.to_owned(),
                kind,
            });
        }
        if scopes.0.is_empty() {
            return Err(ScopeError("There are no scopes.".to_owned()));
        }
        Ok(scopes)
    }

    /// A list of one.
    pub fn of(scope: Scope) -> Scopes {
        Scopes(vec![scope])
    }

    /// Adds a scope, unless it is there.
    pub fn add(&mut self, scope: Scope) {
        if !self.0.contains(&scope) {
            self.0.push(scope);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|scope| scope.kind == kind)
    }

    /// Those about resources.
    pub fn records(&self) -> impl Iterator<Item = &RecordScope> {
        self.0.iter().filter_map(|scope| match &scope.kind {
            Kind::Records(records) => Some(records),
            _ => None,
        })
    }

    /// Whether one of them is about the resources of one patient, who must be known then.
    pub fn are_about_a_patient(&self) -> bool {
        self.records().any(|records| records.context == ScopeContext::Patient)
    }

    /// Whether these are for a back end, which acts in its own name.
    pub fn are_for_back_ends(&self) -> bool {
        self.0.iter().all(|scope| scope.kind.is_for_back_ends())
    }

    /// Whether these are for an application that acts on behalf of users.
    pub fn are_for_apps(&self) -> bool {
        !self.0.iter().any(|scope| scope.kind.is_for_back_ends())
    }

    /// Whether whoever holds these may have `other`, in whatever form it is written.
    pub fn cover(&self, other: &Scopes) -> bool {
        let is_covered = |scope: &Scope| match &scope.kind {
            Kind::Records(asked) => records::cover(self.records(), asked),
            kind => self.has(kind.clone()),
        };
        other.0.iter().all(is_covered)
    }

    /// What of `asked` whoever holds these may have, scope by scope: perhaps nothing
    /// (<https://www.rfc-editor.org/rfc/rfc6749#section-3.3>).
    pub fn common(&self, asked: &Scopes) -> Scopes {
        let mut common = Scopes::default();
        for scope in &asked.0 {
            match &scope.kind {
                _ if self.cover(&Scopes::of(scope.clone())) => common.add(scope.clone()),
                Kind::Records(records) => {
                    for records in records::common(self.records(), records) {
                        common.add(Scope {
                            text: records.text(),
                            kind: Kind::Records(records),
                        });
                    }
                }
                _ => {}
            }
        }
        common
    }

    /// Those of them that `keep` says.
    pub fn filtered(&self, keep: impl Fn(&Kind) -> bool) -> Scopes {
        Scopes(self.0.iter().filter(|scope| keep(&scope.kind)).cloned().collect())
    }

    /// Checks what only a server knows: whether resources can be told apart by the search parameters that the scopes name.
    ///
    /// # Errors
    /// A sentence about the first that cannot be used.
    pub fn check_filters(&self, server: &FhirServer) -> Result<(), ScopeError> {
        self.records().try_for_each(|records| records.check_filter(server))
    }

    /// What they allow with resources. `user` is the resource of whoever the application acts for: `fhirUser` lets it be read.
    pub fn grants(&self, user: Option<&str>) -> Vec<ScopeGrant> {
        let mut grants: Vec<ScopeGrant> = self.records().map(RecordScope::grant).collect();
        if let Some(user) = user.filter(|_| self.has(Kind::FhirUser)) {
            grants.extend(records::reading_of(user));
        }
        grants
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

/// What the word is about; `None` for a hint that is left out.
fn kind_of(word: &str) -> Result<Option<Kind>, ScopeError> {
    let kind = match word {
        "openid" => Kind::OpenId,
        "fhirUser" => Kind::FhirUser,
        "profile" => Kind::Profile,
        "offline_access" => Kind::Offline,
        "online_access" => Kind::Online,
        "launch" => Kind::Launch,
        "launch/patient" => Kind::LaunchPatient,
        "launch/encounter" => Kind::LaunchEncounter,
        _ => match word.strip_prefix("launch/") {
            Some(hint) if is_hint(hint) => return Ok(None),
            _ => Kind::Records(RecordScope::parse(word)?),
        },
    };
    Ok(Some(kind))
}

/// `questionnaire`, `imagingstudy?role=…`: a type in lower case.
fn is_hint(hint: &str) -> bool {
    let (name, role) = match hint.split_once('?') {
        Some((name, query)) => (name, query.strip_prefix("role=")),
        None => (hint, Some("any")),
    };
    records::is_type_in_lower_case(name) && role.is_some_and(|role| !role.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Scopes {
        Scopes::parse(text).unwrap()
    }

    #[test]
    fn an_answer_repeats_the_words_of_the_question() {
        let text = "launch/patient patient/*.read patient/Condition.rs?category=a%7Cb openid";
        assert_eq!(parse(&format!("{text}  openid")).to_string(), text);
    }

    #[test]
    fn hints_about_other_contexts_are_left_out() {
        let scopes = parse("openid launch/questionnaire launch/imagingstudy?role=for-comparison");
        assert_eq!(scopes.to_string(), "openid");
        for wrong in [
            "launch/",
            "launch/Patient",
            "launch/x",
            "launch/questionnaire?role=",
            "launch/questionnaire?x=1",
        ] {
            assert!(Scopes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_bounded_and_not_empty() {
        assert!(Scopes::parse(" ").unwrap_err().0.contains("no scopes"));
        assert!(
            Scopes::parse("launch/questionnaire")
                .unwrap_err()
                .0
                .contains("no scopes")
        );
        assert!(
            Scopes::parse(&"system/*.rs ".repeat(1400))
                .unwrap_err()
                .0
                .contains("longer than")
        );
        for wrong in ["openID", "system", "é", "\u{0}"] {
            assert!(Scopes::parse(wrong).unwrap_err().0.contains("is unknown"), "{wrong}");
        }
    }

    #[test]
    fn a_list_covers_what_allows_no_more() {
        let registered =
            parse("openid launch launch/patient patient/*.read patient/Observation.cu user/Patient.rs offline_access");
        for within in [
            "openid",
            "patient/*.rs",
            "patient/Condition.r patient/Observation.cu",
            "patient/Observation.crus",
            "patient/Observation.rs?category=laboratory",
            "user/Patient.s launch/patient",
            "openid launch/questionnaire",
        ] {
            assert!(registered.cover(&parse(within)), "{within}");
        }
        for beyond in [
            "profile",
            "online_access",
            "patient/*.cu",
            "patient/*.write",
            "patient/Condition.u",
            "patient/Observation.d",
            "user/*.rs",
            "user/Observation.rs",
            "system/*.rs",
            "launch/encounter",
        ] {
            assert!(!registered.cover(&parse(beyond)), "{beyond}");
        }
        let narrow = parse("patient/Observation.rs?category=laboratory");
        assert!(narrow.cover(&parse("patient/Observation.r?category=laboratory")));
        assert!(!narrow.cover(&parse("patient/Observation.r")));
        assert!(!narrow.cover(&parse("patient/Observation.r?category=vital-signs")));
    }

    #[test]
    fn what_two_lists_have_in_common_is_within_both() {
        let registered = "openid launch/patient patient/*.rs patient/Observation.cu user/Patient.rs \
             patient/Condition.d?category=a";
        for (asked, common) in [
            ("openid fhirUser offline_access launch", "openid"),
            ("patient/*.read openid", "patient/*.read openid"),
            (
                "patient/*.cruds",
                "patient/*.rs patient/Observation.cu patient/Condition.d?category=a",
            ),
            (
                "patient/*.*",
                "patient/*.read patient/Observation.cu patient/Condition.d?category=a",
            ),
            ("patient/Observation.*", "patient/Observation.crus"),
            ("patient/Observation.cud?code=x", "patient/Observation.cu?code=x"),
            ("patient/Condition.ds?category=b", "patient/Condition.s?category=b"),
            ("user/*.cruds", "user/Patient.rs"),
            ("user/*.*", "user/Patient.read"),
            ("user/Observation.rs system/*.rs patient/Patient.d", ""),
        ] {
            let (registered, asked) = (parse(registered), parse(asked));
            let both = registered.common(&asked);
            assert_eq!(both.to_string(), common, "{asked}");
            assert!(registered.cover(&both) && asked.cover(&both), "{asked}");
            assert!(both.is_empty() || parse(&both.to_string()) == both, "{asked}");
        }
    }

    #[test]
    fn lists_are_for_back_ends_or_for_apps() {
        assert!(parse("system/*.rs system/Patient.c").are_for_back_ends());
        assert!(!parse("system/*.rs openid").are_for_back_ends() && !parse("system/*.rs openid").are_for_apps());
        assert!(parse("user/*.rs launch").are_for_apps() && !parse("user/*.rs").are_for_back_ends());
        assert!(parse("openid patient/*.rs").are_about_a_patient() && !parse("launch/patient").are_about_a_patient());
    }

    #[test]
    fn grants_are_what_the_scopes_say_about_resources() {
        let grants = parse("openid fhirUser patient/*.rs").grants(Some("Practitioner/7"));
        assert_eq!(grants.len(), 2);
        assert_eq!(
            (grants[0].resource_type, grants[1].resource_type),
            (None, Some("Practitioner"))
        );
        assert_eq!(grants[1].filter.as_deref(), Some("_id=7"));
        assert!(
            parse("openid fhirUser").grants(None).is_empty() && parse("openid").grants(Some("Patient/1")).is_empty()
        );
    }
}
