//! R4's own invariants over HL7's examples: each compiles, evaluates, and holds, but for true faults of the examples.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::model::{GO_ON, Model};
use super::super::{Element, Expression, Item};
use super::environment;
use crate::knowledge::definitions::{Definitions, Invariant, TypeKind};

/// Definitions that HL7 ships in the same package as its examples.
const DEFINITIONS: [&str; 7] = [
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "SearchParameter",
    "OperationDefinition",
    "CompartmentDefinition",
    "ConceptMap",
];

/// Larger files are Bundles of definitions; they would take most of a minute and tell nothing new.
const MAX_EXAMPLE: u64 = 1_000_000;

/// Invariant → how many places in the examples break it.
const FAULTS: [(&str, usize); 3] = [
    // Questionnaire-bb: the invariant asks for `answer is Boolean`, the System type, which an element never has. Later
    // releases of FHIR correct the invariant; the example is right.
    ("que-7", 1),
    // Four examples have a narrative of white space alone; both invariants are `htmlChecks()`.
    ("txt-1", 4),
    ("txt-2", 4),
];

fn invariants() -> impl Iterator<Item = &'static Invariant> {
    Definitions::r4().types.iter().flat_map(|definition| {
        let of_elements = definition.elements.iter().flat_map(|element| &element.invariants);
        definition.invariants.iter().chain(of_elements)
    })
}

#[test]
fn all_invariants_of_r4_compile() {
    let mut sources: Vec<&str> = invariants().map(|invariant| invariant.expression.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in &sources {
        if let Err(error) = Expression::compile(source, Definitions::r4()) {
            panic!("{source}: {error}");
        }
    }
    assert!(sources.len() > 190, "R4 has 197 distinct invariants");
}

#[test]
fn all_invariants_of_r4_hold_on_the_official_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/hl7/node_modules/hl7.fhir.r4.examples");
    let Ok(files) = fs::read_dir(&folder) else {
        println!("skipped: the official examples are not at {}", folder.display());
        return;
    };
    let mut paths: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    let mut check = Check {
        expressions: HashMap::new(),
        broken: BTreeMap::new(),
        resources: 0,
    };
    for path in &paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let is_large = path.metadata().is_ok_and(|metadata| metadata.len() > MAX_EXAMPLE);
        if is_large || !name.ends_with(".json") || DEFINITIONS.iter().any(|kind| name.starts_with(&format!("{kind}-")))
        {
            continue;
        }
        let text = fs::read_to_string(path).expect("an example can be read");
        let example: Value = serde_json::from_str(&text).expect("an example is JSON");
        if let Some(Item::Element(resource)) = Item::resource(&example, Definitions::r4()) {
            check.resources += 1;
            check.visit(resource, resource, resource, &[], &name);
        }
    }
    println!("{} examples, broken: {:#?}", check.resources, check.broken);
    let broken: Vec<(&str, usize)> = check.broken.iter().map(|(key, places)| (*key, places.len())).collect();
    assert_eq!(broken, FAULTS);
}

struct Check {
    expressions: HashMap<&'static str, Expression>,
    /// By the invariant's key, the files.
    broken: BTreeMap<&'static str, Vec<String>>,
    resources: usize,
}

impl Check {
    /// Evaluates the invariants of an element, of its type, and of everything inside.
    fn visit<'a>(
        &mut self,
        element: Element<'a>,
        resource: Element<'a>,
        root: Element<'a>,
        of_element: &'static [Invariant],
        file: &str,
    ) {
        let definitions = Definitions::r4();
        let mut of_types = Vec::new();
        let mut at = Some(element.type_id);
        while let Some(id) = at {
            of_types.extend(&definitions.get(id).invariants);
            at = definitions.get(id).base;
        }
        for invariant in of_types.into_iter().chain(of_element) {
            self.evaluate(invariant, element, resource, root, file);
        }
        let model = Model::of(definitions);
        let mut children = Vec::new();
        for key in element.object().into_iter().flat_map(|object| object.keys()) {
            let Some((definition, _)) = definitions.get(element.type_id).property(key) else {
                continue;
            };
            let _ = model.named(element, key, &mut |child| {
                children.push((child, definition));
                GO_ON
            });
        }
        for (child, definition) in children {
            let is_resource = definitions.get(child.type_id).kind == TypeKind::Resource;
            let (inner, inner_root) = match (is_resource, definition.name.as_str()) {
                (false, _) => (resource, root),
                (true, "contained") => (child, root),
                (true, _) => (child, child),
            };
            self.visit(child, inner, inner_root, &definition.invariants, file);
        }
    }

    fn evaluate<'a>(
        &mut self,
        invariant: &'static Invariant,
        element: Element<'a>,
        resource: Element<'a>,
        root: Element<'a>,
        file: &str,
    ) {
        let expression = self
            .expressions
            .entry(invariant.expression.as_str())
            .or_insert_with(|| {
                Expression::compile(&invariant.expression, Definitions::r4()).expect("an invariant compiles")
            });
        let environment = environment()
            .within(Item::Element(resource))
            .contained_in(Item::Element(root));
        let truth = match expression.holds(&Item::Element(element), &environment) {
            Ok(truth) => truth,
            Err(error) => panic!("{file}: {}: {error}", invariant.key),
        };
        // An empty result proves no fault: ref-1 has none for a Reference without `reference`.
        if invariant.is_error && truth == Some(false) {
            self.broken
                .entry(invariant.key.as_str())
                .or_default()
                .push(file.to_owned());
        }
    }
}
