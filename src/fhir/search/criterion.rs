//! A search as it was understood: what must hold, in which order, with what else. No text of a request is left in it but
//! as values, and no SQL yet.

use super::contained::Contained;
use super::cursor::Cursor;
use super::registry::Family;
use super::reindex::honesty::Concern;
use super::text;
use super::types::{concept, date, quantity, reference, string, token, uri};
use crate::fhir::error::Issue;

/// A search as it will be run.
#[derive(Clone, Debug)]
pub struct Search {
    pub types: Types,
    /// Below the base: `Patient`, empty for all types, `Patient/1/Observation`.
    pub path: String,
    /// All must hold.
    pub(in crate::fhir) criteria: Vec<Criterion>,
    pub(super) sort: Vec<SortKey>,
    pub(in crate::fhir) includes: Vec<Include>,
    /// What includes may lead to; `None` for everything.
    pub(in crate::fhir) includable: Option<Criterion>,
    /// Matches on a page; 0 asks for the total alone.
    pub count: u32,
    pub total: Total,
    /// Whether the answer tells how it was found.
    pub explain: bool,
    pub(super) cursor: Option<Cursor>,
    pub(in crate::fhir) contained: Contained,
    /// Parameters that may not have found everything.
    pub(in crate::fhir) concerns: Vec<Concern>,
    /// What was ignored, for the client.
    pub warnings: Vec<Issue>,
    /// The pairs that were honoured, but for the cursor: what `self` links to.
    pub(super) honoured: Vec<(String, String)>,
}

impl Search {
    /// The text that matches are ranked by.
    pub(super) fn texts(&self) -> Vec<&text::Query> {
        let texts = self.criteria.iter().filter_map(|criterion| match criterion {
            Criterion::Text(query) => Some(query),
            _ => None,
        });
        texts.collect()
    }

    /// Whether text is searched for, at any depth.
    pub(super) fn looks_for_text(&self) -> bool {
        let mut found = false;
        for criterion in &self.criteria {
            criterion.visit(&mut |criterion| found |= matches!(criterion, Criterion::Text(_)));
        }
        found
    }

    /// Calls `visit` with the number of every parameter whose index rows it reads.
    pub(super) fn visit_params(&self, visit: &mut impl FnMut(i16)) {
        for criterion in &self.criteria {
            criterion.visit_params(visit);
        }
        for key in &self.sort {
            if let SortBy::Parameter { params, .. } = &key.by {
                params.iter().for_each(|&param| visit(param));
            }
        }
        for include in &self.includes {
            include.params.iter().for_each(|&param| visit(param));
        }
    }

    /// Whether resources can lack the first sort key.
    pub(super) fn first_key_may_lack(&self) -> bool {
        self.sort
            .first()
            .is_some_and(|key| matches!(key.by, SortBy::Parameter { .. }))
    }
}

/// A concrete resource type with its number in the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceType {
    pub id: i16,
    pub name: &'static str,
}

/// The resource types that are searched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Types {
    One(ResourceType),
    Many(Vec<ResourceType>),
    /// Every type that there is.
    All(Vec<ResourceType>),
}

impl Types {
    /// `None` for no type at all.
    pub(in crate::fhir) fn of(types: &[ResourceType]) -> Option<Types> {
        match types {
            [] => None,
            [one] => Some(Types::One(*one)),
            many => Some(Types::Many(many.to_vec())),
        }
    }

    pub fn as_slice(&self) -> &[ResourceType] {
        match self {
            Types::One(one) => std::slice::from_ref(one),
            Types::Many(many) | Types::All(many) => many,
        }
    }

    pub(super) fn ids(&self) -> Vec<i16> {
        self.as_slice().iter().map(|ty| ty.id).collect()
    }
}

/// A condition on a resource.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::fhir) enum Criterion {
    /// `_id`
    Ids {
        ids: Vec<String>,
        negated: bool,
    },
    /// One resource alone.
    Resource {
        ty: ResourceType,
        id: String,
    },
    /// `_lastUpdated`
    LastUpdated(Vec<date::Match>),
    /// `_text` and `_content`
    Text(text::Query),
    /// Some index row under any of these parameters, or with `negated` none. The same parameter of several types has a
    /// number for each.
    Rows {
        params: Vec<i16>,
        matches: Matches,
        negated: bool,
    },
    /// A reference of these parameters leads to a resource of one of the types `target` that meets all `criteria`
    /// (<https://hl7.org/fhir/R4/search.html#chaining>).
    Chain {
        params: Vec<i16>,
        target: Types,
        criteria: Vec<Criterion>,
    },
    /// A resource of the type `source` that meets all `criteria` refers here by one of these parameters
    /// (<https://hl7.org/fhir/R4/search.html#has>).
    Has {
        source: Types,
        params: Vec<i16>,
        criteria: Vec<Criterion>,
    },
    All(Vec<Criterion>),
    Any(Vec<Criterion>),
    Not(Box<Criterion>),
    /// Is of one of these types.
    OfTypes(Types),
    /// Is part of the record of some patients: refers to one of them by one of these parameters, or, with `itself`, is one.
    Record {
        params: Vec<i16>,
        itself: bool,
        of: Patients,
    },
    /// Refers by one of these parameters to a resource that meets the criterion.
    Guarded {
        params: Vec<i16>,
        by: Box<Criterion>,
    },
    /// What the caller may see. A contained resource is seen with its container, which must meet `container`; `None` where
    /// that has been asked already.
    Permitted {
        rule: Box<Criterion>,
        container: Option<Box<Criterion>>,
    },
}

/// Whose record something is part of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::fhir) enum Patients {
    /// The Patient with this id.
    One(String),
    /// Those whom the caller is, or acts for.
    Own,
    /// Those whom the caller looks after, but for what they refuse.
    CaredFor,
    /// Those for whom the caller broke the glass, whatever they refuse.
    BreakGlass,
    /// Either of the last two.
    CaredForOrBreakGlass,
}

impl Patients {
    /// Whether ties between the caller and patients decide.
    pub(super) fn are_tied(&self) -> bool {
        !matches!(self, Patients::One(_) | Patients::Own)
    }

    /// Whether what patients refuse counts.
    pub(super) fn may_refuse(&self) -> bool {
        matches!(self, Patients::CaredFor | Patients::CaredForOrBreakGlass)
    }
}

impl Criterion {
    /// Nothing meets it.
    pub(in crate::fhir) fn nothing() -> Criterion {
        Criterion::Any(Vec::new())
    }

    /// Whether it asks whose record something is part of.
    pub(in crate::fhir) fn asks_for_patients(&self) -> bool {
        let mut asks = false;
        self.visit(&mut |criterion| asks |= matches!(criterion, Criterion::Record { .. } | Criterion::Guarded { .. }));
        asks
    }

    /// Whether only resources of the types that it was read for can meet it.
    pub(in crate::fhir) fn implies_type(&self) -> bool {
        match self {
            Criterion::Rows { negated, .. } => !negated,
            Criterion::Record { .. }
            | Criterion::Guarded { .. }
            | Criterion::Resource { .. }
            | Criterion::OfTypes(_)
            | Criterion::Chain { .. } => true,
            Criterion::All(criteria) => criteria.iter().any(Criterion::implies_type),
            Criterion::Any(criteria) => criteria.iter().all(Criterion::implies_type),
            Criterion::Permitted { rule, .. } => rule.implies_type(),
            Criterion::Ids { .. }
            | Criterion::LastUpdated(_)
            | Criterion::Text(_)
            | Criterion::Has { .. }
            | Criterion::Not(_) => false,
        }
    }

    /// Takes in `other`, about resources of another type, if both together can be asked as one criterion; answers
    /// whether it did.
    pub(in crate::fhir) fn absorb(&mut self, other: &Criterion) -> bool {
        if self == other {
            return true;
        }
        match (self, other) {
            (
                Criterion::Rows {
                    params,
                    matches,
                    negated,
                },
                Criterion::Rows {
                    params: more,
                    matches: others,
                    negated: other_negated,
                },
            ) if matches == others && negated == other_negated => {
                params.extend(more);
                true
            }
            (
                Criterion::Chain {
                    params,
                    target,
                    criteria,
                },
                Criterion::Chain {
                    params: more,
                    target: other_target,
                    criteria: others,
                },
            ) if target == other_target && criteria == others => {
                params.extend(more);
                true
            }
            (Criterion::All(criteria), Criterion::All(others)) | (Criterion::Any(criteria), Criterion::Any(others))
                if criteria.len() == others.len() =>
            {
                let mut together = criteria.clone();
                let absorbed = together.iter_mut().zip(others).all(|(one, other)| one.absorb(other));
                if absorbed {
                    *criteria = together;
                }
                absorbed
            }
            (Criterion::Not(criterion), Criterion::Not(other)) => criterion.absorb(other),
            (
                Criterion::Record { params, itself, of },
                Criterion::Record {
                    params: more,
                    itself: too,
                    of: others,
                },
            ) if of == others => {
                params.extend(more);
                *itself |= *too;
                true
            }
            _ => false,
        }
    }

    /// What holds for a resource exactly when this does not.
    pub(super) fn negated(self) -> Criterion {
        match self {
            Criterion::Ids { ids, negated } => Criterion::Ids { ids, negated: !negated },
            Criterion::Rows {
                params,
                matches,
                negated,
            } => Criterion::Rows {
                params,
                matches,
                negated: !negated,
            },
            Criterion::Not(criterion) => *criterion,
            Criterion::Any(criteria) => Criterion::All(criteria.into_iter().map(Criterion::negated).collect()),
            other => Criterion::Not(Box::new(other)),
        }
    }

    /// How many criteria it consists of, at all depths.
    pub(super) fn size(&self) -> usize {
        match self {
            Criterion::Ids { .. }
            | Criterion::Resource { .. }
            | Criterion::LastUpdated(_)
            | Criterion::Text(_)
            | Criterion::OfTypes(_)
            | Criterion::Record { .. }
            | Criterion::Rows { .. } => 1,
            Criterion::Chain { criteria, .. }
            | Criterion::Has { criteria, .. }
            | Criterion::All(criteria)
            | Criterion::Any(criteria) => 1 + criteria.iter().map(Criterion::size).sum::<usize>(),
            Criterion::Not(criterion) | Criterion::Guarded { by: criterion, .. } => 1 + criterion.size(),
            Criterion::Permitted { rule, container } => {
                1 + rule.size() + container.as_ref().map_or(0, |container| container.size())
            }
        }
    }

    /// Calls `visit` with this and all criteria inside of it.
    pub(super) fn visit<'c>(&'c self, visit: &mut impl FnMut(&'c Criterion)) {
        visit(self);
        match self {
            Criterion::Ids { .. }
            | Criterion::Resource { .. }
            | Criterion::LastUpdated(_)
            | Criterion::Text(_)
            | Criterion::OfTypes(_)
            | Criterion::Record { .. }
            | Criterion::Rows { .. } => {}
            Criterion::Chain { criteria, .. }
            | Criterion::Has { criteria, .. }
            | Criterion::All(criteria)
            | Criterion::Any(criteria) => {
                for criterion in criteria {
                    criterion.visit(visit);
                }
            }
            Criterion::Not(criterion) | Criterion::Guarded { by: criterion, .. } => criterion.visit(visit),
            Criterion::Permitted { rule, container } => {
                rule.visit(visit);
                if let Some(container) = container {
                    container.visit(visit);
                }
            }
        }
    }

    /// Calls `visit` with the number of every parameter whose index rows it reads.
    pub(super) fn visit_params(&self, visit: &mut impl FnMut(i16)) {
        self.visit(&mut |criterion| match criterion {
            Criterion::Rows { params, .. }
            | Criterion::Chain { params, .. }
            | Criterion::Has { params, .. }
            | Criterion::Record { params, .. }
            | Criterion::Guarded { params, .. } => params.iter().for_each(|&param| visit(param)),
            Criterion::Ids { .. }
            | Criterion::Resource { .. }
            | Criterion::OfTypes(_)
            | Criterion::LastUpdated(_)
            | Criterion::Text(_)
            | Criterion::All(_)
            | Criterion::Any(_)
            | Criterion::Not(_)
            | Criterion::Permitted { .. } => {}
        });
    }

    /// Calls `visit` with all that index rows are compared with, at any depth.
    pub(super) fn visit_matches<'c>(&'c self, visit: &mut impl FnMut(&'c Matches)) {
        self.visit(&mut |criterion| {
            if let Criterion::Rows { matches, .. } = criterion {
                visit(matches);
                if let Matches::Composite(values) = matches {
                    values.iter().flatten().for_each(&mut *visit);
                }
            }
        });
    }
}

/// What an index row must be.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::fhir) enum Matches {
    /// Of this family, whatever its value: the parameter is not missing.
    Any(Family),
    Token(Vec<token::Match>),
    Concept(Vec<concept::Match>),
    Reference(Vec<reference::Match>),
    String(Vec<string::Match>),
    Date(Vec<date::Match>),
    Quantity(Vec<quantity::Match>),
    Uri(Vec<uri::Match>),
    /// `:of-type` of a token.
    OfType(Vec<token::OfType>),
    /// For each value, what the components must be, in their order.
    Composite(Vec<Vec<Matches>>),
    /// Of this family, with its text (the code of a token) so placed around one of these.
    Part {
        family: Family,
        part: Part,
        texts: Vec<String>,
    },
    /// A row of the same family that is none of these.
    Other(Box<Matches>),
}

/// Where in a text another one is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::fhir) enum Part {
    Starts,
    Contains,
    Ends,
}

impl Matches {
    /// The family whose rows are compared. It is the parameter's own but for modifiers that compare something else, as
    /// `:identifier` does.
    pub(super) fn family(&self) -> Family {
        match self {
            Matches::Any(family) | Matches::Part { family, .. } => *family,
            Matches::Other(matches) => matches.family(),
            Matches::Token(_) | Matches::Concept(_) => Family::Token,
            Matches::Reference(_) => Family::Reference,
            Matches::String(_) => Family::String,
            Matches::Date(_) => Family::Date,
            Matches::Quantity(_) => Family::Quantity,
            Matches::Uri(_) | Matches::OfType(_) => Family::Uri,
            Matches::Composite(_) => Family::Composite,
        }
    }
}

/// <https://hl7.org/fhir/R4/search.html#total>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Total {
    /// Told only where it costs nothing.
    None,
    /// Within the planner's knowledge of the data, but exact for small results.
    Estimate,
    Accurate,
}

/// One key of `_sort`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SortKey {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SortBy {
    Id,
    LastUpdated,
    /// How well the text that is searched for matches.
    Score,
    /// A number for each type that is searched.
    Parameter {
        params: Vec<i16>,
        family: Family,
    },
}

/// <https://hl7.org/fhir/R4/search.html#include>
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::fhir) struct Include {
    /// The reference parameters to follow.
    pub params: Vec<i16>,
    /// From the target to those that refer to it (`_revinclude`).
    pub reverse: bool,
    /// From what was included, too (`:iterate`).
    pub iterates: bool,
    /// Only to resources of this type; with `reverse`, only from them.
    pub target: Option<i16>,
    pub canonical: Option<Canonical>,
}

/// How references by canonical URL are followed (<https://hl7.org/fhir/R4/references.html#canonical>): the `url` and
/// `version` parameters of the types that they can lead to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::fhir) struct Canonical {
    pub urls: Vec<i16>,
    pub versions: Vec<i16>,
}
