//! <http://hl7.org/fhirpath/N1/#math>. What has no result (`(-1).sqrt()`) is empty.

use super::{At, Function, Gives, INTEGER, NUMBER, OneItem, Parameter};
use crate::knowledge::fhirpath::arithmetic::integer;
use crate::knowledge::fhirpath::comparison::number;
use crate::knowledge::fhirpath::item::Item;
use crate::knowledge::fhirpath::types::SystemType;
use crate::knowledge::fhirpath::values::{Decimal, Quantity};

const AN_INTEGER: Gives = Gives::One(SystemType::Integer);
const A_DECIMAL: Gives = Gives::One(SystemType::Decimal);

/// More decimal places than this are never asked for in earnest.
const MAX_PLACES: i64 = 28;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("abs", Gives::InputItem, abs).on(NUMBER),
    Function::item("ceiling", AN_INTEGER, |at| whole(at, |value| value.ceiling())).on(NUMBER),
    Function::item("floor", AN_INTEGER, |at| whole(at, |value| value.floor())).on(NUMBER),
    Function::item("truncate", AN_INTEGER, |at| whole(at, |value| value.truncate())).on(NUMBER),
    Function::item("round", A_DECIMAL, round)
        .on(NUMBER)
        .taking(&[Parameter::Value(INTEGER)])
        .requiring(0),
    Function::item("exp", A_DECIMAL, |at| real(at, |value| value.exp())).on(NUMBER),
    Function::item("ln", A_DECIMAL, |at| real(at, |value| value.ln())).on(NUMBER),
    Function::item("sqrt", A_DECIMAL, |at| real(at, |value| value.sqrt())).on(NUMBER),
    Function::item("log", A_DECIMAL, log)
        .on(NUMBER)
        .taking(&[Parameter::Value(NUMBER)]),
    Function::item("power", Gives::InputItem, power)
        .on(NUMBER)
        .taking(&[Parameter::Value(NUMBER)]),
];

/// The input as a number; one of a wrong type is an error.
fn input(at: &At<'_, '_, '_>) -> super::Result<Option<Decimal>> {
    let Some(item) = at.input_item()? else {
        return Ok(None);
    };
    match at.evaluation.system(&item) {
        None if at.evaluation.is_valueless(&item) => Ok(None),
        value => match value.as_ref().and_then(number) {
            Some(value) => Ok(Some(value)),
            None => Err(at.wrong_input(&item, "Integer or Decimal")),
        },
    }
}

fn argument(at: &At<'_, '_, '_>) -> super::Result<Option<Decimal>> {
    let argument = at.argument(0)?;
    let item = at.evaluation.single(&argument, at.call.position)?;
    Ok(item
        .and_then(|item| at.evaluation.system(item))
        .as_ref()
        .and_then(number))
}

fn whole<'a>(at: &At<'_, '_, 'a>, function: fn(&Decimal) -> Decimal) -> OneItem<'a> {
    Ok(input(at)?.and_then(|value| integer(function(&value).to_i64()?)))
}

fn real<'a>(at: &At<'_, '_, 'a>, function: fn(&Decimal) -> Option<Decimal>) -> OneItem<'a> {
    Ok(input(at)?.and_then(|value| function(&value)).map(Item::Decimal))
}

fn abs<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    match at.input_value()? {
        Some(Item::Integer(value)) => Ok(integer(value.abs())),
        Some(Item::Quantity(quantity)) => {
            let Quantity { value, unit } = *quantity;
            Ok(Some(Item::Quantity(Box::new(Quantity::new(value.abs(), unit)))))
        }
        _ => Ok(input(at)?.map(|value| Item::Decimal(value.abs()))),
    }
}

fn round<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let places = match at.arguments() {
        0 => Some(0),
        _ => at.integer_argument(0)?,
    };
    let (Some(value), Some(places)) = (input(at)?, places) else {
        return Ok(None);
    };
    if places < 0 {
        return Err(at.error("the number of decimal places must not be negative"));
    }
    Ok(Some(Item::Decimal(value.round(places.min(MAX_PLACES) as u32))))
}

fn log<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(value), Some(base)) = (input(at)?, argument(at)?) else {
        return Ok(None);
    };
    Ok(value.log(base).map(Item::Decimal))
}

/// An Integer if both are and the result is one.
fn power<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let is_integer = matches!(at.input_value()?, Some(Item::Integer(_)));
    let (Some(value), Some(exponent)) = (input(at)?, argument(at)?) else {
        return Ok(None);
    };
    let Some(result) = value.power(exponent) else {
        return Ok(None);
    };
    match result.to_i64().filter(|_| is_integer).and_then(integer) {
        Some(result) => Ok(Some(result)),
        None => Ok(Some(Item::Decimal(result))),
    }
}
