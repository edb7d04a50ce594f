//! The functions, one file per family. Each file begins with its table: name, parameters, what is known about the
//! result, and the Rust function that does it.

mod collections;
mod conversion;
mod existence;
mod fhir;
mod filtering;
mod html;
mod math;
mod strings;
mod temporal;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::EvaluationError;
use super::eval::{Evaluation, Scope};
use super::item::{Collection, Item};
use super::tree::Call;
use super::types::SystemType;

pub(super) use strings::compile_regex;

/// The longest text, in bytes, that an expression may make.
pub(super) const MAX_TEXT: usize = 4 * 1024 * 1024;

/// Everything about a function that the compiler and the evaluation need.
pub(super) struct Function {
    pub name: &'static str,
    /// What an input item must be or convert to.
    pub input: Accepts,
    pub parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    pub required: usize,
    /// Whether the last parameter may be given any number of times.
    pub repeats: bool,
    pub result: Gives,
    /// Whether the result depends on the order of the input.
    pub needs_order: bool,
    evaluate: Evaluate,
}

enum Evaluate {
    /// Gives one item or none.
    Item(for<'s, 'e, 'a> fn(&At<'s, 'e, 'a>) -> OneItem<'a>),
    /// Appends any number of items.
    Items(for<'s, 'e, 'a> fn(&At<'s, 'e, 'a>, &mut Collection<'a>) -> Result<()>),
}

type Result<T> = std::result::Result<T, EvaluationError>;
type OneItem<'a> = Result<Option<Item<'a>>>;

/// One call of a function while it is evaluated.
pub(super) struct At<'s, 'e, 'a> {
    pub evaluation: &'s Evaluation<'e, 'a>,
    pub call: &'a Call,
    pub scope: &'s Scope<'s, 'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Accepts {
    Anything,
    System(&'static [SystemType]),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Parameter {
    /// Evaluated once, where the function is called.
    Value(Accepts),
    /// Evaluated for each input item, which `$this` then is.
    Each(Accepts),
    /// Evaluated with the whole input (one item at most) as `$this`: `iif`.
    Input(Accepts),
}

/// What is known about a function's result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    Unknown,
    One(SystemType),
    Many(SystemType),
    /// Items of the input.
    Input,
    /// One item of the input.
    InputItem,
    /// What the first argument gives for each item.
    Argument,
    /// Items of the input and of the first argument.
    InputAndArgument,
    /// What the second or third argument gives.
    Branches,
    /// Extensions.
    Extensions,
}

pub(super) const ANYTHING: Accepts = Accepts::Anything;
pub(super) const BOOLEAN: Accepts = Accepts::System(&[SystemType::Boolean]);
pub(super) const INTEGER: Accepts = Accepts::System(&[SystemType::Integer]);
pub(super) const STRING: Accepts = Accepts::System(&[SystemType::String]);
pub(super) const NUMBER: Accepts = Accepts::System(&[SystemType::Integer, SystemType::Decimal, SystemType::Quantity]);
pub(super) const BOUNDED: Accepts = Accepts::System(&[
    SystemType::Integer,
    SystemType::Decimal,
    SystemType::Quantity,
    SystemType::Date,
    SystemType::DateTime,
    SystemType::Time,
]);
pub(super) const QUANTITY: Accepts = NUMBER;

impl Function {
    /// A function of any input without parameters that gives at most one item; the builders below refine it.
    const fn item(
        name: &'static str,
        result: Gives,
        evaluate: for<'s, 'e, 'a> fn(&At<'s, 'e, 'a>) -> OneItem<'a>,
    ) -> Function {
        Function::new(name, result, Evaluate::Item(evaluate))
    }

    /// The same for a function that gives any number of items.
    const fn items(
        name: &'static str,
        result: Gives,
        evaluate: for<'s, 'e, 'a> fn(&At<'s, 'e, 'a>, &mut Collection<'a>) -> Result<()>,
    ) -> Function {
        Function::new(name, result, Evaluate::Items(evaluate))
    }

    const fn new(name: &'static str, result: Gives, evaluate: Evaluate) -> Function {
        let (input, parameters) = (ANYTHING, [].as_slice());
        Function {
            name,
            input,
            parameters,
            required: 0,
            repeats: false,
            result,
            needs_order: false,
            evaluate,
        }
    }

    const fn on(mut self, input: Accepts) -> Function {
        self.input = input;
        self
    }

    /// With these parameters, all of them required.
    const fn taking(mut self, parameters: &'static [Parameter]) -> Function {
        self.parameters = parameters;
        self.required = parameters.len();
        self
    }

    /// With only the first `required` parameters required.
    const fn requiring(mut self, required: usize) -> Function {
        self.required = required;
        self
    }

    const fn repeating(mut self) -> Function {
        self.repeats = true;
        self
    }

    const fn ordered(mut self) -> Function {
        self.needs_order = true;
        self
    }

    /// The function of that name.
    pub fn named(name: &str) -> Option<&'static Function> {
        static BY_NAME: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
            let families: [&'static [Function]; 8] = [
                existence::FUNCTIONS,
                filtering::FUNCTIONS,
                collections::FUNCTIONS,
                conversion::FUNCTIONS,
                strings::FUNCTIONS,
                math::FUNCTIONS,
                temporal::FUNCTIONS,
                fhir::FUNCTIONS,
            ];
            families
                .into_iter()
                .flatten()
                .map(|function| (function.name, function))
                .collect()
        });
        BY_NAME.get(name).copied()
    }

    /// Appends the result of a call to `out`.
    pub fn evaluate<'a>(&self, at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
        match self.evaluate {
            Evaluate::Item(evaluate) => out.extend(evaluate(at)?),
            Evaluate::Items(evaluate) => evaluate(at, out)?,
        }
        Ok(())
    }

    /// The parameter that the argument at `index` is for.
    pub fn parameter(&self, index: usize) -> Option<Parameter> {
        match self.repeats {
            true => self.parameters.get(index).or(self.parameters.last()).copied(),
            false => self.parameters.get(index).copied(),
        }
    }
}

impl<'a> At<'_, '_, 'a> {
    pub fn input(&self) -> Result<Collection<'a>> {
        self.evaluation.collect(&self.call.input, self.scope)
    }

    /// The only input item.
    pub fn input_item(&self) -> OneItem<'a> {
        self.only(self.input()?)
    }

    /// The only input item as a value of a System type; a primitive that has none counts as no item.
    pub fn input_value(&self) -> OneItem<'a> {
        Ok(self.input_item()?.and_then(|item| self.evaluation.system(&item)))
    }

    pub fn input_text(&self) -> Result<Option<Cow<'a, str>>> {
        self.text(self.input()?, || format!("the input of {}()", self.call.function.name))
    }

    /// How many arguments the call has.
    pub fn arguments(&self) -> usize {
        self.call.arguments.len()
    }

    /// An argument that is evaluated once.
    pub fn argument(&self, index: usize) -> Result<Collection<'a>> {
        self.evaluation.collect(&self.call.arguments[index], self.scope)
    }

    pub fn text_argument(&self, index: usize) -> Result<Option<Cow<'a, str>>> {
        self.text(self.argument(index)?, || {
            format!("an argument of {}()", self.call.function.name)
        })
    }

    pub fn integer_argument(&self, index: usize) -> Result<Option<i64>> {
        let argument = self.argument(index)?;
        let what = || format!("an argument of {}()", self.call.function.name);
        self.evaluation.integer(&argument, what, self.call.position)
    }

    /// Whether the criterion in the first argument holds for an input item.
    pub fn holds_for(&self, item: &Item<'a>, index: usize) -> Result<bool> {
        let scope = self.scope.each(item, index);
        let truth = self
            .evaluation
            .truth(&self.call.arguments[0], &scope, self.call.position)?;
        Ok(truth == Some(true))
    }

    /// Pays for making a text or collection of that size, and refuses a text longer than [`MAX_TEXT`].
    pub fn check_size(&self, bytes: usize) -> Result<()> {
        if bytes > MAX_TEXT {
            return Err(self.error(format!("a text of more than {MAX_TEXT} bytes would result")));
        }
        self.evaluation.spend(bytes / 64, self.call.position)
    }

    pub fn error(&self, message: impl Into<String>) -> EvaluationError {
        EvaluationError::new(self.call.position, message)
    }

    pub fn wrong_input(&self, item: &Item<'a>, wanted: &str) -> EvaluationError {
        let what = format!("the input of {}()", self.call.function.name);
        self.evaluation.wrong_type(item, &what, wanted, self.call.position)
    }

    fn only(&self, items: Collection<'a>) -> OneItem<'a> {
        self.evaluation.single(&items, self.call.position)?;
        Ok(items.into_iter().next())
    }

    fn text(&self, items: Collection<'a>, what: impl Fn() -> String) -> Result<Option<Cow<'a, str>>> {
        let Some(item) = self.only(items)? else {
            return Ok(None);
        };
        match self.evaluation.system(&item) {
            Some(Item::String(text)) => Ok(Some(text)),
            None if self.evaluation.is_valueless(&item) => Ok(None),
            _ => Err(self.evaluation.wrong_type(&item, &what(), "String", self.call.position)),
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
