//! What a search must find, by the shortest way from the specification (<https://hl7.org/fhir/R4/search.html>): every
//! resource is read, the expression of every parameter is evaluated on it by the FHIRPath engine, and each value that it
//! yields is compared with what is asked for.
//!
//! Nothing here knows of index rows, numbers of parameters or SQL. What a value *means* is in [`super::matching`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::LazyLock;

use fastrand::Rng;
use jiff::Timestamp;
use medconsult::knowledge::definitions::{
    Definitions, SearchParameter, SearchParameterComponent, SearchParameterType as Kind, TypeKind,
};
use medconsult::knowledge::fhirpath::values::DateTime;
use medconsult::knowledge::fhirpath::{Collection, Environment, Expression, Item, Resolver};
use serde_json::{Value, json};

use super::matching::{self, Found, SortValue, local};
use super::searches::{Asked, Criterion, Filter, Search};

/// By resource and code: an expression is evaluated once, however often it is asked for.
type Memory = RefCell<HashMap<(usize, &'static str), Rc<Vec<Found>>>>;

/// All resources that there are, and when it is.
pub struct Naive {
    resources: Vec<Value>,
    now: Timestamp,
    types: BTreeMap<&'static str, Vec<usize>>,
    /// By type and id.
    places: HashMap<(String, String), usize>,
    composites: HashMap<&'static str, Vec<&'static SearchParameter>>,
    parameters: HashMap<&'static str, Vec<&'static SearchParameter>>,
    compiled: RefCell<HashMap<&'static str, &'static Expression>>,
    found: Memory,
}

/// Tells what type a reference leads to by its text, as no resource needs to be there to know that. The answer is an
/// otherwise empty resource of the type.
struct TypesAsResources(HashMap<&'static str, Value>);

impl Resolver for TypesAsResources {
    fn resolve(&self, reference: &str) -> Option<&Value> {
        let unversioned = reference.split("/_history/").next()?;
        self.0.get(unversioned.rsplit('/').nth(1)?)
    }
}

fn types_as_resources() -> &'static TypesAsResources {
    static ALL: LazyLock<TypesAsResources> = LazyLock::new(|| {
        let types = Definitions::r4().resource_types();
        TypesAsResources(
            types
                .map(|ty| (ty.name.as_str(), json!({"resourceType": ty.name})))
                .collect(),
        )
    });
    &ALL
}

impl Naive {
    pub fn new(resources: Vec<Value>, now: Timestamp) -> Naive {
        let definitions = Definitions::r4();
        let mut types: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
        for (n, resource) in resources.iter().enumerate() {
            let name = resource["resourceType"].as_str().unwrap();
            types
                .entry(&definitions.resource_type(name).unwrap().name)
                .or_default()
                .push(n);
        }
        let of_types = |is_composite| {
            types
                .keys()
                .map(|&name| (name, parameters_of(name, is_composite)))
                .collect()
        };
        let (parameters, composites) = (of_types(false), of_types(true));
        let place = |(n, resource): (usize, &Value)| {
            (
                ["resourceType", "id"]
                    .map(|name| resource[name].as_str().unwrap().to_owned())
                    .into(),
                n,
            )
        };
        let places = resources.iter().enumerate().map(place).collect();
        Naive {
            resources,
            now,
            types,
            places,
            composites,
            parameters,
            compiled: RefCell::default(),
            found: RefCell::default(),
        }
    }

    /// The types of which there are resources.
    pub fn types(&self) -> Vec<&'static str> {
        self.types.keys().copied().collect()
    }

    /// The parameters that resources of a type can be searched by.
    pub fn parameters(&self, resource_type: &'static str) -> &[&'static SearchParameter] {
        &self.parameters[resource_type]
    }

    /// The composite parameters of a type.
    pub fn composites(&self, resource_type: &'static str) -> &[&'static SearchParameter] {
        &self.composites[resource_type]
    }

    /// A parameter of any type of R4.
    pub fn parameter_of(&self, resource_type: &str, code: &str) -> Option<&'static SearchParameter> {
        parameters_of(resource_type, false)
            .into_iter()
            .find(|parameter| parameter.code == code)
    }

    fn parameter(&self, resource_type: &'static str, code: &str) -> Option<&'static SearchParameter> {
        let parameters = self.parameters.get(resource_type)?;
        parameters.iter().copied().find(|parameter| parameter.code == code)
    }

    /// A resource, by its place in the list.
    pub fn random_resource(&self, rng: &mut Rng, resource_type: &'static str) -> usize {
        let places = &self.types[resource_type];
        places[rng.usize(0..places.len())]
    }

    /// The ids of what matches, in no order.
    pub fn search(&self, search: &Search) -> Vec<String> {
        let meets = |&&n: &&usize| {
            search
                .criteria
                .iter()
                .all(|criterion| self.meets(n, search.resource_type, criterion))
        };
        self.types
            .get(search.resource_type)
            .into_iter()
            .flatten()
            .filter(meets)
            .map(|&n| self.id(n))
            .collect()
    }

    fn id(&self, n: usize) -> String {
        self.resources[n]["id"].as_str().unwrap().to_owned()
    }

    fn meets(&self, n: usize, resource_type: &'static str, criterion: &Criterion) -> bool {
        match criterion {
            Criterion::Plain { code, modifier, values } => {
                // At the end of a chain, a type may lack the parameter.
                let Some(parameter) = self.parameter(resource_type, code) else {
                    return false;
                };
                let found = self.found(n, parameter);
                match modifier.as_deref() {
                    Some("missing") => found.iter().any(Found::says_something) != (values[0].text() == "true"),
                    Some("not") => !self.any_matches(&found, parameter, None, values),
                    modifier => self.any_matches(&found, parameter, modifier, values),
                }
            }
            Criterion::Composite { code, values } => {
                let composite = self
                    .composites(resource_type)
                    .iter()
                    .find(|composite| composite.code == *code)
                    .unwrap();
                let components = self.components(composite);
                self.instances(n, composite).iter().any(|instance| {
                    values.iter().any(|parts| {
                        let mut parts = components.iter().zip(instance).zip(parts);
                        parts.all(|((component, found), asked)| {
                            self.any_matches(found, component, None, std::slice::from_ref(asked))
                        })
                    })
                })
            }
            Criterion::Chain { code, target, rest } => {
                let link = self.parameter(resource_type, code).unwrap();
                self.targets(n, link)
                    .into_iter()
                    .any(|(ty, m)| target.is_none_or(|target| target == ty) && self.meets(m, ty, rest))
            }
            Criterion::Has { source, code, rest } => {
                let referring = self.types.get(source).into_iter().flatten();
                let mut referring = referring.filter(|&&m| self.refers(m, source, code, n));
                referring.any(|&m| self.meets(m, source, rest))
            }
            Criterion::Filter(filter) => self.passes(n, resource_type, filter),
        }
    }

    fn passes(&self, n: usize, resource_type: &'static str, filter: &Filter) -> bool {
        match filter {
            Filter::Not(filter) => !self.passes(n, resource_type, filter),
            Filter::Sequence(first, others) => {
                others
                    .iter()
                    .fold(self.passes(n, resource_type, first), |so_far, (and, filter)| {
                        let passes = self.passes(n, resource_type, filter);
                        if *and { so_far && passes } else { so_far || passes }
                    })
            }
            Filter::Compare {
                code, operator, value, ..
            } => {
                let parameter = self.parameter(resource_type, code).unwrap();
                let found = self.found(n, parameter);
                if *operator == "pr" {
                    return found.iter().any(Found::says_something) == (value.text() == "true");
                }
                let targets: Vec<&str> = parameter.targets.iter().map(String::as_str).collect();
                found
                    .iter()
                    .any(|found| matching::compares(found, parameter.kind, operator, value, &targets, self.now))
            }
        }
    }

    /// The resources that are there, of the types that a reference parameter may lead to, to which a resource refers.
    fn targets(&self, n: usize, link: &'static SearchParameter) -> Vec<(&'static str, usize)> {
        let found = self.found(n, link);
        let locals = found.iter().filter_map(|found| local(found.literal()?));
        let places = locals
            .filter(|(ty, _)| link.targets.iter().any(|target| target == ty))
            .filter_map(|(ty, id)| {
                let place = *self.places.get(&(ty.to_owned(), id.to_owned()))?;
                Some((*self.types.get_key_value(ty)?.0, place))
            });
        places.collect()
    }

    fn refers(&self, m: usize, source: &'static str, code: &str, n: usize) -> bool {
        self.parameter(source, code)
            .is_some_and(|link| self.targets(m, link).iter().any(|&(_, target)| target == n))
    }

    /// Type and id of what a page of these matches includes.
    pub fn included(&self, search: &Search, ids: &[String]) -> BTreeSet<(String, String)> {
        let place = |id: &String| self.places[&(search.resource_type.to_owned(), id.clone())];
        let matches: BTreeSet<usize> = ids.iter().map(place).collect();
        let mut included = BTreeSet::new();
        for include in &search.includes {
            if include.reverse {
                let sources = self.types.get(include.source).into_iter().flatten();
                included.extend(sources.filter(|&&m| {
                    matches
                        .iter()
                        .any(|&n| self.refers(m, include.source, &include.code, n))
                }));
            } else if let Some(link) = self.parameter(include.source, &include.code) {
                included.extend(
                    matches
                        .iter()
                        .flat_map(|&n| self.targets(n, link))
                        .map(|(_, target)| target),
                );
            }
        }
        included
            .difference(&matches)
            .map(|&n| {
                (
                    self.resources[n]["resourceType"].as_str().unwrap().to_owned(),
                    self.id(n),
                )
            })
            .collect()
    }

    fn any_matches(
        &self,
        found: &[Found],
        parameter: &SearchParameter,
        modifier: Option<&str>,
        values: &[Asked],
    ) -> bool {
        let matches = |found: &Found, asked: &Asked| match (parameter.kind, modifier) {
            (Kind::Token, None) => matching::token(found, asked),
            (Kind::Token, Some("text")) => matching::label(found, asked),
            (Kind::Token, Some("of-type")) => matching::of_type(found, asked),
            (Kind::String, modifier) => matching::string(found, modifier, asked),
            (Kind::Date, None) => matching::date(found, asked, self.now),
            (Kind::Number | Kind::Quantity, None) => matching::quantity(found, asked),
            (Kind::Uri, None) => matching::uri(found, asked),
            (Kind::Reference, Some("identifier")) => found
                .identifier()
                .is_some_and(|identifier| matching::token(&identifier, asked)),
            (Kind::Reference, target) => {
                let targets: Vec<&str> = match target {
                    Some(target) => vec![target],
                    None => parameter.targets.iter().map(String::as_str).collect(),
                };
                matching::reference(found, &targets, asked)
            }
            (kind, modifier) => panic!("{kind:?} with {modifier:?} has no naive reading"),
        };
        values
            .iter()
            .any(|asked| found.iter().any(|found| matches(found, asked)))
    }

    /// The values that a resource is sorted by under these keys; `None` where it has none.
    pub fn sort_values(&self, search: &Search, id: &str) -> Vec<Option<SortValue>> {
        let n = self.places[&(search.resource_type.to_owned(), id.to_owned())];
        let value = |code: &str, descending: bool| {
            let parameter = self.parameter(search.resource_type, code).unwrap();
            let found = self.found(n, parameter);
            let values = found
                .iter()
                .flat_map(|found| matching::sort_values(found, parameter.kind));
            // Of several values the one that comes first in the order counts.
            if descending { values.max() } else { values.min() }
        };
        search.sort.iter().map(|key| value(&key.code, key.descending)).collect()
    }

    /// Whether a parameter finds values of one of these types in any resource.
    pub fn finds(&self, resource_type: &'static str, parameter: &'static SearchParameter, type_names: &[&str]) -> bool {
        let mut found = self.types[resource_type]
            .iter()
            .flat_map(|&n| self.found(n, parameter).to_vec());
        found.any(|found| type_names.contains(&found.type_name))
    }

    /// What a parameter finds in a resource.
    pub fn found(&self, n: usize, parameter: &'static SearchParameter) -> Rc<Vec<Found>> {
        if let Some(known) = self.found.borrow().get(&(n, parameter.code.as_str())) {
            return known.clone();
        }
        let resource = &self.resources[n];
        let focus = Item::resource(resource, Definitions::r4()).unwrap();
        let codes = implied_systems(resource);
        let items = self.evaluate(resource, focus, expression_of(parameter));
        let mut found: Vec<Found> = items.iter().filter_map(|item| found_in(item, &codes)).collect();
        if parameter.kind == Kind::Date {
            found.retain(|found| !found.is_no_date());
        }
        let found = Rc::new(found);
        self.found.borrow_mut().insert((n, &parameter.code), found.clone());
        found
    }

    /// The parameters whose values the parts of a composite are.
    pub fn components(&self, composite: &SearchParameter) -> Vec<&'static SearchParameter> {
        let definition = |url: &str| {
            Definitions::r4()
                .search_parameters
                .iter()
                .find(|parameter| parameter.url == url)
        };
        composite
            .components
            .iter()
            .map(|component| definition(&component.definition).unwrap())
            .collect()
    }

    /// For each place that a composite stands for, what each of its components finds there.
    pub fn instances(&self, n: usize, composite: &'static SearchParameter) -> Vec<Vec<Vec<Found>>> {
        let resource = &self.resources[n];
        let focus = Item::resource(resource, Definitions::r4()).unwrap();
        let codes = implied_systems(resource);
        let places = self.evaluate(resource, focus, expression_of(composite));
        let parts = |place: &Item<'_>| {
            let part = |component: &'static SearchParameterComponent| {
                // R4 writes DateTime once where it means dateTime.
                let expression = match component.expression.as_str() {
                    "value.as(DateTime) | value.as(Period)" => "value.as(dateTime) | value.as(Period)",
                    expression => expression,
                };
                let items = self.evaluate(resource, place.clone(), expression);
                items.iter().filter_map(|item| found_in(item, &codes)).collect()
            };
            composite.components.iter().map(part).collect()
        };
        places.iter().map(parts).collect()
    }

    fn evaluate<'v>(&self, resource: &'v Value, focus: Item<'v>, expression: &'static str) -> Collection<'v> {
        let definitions = Definitions::r4();
        let mut compiled = self.compiled.borrow_mut();
        // Few and small, and needed until the end of the test.
        let compile = || &*Box::leak(Box::new(Expression::compile(expression, definitions).unwrap()));
        let compiled: &'static Expression = compiled.entry(expression).or_insert_with(compile);
        let now = DateTime::from_timestamp(self.now, 0).unwrap();
        let environment = Environment::new(now)
            .within(Item::resource(resource, definitions).unwrap())
            .with_resolver(types_as_resources());
        compiled.evaluate(&focus, &environment).unwrap()
    }
}

fn expression_of(parameter: &'static SearchParameter) -> &'static str {
    parameter
        .expression
        .as_deref()
        .expect("only parameters with expressions are searched for")
}

/// `None` for an element that has no value.
fn found_in(item: &Item<'_>, codes: &HashMap<*const Value, Vec<&'static str>>) -> Option<Found> {
    match item {
        Item::Element(element) if element.value.is_null() => None,
        Item::Element(element) => Some(Found {
            type_name: &Definitions::r4().get(element.type_id).name,
            value: element.value.clone(),
            implied_systems: codes
                .get(&std::ptr::from_ref(element.value))
                .cloned()
                .unwrap_or_default(),
        }),
        Item::Boolean(answer) => Some(Found {
            type_name: "boolean",
            value: json!(answer),
            implied_systems: Vec::new(),
        }),
        other => panic!("a search parameter yields {other:?}"),
    }
}

/// Every parameter with an expression that applies to a type, its own and those of all resources: composites, or others.
fn parameters_of(resource_type: &str, are_composite: bool) -> Vec<&'static SearchParameter> {
    let definitions = Definitions::r4();
    let id = definitions.type_id(resource_type).unwrap();
    let applies = |parameter: &&SearchParameter| {
        let mut bases = parameter.base.iter().filter_map(|base| definitions.type_id(base));
        bases.any(|base| definitions.is_a(id, base))
            && parameter.expression.is_some()
            && parameter.kind != Kind::Special
            && (parameter.kind == Kind::Composite) == are_composite
            // Two that R4 defines in ways that cannot be meant (docs/search.md).
            && !matches!(parameter.code.as_str(), "relationship" | "characteristic-value")
    };
    definitions.search_parameters.iter().filter(applies).collect()
}

/// For each `code` of a resource, by its place in memory, the systems of its required value set that have it.
fn implied_systems(resource: &Value) -> HashMap<*const Value, Vec<&'static str>> {
    fn walk(object: &Value, type_name: &str, systems: &mut HashMap<*const Value, Vec<&'static str>>) {
        let definitions = Definitions::r4();
        let definition = definitions.get(definitions.type_id(type_name).unwrap());
        for (name, value) in object.as_object().into_iter().flatten() {
            let Some((element, ty)) = definition.property(name) else {
                continue;
            };
            let child = definitions.get(ty.type_id);
            for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                if child.kind != TypeKind::Primitive {
                    walk(value, &child.name, systems);
                } else if let Some(binding) = &element.binding
                    && let Some(codes) = definitions.value_sets.get(&binding.value_set)
                {
                    let of_code = codes
                        .iter()
                        .filter(|(_, code)| value == code)
                        .map(|(system, _)| system.as_str());
                    systems.insert(value, of_code.collect());
                }
            }
        }
    }
    let mut systems = HashMap::new();
    walk(resource, resource["resourceType"].as_str().unwrap(), &mut systems);
    systems
}
