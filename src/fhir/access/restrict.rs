//! A search as its caller may run it.
//!
//! What is found must be allowed, and so must everything that something is found by: the targets of chains, the sources of
//! `_has`, what includes lead to. What the caller may not see does not match, does not count, and leads nowhere, as if it
//! were not there; so a criterion that holds because nothing is there (`_filter=not (…)`) holds.

use std::borrow::Cow;

use super::rules::Rule;
use super::{Access, Permissions, all_types};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::search::{Contained, Criterion, Matches, Search, Total, Types, reference};
use crate::fhir::server::FhirServer;

/// The search, narrowed to what the caller may see.
///
/// # Errors
/// 403 where they may see nothing of the types searched, and for an explanation of what others see.
pub(in crate::fhir) fn restrict<'s>(
    server: &FhirServer,
    caller: &Caller,
    search: &'s Search,
) -> Result<Cow<'s, Search>, FhirError> {
    if caller.is_unrestricted() {
        return Ok(Cow::Borrowed(search));
    }
    let narrowing = Narrowing { server, caller };
    let mut narrowed = search.clone();
    narrowing.narrow(&mut narrowed)?;
    if narrowed.criteria == search.criteria && narrowed.types == search.types && narrowed.includable.is_none() {
        return Ok(Cow::Borrowed(search));
    }
    if search.explain {
        let text =
            "_explain tells how much is read, of others' resources too; it is for those who may see all of them.";
        return Err(FhirError::forbidden(text).at("http._explain"));
    }
    // What the planner thinks of all resources is not for somebody who may see some.
    if narrowed.total == Total::Estimate {
        narrowed.total = Total::Accurate;
    }
    Ok(Cow::Owned(narrowed))
}

struct Narrowing<'s> {
    server: &'s FhirServer,
    caller: &'s Caller,
}

impl Narrowing<'_> {
    fn narrow(&self, search: &mut Search) -> Result<(), FhirError> {
        let searched = self.across(&search.types);
        let Some(types) = Types::of(&searched.types) else {
            let names: Vec<&str> = search.types.as_slice().iter().map(|ty| ty.name).collect();
            let what = if let [only] = names[..] { only } else { "these types" };
            return Err(super::forbidden(Permissions::SEARCH, what));
        };
        for criterion in &mut search.criteria {
            self.rewrite(criterion);
        }
        let all = Types::All(all_types(self.server));
        let container = match search.contained {
            Contained::Ignored => None,
            _ => match self.across(&all).rule {
                Rule::Everything => None,
                rule => Some(Box::new(criterion_of(rule))),
            },
        };
        if types.as_slice().len() < search.types.as_slice().len() {
            search.types = types;
        }
        if container.is_some() || !matches!(searched.rule, Rule::Everything) {
            search.criteria.push(Criterion::Permitted {
                rule: Box::new(criterion_of(searched.rule)),
                container,
            });
        }
        if !search.includes.is_empty() {
            search.includable = match Access::across(self.server, self.caller, Permissions::READ, &all).rule {
                Rule::Everything => None,
                rule => Some(criterion_of(rule)),
            };
        }
        Ok(())
    }

    fn across(&self, types: &Types) -> super::rules::Across {
        Access::across(self.server, self.caller, Permissions::SEARCH, types)
    }

    fn rewrite(&self, criterion: &mut Criterion) {
        match criterion {
            Criterion::Chain {
                target: types,
                criteria,
                ..
            }
            | Criterion::Has {
                source: types,
                criteria,
                ..
            } => {
                let leads_somewhere = self.rewrite_group(types, criteria);
                if !leads_somewhere {
                    *criterion = Criterion::nothing();
                }
            }
            Criterion::All(criteria) | Criterion::Any(criteria) => {
                criteria.iter_mut().for_each(|criterion| self.rewrite(criterion));
            }
            Criterion::Not(criterion) => self.rewrite(criterion),
            // What stands above what is told by resources in between.
            Criterion::Rows {
                matches: Matches::Reference(references),
                ..
            } => {
                let is_seen = |name: &str| {
                    let ty = all_types(self.server).into_iter().find(|ty| ty.name == name);
                    ty.is_some_and(|ty| matches!(self.across(&Types::One(ty)).rule, Rule::Everything))
                };
                references.retain(|reference| match reference {
                    reference::Match::Tree { resource_type, .. } => is_seen(resource_type),
                    _ => true,
                });
            }
            _ => {}
        }
    }

    /// Narrows the resources that a reference leads to, or comes from; answers whether there can be any.
    fn rewrite_group(&self, types: &mut Types, criteria: &mut Vec<Criterion>) -> bool {
        let across = self.across(types);
        let Some(allowed) = Types::of(&across.types) else {
            return false;
        };
        for criterion in criteria.iter_mut() {
            self.rewrite(criterion);
        }
        if !matches!(across.rule, Rule::Everything) {
            *types = allowed;
            criteria.push(Criterion::Permitted {
                rule: Box::new(criterion_of(across.rule)),
                container: None,
            });
        }
        true
    }
}

fn criterion_of(rule: Rule) -> Criterion {
    match rule {
        Rule::Nothing => Criterion::nothing(),
        Rule::Everything => Criterion::All(Vec::new()),
        Rule::When(criterion) => Criterion::clone(&criterion),
    }
}
