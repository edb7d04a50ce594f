//! The resolved form of an expression: names have become places in the element model, functions have been found.

use regex::Regex;

use super::ast::{BinaryOperator, TypeOperation, UnaryOperator};
use super::functions::Function;
use super::item::Item;
use super::model::Access;
use super::types::TypeSpecifier;
use crate::knowledge::definitions::TypeId;

#[derive(Debug)]
pub(super) enum Tree {
    Empty,
    Constant(Item<'static>),
    Text(Box<str>),
    This,
    Index,
    Total,
    Variable {
        variable: Variable,
        position: usize,
    },
    /// A type's name at the start of a path, `Patient.name`: `$this` if it is one, else nothing.
    Root(TypeId),
    /// `base` and the steps behind it, walked in one go.
    Path {
        base: Box<Tree>,
        steps: Vec<Step>,
        position: usize,
    },
    Indexer {
        base: Box<Tree>,
        index: Box<Tree>,
        position: usize,
    },
    Type(Box<TypeTest>),
    Unary {
        operator: UnaryOperator,
        operand: Box<Tree>,
        position: usize,
    },
    Binary(Box<Binary>),
    Call(Box<Call>),
}

#[derive(Debug)]
pub(super) enum Variable {
    Context,
    Resource,
    RootResource,
    /// Given by the caller.
    Other(String),
}

#[derive(Debug)]
pub(super) enum Step {
    Member {
        name: Box<str>,
        accesses: &'static [(TypeId, Access)],
    },
    Children,
    Descendants,
}

#[derive(Debug)]
pub(super) struct TypeTest {
    pub operation: TypeOperation,
    pub operand: Tree,
    pub specifier: TypeSpecifier,
    /// Whether `as` keeps what fits of several items instead of refusing them; see the module's documentation.
    pub filters: bool,
    pub position: usize,
}

#[derive(Debug)]
pub(super) struct Binary {
    pub operator: BinaryOperator,
    pub left: Tree,
    pub right: Tree,
    pub position: usize,
}

#[derive(Debug)]
pub(super) struct Call {
    pub function: &'static Function,
    pub input: Tree,
    pub arguments: Vec<Tree>,
    /// The first argument of `matches`, `matchesFull` or `replaceMatches`, if it is a literal.
    pub regex: Option<Regex>,
    pub position: usize,
}

impl Tree {
    /// The text of a string literal.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }
}
