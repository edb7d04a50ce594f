//! What an evaluation may ask for besides its input: variables, the time, and look-ups that need a store.

use std::collections::HashMap;

use serde_json::Value;

use super::item::Item;
use super::values::DateTime;

/// Look-ups that the engine cannot answer from the input alone. Every method answers at once, from memory: a caller
/// whose data lie elsewhere fetches them before it evaluates. `None` means “not known”.
pub trait Resolver {
    /// The resource that a literal reference or canonical URL names. The engine itself finds contained resources and
    /// the entries of the Bundle it is in.
    fn resolve(&self, _reference: &str) -> Option<&Value> {
        None
    }

    /// Whether one of these codings (system, code) is in the value set with that canonical URL. A `code` element has
    /// no system. `None` makes the engine look into the value sets of R4's required bindings.
    fn member_of(&self, _value_set: &str, _codings: &[(Option<&str>, &str)]) -> Option<bool> {
        None
    }

    /// Whether a resource conforms to the profile with that canonical URL. `None` makes the engine compare types when
    /// the URL is that of a type of R4.
    fn conforms_to(&self, _resource: &Value, _profile: &str) -> Option<bool> {
        None
    }

    /// Whether the first coding (system, code) is the second one or an ancestor of it.
    fn subsumes(&self, _ancestor: (&str, &str), _descendant: (&str, &str)) -> Option<bool> {
        None
    }
}

/// Receives what `trace(name)` was called on. It is patient data: it does not belong into a log.
pub type TraceSink<'a> = &'a dyn Fn(&str, &[Item<'_>]);

/// Everything around one evaluation.
#[derive(Clone)]
pub struct Environment<'a> {
    /// What `now()`, `today()` and `timeOfDay()` say. A caller gives it, so that an evaluation can be repeated.
    pub now: DateTime,
    /// `%resource`: the resource that holds the focus. By default the focus itself.
    pub resource: Option<Item<'a>>,
    /// `%rootResource`: the resource that contains `%resource`, where that is a contained one. By default `%resource`.
    pub root_resource: Option<Item<'a>>,
    /// Further variables, by name without `%`.
    pub variables: HashMap<String, Vec<Item<'a>>>,
    pub resolver: Option<&'a dyn Resolver>,
    pub trace: Option<TraceSink<'a>>,
    /// How much work an evaluation may do before it ends in an error; one unit is about one item looked at.
    pub budget: u64,
}

/// Enough for every invariant over a Bundle of tens of megabytes, and spent in a few seconds at most.
pub const DEFAULT_BUDGET: u64 = 50_000_000;

impl<'a> Environment<'a> {
    pub fn new(now: DateTime) -> Self {
        Environment {
            now,
            resource: None,
            root_resource: None,
            variables: HashMap::new(),
            resolver: None,
            trace: None,
            budget: DEFAULT_BUDGET,
        }
    }

    /// With `%resource` set, for a focus inside of it.
    pub fn within(mut self, resource: Item<'a>) -> Self {
        self.resource = Some(resource);
        self
    }

    /// With `%rootResource` set, for a `%resource` that is contained in it.
    pub fn contained_in(mut self, root: Item<'a>) -> Self {
        self.root_resource = Some(root);
        self
    }

    pub fn with_resolver(mut self, resolver: &'a dyn Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    pub fn with_variable(mut self, name: &str, value: Vec<Item<'a>>) -> Self {
        self.variables.insert(name.to_owned(), value);
        self
    }
}
