//! Subsetting and combining (<http://hl7.org/fhirpath/N1/#subsetting>, <http://hl7.org/fhirpath/N1/#combining>).

use super::{ANYTHING, At, Function, Gives, INTEGER, OneItem, Parameter, Result};
use crate::knowledge::fhirpath::item::Collection;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("single", Gives::InputItem, |at| at.input_item()),
    Function::item("first", Gives::InputItem, |at| Ok(at.input()?.into_iter().next())).ordered(),
    Function::item("last", Gives::InputItem, last).ordered(),
    Function::items("tail", Gives::Input, |at, out| slice(at, out, 1, usize::MAX)).ordered(),
    Function::items("skip", Gives::Input, skip)
        .taking(&[Parameter::Value(INTEGER)])
        .ordered(),
    Function::items("take", Gives::Input, take)
        .taking(&[Parameter::Value(INTEGER)])
        .ordered(),
    Function::items("intersect", Gives::Input, intersect).taking(&[Parameter::Value(ANYTHING)]),
    Function::items("exclude", Gives::Input, exclude).taking(&[Parameter::Value(ANYTHING)]),
    Function::items("union", Gives::InputAndArgument, union).taking(&[Parameter::Value(ANYTHING)]),
    Function::items("combine", Gives::InputAndArgument, combine).taking(&[Parameter::Value(ANYTHING)]),
];

fn last<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    Ok(at.input()?.pop())
}

fn slice<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>, skipped: usize, taken: usize) -> Result<()> {
    out.extend(at.input()?.into_iter().skip(skipped).take(taken));
    Ok(())
}

fn skip<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    match at.integer_argument(0)? {
        Some(number) => slice(at, out, usize::try_from(number).unwrap_or(0), usize::MAX),
        None => Ok(()),
    }
}

fn take<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    match at.integer_argument(0)? {
        Some(number) => slice(at, out, 0, usize::try_from(number).unwrap_or(0)),
        None => Ok(()),
    }
}

fn intersect<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let other = at.argument(0)?;
    for item in at.evaluation.distinct(at.input()?, at.call.position)? {
        if at.evaluation.contains(&other, &item, at.call.position)? {
            out.push(item);
        }
    }
    Ok(())
}

fn exclude<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let other = at.argument(0)?;
    for item in at.input()? {
        if !at.evaluation.contains(&other, &item, at.call.position)? {
            out.push(item);
        }
    }
    Ok(())
}

fn union<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let mut both = at.input()?;
    both.extend(at.argument(0)?);
    out.extend(at.evaluation.distinct(both, at.call.position)?);
    Ok(())
}

fn combine<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    out.extend(at.input()?);
    out.extend(at.argument(0)?);
    Ok(())
}
