//! Elements as values: the conversions that FHIR makes implicit (<https://hl7.org/fhir/R4/fhirpath.html#types>), and the
//! reading of a collection where one value is expected.

use serde_json::Value;

use super::EvaluationError;
use super::eval::{Evaluation, system_type};
use super::item::{Element, Item, TypeInfo};
use super::model::{Primitive, get};
use super::values::{CalendarUnit, Date, DateTime, Decimal, Quantity, Time, Unit};

type Result<T> = std::result::Result<T, EvaluationError>;

const UCUM: &str = "http://unitsofmeasure.org";

impl<'a> Evaluation<'_, 'a> {
    /// The value of a System type that an item is or converts to. An element has none if it is complex (but for a
    /// Quantity) or carries only extensions.
    pub fn system(&self, item: &Item<'a>) -> Option<Item<'a>> {
        match item {
            Item::Element(element) => self.element_value(element),
            item => Some(item.clone()),
        }
    }

    fn element_value(&self, element: &Element<'a>) -> Option<Item<'a>> {
        let Some(primitive) = self.model.primitive(element.type_id) else {
            let is_quantity = self.model.is_quantity(element.type_id);
            return is_quantity
                .then(|| quantity(element.value))
                .flatten()
                .map(|q| Item::Quantity(Box::new(q)));
        };
        match element.value {
            Value::Bool(value) => Some(Item::Boolean(*value)),
            Value::Number(number) => {
                let value = Decimal::parse(number.as_str())?;
                match primitive {
                    Primitive::Integer => value.to_i64().map(Item::Integer),
                    _ => Some(Item::Decimal(value)),
                }
            }
            Value::String(text) => {
                // Text that is no date stays text; that it is none is for validation to say.
                let temporal = match primitive {
                    Primitive::Date => Date::parse(text).map(Item::Date),
                    Primitive::DateTime => DateTime::parse(text).map(Item::DateTime),
                    Primitive::Time => Time::parse(text).map(Item::Time),
                    _ => None,
                };
                Some(temporal.unwrap_or_else(|| Item::String(text.as_str().into())))
            }
            _ => None,
        }
    }

    /// The text of a String or of an element that converts to one.
    pub fn text<'i>(&self, item: &'i Item<'a>) -> Option<&'i str> {
        match item {
            Item::String(text) => Some(text),
            Item::Element(Element {
                value: Value::String(text),
                type_id,
                ..
            }) if self.model.primitive(*type_id) == Some(Primitive::String) => Some(text),
            _ => None,
        }
    }

    /// `FHIR.Patient`, `System.Integer`: for messages, and for `type()`.
    pub fn type_of(&self, item: &Item<'a>) -> TypeInfo {
        match (item, system_type(item)) {
            (_, Some(system)) => TypeInfo {
                namespace: "System",
                name: system.name(),
            },
            (Item::Element(element), None) => TypeInfo {
                namespace: "FHIR",
                name: self.model.type_name(element.type_id),
            },
            (_, None) => TypeInfo {
                namespace: "System",
                name: "Any",
            },
        }
    }

    /// The only item; `None` if there is none, an error if there are more.
    pub fn single<'i>(&self, items: &'i [Item<'a>], position: usize) -> Result<Option<&'i Item<'a>>> {
        match items {
            [] => Ok(None),
            [item] => Ok(Some(item)),
            _ => Err(EvaluationError::new(
                position,
                format!("{} items stand where one is expected", items.len()),
            )),
        }
    }

    /// The collection as a condition: what is no Boolean counts as true.
    pub fn boolean(&self, items: &[Item<'a>], position: usize) -> Result<Option<bool>> {
        match self.single(items, position)? {
            None => Ok(None),
            Some(Item::Boolean(value)) => Ok(Some(*value)),
            Some(Item::Element(element)) if self.model.primitive(element.type_id) == Some(Primitive::Boolean) => {
                Ok(element.value.as_bool())
            }
            Some(_) => Ok(Some(true)),
        }
    }

    /// The collection as an Integer. `what` names the place in the message of an error: “an argument of skip()”.
    pub fn integer(&self, items: &[Item<'a>], what: impl Fn() -> String, position: usize) -> Result<Option<i64>> {
        let Some(item) = self.single(items, position)? else {
            return Ok(None);
        };
        match self.system(item) {
            Some(Item::Integer(value)) => Ok(Some(value)),
            None if self.is_valueless(item) => Ok(None),
            _ => Err(self.wrong_type(item, &what(), "Integer", position)),
        }
    }

    /// A primitive that carries extensions only.
    pub fn is_valueless(&self, item: &Item<'a>) -> bool {
        matches!(item, Item::Element(element)
            if element.value.is_null() && self.model.primitive(element.type_id).is_some())
    }

    pub fn wrong_type(&self, item: &Item<'a>, what: &str, wanted: &str, position: usize) -> EvaluationError {
        EvaluationError::new(
            position,
            format!("{what} must be of type {wanted}, not {}", self.type_of(item)),
        )
    }
}

/// A FHIR Quantity as one of System (<https://hl7.org/fhir/R4/fhirpath.html#quantity>): UCUM's codes for spans of time
/// become calendar units. One with a comparator is no exact value and has no counterpart.
fn quantity(value: &Value) -> Option<Quantity> {
    let object = value.as_object()?;
    let text = |name| get(object, name).and_then(Value::as_str);
    let Some(Value::Number(number)) = get(object, "value") else {
        return None;
    };
    let number = Decimal::parse(number.as_str())?;
    if text("comparator").is_some() {
        return None;
    }
    let code = text("code").or_else(|| text("unit")).unwrap_or("1");
    let calendar = match code {
        _ if text("system") != Some(UCUM) => None,
        "a" => Some(CalendarUnit::Year),
        "mo" => Some(CalendarUnit::Month),
        "wk" => Some(CalendarUnit::Week),
        "d" => Some(CalendarUnit::Day),
        "h" => Some(CalendarUnit::Hour),
        "min" => Some(CalendarUnit::Minute),
        "s" => Some(CalendarUnit::Second),
        "ms" => Some(CalendarUnit::Millisecond),
        _ => None,
    };
    Some(Quantity::new(
        number,
        calendar.map_or_else(|| Unit::Ucum(code.into()), Unit::Calendar),
    ))
}
