//! What a search must find, by the shortest way from the specification (<https://hl7.org/fhir/R4/search.html>): every
//! resource is read, the expression of every parameter is evaluated on it by the FHIRPath engine, and each value that it
//! yields is compared with what is asked for.
//!
//! Nothing here knows of index rows, numbers of parameters or SQL. What a value *means* is in [`super::matching`].

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use fastrand::Rng;
use jiff::Timestamp;
use medconsult::knowledge::definitions::{Definitions, SearchParameter, SearchParameterType as Kind, TypeKind};
use medconsult::knowledge::fhirpath::values::DateTime;
use medconsult::knowledge::fhirpath::{Environment, Expression, Item, Resolver};
use serde_json::{Value, json};

use super::matching::{self, Found, SortValue};
use super::searches::{Asked, Criterion, Search};

/// What was worked out before.
type Memory<K, V> = RefCell<HashMap<K, Rc<V>>>;

/// All resources that there are, and when it is.
pub struct Naive {
    resources: Vec<Value>,
    now: Timestamp,
    types: BTreeMap<&'static str, Vec<usize>>,
    parameters: HashMap<&'static str, Vec<&'static SearchParameter>>,
    types_as_resources: TypesAsResources,
    /// By type and expression.
    compiled: Memory<(&'static str, &'static str), Expression>,
    /// By resource and code: an expression is evaluated once, however often it is asked for.
    found: Memory<(usize, &'static str), Vec<Found>>,
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
        let parameters = types.keys().map(|&name| (name, parameters_of(name))).collect();
        let all = definitions
            .resource_types()
            .map(|ty| (ty.name.as_str(), json!({"resourceType": ty.name})));
        Naive {
            resources,
            now,
            types,
            parameters,
            types_as_resources: TypesAsResources(all.collect()),
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

    fn parameter(&self, resource_type: &'static str, code: &str) -> &'static SearchParameter {
        self.parameters(resource_type)
            .iter()
            .find(|parameter| parameter.code == code)
            .expect("a parameter that exists")
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
                let parameter = self.parameter(resource_type, code);
                let found = self.found(n, parameter);
                match modifier.as_deref() {
                    Some("missing") => found.iter().any(Found::says_something) != (values[0].text() == "true"),
                    Some("not") => !self.any_matches(&found, parameter, None, values),
                    modifier => self.any_matches(&found, parameter, modifier, values),
                }
            }
        }
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
        let n = self.types[search.resource_type]
            .iter()
            .find(|&&n| self.resources[n]["id"] == id)
            .unwrap();
        let value = |code: &str, descending: bool| {
            let parameter = self.parameter(search.resource_type, code);
            let found = self.found(*n, parameter);
            let values = found
                .iter()
                .flat_map(|found| matching::sort_values(found, parameter.kind));
            // Of several values the one that comes first in the order counts.
            if descending { values.max() } else { values.min() }
        };
        search.sort.iter().map(|key| value(&key.code, key.descending)).collect()
    }

    /// What a parameter finds in a resource.
    pub fn found(&self, n: usize, parameter: &'static SearchParameter) -> Rc<Vec<Found>> {
        if let Some(known) = self.found.borrow().get(&(n, parameter.code.as_str())) {
            return known.clone();
        }
        let expression = parameter
            .expression
            .as_deref()
            .expect("only parameters with expressions are searched for");
        let found = Rc::new(self.evaluate(&self.resources[n], expression));
        self.found.borrow_mut().insert((n, &parameter.code), found.clone());
        found
    }

    fn evaluate(&self, resource: &Value, expression: &'static str) -> Vec<Found> {
        let definitions = Definitions::r4();
        let focus = Item::resource(resource, definitions).unwrap();
        let type_name = definitions
            .resource_type(resource["resourceType"].as_str().unwrap())
            .unwrap()
            .name
            .as_str();
        let compiled = self
            .compiled
            .borrow_mut()
            .entry((type_name, expression))
            .or_insert_with(|| Rc::new(Expression::compile(expression, definitions).unwrap()))
            .clone();
        let now = DateTime::from_timestamp(self.now, 0).unwrap();
        let environment = Environment::new(now)
            .within(focus.clone())
            .with_resolver(&self.types_as_resources);
        let codes = implied_systems(resource);
        let items = compiled.evaluate(&focus, &environment).unwrap();
        let found = items.iter().filter_map(|item| match item {
            Item::Element(element) if element.value.is_null() => None,
            Item::Element(element) => Some(Found {
                type_name: &definitions.get(element.type_id).name,
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
            other => panic!("{expression} yields {other:?}"),
        });
        found.collect()
    }
}

/// Every parameter with an expression that applies to a type, its own and those of all resources.
fn parameters_of(resource_type: &str) -> Vec<&'static SearchParameter> {
    let definitions = Definitions::r4();
    let id = definitions.type_id(resource_type).unwrap();
    let applies = |parameter: &&SearchParameter| {
        let mut bases = parameter.base.iter().filter_map(|base| definitions.type_id(base));
        bases.any(|base| definitions.is_a(id, base))
            && parameter.expression.is_some()
            && !matches!(parameter.kind, Kind::Composite | Kind::Special)
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
