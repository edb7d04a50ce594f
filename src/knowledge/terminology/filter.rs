//! Codes chosen by a property (<https://hl7.org/fhir/R4/valueset-filter-operator.html>).
//!
//! `code` and `concept` name the code itself, `display` its display, `parent` and `child` its neighbours in the hierarchy;
//! any other name is a property of the code system. The hierarchical operators ask where the value of the property stands
//! in the hierarchy, which for `concept` is the place of the code itself.

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};

use super::Unexpandable;
use super::code_system::{CodeSystem, Concept};
use super::value_set::Filter;

/// Largest compiled regular expression, in bytes: enough for any pattern that a person would write.
const MAX_REGEX: usize = 1 << 20;

/// A filter, ready to be asked for many concepts.
pub struct Test<'f> {
    system: &'f CodeSystem,
    property: &'f str,
    accepts: Accepts<'f>,
}

enum Accepts<'f> {
    /// A value of the property is one of these.
    Any(HashSet<&'f str>),
    /// No value of the property is one of these.
    None(HashSet<&'f str>),
    /// The whole of a value is matched.
    Pattern(Regex),
    /// There is a value, or there is none.
    Existence(bool),
}

impl<'f> Test<'f> {
    /// # Errors
    /// When the code system lacks the property or the code, or the filter makes no sense.
    pub fn new(system: &'f CodeSystem, filter: &'f Filter) -> Result<Test<'f>, Unexpandable> {
        let Filter {
            property,
            operator,
            value,
        } = filter;
        let is_built_in = matches!(property.as_str(), "code" | "concept" | "display" | "parent" | "child");
        if !is_built_in && !system.has_property(property) {
            return Err(Unexpandable::UnknownProperty(system.url.clone(), property.clone()));
        }
        let malformed = |what: String| Unexpandable::Malformed(format!("A filter on {}", system.url), what);
        let listed = || value.split(',').map(|code| spelled(system, code.trim())).collect();
        let accepts = match operator.as_str() {
            "=" => Accepts::Any(HashSet::from([spelled(system, value)])),
            "in" => Accepts::Any(listed()),
            "not-in" => Accepts::None(listed()),
            "is-a" => Accepts::Any(hierarchy(system, value, false, true)?),
            "descendent-of" => Accepts::Any(hierarchy(system, value, false, false)?),
            "is-not-a" => Accepts::None(hierarchy(system, value, false, true)?),
            "generalizes" => Accepts::Any(hierarchy(system, value, true, true)?),
            "regex" => {
                let pattern = RegexBuilder::new(&format!("^(?:{value})$"))
                    .size_limit(MAX_REGEX)
                    .build();
                Accepts::Pattern(pattern.map_err(|_| malformed(format!("'{value}' is no regular expression")))?)
            }
            "exists" => match value.as_str() {
                "true" => Accepts::Existence(true),
                "false" => Accepts::Existence(false),
                _ => return Err(malformed("the value of 'exists' is true or false".to_owned())),
            },
            other => return Err(malformed(format!("there is no operator '{other}'"))),
        };
        Ok(Test {
            system,
            property,
            accepts,
        })
    }

    pub fn passes(&self, concept: &Concept) -> bool {
        let mut values = self.values(concept).into_iter();
        match &self.accepts {
            Accepts::Any(accepted) => values.any(|value| accepted.contains(value)),
            Accepts::None(refused) => !values.any(|value| refused.contains(value)),
            Accepts::Pattern(pattern) => values.any(|value| pattern.is_match(value)),
            Accepts::Existence(wanted) => values.next().is_some() == *wanted,
        }
    }

    fn values<'c>(&'c self, concept: &'c Concept) -> Vec<&'c str> {
        match self.property {
            "code" | "concept" => vec![&concept.code],
            "display" if concept.display.is_empty() => vec![],
            "display" => vec![&concept.display],
            "parent" => self.system.neighbours(&concept.code, true).collect(),
            "child" => self.system.neighbours(&concept.code, false).collect(),
            name => {
                let named = concept.properties.iter().filter(|(known, _)| known == name);
                named.map(|(_, value)| spelled(self.system, value)).collect()
            }
        }
    }
}

/// A code as its system writes it; what is no code stays as it is.
fn spelled<'v>(system: &'v CodeSystem, value: &'v str) -> &'v str {
    system.spelling(value).unwrap_or(value)
}

fn hierarchy<'v>(
    system: &'v CodeSystem,
    code: &str,
    above: bool,
    with_itself: bool,
) -> Result<HashSet<&'v str>, Unexpandable> {
    let reached = if above {
        system.ancestors(code)
    } else {
        system.descendants(code)
    };
    match (reached, system.spelling(code)) {
        (Some(mut reached), Some(itself)) => {
            if with_itself {
                reached.insert(itself);
            }
            Ok(reached)
        }
        _ => Err(Unexpandable::UnknownCode(system.url.clone(), code.to_owned())),
    }
}
