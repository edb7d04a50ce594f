//! Where a search looks: at one type, at all (<https://hl7.org/fhir/R4/search.html#context>), or into a compartment
//! (<https://hl7.org/fhir/R4/compartmentdefinition.html>).

use super::Refusal;
use super::value::Criteria;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Criterion, Matches, ResourceType, Types};
use crate::fhir::search::registry::Family;
use crate::fhir::search::types::reference;
use crate::knowledge::definitions::{Compartment, Definitions};

/// What the path of a search names.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'s> {
    Type(&'s str),
    /// All types, or those that `_type` names.
    System,
    /// What belongs to a Patient, Encounter, RelatedPerson, Practitioner or Device: the resources of one type, or all (`*`).
    Compartment {
        owner: &'s str,
        id: &'s str,
        member: Option<&'s str>,
    },
}

impl<'s> From<&'s str> for Scope<'s> {
    fn from(resource_type: &'s str) -> Scope<'s> {
        Scope::Type(resource_type)
    }
}

/// A scope as a search begins with it.
pub(super) struct Start {
    pub types: Types,
    /// Of the search, below the base: `Patient`, empty for all types, `Patient/1/*`.
    pub path: String,
    pub criteria: Vec<Criterion>,
}

impl Criteria<'_> {
    /// `only` are the values of `_type`, if given.
    ///
    /// # Errors
    /// 404 for a type that R4 does not have, in the path, and for what has no compartment; 400 for one in `_type`, and for
    /// a type that is not in the compartment.
    pub(super) fn start(&self, scope: Scope<'_>, only: Option<&str>) -> Result<Start, FhirError> {
        let named = |name: &str| self.resource_type(name).ok_or_else(|| FhirError::unknown_type(name));
        match scope {
            Scope::Type(name) => {
                let ty = named(name)?;
                Ok(Start {
                    types: Types::One(ty),
                    path: ty.name.to_owned(),
                    criteria: Vec::new(),
                })
            }
            Scope::System => {
                let types = match only {
                    None => Types::All(self.all_types()),
                    Some(only) => self.types_named(only, &self.all_types(), "FHIR R4 has no resource type")?,
                };
                Ok(Start {
                    types,
                    path: String::new(),
                    criteria: Vec::new(),
                })
            }
            Scope::Compartment { owner, id, member } => {
                let owner = named(owner)?;
                let compartment = compartment(self.registry().definitions(), owner)?;
                let member = member.map(named).transpose()?;
                let inside =
                    |ty: &ResourceType| *ty == owner || self.ties(compartment, *ty).is_ok_and(|ties| !ties.is_empty());
                let types = match (member, only) {
                    (Some(ty), _) if inside(&ty) => Types::One(ty),
                    (Some(ty), _) => {
                        let text = format!("{} is not in the compartment of a {}.", ty.name, owner.name);
                        return Err(FhirError::not_supported(text));
                    }
                    (None, only) => {
                        let all: Vec<_> = self.all_types().into_iter().filter(inside).collect();
                        match only {
                            Some(only) => self.types_named(only, &all, "This compartment has no resources of type")?,
                            None => Types::Many(all),
                        }
                    }
                };
                Ok(Start {
                    path: format!("{}/{id}/{}", owner.name, member.map_or("*", |ty| ty.name)),
                    criteria: vec![self.membership(compartment, owner, id, &types)?],
                    types,
                })
            }
        }
    }

    fn all_types(&self) -> Vec<ResourceType> {
        let types = self.registry().definitions().resource_types();
        types.filter_map(|ty| self.resource_type(&ty.name)).collect()
    }

    /// The types of a list with commas, all of which must be among `known`.
    fn types_named(&self, list: &str, known: &[ResourceType], otherwise: &str) -> Result<Types, FhirError> {
        let mut types: Vec<ResourceType> = Vec::new();
        for name in list.split(',') {
            match known.iter().find(|ty| ty.name == name) {
                Some(ty) if types.contains(ty) => {}
                Some(ty) => types.push(*ty),
                None => {
                    let text = format!("{otherwise} '{}'; names are case-sensitive.", excerpt(name));
                    return Err(FhirError::bad_value(text).at("http._type"));
                }
            }
        }
        Types::of(&types).ok_or_else(|| FhirError::bad_value("_type names no type.").at("http._type"))
    }

    /// The numbers of the parameters that tie a type to a compartment.
    fn ties(&self, compartment: &Compartment, ty: ResourceType) -> Result<Vec<i16>, FhirError> {
        let codes = compartment.members.get(ty.name).map_or(&[][..], Vec::as_slice);
        let parameters = codes.iter().filter_map(|code| self.registry().parameter(ty.name, code));
        let references = parameters.filter(|parameter| parameter.family == Family::Reference);
        let numbers = references.map(|parameter| self.registry().numbers(ty.name, parameter));
        Ok(numbers.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Refers to the owner by one of the parameters that tie its type to the compartment, or is the owner.
    fn membership(
        &self,
        compartment: &Compartment,
        owner: ResourceType,
        id: &str,
        types: &Types,
    ) -> Result<Criterion, FhirError> {
        let ties = types.as_slice().iter().map(|ty| self.ties(compartment, *ty));
        let params: Vec<i16> = ties.collect::<Result<Vec<_>, _>>()?.concat();
        let refers = Criterion::Rows {
            params,
            matches: Matches::Reference(vec![reference::Match::Local(owner.name.to_owned(), id.to_owned())]),
            negated: false,
        };
        if !types.as_slice().contains(&owner) {
            return Ok(refers);
        }
        let itself = Criterion::Resource {
            ty: owner,
            id: id.to_owned(),
        };
        Ok(Criterion::Any(vec![refers, itself]))
    }

    /// `_list`: what the Lists with these ids have as entries (<https://hl7.org/fhir/R4/search.html#list>).
    pub(super) fn members_of_lists(&self, modifier: Option<&str>, value: &str) -> Result<Criterion, Refusal> {
        if modifier.is_some() {
            return Err(FhirError::not_supported("_list takes no modifier.").into());
        }
        let ids: Vec<String> = value.split(',').map(str::to_owned).collect();
        if let Some(name) = ids.iter().find(|id| id.starts_with('$')) {
            let text = format!(
                "The functional list '{}' is not supported: _list takes the ids of Lists.",
                excerpt(name)
            );
            return Err(FhirError::not_supported(text).into());
        }
        let Some(list) = self.resource_type("List") else {
            return Err(FhirError::internal("R4 has Lists").into());
        };
        let item = self.parameter_of(list, "item")?;
        Ok(Criterion::Has {
            source: Types::One(list),
            params: self.registry().numbers(list.name, item)?,
            criteria: vec![Criterion::Ids { ids, negated: false }],
        })
    }
}

fn compartment(definitions: &'static Definitions, owner: ResourceType) -> Result<&'static Compartment, FhirError> {
    let found = definitions.compartments.iter().find(|one| one.code == owner.name);
    found.ok_or_else(|| {
        let names: Vec<&str> = definitions.compartments.iter().map(|one| one.code.as_str()).collect();
        FhirError::no_such_address(format!(
            "A {} has no compartment; those of FHIR R4 are of {}.",
            owner.name,
            names.join(", ")
        ))
    })
}
