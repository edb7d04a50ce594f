//! Reads the files of `fhir-schemas/` into [`Definitions`].

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::{
    Binding, BindingStrength, CodeSystem, Compartment, Definitions, ElementDefinition, ElementType, Invariant,
    SearchParameter, SearchParameterComponent, SearchParameterType, TypeDefinition, TypeId, TypeKind,
};

/// The texts of the generated files.
pub struct Sources<'a> {
    pub types: &'a str,
    pub search_parameters: &'a str,
    pub compartments: &'a str,
    pub code_systems: &'a str,
    pub value_sets: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{file}: {source}")]
    Json {
        file: &'static str,
        source: serde_json::Error,
    },
    #[error("{context}: there is no type {name}")]
    NoSuchType { context: String, name: String },
    #[error("{context}: cannot read {text:?}")]
    Malformed { context: String, text: String },
}

#[derive(Deserialize)]
struct RawTypes<'a> {
    #[serde(borrow)]
    types: Vec<RawType<'a>>,
}

#[derive(Deserialize)]
struct RawType<'a> {
    name: &'a str,
    kind: RawKind,
    base: Option<&'a str>,
    #[serde(default, rename = "abstract")]
    is_abstract: bool,
    #[serde(default, borrow)]
    invariants: Vec<RawInvariant<'a>>,
    #[serde(borrow)]
    elements: Vec<RawElement<'a>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Primitive,
    Complex,
    Backbone,
    Resource,
}

#[derive(Deserialize)]
struct RawElement<'a> {
    name: &'a str,
    card: &'a str,
    #[serde(borrow)]
    types: Vec<&'a str>,
    #[serde(default)]
    bare: bool,
    #[serde(default, borrow)]
    profiles: Vec<&'a str>,
    #[serde(default)]
    summary: bool,
    #[serde(default)]
    modifier: bool,
    #[serde(borrow)]
    binding: Option<RawBinding<'a>>,
    #[serde(default, borrow)]
    invariants: Vec<RawInvariant<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBinding<'a> {
    strength: RawStrength,
    value_set: &'a str,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawStrength {
    Required,
    Extensible,
    Preferred,
    Example,
}

#[derive(Deserialize)]
struct RawInvariant<'a> {
    key: &'a str,
    severity: &'a str,
    /// Quotation marks are escaped in JSON, so it cannot always be borrowed.
    #[serde(borrow)]
    expression: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSearchParameters<'a> {
    #[serde(borrow)]
    search_parameters: Vec<RawSearchParameter<'a>>,
}

#[derive(Deserialize)]
struct RawSearchParameter<'a> {
    url: String,
    code: String,
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    base: Vec<String>,
    expression: Option<String>,
    #[serde(default)]
    target: Vec<String>,
    #[serde(default)]
    component: Vec<RawComponent>,
}

#[derive(Deserialize)]
struct RawComponent {
    definition: String,
    expression: String,
}

#[derive(Deserialize)]
struct RawCompartments<'a> {
    #[serde(borrow)]
    memberships: Vec<RawMembership<'a>>,
}

#[derive(Deserialize)]
struct RawMembership<'a> {
    compartment: &'a str,
    #[serde(rename = "type")]
    type_name: String,
    parameters: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCodeSystems {
    code_systems: Vec<RawCodeSystem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCodeSystem {
    url: String,
    version: Option<String>,
    case_sensitive: Option<bool>,
    codes: Vec<String>,
    #[serde(default)]
    hierarchy: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawValueSets {
    value_sets: Vec<RawValueSet>,
}

#[derive(Deserialize)]
struct RawValueSet {
    url: String,
    include: Vec<RawInclude>,
}

#[derive(Deserialize)]
struct RawInclude {
    system: String,
    /// Absent: every code of the system.
    codes: Option<Vec<String>>,
}

impl Definitions {
    /// Reads the generated files.
    ///
    /// # Errors
    /// When a file is not what `medconsult schemas` writes, or names a type that does not exist.
    pub fn parse(sources: &Sources<'_>) -> Result<Definitions, LoadError> {
        let raw: RawTypes<'_> = json("types.json", sources.types)?;
        let type_by_name: HashMap<String, TypeId> = raw
            .types
            .iter()
            .enumerate()
            .map(|(i, t)| (t.name.to_owned(), TypeId(i as u16)))
            .collect();
        let types = TypeBuilder {
            raw: &raw.types,
            ids: &type_by_name,
            built: vec![None; raw.types.len()],
        }
        .build()?;
        let code_systems = code_systems(sources.code_systems)?;
        Ok(Definitions {
            types,
            type_by_name,
            search_parameters: search_parameters(sources.search_parameters)?,
            compartments: compartments(sources.compartments)?,
            value_sets: value_sets(sources.value_sets, &code_systems)?,
            code_systems,
        })
    }
}

fn json<'a, T: Deserialize<'a>>(file: &'static str, text: &'a str) -> Result<T, LoadError> {
    serde_json::from_str(text).map_err(|source| LoadError::Json { file, source })
}

/// Completes each type with what its base gives it; a base is built before the types that specialise it.
struct TypeBuilder<'a> {
    raw: &'a [RawType<'a>],
    ids: &'a HashMap<String, TypeId>,
    built: Vec<Option<TypeDefinition>>,
}

impl TypeBuilder<'_> {
    fn build(mut self) -> Result<Vec<TypeDefinition>, LoadError> {
        for index in 0..self.raw.len() {
            self.build_one(index)?;
        }
        Ok(self.built.into_iter().flatten().collect())
    }

    fn build_one(&mut self, index: usize) -> Result<(), LoadError> {
        if self.built[index].is_some() {
            return Ok(());
        }
        let raw = &self.raw[index];
        let base = raw.base.map(|name| self.type_id(raw.name, name)).transpose()?;
        let (mut elements, mut invariants) = match base {
            Some(id) => {
                self.build_one(id.0 as usize)?;
                let base = self.built[id.0 as usize].as_ref();
                base.map(|b| (b.elements.clone(), b.invariants.clone()))
                    .unwrap_or_default()
            }
            None => (Vec::new(), Vec::new()),
        };
        for raw_element in &raw.elements {
            let element = self.element(raw.name, raw_element)?;
            match elements
                .iter_mut()
                .find(|e: &&mut ElementDefinition| e.name == element.name)
            {
                Some(inherited) => *inherited = element,
                None => elements.push(element),
            }
        }
        for own in raw.invariants.iter().map(invariant) {
            match invariants.iter_mut().find(|i: &&mut Invariant| i.key == own.key) {
                Some(inherited) => *inherited = own,
                None => invariants.push(own),
            }
        }
        let by_property = self.properties(&elements);
        self.built[index] = Some(TypeDefinition {
            id: TypeId(index as u16),
            name: raw.name.to_owned(),
            kind: match raw.kind {
                RawKind::Primitive => TypeKind::Primitive,
                RawKind::Complex => TypeKind::Complex,
                RawKind::Backbone => TypeKind::Backbone,
                RawKind::Resource => TypeKind::Resource,
            },
            base,
            is_abstract: raw.is_abstract,
            elements,
            invariants,
            by_property,
        });
        Ok(())
    }

    fn type_id(&self, context: &str, name: &str) -> Result<TypeId, LoadError> {
        self.ids.get(name).copied().ok_or_else(|| LoadError::NoSuchType {
            context: context.to_owned(),
            name: name.to_owned(),
        })
    }

    fn element(&self, owner: &str, raw: &RawElement<'_>) -> Result<ElementDefinition, LoadError> {
        let malformed = |text: &str| LoadError::Malformed {
            context: owner.to_owned(),
            text: text.to_owned(),
        };
        let (min, max) = raw.card.split_once("..").ok_or_else(|| malformed(raw.card))?;
        let min = min.parse().map_err(|_| malformed(raw.card))?;
        let max = match max {
            "*" => None,
            number => Some(number.parse().map_err(|_| malformed(raw.card))?),
        };
        let types = raw
            .types
            .iter()
            .map(|text| self.element_type(owner, text))
            .collect::<Result<Vec<_>, _>>()?;
        let name = raw.name.strip_suffix("[x]");
        Ok(ElementDefinition {
            name: name.unwrap_or(raw.name).to_owned(),
            is_choice: name.is_some(),
            types,
            min,
            max,
            is_array: max.is_none_or(|max| max > 1),
            is_bare: raw.bare,
            is_summary: raw.summary,
            is_modifier: raw.modifier,
            profiles: raw.profiles.iter().map(|p| (*p).to_owned()).collect(),
            binding: raw.binding.as_ref().map(binding),
            invariants: raw.invariants.iter().map(invariant).collect(),
        })
    }

    /// `HumanName` or `Reference(Patient|Group)`.
    fn element_type(&self, owner: &str, text: &str) -> Result<ElementType, LoadError> {
        let Some((name, targets)) = text.split_once('(') else {
            return Ok(ElementType {
                type_id: self.type_id(owner, text)?,
                targets: Vec::new(),
            });
        };
        let targets = targets
            .trim_end_matches(')')
            .split('|')
            .map(|target| self.type_id(owner, target));
        Ok(ElementType {
            type_id: self.type_id(owner, name)?,
            targets: targets.collect::<Result<_, _>>()?,
        })
    }

    fn properties(&self, elements: &[ElementDefinition]) -> HashMap<String, (u16, u16)> {
        let mut properties = HashMap::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            if !element.is_choice {
                properties.insert(element.name.clone(), (index as u16, 0));
                continue;
            }
            for (choice, element_type) in element.types.iter().enumerate() {
                let name = element.choice_property(self.raw[element_type.type_id.0 as usize].name);
                properties.insert(name, (index as u16, choice as u16));
            }
        }
        properties
    }
}

fn invariant(raw: &RawInvariant<'_>) -> Invariant {
    Invariant {
        key: raw.key.to_owned(),
        is_error: raw.severity == "error",
        expression: raw.expression.clone().into_owned(),
    }
}

fn binding(raw: &RawBinding<'_>) -> Binding {
    Binding {
        strength: match raw.strength {
            RawStrength::Required => BindingStrength::Required,
            RawStrength::Extensible => BindingStrength::Extensible,
            RawStrength::Preferred => BindingStrength::Preferred,
            RawStrength::Example => BindingStrength::Example,
        },
        value_set: raw.value_set.to_owned(),
    }
}

fn search_parameters(text: &str) -> Result<Vec<SearchParameter>, LoadError> {
    let raw: RawSearchParameters<'_> = json("search-parameters.json", text)?;
    raw.search_parameters
        .into_iter()
        .map(|p| {
            Ok(SearchParameter {
                kind: SearchParameterType::from_code(p.kind).ok_or_else(|| LoadError::Malformed {
                    context: p.url.clone(),
                    text: p.kind.to_owned(),
                })?,
                url: p.url,
                code: p.code,
                base: p.base,
                expression: p.expression,
                targets: p.target,
                components: p
                    .component
                    .into_iter()
                    .map(|c| SearchParameterComponent {
                        definition: c.definition,
                        expression: c.expression,
                    })
                    .collect(),
            })
        })
        .collect()
}

fn compartments(text: &str) -> Result<Vec<Compartment>, LoadError> {
    let raw: RawCompartments<'_> = json("compartments.json", text)?;
    let mut compartments: Vec<Compartment> = Vec::new();
    for membership in raw.memberships {
        // Memberships of one compartment stand together.
        if compartments.last().is_none_or(|c| c.code != membership.compartment) {
            compartments.push(Compartment {
                code: membership.compartment.to_owned(),
                members: HashMap::new(),
            });
        }
        if let Some(compartment) = compartments.last_mut() {
            compartment.members.insert(membership.type_name, membership.parameters);
        }
    }
    Ok(compartments)
}

fn code_systems(text: &str) -> Result<HashMap<String, CodeSystem>, LoadError> {
    let raw: RawCodeSystems = json("code-systems.json", text)?;
    let systems = raw.code_systems.into_iter();
    Ok(systems
        .map(|s| {
            (
                s.url,
                CodeSystem {
                    version: s.version,
                    is_case_sensitive: s.case_sensitive,
                    codes: s.codes,
                    hierarchy: s.hierarchy,
                },
            )
        })
        .collect())
}

fn value_sets(
    text: &str,
    code_systems: &HashMap<String, CodeSystem>,
) -> Result<HashMap<String, Vec<(String, String)>>, LoadError> {
    let raw: RawValueSets = json("value-sets.json", text)?;
    let mut value_sets = HashMap::with_capacity(raw.value_sets.len());
    for value_set in raw.value_sets {
        let mut codes = Vec::new();
        for include in value_set.include {
            let listed = match &include.codes {
                Some(listed) => listed,
                None => match code_systems.get(&include.system) {
                    Some(system) => &system.codes,
                    None => {
                        return Err(LoadError::Malformed {
                            context: value_set.url,
                            text: include.system,
                        });
                    }
                },
            };
            codes.extend(listed.iter().map(|code| (include.system.clone(), code.clone())));
        }
        value_sets.insert(value_set.url, codes);
    }
    Ok(value_sets)
}
