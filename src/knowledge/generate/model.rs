//! `types.json`: the element model, one element per line, without what a type inherits unchanged.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::package::{Constraint, Element, Package, StructureDefinition};
use super::{GenerateError, without_version};

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
/// Types of FHIRPath rather than FHIR: the element is a bare JSON value that cannot carry extensions.
const SYSTEM: &str = "http://hl7.org/fhirpath/System.";
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

/// Primitive types first, then complex ones, then resources; backbone elements follow the type they belong to.
pub fn write(package: &Package) -> Result<String, GenerateError> {
    let mut out = String::from("{\"types\":[\n");
    let mut first = true;
    for kind in ["primitive-type", "complex-type", "resource"] {
        for structure in package.structures.values().filter(|s| s.kind == kind) {
            for block in (Writer { package, structure }).blocks()? {
                if !first {
                    out.push_str(",\n");
                }
                first = false;
                out.push_str(&block);
            }
        }
    }
    out.push_str("\n]}\n");
    Ok(out)
}

struct Writer<'a> {
    package: &'a Package,
    structure: &'a StructureDefinition,
}

impl Writer<'_> {
    /// The structure and its backbone elements, each as the text of one JSON object.
    fn blocks(&self) -> Result<Vec<String>, GenerateError> {
        let all = elements(self.structure);
        let mut blocks = vec![self.block(&all[0])?];
        for element in &all[1..] {
            if is_backbone(self.structure, &element.path) {
                blocks.push(self.block(element)?);
            }
        }
        Ok(blocks)
    }

    /// `root` is the first element of the structure, or a backbone element.
    fn block(&self, root: &Element) -> Result<String, GenerateError> {
        let is_structure = root.path == self.structure.type_name;
        let base = if is_structure {
            self.structure
                .base_definition
                .as_deref()
                .map(|url| url.trim_start_matches(CORE))
        } else {
            Some(root.types[0].code.as_str())
        };
        let mut head = Map::new();
        head.insert("name".into(), json!(root.path));
        let kind = match self.structure.kind.as_str() {
            _ if !is_structure => "backbone",
            "primitive-type" => "primitive",
            "complex-type" => "complex",
            other => other,
        };
        head.insert("kind".into(), json!(kind));
        if let Some(base) = base {
            head.insert("base".into(), json!(base));
        }
        if is_structure && self.structure.is_abstract {
            head.insert("abstract".into(), json!(true));
        }
        let inherited = base.and_then(|name| self.package.structures.get(name));
        let known = inherited.map(|s| constraints(&elements(s)[0])).unwrap_or_default();
        let invariants = invariants(&root.constraints, |c| {
            known.get(c.key.as_str()) == Some(&c.expression.as_deref())
        });
        if !invariants.is_empty() {
            head.insert("invariants".into(), json!(invariants));
        }

        let inherited = match inherited {
            Some(structure) => self.children(structure, &structure.type_name)?,
            None => Vec::new(),
        };
        let own: Vec<String> = self
            .children(self.structure, &root.path)?
            .into_iter()
            .filter(|element| !inherited.contains(element))
            .map(|element| format!("  {element}"))
            .collect();
        let head = Value::Object(head).to_string();
        let head = head.trim_end_matches('}');
        Ok(match own.is_empty() {
            true => format!("{head},\"elements\":[]}}"),
            false => format!("{head},\"elements\":[\n{}\n]}}", own.join(",\n")),
        })
    }

    /// The elements directly below `path`, each as one line of JSON.
    fn children(&self, structure: &StructureDefinition, path: &str) -> Result<Vec<Value>, GenerateError> {
        let prefix = format!("{path}.");
        elements(structure)
            .iter()
            .filter(|e| e.path.strip_prefix(&prefix).is_some_and(|name| !name.contains('.')))
            // A primitive's `value` is the JSON scalar itself, not a property.
            .filter(|e| !(structure.kind == "primitive-type" && e.path.ends_with(".value")))
            .map(|e| self.element(structure, e, &prefix))
            .collect()
    }

    fn element(
        &self,
        structure: &StructureDefinition,
        element: &Element,
        prefix: &str,
    ) -> Result<Value, GenerateError> {
        let mut line = Map::new();
        line.insert("name".into(), json!(element.path.trim_start_matches(prefix)));
        line.insert("card".into(), json!(format!("{}..{}", element.min, element.max)));
        if is_backbone(structure, &element.path) {
            line.insert("types".into(), json!([element.path]));
        } else if let Some(reference) = &element.content_reference {
            line.insert("types".into(), json!([reference.trim_start_matches('#')]));
        } else if structure.kind == "resource" && element.path == format!("{}.id", structure.type_name) {
            // 4.0.1 gives it as a string; the page on resources says `id`: <https://hl7.org/fhir/R4/resource.html>
            line.insert("types".into(), json!(["id"]));
            line.insert("bare".into(), json!(true));
        } else {
            let types = element
                .types
                .iter()
                .map(|t| type_text(element, t))
                .collect::<Result<Vec<_>, _>>()?;
            line.insert("types".into(), json!(types));
            if element.types.iter().any(|t| t.code.starts_with(SYSTEM)) {
                line.insert("bare".into(), json!(true));
            }
            let profiles: Vec<&str> = element
                .types
                .iter()
                .flat_map(|t| &t.profile)
                .map(String::as_str)
                .collect();
            if !profiles.is_empty() {
                line.insert("profiles".into(), json!(profiles));
            }
            self.element_invariants(element, &mut line);
        }
        if element.is_summary {
            line.insert("summary".into(), json!(true));
        }
        if element.is_modifier {
            line.insert("modifier".into(), json!(true));
        }
        if let Some(binding) = &element.binding
            && let Some(value_set) = &binding.value_set
        {
            line.insert(
                "binding".into(),
                json!({"strength": binding.strength, "valueSet": without_version(value_set)}),
            );
        }
        Ok(Value::Object(line))
    }

    /// A snapshot repeats on an element what its types state about themselves; only the element's own remain.
    fn element_invariants(&self, element: &Element, line: &mut Map<String, Value>) {
        let of_types: Vec<HashMap<&str, Option<&str>>> = element
            .types
            .iter()
            .filter_map(|t| self.package.structures.get(t.code.as_str()))
            .map(|structure| constraints(&elements(structure)[0]))
            .collect();
        let own = invariants(&element.constraints, |c| {
            of_types.iter().any(|t| t.contains_key(c.key.as_str()))
        });
        if !own.is_empty() {
            line.insert("invariants".into(), json!(own));
        }
    }
}

/// Whether the element at `path` has children of its own.
fn is_backbone(structure: &StructureDefinition, path: &str) -> bool {
    let prefix = format!("{path}.");
    path != structure.type_name && elements(structure).iter().any(|e| e.path.starts_with(&prefix))
}

fn elements(structure: &StructureDefinition) -> &[Element] {
    structure.snapshot.as_ref().map_or(&[], |s| &s.element)
}

/// `HumanName`, or `Reference(Patient|Group)` with the allowed targets.
fn type_text(element: &Element, t: &super::package::ElementType) -> Result<String, GenerateError> {
    if t.code.starts_with(SYSTEM) {
        let stated = t
            .extension
            .iter()
            .find(|e| e.url == FHIR_TYPE)
            .and_then(|e| e.value_url.clone());
        return Ok(stated.unwrap_or_else(|| "string".to_owned()));
    }
    let targets = t.target_profile.iter().map(|url| match url.strip_prefix(CORE) {
        Some(name) => Ok(name),
        None => Err(GenerateError::Unexpected(format!(
            "{}: target {url} is no type",
            element.path
        ))),
    });
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    Ok(match targets.as_slice() {
        [] | ["Resource"] => t.code.clone(),
        some => format!("{}({})", t.code, some.join("|")),
    })
}

fn constraints(element: &Element) -> HashMap<&str, Option<&str>> {
    element
        .constraints
        .iter()
        .map(|c| (c.key.as_str(), c.expression.as_deref()))
        .collect()
}

fn invariants(constraints: &[Constraint], is_known: impl Fn(&Constraint) -> bool) -> Vec<Value> {
    constraints
        .iter()
        .filter(|c| !is_known(c))
        .filter_map(|c| {
            let expression = c.expression.as_deref()?;
            Some(json!({"key": c.key, "severity": c.severity, "expression": expression}))
        })
        .collect()
}
