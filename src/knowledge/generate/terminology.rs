//! `value-sets.json` and `code-systems.json`: the codes behind required bindings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::package::{Concept, Include, Package, ValueSet};
use super::{lines, without_version};

/// (code systems, value sets). A value set is left out when the package does not hold all its codes (media types,
/// currencies, UCUM units, LOINC answers): a partial list would refuse what R4 allows.
pub fn write(package: &Package) -> (String, String) {
    let bound: BTreeSet<&str> = package
        .structures
        .values()
        .filter_map(|s| s.snapshot.as_ref())
        .flat_map(|s| &s.element)
        .filter_map(|e| e.binding.as_ref())
        .filter(|b| b.strength == "required")
        .filter_map(|b| b.value_set.as_deref())
        .map(without_version)
        .collect();

    let mut systems: BTreeMap<&str, Value> = BTreeMap::new();
    let mut value_sets = Vec::new();
    for url in bound {
        let Some(value_set) = package.value_sets.get(url) else {
            continue;
        };
        let Some(includes) = expandable(package, value_set) else {
            continue;
        };
        let mut parts = Vec::new();
        for include in includes {
            let system = include.system.as_deref().unwrap_or_default();
            let mut part = Map::new();
            part.insert("system".into(), json!(system));
            if !include.concept.is_empty() {
                part.insert("codes".into(), json!(codes(&include.concept)));
            }
            parts.push(Value::Object(part));
            if let Some(code_system) = package.code_systems.get(system) {
                systems.entry(system).or_insert_with(|| {
                    let mut line = Map::new();
                    line.insert("url".into(), json!(system));
                    if let Some(case_sensitive) = code_system.case_sensitive {
                        line.insert("caseSensitive".into(), json!(case_sensitive));
                    }
                    line.insert("codes".into(), json!(codes(&code_system.concept)));
                    Value::Object(line)
                });
            }
        }
        value_sets.push(json!({"url": value_set.url, "include": parts}));
    }
    let systems: Vec<Value> = systems.into_values().collect();
    (lines("codeSystems", &systems), lines("valueSets", &value_sets))
}

/// The value set's parts, when each either lists its codes or takes a whole code system that the package holds.
fn expandable<'a>(package: &Package, value_set: &'a ValueSet) -> Option<&'a [Include]> {
    let compose = value_set.compose.as_ref().filter(|c| c.exclude.is_empty())?;
    let all = compose.include.iter().all(|include| {
        let Some(system) = &include.system else { return false };
        let is_complete = || {
            package
                .code_systems
                .get(system)
                .is_some_and(|s| s.content == "complete")
        };
        include.filter.is_empty() && include.value_set.is_empty() && (!include.concept.is_empty() || is_complete())
    });
    all.then_some(&compose.include)
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
