//! The operators that calculate (<http://hl7.org/fhirpath/N1/#math>). What has no result, a division by zero or a number
//! out of range, gives `None`: an empty collection.

use super::EvaluationError;
use super::ast::BinaryOperator;
use super::comparison::{as_quantity, number};
use super::eval::system_type;
use super::functions::MAX_TEXT;
use super::item::Item;
use super::types::SystemType;
use super::values::Quantity;

type Result<'a> = std::result::Result<Option<Item<'a>>, EvaluationError>;

/// A number that is in the range of Integer.
pub(super) fn integer(value: i64) -> Option<Item<'static>> {
    i32::try_from(value).is_ok().then_some(Item::Integer(value))
}

pub(super) fn quantity(value: Option<Quantity>) -> Option<Item<'static>> {
    value.map(|quantity| Item::Quantity(Box::new(quantity)))
}

/// `+x` and `-x`
pub(super) fn signed<'a>(
    negative: bool,
    operand: Option<Item<'a>>,
    position: usize,
) -> std::result::Result<Item<'a>, EvaluationError> {
    Ok(match operand {
        Some(value @ (Item::Integer(_) | Item::Decimal(_) | Item::Quantity(_))) if !negative => value,
        Some(Item::Integer(value)) => Item::Integer(-value),
        Some(Item::Decimal(value)) => Item::Decimal(value.negate()),
        Some(Item::Quantity(value)) => Item::Quantity(Box::new(value.negate())),
        _ => return Err(EvaluationError::new(position, "a sign must stand before a number")),
    })
}

/// `left operator right`; an operand that is `None` is an empty collection.
pub(super) fn calculate<'a>(
    operator: BinaryOperator,
    left: Option<Item<'a>>,
    right: Option<Item<'a>>,
    position: usize,
) -> Result<'a> {
    let wrong = |left: &Item, right: &Item| {
        let name = |item| system_type(item).map_or("an element", SystemType::name);
        let message = format!("{} {} {} is not defined", name(left), operator.symbol(), name(right));
        EvaluationError::new(position, message)
    };
    if operator == BinaryOperator::Concatenate {
        return match (left, right) {
            (Some(Item::String(left)), Some(Item::String(right))) => joined(&left, &right, position),
            (Some(text @ Item::String(_)), None) | (None, Some(text @ Item::String(_))) => Ok(Some(text)),
            (None, None) => Ok(Some(Item::String("".into()))),
            (Some(left), Some(right)) => Err(wrong(&left, &right)),
            (Some(other), None) | (None, Some(other)) => Err(wrong(&other, &other)),
        };
    }
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(None);
    };
    match (&left, &right) {
        (Item::Integer(a), Item::Integer(b)) if operator != BinaryOperator::Divide => {
            Ok(integers(operator, *a, *b).and_then(integer))
        }
        (Item::String(left), Item::String(right)) if operator == BinaryOperator::Add => joined(left, right, position),
        (Item::Date(_) | Item::DateTime(_) | Item::Time(_), Item::Quantity(duration)) => match operator {
            BinaryOperator::Add => shifted(&left, duration, position),
            BinaryOperator::Subtract => shifted(&left, &duration.negate(), position),
            _ => Err(wrong(&left, &right)),
        },
        _ => match (number(&left), number(&right)) {
            (Some(a), Some(b)) => Ok(match operator {
                BinaryOperator::Add => a.checked_add(b),
                BinaryOperator::Subtract => a.checked_sub(b),
                BinaryOperator::Multiply => a.checked_mul(b),
                BinaryOperator::Divide => a.checked_div(b),
                BinaryOperator::IntegerDivide => {
                    return Ok(a.div_truncate(b).and_then(|quotient| integer(quotient.to_i64()?)));
                }
                _ => a.remainder(b),
            }
            .map(Item::Decimal)),
            _ => match (as_quantity(&left), as_quantity(&right)) {
                (Some(a), Some(b)) => Ok(quantity(match operator {
                    BinaryOperator::Add => a.add(&b),
                    BinaryOperator::Subtract => a.subtract(&b),
                    BinaryOperator::Multiply => a.multiply(&b),
                    BinaryOperator::Divide => a.divide(&b),
                    _ => return Err(wrong(&left, &right)),
                })),
                _ => Err(wrong(&left, &right)),
            },
        },
    }
}

fn integers(operator: BinaryOperator, a: i64, b: i64) -> Option<i64> {
    match operator {
        BinaryOperator::Add => a.checked_add(b),
        BinaryOperator::Subtract => a.checked_sub(b),
        BinaryOperator::Multiply => a.checked_mul(b),
        BinaryOperator::IntegerDivide => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn joined<'a>(left: &str, right: &str, position: usize) -> Result<'a> {
    if left.len() + right.len() > MAX_TEXT {
        return Err(EvaluationError::new(
            position,
            format!("a text of more than {MAX_TEXT} bytes would result"),
        ));
    }
    Ok(Some(Item::String(format!("{left}{right}").into())))
}

fn shifted<'a>(from: &Item<'a>, duration: &Quantity, position: usize) -> Result<'a> {
    let Some((value, unit)) = duration.as_duration() else {
        return Err(EvaluationError::new(
            position,
            "only a duration can be added to or subtracted from a date or time",
        ));
    };
    Ok(match from {
        Item::Date(date) => date.add(value, unit).map(Item::Date),
        Item::DateTime(date_time) => date_time.add(value, unit).map(Item::DateTime),
        Item::Time(time) => time.add(value, unit).map(Item::Time),
        _ => None,
    })
}
