//! A value set as it is written (<https://hl7.org/fhir/R4/valueset.html>).

use std::collections::BTreeSet;

use serde_json::Value;

use super::code_system::{items, text};
use super::{Definition, Reference};

/// A definition by parts, an expansion that somebody made, or both.
#[derive(Default, Debug)]
pub struct ValueSet {
    pub url: String,
    pub version: Option<String>,
    /// `ValueSet.compose`
    pub compose: Option<Compose>,
    /// Systems and codes of `ValueSet.expansion`, if that is whole.
    pub expansion: Option<BTreeSet<(String, String)>>,
}

/// What belongs to a value set.
#[derive(Default, Debug)]
pub struct Compose {
    /// Whoever is in any of them belongs to it,
    pub include: Vec<Part>,
    /// unless it is in any of these.
    pub exclude: Vec<Part>,
    /// `false`: codes out of use do not belong to it.
    pub inactive: Option<bool>,
}

/// The codes that meet all of these conditions.
#[derive(Default, Debug)]
pub struct Part {
    /// With its version where one is given; `None` where only value sets are named.
    pub system: Option<String>,
    /// Listed codes; empty where all of the system, or those that pass the filters, are meant.
    pub codes: Vec<String>,
    pub filters: Vec<Filter>,
    /// A code must be in all of them. R4 says so of a part as a whole and contradicts it at the element itself; later
    /// releases have settled for this.
    pub value_sets: Vec<String>,
}

/// A condition on a property of a concept.
#[derive(Debug)]
pub struct Filter {
    pub property: String,
    pub operator: String,
    pub value: String,
}

impl ValueSet {
    /// Reads a ValueSet resource.
    pub fn from_resource(resource: &Value) -> ValueSet {
        ValueSet {
            url: text(resource, "url").to_owned(),
            version: resource.get("version").and_then(Value::as_str).map(str::to_owned),
            compose: resource.get("compose").map(|compose| Compose {
                include: items(compose, "include").map(Part::of).collect(),
                exclude: items(compose, "exclude").map(Part::of).collect(),
                inactive: compose.get("inactive").and_then(Value::as_bool),
            }),
            expansion: resource.get("expansion").and_then(whole_expansion),
        }
    }

    /// A value set that comes with R4: its systems and codes.
    pub fn from_definitions(url: &str, codes: &[(String, String)]) -> ValueSet {
        ValueSet {
            url: url.to_owned(),
            expansion: Some(codes.iter().cloned().collect()),
            ..ValueSet::default()
        }
    }
}

impl Part {
    fn of(include: &Value) -> Part {
        let system = include.get("system").and_then(Value::as_str);
        let canonical = |system: &str| match text(include, "version") {
            "" | "*" => system.to_owned(),
            version => format!("{system}|{version}"),
        };
        Part {
            system: system.map(canonical),
            codes: items(include, "concept")
                .map(|item| text(item, "code").to_owned())
                .collect(),
            filters: items(include, "filter")
                .map(|filter| Filter {
                    property: text(filter, "property").to_owned(),
                    operator: text(filter, "op").to_owned(),
                    value: text(filter, "value").to_owned(),
                })
                .collect(),
            value_sets: items(include, "valueSet")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether the codes can only be told by the code system itself.
    pub fn needs_content(&self) -> bool {
        self.codes.is_empty() || !self.filters.is_empty()
    }
}

impl Definition for ValueSet {
    fn references(&self) -> BTreeSet<Reference> {
        let mut references = BTreeSet::new();
        let compose = self.compose.iter();
        for part in compose.flat_map(|compose| compose.include.iter().chain(&compose.exclude)) {
            // Listed codes do not need their system, but its spelling of them is better than theirs.
            references.extend(part.system.clone().map(Reference::CodeSystem));
            references.extend(part.value_sets.iter().cloned().map(Reference::ValueSet));
        }
        references
    }
}

/// The codes of an expansion, unless it is only a page of one. Entries that structure the list have no code.
fn whole_expansion(expansion: &Value) -> Option<BTreeSet<(String, String)>> {
    fn add(contains: &Value, codes: &mut BTreeSet<(String, String)>, entries: &mut u64) {
        for item in items(contains, "contains") {
            *entries += 1;
            if let Some(code) = item.get("code").and_then(Value::as_str) {
                codes.insert((text(item, "system").to_owned(), code.to_owned()));
            }
            add(item, codes, entries);
        }
    }
    let mut codes = BTreeSet::new();
    let mut entries = 0;
    add(expansion, &mut codes, &mut entries);
    let total = expansion.get("total").and_then(Value::as_u64);
    // Some count only what can be chosen, so a total may be smaller than the number of entries, but never larger.
    let is_whole = total.is_none_or(|total| total <= entries) && expansion.get("offset").is_none_or(|o| *o == 0);
    is_whole.then_some(codes)
}
