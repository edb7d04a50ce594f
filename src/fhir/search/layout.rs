//! What is found in resources of one type, and under which numbers it stands in the index.
//!
//! A parameter's values stand under its own number, but for those that R4 defines as the union of others (`combo-code` is
//! `code` and `component-code`): they have no rows of their own, and those of the others are searched. It saves a fifth of
//! an Observation's rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::registry::{Family, Key, Parameter};
use crate::fhir::error::FhirError;
use crate::knowledge::definitions::{Definitions, TypeId};
use crate::knowledge::extraction::{CompositePlan, ExtractionPlan};

/// The parameters of one type, compiled.
pub struct Layout {
    pub values: ExtractionPlan<Key>,
    /// By number.
    pub composites: CompositePlan<i16>,
    /// The families of the components of each composite that has rows.
    pub families: HashMap<i16, Vec<Family>>,
    /// Every composite, by number.
    composite_facts: HashMap<i16, Composite>,
    /// The numbers of the others, for each parameter that is their union.
    unions: HashMap<i16, Vec<i16>>,
    /// The tokens that find Identifiers.
    identifiers: HashSet<i16>,
}

/// How a composite is searched.
#[derive(Debug)]
pub struct Composite {
    /// The numbers under which its rows stand.
    pub params: Vec<i16>,
    pub components: Vec<Component>,
}

/// How one component of a composite is searched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    pub family: Family,
    /// The code of the parameter of the same type that knows more of its values, if there is one.
    pub parameter: Option<String>,
}

impl Layout {
    /// # Errors
    /// 500 when a parameter cannot be compiled.
    pub fn new<'p>(
        definitions: &'static Definitions,
        ty: TypeId,
        parameters: impl Iterator<Item = &'p Parameter>,
    ) -> Result<Layout, FhirError> {
        let parameters: Vec<&Parameter> = parameters.collect();
        let with_expression =
            |p: &&'p Parameter| Some((*p, branches(definitions, ty, p.definition.expression.as_deref()?)));
        let (composites, others): (Vec<_>, Vec<_>) = parameters
            .iter()
            .filter_map(with_expression)
            .partition(|(p, _)| p.family == Family::Composite);

        // References are followed from and to by number, in more places than searches are read at.
        let plain = others.iter().filter(|(p, _)| p.family != Family::Reference);
        let unions = united(plain.map(|(p, branches)| {
            let parts = branches.iter().map(|&branch| (p.family, branch));
            (p.id, is_built_in(definitions, p), parts.collect())
        }));
        let key = |p: &Parameter| Key {
            id: p.id,
            family: p.family,
        };
        let stored = others.iter().filter(|(p, _)| !unions.contains_key(&p.id));
        let values = stored.filter_map(|(p, _)| Some((key(p), p.definition.expression.as_deref()?)));
        let values = ExtractionPlan::compile(definitions, ty, values).map_err(FhirError::internal)?;
        let identifier = definitions.type_id("Identifier");
        let finds_identifiers = |p: &Parameter| values.types_of(&key(p)).into_iter().any(|ty| Some(ty) == identifier);
        let tokens = others.iter().filter(|(p, _)| p.family == Family::Token);
        let identifiers = tokens
            .filter(|(p, _)| finds_identifiers(p))
            .map(|(p, _)| p.id)
            .collect();

        let components = |p: &'p Parameter| p.definition.components.iter().map(|c| c.expression.as_str());
        let united_composites = united(composites.iter().map(|(p, branches)| {
            let places = branches
                .iter()
                .map(|&branch| (branch, components(p).collect::<Vec<_>>()));
            let places: Vec<_> = places.collect();
            (p.id, is_built_in(definitions, p), places)
        }));
        let stored = composites
            .iter()
            .filter(|(p, _)| !united_composites.contains_key(&p.id));
        let stored = stored.flat_map(|(p, branches)| {
            let instances = branches.iter();
            instances.map(|branch| (p.id, *branch, components(p).collect::<Vec<_>>()))
        });
        let composite_plan = CompositePlan::compile(definitions, ty, stored).map_err(FhirError::internal)?;

        let mut composite_facts = HashMap::new();
        let mut families = HashMap::new();
        for (p, _) in &composites {
            let params = united_composites.get(&p.id).cloned().unwrap_or_else(|| vec![p.id]);
            let components: Vec<Component> = (0..p.definition.components.len())
                .map(|place| {
                    let types = composite_plan.component_types(&params[0], place);
                    component(definitions, &parameters, p, place, &types)
                })
                .collect();
            if !united_composites.contains_key(&p.id) {
                families.insert(p.id, components.iter().map(|component| component.family).collect());
            }
            composite_facts.insert(p.id, Composite { params, components });
        }
        Ok(Layout {
            values,
            composites: composite_plan,
            families,
            composite_facts,
            unions,
            identifiers,
        })
    }

    /// How a composite is searched; `None` for another kind of parameter.
    pub fn composite(&self, param: i16) -> Option<&Composite> {
        self.composite_facts.get(&param)
    }

    /// Whether a token finds Identifiers, so that `:of-type` applies to it.
    pub fn finds_identifiers(&self, param: i16) -> bool {
        self.numbers(param)
            .iter()
            .any(|number| self.identifiers.contains(number))
    }

    /// The numbers under which the rows of a parameter stand that is no composite.
    pub fn numbers(&self, param: i16) -> Vec<i16> {
        self.unions.get(&param).cloned().unwrap_or_else(|| vec![param])
    }
}

/// The branches of a union that apply to the type.
fn branches<'e>(definitions: &Definitions, ty: TypeId, expression: &'e str) -> Vec<&'e str> {
    let applies = |branch: &&str| {
        let first = branch.trim_start_matches('(').split(['.', ' ', ')']).next();
        let root = first.and_then(|name| definitions.type_id(name));
        root.is_none_or(|root| definitions.is_a(ty, root))
    };
    split_union(expression)
        .into_iter()
        .map(str::trim)
        .filter(applies)
        .collect()
}

/// Splits at each `|` that stands outside of parentheses.
fn split_union(expression: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in expression.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => {
                parts.push(&expression[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

/// Of parameters (number, whether it is one of R4, what it covers), those that cover exactly what several others cover, one
/// each; with the others' numbers. A parameter that may go away while the server runs stands in for none.
fn united<T: Ord>(parameters: impl Iterator<Item = (i16, bool, Vec<T>)>) -> HashMap<i16, Vec<i16>> {
    let (single, several): (Vec<_>, Vec<_>) = parameters.partition(|(_, _, covered)| covered.len() == 1);
    let mut owners: BTreeMap<&T, i16> = BTreeMap::new();
    for (param, _, covered) in single.iter().filter(|(_, is_built_in, _)| *is_built_in) {
        owners.entry(&covered[0]).or_insert(*param);
    }
    let owners_of = |covered: &[T]| -> Option<Vec<i16>> {
        let owners = covered.iter().map(|part| owners.get(part).copied());
        owners.collect()
    };
    several
        .iter()
        .filter(|(_, _, covered)| !covered.is_empty())
        .filter_map(|(param, _, covered)| Some((*param, owners_of(covered)?)))
        .collect()
}

fn is_built_in(definitions: &Definitions, parameter: &Parameter) -> bool {
    let url = parameter.definition.url.as_str();
    definitions.search_parameters.iter().any(|known| known.url == url)
}

/// The component at `place`, whose values have these types.
fn component(
    definitions: &Definitions,
    parameters: &[&Parameter],
    composite: &Parameter,
    place: usize,
    types: &[TypeId],
) -> Component {
    let components = &composite.definition.components;
    // Its own definition, then those of the others: R4 names the two of DocumentReference's `relationship` crosswise.
    let candidates = components[place..].iter().chain(&components[..place]);
    let mut candidates = candidates.filter_map(|candidate| {
        let known = parameters.iter().find(|p| p.definition.url == candidate.definition);
        let defined = || {
            definitions
                .search_parameters
                .iter()
                .find(|p| p.url == candidate.definition)
        };
        let family = known.map(|p| p.family).or_else(|| Family::of(defined()?.kind))?;
        Some((family, known.map(|p| p.definition.code.clone())))
    });
    let names: Vec<&str> = types.iter().map(|ty| definitions.get(*ty).name.as_str()).collect();
    let fits = |family: Family| names.is_empty() || names.iter().any(|name| family.holds(name));
    let fallback = || {
        names
            .iter()
            .find_map(|name| Family::OF_ONE_VALUE.into_iter().find(|family| family.holds(name)))
    };
    let (family, parameter) = candidates
        .find(|(family, _)| fits(*family))
        .unwrap_or_else(|| (fallback().unwrap_or(Family::Token), None));
    Component { family, parameter }
}
