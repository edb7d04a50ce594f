//! Walks a [`Tree`] over borrowed JSON.

use std::cell::Cell;
use std::slice;

use super::ast::{BinaryOperator, TypeOperation, UnaryOperator};
use super::environment::Environment;
use super::functions::At;
use super::item::{Collection, Element, Item};
use super::model::{GO_ON, Model, STOP, Walk};
use super::tree::{Binary, Step, Tree, TypeTest, Variable};
use super::types::{SystemType, Type, TypeSpecifier};
use super::{EvaluationError, arithmetic};

type Result<T> = std::result::Result<T, EvaluationError>;

/// One run of an expression over one input item.
pub(super) struct Evaluation<'e, 'a> {
    pub model: &'static Model,
    pub environment: &'e Environment<'a>,
    context: Item<'a>,
    budget: Cell<u64>,
}

/// What `$this`, `$index` and `$total` stand for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'a> {
    /// One item; the argument of an `iif` on an empty input has none.
    pub this: &'s [Item<'a>],
    pub index: Option<usize>,
    pub total: &'s [Item<'a>],
}

impl<'s, 'a> Scope<'s, 'a> {
    /// The scope of a function's argument that is evaluated for each item.
    pub fn each(&self, item: &'s Item<'a>, index: usize) -> Scope<'s, 'a> {
        Scope {
            this: slice::from_ref(item),
            index: Some(index),
            total: self.total,
        }
    }
}

impl<'e, 'a> Evaluation<'e, 'a> {
    pub fn new(model: &'static Model, environment: &'e Environment<'a>, focus: &Item<'a>) -> Self {
        Evaluation {
            model,
            environment,
            context: focus.clone(),
            budget: Cell::new(environment.budget),
        }
    }

    pub fn run(&self, tree: &'a Tree) -> Result<Collection<'a>> {
        self.collect(
            tree,
            &Scope {
                this: slice::from_ref(&self.context),
                index: None,
                total: &[],
            },
        )
    }

    pub fn holds(&self, tree: &'a Tree) -> Result<Option<bool>> {
        self.truth(
            tree,
            &Scope {
                this: slice::from_ref(&self.context),
                index: None,
                total: &[],
            },
            0,
        )
    }

    /// `%resource`
    pub fn resource(&self) -> &Item<'a> {
        self.environment.resource.as_ref().unwrap_or(&self.context)
    }

    /// `%rootResource`
    pub fn root_resource(&self) -> &Item<'a> {
        self.environment
            .root_resource
            .as_ref()
            .unwrap_or_else(|| self.resource())
    }

    /// Pays for `units` of work.
    pub fn spend(&self, units: usize, position: usize) -> Result<()> {
        match self.budget.get().checked_sub(units as u64) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(EvaluationError::new(
                position,
                "the expression takes too much work on this input",
            )),
        }
    }

    pub fn collect(&self, tree: &'a Tree, scope: &Scope<'_, 'a>) -> Result<Collection<'a>> {
        let mut out = Collection::new();
        self.evaluate(tree, scope, &mut out)?;
        Ok(out)
    }

    /// Appends the tree's result to `out`.
    pub fn evaluate(&self, tree: &'a Tree, scope: &Scope<'_, 'a>, out: &mut Collection<'a>) -> Result<()> {
        match tree {
            Tree::Empty => {}
            Tree::Constant(item) => out.push(item.clone()),
            Tree::Text(text) => out.push(Item::String(text.as_ref().into())),
            Tree::This => out.extend(scope.this.iter().cloned()),
            Tree::Index => out.extend(scope.index.map(|index| Item::Integer(index as i64))),
            Tree::Total => out.extend(scope.total.iter().cloned()),
            Tree::Root(_) => out.extend(self.roots(tree, scope).cloned()),
            Tree::Variable { variable, position } => self.variable(variable, *position, out)?,
            Tree::Path { base, steps, position } => self.path(base, steps, *position, scope, &mut |item| {
                out.push(item);
                GO_ON
            })?,
            Tree::Indexer { base, index, position } => {
                let index = self.collect(index, scope)?;
                let base = self.collect(base, scope)?;
                let index = self.integer(&index, || "an index".to_owned(), *position)?;
                out.extend(index.and_then(|index| base.into_iter().nth(usize::try_from(index).ok()?)));
            }
            Tree::Type(test) => self.type_test(test, scope, out)?,
            Tree::Unary {
                operator,
                operand,
                position,
            } => {
                let operand = self.collect(operand, scope)?;
                let Some(value) = self.single(&operand, *position)? else {
                    return Ok(());
                };
                out.push(arithmetic::signed(
                    *operator == UnaryOperator::Minus,
                    self.system(value),
                    *position,
                )?);
            }
            Tree::Binary(binary) => self.binary(binary, scope, out)?,
            Tree::Call(call) => {
                self.spend(1, call.position)?;
                call.function.evaluate(
                    &At {
                        evaluation: self,
                        call,
                        scope,
                    },
                    out,
                )?;
                self.spend(out.len() / 8, call.position)?;
            }
        }
        Ok(())
    }

    /// The number of items in the tree's result, or `at_most` if there are more, without making them all.
    pub fn count(&self, tree: &'a Tree, scope: &Scope<'_, 'a>, at_most: usize) -> Result<usize> {
        let Tree::Path { base, steps, position } = tree else {
            return Ok(self.collect(tree, scope)?.len().min(at_most));
        };
        let mut count = 0;
        self.path(base, steps, *position, scope, &mut |_| {
            count += 1;
            if count >= at_most { STOP } else { GO_ON }
        })?;
        Ok(count)
    }

    /// The tree's result as a condition; more than one item is an error.
    pub fn truth(&self, tree: &'a Tree, scope: &Scope<'_, 'a>, position: usize) -> Result<Option<bool>> {
        match tree {
            Tree::Binary(binary) => {
                if let Some(truth) = self.logic(binary, scope)? {
                    return Ok(truth);
                }
                let result = self.collect(tree, scope)?;
                self.boolean(&result, binary.position)
            }
            _ => {
                let result = self.collect(tree, scope)?;
                self.boolean(&result, position)
            }
        }
    }

    fn variable(&self, variable: &Variable, position: usize, out: &mut Collection<'a>) -> Result<()> {
        match variable {
            Variable::Context => out.push(self.context.clone()),
            Variable::Resource => out.push(self.resource().clone()),
            Variable::RootResource => out.push(self.root_resource().clone()),
            Variable::Other(name) => match self.environment.variables.get(name) {
                Some(value) => out.extend(value.iter().cloned()),
                None => {
                    return Err(EvaluationError::new(
                        position,
                        format!("the variable %{name} is not defined"),
                    ));
                }
            },
        }
        Ok(())
    }

    /// `$this`, where it is of the type that the path begins with.
    fn roots<'s>(&self, tree: &Tree, scope: &Scope<'s, 'a>) -> impl Iterator<Item = &'s Item<'a>> + use<'s, 'a> {
        let model = self.model;
        let wanted = match tree {
            Tree::Root(wanted) => Some(*wanted),
            _ => None,
        };
        scope.this.iter().filter(move |item| match (wanted, item) {
            (None, _) => true,
            (Some(wanted), Item::Element(element)) => model.definitions.is_a(element.type_id, wanted),
            (Some(_), _) => false,
        })
    }

    fn path(
        &self,
        base: &'a Tree,
        steps: &'a [Step],
        position: usize,
        scope: &Scope<'_, 'a>,
        emit: &mut dyn FnMut(Item<'a>) -> Walk,
    ) -> Result<()> {
        let mut visited = 0;
        if matches!(base, Tree::This | Tree::Root(_)) {
            for item in self.roots(base, scope) {
                if self.walk(item, steps, &mut visited, emit).is_break() {
                    break;
                }
            }
        } else {
            for item in &self.collect(base, scope)? {
                if self.walk(item, steps, &mut visited, emit).is_break() {
                    break;
                }
            }
        }
        self.spend(visited, position)
    }

    fn walk(
        &self,
        item: &Item<'a>,
        steps: &'a [Step],
        visited: &mut usize,
        emit: &mut dyn FnMut(Item<'a>) -> Walk,
    ) -> Walk {
        match item {
            Item::Element(element) => self.follow(*element, steps, visited, emit),
            Item::Type(info) => match steps {
                [Step::Member { name, .. }] if **name == *"name" => emit(Item::String(info.name.into())),
                [Step::Member { name, .. }] if **name == *"namespace" => emit(Item::String(info.namespace.into())),
                _ => GO_ON,
            },
            _ => GO_ON,
        }
    }

    fn follow(
        &self,
        element: Element<'a>,
        steps: &'a [Step],
        visited: &mut usize,
        emit: &mut dyn FnMut(Item<'a>) -> Walk,
    ) -> Walk {
        *visited += 1;
        if *visited as u64 > self.budget.get() {
            return STOP;
        }
        let Some((step, rest)) = steps.split_first() else {
            return emit(Item::Element(element));
        };
        let onward = &mut |child| self.follow(child, rest, visited, emit);
        match step {
            Step::Member { accesses, .. } => self.model.member(element, accesses, onward),
            Step::Children => self.model.children(element, onward),
            Step::Descendants => self.descend(element, onward),
        }
    }

    /// Recurses as deep as the JSON is nested, which the parser of JSON bounds.
    fn descend(&self, element: Element<'a>, emit: &mut dyn FnMut(Element<'a>) -> Walk) -> Walk {
        self.model.children(element, &mut |child| {
            emit(child)?;
            self.descend(child, emit)
        })
    }

    fn type_test(&self, test: &'a TypeTest, scope: &Scope<'_, 'a>, out: &mut Collection<'a>) -> Result<()> {
        let operand = self.collect(&test.operand, scope)?;
        match test.operation {
            TypeOperation::Is => {
                if let Some(item) = self.single(&operand, test.position)? {
                    out.push(Item::Boolean(self.is(item, test.specifier)));
                }
                return Ok(());
            }
            TypeOperation::As if !test.filters => {
                self.single(&operand, test.position)?;
            }
            TypeOperation::As | TypeOperation::OfType => {}
        }
        out.extend(operand.into_iter().filter(|item| self.is_exactly(item, test.specifier)));
        Ok(())
    }

    /// Whether the item's type is, or inherits from, the specified one.
    pub fn is(&self, item: &Item<'a>, specifier: TypeSpecifier) -> bool {
        match (specifier, item) {
            (TypeSpecifier::Known(Type::Fhir(wanted)), Item::Element(element)) => {
                self.model.definitions.is_a(element.type_id, wanted)
            }
            (TypeSpecifier::Known(Type::System(wanted)), item) => system_type(item) == Some(wanted),
            // `4 'mg' is Quantity`: the unqualified name means FHIR's type, of which System's is the counterpart.
            (TypeSpecifier::Known(Type::Fhir(wanted)), Item::Quantity(_)) => self.model.is_quantity(wanted),
            _ => false,
        }
    }

    /// Like [`Self::is`], but a primitive type's descendants do not count.
    fn is_exactly(&self, item: &Item<'a>, specifier: TypeSpecifier) -> bool {
        match (specifier, item) {
            (TypeSpecifier::Known(Type::Fhir(wanted)), Item::Element(element))
                if self.model.primitive(wanted).is_some() =>
            {
                element.type_id == wanted
            }
            _ => self.is(item, specifier),
        }
    }

    fn binary(&self, binary: &'a Binary, scope: &Scope<'_, 'a>, out: &mut Collection<'a>) -> Result<()> {
        if let Some(truth) = self.logic(binary, scope)? {
            out.extend(truth.map(Item::Boolean));
            return Ok(());
        }
        let left = self.collect(&binary.left, scope)?;
        let right = self.collect(&binary.right, scope)?;
        if binary.operator == BinaryOperator::Union {
            let both = left.into_iter().chain(right).collect();
            out.extend(self.distinct(both, binary.position)?);
            return Ok(());
        }
        let left = self.operand(&left, binary)?;
        let right = self.operand(&right, binary)?;
        out.extend(arithmetic::calculate(binary.operator, left, right, binary.position)?);
        Ok(())
    }

    /// The one value of an operand.
    fn operand(&self, items: &[Item<'a>], binary: &Binary) -> Result<Option<Item<'a>>> {
        let Some(item) = self.single(items, binary.position)? else {
            return Ok(None);
        };
        match self.system(item) {
            None if !self.is_valueless(item) => {
                let (symbol, found) = (binary.operator.symbol(), self.type_of(item));
                Err(EvaluationError::new(
                    binary.position,
                    format!("the operator {symbol} does not work on {found}"),
                ))
            }
            value => Ok(value),
        }
    }

    /// The result of an operator that gives true, false or nothing; `None` for other operators.
    fn logic(&self, binary: &'a Binary, scope: &Scope<'_, 'a>) -> Result<Option<Option<bool>>> {
        use BinaryOperator::*;
        let position = binary.position;
        let truth = |tree| self.truth(tree, scope, position);
        Ok(Some(match binary.operator {
            And => match truth(&binary.left)? {
                Some(false) => Some(false),
                Some(true) => truth(&binary.right)?,
                None => truth(&binary.right)?.filter(|right| !right),
            },
            Or => match truth(&binary.left)? {
                Some(true) => Some(true),
                Some(false) => truth(&binary.right)?,
                None => truth(&binary.right)?.filter(|&right| right),
            },
            Xor => match (truth(&binary.left)?, truth(&binary.right)?) {
                (Some(left), Some(right)) => Some(left != right),
                _ => None,
            },
            Implies => match truth(&binary.left)? {
                Some(false) => Some(true),
                Some(true) => truth(&binary.right)?,
                None => truth(&binary.right)?.filter(|&right| right),
            },
            Multiply | Divide | IntegerDivide | Modulo | Add | Subtract | Concatenate | Union => return Ok(None),
            operator => {
                let left = self.collect(&binary.left, scope)?;
                let right = self.collect(&binary.right, scope)?;
                self.relation(operator, &left, &right, position)?
            }
        }))
    }

    fn relation(
        &self,
        operator: BinaryOperator,
        left: &[Item<'a>],
        right: &[Item<'a>],
        position: usize,
    ) -> Result<Option<bool>> {
        use BinaryOperator::*;
        Ok(match operator {
            Equal => self.equal_collections(left, right, position)?,
            NotEqual => self.equal_collections(left, right, position)?.map(|equal| !equal),
            Equivalent => Some(self.equivalent_collections(left, right, position)?),
            NotEquivalent => Some(!self.equivalent_collections(left, right, position)?),
            In => self.membership(left, right, position)?,
            Contains => self.membership(right, left, position)?,
            operator => {
                let (Some(left), Some(right)) = (self.single(left, position)?, self.single(right, position)?) else {
                    return Ok(None);
                };
                let ordering = self.compare(left, right, position)?;
                ordering.map(|ordering| match operator {
                    Less => ordering.is_lt(),
                    LessOrEqual => ordering.is_le(),
                    Greater => ordering.is_gt(),
                    _ => ordering.is_ge(),
                })
            }
        })
    }

    /// Whether the one item of `wanted` is in `collection`.
    fn membership(&self, wanted: &[Item<'a>], collection: &[Item<'a>], position: usize) -> Result<Option<bool>> {
        match self.single(wanted, position)? {
            Some(wanted) => Ok(Some(self.contains(collection, wanted, position)?)),
            None => Ok(None),
        }
    }
}

/// The System type of a value that is no element.
pub(super) fn system_type(item: &Item<'_>) -> Option<SystemType> {
    Some(match item {
        Item::Element(_) => return None,
        Item::Boolean(_) => SystemType::Boolean,
        Item::Integer(_) => SystemType::Integer,
        Item::Decimal(_) => SystemType::Decimal,
        Item::String(_) => SystemType::String,
        Item::Date(_) => SystemType::Date,
        Item::DateTime(_) => SystemType::DateTime,
        Item::Time(_) => SystemType::Time,
        Item::Quantity(_) => SystemType::Quantity,
        Item::Type(_) => SystemType::TypeInfo,
    })
}
