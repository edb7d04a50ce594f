//! [`Expr`] → [`Tree`]: names are resolved against the element model and types inferred. Mistakes that make sense for no
//! input are always errors; what merely cannot be right for the given context type is one in strict mode.

use smallvec::SmallVec;

use super::CompileError;
use super::ast::{BinaryOperator, Expr, ExprKind, Literal, TypeName, TypeOperation};
use super::functions::{Accepts, Function, Gives, Parameter, compile_regex};
use super::item::Item;
use super::model::{Model, access_in};
use super::tree::{Binary, Call, Step, Tree, TypeTest, Variable};
use super::types::{SystemType, Type, TypeSpecifier, Typing};
use crate::knowledge::definitions::TypeId;

/// `context` is the type of the input and turns strict mode on.
pub(super) fn compile(expr: &Expr, model: &'static Model, context: Option<TypeId>) -> Result<Tree, CompileError> {
    lower(expr, model, context).map(|(tree, _)| tree)
}

/// What is known about the result for an input of type `context`, in strict mode.
pub(super) fn typing(expr: &Expr, model: &'static Model, context: TypeId) -> Result<Typing, CompileError> {
    lower(expr, model, Some(context)).map(|(_, typing)| typing)
}

fn lower(expr: &Expr, model: &'static Model, context: Option<TypeId>) -> Lowered {
    let context_typing = context
        .map_or_else(Typing::unknown, |id| Typing::one(Type::Fhir(id)))
        .single();
    let compiler = Compiler {
        model,
        strict: context.is_some(),
        context: context_typing.clone(),
    };
    let scope = Scope {
        this: context_typing,
        total: Typing::empty(),
    };
    compiler.lower(expr, &scope)
}

struct Compiler {
    model: &'static Model,
    strict: bool,
    /// Of `%context`.
    context: Typing,
}

/// The types of `$this` and `$total`.
struct Scope {
    this: Typing,
    total: Typing,
}

type Lowered = Result<(Tree, Typing), CompileError>;

impl Compiler {
    fn lower(&self, expr: &Expr, scope: &Scope) -> Lowered {
        let position = expr.position;
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(self.literal(literal)),
            ExprKind::Empty => Ok((Tree::Empty, Typing::empty())),
            ExprKind::This => Ok((Tree::This, scope.this.clone())),
            ExprKind::Index => Ok((Tree::Index, Typing::system(SystemType::Integer))),
            ExprKind::Total => Ok((Tree::Total, scope.total.clone())),
            ExprKind::Variable(name) => Ok(self.variable(name, position)),
            ExprKind::Member { base: None, name } => match self.root(name) {
                Some(type_id) => self.lower_root(type_id, scope, position),
                None => self.member((Tree::This, scope.this.clone()), name, position),
            },
            ExprKind::Member { base: Some(base), name } => self.member(self.lower(base, scope)?, name, position),
            ExprKind::Indexer { base, index } => {
                let (base, typing) = self.lower(base, scope)?;
                let (index, index_typing) = self.lower(index, scope)?;
                self.check_order(&typing, "an index", position)?;
                self.check(
                    &index_typing,
                    Accepts::System(&[SystemType::Integer]),
                    "an index",
                    position,
                )?;
                Ok((
                    Tree::Indexer {
                        base: Box::new(base),
                        index: Box::new(index),
                        position,
                    },
                    typing.single(),
                ))
            }
            ExprKind::Type {
                operation,
                operand,
                name,
            } => self.type_test(*operation, operand.as_deref(), name, scope, position),
            ExprKind::Unary { operator, operand } => {
                let (operand, typing) = self.lower(operand, scope)?;
                self.check(&typing, super::functions::NUMBER, "the operand of a sign", position)?;
                Ok((
                    Tree::Unary {
                        operator: *operator,
                        operand: Box::new(operand),
                        position,
                    },
                    typing.single(),
                ))
            }
            ExprKind::Binary { operator, left, right } => self.binary(*operator, left, right, scope, position),
            ExprKind::Call { base, name, arguments } => self.call(base.as_deref(), name, arguments, scope, position),
        }
    }

    fn literal(&self, literal: &Literal) -> (Tree, Typing) {
        let (item, ty) = match literal {
            Literal::String(text) => return (Tree::Text(text.as_str().into()), Typing::system(SystemType::String)),
            Literal::Boolean(value) => (Item::Boolean(*value), SystemType::Boolean),
            Literal::Integer(value) => (Item::Integer(*value), SystemType::Integer),
            Literal::Decimal(value) => (Item::Decimal(*value), SystemType::Decimal),
            Literal::Date(value) => (Item::Date(*value), SystemType::Date),
            Literal::DateTime(value) => (Item::DateTime(*value), SystemType::DateTime),
            Literal::Time(value) => (Item::Time(*value), SystemType::Time),
            Literal::Quantity(value) => (Item::Quantity(Box::new(value.clone())), SystemType::Quantity),
        };
        (Tree::Constant(item), Typing::system(ty))
    }

    /// <https://hl7.org/fhir/R4/fhirpath.html#variables>
    fn variable(&self, name: &str, position: usize) -> (Tree, Typing) {
        let text = match name {
            "ucum" => Some("http://unitsofmeasure.org".to_owned()),
            "sct" => Some("http://snomed.info/sct".to_owned()),
            "loinc" => Some("http://loinc.org".to_owned()),
            _ => match (name.strip_prefix("vs-"), name.strip_prefix("ext-")) {
                (Some(id), _) => Some(format!("http://hl7.org/fhir/ValueSet/{id}")),
                (_, Some(id)) => Some(format!("http://hl7.org/fhir/StructureDefinition/{id}")),
                _ => None,
            },
        };
        if let Some(text) = text {
            return (Tree::Text(text.into()), Typing::system(SystemType::String));
        }
        let (variable, typing) = match name {
            "context" => (Variable::Context, self.context.clone()),
            "resource" => (Variable::Resource, Typing::unknown().single()),
            "rootResource" => (Variable::RootResource, Typing::unknown().single()),
            _ => (Variable::Other(name.to_owned()), Typing::unknown()),
        };
        (Tree::Variable { variable, position }, typing)
    }

    /// The type that a path may begin with. Elements' names begin with a small letter, and so do primitive types'
    /// names, which therefore are never meant.
    fn root(&self, name: &str) -> Option<TypeId> {
        let is_capital = name.starts_with(|first: char| first.is_ascii_uppercase());
        is_capital.then(|| self.model.definitions.type_id(name)).flatten()
    }

    fn lower_root(&self, type_id: TypeId, scope: &Scope, position: usize) -> Lowered {
        let definitions = self.model.definitions;
        let fits = |ty: &Type| match ty {
            Type::Fhir(this) => definitions.is_a(*this, type_id) || definitions.is_a(type_id, *this),
            Type::System(_) => false,
        };
        if self.strict && scope.this.types.as_ref().is_some_and(|types| !types.iter().any(fits)) {
            let (found, wanted) = (scope.this.describe(self.model), self.model.type_name(type_id));
            return Err(CompileError::new(
                position,
                format!("the path begins with {wanted}, but stands in {found}"),
            ));
        }
        // Of the two the more special type says more: Resource.id in the context Patient.
        let mut typing = Typing {
            types: None,
            ..scope.this.clone()
        };
        typing.types = match &scope.this.types {
            Some(types) => {
                let narrower = |ty: &Type| match ty {
                    Type::Fhir(this) if definitions.is_a(*this, type_id) => *ty,
                    _ => Type::Fhir(type_id),
                };
                Some(types.iter().map(narrower).collect())
            }
            None => Some(SmallVec::from_slice(&[Type::Fhir(type_id)])),
        };
        Ok((Tree::Root(type_id), typing))
    }

    fn member(&self, (base, typing): (Tree, Typing), name: &str, position: usize) -> Lowered {
        let accesses = self.model.step(name);
        let mut result = Typing {
            types: None,
            ..typing.clone()
        };
        if let Some(types) = &typing.types {
            let mut found: SmallVec<[Type; 2]> = SmallVec::new();
            let mut is_open = false;
            for ty in types {
                let Type::Fhir(type_id) = *ty else {
                    if *ty == Type::System(SystemType::TypeInfo) {
                        found.push(Type::System(SystemType::String));
                    }
                    continue;
                };
                match access_in(accesses, type_id) {
                    Some(access) => {
                        result.is_many |= access.is_array;
                        for property in &access.properties {
                            let ty = Type::Fhir(property.type_id);
                            if !found.contains(&ty) {
                                found.push(ty);
                            }
                        }
                    }
                    // The actual type may be one that has such an element: Bundle.entry.resource.
                    None => is_open |= self.model.definitions.get(type_id).is_abstract,
                }
            }
            if is_open {
                result.is_many = true;
            } else {
                if found.is_empty() && !types.is_empty() {
                    self.check_choice(types, name, position)?;
                    if self.strict {
                        let message = format!("{} has no element “{name}”", typing.describe(self.model));
                        return Err(CompileError::new(position, message));
                    }
                }
                result.types = Some(found);
            }
        }
        Ok((
            with_step(
                base,
                Step::Member {
                    name: name.into(),
                    accesses,
                },
                position,
            ),
            result,
        ))
    }

    /// `Observation.valueQuantity` is JSON's name for what FHIRPath calls `value`: never right, so refused in any mode.
    fn check_choice(&self, types: &[Type], name: &str, position: usize) -> Result<(), CompileError> {
        for ty in types {
            let Type::Fhir(type_id) = *ty else {
                continue;
            };
            if let Some((element, ty)) = self.model.definitions.get(type_id).property(name) {
                let (element, ty) = (&element.name, self.model.type_name(ty.type_id));
                let message = format!("write “{element}” or “{element}.ofType({ty})” instead of “{name}”");
                return Err(CompileError::new(position, message));
            }
        }
        Ok(())
    }

    fn type_test(
        &self,
        operation: TypeOperation,
        operand: Option<&Expr>,
        name: &TypeName,
        scope: &Scope,
        position: usize,
    ) -> Lowered {
        let (operand, typing) = match operand {
            Some(operand) => self.lower(operand, scope)?,
            None => (Tree::This, scope.this.clone()),
        };
        let specifier = TypeSpecifier::resolve(name, self.model)
            .ok_or_else(|| CompileError::new(position, format!("there is no type {name}")))?;
        let filters = typing.types.as_ref().is_none_or(|types| types.len() != 1);
        let result = match (operation, specifier) {
            (TypeOperation::Is, _) => Typing::system(SystemType::Boolean),
            (_, TypeSpecifier::Known(ty)) => Typing {
                types: Some(SmallVec::from_slice(&[ty])),
                ..typing
            },
            (_, TypeSpecifier::Nothing) => Typing::empty(),
        };
        Ok((
            Tree::Type(Box::new(TypeTest {
                operation,
                operand,
                specifier,
                filters,
                position,
            })),
            result,
        ))
    }

    fn binary(&self, operator: BinaryOperator, left: &Expr, right: &Expr, scope: &Scope, position: usize) -> Lowered {
        use BinaryOperator::*;
        let (left, left_typing) = self.lower(left, scope)?;
        let (right, right_typing) = self.lower(right, scope)?;
        let typing = match operator {
            Union => left_typing.or(right_typing).many(),
            Multiply | Divide | IntegerDivide | Modulo | Add | Subtract | Concatenate | Less | LessOrEqual
            | Greater | GreaterOrEqual => self.combination(operator, &left_typing, &right_typing, position)?,
            Equal | NotEqual | Equivalent | NotEquivalent | In | Contains | And | Or | Xor | Implies => {
                Typing::system(SystemType::Boolean)
            }
        };
        Ok((
            Tree::Binary(Box::new(Binary {
                operator,
                left,
                right,
                position,
            })),
            typing,
        ))
    }

    /// The type of an operator's result; in strict mode an error if no types that the operands may have go together.
    fn combination(
        &self,
        operator: BinaryOperator,
        left: &Typing,
        right: &Typing,
        position: usize,
    ) -> Result<Typing, CompileError> {
        let (Some(lefts), Some(rights)) = (&left.types, &right.types) else {
            return Ok(Typing::unknown().single());
        };
        let mut result = Typing::empty();
        for left in lefts {
            for right in rights {
                let pair = (left.system(self.model), right.system(self.model));
                if let (Some(left), Some(right)) = pair
                    && let Some(ty) = combine(operator, left, right)
                {
                    result = result.or(Typing::system(ty));
                }
            }
        }
        let is_impossible = result.types.as_ref().is_some_and(|types| types.is_empty());
        if self.strict && is_impossible && !lefts.is_empty() && !rights.is_empty() {
            let (left, right) = (left.describe(self.model), right.describe(self.model));
            let message = format!("{left} {} {right} is not defined", operator.symbol());
            return Err(CompileError::new(position, message));
        }
        Ok(result)
    }

    fn call(&self, base: Option<&Expr>, name: &str, arguments: &[Expr], scope: &Scope, position: usize) -> Lowered {
        let (input, typing) = match base {
            Some(base) => self.lower(base, scope)?,
            None => (Tree::This, scope.this.clone()),
        };
        let unordered = || Typing {
            is_ordered: false,
            ..Typing::unknown()
        };
        match (name, arguments) {
            ("children", []) => return Ok((with_step(input, Step::Children, position), unordered())),
            ("descendants", []) => return Ok((with_step(input, Step::Descendants, position), unordered())),
            _ => {}
        }
        let function = Function::named(name)
            .ok_or_else(|| CompileError::new(position, format!("there is no function {name}()")))?;
        if arguments.len() < function.required
            || function.parameter(arguments.len().saturating_sub(1)).is_none() && !arguments.is_empty()
        {
            let message = format!("{name}() does not take {} arguments", arguments.len());
            return Err(CompileError::new(position, message));
        }
        let whose = format!("the input of {name}()");
        self.check(&typing, function.input, &whose, position)?;
        if function.needs_order {
            self.check_order(&typing, &whose, position)?;
        }
        let mut trees = Vec::with_capacity(arguments.len());
        let mut typings = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            let (accepts, inner) = match function.parameter(index) {
                Some(Parameter::Each(accepts) | Parameter::Input(accepts)) => (
                    accepts,
                    Scope {
                        this: typing.clone().single(),
                        total: Typing::unknown(),
                    },
                ),
                Some(Parameter::Value(accepts)) => (
                    accepts,
                    Scope {
                        this: scope.this.clone(),
                        total: scope.total.clone(),
                    },
                ),
                None => continue,
            };
            let (tree, argument_typing) = self.lower(argument, &inner)?;
            self.check(
                &argument_typing,
                accepts,
                &format!("an argument of {name}()"),
                argument.position,
            )?;
            trees.push(tree);
            typings.push(argument_typing);
        }
        let regex = match (name, trees.first().and_then(Tree::as_text)) {
            ("matches" | "matchesFull" | "replaceMatches", Some(pattern)) => {
                let compiled = compile_regex(pattern, name == "matchesFull");
                Some(compiled.map_err(|message| CompileError::new(arguments[0].position, message))?)
            }
            _ => None,
        };
        let result = self.result(function.result, typing, typings);
        Ok((
            Tree::Call(Box::new(Call {
                function,
                input,
                arguments: trees,
                regex,
                position,
            })),
            result,
        ))
    }

    fn result(&self, gives: Gives, input: Typing, mut arguments: Vec<Typing>) -> Typing {
        match gives {
            Gives::Unknown => Typing::unknown(),
            Gives::One(ty) => Typing::system(ty),
            Gives::Many(ty) => Typing::system(ty).many(),
            Gives::Input => input,
            Gives::InputItem => input.single(),
            Gives::Argument => arguments.swap_remove(0).many(),
            Gives::InputAndArgument => input.or(arguments.swap_remove(0)).many(),
            Gives::Branches => arguments
                .into_iter()
                .skip(1)
                .reduce(Typing::or)
                .unwrap_or_else(Typing::unknown),
            Gives::Extensions => {
                let types = self
                    .model
                    .definitions
                    .type_id("Extension")
                    .map(|id| SmallVec::from_slice(&[Type::Fhir(id)]));
                Typing {
                    types,
                    is_many: true,
                    is_ordered: true,
                }
            }
        }
    }

    fn check(&self, typing: &Typing, accepts: Accepts, what: &str, position: usize) -> Result<(), CompileError> {
        let Accepts::System(wanted) = accepts else {
            return Ok(());
        };
        if !self.strict || typing.may_be(wanted, self.model) {
            return Ok(());
        }
        let wanted = wanted.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(" or ");
        let found = typing.describe(self.model);
        Err(CompileError::new(
            position,
            format!("{what} must be of type {wanted}, not {found}"),
        ))
    }

    fn check_order(&self, typing: &Typing, what: &str, position: usize) -> Result<(), CompileError> {
        if self.strict && !typing.is_ordered {
            let message = format!("{what} depends on an order that children() and descendants() do not have");
            return Err(CompileError::new(position, message));
        }
        Ok(())
    }
}

/// `base` followed by one more step.
fn with_step(base: Tree, step: Step, position: usize) -> Tree {
    match base {
        Tree::Path { base, mut steps, .. } => {
            steps.push(step);
            Tree::Path { base, steps, position }
        }
        base => Tree::Path {
            base: Box::new(base),
            steps: vec![step],
            position,
        },
    }
}

/// The type of `left operator right`, if these types go together.
fn combine(operator: BinaryOperator, left: SystemType, right: SystemType) -> Option<SystemType> {
    use BinaryOperator::*;
    use SystemType::*;
    let is_number = |ty| matches!(ty, Integer | Decimal);
    let is_date = |ty| matches!(ty, Date | DateTime);
    let numeric = || match (left, right) {
        (Integer, Integer) if operator != Divide => Some(Integer),
        (left, right) if is_number(left) && is_number(right) => Some(Decimal),
        (Quantity, right) if right == Quantity || is_number(right) => Some(Quantity),
        (left, Quantity) if is_number(left) => Some(Quantity),
        _ => None,
    };
    match operator {
        Add | Subtract if (is_date(left) || left == Time) && right == Quantity => Some(left),
        Add if left == String && right == String => Some(String),
        Add | Subtract | Multiply | Divide => numeric(),
        IntegerDivide if is_number(left) && is_number(right) => Some(Integer),
        Modulo if is_number(left) && is_number(right) => numeric(),
        Concatenate if left == String && right == String => Some(String),
        Less | LessOrEqual | Greater | GreaterOrEqual => {
            let fits = matches!((left, right), (String, String) | (Time, Time))
                || is_date(left) && is_date(right)
                || numeric().is_some();
            fits.then_some(Boolean)
        }
        _ => None,
    }
}
