//! The tree that the parser makes of a text: what was written, before any type is known.

use std::fmt;

use super::values::Quantity;
use super::values::{Date, DateTime, Decimal, Time};

/// One expression and the byte offset in the source where it starts (a binary one: where its operator stands).
#[derive(Debug, Clone)]
pub struct Expr {
    pub kind: ExprKind,
    pub position: usize,
}

#[derive(Debug, Clone)]
pub enum ExprKind {
    Literal(Literal),
    /// `{}`
    Empty,
    /// `%name`
    Variable(String),
    /// `$this`
    This,
    /// `$index`
    Index,
    /// `$total`
    Total,
    /// `base.name`; without a base the name is looked up on `$this` (or names its type: `Patient.name`).
    Member {
        base: Option<Box<Expr>>,
        name: String,
    },
    /// `base.name(arguments)`; without a base the input is `$this`.
    Call {
        base: Option<Box<Expr>>,
        name: String,
        arguments: Vec<Expr>,
    },
    /// `base[index]`
    Indexer {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    /// `x is T`, `x.is(T)`, `x as T`, `x.as(T)`, `x.ofType(T)`; without an operand the input is `$this`.
    Type {
        operation: TypeOperation,
        operand: Option<Box<Expr>>,
        name: TypeName,
    },
    /// `-x`; `+x` is parsed as a [`UnaryOperator::Plus`] because it demands a number, too.
    Unary {
        operator: UnaryOperator,
        operand: Box<Expr>,
    },
    Binary {
        operator: BinaryOperator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
}

#[derive(Debug, Clone)]
pub enum Literal {
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    String(String),
    Date(Date),
    DateTime(DateTime),
    Time(Time),
    Quantity(Quantity),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeOperation {
    Is,
    As,
    OfType,
}

/// A type as written: `Patient`, `FHIR.Patient`, `System.Boolean`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    Multiply,
    Divide,
    IntegerDivide,
    Modulo,
    Add,
    Subtract,
    Concatenate,
    Union,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    In,
    Contains,
    And,
    Or,
    Xor,
    Implies,
}

impl BinaryOperator {
    /// As it is written in an expression.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::IntegerDivide => "div",
            BinaryOperator::Modulo => "mod",
            BinaryOperator::Add => "+",
            BinaryOperator::Subtract => "-",
            BinaryOperator::Concatenate => "&",
            BinaryOperator::Union => "|",
            BinaryOperator::Less => "<",
            BinaryOperator::LessOrEqual => "<=",
            BinaryOperator::Greater => ">",
            BinaryOperator::GreaterOrEqual => ">=",
            BinaryOperator::Equal => "=",
            BinaryOperator::NotEqual => "!=",
            BinaryOperator::Equivalent => "~",
            BinaryOperator::NotEquivalent => "!~",
            BinaryOperator::In => "in",
            BinaryOperator::Contains => "contains",
            BinaryOperator::And => "and",
            BinaryOperator::Or => "or",
            BinaryOperator::Xor => "xor",
            BinaryOperator::Implies => "implies",
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
