//! A code system as far as it is written down (<https://hl7.org/fhir/R4/codesystem.html>).
//!
//! **Hierarchy.** A concept stands below the one it is nested in, below the values of its property `parent` (or
//! `subsumedBy`), and above those of its property `child`; it may have several parents. Whatever `hierarchyMeaning` says,
//! the hierarchy is used as it is declared: most code systems leave that element out.
//!
//! **Case.** Where a code system does not say that case matters, a code that is written in another case is found too.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{MAX_SIZE, Unexpandable};
use crate::knowledge::definitions;

/// How much of a code system its definition holds (<https://hl7.org/fhir/R4/valueset-codesystem-content-mode.html>).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Complete,
    /// `fragment` or `example`, by its own word.
    Partial(String),
    /// `not-present` or `supplement`, by its own word.
    Absent(String),
}

/// One code with what is said about it.
#[derive(Default, Debug)]
pub struct Concept {
    pub code: String,
    pub display: String,
    /// Name and value of each property, the value as text.
    pub properties: Vec<(String, String)>,
}

/// Concepts and the hierarchy between them.
#[derive(Debug)]
pub struct CodeSystem {
    pub url: String,
    pub version: Option<String>,
    pub content: Content,
    concepts: Vec<Concept>,
    /// Positions of the concepts right above each concept.
    parents: Vec<Vec<usize>>,
    /// Positions of the concepts right below each concept.
    children: Vec<Vec<usize>>,
    by_code: HashMap<String, usize>,
    /// By code in lower case; `None` where case matters.
    by_folded: Option<HashMap<String, usize>>,
    /// Properties and filters that the definition declares.
    declared: HashSet<String>,
}

impl CodeSystem {
    /// Reads a CodeSystem resource.
    pub fn from_resource(resource: &Value) -> CodeSystem {
        let is_case_sensitive = resource.get("caseSensitive") == Some(&Value::Bool(true));
        let mut system = CodeSystem::new(text(resource, "url"), is_case_sensitive);
        system.version = resource.get("version").and_then(Value::as_str).map(str::to_owned);
        system.content = match text(resource, "content") {
            "complete" => Content::Complete,
            partial @ ("fragment" | "example") => Content::Partial(partial.to_owned()),
            other => Content::Absent(other.to_owned()),
        };
        let declared = items(resource, "property").chain(items(resource, "filter"));
        system.declared = declared.map(|item| text(item, "code").to_owned()).collect();
        let mut links = Vec::new();
        system.add_nested(resource, None, &mut links);
        let (up, down) = hierarchical_properties(resource);
        for (position, concept) in system.concepts.iter().enumerate() {
            for (name, value) in &concept.properties {
                let Some(&other) = system.by_code.get(value) else {
                    continue;
                };
                if up.contains(name.as_str()) {
                    links.push((other, position));
                } else if down.contains(name.as_str()) {
                    links.push((position, other));
                }
            }
        }
        system.link(links);
        system
    }

    /// A code system that comes with R4.
    pub fn from_definitions(url: &str, definition: &definitions::CodeSystem) -> CodeSystem {
        let mut system = CodeSystem::new(url, definition.is_case_sensitive == Some(true));
        system.version.clone_from(&definition.version);
        for code in &definition.codes {
            let code = code.clone();
            system.add(Concept {
                code,
                ..Concept::default()
            });
        }
        let mut links = Vec::new();
        for (parent, child) in &definition.hierarchy {
            if let (Some(&parent), Some(&child)) = (system.by_code.get(parent), system.by_code.get(child)) {
                links.push((parent, child));
            }
        }
        system.link(links);
        system
    }

    fn new(url: &str, is_case_sensitive: bool) -> CodeSystem {
        CodeSystem {
            url: url.to_owned(),
            version: None,
            content: Content::Complete,
            concepts: Vec::new(),
            parents: Vec::new(),
            children: Vec::new(),
            by_code: HashMap::new(),
            by_folded: (!is_case_sensitive).then(HashMap::new),
            declared: HashSet::new(),
        }
    }

    /// Adds the concepts nested in `outer`, each before those that are nested in it.
    fn add_nested(&mut self, outer: &Value, parent: Option<usize>, links: &mut Vec<(usize, usize)>) {
        for item in items(outer, "concept") {
            let position = self.add(Concept {
                code: text(item, "code").to_owned(),
                display: text(item, "display").to_owned(),
                properties: items(item, "property").filter_map(property).collect(),
            });
            links.extend(parent.map(|parent| (parent, position)));
            self.add_nested(item, Some(position), links);
        }
    }

    /// The position of the concept. A code that is there already, in a second place of a hierarchy, stays one concept.
    fn add(&mut self, concept: Concept) -> usize {
        if let Some(&known) = self.by_code.get(&concept.code) {
            return known;
        }
        let position = self.concepts.len();
        self.by_code.insert(concept.code.clone(), position);
        if let Some(by_folded) = &mut self.by_folded {
            by_folded.entry(concept.code.to_lowercase()).or_insert(position);
        }
        self.concepts.push(concept);
        position
    }

    /// Sets the hierarchy from pairs of parent and child.
    fn link(&mut self, mut links: Vec<(usize, usize)>) {
        links.sort_unstable();
        links.dedup();
        self.parents = vec![Vec::new(); self.concepts.len()];
        self.children = vec![Vec::new(); self.concepts.len()];
        for (parent, child) in links {
            self.parents[child].push(parent);
            self.children[parent].push(child);
        }
    }

    /// Every concept, in the order of the definition.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The concept with this code; in another case too, unless case matters.
    pub fn concept(&self, code: &str) -> Option<&Concept> {
        self.position(code).map(|position| &self.concepts[position])
    }

    /// The code as the code system writes it, if it has it.
    pub fn spelling(&self, code: &str) -> Option<&str> {
        self.concept(code).map(|concept| concept.code.as_str())
    }

    fn position(&self, code: &str) -> Option<usize> {
        let folded = || self.by_folded.as_ref()?.get(&code.to_lowercase()).copied();
        self.by_code.get(code).copied().or_else(folded)
    }

    /// Whether a value set may be filtered by a property of this name: one that is declared, or that a concept has.
    pub fn has_property(&self, name: &str) -> bool {
        let used = |concept: &Concept| concept.properties.iter().any(|(known, _)| known == name);
        self.declared.contains(name) || self.concepts.iter().any(used)
    }

    /// The codes of the concepts right above `code`, or right below it.
    pub fn neighbours<'s>(&'s self, code: &str, above: bool) -> impl Iterator<Item = &'s str> + use<'s> {
        let links = if above { &self.parents } else { &self.children };
        let positions = self.position(code).map_or(&[][..], |position| &links[position][..]);
        positions.iter().map(|&other| self.concepts[other].code.as_str())
    }

    /// The codes of all concepts above `code`, without itself; `None` if there is no such code.
    pub fn ancestors(&self, code: &str) -> Option<HashSet<&str>> {
        Some(self.reach(self.position(code)?, &self.parents))
    }

    /// The codes of all concepts below `code`, without itself; `None` if there is no such code.
    pub fn descendants(&self, code: &str) -> Option<HashSet<&str>> {
        Some(self.reach(self.position(code)?, &self.children))
    }

    /// What can be reached from `start`, without itself. A hierarchy that bites its own tail ends the walk there.
    fn reach(&self, start: usize, links: &[Vec<usize>]) -> HashSet<&str> {
        let mut reached = HashSet::new();
        let mut open = vec![start];
        while let Some(position) = open.pop() {
            for &next in &links[position] {
                if next != start && reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached
            .into_iter()
            .map(|position| self.concepts[position].code.as_str())
            .collect()
    }

    /// Every pair of a code and one somewhere below it, in order.
    ///
    /// # Errors
    /// When the content is not there, or the pairs are too many to keep.
    pub fn closure(&self) -> Result<BTreeSet<(&str, &str)>, Unexpandable> {
        if let Content::Absent(word) = &self.content {
            return Err(Unexpandable::WithoutContent(self.url.clone(), word.clone()));
        }
        let mut pairs = BTreeSet::new();
        for (position, concept) in self.concepts.iter().enumerate() {
            let below = self.reach(position, &self.children);
            pairs.extend(below.into_iter().map(|code| (concept.code.as_str(), code)));
            if pairs.len() > MAX_SIZE {
                return Err(Unexpandable::TooLarge(self.url.clone()));
            }
        }
        Ok(pairs)
    }

    /// What to tell those who rely on codes that may be missing here.
    pub fn note(&self) -> Option<String> {
        match &self.content {
            Content::Partial(word) => Some(format!(
                "The CodeSystem {} calls its content '{word}': codes that it leaves out are not found.",
                self.url
            )),
            Content::Complete | Content::Absent(_) => None,
        }
    }
}

/// Name and value of a concept's property; a Coding counts by its code.
fn property(item: &Value) -> Option<(String, String)> {
    let value = item.as_object()?.iter().find(|(name, _)| name.starts_with("value"))?.1;
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Object(coding) => coding.get("code")?.as_str()?.to_owned(),
        other => other.to_string(),
    };
    Some((text(item, "code").to_owned(), value))
}

/// The names of the properties that lead up and down the hierarchy: the usual ones, and those that say so by their uri
/// (<https://hl7.org/fhir/R4/codesystem-concept-properties.html>).
fn hierarchical_properties(resource: &Value) -> (HashSet<&str>, HashSet<&str>) {
    let mut up = HashSet::from(["parent", "subsumedBy"]);
    let mut down = HashSet::from(["child"]);
    for item in items(resource, "property") {
        match text(item, "uri") {
            "http://hl7.org/fhir/concept-properties#parent" => _ = up.insert(text(item, "code")),
            "http://hl7.org/fhir/concept-properties#child" => _ = down.insert(text(item, "code")),
            _ => {}
        }
    }
    (up, down)
}

pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn items<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}
