//! Equality, equivalence and order (<http://hl7.org/fhirpath/N1/#equality>, <http://hl7.org/fhirpath/N1/#comparison>).

use std::cmp::Ordering;
use std::collections::HashSet;

use smallvec::SmallVec;

use super::EvaluationError;
use super::eval::Evaluation;
use super::item::{Collection, Element, Item};
use super::model::GO_ON;
use super::values::{Decimal, Quantity, Unit};

type Result<T> = std::result::Result<T, EvaluationError>;

/// From this size on, texts are compared by their hashes.
const HASHED: usize = 16;

impl<'a> Evaluation<'_, 'a> {
    /// `=`; `None` if a side is empty or partial dates leave the answer open.
    pub fn equal_collections(&self, left: &[Item<'a>], right: &[Item<'a>], position: usize) -> Result<Option<bool>> {
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        if left.len() != right.len() {
            return Ok(Some(false));
        }
        let mut equal = Some(true);
        for (left, right) in left.iter().zip(right) {
            match self.equal(left, right, position)? {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => equal = None,
            }
        }
        Ok(equal)
    }

    /// `~`: the order does not matter.
    pub fn equivalent_collections(&self, left: &[Item<'a>], right: &[Item<'a>], position: usize) -> Result<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        let mut unmatched: SmallVec<[&Item<'a>; 4]> = right.iter().collect();
        'items: for item in left {
            for at in 0..unmatched.len() {
                if self.equivalent(item, unmatched[at], position)? {
                    unmatched.swap_remove(at);
                    continue 'items;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether `wanted` equals an item of the collection.
    pub fn contains(&self, collection: &[Item<'a>], wanted: &Item<'a>, position: usize) -> Result<bool> {
        for item in collection {
            if self.equal(item, wanted, position)? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Without the items that equal an earlier one.
    pub fn distinct(&self, items: Collection<'a>, position: usize) -> Result<Collection<'a>> {
        let firsts = self.firsts(&items, position)?;
        Ok(items
            .into_iter()
            .zip(firsts)
            .filter(|(_, first)| *first)
            .map(|(item, _)| item)
            .collect())
    }

    /// For each item, whether no earlier one equals it.
    pub fn firsts(&self, items: &[Item<'a>], position: usize) -> Result<Vec<bool>> {
        if items.len() >= HASHED {
            let texts: Option<Vec<&str>> = items.iter().map(|item| self.text(item)).collect();
            if let Some(texts) = texts {
                let mut seen = HashSet::with_capacity(texts.len());
                return Ok(texts.into_iter().map(|text| seen.insert(text)).collect());
            }
        }
        let mut firsts = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            firsts.push(!self.contains(&items[..at], item, position)?);
        }
        Ok(firsts)
    }

    pub fn equal(&self, left: &Item<'a>, right: &Item<'a>, position: usize) -> Result<Option<bool>> {
        self.spend(1, position)?;
        if let (Some(left), Some(right)) = (self.text(left), self.text(right)) {
            return Ok(Some(left == right));
        }
        if let (Item::Element(left), Item::Element(right)) = (left, right)
            && (left.value.is_object() || left.value.is_null())
        {
            // FHIR Quantities are equal by what they measure, whatever their display text.
            if !(self.model.is_quantity(left.type_id) && self.model.is_quantity(right.type_id)) {
                return self.equal_elements(left, right, position);
            }
        }
        let (Some(left), Some(right)) = (self.system(left), self.system(right)) else {
            return Ok(Some(false));
        };
        Ok(equal_values(&left, &right))
    }

    /// All children equal, name by name, and there are no others.
    fn equal_elements(&self, left: &Element<'a>, right: &Element<'a>, position: usize) -> Result<Option<bool>> {
        if left.type_id != right.type_id {
            return Ok(Some(false));
        }
        if std::ptr::eq(left.value, right.value) && left.value.is_object() {
            return Ok(Some(true));
        }
        let mut equal = Some(true);
        let (left, right) = (self.children(left), self.children(right));
        if left.len() != right.len() {
            return Ok(Some(false));
        }
        for (name, left) in &left {
            let Some((_, right)) = right.iter().find(|(other, _)| other == name) else {
                return Ok(Some(false));
            };
            match self.equal_collections(left, right, position)? {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => equal = None,
            }
        }
        Ok(equal)
    }

    pub fn equivalent(&self, left: &Item<'a>, right: &Item<'a>, position: usize) -> Result<bool> {
        self.spend(1, position)?;
        if let (Item::Element(left), Item::Element(right)) = (left, right)
            && left.value.is_object()
            && !(self.model.is_quantity(left.type_id) && self.model.is_quantity(right.type_id))
        {
            return self.equivalent_elements(left, right, position);
        }
        let (Some(left), Some(right)) = (self.system(left), self.system(right)) else {
            return Ok(false);
        };
        Ok(equivalent_values(&left, &right))
    }

    fn equivalent_elements(&self, left: &Element<'a>, right: &Element<'a>, position: usize) -> Result<bool> {
        let (left, right) = (self.children(left), self.children(right));
        if left.len() != right.len() {
            return Ok(false);
        }
        for (name, left) in &left {
            let Some((_, right)) = right.iter().find(|(other, _)| other == name) else {
                return Ok(false);
            };
            if !self.equivalent_collections(left, right, position)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The children by property name.
    fn children(&self, parent: &Element<'a>) -> Vec<(&'a str, Collection<'a>)> {
        let Some(object) = parent.object() else {
            return Vec::new();
        };
        let mut groups: Vec<(&'a str, Collection<'a>)> = Vec::with_capacity(object.len());
        for key in object.keys() {
            let name = key.strip_prefix('_').unwrap_or(key);
            if groups.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let mut values = Collection::new();
            // A property that R4 does not have is left out, as it is by children().
            let _ = self.model.named(*parent, name, &mut |child| {
                values.push(Item::Element(child));
                GO_ON
            });
            groups.push((name, values));
        }
        groups.retain(|(_, values)| !values.is_empty());
        groups
    }

    /// The order of two values; `None` if partial dates or different units leave it open. An error if their types
    /// cannot be compared.
    pub fn compare(&self, left: &Item<'a>, right: &Item<'a>, position: usize) -> Result<Option<Ordering>> {
        if let (Some(left), Some(right)) = (self.text(left), self.text(right)) {
            return Ok(Some(left.cmp(right)));
        }
        if self.is_valueless(left) || self.is_valueless(right) {
            return Ok(None);
        }
        let wrong = || {
            let message = format!("{} cannot be compared with {}", self.type_of(left), self.type_of(right));
            EvaluationError::new(position, message)
        };
        let (left_value, right_value) = match (self.system(left), self.system(right)) {
            (Some(left), Some(right)) => (left, right),
            // A Quantity that has no value.
            (None, Some(Item::Quantity(_))) | (Some(Item::Quantity(_)), None) => return Ok(None),
            _ => return Err(wrong()),
        };
        match (&left_value, &right_value) {
            (Item::Integer(left), Item::Integer(right)) => Ok(Some(left.cmp(right))),
            (Item::String(left), Item::String(right)) => Ok(Some(left.cmp(right))),
            (Item::Date(left), Item::Date(right)) => Ok(left.compare(right)),
            (Item::DateTime(left), Item::DateTime(right)) => Ok(left.compare(right)),
            (Item::Date(left), Item::DateTime(right)) => Ok(left.to_date_time().compare(right)),
            (Item::DateTime(left), Item::Date(right)) => Ok(left.compare(&right.to_date_time())),
            (Item::Time(left), Item::Time(right)) => Ok(left.compare(right)),
            (left, right) => match (number(left), number(right)) {
                (Some(left), Some(right)) => Ok(Some(left.cmp(&right))),
                _ => match (as_quantity(left), as_quantity(right)) {
                    (Some(left), Some(right)) => Ok(left.compare(&right)),
                    _ => Err(wrong()),
                },
            },
        }
    }
}

pub(super) fn equal_values(left: &Item<'_>, right: &Item<'_>) -> Option<bool> {
    match (left, right) {
        (Item::Boolean(left), Item::Boolean(right)) => Some(left == right),
        (Item::Integer(left), Item::Integer(right)) => Some(left == right),
        (Item::String(left), Item::String(right)) => Some(left == right),
        (Item::Date(left), Item::Date(right)) => left.equal(right),
        (Item::DateTime(left), Item::DateTime(right)) => left.equal(right),
        (Item::Date(left), Item::DateTime(right)) => left.to_date_time().equal(right),
        (Item::DateTime(left), Item::Date(right)) => left.equal(&right.to_date_time()),
        (Item::Time(left), Item::Time(right)) => left.equal(right),
        (Item::Type(left), Item::Type(right)) => Some(left == right),
        (left, right) => match (number(left), number(right)) {
            (Some(left), Some(right)) => Some(left == right),
            _ => match (as_quantity(left), as_quantity(right)) {
                (Some(left), Some(right)) => left.equal(&right),
                _ => Some(false),
            },
        },
    }
}

fn equivalent_values(left: &Item<'_>, right: &Item<'_>) -> bool {
    match (left, right) {
        (Item::String(left), Item::String(right)) => left
            .split_whitespace()
            .flat_map(folded)
            .eq(right.split_whitespace().flat_map(folded)),
        (Item::Date(left), Item::Date(right)) => left.equivalent(right),
        (Item::DateTime(left), Item::DateTime(right)) => left.equivalent(right),
        (Item::Date(left), Item::DateTime(right)) => left.to_date_time().equivalent(right),
        (Item::DateTime(left), Item::Date(right)) => left.equivalent(&right.to_date_time()),
        (Item::Time(left), Item::Time(right)) => left.equivalent(right),
        (left, right) => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.equivalent(right),
            _ => match (as_quantity(left), as_quantity(right)) {
                (Some(left), Some(right)) => left.equivalent(&right),
                _ => equal_values(left, right) == Some(true),
            },
        },
    }
}

/// A word in lower case, ended by a blank: case and the kind of white space do not count.
fn folded(word: &str) -> impl Iterator<Item = char> {
    word.chars().flat_map(char::to_lowercase).chain([' '])
}

pub(super) fn number(item: &Item<'_>) -> Option<Decimal> {
    match item {
        Item::Integer(value) => Some(Decimal::from(*value)),
        Item::Decimal(value) => Some(*value),
        _ => None,
    }
}

/// A quantity, or a number as one without a unit.
pub(super) fn as_quantity(item: &Item<'_>) -> Option<Quantity> {
    match item {
        Item::Quantity(quantity) => Some(quantity.as_ref().clone()),
        item => number(item).map(|value| Quantity::new(value, Unit::Ucum("1".into()))),
    }
}
