//! The search parameters of every resource type, with their numbers in the database.
//!
//! <https://hl7.org/fhir/R4/searchparameter-registry.html>. A pair (type, code) has one small number; index rows hold it
//! instead of a type and a name.
//!
//! **They change while servers run**: R4's own are always there, others come and go with SearchParameter resources
//! ([`own`](super::own)). What a server knows at one moment is a [`SearchRegistry`], which never changes; a
//! [`LiveRegistry`] holds the present one. Each has the generation of the database's registry that it was read at, by
//! which a write is refused that would index by what is no longer valid.

pub mod change;
mod live;
mod load;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

pub use live::LiveRegistry;

use self::tokens::Tokens;
use super::layout::Layout;
use super::reindex::honesty::Concern;
use super::types::concept::Bare;
use super::types::reference::Locator;
use super::types::token::Case;
use crate::fhir::access::members::patient_parameters;
use crate::fhir::error::FhirError;
use crate::knowledge::definitions::{Definitions, SearchParameter, SearchParameterType, TypeId};

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
    pub definition: Arc<SearchParameter>,
    pub family: Family,
    /// The generation of the registry that this definition came with. A number may be given again to another definition,
    /// with a later generation.
    pub generation: i64,
    /// Whether a SearchParameter resource defines it, rather than R4.
    pub is_own: bool,
    tokens: OnceLock<Tokens>,
}

impl Parameter {
    /// Whether its values lead to resources.
    pub fn refers(&self) -> bool {
        self.family == Family::Reference
    }
}

struct TypeParameters {
    type_id: TypeId,
    by_code: BTreeMap<String, Parameter>,
    layout: OnceLock<Layout>,
}

/// The search parameters at one moment.
pub struct SearchRegistry {
    definitions: &'static Definitions,
    base_url: String,
    generation: i64,
    /// Shared between the registries of several moments, so that a change of one type's parameters leaves the plans of the
    /// others as they are.
    types: HashMap<&'static str, Arc<TypeParameters>>,
    /// Parameters that come and go, or by which not all resources are indexed yet.
    concerns: HashMap<i16, Concern>,
    /// The CapabilityStatement, written when it is first asked for: it is large, and the same as long as the parameters are.
    pub(in crate::fhir) capabilities: OnceLock<String>,
}

impl SearchRegistry {
    pub fn definitions(&self) -> &'static Definitions {
        self.definitions
    }

    /// Which generation of the database's registry this is.
    pub fn generation(&self) -> i64 {
        self.generation
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

    /// The number of every parameter of a type.
    pub fn all_numbers(&self, resource_type: &str) -> impl Iterator<Item = i16> {
        self.parameters(resource_type).map(|parameter| parameter.id)
    }

    /// What a search by the parameter of this number must look at; `None` where nothing can change.
    pub fn concern(&self, parameter: i16) -> Option<&Concern> {
        self.concerns.get(&parameter)
    }

    /// Whether there are resources that are not indexed by the parameter of this number yet.
    pub fn is_incomplete(&self, parameter: i16) -> bool {
        self.concern(parameter).is_some_and(|concern| concern.is_incomplete)
    }

    /// How codes of this token parameter stand in the index, and which systems its bare codes imply.
    pub(super) fn token_facts<'p>(&self, resource_type: &str, parameter: &'p Parameter) -> (Case, &'p [String]) {
        let facts = self.tokens(resource_type, parameter);
        (facts.case, &facts.implied)
    }

    /// What a code without a system among the values of this parameter is taken for.
    pub(super) fn bare_codes(&self, resource_type: &str, parameter: &Parameter) -> Bare {
        let facts = self.tokens(resource_type, parameter);
        match facts.is_open {
            true => Bare::OfAny,
            false => Bare::Of(facts.implied.clone()),
        }
    }

    fn tokens<'p>(&self, resource_type: &str, parameter: &'p Parameter) -> &'p Tokens {
        parameter.tokens.get_or_init(|| {
            let type_id = self.types.get(resource_type).map(|ty| ty.type_id);
            type_id.map_or_else(Tokens::unknown, |type_id| {
                Tokens::of(self.definitions, type_id, &parameter.definition)
            })
        })
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
            .and_then(|id| tokens::leaves(self.definitions, id, expression))
            .unwrap_or_default();
        let is_canonical = |name: &str| matches!(name, "canonical" | "uri");
        leaves
            .iter()
            .any(|leaf| is_canonical(&self.definitions.get(leaf.0).name))
    }

    /// The parameters that tie resources to a Patient ([`patient_parameters`]): pairs of a type and the number under which
    /// rows stand.
    ///
    /// # Errors
    /// 500 when a search parameter cannot be compiled.
    pub fn patient_ties(&self) -> Result<Vec<(&'static str, i16)>, FhirError> {
        let mut ties = Vec::new();
        for ty in self.definitions.resource_types() {
            let codes = patient_parameters(self.definitions, &ty.name);
            let parameters = codes.iter().filter_map(|code| self.parameter(&ty.name, code));
            for parameter in parameters.filter(|parameter| parameter.family == Family::Reference) {
                let numbers = self.numbers(&ty.name, parameter)?;
                ties.extend(numbers.into_iter().map(|number| (ty.name.as_str(), number)));
            }
        }
        Ok(ties)
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

    /// The numbers under which the rows of a reference parameter stand; `None` for another one.
    pub(in crate::fhir) fn reference_numbers(&self, resource_type: &str, parameter: &Parameter) -> Option<Vec<i16>> {
        let is_reference = parameter.family == Family::Reference;
        is_reference
            .then(|| self.numbers(resource_type, parameter).ok())
            .flatten()
    }

    /// The numbers under which the rows of a parameter stand: its own, or those of the parameters that it unites.
    pub(super) fn numbers(&self, resource_type: &str, parameter: &Parameter) -> Result<Vec<i16>, FhirError> {
        let layout = self.layout(resource_type)?;
        Ok(layout.map_or_else(|| vec![parameter.id], |layout| layout.numbers(parameter.id)))
    }
}
