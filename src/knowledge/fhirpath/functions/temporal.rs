//! The present (<http://hl7.org/fhirpath/N1/#current-date-and-time-functions>), and the functions about precision:
//! `lowBoundary`, `highBoundary`, `precision` and `comparable` (<https://hl7.org/fhir/fhirpath.html>).

use super::{ANYTHING, At, BOUNDED, Function, Gives, INTEGER, OneItem, Parameter, QUANTITY};
use crate::knowledge::fhirpath::comparison::{as_quantity, number};
use crate::knowledge::fhirpath::item::Item;
use crate::knowledge::fhirpath::types::SystemType;
use crate::knowledge::fhirpath::values::Quantity;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("now", Gives::One(SystemType::DateTime), |at| {
        Ok(Some(Item::DateTime(at.evaluation.environment.now)))
    }),
    Function::item("today", Gives::One(SystemType::Date), |at| {
        Ok(Some(Item::Date(at.evaluation.environment.now.date())))
    }),
    Function::item("timeOfDay", Gives::One(SystemType::Time), |at| {
        Ok(at.evaluation.environment.now.time().map(Item::Time))
    }),
    Function::item("lowBoundary", Gives::InputItem, |at| boundary(at, Side::Low))
        .on(BOUNDED)
        .taking(&[Parameter::Value(INTEGER)])
        .requiring(0),
    Function::item("highBoundary", Gives::InputItem, |at| boundary(at, Side::High))
        .on(BOUNDED)
        .taking(&[Parameter::Value(INTEGER)])
        .requiring(0),
    Function::item("precision", Gives::One(SystemType::Integer), precision).on(BOUNDED),
    Function::item("comparable", Gives::One(SystemType::Boolean), comparable)
        .on(ANYTHING)
        .taking(&[Parameter::Value(QUANTITY)]),
];

#[derive(Clone, Copy)]
enum Side {
    Low,
    High,
}

/// The least or greatest value that the input may stand for, given how precisely it is written.
fn boundary<'a>(at: &At<'_, '_, 'a>, side: Side) -> OneItem<'a> {
    let digits = match at.arguments() {
        0 => None,
        _ => match at.integer_argument(0)? {
            None => return Ok(None),
            digits => digits,
        },
    };
    let Some(item) = at.input_item()? else {
        return Ok(None);
    };
    macro_rules! bound {
        ($value:expr) => {
            match side {
                Side::Low => $value.low_boundary(digits),
                Side::High => $value.high_boundary(digits),
            }
        };
    }
    match at.evaluation.system(&item) {
        Some(Item::Date(value)) => Ok(bound!(value).map(Item::Date)),
        Some(Item::DateTime(value)) => Ok(bound!(value).map(Item::DateTime)),
        Some(Item::Time(value)) => Ok(bound!(value).map(Item::Time)),
        Some(Item::Quantity(quantity)) => {
            let Quantity { value, unit } = *quantity;
            Ok(bound!(value).map(|value| Item::Quantity(Box::new(Quantity::new(value, unit)))))
        }
        Some(value) => match number(&value) {
            Some(value) => Ok(bound!(value).map(Item::Decimal)),
            None => Err(at.wrong_input(&item, "number, date or time")),
        },
        None if at.evaluation.is_valueless(&item) => Ok(None),
        None => Err(at.wrong_input(&item, "number, date or time")),
    }
}

fn precision<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let Some(item) = at.input_item()? else {
        return Ok(None);
    };
    let digits = match at.evaluation.system(&item) {
        Some(Item::Date(value)) => value.precision(),
        Some(Item::DateTime(value)) => value.precision(),
        Some(Item::Time(value)) => value.precision(),
        None if at.evaluation.is_valueless(&item) => return Ok(None),
        value => match value.as_ref().and_then(number) {
            Some(value) => value.precision(),
            None => return Err(at.wrong_input(&item, "number, date or time")),
        },
    };
    Ok(Some(Item::Integer(i64::from(digits))))
}

/// Whether two quantities measure the same thing.
fn comparable<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let argument = at.argument(0)?;
    let other = at
        .evaluation
        .single(&argument, at.call.position)?
        .and_then(|item| at.evaluation.system(item));
    let (Some(value), Some(other)) = (at.input_value()?, other) else {
        return Ok(None);
    };
    let comparable = match (as_quantity(&value), as_quantity(&other)) {
        (Some(value), Some(other)) => value.comparable(&other),
        _ => false,
    };
    Ok(Some(Item::Boolean(comparable)))
}
