//! The search parameters of every resource type, with their numbers in the database.
//!
//! <https://hl7.org/fhir/R4/searchparameter-registry.html>. A pair (type, code) has one small number for ever; index rows
//! hold it instead of a type and a name.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use sqlx::PgConnection;

use super::layout::Layout;
use super::types::concept::Bare;
use super::types::reference::Locator;
use super::types::token::{self, Case};
use crate::fhir::error::FhirError;
use crate::fhir::store::{Store, TypeNames};
use crate::knowledge::definitions::{Binding, Definitions, SearchParameter, SearchParameterType, TypeId};

/// The tables of index rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    Token,
    Reference,
    String,
    Date,
    Quantity,
    Uri,
    Composite,
}

impl Family {
    /// Those that a component of a composite can have, the more particular ones first.
    pub const OF_ONE_VALUE: [Family; 6] = [
        Family::Reference,
        Family::Quantity,
        Family::Date,
        Family::Uri,
        Family::Token,
        Family::String,
    ];

    /// Where parameters of this kind have their rows; `None` for those without (special).
    pub fn of(kind: SearchParameterType) -> Option<Family> {
        match kind {
            SearchParameterType::Token => Some(Family::Token),
            SearchParameterType::Reference => Some(Family::Reference),
            SearchParameterType::String => Some(Family::String),
            SearchParameterType::Date => Some(Family::Date),
            SearchParameterType::Number | SearchParameterType::Quantity => Some(Family::Quantity),
            SearchParameterType::Uri => Some(Family::Uri),
            SearchParameterType::Composite => Some(Family::Composite),
            SearchParameterType::Special => None,
        }
    }

    /// Whether values of a FHIR type can be indexed here.
    pub fn holds(self, type_name: &str) -> bool {
        match self {
            Family::Token => matches!(
                type_name,
                "CodeableConcept"
                    | "Coding"
                    | "code"
                    | "Identifier"
                    | "ContactPoint"
                    | "boolean"
                    | "id"
                    | "string"
                    | "uri"
            ),
            Family::Reference => matches!(type_name, "Reference" | "canonical" | "uri"),
            Family::String => matches!(type_name, "string" | "markdown" | "HumanName" | "Address"),
            Family::Date => matches!(type_name, "date" | "dateTime" | "instant" | "Period" | "Timing"),
            Family::Quantity => matches!(
                type_name,
                "Quantity"
                    | "Age"
                    | "Count"
                    | "Distance"
                    | "Duration"
                    | "Money"
                    | "Range"
                    | "SampledData"
                    | "decimal"
                    | "integer"
                    | "positiveInt"
                    | "unsignedInt"
            ),
            Family::Uri => matches!(type_name, "uri" | "url" | "canonical" | "oid" | "uuid"),
            Family::Composite => false,
        }
    }

    /// The table with a space to each side.
    pub fn table(self) -> &'static str {
        match self {
            Family::Token => " idx_token ",
            Family::Reference => " idx_reference ",
            Family::String => " idx_string ",
            Family::Date => " idx_date ",
            Family::Quantity => " idx_quantity ",
            Family::Uri => " idx_uri ",
            Family::Composite => " idx_composite ",
        }
    }
}

/// Names a parameter to the extraction plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub id: i16,
    pub family: Family,
}

/// One search parameter of one resource type.
pub struct Parameter {
    /// Its number in index rows.
    pub id: i16,
    pub definition: &'static SearchParameter,
    pub family: Family,
    tokens: OnceLock<Tokens>,
}

/// What is known about the values of a token parameter before any is seen.
struct Tokens {
    case: Case,
    /// Systems that bindings give to elements of type `code`.
    implied: Vec<String>,
    /// Whether there is an element of type `code` without a binding that tells.
    is_open: bool,
}

struct TypeParameters {
    type_id: TypeId,
    by_code: BTreeMap<&'static str, Parameter>,
    layout: OnceLock<Layout>,
}

pub struct SearchRegistry {
    definitions: &'static Definitions,
    base_url: String,
    types: HashMap<&'static str, TypeParameters>,
}

impl SearchRegistry {
    /// Loads the registry, numbering in the database what has no number yet.
    ///
    /// `base_url` is the FHIR base of this server without a slash at its end: absolute references below it are local.
    ///
    /// # Errors
    /// 503 when the database cannot be reached or may not be written although parameters lack their numbers.
    pub async fn load(
        store: &Store,
        definitions: &'static Definitions,
        base_url: &str,
    ) -> Result<SearchRegistry, FhirError> {
        let wanted = applicable(store.types(), definitions);
        let mut lease = store.planned().await?;
        let numbers = number(&mut lease, &wanted).await?;
        lease.release();
        let mut types: HashMap<&'static str, TypeParameters> = HashMap::new();
        for (type_name, number, definition) in wanted {
            let (Some(type_id), Some(family)) = (definitions.type_id(type_name), Family::of(definition.kind)) else {
                continue;
            };
            let Some(&id) = numbers.get(&(number, definition.code.clone())) else {
                continue;
            };
            let parameter = Parameter {
                id,
                definition,
                family,
                tokens: OnceLock::new(),
            };
            types
                .entry(type_name)
                .or_insert_with(|| TypeParameters {
                    type_id,
                    by_code: BTreeMap::new(),
                    layout: OnceLock::new(),
                })
                .by_code
                .insert(&definition.code, parameter);
        }
        Ok(SearchRegistry {
            definitions,
            base_url: base_url.to_owned(),
            types,
        })
    }

    pub fn definitions(&self) -> &'static Definitions {
        self.definitions
    }

    /// Tells references to this server from others.
    pub fn locator(&self) -> Locator<'_> {
        Locator {
            definitions: self.definitions,
            base_url: &self.base_url,
        }
    }

    /// The parameter `code` of a resource type, if resources are indexed by it.
    pub fn parameter(&self, resource_type: &str, code: &str) -> Option<&Parameter> {
        self.types.get(resource_type)?.by_code.get(code)
    }

    /// Every parameter that resources of this type are indexed by, by code. `_id` and `_lastUpdated`, which every type
    /// has, are columns of the resource itself and not among them.
    pub fn parameters(&self, resource_type: &str) -> impl Iterator<Item = &Parameter> {
        self.types
            .get(resource_type)
            .into_iter()
            .flat_map(|t| t.by_code.values())
    }

    /// How codes of this token parameter stand in the index, and which systems its bare codes imply.
    pub(super) fn token_facts<'p>(&self, resource_type: &str, parameter: &'p Parameter) -> (Case, &'p [String]) {
        let facts = parameter
            .tokens
            .get_or_init(|| self.learn(resource_type, parameter.definition));
        (facts.case, &facts.implied)
    }

    /// What a code without a system among the values of this parameter is taken for.
    pub(super) fn bare_codes(&self, resource_type: &str, parameter: &Parameter) -> Bare {
        let facts = parameter
            .tokens
            .get_or_init(|| self.learn(resource_type, parameter.definition));
        match facts.is_open {
            true => Bare::OfAny,
            false => Bare::Of(facts.implied.clone()),
        }
    }

    /// The parameter by which resources of a type refer to the one of the same type that stands above them.
    pub(super) fn parent(&self, resource_type: &str) -> Option<i16> {
        let codes = ["partof", "part-of", "parent"];
        let mut found = codes.iter().filter_map(|code| self.parameter(resource_type, code));
        let parameter = found.find(|p| p.definition.targets.iter().any(|target| target == resource_type))?;
        (parameter.family == Family::Reference).then_some(parameter.id)
    }

    /// Whether values of this reference parameter are canonical URLs.
    pub(super) fn holds_canonicals(&self, resource_type: &str, parameter: &Parameter) -> bool {
        let expression = parameter.definition.expression.as_deref().unwrap_or_default();
        let id = self.definitions.type_id(resource_type);
        let leaves = id
            .and_then(|id| leaves(self.definitions, id, expression))
            .unwrap_or_default();
        let is_canonical = |name: &str| matches!(name, "canonical" | "uri");
        leaves
            .iter()
            .any(|leaf| is_canonical(&self.definitions.get(leaf.0).name))
    }

    /// What is found in resources of a type, and where it stands; `None` for a type that R4 does not have.
    pub(super) fn layout(&self, resource_type: &str) -> Result<Option<&Layout>, FhirError> {
        let Some(parameters) = self.types.get(resource_type) else {
            return Ok(None);
        };
        if let Some(layout) = parameters.layout.get() {
            return Ok(Some(layout));
        }
        let layout = Layout::new(self.definitions, parameters.type_id, parameters.by_code.values())?;
        Ok(Some(parameters.layout.get_or_init(|| layout)))
    }

    /// The numbers under which the rows of a parameter stand: its own, or those of the parameters that it unites.
    pub(super) fn numbers(&self, resource_type: &str, parameter: &Parameter) -> Result<Vec<i16>, FhirError> {
        let layout = self.layout(resource_type)?;
        Ok(layout.map_or_else(|| vec![parameter.id], |layout| layout.numbers(parameter.id)))
    }

    fn learn(&self, resource_type: &str, definition: &SearchParameter) -> Tokens {
        let expression = definition.expression.as_deref().unwrap_or_default();
        let Some(leaves) = self
            .definitions
            .type_id(resource_type)
            .and_then(|id| leaves(self.definitions, id, expression))
        else {
            return Tokens {
                case: Case::Mixed,
                implied: Vec::new(),
                is_open: true,
            };
        };
        let mut cases = leaves
            .iter()
            .map(|leaf| token::case_of(&self.definitions.get(leaf.0).name));
        let first = cases.next().unwrap_or(Case::Mixed);
        let case = if cases.all(|case| case == first) {
            first
        } else {
            Case::Mixed
        };
        let mut implied: Vec<String> = Vec::new();
        let mut is_open = false;
        for leaf in leaves.iter().filter(|leaf| self.definitions.get(leaf.0).name == "code") {
            match leaf
                .1
                .and_then(|binding| self.definitions.value_sets.get(&binding.value_set))
            {
                Some(codes) => implied.extend(codes.iter().map(|(system, _)| system.clone())),
                None => is_open = true,
            }
        }
        implied.sort_unstable();
        implied.dedup();
        Tokens { case, implied, is_open }
    }
}

/// Every (type name, type number, parameter) of parameters that are indexed.
fn applicable(
    numbers: &TypeNames,
    definitions: &'static Definitions,
) -> Vec<(&'static str, i16, &'static SearchParameter)> {
    let mut applicable = Vec::new();
    for definition in &definitions.search_parameters {
        // `_id` and `_lastUpdated` are columns of the resource row.
        let column = matches!(definition.code.as_str(), "_id" | "_lastUpdated");
        if column || definition.expression.is_none() || Family::of(definition.kind).is_none() {
            continue;
        }
        for base in definition.base.iter().filter_map(|base| definitions.type_id(base)) {
            for concrete in definitions.resource_types().filter(|t| definitions.is_a(t.id, base)) {
                if let Some(number) = numbers.id(&concrete.name) {
                    applicable.push((concrete.name.as_str(), number, definition));
                }
            }
        }
    }
    applicable
}

/// The numbers of all wanted parameters, after giving one to each that had none.
async fn number(
    connection: &mut PgConnection,
    wanted: &[(&'static str, i16, &'static SearchParameter)],
) -> Result<HashMap<(i16, String), i16>, FhirError> {
    // Instances that start together would give out the same numbers; a unique key refuses the later one's, which then
    // finds what the earlier one wrote.
    const ADD: &str = "INSERT INTO search_parameter (id, type, code, url) \
         SELECT (SELECT coalesce(max(id), 0) FROM search_parameter) + row_number() OVER (ORDER BY type, code), \
                type, code, url \
         FROM unnest($1::smallint[], $2::text[], $3::text[]) AS new (type, code, url) ON CONFLICT DO NOTHING";
    loop {
        let rows: Vec<(i16, i16, String)> = sqlx::query_as("SELECT id, type, code FROM search_parameter")
            .fetch_all(&mut *connection)
            .await?;
        let known: HashMap<(i16, String), i16> = rows.into_iter().map(|(id, ty, code)| ((ty, code), id)).collect();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(_, ty, definition)| !known.contains_key(&(*ty, definition.code.clone())))
            .collect();
        if missing.is_empty() {
            return Ok(known);
        }
        let types: Vec<i16> = missing.iter().map(|(_, ty, _)| *ty).collect();
        let codes: Vec<&str> = missing
            .iter()
            .map(|(_, _, definition)| definition.code.as_str())
            .collect();
        let urls: Vec<&str> = missing
            .iter()
            .map(|(_, _, definition)| definition.url.as_str())
            .collect();
        sqlx::query(ADD)
            .bind(types)
            .bind(codes)
            .bind(urls)
            .execute(&mut *connection)
            .await?;
    }
}

/// The types of the values that an expression yields from a resource of type `of`, with their bindings. `None` when the
/// expression is more than paths, choices of type and filters.
fn leaves<'d>(
    definitions: &'d Definitions,
    of: TypeId,
    expression: &str,
) -> Option<Vec<(TypeId, Option<&'d Binding>)>> {
    let mut leaves = Vec::new();
    for branch in split_outside(expression, '|') {
        let mut branch = branch.trim();
        while let Some(inner) = branch.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            if inner.contains(')') && inner.find(')') < inner.find('(') {
                return None;
            }
            branch = inner.trim();
        }
        let (path, cast) = branch
            .split_once(" as ")
            .map_or((branch, None), |(path, cast)| (path, Some(cast.trim())));
        let mut steps = split_outside(path, '.').into_iter();
        let root = definitions.type_id(steps.next()?.trim())?;
        if !definitions.is_a(of, root) {
            continue;
        }
        let mut at = vec![(of, None)];
        for step in steps {
            let argument = |name: &str| step.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
            if argument("where").is_some() || argument("first").is_some() {
                continue;
            } else if let Some(name) = argument("as").or_else(|| argument("ofType")) {
                let wanted = definitions.type_id(name)?;
                at.retain(|leaf| leaf.0 == wanted);
            } else {
                at = follow(definitions, &at, step)?;
            }
        }
        if let Some(cast) = cast {
            let wanted = definitions.type_id(cast)?;
            at.retain(|leaf| leaf.0 == wanted);
        }
        leaves.extend(at);
    }
    Some(leaves)
}

/// The values of the element `step` of each of `from`.
fn follow<'d>(
    definitions: &'d Definitions,
    from: &[(TypeId, Option<&'d Binding>)],
    step: &str,
) -> Option<Vec<(TypeId, Option<&'d Binding>)>> {
    let name = step.split('[').next()?;
    let elements = from
        .iter()
        .filter_map(|leaf| definitions.get(leaf.0).elements.iter().find(|e| e.name == name));
    let next: Vec<_> = elements
        .flat_map(|e| e.types.iter().map(|t| (t.type_id, e.binding.as_ref())))
        .collect();
    (!next.is_empty()).then_some(next)
}

/// Splits at each `separator` that stands outside of parentheses.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
