//! Expressions → trie.

use std::iter;

use super::computed::Computed;
use super::filter::Filter;
use super::{Child, ExtractionPlan, Node, PlanError, property_order};
use crate::knowledge::definitions::{Definitions, TypeId, TypeKind};
use crate::knowledge::fhirpath::ast::{BinaryOperator, Expr, ExprKind, Literal, TypeName, TypeOperation};
use crate::knowledge::fhirpath::{self, ResultType, parser};

impl<K: Copy + PartialEq> ExtractionPlan<K> {
    /// Compiles the expressions of parameters that start at a resource, or at an element, of type `start`. Of an
    /// expression that is a union over several types, only what starts at this one or a type that it specialises is taken.
    ///
    /// # Errors
    /// When an expression is no FHIRPath, or a path in it names an element that is not there.
    pub fn compile<'e>(
        definitions: &'static Definitions,
        start: TypeId,
        parameters: impl IntoIterator<Item = (K, &'e str)>,
    ) -> Result<Self, PlanError> {
        let compiler = Compiler {
            definitions,
            start_type: start,
        };
        let mut plan = ExtractionPlan {
            definitions,
            root: Node::new(start),
            computed: Vec::new(),
        };
        for (key, expression) in parameters {
            let syntax = |source| PlanError::Syntax {
                expression: expression.to_owned(),
                source,
            };
            let tree = parser::parse(expression).map_err(syntax)?;
            for branch in operands(&tree) {
                match compiler.paths(branch) {
                    Ok(paths) => paths.into_iter().for_each(|path| plan.root.insert(path.steps, key)),
                    Err(NoPath::Unknown { element, type_name }) => {
                        return Err(PlanError::UnknownElement {
                            expression: expression.to_owned(),
                            element,
                            type_name,
                        });
                    }
                    Err(NoPath::Beyond) if compiler.starts_elsewhere(branch) => {}
                    Err(NoPath::Beyond) => {
                        let computed = Computed::compile(key, expression, branch, definitions).map_err(syntax)?;
                        plan.computed.push(computed);
                    }
                }
            }
        }
        Ok(plan)
    }
}

/// What an expression yields from a resource (or an abstract type) of type `start`: `None` if that cannot be told, nothing
/// if no branch of it starts there.
///
/// # Errors
/// When the expression is no FHIRPath, does not fit the type, or finds what depends on more than the resource.
pub fn value_types(
    definitions: &'static Definitions,
    start: TypeId,
    expression: &str,
) -> Result<Option<Vec<ResultType>>, PlanError> {
    let compiler = Compiler {
        definitions,
        start_type: start,
    };
    let tree = parser::parse(expression).map_err(|source| PlanError::Syntax {
        expression: expression.to_owned(),
        source,
    })?;
    let mut known = Some(Vec::new());
    for branch in operands(&tree) {
        let types = match compiler.paths(branch) {
            Ok(paths) => Some(paths.iter().map(|path| ResultType::Element(path.type_id)).collect()),
            Err(NoPath::Unknown { element, type_name }) => {
                return Err(PlanError::UnknownElement {
                    expression: expression.to_owned(),
                    element,
                    type_name,
                });
            }
            Err(NoPath::Beyond) if compiler.starts_elsewhere(branch) => continue,
            Err(NoPath::Beyond) => {
                if let Some(function) = unsteady(branch) {
                    return Err(PlanError::Unsteady {
                        expression: expression.to_owned(),
                        function: function.to_owned(),
                    });
                }
                fhirpath::result_types(branch, start, definitions).map_err(|source| PlanError::Unfit {
                    expression: expression.to_owned(),
                    type_name: definitions.get(start).name.clone(),
                    source,
                })?
            }
        };
        match (&mut known, types) {
            (Some(known), Some(types)) => known.extend(types),
            _ => known = None,
        }
    }
    Ok(known)
}

/// A function in `expression` whose result another resource or the time of day decides.
fn unsteady(expression: &Expr) -> Option<&str> {
    let parts: Vec<&Expr> = match &expression.kind {
        ExprKind::Call { name, .. } if matches!(name.as_str(), "resolve" | "now" | "today" | "timeOfDay") => {
            return Some(name);
        }
        ExprKind::Call { base, arguments, .. } => base.as_deref().into_iter().chain(arguments).collect(),
        ExprKind::Member { base, .. } => base.as_deref().into_iter().collect(),
        ExprKind::Indexer { base, index } => vec![base, index],
        ExprKind::Type { operand, .. } => operand.as_deref().into_iter().collect(),
        ExprKind::Unary { operand, .. } => vec![operand],
        ExprKind::Binary { left, right, .. } => vec![left, right],
        ExprKind::Literal(_)
        | ExprKind::Empty
        | ExprKind::Variable(_)
        | ExprKind::This
        | ExprKind::Index
        | ExprKind::Total => Vec::new(),
    };
    parts.into_iter().find_map(unsteady)
}

/// The branches of a union.
fn operands(tree: &Expr) -> Box<dyn Iterator<Item = &Expr> + '_> {
    match &tree.kind {
        ExprKind::Binary {
            operator: BinaryOperator::Union,
            left,
            right,
        } => Box::new(operands(left).chain(operands(right))),
        _ => Box::new(iter::once(tree)),
    }
}

/// One way from the resource to a value.
#[derive(Clone)]
struct Path {
    type_id: TypeId,
    /// How many of the elements on the way repeat.
    repeating: usize,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Property { name: &'static str, type_id: TypeId },
    Filter { filter: Filter, type_id: TypeId },
}

/// Why an expression has no paths.
enum NoPath {
    /// It is more than a path: a matter for the engine.
    Beyond,
    Unknown {
        element: String,
        type_name: String,
    },
}

struct Compiler {
    definitions: &'static Definitions,
    start_type: TypeId,
}

impl Compiler {
    /// The ways that an expression goes: several where it crosses a choice or unites others.
    fn paths(&self, expression: &Expr) -> Result<Vec<Path>, NoPath> {
        match &expression.kind {
            // `code` is an element here, and the name of a type elsewhere.
            ExprKind::Member { base: None, name } if self.has_element(name) => self.member(&[self.start()], name),
            ExprKind::Member { base: None, name } => match self.definitions.type_id(name) {
                Some(root) if self.definitions.is_a(self.start_type, root) => Ok(vec![self.start()]),
                Some(_) => Ok(Vec::new()),
                None => self.member(&[self.start()], name),
            },
            ExprKind::Member { base: Some(base), name } => self.member(&self.paths(base)?, name),
            ExprKind::Binary {
                operator: BinaryOperator::Union,
                ..
            } => {
                let branches: Result<Vec<_>, _> = operands(expression).map(|branch| self.paths(branch)).collect();
                Ok(branches?.concat())
            }
            ExprKind::Type {
                operation: TypeOperation::As | TypeOperation::OfType,
                operand,
                name,
            } => {
                let paths = operand
                    .as_ref()
                    .map_or_else(|| Ok(vec![self.start()]), |operand| self.paths(operand))?;
                self.of_type(paths, name)
            }
            ExprKind::Indexer { base, index } => match index.kind {
                ExprKind::Literal(Literal::Integer(index)) => at(self.paths(base)?, index),
                _ => Err(NoPath::Beyond),
            },
            ExprKind::Call {
                base: Some(base),
                name,
                arguments,
            } => match (name.as_str(), arguments.as_slice()) {
                ("where", [condition]) => self.condition(self.paths(base)?, condition),
                (
                    "extension",
                    [
                        Expr {
                            kind: ExprKind::Literal(Literal::String(url)),
                            ..
                        },
                    ],
                ) => {
                    let extensions = self.member(&self.paths(base)?, "extension")?;
                    Ok(with_filter(
                        extensions,
                        &Filter::Text {
                            property: "url",
                            text: url.clone(),
                        },
                    ))
                }
                _ => Err(NoPath::Beyond),
            },
            _ => Err(NoPath::Beyond),
        }
    }

    fn has_element(&self, name: &str) -> bool {
        let elements = &self.definitions.get(self.start_type).elements;
        elements.iter().any(|element| element.name == name)
    }

    /// Whether the first name in an expression is a type that the resource is not: the expression is about others.
    fn starts_elsewhere(&self, expression: &Expr) -> bool {
        match &expression.kind {
            ExprKind::Member { base: None, name } => {
                let is_capital = name.starts_with(|first: char| first.is_ascii_uppercase());
                let root = self.definitions.type_id(name).filter(|_| is_capital);
                root.is_some_and(|root| !self.definitions.is_a(self.start_type, root))
            }
            ExprKind::Member { base: Some(base), .. }
            | ExprKind::Call { base: Some(base), .. }
            | ExprKind::Indexer { base, .. }
            | ExprKind::Type {
                operand: Some(base), ..
            }
            | ExprKind::Unary { operand: base, .. }
            | ExprKind::Binary { left: base, .. } => self.starts_elsewhere(base),
            _ => false,
        }
    }

    fn start(&self) -> Path {
        Path {
            type_id: self.start_type,
            repeating: 0,
            steps: Vec::new(),
        }
    }

    /// One element further, to each type of a choice. Paths whose type does not have the element end here, but at least
    /// one must have it.
    fn member(&self, paths: &[Path], name: &str) -> Result<Vec<Path>, NoPath> {
        let mut longer = Vec::new();
        for path in paths {
            let owner = self.definitions.get(path.type_id);
            for (property, &(element, ty)) in &owner.by_property {
                let element = &owner.elements[usize::from(element)];
                if element.name == name {
                    let type_id = element.types[usize::from(ty)].type_id;
                    let mut steps = path.steps.clone();
                    steps.push(Step::Property {
                        name: property,
                        type_id,
                    });
                    longer.push(Path {
                        type_id,
                        repeating: path.repeating + usize::from(element.is_array),
                        steps,
                    });
                }
            }
        }
        match paths.first() {
            Some(path) if longer.is_empty() => Err(NoPath::Unknown {
                element: name.to_owned(),
                type_name: self.definitions.get(path.type_id).name.clone(),
            }),
            _ => Ok(longer),
        }
    }

    /// `as` and `ofType`, as the engine reads them: primitive types exactly, others by inheritance.
    fn of_type(&self, paths: Vec<Path>, name: &TypeName) -> Result<Vec<Path>, NoPath> {
        let wanted = match name.namespace.as_deref() {
            None => self.type_meant_by(&name.name).ok_or(NoPath::Beyond)?,
            Some("FHIR") => self.definitions.type_id(&name.name).ok_or(NoPath::Beyond)?,
            Some(_) => return Err(NoPath::Beyond),
        };
        let is_primitive = self.definitions.get(wanted).kind == TypeKind::Primitive;
        let mut kept = Vec::new();
        for path in paths {
            let fits = if is_primitive {
                path.type_id == wanted
            } else {
                self.definitions.is_a(path.type_id, wanted)
            };
            if fits {
                kept.push(path);
            } else if self.definitions.get(path.type_id).kind == TypeKind::Resource
                && self.definitions.is_a(wanted, path.type_id)
            {
                kept.push(path.filtered(Filter::Resource(wanted), wanted));
            }
        }
        Ok(kept)
    }

    /// `DateTime`, which R4's `code-value-date` says, names the type of FHIRPath; what it means is FHIR's `dateTime`.
    fn type_meant_by(&self, name: &str) -> Option<TypeId> {
        let primitive = || {
            let mut characters = name.chars();
            let initial = characters.next()?.to_ascii_lowercase();
            let type_id = self.definitions.type_id(&format!("{initial}{}", characters.as_str()))?;
            (self.definitions.get(type_id).kind == TypeKind::Primitive).then_some(type_id)
        };
        self.definitions.type_id(name).or_else(primitive)
    }

    /// `where(…)` with one of the two conditions that R4's parameters use.
    fn condition(&self, paths: Vec<Path>, condition: &Expr) -> Result<Vec<Path>, NoPath> {
        match &condition.kind {
            ExprKind::Binary {
                operator: BinaryOperator::Equal,
                left,
                right,
            } => match (&left.kind, &right.kind) {
                (ExprKind::Member { base: None, name }, ExprKind::Literal(Literal::String(text))) => {
                    self.text_condition(paths, name, text)
                }
                _ => Err(NoPath::Beyond),
            },
            ExprKind::Type {
                operation: TypeOperation::Is,
                operand: Some(operand),
                name,
            } => match &operand.kind {
                ExprKind::Call {
                    base: None,
                    name: function,
                    ..
                } if function == "resolve" => {
                    let wanted = self.definitions.type_id(&name.name).ok_or(NoPath::Beyond)?;
                    Ok(with_filter(paths, &Filter::RefersTo(wanted)))
                }
                _ => Err(NoPath::Beyond),
            },
            _ => Err(NoPath::Beyond),
        }
    }

    /// Only elements that do not repeat and hold a text: of others FHIRPath's `=` means more than this filter does.
    fn text_condition(&self, paths: Vec<Path>, name: &str, text: &str) -> Result<Vec<Path>, NoPath> {
        let mut kept = Vec::new();
        for path in paths {
            let owner = self.definitions.get(path.type_id);
            let element = owner
                .elements
                .iter()
                .find(|element| element.name == name)
                .ok_or(NoPath::Beyond)?;
            let holds_text = element.types.iter().all(|ty| {
                let name = self.definitions.get(ty.type_id).name.as_str();
                matches!(
                    name,
                    "code" | "string" | "uri" | "url" | "canonical" | "id" | "markdown" | "oid" | "uuid"
                )
            });
            if element.is_choice || element.is_array || !holds_text {
                return Err(NoPath::Beyond);
            }
            let type_id = path.type_id;
            kept.push(path.filtered(
                Filter::Text {
                    property: &element.name,
                    text: text.to_owned(),
                },
                type_id,
            ));
        }
        Ok(kept)
    }
}

impl Path {
    fn filtered(mut self, filter: Filter, type_id: TypeId) -> Path {
        self.type_id = type_id;
        self.steps.push(Step::Filter { filter, type_id });
        self
    }
}

fn with_filter(paths: Vec<Path>, filter: &Filter) -> Vec<Path> {
    paths
        .into_iter()
        .map(|path| {
            let type_id = path.type_id;
            path.filtered(filter.clone(), type_id)
        })
        .collect()
}

/// `[index]` of a collection is the place in an array only if nothing before it repeats, and nothing was left out.
fn at(paths: Vec<Path>, index: i64) -> Result<Vec<Path>, NoPath> {
    let position = usize::try_from(index).map_err(|_| NoPath::Beyond)?;
    match paths.as_slice() {
        [] => Ok(paths),
        [
            Path {
                repeating: 1, steps, ..
            },
        ] if matches!(steps.last(), Some(Step::Property { .. })) => Ok(with_filter(paths, &Filter::Position(position))),
        _ => Err(NoPath::Beyond),
    }
}

impl<K: Copy + PartialEq> Node<K> {
    fn insert(&mut self, steps: Vec<Step>, key: K) {
        let mut node = self;
        for step in steps {
            node = match step {
                Step::Property { name, type_id } => node.child_mut(name, type_id),
                Step::Filter { filter, type_id } => node.filtered_mut(filter, type_id),
            };
        }
        if !node.found_by.contains(&key) {
            node.found_by.push(key);
        }
    }

    fn child_mut(&mut self, property: &'static str, type_id: TypeId) -> &mut Node<K> {
        let order = property_order(property);
        let at = match self
            .children
            .binary_search_by(|child| property_order(child.property).cmp(&order))
        {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(
                    at,
                    Child {
                        property,
                        node: Node::new(type_id),
                    },
                );
                at
            }
        };
        &mut self.children[at].node
    }

    fn filtered_mut(&mut self, filter: Filter, type_id: TypeId) -> &mut Node<K> {
        let at = self
            .filtered
            .iter()
            .position(|(known, _)| *known == filter)
            .unwrap_or_else(|| {
                self.filtered.push((filter, Node::new(type_id)));
                self.filtered.len() - 1
            });
        &mut self.filtered[at].1
    }
}
