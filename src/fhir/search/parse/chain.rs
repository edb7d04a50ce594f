//! Chains and reverse chains (<https://hl7.org/fhir/R4/search.html#chaining>, <https://hl7.org/fhir/R4/search.html#has>).
//!
//! | in the query | meaning |
//! |---|---|
//! | `subject.name=x` | refers by `subject` to a resource, of any type that has the parameter, with this name |
//! | `subject:Patient.name=x` | refers by `subject` to such a Patient |
//! | `_has:Observation:patient:code=x` | some Observation with this code refers here by `patient` |
//!
//! A link may be followed by another, of either kind, up to [`MAX_LINKS`]. What follows a link is read once for all the
//! types that it may lead to. So the work of reading grows with the number of links, not with the number of ways that
//! they open up; those that a statement would have to try one by one are limited to [`MAX_WAYS`].

use super::Refusal;
use super::value::Criteria;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Criterion, ResourceType, Types};
use crate::fhir::search::registry::{Family, Parameter};

/// Most links of one chain.
pub(super) const MAX_LINKS: usize = 8;

/// Most criteria that one chain may be, counted at all depths.
const MAX_WAYS: usize = 200;

/// What something asks of resources of each of some types; for a type of which it cannot be asked, why.
pub(super) type Answers = Vec<(ResourceType, Result<Criterion, Refusal>)>;

impl Criteria<'_> {
    /// A chain whose first link is `code` or `code:Type`. `rest` reads what follows for the types that the link leads to.
    pub(super) fn chain(
        &self,
        types: &[ResourceType],
        link: &str,
        rest: &mut dyn FnMut(&[ResourceType]) -> Answers,
    ) -> Answers {
        let (code, only) = link
            .split_once(':')
            .map_or((link, None), |(code, only)| (code, Some(only)));
        let links: Vec<_> = types.iter().map(|&ty| (ty, self.link(ty, code, only))).collect();
        let mut targets: Vec<ResourceType> = links
            .iter()
            .filter_map(|(_, link)| link.as_ref().ok())
            .flat_map(|(_, targets)| targets.iter().copied())
            .collect();
        targets.sort_unstable_by_key(|ty| ty.id);
        targets.dedup();
        let ends = rest(&targets);
        let criterion = |(ty, link): (ResourceType, Result<(&Parameter, Vec<ResourceType>), Refusal>)| {
            let criterion = link.and_then(|(parameter, targets)| {
                let params = self.registry().numbers(ty.name, parameter)?;
                ways(ty, parameter, &params, &targets, &ends)
            });
            (ty, criterion)
        };
        links.into_iter().map(criterion).collect()
    }

    /// A reference parameter, and the types that it may lead to.
    fn link(
        &self,
        ty: ResourceType,
        code: &str,
        only: Option<&str>,
    ) -> Result<(&Parameter, Vec<ResourceType>), Refusal> {
        let parameter = self.parameter_of(ty, code)?;
        if parameter.family != Family::Reference {
            let text = format!(
                "{code} of {} is no reference, so that nothing can be chained to it.",
                ty.name
            );
            return Err(FhirError::not_supported(text).into());
        }
        let targets = &parameter.definition.targets;
        let named = |name: &String| self.resource_type(name);
        let Some(only) = only else {
            return Ok((parameter, targets.iter().filter_map(named).collect()));
        };
        match targets.iter().find(|target| *target == only).and_then(named) {
            Some(target) => Ok((parameter, vec![target])),
            None => Err(leads_elsewhere(ty, parameter, only).into()),
        }
    }

    /// A reverse chain, from after `_has:`: `Observation:patient:code`. `rest` reads what follows the reference parameter
    /// for the type it is of.
    pub(super) fn has(
        &self,
        types: &[ResourceType],
        path: &str,
        rest: &mut dyn FnMut(&[ResourceType], &str) -> Answers,
    ) -> Result<Answers, Refusal> {
        let mut parts = path.splitn(3, ':');
        let (Some(source), Some(code), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            let text = "A reverse chain has the form _has:Type:reference:parameter.";
            return Err(FhirError::bad_value(text).into());
        };
        let Some(source) = self.resource_type(source) else {
            let text = format!("'{}' is not a resource type of FHIR R4.", excerpt(source));
            return Err(FhirError::bad_value(text).into());
        };
        let parameter = self.parameter_of(source, code)?;
        if parameter.family != Family::Reference {
            let text = format!(
                "{code} of {} is no reference, so that it cannot lead here.",
                source.name
            );
            return Err(FhirError::not_supported(text).into());
        }
        let params = self.registry().numbers(source.name, parameter)?;
        let criterion = together(rest(&[source], name))?;
        let answer = |&ty: &ResourceType| {
            if !parameter.definition.targets.iter().any(|target| target == ty.name) {
                return (ty, Err(leads_elsewhere(source, parameter, ty.name).into()));
            }
            let has = Criterion::Has {
                source: Types::One(source),
                params: params.clone(),
                criteria: vec![criterion.clone()],
            };
            (ty, Ok(has))
        };
        Ok(types.iter().map(answer).collect())
    }
}

fn leads_elsewhere(ty: ResourceType, parameter: &Parameter, target: &str) -> FhirError {
    let text = format!(
        "{} of {} does not refer to '{}'; it refers to {}.",
        parameter.definition.code,
        ty.name,
        excerpt(target),
        list(parameter.definition.targets.iter().map(String::as_str))
    );
    FhirError::not_supported(text)
}

/// The first few names, for a sentence.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0..=8 => names.join(", "),
        count => format!("{} and {} other types", names[..7].join(", "), count - 7),
    }
}

/// The criterion of a link from `ty` to those of `targets` at which the rest of the chain can be asked.
fn ways(
    ty: ResourceType,
    parameter: &Parameter,
    params: &[i16],
    targets: &[ResourceType],
    ends: &Answers,
) -> Result<Criterion, Refusal> {
    let mut ways: Vec<(Vec<ResourceType>, Criterion)> = Vec::new();
    let mut refusals = Vec::new();
    for (target, end) in ends.iter().filter(|(target, _)| targets.contains(target)) {
        let criterion = match end {
            Ok(criterion) => criterion,
            Err(refusal) => {
                refusals.push(refusal);
                continue;
            }
        };
        match ways
            .iter_mut()
            .find_map(|(types, way)| way.absorb(criterion).then_some(types))
        {
            Some(types) => types.push(*target),
            None => ways.push((vec![*target], criterion.clone())),
        }
    }
    let chain = |(types, criterion): (Vec<ResourceType>, Criterion)| {
        Some(Criterion::Chain {
            params: params.to_vec(),
            target: Types::of(&types)?,
            criteria: vec![criterion],
        })
    };
    let mut chains: Vec<Criterion> = ways.into_iter().filter_map(chain).collect();
    if chains.iter().map(Criterion::size).sum::<usize>() > MAX_WAYS {
        let text = format!(
            "This chain leads through too many types of resources; name them, as in {}:Patient.name.",
            parameter.definition.code
        );
        return Err(FhirError::too_costly(text).into());
    }
    match (chains.len(), &refusals[..]) {
        (0, [only]) => Err((*only).clone()),
        (0, refusals) => match refusals.iter().find(|refusal| matches!(refusal, Refusal::Error(_))) {
            Some(error) => Err((*error).clone()),
            None => Err(Refusal::Unknown(format!(
                "None of the types that {} of {} refers to ({}) has the parameter that follows.",
                parameter.definition.code,
                ty.name,
                list(targets.iter().map(|target| target.name))
            ))),
        },
        (1, _) => Ok(chains.remove(0)),
        _ => Ok(Criterion::Any(chains)),
    }
}

/// A refusal for each of `types`.
pub(super) fn refused(types: &[ResourceType], refusal: &Refusal) -> Answers {
    types.iter().map(|&ty| (ty, Err(refusal.clone()))).collect()
}

/// What is asked of every type, as one criterion.
///
/// # Errors
/// The first refusal: what is searched over several types must mean something on each.
pub(super) fn together(answers: Answers) -> Result<Criterion, Refusal> {
    let mut criteria: Vec<Criterion> = Vec::new();
    let several = answers.len() > 1;
    for (_, answer) in answers {
        let criterion = match answer {
            Err(Refusal::Unknown(text)) if several => {
                let text = format!("{text} A search over several types takes what all of them have; _type names them.");
                return Err(Refusal::Unknown(text));
            }
            answer => answer?,
        };
        if !criteria.iter_mut().any(|known| known.absorb(&criterion)) {
            criteria.push(criterion);
        }
    }
    // A resource has no rows under the parameters of other types. So one that must have none under its own has none
    // under all, and one that must have some has some under any.
    let is_absence = |criterion: &Criterion| matches!(criterion, Criterion::Rows { negated: true, .. });
    match criteria.len() {
        1 => Ok(criteria.remove(0)),
        _ if criteria.iter().all(is_absence) => Ok(Criterion::All(criteria)),
        _ => Ok(Criterion::Any(criteria)),
    }
}
