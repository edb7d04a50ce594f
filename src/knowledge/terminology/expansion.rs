//! The codes of a value set (<https://hl7.org/fhir/R4/valueset.html#compositions>).
//!
//! A definition (`compose`) has the last word, since an expansion beside it may be older. Where the definition needs what
//! is not known here, the expansion stands in for it.

use std::collections::{BTreeSet, HashMap};

use super::code_system::{CodeSystem, Content};
use super::filter::Test;
use super::value_set::{Compose, Part};
use super::{Library, MAX_SIZE, Unexpandable, split_version};

/// All codes of a value set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Expansion {
    /// System, which may be empty, and code.
    pub codes: BTreeSet<(String, String)>,
    /// What is known to be missing, as sentences for the client.
    pub notes: BTreeSet<String>,
}

/// Expands the value set that `library` has under `canonical`.
///
/// # Errors
/// When it is not there, or cannot be told in full.
pub fn expand(library: &Library, canonical: &str) -> Result<Expansion, Unexpandable> {
    Expander {
        library,
        done: HashMap::new(),
        open: Vec::new(),
    }
    .expand(canonical)
}

struct Expander<'l> {
    library: &'l Library,
    done: HashMap<&'l str, Expansion>,
    /// The value sets that are being expanded, each imported by the one before it.
    open: Vec<&'l str>,
}

impl<'l> Expander<'l> {
    fn expand(&mut self, canonical: &str) -> Result<Expansion, Unexpandable> {
        let unknown = || Unexpandable::UnknownValueSet(canonical.to_owned());
        let (name, value_set) = self.library.value_sets.get_key_value(canonical).ok_or_else(unknown)?;
        if let Some(done) = self.done.get(name.as_str()) {
            return Ok(done.clone());
        }
        // An import of itself ends in the same error from wherever it is entered, so nothing stands in for it.
        if self.open.contains(&name.as_str()) {
            return Err(Unexpandable::Cycle(canonical.to_owned()));
        }
        self.open.push(name);
        let composed = value_set.compose.as_ref().map(|compose| self.compose(compose));
        self.open.pop();
        let expansion = match (composed, &value_set.expansion) {
            (Some(Ok(expansion)), _) => expansion,
            (Some(Err(error @ Unexpandable::Cycle(_))), _) | (Some(Err(error)), None) => return Err(error),
            (_, Some(codes)) => Expansion {
                codes: codes.clone(),
                notes: BTreeSet::new(),
            },
            (None, None) => return Err(Unexpandable::WithoutDefinition(canonical.to_owned())),
        };
        if expansion.codes.len() > MAX_SIZE {
            return Err(Unexpandable::TooLarge(canonical.to_owned()));
        }
        self.done.insert(name, expansion.clone());
        Ok(expansion)
    }

    fn compose(&mut self, compose: &Compose) -> Result<Expansion, Unexpandable> {
        let mut whole = Expansion::default();
        for part in &compose.include {
            let part = self.part(part)?;
            whole.codes.extend(part.codes);
            whole.notes.extend(part.notes);
        }
        for part in &compose.exclude {
            let part = self.part(part)?;
            whole.codes.retain(|code| !part.codes.contains(code));
            whole.notes.extend(part.notes);
        }
        if compose.inactive == Some(false) {
            let known = || self.library.code_systems.values();
            let inactive = |(url, code): &(String, String)| known().any(|s| s.url == *url && is_inactive(s, code));
            whole.codes.retain(|code| !inactive(code));
        }
        Ok(whole)
    }

    /// The codes that meet all conditions of a part.
    fn part(&mut self, part: &Part) -> Result<Expansion, Unexpandable> {
        let mut found = match &part.system {
            Some(system) => Some(self.of_system(part, system)?),
            None => None,
        };
        for canonical in &part.value_sets {
            let imported = self.expand(canonical)?;
            found = Some(match found {
                None => imported,
                Some(mut found) => {
                    found.codes.retain(|code| imported.codes.contains(code));
                    found.notes.extend(imported.notes);
                    found
                }
            });
        }
        let nothing = || {
            Unexpandable::Malformed(
                "A part of a value set".into(),
                "it names no system and no value set".into(),
            )
        };
        found.ok_or_else(nothing)
    }

    fn of_system(&self, part: &Part, canonical: &str) -> Result<Expansion, Unexpandable> {
        let (url, _) = split_version(canonical);
        let known = self.library.code_systems.get(canonical);
        let pair = |code: &str| (url.to_owned(), code.to_owned());
        if !part.needs_content() {
            let spelling = |code: &'_ String| known.and_then(|known| known.spelling(code)).unwrap_or(code).to_owned();
            return Ok(Expansion {
                codes: part.codes.iter().map(|code| pair(&spelling(code))).collect(),
                notes: BTreeSet::new(),
            });
        }
        let system = known.ok_or_else(|| Unexpandable::UnknownCodeSystem(canonical.to_owned()))?;
        if let Content::Absent(word) = &system.content {
            return Err(Unexpandable::WithoutContent(canonical.to_owned(), word.clone()));
        }
        let tests = part.filters.iter().map(|filter| Test::new(system, filter));
        let tests = tests.collect::<Result<Vec<_>, _>>()?;
        let listed: Option<BTreeSet<&str>> =
            (!part.codes.is_empty()).then(|| part.codes.iter().filter_map(|code| system.spelling(code)).collect());
        let chosen = system.concepts().iter().filter(|concept| {
            let is_listed = listed
                .as_ref()
                .is_none_or(|listed| listed.contains(concept.code.as_str()));
            is_listed && tests.iter().all(|test| test.passes(concept))
        });
        Ok(Expansion {
            codes: chosen.map(|concept| pair(&concept.code)).collect(),
            notes: system.note().into_iter().collect(),
        })
    }
}

/// Whether a code system says that a code is out of use
/// (<https://hl7.org/fhir/R4/codesystem-concept-properties.html>).
fn is_inactive(system: &CodeSystem, code: &str) -> bool {
    let says = |(name, value): &(String, String)| match name.as_str() {
        "inactive" => value == "true",
        "status" => matches!(value.as_str(), "inactive" | "retired"),
        _ => false,
    };
    system
        .concept(code)
        .is_some_and(|concept| concept.properties.iter().any(says))
}
