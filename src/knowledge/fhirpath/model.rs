//! The element model, arranged for navigation: for an element's name, where each type keeps it.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Map, Value};

use super::item::Element;
use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeId, TypeKind};

/// The System type that a FHIR primitive's value converts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Primitive {
    Boolean,
    Integer,
    Decimal,
    String,
    Date,
    DateTime,
    Time,
}

#[derive(Debug)]
pub(super) struct Model {
    pub definitions: &'static Definitions,
    types: Vec<TypeFacts>,
    /// Element name → (type that has it, where it is), sorted by type.
    steps: HashMap<&'static str, Vec<(TypeId, Access)>>,
}

#[derive(Debug)]
struct TypeFacts {
    primitive: Option<Primitive>,
    is_resource: bool,
    is_quantity: bool,
    properties: Properties,
}

/// The JSON properties of a type by name: a hash table whose hash is cheaper than any general one, since walking over
/// all children of an element (ele-1 does it for every element there is) looks up one name after the other.
#[derive(Debug)]
struct Properties {
    all: Vec<Property>,
    /// Places in `all`, [`FREE`] or taken; a power of two of them, at least half of them free.
    slots: Vec<u16>,
}

const FREE: u16 = u16::MAX;

impl Properties {
    fn new(all: Vec<Property>) -> Properties {
        let mut slots = vec![FREE; (all.len() * 2 + 1).next_power_of_two()];
        let mask = slots.len() - 1;
        for (place, property) in all.iter().enumerate() {
            let mut at = Properties::hash(property.name) & mask;
            while slots[at] != FREE {
                at = (at + 1) & mask;
            }
            slots[at] = place as u16;
        }
        Properties { all, slots }
    }

    fn get(&self, name: &str) -> Option<&Property> {
        let mask = self.slots.len() - 1;
        let mut at = Properties::hash(name) & mask;
        while self.slots[at] != FREE {
            let property = &self.all[self.slots[at] as usize];
            if property.name == name {
                return Some(property);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Of the length and three bytes, which tell the names of one type apart well enough.
    fn hash(name: &str) -> usize {
        let bytes = name.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return 0;
        };
        let middle = bytes[bytes.len() / 2];
        bytes.len() * 31 + usize::from(*first) * 37 + usize::from(middle) * 17 + usize::from(*last) * 101
    }
}

/// How one type stores one element.
#[derive(Debug)]
pub(super) struct Access {
    pub is_choice: bool,
    pub is_array: bool,
    /// One, or one for each type of a choice.
    pub properties: Vec<Property>,
}

/// A JSON property.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub name: &'static str,
    /// `_name`, for a primitive's id and extensions; empty for other types.
    sibling: String,
    pub type_id: TypeId,
}

impl Property {
    fn sibling_in<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Value> {
        if self.sibling.is_empty() {
            None
        } else {
            get(object, &self.sibling)
        }
    }
}

static NULL: Value = Value::Null;

impl Model {
    /// The model of these definitions, built on first use and kept for the life of the process.
    pub fn of(definitions: &'static Definitions) -> &'static Model {
        static MODELS: Mutex<Vec<&'static Model>> = Mutex::new(Vec::new());
        let mut models = MODELS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(model) = models.iter().find(|model| std::ptr::eq(model.definitions, definitions)) {
            return model;
        }
        let model: &'static Model = Box::leak(Box::new(Model::build(definitions)));
        models.push(model);
        model
    }

    fn build(definitions: &'static Definitions) -> Model {
        let quantity = definitions.type_id("Quantity");
        let mut steps: HashMap<&'static str, Vec<(TypeId, Access)>> = HashMap::new();
        let mut types = Vec::with_capacity(definitions.types.len());
        for definition in &definitions.types {
            let mut all = Vec::new();
            let accesses = accesses(definitions, definition);
            for (name, access) in accesses {
                all.extend(access.properties.iter().cloned());
                steps.entry(name).or_default().push((definition.id, access));
            }
            types.push(TypeFacts {
                primitive: primitive(definition),
                is_resource: definition.kind == TypeKind::Resource,
                is_quantity: quantity.is_some_and(|quantity| definitions.is_a(definition.id, quantity)),
                properties: Properties::new(all),
            });
        }
        for accesses in steps.values_mut() {
            accesses.sort_by_key(|(type_id, _)| *type_id);
        }
        Model {
            definitions,
            types,
            steps,
        }
    }

    /// Every type that has an element of that name, for [`access_in`].
    pub fn step(&'static self, name: &str) -> &'static [(TypeId, Access)] {
        self.steps.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn primitive(&self, type_id: TypeId) -> Option<Primitive> {
        self.types[type_id.0 as usize].primitive
    }

    pub fn is_resource(&self, type_id: TypeId) -> bool {
        self.types[type_id.0 as usize].is_resource
    }

    /// Whether the type is Quantity or specialises it (Age, Duration, …).
    pub fn is_quantity(&self, type_id: TypeId) -> bool {
        self.types[type_id.0 as usize].is_quantity
    }

    pub fn type_name(&self, type_id: TypeId) -> &'static str {
        &self.definitions.get(type_id).name
    }

    /// The JSON property of that name in a type.
    pub fn property(&self, type_id: TypeId, name: &str) -> Option<&Property> {
        self.types[type_id.0 as usize].properties.get(name)
    }

    /// Calls `emit` for each child of that name, in order.
    pub fn member<'a>(
        &self,
        parent: Element<'a>,
        step: &'static [(TypeId, Access)],
        emit: &mut dyn FnMut(Element<'a>) -> Walk,
    ) -> Walk {
        let (Some(access), Some(object)) = (access_in(step, parent.type_id), parent.object()) else {
            return GO_ON;
        };
        for property in &access.properties {
            let value = get(object, property.name);
            let sibling = property.sibling_in(object);
            if value.is_some() || sibling.is_some() {
                self.values(value, sibling, property.type_id, emit)?;
                if access.is_choice {
                    break;
                }
            }
        }
        GO_ON
    }

    /// Calls `emit` for each child, in the order of the JSON text.
    pub fn children<'a>(&self, parent: Element<'a>, emit: &mut dyn FnMut(Element<'a>) -> Walk) -> Walk {
        let Some(object) = parent.object() else {
            return GO_ON;
        };
        let has_siblings = object.keys().any(|key| key.starts_with('_'));
        for (key, value) in object {
            match key.strip_prefix('_') {
                None => {
                    let Some(property) = self.property(parent.type_id, key) else {
                        continue;
                    };
                    let sibling = if has_siblings {
                        property.sibling_in(object)
                    } else {
                        None
                    };
                    self.values(Some(value), sibling, property.type_id, emit)?;
                }
                // Beside a value it has been seen with that value.
                Some(name) if get(object, name).is_none() => {
                    if let Some(property) = self.property(parent.type_id, name) {
                        self.values(None, Some(value), property.type_id, emit)?;
                    }
                }
                Some(_) => {}
            }
        }
        GO_ON
    }

    /// Calls `emit` for each value of the JSON property of that name, if the type has it.
    pub fn named<'a>(&self, parent: Element<'a>, name: &str, emit: &mut dyn FnMut(Element<'a>) -> Walk) -> Walk {
        let (Some(property), Some(object)) = (self.property(parent.type_id, name), parent.object()) else {
            return GO_ON;
        };
        self.values(get(object, name), property.sibling_in(object), property.type_id, emit)
    }

    /// The elements of one property: an array's one by one, each with its own sibling.
    fn values<'a>(
        &self,
        value: Option<&'a Value>,
        sibling: Option<&'a Value>,
        declared: TypeId,
        emit: &mut dyn FnMut(Element<'a>) -> Walk,
    ) -> Walk {
        let (values, siblings) = match (value, sibling) {
            (Some(Value::Array(values)), Some(Value::Array(siblings))) => (values.as_slice(), siblings.as_slice()),
            (Some(Value::Array(values)), _) => (values.as_slice(), [].as_slice()),
            (None, Some(Value::Array(siblings))) => ([].as_slice(), siblings.as_slice()),
            (None, None) => return GO_ON,
            (value, sibling) => return self.value(value.unwrap_or(&NULL), sibling, declared, emit),
        };
        for index in 0..values.len().max(siblings.len()) {
            self.value(values.get(index).unwrap_or(&NULL), siblings.get(index), declared, emit)?;
        }
        GO_ON
    }

    fn value<'a>(
        &self,
        value: &'a Value,
        sibling: Option<&'a Value>,
        declared: TypeId,
        emit: &mut dyn FnMut(Element<'a>) -> Walk,
    ) -> Walk {
        let sibling = sibling.filter(|sibling| sibling.is_object());
        if value.is_null() && sibling.is_none() {
            return GO_ON;
        }
        let type_id = match self.is_resource(declared) {
            true => self.resource_type(value).unwrap_or(declared),
            false => declared,
        };
        emit(Element {
            value,
            sibling,
            type_id,
        })
    }

    fn resource_type(&self, value: &Value) -> Option<TypeId> {
        self.definitions.type_id(value.get("resourceType")?.as_str()?)
    }
}

/// Whether a walk over elements goes on; [`STOP`] travels up through `?`.
pub(super) type Walk = std::ops::ControlFlow<()>;
pub(super) const GO_ON: Walk = Walk::Continue(());
pub(super) const STOP: Walk = Walk::Break(());

/// Where a type keeps the element that `step` is for.
pub(super) fn access_in(step: &'static [(TypeId, Access)], type_id: TypeId) -> Option<&'static Access> {
    let found = step.binary_search_by_key(&type_id, |(type_id, _)| *type_id).ok()?;
    Some(&step[found].1)
}

/// Small objects are faster searched than hashed into.
pub(super) fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if object.len() > 12 {
        return object.get(name);
    }
    object.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn accesses(definitions: &'static Definitions, definition: &'static TypeDefinition) -> Vec<(&'static str, Access)> {
    let mut accesses: Vec<(&'static str, Access)> = definition
        .elements
        .iter()
        .map(|element| {
            let access = Access {
                is_choice: element.is_choice,
                is_array: element.is_array,
                properties: Vec::new(),
            };
            (element.name.as_str(), access)
        })
        .collect();
    for (name, &(element, ty)) in &definition.by_property {
        let type_id = definition.elements[element as usize].types[ty as usize].type_id;
        let sibling = match definitions.get(type_id).kind == TypeKind::Primitive {
            true => format!("_{name}"),
            false => String::new(),
        };
        accesses[element as usize]
            .1
            .properties
            .push(Property { name, sibling, type_id });
    }
    // A primitive's `value` is the element itself in JSON, not a child of it.
    accesses.retain(|(name, _)| definition.kind != TypeKind::Primitive || *name != "value");
    accesses
}

fn primitive(definition: &TypeDefinition) -> Option<Primitive> {
    if definition.kind != TypeKind::Primitive {
        return None;
    }
    Some(match definition.name.as_str() {
        "boolean" => Primitive::Boolean,
        "integer" | "positiveInt" | "unsignedInt" => Primitive::Integer,
        "decimal" => Primitive::Decimal,
        "date" => Primitive::Date,
        "dateTime" | "instant" => Primitive::DateTime,
        "time" => Primitive::Time,
        _ => Primitive::String,
    })
}
