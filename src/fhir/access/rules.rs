//! From scopes and a policy to one criterion of search per letter and type: what a caller may do with which resources.
//!
//! > what some scope gives **and** what some rule of the role's policy gives
//!
//! Each is a search criterion, or nothing, or everything, and so is what both come to. Back ends in their own name have a
//! policy too, that of the role `system`. What a rule comes to depends on the person only by who they are, not by whom they
//! look after: that is read from the database by the statement that asks, so it is true when it is asked.
//!
//! **Binary** says nothing about patients. It is seen with what it names as its `securityContext`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::members::patient_parameters;
use super::policy::{Reach, Role};
use super::scope::{Permissions, ScopeContext};
use crate::fhir::caller::Granted;
use crate::fhir::search::{Criterion, Patients, ResourceType, SearchRegistry, Types, conditions};
use crate::fhir::server::FhirServer;

/// What a caller may do with resources of a type.
#[derive(Clone, Debug)]
pub(in crate::fhir) enum Rule {
    Nothing,
    Everything,
    When(Arc<Criterion>),
}

/// The rules of several types as one.
#[derive(Clone, Debug)]
pub(in crate::fhir) struct Across {
    /// Those with which something may be done.
    pub types: Vec<ResourceType>,
    /// Also refuses what is of other types, unless it is `Everything`.
    pub rule: Rule,
}

/// The rules of one holder of a token, made as they are needed.
pub(super) struct Rules {
    granted: Arc<Granted>,
    registry: Arc<SearchRegistry>,
    by_type: RwLock<HashMap<(Permissions, &'static str), Rule>>,
    of_all_types: RwLock<HashMap<Permissions, Across>>,
}

/// Ways to be allowed something, of which each asks that some criteria hold.
type Ways = Vec<Vec<Criterion>>;

impl Rules {
    pub(super) fn new(granted: Arc<Granted>, registry: Arc<SearchRegistry>) -> Rules {
        Rules {
            granted,
            registry,
            by_type: RwLock::default(),
            of_all_types: RwLock::default(),
        }
    }

    /// The rule of one letter and one type.
    pub(super) fn of_type(&self, server: &FhirServer, letter: Permissions, ty: ResourceType) -> Rule {
        let known = self.by_type.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rule) = known.get(&(letter, ty.name)) {
            return rule.clone();
        }
        drop(known);
        let rule = self.compile(server, letter, ty);
        let mut known = self.by_type.write().unwrap_or_else(PoisonError::into_inner);
        known.insert((letter, ty.name), rule.clone());
        rule
    }

    /// The rules of one letter and several types.
    pub(super) fn of_types(&self, server: &FhirServer, letter: Permissions, types: &Types) -> Across {
        let Types::All(all) = types else {
            return self.unite(server, letter, types.as_slice());
        };
        let known = self.of_all_types.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(across) = known.get(&letter) {
            return across.clone();
        }
        drop(known);
        let across = self.unite(server, letter, all);
        let mut known = self.of_all_types.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(letter, across.clone());
        across
    }

    fn unite(&self, server: &FhirServer, letter: Permissions, types: &[ResourceType]) -> Across {
        if let [only] = types {
            let rule = self.of_type(server, letter, *only);
            let is_nothing = matches!(rule, Rule::Nothing);
            return Across {
                types: if is_nothing { Vec::new() } else { vec![*only] },
                rule,
            };
        }
        let rules: Vec<_> = types
            .iter()
            .map(|ty| (*ty, self.of_type(server, letter, *ty)))
            .collect();
        if rules.iter().all(|(_, rule)| matches!(rule, Rule::Everything)) {
            return Across {
                types: types.to_vec(),
                rule: Rule::Everything,
            };
        }
        let mut whole = Vec::new();
        let mut parts: Vec<(Vec<ResourceType>, Criterion)> = Vec::new();
        let mut allowed = Vec::new();
        for (ty, rule) in rules {
            let criterion = match rule {
                Rule::Nothing => continue,
                Rule::Everything => {
                    whole.push(ty);
                    allowed.push(ty);
                    continue;
                }
                Rule::When(criterion) => criterion,
            };
            allowed.push(ty);
            let together = parts
                .iter_mut()
                .find_map(|(types, part)| part.absorb(&criterion).then_some(types));
            match together {
                Some(types) => types.push(ty),
                None => parts.push((vec![ty], Criterion::clone(&criterion))),
            }
        }
        let mut arms: Vec<Criterion> = Types::of(&whole).map(Criterion::OfTypes).into_iter().collect();
        arms.extend(
            parts
                .into_iter()
                .filter_map(|(types, criterion)| match criterion.implies_type() {
                    true => Some(criterion),
                    false => Some(Criterion::All(vec![Criterion::OfTypes(Types::of(&types)?), criterion])),
                }),
        );
        let rule = match arms.len() {
            0 => Rule::Nothing,
            1 => Rule::When(Arc::new(arms.remove(0))),
            _ => Rule::When(Arc::new(Criterion::Any(arms))),
        };
        Across { types: allowed, rule }
    }

    fn compile(&self, server: &FhirServer, letter: Permissions, ty: ResourceType) -> Rule {
        let scopes = rule_of(self.by_scopes(server, letter, ty));
        if let Rule::Nothing = scopes {
            return scopes;
        }
        both(scopes, rule_of(self.by_policy(server, letter, ty)))
    }

    fn by_scopes(&self, server: &FhirServer, letter: Permissions, ty: ResourceType) -> Ways {
        let for_user = self.granted.user.is_some();
        let mut ways = Ways::new();
        for scope in &self.granted.scopes {
            let is_for_type = scope.resource_type.is_none_or(|name| name == ty.name);
            if !is_for_type || !scope.permissions.contain(letter) {
                continue;
            }
            let mut way = Vec::new();
            match (scope.context, for_user, &self.granted.patient) {
                (ScopeContext::System, false, _) | (ScopeContext::User, true, _) => {}
                // What is about nobody is in no record. Whether they may see it is for the policy to say.
                (ScopeContext::Patient, true, Some(patient)) => {
                    way.extend(self.record(server, ty, &Patients::One(patient.clone())));
                }
                _ => continue,
            }
            if let Some(filter) = &scope.filter
                && !self.narrow(server, ty, filter, &mut way)
            {
                continue;
            }
            ways.push(way);
        }
        ways
    }

    fn by_policy(&self, server: &FhirServer, letter: Permissions, ty: ResourceType) -> Ways {
        let user = self.granted.user.as_ref();
        let role = Role::of(user.map(|user| user.role));
        let mut ways = Ways::new();
        for rule in server.settings.policies.rules(role) {
            if !rule.gives(letter, ty.name) {
                continue;
            }
            let patients = match rule.to {
                Reach::All => None,
                Reach::Own => Some(Patients::Own),
                Reach::CaredFor => Some(Patients::CaredFor),
                Reach::BreakGlass => Some(Patients::BreakGlass),
            };
            let mut way = Vec::new();
            match patients.map(|patients| self.record(server, ty, &patients).or_else(|| self.guard(server, ty))) {
                None => {}
                Some(Some(criterion)) => way.push(criterion),
                // It is in nobody's record.
                Some(None) => continue,
            }
            let user = user.map_or("", |user| user.fhir_user.as_str());
            if let Some(filter) = rule.filter_for(user)
                && !self.narrow(server, ty, &filter, &mut way)
            {
                continue;
            }
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        join_reaches(&mut ways);
        ways
    }

    /// Being in the record of some patients; `None` for a type that is in nobody's.
    fn record(&self, server: &FhirServer, ty: ResourceType, of: &Patients) -> Option<Criterion> {
        let itself = ty.name == "Patient";
        // One Patient's link to another makes neither a part of the other's record.
        let codes = match itself {
            true => Vec::new(),
            false => patient_parameters(server.definitions, ty.name),
        };
        let params = self.numbers(ty, &codes);
        (itself || !params.is_empty()).then(|| Criterion::Record {
            params,
            itself,
            of: of.clone(),
        })
    }

    /// For a Binary: that its security context can be read.
    fn guard(&self, server: &FhirServer, ty: ResourceType) -> Option<Criterion> {
        if ty.name != "Binary" {
            return None;
        }
        let params = self.numbers(ty, &["security-context"]);
        let types = super::all_types(server).into_iter().filter(|other| *other != ty);
        let by = self.unite(server, Permissions::READ, &types.collect::<Vec<_>>());
        let by = match by.rule {
            Rule::Nothing => Criterion::nothing(),
            Rule::Everything => Criterion::All(Vec::new()),
            Rule::When(criterion) => Criterion::clone(&criterion),
        };
        (!params.is_empty()).then(|| Criterion::Guarded {
            params,
            by: Box::new(by),
        })
    }

    fn numbers(&self, ty: ResourceType, codes: &[&str]) -> Vec<i16> {
        let parameters = codes.iter().filter_map(|code| self.registry.parameter(ty.name, code));
        let numbers = parameters.filter_map(|parameter| self.registry.reference_numbers(ty.name, parameter));
        numbers.flatten().collect()
    }

    /// Adds the criteria of a query; `false` where it cannot be asked and hence gives nothing.
    fn narrow(&self, server: &FhirServer, ty: ResourceType, query: &str, way: &mut Vec<Criterion>) -> bool {
        let Ok(criteria) = conditions(server, &self.registry, ty.name, query) else {
            return false;
        };
        // Of a parameter by which not all resources are indexed yet, no absence can be told.
        let is_certain = |criterion: &Criterion| match criterion {
            Criterion::Rows {
                params, negated: true, ..
            } => !params.iter().any(|param| self.registry.is_incomplete(*param)),
            _ => true,
        };
        let all_certain = criteria.iter().all(is_certain);
        way.extend(criteria);
        all_certain
    }
}

/// Makes one of those that are cared for and those for whom the glass was broken, which are read together.
fn join_reaches(ways: &mut Ways) {
    let with = |way: &[Criterion], patients: Patients| -> Option<Vec<Criterion>> {
        match way.split_first()? {
            (Criterion::Record { params, itself, .. }, rest) => {
                let record = Criterion::Record {
                    params: params.clone(),
                    itself: *itself,
                    of: patients,
                };
                Some(std::iter::once(record).chain(rest.iter().cloned()).collect())
            }
            _ => None,
        }
    };
    for n in 0..ways.len() {
        let Some(Criterion::Record {
            of: Patients::CaredFor, ..
        }) = ways[n].first()
        else {
            continue;
        };
        let by_glass = with(&ways[n], Patients::BreakGlass);
        if let Some(other) = by_glass.and_then(|by_glass| ways.iter().position(|way| *way == by_glass)) {
            if let Some(either) = with(&ways[n], Patients::CaredForOrBreakGlass) {
                ways[n] = either;
            }
            ways.remove(other);
            return;
        }
    }
}

fn rule_of(mut ways: Ways) -> Rule {
    if ways.iter().any(Vec::is_empty) {
        return Rule::Everything;
    }
    let all = |mut way: Vec<Criterion>| match way.len() {
        1 => way.remove(0),
        _ => Criterion::All(way),
    };
    match ways.len() {
        0 => Rule::Nothing,
        1 => Rule::When(Arc::new(all(ways.remove(0)))),
        _ => Rule::When(Arc::new(Criterion::Any(ways.into_iter().map(all).collect()))),
    }
}

/// What both allow.
fn both(one: Rule, other: Rule) -> Rule {
    match (one, other) {
        (Rule::Nothing, _) | (_, Rule::Nothing) => Rule::Nothing,
        (Rule::Everything, rule) | (rule, Rule::Everything) => rule,
        (Rule::When(one), Rule::When(other)) if one == other => Rule::When(one),
        (Rule::When(one), Rule::When(other)) => Rule::When(Arc::new(Criterion::All(vec![
            Criterion::clone(&one),
            Criterion::clone(&other),
        ]))),
    }
}
