//! FHIR R4 as data: types with their elements, search parameters, compartments and code systems.
//!
//! Loaded once from `fhir-schemas/`, which `medconsult schemas` generates from HL7's definitions
//! (<https://hl7.org/fhir/R4/structuredefinition.html>). Everything here is a fact about R4; nothing knows HTTP or SQL.

mod load;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use load::{LoadError, Sources};

/// Index of a type in [`Definitions`]. Two ids are equal if and only if the types are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TypeId(pub u16);

/// What sort of type a [`TypeDefinition`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TypeKind {
    /// `boolean`, `string`, `date`, …: a JSON scalar with an optional `_name` sibling.
    Primitive,
    /// `HumanName`, `Quantity`, `Element`, `BackboneElement`, …
    Complex,
    /// A nested element with children of its own, named by its path: `Patient.contact`.
    Backbone,
    /// `Patient`, `DomainResource`, `Resource`, …
    Resource,
}

/// One FHIR type, with its own and its inherited elements in the order of the specification.
#[derive(Debug, Clone)]
pub struct TypeDefinition {
    pub id: TypeId,
    /// `Patient`, `HumanName`, `string`, or a path for a backbone: `Patient.contact`.
    pub name: String,
    pub kind: TypeKind,
    /// The type this one specialises; a backbone's base is `BackboneElement` or `Element`.
    pub base: Option<TypeId>,
    pub is_abstract: bool,
    pub elements: Vec<ElementDefinition>,
    pub invariants: Vec<Invariant>,
    /// JSON property name (`valueQuantity`, `birthDate`; without a leading `_`) → (element, index into its `types`).
    pub by_property: HashMap<String, (u16, u16)>,
}

/// One element of a type (<https://hl7.org/fhir/R4/elementdefinition.html>).
#[derive(Debug, Clone)]
pub struct ElementDefinition {
    /// Name without `[x]`: `value`, `birthDate`.
    pub name: String,
    /// Whether the specification writes `[x]` after the name: one property per type, at most one of them present.
    pub is_choice: bool,
    /// Never empty.
    pub types: Vec<ElementType>,
    pub min: u32,
    /// `None` is `*`.
    pub max: Option<u32>,
    /// Whether the element repeats and therefore is a JSON array.
    pub is_array: bool,
    /// The id of a resource or element and the url of an extension: a JSON string that never has a `_name` sibling.
    pub is_bare: bool,
    pub is_summary: bool,
    pub is_modifier: bool,
    /// Canonical URLs of the profiles its values must meet: `SimpleQuantity`.
    pub profiles: Vec<String>,
    pub binding: Option<Binding>,
    /// Invariants stated on the element itself (their context is each of its values).
    pub invariants: Vec<Invariant>,
}

/// One allowed type of an element.
#[derive(Debug, Clone)]
pub struct ElementType {
    pub type_id: TypeId,
    /// Allowed target types of a `Reference` or `canonical`; empty means any.
    pub targets: Vec<TypeId>,
}

#[derive(Debug, Clone)]
pub struct Binding {
    pub strength: BindingStrength,
    /// Canonical URL without version.
    pub value_set: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindingStrength {
    Required,
    Extensible,
    Preferred,
    Example,
}

/// A FHIRPath constraint.
#[derive(Debug, Clone)]
pub struct Invariant {
    /// `ele-1`, `dom-3`, …
    pub key: String,
    pub is_error: bool,
    pub expression: String,
}

/// <https://hl7.org/fhir/R4/search.html#ptypes>
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SearchParameterType {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl SearchParameterType {
    const ALL: [SearchParameterType; 9] = [
        SearchParameterType::Number,
        SearchParameterType::Date,
        SearchParameterType::String,
        SearchParameterType::Token,
        SearchParameterType::Reference,
        SearchParameterType::Composite,
        SearchParameterType::Quantity,
        SearchParameterType::Uri,
        SearchParameterType::Special,
    ];

    /// The code of <https://hl7.org/fhir/R4/valueset-search-param-type.html>.
    pub fn code(self) -> &'static str {
        match self {
            SearchParameterType::Number => "number",
            SearchParameterType::Date => "date",
            SearchParameterType::String => "string",
            SearchParameterType::Token => "token",
            SearchParameterType::Reference => "reference",
            SearchParameterType::Composite => "composite",
            SearchParameterType::Quantity => "quantity",
            SearchParameterType::Uri => "uri",
            SearchParameterType::Special => "special",
        }
    }

    pub fn from_code(code: &str) -> Option<SearchParameterType> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// <https://hl7.org/fhir/R4/searchparameter.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchParameter {
    pub url: String,
    /// The name in a query: `birthdate`, `_tag`.
    pub code: String,
    pub kind: SearchParameterType,
    /// Types it applies to; may be abstract (`Resource`, `DomainResource`).
    pub base: Vec<String>,
    /// FHIRPath, possibly a union over several bases; `None` for a special parameter without one (`_text`, `_content`).
    pub expression: Option<String>,
    /// Target types of a reference parameter.
    pub targets: Vec<String>,
    pub components: Vec<SearchParameterComponent>,
}

/// One part of a composite parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchParameterComponent {
    /// Canonical URL of the part's own SearchParameter.
    pub definition: String,
    /// FHIRPath relative to the composite's expression.
    pub expression: String,
}

/// <https://hl7.org/fhir/R4/compartmentdefinition.html>
#[derive(Debug)]
pub struct Compartment {
    /// `Patient`, `Encounter`, `RelatedPerson`, `Practitioner` or `Device`.
    pub code: String,
    /// Member type → codes of the search parameters that tie it to the compartment (`{def}` for the owner itself is
    /// left out: the owner is always a member).
    pub members: HashMap<String, Vec<String>>,
}

/// A code system that a binding draws on (<https://hl7.org/fhir/R4/codesystem.html>).
#[derive(Debug)]
pub struct CodeSystem {
    pub version: Option<String>,
    /// `None` when the code system does not say.
    pub is_case_sensitive: Option<bool>,
    pub codes: Vec<String>,
    /// Pairs of a code and one right below it; empty where the codes are a plain list.
    pub hierarchy: Vec<(String, String)>,
}

/// Everything R4 that is known without a database.
#[derive(Debug)]
pub struct Definitions {
    pub types: Vec<TypeDefinition>,
    pub type_by_name: HashMap<String, TypeId>,
    pub search_parameters: Vec<SearchParameter>,
    pub compartments: Vec<Compartment>,
    /// Value sets of bindings (but for examples), by canonical URL without version: every (system, code) in them. Those with
    /// codes that HL7's package does not hold (media types, currencies, UCUM units) are absent.
    pub value_sets: HashMap<String, Vec<(String, String)>>,
    /// Code systems behind those value sets, by canonical URL.
    pub code_systems: HashMap<String, CodeSystem>,
}

/// The JSON Schemas of `fhir-schemas/schemas/`: (type name, text), sorted by name.
pub const SCHEMAS: &[(&str, &str)] = &include!("../../../fhir-schemas/index.rs");

impl Definitions {
    /// The texts of `code-systems.json` and `value-sets.json`.
    pub const TERMINOLOGY: [&str; 2] = [
        include_str!("../../../fhir-schemas/code-systems.json"),
        include_str!("../../../fhir-schemas/value-sets.json"),
    ];

    /// R4 as compiled into the program; parsed on first use.
    ///
    /// # Panics
    /// When the embedded files are not what `medconsult schemas` wrote; a test loads them.
    pub fn r4() -> &'static Definitions {
        static R4: LazyLock<Definitions> = LazyLock::new(|| {
            Definitions::parse(&Sources {
                types: include_str!("../../../fhir-schemas/types.json"),
                search_parameters: include_str!("../../../fhir-schemas/search-parameters.json"),
                compartments: include_str!("../../../fhir-schemas/compartments.json"),
                code_systems: Definitions::TERMINOLOGY[0],
                value_sets: Definitions::TERMINOLOGY[1],
            })
            .expect("fhir-schemas/ is written by `medconsult schemas`")
        });
        &R4
    }

    pub fn type_id(&self, name: &str) -> Option<TypeId> {
        self.type_by_name.get(name).copied()
    }

    pub fn get(&self, id: TypeId) -> &TypeDefinition {
        &self.types[id.0 as usize]
    }

    /// Whether `child` is `ancestor` or specialises it.
    pub fn is_a(&self, child: TypeId, ancestor: TypeId) -> bool {
        let mut at = Some(child);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.get(id).base;
        }
        false
    }

    /// The concrete resource type of that name, if it is one: `Patient`, not `Resource` or `HumanName`.
    pub fn resource_type(&self, name: &str) -> Option<&TypeDefinition> {
        self.type_id(name)
            .map(|id| self.get(id))
            .filter(|t| t.kind == TypeKind::Resource && !t.is_abstract)
    }

    /// Every concrete resource type, in alphabetical order.
    pub fn resource_types(&self) -> impl Iterator<Item = &TypeDefinition> {
        self.types
            .iter()
            .filter(|t| t.kind == TypeKind::Resource && !t.is_abstract)
    }
}

impl ElementDefinition {
    /// The JSON property of a choice for one of its types: `value` and `Quantity` give `valueQuantity`.
    pub fn choice_property(&self, type_name: &str) -> String {
        let mut characters = type_name.chars();
        let initial = characters.next().map(|c| c.to_ascii_uppercase());
        self.name.chars().chain(initial).chain(characters).collect()
    }
}

impl TypeDefinition {
    /// The element and its type behind a JSON property name (without a leading `_`): `valueQuantity` → (`value`, `Quantity`).
    pub fn property(&self, name: &str) -> Option<(&ElementDefinition, &ElementType)> {
        let &(element, ty) = self.by_property.get(name)?;
        let element = &self.elements[element as usize];
        Some((element, &element.types[ty as usize]))
    }
}
