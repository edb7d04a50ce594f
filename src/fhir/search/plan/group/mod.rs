//! Criteria that hold together, as SQL.
//!
//! There are two ways to write a criterion. As a **set** it yields the rids of all resources that meet it; sets are joined,
//! and the planner picks the one that drives. As a **test** it is asked about a resource that something else has found.
//! What does not hold (`:not`, `:missing=true`, `not(…)`) is always tested, because its set is nearly everything.
//!
//! A chain is the set of all references into the set of its targets, to any depth: nothing but joins on integers, whose
//! order the planner chooses. It goes into contained resources too, where there are any of the type.

mod write;

use super::Numbers;
use super::criteria::Condition;
use super::record::{Allowed, Record};
use crate::fhir::search::criterion::{Criterion, Types};
use crate::fhir::search::text;

/// Where the resources of a group are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// They stand alone, in the table `resource`.
    Alone,
    /// They are contained in others: the table `contained`, and rows under the negated numbers of parameters.
    Contained,
    /// They are versions, perhaps of the past, in the tables of a statement that judges them: [`judge`](super::judge).
    Version,
}

impl Home {
    fn table(self) -> &'static str {
        match self {
            Home::Alone => "resource ",
            Home::Contained => "contained ",
            Home::Version => "version ",
        }
    }

    /// The numbers under which rows of these parameters stand.
    fn params(self, params: &[i16]) -> Vec<i16> {
        params
            .iter()
            .map(|param| match self {
                Home::Alone | Home::Version => *param,
                Home::Contained => -param,
            })
            .collect()
    }
}

/// Resources of some types that meet all of some criteria.
pub(super) struct Group<'s> {
    home: Home,
    /// `None` where the sets tell.
    types: Option<&'s Types>,
    pub(super) sets: Vec<Set<'s>>,
    /// Criteria on columns of the resource itself.
    pub(super) columns: Vec<&'s Criterion>,
    pub(super) tests: Vec<Test<'s>>,
}

/// What can be written as a set.
pub(super) enum Set<'s> {
    Rows(Condition<'s>),
    /// By the words of the resource.
    Text(&'s text::Query),
    Chain {
        params: Vec<i16>,
        /// Those that stand alone, and those that are contained if there are any.
        targets: Vec<Group<'s>>,
    },
    Has {
        params: &'s [i16],
        source: Group<'s>,
    },
    /// Each of the same types.
    Any(Vec<Group<'s>>),
    /// By whom it is about.
    Record(Record),
    /// Another group, of types of its own.
    Group(Box<Group<'s>>),
    /// What contains a resource of the group.
    Containers(Box<Group<'s>>),
}

/// What can only be tested.
pub(super) enum Test<'s> {
    Not(Group<'s>),
    Any(Vec<Group<'s>>),
    /// By whom it is about; `probing`, asked of each candidate.
    Record {
        record: Record,
        probing: bool,
    },
    /// That nobody whom it is about refuses it; `probing`, asked of each candidate.
    Allowed {
        allowed: Allowed,
        probing: bool,
    },
    /// That these parameters lead to a resource of the group.
    Guarded {
        params: Vec<i16>,
        by: Group<'s>,
    },
    /// That what contains it belongs to the group.
    Inside(Group<'s>),
}

impl Test<'_> {
    /// Whether it leaves what drives, and its order, as they are.
    fn is_probe(&self) -> bool {
        matches!(self, Test::Record { .. } | Test::Allowed { .. })
    }
}

impl<'s> Group<'s> {
    /// `None` when nothing can match: a criterion names only what was never stored.
    pub(super) fn new(
        home: Home,
        types: &'s Types,
        criteria: impl IntoIterator<Item = &'s Criterion>,
        numbers: &Numbers,
    ) -> Option<Group<'s>> {
        let mut group = Group {
            home,
            types: Some(types),
            sets: Vec::new(),
            columns: Vec::new(),
            tests: Vec::new(),
        };
        for criterion in criteria {
            group.add(criterion, numbers)?;
        }
        Some(group)
    }

    /// `None` when nothing can match any more.
    fn add(&mut self, criterion: &'s Criterion, numbers: &Numbers) -> Option<()> {
        match criterion {
            Criterion::Ids { .. } | Criterion::Resource { .. } | Criterion::OfTypes(_) | Criterion::LastUpdated(_) => {
                self.columns.push(criterion)
            }
            Criterion::Text(query) => self.sets.push(Set::Text(query)),
            Criterion::Rows {
                params,
                matches,
                negated,
            } => {
                let condition = Condition::new(self.home.params(params), matches, numbers);
                match (negated, condition.branches.is_empty()) {
                    (false, true) => return None,
                    (false, false) => self.sets.push(Set::Rows(condition)),
                    (true, false) => self.tests.push(Test::Not(self.only(Set::Rows(condition)))),
                    // No resource has it: all match.
                    (true, true) => {}
                }
            }
            Criterion::Chain {
                params,
                target,
                criteria,
            } => {
                let homes = match numbers.has_contained(target) {
                    true => &[Home::Alone, Home::Contained][..],
                    false => &[Home::Alone],
                };
                let targets = homes
                    .iter()
                    .filter_map(|home| Group::new(*home, target, criteria, numbers));
                let targets: Vec<Group<'s>> = targets.collect();
                if targets.is_empty() {
                    return None;
                }
                let params = self.home.params(params);
                self.sets.push(Set::Chain { params, targets });
            }
            Criterion::Has {
                source,
                params,
                criteria,
            } => {
                let source = Group::new(Home::Alone, source, criteria, numbers)?;
                self.sets.push(Set::Has { params, source });
            }
            Criterion::All(criteria) => {
                for criterion in criteria {
                    self.add(criterion, numbers)?;
                }
            }
            Criterion::Any(criteria) => self.add_any(criteria, numbers)?,
            Criterion::Not(criterion) => match self.one(criterion, numbers) {
                None => {}
                Some(group) if group.is_everything() => return None,
                Some(group) => self.tests.push(Test::Not(group)),
            },
            Criterion::Record { params, itself, of } => {
                let record = Record::new(params.clone(), *itself, of, numbers)?;
                match of.are_tied() && numbers.reach.is_wide {
                    true => self.tests.push(Test::Record { record, probing: false }),
                    false => self.sets.push(Set::Record(record)),
                }
                if of.may_refuse() {
                    let allowed = Allowed::new(params.clone(), *itself, of, numbers);
                    self.tests.push(Test::Allowed {
                        allowed,
                        probing: false,
                    });
                }
            }
            Criterion::Guarded { params, by } => {
                let by = Group::of_any_type(by, numbers)?;
                let params = self.home.params(params);
                self.tests.push(Test::Guarded { params, by });
            }
            Criterion::Permitted { rule, container } => match (self.home, container) {
                (Home::Alone | Home::Version, _) => self.add(rule, numbers)?,
                (Home::Contained, None) => {}
                (Home::Contained, Some(container)) => {
                    self.tests.push(Test::Inside(Group::of_any_type(container, numbers)?));
                }
            },
        }
        Some(())
    }

    /// Resources that stand alone, of whatever type, that meet a criterion; `None` if there can be none.
    fn of_any_type(criterion: &'s Criterion, numbers: &Numbers) -> Option<Group<'s>> {
        Group::of_home(Home::Alone, criterion, numbers)
    }

    /// What meets a criterion, to be tested and never written as a set.
    pub(super) fn of_home(home: Home, criterion: &'s Criterion, numbers: &Numbers) -> Option<Group<'s>> {
        let mut group = Group {
            home,
            types: None,
            sets: Vec::new(),
            columns: Vec::new(),
            tests: Vec::new(),
        };
        group.add(criterion, numbers)?;
        Some(group)
    }

    fn add_any(&mut self, criteria: &'s [Criterion], numbers: &Numbers) -> Option<()> {
        let possible = |criterion| self.one(criterion, numbers);
        let mut arms: Vec<Group<'s>> = criteria.iter().filter_map(possible).collect();
        if arms.iter().any(Group::is_everything) {
            return Some(());
        }
        if arms.len() == 1 {
            let arm = arms.pop()?;
            self.sets.extend(arm.sets);
            self.columns.extend(arm.columns);
            self.tests.extend(arm.tests);
        } else if arms.is_empty() {
            return None;
        } else if arms.iter().all(Group::is_selective) {
            self.sets.push(Set::Any(arms));
        } else {
            self.tests.push(Test::Any(arms));
        }
        Some(())
    }

    /// A group of the same types with one criterion.
    fn one(&self, criterion: &'s Criterion, numbers: &Numbers) -> Option<Group<'s>> {
        let mut group = Group {
            sets: Vec::new(),
            ..self.only(Set::Any(Vec::new()))
        };
        group.add(criterion, numbers)?;
        Some(group)
    }

    /// A group of the same types that nothing but `set` restricts.
    fn only(&self, set: Set<'s>) -> Group<'s> {
        Group {
            home: self.home,
            types: self.types,
            sets: vec![set],
            columns: Vec::new(),
            tests: Vec::new(),
        }
    }

    /// Resources of several groups, of whatever types these are.
    pub(super) fn of(sets: Vec<Set<'s>>) -> Group<'s> {
        let any = |set| Group {
            home: Home::Alone,
            types: None,
            sets: vec![set],
            columns: Vec::new(),
            tests: Vec::new(),
        };
        any(Set::Any(sets.into_iter().map(any).collect()))
    }

    /// Whether nothing is asked but the type.
    fn is_everything(&self) -> bool {
        self.sets.is_empty() && self.columns.is_empty() && self.tests.is_empty()
    }

    /// Whether some index leads to the resources, so that not all of the type must be tried.
    fn is_selective(&self) -> bool {
        let is_id = |criterion: &&Criterion| {
            matches!(
                criterion,
                Criterion::Ids { negated: false, .. } | Criterion::Resource { .. }
            )
        };
        !self.sets.is_empty() || self.columns.iter().any(is_id)
    }

    /// Whether an index has all that belong to the group in order of rid.
    pub(super) fn is_ordered(&self) -> bool {
        let ordered = match &self.sets[..] {
            [] => self.home == Home::Alone && matches!(self.types, Some(Types::One(_))),
            // Whose scans are merged where something is tested.
            [Set::Rows(condition)] => {
                condition.is_ordered() && (condition.branches.len() == 1 || self.tests.is_empty())
            }
            _ => false,
        };
        ordered && self.columns.is_empty() && self.tests.iter().all(Test::is_probe)
    }

    /// Whether candidates are asked one by one whether they are within the caller's reach.
    pub(super) fn is_probed(&self) -> bool {
        !self.tests.is_empty() && self.tests.iter().all(Test::is_probe)
    }

    /// Lets nothing but the set drive.
    pub(super) fn probe(&mut self) {
        for test in &mut self.tests {
            if let Test::Record { probing, .. } | Test::Allowed { probing, .. } = test {
                *probing = true;
            }
        }
    }

    /// Asks the few resources that it will be a test of, each by itself, and everything in it likewise. The planner would rather
    /// collect all that somebody reaches, and then see whether the one resource is among it.
    pub(super) fn ask_singly(&mut self) {
        for set in std::mem::take(&mut self.sets) {
            match set {
                Set::Record(record) => self.tests.push(Test::Record { record, probing: true }),
                Set::Any(arms) => self.tests.push(Test::Any(arms)),
                set => self.sets.push(set),
            }
        }
        self.probe();
        for test in &mut self.tests {
            match test {
                Test::Not(group) | Test::Guarded { by: group, .. } | Test::Inside(group) => group.ask_singly(),
                Test::Any(arms) => arms.iter_mut().for_each(Group::ask_singly),
                Test::Record { .. } | Test::Allowed { .. } => {}
            }
        }
    }
}
