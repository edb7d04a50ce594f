//! FHIRPath (<http://hl7.org/fhirpath/N1>) with FHIR's functions (<https://hl7.org/fhir/R4/fhirpath.html>).
//!
//! An expression is compiled once: [`lexer`] → [`parser`] → [`ast`] → [`compile`], which resolves names against the
//! element model and infers types → [`tree`]. [`eval`] then walks the tree over borrowed JSON; no JSON is cloned.
//! [`values`] holds the exact numbers, partial dates and quantities, [`functions`] one file per family of functions.
//!
//! Where the specification leaves room, or R4's own invariants and the official test suite bend it:
//!
//! * `as` demands a single item where the input has one static type, as the specification says. Where the input is a
//!   choice (`value`) or unknown (`descendants()`), it filters: search parameters and the invariant dom-3 need that.
//! * `as` and `ofType` compare primitive types exactly (a `code` is not taken for a `string`), `is` by inheritance.
//! * An empty sort key counts as greater than every other one.
//! * `matches` and `replaceMatches` take the syntax of the `regex` crate, which runs in linear time: no look-around and
//!   no back references.
//! * `elementDefinition` and `slice` are refused: they need the snapshots of profiles.
//!
//! docs/fhirpath.md lists how the official suite fares.

mod arithmetic;
pub mod ast;
mod comparison;
mod compile;
mod environment;
mod eval;
mod functions;
mod item;
mod lexer;
mod model;
pub mod parser;
mod system;
mod tree;
mod types;
pub mod values;

use std::fmt;

pub use environment::{DEFAULT_BUDGET, Environment, Resolver, TraceSink};
pub use item::{Collection, Element, Item, TypeInfo};

use super::definitions::{Definitions, TypeId};

/// A compiled expression, cheap to share between threads.
#[derive(Debug)]
pub struct Expression {
    tree: tree::Tree,
    model: &'static model::Model,
}

impl Expression {
    /// Compiles for an input of any type. What can be known to fail on every input is refused; the name of an element
    /// that the input does not have gives an empty collection when evaluated.
    pub fn compile(source: &str, definitions: &'static Definitions) -> Result<Expression, CompileError> {
        let model = model::Model::of(definitions);
        Ok(Expression {
            tree: compile::compile(&parser::parse(source)?, model, None)?,
            model,
        })
    }

    /// Compiles for an input of type `context`, and refuses what does not fit the element model: unknown elements,
    /// operands and arguments of a wrong type, functions that need an order on an input that has none.
    pub fn compile_strict(
        source: &str,
        context: TypeId,
        definitions: &'static Definitions,
    ) -> Result<Expression, CompileError> {
        let model = model::Model::of(definitions);
        Ok(Expression {
            tree: compile::compile(&parser::parse(source)?, model, Some(context))?,
            model,
        })
    }

    /// As [`compile`](Expression::compile), from a tree: a part of a larger expression.
    pub fn of(tree: &ast::Expr, definitions: &'static Definitions) -> Result<Expression, CompileError> {
        let model = model::Model::of(definitions);
        Ok(Expression {
            tree: compile::compile(tree, model, None)?,
            model,
        })
    }

    /// The result for one input item. Ends in an error rather than without end: see [`Environment::budget`].
    pub fn evaluate<'a>(
        &'a self,
        focus: &Item<'a>,
        environment: &Environment<'a>,
    ) -> Result<Collection<'a>, EvaluationError> {
        eval::Evaluation::new(self.model, environment, focus).run(&self.tree)
    }

    /// Whether the result is true: how an invariant is read
    /// (<http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections>). An empty result is `None`, which breaks no
    /// invariant: R4's ref-1 has an empty result for a Reference without `reference`.
    pub fn holds<'a>(
        &'a self,
        focus: &Item<'a>,
        environment: &Environment<'a>,
    ) -> Result<Option<bool>, EvaluationError> {
        eval::Evaluation::new(self.model, environment, focus).holds(&self.tree)
    }
}

/// What an item of a result is, as far as that is known before anything is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType {
    /// A place in the input, or a boolean, which FHIR and FHIRPath have alike.
    Element(TypeId),
    /// A value that the expression makes, by the name of its type in FHIRPath.
    Computed(&'static str),
}

/// The types that the items of a result may have, for an input of type `context`; `None` if anything is possible.
///
/// # Errors
/// As [`Expression::compile_strict`].
pub fn result_types(
    tree: &ast::Expr,
    context: TypeId,
    definitions: &'static Definitions,
) -> Result<Option<Vec<ResultType>>, CompileError> {
    let model = model::Model::of(definitions);
    let typing = compile::typing(tree, model, context)?;
    let result_type = |ty: &types::Type| match ty {
        types::Type::Fhir(id) => ResultType::Element(*id),
        types::Type::System(types::SystemType::Boolean) => definitions
            .type_id("boolean")
            .map_or(ResultType::Computed("Boolean"), ResultType::Element),
        types::Type::System(system) => ResultType::Computed(system.name()),
    };
    Ok(typing.types.map(|types| types.iter().map(result_type).collect()))
}

/// Why a text is no valid expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Byte offset in the source.
    pub position: usize,
    /// Completes a sentence that begins with the position; has no data of patients.
    pub message: String,
}

/// Why a valid expression has no result for this input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationError {
    /// Byte offset in the source of the operator or function that failed.
    pub position: usize,
    /// Names types and functions, never values: it may be logged.
    pub message: String,
}

impl CompileError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        CompileError {
            position,
            message: message.into(),
        }
    }
}

impl EvaluationError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        EvaluationError {
            position,
            message: message.into(),
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.message)
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.message)
    }
}

impl std::error::Error for CompileError {}
impl std::error::Error for EvaluationError {}

#[cfg(test)]
mod tests;
