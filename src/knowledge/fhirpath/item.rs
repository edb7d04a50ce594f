//! What expressions are evaluated over: elements of a resource, borrowed from its JSON, and values of the System types.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use smallvec::SmallVec;

use super::values::{Date, DateTime, Decimal, Quantity, Time};
use crate::knowledge::definitions::{Definitions, TypeId};

/// An ordered collection; most have one item or none, which then need no allocation.
pub type Collection<'a> = SmallVec<[Item<'a>; 1]>;

/// One member of a collection.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// A resource or an element of one, primitive ones included: they may carry an id and extensions.
    Element(Element<'a>),
    Boolean(bool),
    /// Between -2³¹ and 2³¹-1; arithmetic that leaves this range gives an empty collection.
    Integer(i64),
    Decimal(Decimal),
    String(Cow<'a, str>),
    Date(Date),
    DateTime(DateTime),
    Time(Time),
    Quantity(Box<Quantity>),
    /// What `type()` gives: `System.Integer`, `FHIR.Patient`.
    Type(TypeInfo),
}

/// A borrowed JSON value together with what JSON does not say about it.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// `null` when only an id or extensions are present.
    pub value: &'a Value,
    /// The object in `_name`, which holds a primitive's id and extensions.
    pub sibling: Option<&'a Value>,
    pub type_id: TypeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeInfo {
    /// `System` or `FHIR`.
    pub namespace: &'static str,
    pub name: &'static str,
}

impl<'a> Item<'a> {
    /// The resource that this JSON object is, going by its `resourceType`; `None` if R4 has no such type.
    pub fn resource(value: &'a Value, definitions: &Definitions) -> Option<Item<'a>> {
        let name = value.get("resourceType")?.as_str()?;
        let type_id = definitions.resource_type(name)?.id;
        Some(Item::element(value, None, type_id))
    }

    /// An element of a known type. `sibling` is the object in `_name` beside a primitive.
    pub fn element(value: &'a Value, sibling: Option<&'a Value>, type_id: TypeId) -> Item<'a> {
        Item::Element(Element {
            value,
            sibling,
            type_id,
        })
    }

    /// The element, unless this is a value of a System type.
    pub fn as_element(&self) -> Option<Element<'a>> {
        match self {
            Item::Element(element) => Some(*element),
            _ => None,
        }
    }
}

impl fmt::Display for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl<'a> Element<'a> {
    /// The JSON object that holds this element's children: a primitive's is its sibling.
    pub(super) fn object(&self) -> Option<&'a serde_json::Map<String, Value>> {
        self.value.as_object().or_else(|| self.sibling?.as_object())
    }

    /// Two elements are at the same place of a resource if and only if these are equal.
    pub(super) fn place(&self) -> (*const Value, *const Value) {
        (self.value, self.sibling.map_or(std::ptr::null(), std::ptr::from_ref))
    }
}
