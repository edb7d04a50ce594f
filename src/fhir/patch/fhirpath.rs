//! FHIRPath Patch (<https://hl7.org/fhir/R4/fhirpatch.html>): operations in a Parameters resource, whose paths are FHIRPath.
//!
//! | type | the path selects | does |
//! |---|---|---|
//! | `add` | one element | appends to a list of it, or sets a child that is not there yet |
//! | `insert` | a list | puts a value before the item at `index`, or at the end |
//! | `delete` | one element or nothing | removes it; nothing is no error |
//! | `replace` | one element | puts another value in its place |
//! | `move` | a list | takes the item at `source` out, then puts it in at `destination` |
//!
//! Operations run in order, each on the result of the one before. Paths must select elements of the resource itself:
//! what an expression computes (`name.given & 'x'`) cannot be written to.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::MAX_OPERATIONS;
use super::location::{self, Cell, Step};
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeId, TypeKind};
use crate::knowledge::fhirpath::{Environment, Expression, Item, values::DateTime};

/// Work that all the paths of one patch may cost together, in the engine's units (about one item looked at).
const PATH_BUDGET: u64 = 1_000_000;

/// One step of a patch, read and not yet applied.
#[derive(Debug, Clone)]
pub struct Operation {
    path: String,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Add { name: String, value: Content },
    Insert { index: usize, value: Content },
    Delete,
    Replace { value: Content },
    Move { source: usize, destination: usize },
}

/// A value to be written, before it is known where to.
#[derive(Debug, Clone)]
enum Content {
    /// `value[x]`: `suffix` is the type with a capital first letter, as a choice element writes it.
    Typed {
        suffix: String,
        cell: Cell,
    },
    /// A backbone element has no `value[x]`: its children come as named parts.
    Parts(Vec<(String, Content)>),
    Resource(Value),
}

// ---- Reading -------------------------------------------------------------------------------------------------------

pub(super) fn parse(parameters: &Value) -> Result<Vec<Operation>> {
    if parameters["resourceType"] != "Parameters" {
        return Err(FhirError::bad_request("A FHIRPath Patch is a Parameters resource."));
    }
    let steps = match &parameters["parameter"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(steps) => steps,
        _ => return Err(FhirError::malformed("This must be a list.").at("Parameters.parameter")),
    };
    if steps.len() > MAX_OPERATIONS {
        return Err(FhirError::too_costly(format!(
            "A patch may have at most {MAX_OPERATIONS} operations."
        )));
    }
    let at = |index| format!("Parameters.parameter[{index}]");
    steps
        .iter()
        .enumerate()
        .map(|(index, step)| operation(step).map_err(|error| error.at(at(index))))
        .collect()
}

fn operation(step: &Value) -> Result<Operation> {
    if step["name"] != "operation" {
        return Err(FhirError::bad_request(
            "Each parameter of a FHIRPath Patch has the name 'operation'.",
        ));
    }
    let mut kind = None;
    let mut path = None;
    let mut name = None;
    let mut value = None;
    let mut index = None;
    let mut source = None;
    let mut destination = None;
    for part in step["part"].as_array().into_iter().flatten() {
        match part["name"].as_str().unwrap_or_default() {
            "type" => kind = part["valueCode"].as_str().or(part["valueString"].as_str()),
            "path" => path = part["valueString"].as_str(),
            "name" => name = part["valueString"].as_str().or(part["valueCode"].as_str()),
            "value" => value = Some(content(part)?),
            "index" => index = Some(position(part)?),
            "source" => source = Some(position(part)?),
            "destination" => destination = Some(position(part)?),
            other => {
                let text = format!("An operation has no part '{}'.", excerpt(other));
                return Err(FhirError::bad_request(text));
            }
        }
    }
    let kind = kind.ok_or_else(|| missing("type", "code"))?;
    let path = path.ok_or_else(|| missing("path", "string"))?.to_owned();
    let action = match kind {
        "add" => Action::Add {
            name: name.ok_or_else(|| missing("name", "string"))?.to_owned(),
            value: value.ok_or_else(|| missing("value", "value of the element's type"))?,
        },
        "insert" => Action::Insert {
            index: index.ok_or_else(|| missing("index", "integer"))?,
            value: value.ok_or_else(|| missing("value", "value of the element's type"))?,
        },
        "delete" => Action::Delete,
        "replace" => Action::Replace {
            value: value.ok_or_else(|| missing("value", "value of the element's type"))?,
        },
        "move" => Action::Move {
            source: source.ok_or_else(|| missing("source", "integer"))?,
            destination: destination.ok_or_else(|| missing("destination", "integer"))?,
        },
        other => {
            return Err(FhirError::bad_request(format!(
                "'{}' is not an operation type: there are add, insert, delete, replace and move.",
                excerpt(other)
            )));
        }
    };
    Ok(Operation { path, action })
}

fn missing(part: &str, kind: &str) -> FhirError {
    FhirError::bad_request(format!("The operation needs a part '{part}' with a {kind}."))
}

fn position(part: &Value) -> Result<usize> {
    let number = part["valueInteger"]
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| {
        let name = part["name"].as_str().unwrap_or_default();
        FhirError::bad_value(format!("The part '{name}' must be a valueInteger, 0 or more."))
    })
}

fn content(part: &Value) -> Result<Content> {
    let members = part
        .as_object()
        .ok_or_else(|| FhirError::malformed("A part must be a JSON object."))?;
    if let Some(parts) = part["part"].as_array() {
        return parts
            .iter()
            .map(|part| match part["name"].as_str() {
                Some(name) => Ok((name.to_owned(), content(part)?)),
                None => Err(FhirError::bad_request("Each part of a value needs a name.")),
            })
            .collect::<Result<_>>()
            .map(Content::Parts);
    }
    if let Some(resource) = members.get("resource") {
        return Ok(Content::Resource(resource.clone()));
    }
    let suffix = members
        .keys()
        .find_map(|key| key.strip_prefix('_').unwrap_or(key).strip_prefix("value"));
    let suffix = suffix.filter(|suffix| !suffix.is_empty()).ok_or_else(|| {
        FhirError::bad_request(
            "A value is given as value[x], as parts (for an element without a named type) or as a resource.",
        )
    })?;
    let half = |name: String| members.get(&name).cloned().unwrap_or_default();
    let cell = Cell {
        value: half(format!("value{suffix}")),
        sibling: half(format!("_value{suffix}")),
    };
    Ok(Content::Typed {
        suffix: suffix.to_owned(),
        cell,
    })
}

// ---- Applying ------------------------------------------------------------------------------------------------------

pub(super) fn apply(
    operations: &[Operation],
    resource: &mut Value,
    definitions: &'static Definitions,
    now: Timestamp,
) -> Result<()> {
    let budget = PATH_BUDGET / operations.len().max(1) as u64;
    let now = DateTime::from_timestamp(now, 0).ok_or_else(|| FhirError::internal("the time is out of range"))?;
    let mut patch = Application {
        resource,
        definitions,
        now,
        budget,
    };
    for (index, Operation { path, action }) in operations.iter().enumerate() {
        let outcome = match action {
            Action::Add { name, value } => patch.add(path, name, value),
            Action::Insert { index, value } => patch.insert(path, *index, value),
            Action::Delete => patch.delete(path),
            Action::Replace { value } => patch.replace(path, value),
            Action::Move { source, destination } => patch.move_item(path, *source, *destination),
        };
        outcome.map_err(|error| error.at(format!("Parameters.parameter[{index}]")))?;
    }
    Ok(())
}

/// A patch at work on one resource.
struct Application<'r> {
    resource: &'r mut Value,
    definitions: &'static Definitions,
    now: DateTime,
    budget: u64,
}

impl Application<'_> {
    fn add(&mut self, path: &str, name: &str, value: &Content) -> Result<()> {
        let steps = self.one(path)?;
        let parent_type = self.type_at(path, &steps)?;
        let property = resolve(self.definitions, parent_type, name, value)?;
        let cell = build(self.definitions, property.type_id, value)?;
        let parent = self.children_of(path, &steps)?;
        if property.is_array {
            let mut cells = location::list(parent, &property.name);
            cells.push(cell);
            location::set_list(parent, &property.name, cells);
            return Ok(());
        }
        let is_there = |name: &String| parent.contains_key(name) || parent.contains_key(&format!("_{name}"));
        if property.alternatives.iter().any(is_there) {
            let text = format!("'{}' already has a {name}: use replace.", excerpt(path));
            return Err(FhirError::unprocessable(text));
        }
        location::set(parent, &property.name, cell);
        Ok(())
    }

    fn insert(&mut self, path: &str, index: usize, value: &Content) -> Result<()> {
        let (parent_steps, name) = self.list(path)?;
        let parent_type = self.type_at(path, &parent_steps)?;
        let property = resolve(self.definitions, parent_type, &name, value)?;
        let cell = build(self.definitions, property.type_id, value)?;
        let parent = self.children_of(path, &parent_steps)?;
        let mut cells = location::list(parent, &name);
        if index > cells.len() {
            return Err(out_of_range(path, "index", index, cells.len()));
        }
        cells.insert(index, cell);
        location::set_list(parent, &name, cells);
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<()> {
        let mut found = self.select(path)?;
        match found.len() {
            0 => Ok(()),
            1 => {
                let (parent, name, index) = split(path, &found.swap_remove(0))?;
                let parent = self.children_of(path, &parent)?;
                match index {
                    None => location::remove(parent, &name),
                    Some(index) => {
                        let mut cells = location::list(parent, &name);
                        cells.remove(index);
                        location::set_list(parent, &name, cells);
                    }
                }
                Ok(())
            }
            _ => Err(several(path)),
        }
    }

    fn replace(&mut self, path: &str, value: &Content) -> Result<()> {
        let steps = self.one(path)?;
        let (parent_steps, name, index) = split(path, &steps)?;
        let parent_type = self.type_at(path, &parent_steps)?;
        // `valueString` may become a `valueQuantity`: the element is asked for, not the property that it is now.
        let element = parent_type.property(&name).map_or(&name, |(element, _)| &element.name);
        let property = resolve(self.definitions, parent_type, element, value)?;
        let cell = build(self.definitions, property.type_id, value)?;
        let parent = self.children_of(path, &parent_steps)?;
        match index {
            Some(index) => {
                let mut cells = location::list(parent, &name);
                cells[index] = cell;
                location::set_list(parent, &name, cells);
            }
            None => {
                if name != property.name {
                    location::remove(parent, &name);
                }
                location::set(parent, &property.name, cell);
            }
        }
        Ok(())
    }

    fn move_item(&mut self, path: &str, source: usize, destination: usize) -> Result<()> {
        let (parent, name) = self.list(path)?;
        let parent = self.children_of(path, &parent)?;
        let mut cells = location::list(parent, &name);
        if source >= cells.len() {
            return Err(out_of_range(path, "source", source, cells.len()));
        }
        if destination >= cells.len() {
            return Err(out_of_range(path, "destination", destination, cells.len()));
        }
        let cell = cells.remove(source);
        cells.insert(destination, cell);
        location::set_list(parent, &name, cells);
        Ok(())
    }

    /// Places of all elements that `path` selects.
    fn select(&self, path: &str) -> Result<Vec<Vec<Step>>> {
        let expression = Expression::compile(path, self.definitions)
            .map_err(|error| FhirError::bad_request(format!("'{}' is not FHIRPath: {error}.", excerpt(path))))?;
        let Some(focus) = Item::resource(self.resource, self.definitions) else {
            return Err(FhirError::unprocessable(
                "Only a resource of a known type can be patched.",
            ));
        };
        let environment = Environment {
            budget: self.budget,
            ..Environment::new(self.now)
        };
        let items = expression
            .evaluate(&focus, &environment)
            .map_err(|error| FhirError::unprocessable(format!("'{}' cannot be evaluated: {error}.", excerpt(path))))?;
        let mut targets = HashSet::new();
        for item in &items {
            let element = item.as_element().ok_or_else(|| {
                let text = format!(
                    "'{}' computes a value; a patch needs a path to an element.",
                    excerpt(path)
                );
                FhirError::unprocessable(text)
            })?;
            // A primitive without a value is in the resource by its id and extensions alone.
            let half = if element.value.is_null() {
                element.sibling.unwrap_or(element.value)
            } else {
                element.value
            };
            targets.insert(std::ptr::from_ref(half));
        }
        let found = location::locate(self.resource, &targets);
        if found.len() != targets.len() {
            let text = format!("'{}' selects something outside of the resource.", excerpt(path));
            return Err(FhirError::unprocessable(text));
        }
        Ok(found)
    }

    /// The place of the one element that `path` selects.
    fn one(&self, path: &str) -> Result<Vec<Step>> {
        let mut found = self.select(path)?;
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => Err(FhirError::unprocessable(format!(
                "'{}' selects nothing in this resource.",
                excerpt(path)
            ))),
            _ => Err(several(path)),
        }
    }

    /// The list that `path` selects, as the place of its parent and its name. A list that has no items yet is found by
    /// the parent that the path names before its last dot.
    fn list(&self, path: &str) -> Result<(Vec<Step>, String)> {
        let found = self.select(path)?;
        let Some(first) = found.first() else {
            return self.empty_list(path);
        };
        let not_a_list = || FhirError::unprocessable(format!("'{}' does not select a list.", excerpt(path)));
        let (parent, name, index) = split(path, first)?;
        if index.is_none() {
            return Err(not_a_list());
        }
        if found
            .iter()
            .any(|steps| steps.split_last().map(|(_, list)| list) != first.split_last().map(|(_, list)| list))
        {
            return Err(FhirError::unprocessable(format!(
                "'{}' selects items of several lists.",
                excerpt(path)
            )));
        }
        Ok((parent, name))
    }

    fn empty_list(&self, path: &str) -> Result<(Vec<Step>, String)> {
        let nothing = || FhirError::unprocessable(format!("'{}' selects nothing in this resource.", excerpt(path)));
        let (parent_path, name) = path.trim().rsplit_once('.').ok_or_else(nothing)?;
        if !name.chars().all(char::is_alphanumeric) {
            return Err(nothing());
        }
        let parent = self.one(parent_path)?;
        let parent_type = self.type_at(parent_path, &parent)?;
        match parent_type.property(name) {
            Some((element, _)) if element.is_array => Ok((parent, element.name.clone())),
            _ => Err(nothing()),
        }
    }

    fn type_at(&self, path: &str, steps: &[Step]) -> Result<&'static TypeDefinition> {
        let found = location::type_at(self.resource, steps, self.definitions);
        let found =
            found.ok_or_else(|| FhirError::unprocessable(format!("'{}' is not an element of R4.", excerpt(path))))?;
        match found.kind {
            TypeKind::Primitive => {
                let element = self.definitions.type_id("Element").map(|id| self.definitions.get(id));
                Ok(element.unwrap_or(found))
            }
            _ => Ok(found),
        }
    }

    fn children_of(&mut self, path: &str, steps: &[Step]) -> Result<&mut Map<String, Value>> {
        location::children_of(self.resource, steps)
            .ok_or_else(|| FhirError::unprocessable(format!("'{}' cannot have children.", excerpt(path))))
    }
}

fn several(path: &str) -> FhirError {
    let text = format!(
        "'{}' selects more than one element; a patch changes one at a time.",
        excerpt(path)
    );
    FhirError::unprocessable(text)
}

fn out_of_range(path: &str, part: &str, index: usize, length: usize) -> FhirError {
    let path = excerpt(path);
    FhirError::unprocessable(format!(
        "{part} {index} is out of range: '{path}' has {length} items, counted from 0."
    ))
}

/// Parent, property and, in a list, position of the element at `steps`.
fn split(path: &str, steps: &[Step]) -> Result<(Vec<Step>, String, Option<usize>)> {
    match steps {
        [parent @ .., Step::Property(name), Step::Index(index)] => Ok((parent.to_vec(), name.clone(), Some(*index))),
        [parent @ .., Step::Property(name)] => Ok((parent.to_vec(), name.clone(), None)),
        _ => {
            let text = format!("'{}' is the resource itself; name an element of it.", excerpt(path));
            Err(FhirError::unprocessable(text))
        }
    }
}

/// The JSON property that an element of a given value is written as.
struct Property {
    name: String,
    type_id: TypeId,
    is_array: bool,
    /// All properties of which only one may be present: of a choice element, one for each type.
    alternatives: Vec<String>,
}

/// Finds the property of `parent` for the element `name`, which may be written `value`, `value[x]` or `valueString`.
fn resolve(definitions: &Definitions, parent: &TypeDefinition, name: &str, value: &Content) -> Result<Property> {
    let plain = name.strip_suffix("[x]").unwrap_or(name);
    let element = parent.elements.iter().find(|element| element.name == plain);
    let element = element
        .or_else(|| parent.property(plain).map(|(element, _)| element))
        .ok_or_else(|| FhirError::unprocessable(format!("{} has no element '{}'.", parent.name, excerpt(name))))?;
    if !element.is_choice {
        let (name, type_id) = (element.name.clone(), element.types[0].type_id);
        return Ok(Property {
            alternatives: vec![name.clone()],
            name,
            type_id,
            is_array: element.is_array,
        });
    }
    let property = |suffix: &str| format!("{}{suffix}", element.name);
    let allowed = match value {
        Content::Typed { suffix, .. } => parent
            .property(&property(suffix))
            .map(|(_, ty)| (property(suffix), ty.type_id)),
        Content::Parts(_) | Content::Resource(_) => None,
    };
    let (name, type_id) = allowed.ok_or_else(|| {
        let types: Vec<&str> = element
            .types
            .iter()
            .map(|ty| definitions.get(ty.type_id).name.as_str())
            .collect();
        let text = format!(
            "{}.{}[x] takes none but these types: {}.",
            parent.name,
            element.name,
            types.join(", ")
        );
        FhirError::unprocessable(text)
    })?;
    let alternatives = element
        .types
        .iter()
        .map(|ty| property(&capitalised(&definitions.get(ty.type_id).name)));
    Ok(Property {
        name,
        type_id,
        is_array: element.is_array,
        alternatives: alternatives.collect(),
    })
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(characters)
        .collect()
}

/// The JSON of `value` as an element of type `type_id`.
fn build(definitions: &Definitions, type_id: TypeId, value: &Content) -> Result<Cell> {
    match value {
        Content::Typed { cell, .. } => Ok(cell.clone()),
        Content::Resource(resource) => Ok(Cell {
            value: resource.clone(),
            sibling: Value::Null,
        }),
        Content::Parts(parts) => {
            let ty = definitions.get(type_id);
            let mut object = Map::new();
            for (name, part) in parts {
                let property = resolve(definitions, ty, name, part)?;
                let cell = build(definitions, property.type_id, part)?;
                if property.is_array {
                    let mut cells = location::list(&object, &property.name);
                    cells.push(cell);
                    location::set_list(&mut object, &property.name, cells);
                } else if property.alternatives.iter().any(|name| object.contains_key(name)) {
                    let text = format!("The value has more than one part '{}'.", excerpt(name));
                    return Err(FhirError::unprocessable(text));
                } else {
                    location::set(&mut object, &property.name, cell);
                }
            }
            Ok(Cell {
                value: Value::Object(object),
                sibling: Value::Null,
            })
        }
    }
}
