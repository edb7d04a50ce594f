//! Conversions (<http://hl7.org/fhirpath/N1/#conversion>): `toX` and, for each, `convertsToX`; and `type()`.

use super::{ANYTHING, At, Function, Gives, OneItem, Parameter, STRING};
use crate::knowledge::fhirpath::arithmetic::{integer, quantity};
use crate::knowledge::fhirpath::comparison::as_quantity;
use crate::knowledge::fhirpath::item::Item;
use crate::knowledge::fhirpath::types::SystemType;
use crate::knowledge::fhirpath::values::{Date, DateTime, Decimal, Quantity, Time};

const A_BOOLEAN: Gives = Gives::One(SystemType::Boolean);
const UNIT: &[Parameter] = &[Parameter::Value(STRING)];

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("toBoolean", A_BOOLEAN, |at| converted(at, to_boolean)),
    Function::item("convertsToBoolean", A_BOOLEAN, |at| converts(at, to_boolean)),
    Function::item("toInteger", Gives::One(SystemType::Integer), |at| {
        converted(at, to_integer)
    }),
    Function::item("convertsToInteger", A_BOOLEAN, |at| converts(at, to_integer)),
    Function::item("toDecimal", Gives::One(SystemType::Decimal), |at| {
        converted(at, to_decimal)
    }),
    Function::item("convertsToDecimal", A_BOOLEAN, |at| converts(at, to_decimal)),
    Function::item("toString", Gives::One(SystemType::String), |at| converted(at, to_text)),
    Function::item("convertsToString", A_BOOLEAN, |at| converts(at, to_text)),
    Function::item("toDate", Gives::One(SystemType::Date), |at| converted(at, to_date)),
    Function::item("convertsToDate", A_BOOLEAN, |at| converts(at, to_date)),
    Function::item("toDateTime", Gives::One(SystemType::DateTime), |at| {
        converted(at, to_date_time)
    }),
    Function::item("convertsToDateTime", A_BOOLEAN, |at| converts(at, to_date_time)),
    Function::item("toTime", Gives::One(SystemType::Time), |at| converted(at, to_time)),
    Function::item("convertsToTime", A_BOOLEAN, |at| converts(at, to_time)),
    Function::item("toQuantity", Gives::One(SystemType::Quantity), in_unit)
        .taking(UNIT)
        .requiring(0),
    Function::item("convertsToQuantity", A_BOOLEAN, converts_to_unit)
        .taking(UNIT)
        .requiring(0),
    Function::item("type", Gives::One(SystemType::TypeInfo), type_info).on(ANYTHING),
];

/// `None` if the value does not convert.
type Conversion = for<'a> fn(Item<'a>) -> Option<Item<'a>>;

fn converted<'a>(at: &At<'_, '_, 'a>, conversion: Conversion) -> OneItem<'a> {
    Ok(at.input_value()?.and_then(conversion))
}

fn converts<'a>(at: &At<'_, '_, 'a>, conversion: Conversion) -> OneItem<'a> {
    let Some(item) = at.input_item()? else {
        return Ok(None);
    };
    let converts = at.evaluation.system(&item).and_then(conversion).is_some();
    Ok(Some(Item::Boolean(converts)))
}

fn to_boolean(value: Item<'_>) -> Option<Item<'_>> {
    let truth = match value {
        Item::Boolean(value) => value,
        Item::Integer(value @ (0 | 1)) => value == 1,
        Item::Decimal(value) if value == Decimal::ZERO || value == Decimal::ONE => value == Decimal::ONE,
        Item::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => true,
            "false" | "f" | "no" | "n" | "0" | "0.0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Item::Boolean(truth))
}

fn to_integer(value: Item<'_>) -> Option<Item<'_>> {
    match value {
        Item::Integer(_) => Some(value),
        Item::Boolean(value) => Some(Item::Integer(i64::from(value))),
        // What i64 accepts is what the specification's pattern does: a sign and digits.
        Item::String(text) => integer(text.parse().ok()?),
        _ => None,
    }
}

fn to_decimal(value: Item<'_>) -> Option<Item<'_>> {
    let decimal = match value {
        Item::Decimal(value) => value,
        Item::Integer(value) => Decimal::from(value),
        Item::Boolean(value) => Decimal::from(i64::from(value)),
        // FHIR's exponents are no part of FHIRPath's numbers.
        Item::String(text) if !text.contains(['e', 'E']) => Decimal::parse(&text)?,
        _ => return None,
    };
    Some(Item::Decimal(decimal))
}

fn to_text(value: Item<'_>) -> Option<Item<'_>> {
    let text = match value {
        Item::String(_) => return Some(value),
        Item::Boolean(value) => value.to_string(),
        Item::Integer(value) => value.to_string(),
        Item::Decimal(value) => value.to_string(),
        Item::Date(value) => value.to_string(),
        Item::DateTime(value) => value.to_string(),
        Item::Time(value) => value.to_string(),
        Item::Quantity(value) => value.to_string(),
        Item::Element(_) | Item::Type(_) => return None,
    };
    Some(Item::String(text.into()))
}

fn to_date(value: Item<'_>) -> Option<Item<'_>> {
    match value {
        Item::Date(_) => Some(value),
        Item::DateTime(value) => Some(Item::Date(value.date())),
        Item::String(text) => match Date::parse(&text) {
            Some(date) => Some(Item::Date(date)),
            None => DateTime::parse(&text).map(|value| Item::Date(value.date())),
        },
        _ => None,
    }
}

fn to_date_time(value: Item<'_>) -> Option<Item<'_>> {
    match value {
        Item::DateTime(_) => Some(value),
        Item::Date(value) => Some(Item::DateTime(value.to_date_time())),
        Item::String(text) => DateTime::parse(&text).map(Item::DateTime),
        _ => None,
    }
}

fn to_time(value: Item<'_>) -> Option<Item<'_>> {
    match value {
        Item::Time(_) => Some(value),
        Item::String(text) => Time::parse(&text).map(Item::Time),
        _ => None,
    }
}

fn to_quantity(value: Item<'_>) -> Option<Quantity> {
    match value {
        Item::Boolean(value) => as_quantity(&Item::Integer(i64::from(value))),
        Item::String(text) => Quantity::parse(&text),
        value => as_quantity(&value),
    }
}

/// `toQuantity()`, converted to the unit in the argument if there is one.
fn in_unit<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let Some(value) = at.input_value()?.and_then(to_quantity) else {
        return Ok(None);
    };
    if at.arguments() == 0 {
        return Ok(quantity(Some(value)));
    }
    Ok(quantity(at.text_argument(0)?.and_then(|unit| value.convert_to(&unit))))
}

fn converts_to_unit<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    match at.input_item()? {
        Some(_) => Ok(Some(Item::Boolean(in_unit(at)?.is_some()))),
        None => Ok(None),
    }
}

fn type_info<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    Ok(at.input_item()?.map(|item| Item::Type(at.evaluation.type_of(&item))))
}
