//! Filtering, projection and iteration (<http://hl7.org/fhirpath/N1/#filtering-and-projection>), `aggregate`, `iif`,
//! `trace` and `sort`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::slice;

use super::{ANYTHING, At, BOOLEAN, Function, Gives, Parameter, Result, STRING};
use crate::knowledge::fhirpath::ast::UnaryOperator;
use crate::knowledge::fhirpath::eval::Scope;
use crate::knowledge::fhirpath::item::{Collection, Item};
use crate::knowledge::fhirpath::tree::Tree;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::items("where", Gives::Input, filter).taking(&[Parameter::Each(BOOLEAN)]),
    Function::items("select", Gives::Argument, select).taking(&[Parameter::Each(ANYTHING)]),
    Function::items("repeat", Gives::Argument, repeat).taking(&[Parameter::Each(ANYTHING)]),
    Function::items("aggregate", Gives::Unknown, aggregate)
        .taking(&[Parameter::Each(ANYTHING), Parameter::Value(ANYTHING)])
        .requiring(1),
    Function::items("iif", Gives::Branches, iif)
        .taking(&[
            Parameter::Input(BOOLEAN),
            Parameter::Input(ANYTHING),
            Parameter::Input(ANYTHING),
        ])
        .requiring(2),
    Function::items("trace", Gives::Input, trace)
        .taking(&[Parameter::Value(STRING), Parameter::Each(ANYTHING)])
        .requiring(1),
    Function::items("sort", Gives::Input, sort)
        .taking(&[Parameter::Each(ANYTHING)])
        .requiring(0)
        .repeating(),
];

fn filter<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    for (index, item) in at.input()?.into_iter().enumerate() {
        if at.holds_for(&item, index)? {
            out.push(item);
        }
    }
    Ok(())
}

fn select<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    for (index, item) in at.input()?.iter().enumerate() {
        at.evaluation
            .evaluate(&at.call.arguments[0], &at.scope.each(item, index), out)?;
    }
    Ok(())
}

/// Applies the projection to its own results until nothing new appears. A value that equals an earlier one is not new,
/// nor is an element met before: so a projection that runs in circles ends. One that counts up for ever ends with the
/// budget. Elements are known apart by their places in the resource, which is quicker than by their contents.
fn repeat<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let mut places = HashSet::new();
    let mut values = Collection::new();
    let mut input = at.input()?;
    while !input.is_empty() {
        let mut fresh = Collection::new();
        for (index, item) in input.iter().enumerate() {
            let scope = at.scope.each(item, index);
            for result in at.evaluation.collect(&at.call.arguments[0], &scope)? {
                at.evaluation.spend(1, at.call.position)?;
                let is_new = match result.as_element() {
                    Some(element) => places.insert(element.place()),
                    None => !at.evaluation.contains(&values, &result, at.call.position)?,
                };
                if is_new {
                    if result.as_element().is_none() {
                        values.push(result.clone());
                    }
                    out.push(result.clone());
                    fresh.push(result);
                }
            }
        }
        input = fresh;
    }
    Ok(())
}

fn aggregate<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let mut total = match at.arguments() {
        2 => at.argument(1)?,
        _ => Collection::new(),
    };
    for (index, item) in at.input()?.iter().enumerate() {
        let scope = Scope {
            this: slice::from_ref(item),
            index: Some(index),
            total: &total,
        };
        let next = at.evaluation.collect(&at.call.arguments[0], &scope)?;
        at.evaluation.spend(next.len(), at.call.position)?;
        total = next;
    }
    out.extend(total);
    Ok(())
}

/// Evaluates only the branch that is taken.
fn iif<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let input = at.input()?;
    at.evaluation.single(&input, at.call.position)?;
    let scope = Scope {
        this: &input,
        ..*at.scope
    };
    let truth = at.evaluation.truth(&at.call.arguments[0], &scope, at.call.position)?;
    let branch = if truth == Some(true) { 1 } else { 2 };
    match at.call.arguments.get(branch) {
        Some(branch) => at.evaluation.evaluate(branch, &scope, out),
        None => Ok(()),
    }
}

fn trace<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let input = at.input()?;
    if let Some(sink) = at.evaluation.environment.trace {
        let name = at.text_argument(0)?.unwrap_or_default();
        match at.call.arguments.get(1) {
            None => sink(&name, &input),
            Some(projection) => {
                let mut shown = Collection::new();
                for (index, item) in input.iter().enumerate() {
                    at.evaluation
                        .evaluate(projection, &at.scope.each(item, index), &mut shown)?;
                }
                sink(&name, &shown);
            }
        }
    }
    out.extend(input);
    Ok(())
}

/// By natural order, or by the keys in the arguments; a minus sign before a key reverses its order.
fn sort<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let input = at.input()?;
    let mut rows = Vec::with_capacity(input.len());
    for (index, item) in input.into_iter().enumerate() {
        let mut keys = Vec::with_capacity(at.arguments());
        for argument in &at.call.arguments {
            let key = match argument {
                Tree::Unary {
                    operator: UnaryOperator::Minus,
                    operand,
                    ..
                } => operand,
                key => key,
            };
            let key = at.evaluation.collect(key, &at.scope.each(&item, index))?;
            at.evaluation.single(&key, at.call.position)?;
            keys.push(key.into_iter().next());
        }
        rows.push((keys, item));
    }
    let mut failure = None;
    rows.sort_by(|(left_keys, left), (right_keys, right)| {
        let compared = match at.call.arguments.is_empty() {
            true => at
                .evaluation
                .compare(left, right, at.call.position)
                .map(|ordering| ordering.unwrap_or(Ordering::Equal)),
            false => by_keys(at, left_keys, right_keys),
        };
        compared.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            Ordering::Equal
        })
    });
    match failure {
        Some(error) => Err(error),
        None => {
            out.extend(rows.into_iter().map(|(_, item)| item));
            Ok(())
        }
    }
}

fn by_keys<'a>(at: &At<'_, '_, 'a>, left: &[Option<Item<'a>>], right: &[Option<Item<'a>>]) -> Result<Ordering> {
    for ((argument, left), right) in at.call.arguments.iter().zip(left).zip(right) {
        at.evaluation.spend(1, at.call.position)?;
        let ordering = match (left, right) {
            (Some(left), Some(right)) => at
                .evaluation
                .compare(left, right, at.call.position)?
                .unwrap_or(Ordering::Equal),
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (None, None) => Ordering::Equal,
        };
        let is_descending = matches!(
            argument,
            Tree::Unary {
                operator: UnaryOperator::Minus,
                ..
            }
        );
        if ordering.is_ne() {
            return Ok(if is_descending { ordering.reverse() } else { ordering });
        }
    }
    Ok(Ordering::Equal)
}
