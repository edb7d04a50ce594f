//! `value-sets.json` and `code-systems.json`: the codes behind bindings.
//!
//! A value set is left out when the package does not hold all its codes (media types, currencies, UCUM units, LOINC
//! answers): a partial list would refuse what R4 allows. Required bindings are carried as they are written, since resources
//! are validated against them. Extensible and preferred ones serve searches; they are carried by their expansion, and only
//! where each of their code systems is one of HL7's own, defined in full.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::package::{Concept, Include, Package, ValueSet};
use super::{lines, without_version};
use crate::knowledge::terminology;

/// What HL7 defines itself, and not only quotes.
const OWN: [&str; 2] = ["http://hl7.org/fhir/", "http://terminology.hl7.org/"];

/// (code systems, value sets)
pub fn write(package: &Package) -> (String, String) {
    let required = bound(package, &["required"]);
    let others = bound(package, &["extensible", "preferred"]);
    let mut systems: BTreeMap<&str, Value> = BTreeMap::new();
    let mut value_sets: BTreeMap<&str, Value> = BTreeMap::new();
    for url in required.union(&others) {
        let Some(value_set) = package.value_sets.get(*url) else {
            continue;
        };
        let written = if required.contains(url) {
            as_written(package, value_set)
        } else {
            None
        };
        let Some(parts) = written.or_else(|| {
            if others.contains(url) {
                expanded(package, url)
            } else {
                None
            }
        }) else {
            continue;
        };
        for (system, _) in &parts {
            if let Some(line) = code_system(package, system) {
                systems.insert(system, line);
            }
        }
        let parts: Vec<Value> = parts.into_iter().map(|(system, codes)| part(system, codes)).collect();
        value_sets.insert(url, json!({"url": value_set.url, "include": parts}));
    }
    let systems: Vec<Value> = systems.into_values().collect();
    let value_sets: Vec<Value> = value_sets.into_values().collect();
    (lines("codeSystems", &systems), lines("valueSets", &value_sets))
}

/// The value sets that elements are bound to with one of these strengths.
fn bound<'p>(package: &'p Package, strengths: &[&str]) -> BTreeSet<&'p str> {
    let elements = package
        .structures
        .values()
        .filter_map(|s| s.snapshot.as_ref())
        .flat_map(|s| &s.element);
    elements
        .filter_map(|element| element.binding.as_ref())
        .filter(|binding| strengths.contains(&binding.strength.as_str()))
        .filter_map(|binding| binding.value_set.as_deref())
        .map(without_version)
        .collect()
}

/// A system with its listed codes; `None`: all of them.
type Part<'p> = (&'p str, Option<Vec<&'p str>>);

/// The value set's parts, when each either lists its codes or takes a whole code system that the package holds.
fn as_written<'p>(package: &'p Package, value_set: &'p ValueSet) -> Option<Vec<Part<'p>>> {
    let compose = value_set.compose.as_ref().filter(|c| c.exclude.is_empty())?;
    let part = |include: &'p Include| {
        let system = include.system.as_deref()?;
        let is_plain = include.filter.is_empty() && include.value_set.is_empty();
        match include.concept.is_empty() {
            _ if !is_plain => None,
            true => is_complete(package, system).then_some((system, None)),
            false => Some((system, Some(codes(&include.concept)))),
        }
    };
    compose.include.iter().map(part).collect()
}

/// The value set's expansion by system, when the package holds every one of those.
fn expanded<'p>(package: &'p Package, url: &str) -> Option<Vec<Part<'p>>> {
    let expansion = terminology::expand(&package.library, url).ok()?;
    let mut by_system: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (system, code) in &expansion.codes {
        by_system.entry(system).or_default().insert(code);
    }
    let part = |(system, chosen): (&str, BTreeSet<&str>)| {
        let (system, definition) = package.code_systems.get_key_value(system)?;
        let all = codes(&definition.concept);
        let listed: Vec<&str> = all.iter().copied().filter(|code| chosen.contains(code)).collect();
        let is_own = OWN.iter().any(|base| system.starts_with(base)) && is_complete(package, system);
        is_own.then(|| (system.as_str(), (listed.len() < all.len()).then_some(listed)))
    };
    by_system.into_iter().map(part).collect()
}

fn is_complete(package: &Package, system: &str) -> bool {
    package
        .code_systems
        .get(system)
        .is_some_and(|s| s.content == "complete")
}

fn part(system: &str, codes: Option<Vec<&str>>) -> Value {
    let mut part = Map::new();
    part.insert("system".into(), json!(system));
    if let Some(codes) = codes {
        part.insert("codes".into(), json!(codes));
    }
    Value::Object(part)
}

fn code_system(package: &Package, url: &str) -> Option<Value> {
    let definition = package.code_systems.get(url)?;
    let mut line = Map::new();
    line.insert("url".into(), json!(url));
    if let Some(version) = &definition.version {
        line.insert("version".into(), json!(version));
    }
    if let Some(case_sensitive) = definition.case_sensitive {
        line.insert("caseSensitive".into(), json!(case_sensitive));
    }
    let codes = codes(&definition.concept);
    let mut hierarchy: Vec<[&str; 2]> = Vec::new();
    if let Some(read) = package.library.code_systems.get(url) {
        for code in &codes {
            hierarchy.extend(read.neighbours(code, false).map(|child| [*code, child]));
        }
    }
    line.insert("codes".into(), json!(codes));
    if !hierarchy.is_empty() {
        line.insert("hierarchy".into(), json!(hierarchy));
    }
    Some(Value::Object(line))
}

/// All codes, those below others right after them.
fn codes(concepts: &[Concept]) -> Vec<&str> {
    let mut out = Vec::new();
    for concept in concepts {
        out.push(concept.code.as_str());
        out.extend(codes(&concept.concept));
    }
    out
}
