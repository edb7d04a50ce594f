//! From a StructureDefinition's differential to [`Rules`].
//!
//! Differentials, not snapshots: what R4 itself asks of a type is checked by [`validation`](crate::knowledge::validation)
//! already, so only what a profile adds is of interest. A part of a differential that is not understood here is an error:
//! a rule that is written down and not enforced would be worse than none.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::rules::{Codes, Constraint, ElementRules, Expected, Extension, Profile, Property, Rules, Slice, Slicing};
use crate::knowledge::definitions::{Definitions, ElementDefinition, TypeDefinition, TypeId};
use crate::knowledge::fhirpath::Expression;
use crate::knowledge::terminology::{Library, expand};

const HL7_TYPES: &str = "http://hl7.org/fhir/StructureDefinition/";
/// Elements of an ElementDefinition that inform people and ask nothing of a resource.
const INFORMATIVE: [&str; 6] = ["id", "path", "sliceName", "short", "definition", "comment"];
/// Elements that ask something; `fixed[x]` and `pattern[x]` come on top.
const UNDERSTOOD: [&str; 6] = ["min", "max", "type", "binding", "constraint", "slicing"];
/// What an answer depends on besides the resource: a rule that holds today should hold tomorrow.
const CLOCKS: [&str; 3] = ["now()", "today()", "timeOfDay()"];

/// What a profile may refer to besides R4.
pub struct Context<'c> {
    pub definitions: &'static Definitions,
    pub library: &'c Library,
    /// URL of each StructureDefinition of the package, and the type that it is about.
    pub structures: &'c [(String, String)],
}

/// An element of the differential with what is below it.
#[derive(Default)]
struct Node<'d> {
    element: Option<&'d Map<String, Value>>,
    children: Vec<(&'d str, Node<'d>)>,
    slices: Vec<(&'d str, Node<'d>)>,
}

/// Or a sentence that says where in the differential something is wrong, and what.
type Result<T> = std::result::Result<T, String>;

impl Context<'_> {
    pub fn profile(&self, structure: &Value) -> Result<Profile> {
        let resource_type = text(structure, "type")?;
        let definition = self
            .definitions
            .resource_type(resource_type)
            .ok_or_else(|| format!("{resource_type} is no resource type"))?;
        if text(structure, "baseDefinition")? != format!("{HL7_TYPES}{resource_type}") {
            return Err("a profile on a profile is not understood".to_owned());
        }
        let tree = tree(structure, resource_type)?;
        Ok(Profile {
            url: text(structure, "url")?.to_owned(),
            resource_type: resource_type.to_owned(),
            rules: self.rules(&tree, definition.id)?,
        })
    }

    pub fn extension(&self, structure: &Value) -> Result<Extension> {
        let contexts = structure["context"].as_array().ok_or("an extension needs a context")?;
        let contexts = contexts.iter().map(|context| match text(context, "type")? {
            "element" => text(context, "expression").and_then(|name| match self.definitions.resource_type(name) {
                Some(_) => Ok(name.to_owned()),
                None => Err(format!("the context {name} is no resource type")),
            }),
            other => Err(format!("a context of type {other} is not understood")),
        });
        let contexts = contexts.collect::<Result<_>>()?;
        let tree = tree(structure, "Extension")?;
        let url = text(structure, "url")?;
        let fixed = tree.child("url").and_then(|node| node.element?.get("fixedUri"));
        if fixed.and_then(Value::as_str) != Some(url) {
            return Err("Extension.url is not fixed to the url of the definition".to_owned());
        }
        let root = tree
            .element
            .ok_or("an extension says at its root how often it may be there")?;
        let type_id = self.definitions.type_id("Extension").ok_or("R4 has no Extension")?;
        Ok(Extension {
            url: url.to_owned(),
            contexts,
            max: max(root)?.ok_or("the root has no max")?,
            rules: self.rules(&tree, type_id)?,
        })
    }

    /// What `node` asks of a value of this type.
    fn rules(&self, node: &Node<'_>, type_id: TypeId) -> Result<Rules> {
        let definition = self.definitions.get(type_id);
        let here = |why: String| format!("{}: {why}", node.id());
        let mut rules = Rules::default();
        if let Some(element) = node.element {
            rules.expected = expected(element, definition).map_err(here)?;
            rules.codes = self.codes(element).map_err(here)?;
            rules.constraints = self.constraints(element, type_id).map_err(here)?;
            rules.targets = self.targets(element).map_err(here)?;
        }
        for (name, child) in &node.children {
            rules.elements.push(self.element(definition, name, child)?);
        }
        Ok(rules)
    }

    /// What `node` asks of the element `name` of `parent`.
    fn element(&self, parent: &TypeDefinition, name: &str, node: &Node<'_>) -> Result<ElementRules> {
        let here = |why: String| format!("{}: {why}", node.id());
        let plain = name.strip_suffix("[x]");
        let found = parent
            .elements
            .iter()
            .find(|element| element.name == plain.unwrap_or(name) && element.is_choice == plain.is_some());
        let definition = found.ok_or_else(|| here(format!("{} has no element {name}", parent.name)))?;
        let properties = self.properties(definition, node.element).map_err(here)?;
        let mut allowed = properties.iter().filter(|property| property.is_allowed);
        let (Some(first), rest) = (allowed.next(), allowed.next()) else {
            return Err(here("no type is left".to_owned()));
        };
        let rules = match rest {
            // Whatever type a value has, all that is asked is that it is there or not.
            Some(_) if node.asks_of_values() => {
                return Err(here("asks something of values of several types".to_owned()));
            }
            Some(_) => Rules::default(),
            None => self.rules(node, first.type_id)?,
        };
        let slicing = match node.slicing() {
            None if node.slices.is_empty() => None,
            None => return Err(here("has slices and does not say how they are told apart".to_owned())),
            Some(slicing) => Some(self.slicing(slicing, node, first.type_id)?),
        };
        let (min, max) = bounds(node.element, definition).map_err(here)?;
        Ok(ElementRules {
            name: definition.name.clone(),
            min,
            max,
            rules,
            slicing,
            properties,
        })
    }

    /// The properties of an element, and which of them its types leave.
    fn properties(
        &self,
        definition: &ElementDefinition,
        element: Option<&Map<String, Value>>,
    ) -> Result<Vec<Property>> {
        let types = element
            .and_then(|element| element.get("type"))
            .and_then(Value::as_array);
        let mut codes: HashSet<&str> = HashSet::new();
        for of_type in types.into_iter().flatten() {
            codes.insert(text(of_type, "code")?);
        }
        let properties = definition.types.iter().map(|of_type| {
            let type_name = self.definitions.get(of_type.type_id).name.as_str();
            let name = match definition.is_choice {
                true => definition.choice_property(type_name),
                false => definition.name.clone(),
            };
            Property {
                sibling: format!("_{name}"),
                name,
                type_id: of_type.type_id,
                is_allowed: types.is_none() || codes.remove(type_name),
            }
        });
        let properties = properties.collect();
        match codes.iter().next() {
            None => Ok(properties),
            Some(code) => Err(format!("R4 does not let it have the type {code}")),
        }
    }

    fn slicing(&self, slicing: &Map<String, Value>, node: &Node<'_>, type_id: TypeId) -> Result<Slicing> {
        let here = |why: String| format!("{}: {why}", node.id());
        only(slicing, &["discriminator", "rules", "description"]).map_err(here)?;
        let is_closed = match slicing.get("rules").and_then(Value::as_str) {
            Some("open") => false,
            Some("closed") => true,
            _ => return Err(here("slicing.rules is neither open nor closed".to_owned())),
        };
        let mut paths = Vec::new();
        for discriminator in slicing
            .get("discriminator")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match text(discriminator, "type").map_err(here)? {
                "value" | "pattern" => {}
                other => return Err(here(format!("a discriminator of type {other} is not understood"))),
            }
            let path = text(discriminator, "path").map_err(here)?;
            if path.contains('(') {
                return Err(here(format!("the discriminator {path} is not understood")));
            }
            paths.push(path.split('.').filter(|name| *name != "$this").collect::<Vec<_>>());
        }
        if paths.is_empty() {
            return Err(here("slices need a discriminator".to_owned()));
        }
        let slices = node
            .slices
            .iter()
            .map(|(name, slice)| self.slice(name, slice, &paths, type_id));
        Ok(Slicing {
            is_closed,
            slices: slices.collect::<Result<_>>()?,
        })
    }

    fn slice(&self, name: &str, node: &Node<'_>, paths: &[Vec<&str>], type_id: TypeId) -> Result<Slice> {
        let here = |why: String| format!("{}: {why}", node.id());
        let element = node
            .element
            .ok_or_else(|| here("the slice has no element of its own".to_owned()))?;
        let bound = |name| element.get(name).ok_or_else(|| here(format!("a slice needs {name}")));
        let min = bound("min")?.as_u64().and_then(|min| min.try_into().ok());
        let min = min.ok_or_else(|| here("min is no number".to_owned()))?;
        bound("max")?;
        let max = max(element).map_err(here)?.flatten();
        let of_extension = element.get("type").and_then(|types| types[0]["profile"][0].as_str());
        let (marks, rules) = match of_extension {
            // What the extension itself must be is checked wherever it stands.
            Some(url)
                if self
                    .structures
                    .iter()
                    .any(|(known, of)| known == url && of == "Extension") =>
            {
                (
                    vec![(vec!["url".to_owned()], Expected::Fixed(Value::from(url)))],
                    Rules::default(),
                )
            }
            Some(url) => return Err(here(format!("the package has no extension {url}"))),
            None => {
                let marks = paths.iter().map(|path| {
                    let at = path.iter().try_fold(node, |node, name| node.child(name));
                    let mark = at.and_then(|node| expected_of(node.element?)).ok_or_else(|| {
                        here(format!(
                            "has neither a fixed value nor a pattern at {}, which tells it apart",
                            path.join(".")
                        ))
                    })?;
                    let path = path.iter().map(|name| (*name).to_owned()).collect();
                    Ok((path, mark))
                });
                (marks.collect::<Result<Vec<_>>>()?, self.rules(node, type_id)?)
            }
        };
        Ok(Slice {
            name: name.to_owned(),
            marks,
            min,
            max,
            rules,
        })
    }

    /// The codes of a required binding. The other strengths advise and refuse nothing.
    fn codes(&self, element: &Map<String, Value>) -> Result<Option<Codes>> {
        let Some(binding) = element.get("binding") else {
            return Ok(None);
        };
        let value_set = text(binding, "valueSet")?;
        if text(binding, "strength")? != "required" {
            return Ok(None);
        }
        let codes = match self.definitions.value_sets.get(value_set) {
            Some(codes) => codes.iter().cloned().collect(),
            None => expand(self.library, value_set).map_err(|why| why.to_string())?.codes,
        };
        Ok(Some(Codes {
            value_set: value_set.to_owned(),
            codes: codes.into(),
        }))
    }

    fn constraints(&self, element: &Map<String, Value>, type_id: TypeId) -> Result<Vec<Constraint>> {
        let constraints = element
            .get("constraint")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let constraint = |constraint: &Value| {
            let (key, source) = (text(constraint, "key")?, text(constraint, "expression")?);
            if text(constraint, "severity")? != "error" {
                return Err(format!("{key} is no error, so it would be enforced nowhere"));
            }
            if let Some(clock) = CLOCKS.iter().find(|clock| source.contains(*clock)) {
                return Err(format!("{key} asks for {clock}"));
            }
            let expression = Expression::compile_strict(source, type_id, self.definitions);
            Ok(Constraint {
                key: key.to_owned(),
                human: text(constraint, "human")?.to_owned(),
                expression: expression.map_err(|why| format!("{key} {why}"))?,
            })
        };
        constraints.map(constraint).collect()
    }

    /// The resource types that a Reference may point at. Those of a canonical are not checked: what is behind a URL cannot
    /// be seen from it.
    fn targets(&self, element: &Map<String, Value>) -> Result<Vec<String>> {
        let types = element.get("type").and_then(Value::as_array).into_iter().flatten();
        let mut targets = Vec::new();
        for of_type in types.filter(|of_type| of_type["code"] == "Reference") {
            for target in of_type["targetProfile"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                let own = self
                    .structures
                    .iter()
                    .find(|(url, _)| url == target)
                    .map(|(_, of)| of.as_str());
                let name = own.or_else(|| target.strip_prefix(HL7_TYPES)).unwrap_or_default();
                if self.definitions.resource_type(name).is_none() {
                    return Err(format!("the target {target} is not known"));
                }
                targets.push(name.to_owned());
            }
        }
        Ok(targets)
    }
}

impl<'d> Node<'d> {
    fn child(&self, name: &str) -> Option<&Node<'d>> {
        self.children
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, node)| node)
    }

    /// The id of its element, or of the first one below it.
    fn id(&self) -> &'d str {
        let own = self.element.and_then(|element| element["id"].as_str());
        let below = || {
            self.slices
                .iter()
                .chain(&self.children)
                .map(|(_, node)| node.id())
                .next()
        };
        own.or_else(below).unwrap_or_default()
    }

    fn slicing(&self) -> Option<&'d Map<String, Value>> {
        self.element?.get("slicing")?.as_object()
    }

    /// Whether it asks more than how often the element is there.
    fn asks_of_values(&self) -> bool {
        let of_value =
            |name: &String| !INFORMATIVE.contains(&name.as_str()) && !["min", "max", "type"].contains(&name.as_str());
        !self.children.is_empty() || !self.slices.is_empty() || self.element.is_some_and(|e| e.keys().any(of_value))
    }
}

/// The elements of a differential by their ids: `Task.input:proposedStart.type`.
fn tree<'d>(structure: &'d Value, root: &str) -> Result<Node<'d>> {
    let mut tree = Node::default();
    let elements = structure["differential"]["element"]
        .as_array()
        .ok_or("there is no differential")?;
    for element in elements {
        let element = element.as_object().ok_or("an element is no object")?;
        let id = element
            .get("id")
            .and_then(Value::as_str)
            .ok_or("an element has no id")?;
        understood(element).map_err(|why| format!("{id}: {why}"))?;
        let mut steps = id.split('.');
        if steps.next() != Some(root) {
            return Err(format!("{id} does not begin with {root}"));
        }
        let mut node = &mut tree;
        let mut path = root.to_owned();
        let mut slice_name = None;
        for step in steps {
            let (name, slice) = step
                .split_once(':')
                .map_or((step, None), |(name, slice)| (name, Some(slice)));
            path = format!("{path}.{name}");
            node = of_name(&mut node.children, name);
            if let Some(slice) = slice {
                node = of_name(&mut node.slices, slice);
            }
            slice_name = slice;
        }
        if element.get("path").and_then(Value::as_str) != Some(&path) {
            return Err(format!("{id} has another path than {path}"));
        }
        if element.get("sliceName").and_then(Value::as_str) != slice_name {
            return Err(format!("{id} has another sliceName than its id says"));
        }
        if node.element.replace(element).is_some() {
            return Err(format!("{id} is there twice"));
        }
    }
    Ok(tree)
}

fn of_name<'t, 'd>(nodes: &'t mut Vec<(&'d str, Node<'d>)>, name: &'d str) -> &'t mut Node<'d> {
    let known = nodes.iter().position(|(known, _)| *known == name);
    let index = known.unwrap_or_else(|| {
        nodes.push((name, Node::default()));
        nodes.len() - 1
    });
    &mut nodes[index].1
}

/// Refuses an element of which a part would not be enforced.
fn understood(element: &Map<String, Value>) -> Result<()> {
    for name in element.keys().map(String::as_str) {
        let is_value = name.starts_with("fixed") || name.starts_with("pattern");
        if !is_value && !INFORMATIVE.contains(&name) && !UNDERSTOOD.contains(&name) {
            return Err(format!("{name} is not understood"));
        }
    }
    for of_type in element.get("type").and_then(Value::as_array).into_iter().flatten() {
        let of_type = of_type.as_object().ok_or("a type is no object")?;
        only(of_type, &["code", "profile", "targetProfile"])?;
        if of_type.contains_key("profile") && of_type["code"] != "Extension" {
            return Err("a profile on the type of an element is not understood".to_owned());
        }
    }
    let constraints = element
        .get("constraint")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for constraint in constraints.filter_map(Value::as_object) {
        only(constraint, &["key", "severity", "human", "expression"])?;
    }
    match element.get("binding").and_then(Value::as_object) {
        Some(binding) => only(binding, &["strength", "description", "valueSet"]),
        None => Ok(()),
    }
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(format!("{name} is not understood")),
    }
}

/// The prescribed value, of the type that the element has.
fn expected(element: &Map<String, Value>, of_type: &TypeDefinition) -> Result<Option<Expected>> {
    let is_value = |name: &&String| name.starts_with("fixed") || name.starts_with("pattern");
    let Some(name) = element.keys().find(is_value) else {
        return Ok(None);
    };
    let suffix = name.trim_start_matches("fixed").trim_start_matches("pattern");
    match suffix.eq_ignore_ascii_case(&of_type.name) {
        true => Ok(expected_of(element)),
        false => Err(format!("{name} is of another type than {}", of_type.name)),
    }
}

fn expected_of(element: &Map<String, Value>) -> Option<Expected> {
    element.iter().find_map(|(name, value)| match name {
        name if name.starts_with("fixed") => Some(Expected::Fixed(value.clone())),
        name if name.starts_with("pattern") => Some(Expected::Pattern(value.clone())),
        _ => None,
    })
}

/// How often the element is there: as the profile says, or else as R4 does. A profile only narrows.
fn bounds(element: Option<&Map<String, Value>>, definition: &ElementDefinition) -> Result<(u32, Option<u32>)> {
    let Some(element) = element else {
        return Ok((0, None));
    };
    let min = match element.get("min") {
        None => 0,
        Some(min) => min
            .as_u64()
            .and_then(|min| min.try_into().ok())
            .ok_or("min is no number")?,
    };
    let max = max(element)?.unwrap_or(definition.max);
    if let (Some(narrow), Some(wide)) = (max, definition.max)
        && narrow > wide
    {
        return Err("max is more than R4 allows".to_owned());
    }
    if max.is_none() && definition.max.is_some() {
        return Err("max is more than R4 allows".to_owned());
    }
    Ok((min, max))
}

/// The max of an element, if it says one; inside, `None` for `*`.
fn max(element: &Map<String, Value>) -> Result<Option<Option<u32>>> {
    match element.get("max").map(|max| max.as_str().unwrap_or_default()) {
        None => Ok(None),
        Some("*") => Ok(Some(None)),
        Some(number) => number
            .parse()
            .map(|max| Some(Some(max)))
            .map_err(|_| "max is no number".to_owned()),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value[name].as_str().ok_or_else(|| format!("{name} is missing"))
}
