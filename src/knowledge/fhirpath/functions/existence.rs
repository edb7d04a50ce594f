//! <http://hl7.org/fhirpath/N1/#existence>

use super::{ANYTHING, At, BOOLEAN, Function, Gives, OneItem, Parameter, Result};
use crate::knowledge::fhirpath::arithmetic::integer;
use crate::knowledge::fhirpath::item::{Collection, Item};
use crate::knowledge::fhirpath::types::SystemType;

const A_BOOLEAN: Gives = Gives::One(SystemType::Boolean);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("empty", A_BOOLEAN, |at| Ok(Some(Item::Boolean(count_to(at, 1)? == 0)))),
    Function::item("exists", A_BOOLEAN, exists)
        .taking(&[Parameter::Each(BOOLEAN)])
        .requiring(0),
    Function::item("count", Gives::One(SystemType::Integer), |at| {
        Ok(integer(count_to(at, usize::MAX)? as i64))
    }),
    Function::item("not", A_BOOLEAN, not),
    Function::item("all", A_BOOLEAN, all).taking(&[Parameter::Each(BOOLEAN)]),
    Function::item("allTrue", A_BOOLEAN, |at| {
        boolean(booleans(at)?.into_iter().all(|value| value))
    }),
    Function::item("allFalse", A_BOOLEAN, |at| {
        boolean(booleans(at)?.into_iter().all(|value| !value))
    }),
    Function::item("anyTrue", A_BOOLEAN, |at| {
        boolean(booleans(at)?.into_iter().any(|value| value))
    }),
    Function::item("anyFalse", A_BOOLEAN, |at| {
        boolean(booleans(at)?.into_iter().any(|value| !value))
    }),
    Function::item("subsetOf", A_BOOLEAN, |at| {
        boolean(is_subset(at, &at.input()?, &at.argument(0)?)?)
    })
    .taking(&[Parameter::Value(ANYTHING)]),
    Function::item("supersetOf", A_BOOLEAN, |at| {
        boolean(is_subset(at, &at.argument(0)?, &at.input()?)?)
    })
    .taking(&[Parameter::Value(ANYTHING)]),
    Function::item("isDistinct", A_BOOLEAN, is_distinct),
    Function::items("distinct", Gives::Input, distinct),
];

fn boolean<'a>(value: bool) -> OneItem<'a> {
    Ok(Some(Item::Boolean(value)))
}

fn count_to(at: &At<'_, '_, '_>, at_most: usize) -> Result<usize> {
    at.evaluation.count(&at.call.input, at.scope, at_most)
}

fn exists<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    if at.arguments() == 0 {
        return boolean(count_to(at, 1)? > 0);
    }
    for (index, item) in at.input()?.iter().enumerate() {
        if at.holds_for(item, index)? {
            return boolean(true);
        }
    }
    boolean(false)
}

fn not<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let truth = at.evaluation.truth(&at.call.input, at.scope, at.call.position)?;
    Ok(truth.map(|truth| Item::Boolean(!truth)))
}

fn all<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    for (index, item) in at.input()?.iter().enumerate() {
        if !at.holds_for(item, index)? {
            return boolean(false);
        }
    }
    boolean(true)
}

/// The input's items as Booleans; an item that is none is an error.
fn booleans(at: &At<'_, '_, '_>) -> Result<Vec<bool>> {
    let mut booleans = Vec::new();
    for item in &at.input()? {
        match at.evaluation.system(item) {
            Some(Item::Boolean(value)) => booleans.push(value),
            None if at.evaluation.is_valueless(item) => {}
            _ => return Err(at.wrong_input(item, "Boolean")),
        }
    }
    Ok(booleans)
}

fn is_subset<'a>(at: &At<'_, '_, 'a>, part: &[Item<'a>], whole: &[Item<'a>]) -> Result<bool> {
    for item in part {
        if !at.evaluation.contains(whole, item, at.call.position)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_distinct<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let firsts = at.evaluation.firsts(&at.input()?, at.call.position)?;
    boolean(firsts.into_iter().all(|first| first))
}

fn distinct<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    out.extend(at.evaluation.distinct(at.input()?, at.call.position)?);
    Ok(())
}
