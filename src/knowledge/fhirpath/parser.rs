//! Tokens → [`Expr`]: a Pratt parser over the precedence table of <http://hl7.org/fhirpath/N1/#operator-precedence>.

use super::CompileError;
use super::ast::{BinaryOperator, Expr, ExprKind, Literal, TypeName, TypeOperation, UnaryOperator};
use super::lexer::{Token, tokenize};
use super::values::{CalendarUnit, Date, DateTime, Decimal, Quantity, Time, Unit};

/// The longest source that is read, in bytes. The longest expression of R4 has 1,386.
pub const MAX_SOURCE_LENGTH: usize = 64 * 1024;

/// How many operators and calls may stand inside or behind each other. Evaluation recurses as deep as the tree, so this
/// bounds the stack that a hostile expression can claim. A union over R4's resource types is 32 deep.
pub const MAX_DEPTH: usize = 128;

/// The largest Integer; larger numbers must be written as Decimals (<http://hl7.org/fhirpath/N1/#integer>).
const MAX_INTEGER: i64 = i32::MAX as i64;

/// Precedence of the prefix operators `+` and `-`: below member access and indexers, above everything else.
const UNARY: u8 = 11;
/// Precedence of `is` and `as`.
const TYPE: u8 = 8;

pub fn parse(source: &str) -> Result<Expr, CompileError> {
    if source.len() > MAX_SOURCE_LENGTH {
        return Err(CompileError::new(
            0,
            format!("an expression may have at most {MAX_SOURCE_LENGTH} bytes"),
        ));
    }
    let mut parser = Parser {
        tokens: tokenize(source)?,
        at: 0,
        nesting: 0,
    };
    let parsed = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(parsed.expr),
        _ => Err(parser.unexpected("the end or an operator")),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    /// How many calls of `expression` are open.
    nesting: usize,
}

/// An expression with the depth of its tree.
struct Parsed {
    expr: Expr,
    depth: usize,
}

impl Parsed {
    fn leaf(kind: ExprKind, position: usize) -> Parsed {
        Parsed {
            expr: Expr { kind, position },
            depth: 1,
        }
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn position(&self) -> usize {
        self.tokens[self.at].1
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), CompileError> {
        match self.accept(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("“{symbol}”"))),
        }
    }

    fn unexpected(&self, expected: &str) -> CompileError {
        let found = match self.peek() {
            Token::End => "the expression ends".to_owned(),
            Token::Name(name) | Token::QuotedName(name) => format!("“{name}” stands"),
            Token::Symbol(symbol) => format!("“{symbol}” stands"),
            Token::Variable(_) => "a variable stands".to_owned(),
            Token::Special(name) => format!("${name} stands"),
            _ => "a literal stands".to_owned(),
        };
        CompileError::new(self.position(), format!("{found} where {expected} is expected"))
    }

    /// Wraps `depth` (that of the deepest part) into a node one deeper.
    fn node(&self, kind: ExprKind, position: usize, depth: usize) -> Result<Parsed, CompileError> {
        if depth >= MAX_DEPTH {
            return Err(CompileError::new(
                position,
                format!("the expression is nested more than {MAX_DEPTH} deep"),
            ));
        }
        Ok(Parsed {
            expr: Expr { kind, position },
            depth: depth + 1,
        })
    }

    /// Everything that binds tighter than `minimum`.
    fn expression(&mut self, minimum: u8) -> Result<Parsed, CompileError> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            let message = format!("the expression is nested more than {MAX_DEPTH} deep");
            return Err(CompileError::new(self.position(), message));
        }
        let mut left = self.operand()?;
        loop {
            let position = self.position();
            if let Some(operation) = self.type_operator()
                && TYPE > minimum
            {
                self.at += 1;
                let name = self.type_name()?;
                let kind = ExprKind::Type {
                    operation,
                    operand: Some(Box::new(left.expr)),
                    name,
                };
                left = self.node(kind, position, left.depth)?;
                continue;
            }
            match self.binary_operator() {
                Some((operator, precedence)) if precedence > minimum => {
                    self.at += 1;
                    let right = self.expression(precedence)?;
                    let depth = left.depth.max(right.depth);
                    let (left_expr, right_expr) = (Box::new(left.expr), Box::new(right.expr));
                    let kind = ExprKind::Binary {
                        operator,
                        left: left_expr,
                        right: right_expr,
                    };
                    left = self.node(kind, position, depth)?;
                }
                _ => break,
            }
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn type_operator(&self) -> Option<TypeOperation> {
        match self.peek() {
            Token::Name(name) if name == "is" => Some(TypeOperation::Is),
            Token::Name(name) if name == "as" => Some(TypeOperation::As),
            _ => None,
        }
    }

    fn binary_operator(&self) -> Option<(BinaryOperator, u8)> {
        use BinaryOperator::*;
        let text = match self.peek() {
            Token::Symbol(symbol) => symbol,
            Token::Name(name) => name.as_str(),
            _ => return None,
        };
        Some(match text {
            "*" => (Multiply, 10),
            "/" => (Divide, 10),
            "div" => (IntegerDivide, 10),
            "mod" => (Modulo, 10),
            "+" => (Add, 9),
            "-" => (Subtract, 9),
            "&" => (Concatenate, 9),
            "|" => (Union, 7),
            "<" => (Less, 6),
            "<=" => (LessOrEqual, 6),
            ">" => (Greater, 6),
            ">=" => (GreaterOrEqual, 6),
            "=" => (Equal, 5),
            "!=" => (NotEqual, 5),
            "~" => (Equivalent, 5),
            "!~" => (NotEquivalent, 5),
            "in" => (In, 4),
            "contains" => (Contains, 4),
            "and" => (And, 3),
            "or" => (Or, 2),
            "xor" => (Xor, 2),
            "implies" => (Implies, 1),
            _ => return None,
        })
    }

    /// A sign and its operand, or a term with the members, calls and indexers behind it.
    fn operand(&mut self) -> Result<Parsed, CompileError> {
        let position = self.position();
        let operator = match self.peek() {
            Token::Symbol("-") => Some(UnaryOperator::Minus),
            Token::Symbol("+") => Some(UnaryOperator::Plus),
            _ => None,
        };
        if let Some(operator) = operator {
            self.at += 1;
            let operand = self.expression(UNARY)?;
            let kind = ExprKind::Unary {
                operator,
                operand: Box::new(operand.expr),
            };
            return self.node(kind, position, operand.depth);
        }
        let mut left = self.term()?;
        loop {
            let position = self.position();
            if self.accept(".") {
                let position = self.position();
                left = self.invocation(Some(left), position)?;
            } else if self.accept("[") {
                let index = self.expression(0)?;
                self.expect("]")?;
                let depth = left.depth.max(index.depth);
                let kind = ExprKind::Indexer {
                    base: Box::new(left.expr),
                    index: Box::new(index.expr),
                };
                left = self.node(kind, position, depth)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Parsed, CompileError> {
        let position = self.position();
        let literal = |literal| Ok(Parsed::leaf(ExprKind::Literal(literal), position));
        match self.peek().clone() {
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("{") => {
                self.at += 1;
                self.expect("}")?;
                Ok(Parsed::leaf(ExprKind::Empty, position))
            }
            Token::Name(name) if name == "true" || name == "false" => {
                self.at += 1;
                literal(Literal::Boolean(name == "true"))
            }
            Token::Name(_) | Token::QuotedName(_) | Token::Special(_) => self.invocation(None, position),
            Token::Variable(name) => {
                self.at += 1;
                Ok(Parsed::leaf(ExprKind::Variable(name), position))
            }
            Token::String(text) => {
                self.at += 1;
                literal(Literal::String(text))
            }
            Token::Integer(text) | Token::Decimal(text) => {
                self.at += 1;
                literal(self.number(&text, position)?)
            }
            Token::Date(text) => {
                self.at += 1;
                let date = Date::parse(&text);
                literal(Literal::Date(
                    date.ok_or_else(|| CompileError::new(position, "this date does not exist"))?,
                ))
            }
            Token::DateTime(text) => {
                self.at += 1;
                let parsed = DateTime::parse(&text);
                let wrong = || CompileError::new(position, "this date and time do not exist");
                literal(Literal::DateTime(parsed.ok_or_else(wrong)?))
            }
            Token::Time(text) => {
                self.at += 1;
                let time = Time::parse(&text);
                literal(Literal::Time(
                    time.ok_or_else(|| CompileError::new(position, "this time does not exist"))?,
                ))
            }
            _ => Err(self.unexpected("a value, a name or “(”")),
        }
    }

    /// A number, or a quantity when a unit follows: `4 'mg'`, `4 days`.
    fn number(&mut self, text: &str, position: usize) -> Result<Literal, CompileError> {
        let too_large = || CompileError::new(position, "this number is too large");
        let value = Decimal::parse(text).ok_or_else(too_large)?;
        let unit = match self.peek() {
            Token::String(code) => Some(Unit::Ucum(code.as_str().into())),
            Token::Name(word) => CalendarUnit::parse(word).map(Unit::Calendar),
            _ => None,
        };
        if let Some(unit) = unit {
            self.at += 1;
            return Ok(Literal::Quantity(Quantity::new(value, unit)));
        }
        if text.contains('.') {
            return Ok(Literal::Decimal(value));
        }
        let integer = value.to_i64().filter(|&integer| integer <= MAX_INTEGER);
        Ok(Literal::Integer(integer.ok_or_else(too_large)?))
    }

    /// A member or a call, `base` being what stands before the dot.
    fn invocation(&mut self, base: Option<Parsed>, position: usize) -> Result<Parsed, CompileError> {
        let name = match self.peek().clone() {
            Token::Special(name) if base.is_none() => {
                self.at += 1;
                let kind = match name.as_str() {
                    "this" => ExprKind::This,
                    "index" => ExprKind::Index,
                    _ => ExprKind::Total,
                };
                return Ok(Parsed::leaf(kind, position));
            }
            Token::Name(name) | Token::QuotedName(name) => name,
            _ => return Err(self.unexpected("the name of an element or function")),
        };
        self.at += 1;
        let (base, mut depth) = match base {
            Some(base) => (Some(Box::new(base.expr)), base.depth),
            None => (None, 0),
        };
        if !self.accept("(") {
            return self.node(ExprKind::Member { base, name }, position, depth);
        }
        let type_operation = match name.as_str() {
            "is" => Some(TypeOperation::Is),
            "as" => Some(TypeOperation::As),
            "ofType" => Some(TypeOperation::OfType),
            _ => None,
        };
        if let Some(operation) = type_operation {
            let name = self.type_name()?;
            self.expect(")")?;
            return self.node(
                ExprKind::Type {
                    operation,
                    operand: base,
                    name,
                },
                position,
                depth,
            );
        }
        let mut arguments = Vec::new();
        while !self.is_symbol(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            let argument = self.expression(0)?;
            depth = depth.max(argument.depth);
            arguments.push(argument.expr);
        }
        self.expect(")")?;
        self.node(ExprKind::Call { base, name, arguments }, position, depth)
    }

    fn type_name(&mut self) -> Result<TypeName, CompileError> {
        let first = self.type_name_part()?;
        if !self.accept(".") {
            return Ok(TypeName {
                namespace: None,
                name: first,
            });
        }
        Ok(TypeName {
            namespace: Some(first),
            name: self.type_name_part()?,
        })
    }

    fn type_name_part(&mut self) -> Result<String, CompileError> {
        match self.peek().clone() {
            Token::Name(name) | Token::QuotedName(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("the name of a type")),
        }
    }
}
