//! Scopes about resources: whose, of which type, what may be done, and which part of the type.

use super::ScopeError;
use crate::fhir::access::scope::{ScopeContext, ScopeGrant, check_filter, resource_type, resource_types};
use crate::fhir::caller::Permissions;
use crate::fhir::server::FhirServer;

/// Longest query of a granular scope, in bytes.
const LONGEST_FILTER: usize = 500;

/// `patient/Observation.rs?category=laboratory`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordScope {
    /// Whose: one patient's, those that a user may see, or those that a back end was given.
    pub context: ScopeContext,
    /// `None` for every type, those of later releases too.
    pub resource_type: Option<&'static str>,
    pub permissions: Permissions,
    /// The query that resources must match, as it was written: percent-encoded.
    pub filter: Option<String>,
    /// `read`, `write` or `*` as it was written; `None` for letters.
    word: Option<&'static str>,
}

impl RecordScope {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<RecordScope, ScopeError> {
        read(text).ok_or_else(|| {
            let is_plain = |letter: &char| letter.is_ascii_graphic() && !"\"\\".contains(*letter);
            let shown: String = text.chars().filter(is_plain).take(60).collect();
            ScopeError(format!(
                "The scope '{shown}' is unknown; access to resources is patient/, user/ or system/, a type or *, and after a dot \
                 some of the letters c, r, u, d, s in this order, or read, write or * in their place; after letters, ? and \
                 search parameters of the type may follow."
            ))
        })
    }

    /// The same for one type only.
    pub fn of_type(&self, resource_type: &'static str) -> RecordScope {
        RecordScope {
            resource_type: Some(resource_type),
            ..self.clone()
        }
    }

    /// The same for a part of its type only. Such scopes are written with letters: the first form has no parts.
    pub fn of_part(&self, filter: &str) -> RecordScope {
        RecordScope {
            filter: Some(filter.to_owned()),
            word: None,
            ..self.clone()
        }
    }

    /// The same, by a word if `asked` has one and there is one for these letters.
    fn in_form_of(mut self, asked: &RecordScope) -> RecordScope {
        let is_first_form = asked.word.is_some() && self.filter.is_none();
        let mut words = WORDS.into_iter().filter(|_| is_first_form);
        let word = words.find(|(_, permissions)| *permissions == self.permissions);
        self.word = word.map(|(word, _)| word);
        self
    }

    /// As a scope is written, in the form in which it was asked for.
    pub fn text(&self) -> String {
        let context = match self.context {
            ScopeContext::Patient => "patient",
            ScopeContext::User => "user",
            ScopeContext::System => "system",
        };
        let access = self.word.map_or_else(|| self.permissions.letters(), str::to_owned);
        let filter = self
            .filter
            .as_ref()
            .map(|filter| format!("?{filter}"))
            .unwrap_or_default();
        format!("{context}/{}.{access}{filter}", self.resource_type.unwrap_or("*"))
    }

    pub(super) fn grant(&self) -> ScopeGrant {
        ScopeGrant {
            context: self.context,
            resource_type: self.resource_type,
            permissions: self.permissions,
            filter: self.filter.clone(),
        }
    }

    pub(super) fn check_filter(&self, server: &FhirServer) -> Result<(), ScopeError> {
        match (self.resource_type, &self.filter) {
            (Some(name), Some(filter)) => {
                let sentence = |text| ScopeError(format!("The scope {} cannot be enforced: {text}", self.text()));
                check_filter(server, name, filter).map_err(sentence)
            }
            _ => Ok(()),
        }
    }
}

/// Whether all that `asked` allows is allowed by `given` together. A wildcard is only within a wildcard: it means types
/// that are not known yet, too.
pub(super) fn cover<'s>(given: impl Iterator<Item = &'s RecordScope>, asked: &RecordScope) -> bool {
    let is_as_wide = |given: &&RecordScope| {
        given.context == asked.context
            && (given.resource_type.is_none() || given.resource_type == asked.resource_type)
            && (given.filter.is_none() || given.filter == asked.filter)
    };
    let given = given.filter(is_as_wide);
    let together = given.fold(Permissions::NONE, |all, given| all | given.permissions);
    together.contain(asked.permissions)
}

/// What of `asked` is allowed by `given`, in the form of the question. Where a scope with a query meets one with another query, there
/// is none that would say both.
pub(super) fn common<'s>(given: impl Iterator<Item = &'s RecordScope>, asked: &RecordScope) -> Vec<RecordScope> {
    let mut found: Vec<RecordScope> = Vec::new();
    for given in given.filter(|given| given.context == asked.context) {
        let permissions = given.permissions.common(asked.permissions);
        let resource_type = narrower(given.resource_type, asked.resource_type);
        let filter = narrower(given.filter.as_deref(), asked.filter.as_deref());
        let (Some(resource_type), Some(filter)) = (resource_type, filter) else {
            continue;
        };
        if permissions == Permissions::NONE {
            continue;
        }
        let is_same =
            |other: &&mut RecordScope| other.resource_type == resource_type && other.filter.as_deref() == filter;
        match found.iter_mut().find(is_same) {
            Some(other) => other.permissions = other.permissions | permissions,
            None => found.push(RecordScope {
                context: asked.context,
                resource_type,
                permissions,
                filter: filter.map(str::to_owned),
                word: None,
            }),
        }
    }
    let is_within_another = |scope: &RecordScope| cover(found.iter().filter(|other| *other != scope), scope);
    let left = found.iter().filter(|scope| !is_within_another(scope)).cloned();
    left.map(|scope| scope.in_form_of(asked)).collect()
}

/// The one of two that says more; `None` where they say different things.
fn narrower<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (None, any) | (any, None) => Some(any),
        (one, other) => (one == other).then_some(one),
    }
}

/// That `Practitioner/7` may be read.
pub(super) fn reading_of(reference: &str) -> Option<ScopeGrant> {
    let (name, id) = reference.split_once('/')?;
    Some(ScopeGrant {
        context: ScopeContext::User,
        resource_type: Some(resource_type(name)?),
        permissions: Permissions::READ,
        filter: Some(format!("_id={id}")),
    })
}

pub(super) fn is_type_in_lower_case(text: &str) -> bool {
    let is_same = |name: &str| name.bytes().map(|byte| byte.to_ascii_lowercase()).eq(text.bytes());
    resource_types().any(is_same)
}

fn read(text: &str) -> Option<RecordScope> {
    let (context, rest) = text.split_once('/')?;
    let context = match context {
        "patient" => ScopeContext::Patient,
        "user" => ScopeContext::User,
        "system" => ScopeContext::System,
        _ => return None,
    };
    let (scope, filter) = match rest.split_once('?') {
        Some((scope, filter)) => (scope, Some(filter)),
        None => (rest, None),
    };
    let (name, access) = scope.split_once('.')?;
    let resource_type = match name {
        "*" => None,
        _ => Some(resource_type(name)?),
    };
    let (permissions, word) = access_of(access)?;
    // A part of all types would be a part that most types do not have; and only the second form has parts.
    let is_filter = |filter: &str| resource_type.is_some() && word.is_none() && is_query(filter);
    filter.is_none_or(is_filter).then(|| RecordScope {
        context,
        resource_type,
        permissions,
        filter: filter.map(str::to_owned),
        word,
    })
}

/// What the first form has in place of letters.
const WORDS: [(&str, Permissions); 3] = [
    ("read", Permissions::LOOK),
    ("write", Permissions::WRITE),
    ("*", Permissions::ALL),
];

/// The part after the dot, and the word that it is in the first form.
fn access_of(text: &str) -> Option<(Permissions, Option<&'static str>)> {
    if let Some((word, permissions)) = WORDS.into_iter().find(|(word, _)| *word == text) {
        return Some((permissions, Some(word)));
    }
    Permissions::parse(text).map(|permissions| (permissions, None))
}

/// Pairs of a name and a value, of what a scope may hold (<https://www.rfc-editor.org/rfc/rfc6749#section-3.3>).
fn is_query(filter: &str) -> bool {
    let is_plain = filter
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"\\#?".contains(&byte));
    let is_pair = |pair: &str| {
        pair.split_once('=')
            .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
    };
    filter.len() <= LONGEST_FILTER && is_plain && filter.split('&').all(is_pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_understood() {
        for (text, context, name, letters, filter) in [
            ("system/*.rs", ScopeContext::System, None, "rs", None),
            ("system/*.read", ScopeContext::System, None, "rs", None),
            ("user/*.*", ScopeContext::User, None, "cruds", None),
            ("user/Patient.write", ScopeContext::User, Some("Patient"), "cud", None),
            (
                "patient/Observation.cu",
                ScopeContext::Patient,
                Some("Observation"),
                "cu",
                None,
            ),
            (
                "patient/Observation.rs?category=http://x|laboratory&status=final",
                ScopeContext::Patient,
                Some("Observation"),
                "rs",
                Some("category=http://x|laboratory&status=final"),
            ),
        ] {
            let scope = RecordScope::parse(text).unwrap();
            assert_eq!(
                (
                    scope.context,
                    scope.resource_type,
                    scope.permissions.letters(),
                    scope.filter.as_deref()
                ),
                (context, name, letters.to_owned(), filter),
                "{text}"
            );
            assert_eq!(scope.text(), text);
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_is_refused() {
        for text in [
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
            "patient/patient.rs",
            "patient/Paitent.rs",
            "patient/HumanName.rs",
            "patient/DomainResource.rs",
            "patient/*.rs?category=laboratory",
            "patient/Observation.read?category=laboratory",
            "patient/Observation.rs?",
            "patient/Observation.rs?category",
            "patient/Observation.rs?category=",
            "patient/Observation.rs?=laboratory",
            "patient/Observation.rs?category=a&",
            "patient/Observation.rs?category=\"a\"",
            "patient/Observation.rs?category=a?b=c",
        ] {
            let error = RecordScope::parse(text).unwrap_err();
            assert!(error.0.contains("is unknown"), "{text}");
        }
        assert!(RecordScope::parse(&format!("patient/Observation.rs?code={}", "x".repeat(500))).is_err());
    }

    #[test]
    fn a_scope_is_narrowed_in_the_form_in_which_it_was_asked_for() {
        let first = RecordScope::parse("patient/*.read").unwrap();
        assert_eq!(first.of_type("Condition").text(), "patient/Condition.read");
        assert_eq!(
            first.of_type("Condition").of_part("category=x").text(),
            "patient/Condition.rs?category=x"
        );
        let second = RecordScope::parse("user/*.cruds").unwrap();
        assert_eq!(second.of_type("Condition").text(), "user/Condition.cruds");
    }
}
