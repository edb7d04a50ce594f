//! Criteria that hold together, as SQL.
//!
//! There are two ways to write a criterion. As a **set** it yields the rids of all resources that meet it; sets are joined,
//! and the planner picks the one that drives. As a **test** it is asked about a resource that something else has found.
//! What does not hold (`:not`, `:missing=true`, `not(…)`) is always tested, because its set is nearly everything.
//!
//! A chain is the set of all references into the set of its targets, to any depth: nothing but joins on integers, whose
//! order the planner chooses. It goes into contained resources too, where there are any of the type.

use super::Numbers;
use super::criteria::{Condition, Scans, write_params, write_type, write_updated};
use super::record::{Allowed, Record};
use crate::fhir::search::criterion::{Criterion, Types};
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::search::text;
use crate::fhir::search::types::date;

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
    Allowed(Allowed),
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
        matches!(self, Test::Record { .. } | Test::Allowed(_))
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
                    self.tests.push(Test::Allowed(allowed));
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
            if let Test::Record { probing, .. } = test {
                *probing = true;
            }
        }
    }

    /// `SELECT rid …` of all that belong to the group, below `after` and only the `newest` so many if given. A resource
    /// may come several times unless it is `distinct`. Answers the table whose `rid` is selected.
    pub(super) fn write_set(&self, sql: &mut Sql, distinct: bool, after: Option<i64>, newest: Option<i64>) -> Alias {
        let scans = self.scans(distinct, newest);
        let tables: Vec<Alias> = self.sets.iter().map(|_| sql.new_alias()).collect();
        let typed = self.sets.iter().any(Set::implies_type);
        let resource = (!typed || !self.columns.is_empty()).then(|| sql.new_alias());
        let anchor = resource.or(tables.first().copied()).unwrap_or_else(|| sql.new_alias());

        sql.push(if distinct && !tables.is_empty() {
            "SELECT DISTINCT "
        } else {
            "SELECT "
        })
        .column(anchor, ".rid FROM ");
        for (n, (set, table)) in self.sets.iter().zip(&tables).enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" });
            set.write(sql, after, scans);
            sql.push(") ").alias(*table);
        }
        if let Some(resource) = resource {
            sql.push(if tables.is_empty() { "" } else { ", " })
                .push(self.home.table())
                .alias(resource);
        }
        sql.push(" WHERE true");
        for table in tables.into_iter().filter(|table| *table != anchor) {
            sql.push(" AND ").column(table, ".rid = ").column(anchor, ".rid");
        }
        if let Some(resource) = resource {
            self.write_live(sql, resource);
            if let Some(after) = after {
                sql.push(" AND ").column(resource, ".rid < ").bind(after);
            }
            self.write_columns(sql, resource);
        }
        let beside = newest.is_some() && self.sets.is_empty() && self.columns.is_empty();
        self.write_tests(sql, anchor, beside, after);
        anchor
    }

    fn scans(&self, distinct: bool, newest: Option<i64>) -> Scans {
        if !distinct || !self.columns.is_empty() || !self.tests.is_empty() {
            return Scans::Merged;
        }
        match (&self.sets[..], newest) {
            ([Set::Rows(condition)], Some(limit)) if condition.branches.len() > 1 => Scans::Limited(limit),
            ([Set::Rows(_)], _) => Scans::Each,
            ([Set::Any(_)], Some(limit)) => Scans::Limited(limit),
            _ => Scans::Merged,
        }
    }

    /// ` AND …`: that a resource is of the types, and there.
    pub(super) fn write_live(&self, sql: &mut Sql, resource: Alias) {
        if let Some(types) = self.types {
            write_type(sql.push(" AND "), resource, types);
        }
        // What is contained is there as long as its container is.
        if self.home == Home::Alone {
            sql.push(" AND NOT ").column(resource, ".deleted");
        }
    }

    /// ` AND …` for all that is asked of the resource itself.
    pub(super) fn write_columns(&self, sql: &mut Sql, resource: Alias) {
        for criterion in &self.columns {
            match criterion {
                Criterion::Ids { ids, negated } => {
                    if let Some(types) = self.types {
                        write_type(sql.push(" AND "), resource, types);
                    }
                    let column = match self.home {
                        Home::Alone | Home::Version => ".id",
                        Home::Contained => ".local_id",
                    };
                    sql.push(" AND ")
                        .column(resource, column)
                        .push(if *negated { " <> ALL(" } else { " = ANY(" })
                        .bind(ids.clone())
                        .push(")");
                }
                Criterion::Resource { ty, id } => match self.home {
                    Home::Alone | Home::Version => {
                        sql.push(" AND ").column(resource, ".type = ").bind(ty.id);
                        sql.push(" AND ").column(resource, ".id = ").bind(id.clone());
                    }
                    Home::Contained => _ = sql.push(" AND false"),
                },
                Criterion::LastUpdated(dates) if self.home == Home::Contained => {
                    let container = sql.new_alias();
                    sql.push(" AND EXISTS (SELECT FROM resource ")
                        .alias(container)
                        .push(" WHERE ")
                        .column(container, ".rid = ")
                        .column(resource, ".container");
                    write_any_updated(sql, container, dates);
                    sql.push(")");
                }
                Criterion::LastUpdated(dates) => write_any_updated(sql, resource, dates),
                Criterion::OfTypes(types) => write_type(sql.push(" AND "), resource, types),
                _ => {}
            }
        }
    }

    /// ` AND …` for all that can only be tested; `beside` and `after` as in [`Condition::write_absence`].
    pub(super) fn write_tests(&self, sql: &mut Sql, outer: Alias, beside: bool, after: Option<i64>) {
        for test in &self.tests {
            match test {
                // A condition for each branch: the planner makes an anti-join of each.
                Test::Not(group) if group.columns.is_empty() && group.tests.is_empty() => match &group.sets[..] {
                    [Set::Rows(condition)] => condition.write_absence(sql, outer, beside, after),
                    _ => group.write_as_test(sql.push(" AND NOT "), outer),
                },
                Test::Not(group) => group.write_as_test(sql.push(" AND NOT "), outer),
                Test::Any(arms) => write_any(sql.push(" AND "), arms, outer),
                Test::Record { record, probing } => record.write_test(sql.push(" AND "), outer, self.home, *probing),
                Test::Allowed(allowed) => allowed.write_test(sql.push(" AND "), outer, self.home),
                Test::Guarded { params, by } => {
                    let (row, target, found) = (sql.new_alias(), sql.new_alias(), sql.new_alias());
                    sql.push(" AND EXISTS (SELECT FROM (SELECT ")
                        .column(row, ".target FROM idx_reference ");
                    sql.alias(row).push(" JOIN resource ").alias(target).push(" ON ");
                    sql.column(target, ".rid = ").column(row, ".target AND NOT ");
                    sql.column(target, ".deleted WHERE ");
                    write_params(sql, row, params);
                    sql.push(" AND ").column(row, ".rid = ").column(outer, ".rid) ");
                    sql.alias(found).push(" (rid) WHERE ");
                    by.write_as_test(sql, found);
                    sql.push(")");
                }
                Test::Inside(group) => {
                    let (contained, container) = (sql.new_alias(), sql.new_alias());
                    sql.push(" AND EXISTS (SELECT FROM (SELECT ")
                        .column(contained, ".container FROM contained ");
                    sql.alias(contained).push(" WHERE ").column(contained, ".rid = ");
                    sql.column(outer, ".rid) ").alias(container).push(" (rid) WHERE ");
                    group.write_as_test(sql, container);
                    sql.push(")");
                }
            }
        }
    }

    /// Whether the resource of `outer`, which is of the types, belongs to the group.
    pub(super) fn write_as_test(&self, sql: &mut Sql, outer: Alias) {
        sql.push("(true");
        for set in &self.sets {
            set.write_test(sql.push(" AND "), outer, self.home);
        }
        if !self.columns.is_empty() {
            let resource = sql.new_alias();
            sql.push(" AND EXISTS (SELECT FROM ")
                .push(self.home.table())
                .alias(resource)
                .push(" WHERE ")
                .column(resource, ".rid = ")
                .column(outer, ".rid");
            self.write_columns(sql, resource);
            sql.push(")");
        }
        self.write_tests(sql, outer, false, None);
        sql.push(")");
    }
}

/// ` AND …` for `_lastUpdated`.
fn write_any_updated(sql: &mut Sql, resource: Alias, dates: &[date::Match]) {
    // Lets the index on (type, last_updated) be used: it leaves placeholders out.
    sql.push(" AND ").column(resource, ".version > 0 AND (");
    for (n, m) in dates.iter().enumerate() {
        sql.push(if n == 0 { "" } else { " OR " });
        write_updated(sql, resource, *m);
    }
    sql.push(")");
}

/// `IN (…)` of all that belong to one of the groups.
fn write_in(sql: &mut Sql, groups: &[Group<'_>]) {
    sql.push(" IN (");
    for (n, group) in groups.iter().enumerate() {
        sql.push(if n == 0 { "" } else { " UNION ALL " });
        group.write_set(sql, false, None, None);
    }
    sql.push(")");
}

/// Whether the resource of `outer` belongs to one of the groups.
fn write_any(sql: &mut Sql, arms: &[Group<'_>], outer: Alias) {
    for (n, arm) in arms.iter().enumerate() {
        sql.push(if n == 0 { "(" } else { " OR " });
        arm.write_as_test(sql, outer);
    }
    sql.push(")");
}

impl Set<'_> {
    /// Whether all in it is there and of the types searched. What a reference leads to may be of another type, or absent;
    /// words are collected of all types, and kept for a moment when their resource is deleted.
    fn implies_type(&self) -> bool {
        match self {
            Set::Has { .. } | Set::Text(_) => false,
            Set::Record(record) => !record.itself,
            _ => true,
        }
    }

    /// `SELECT rid …`, below `after` if given; a resource may come several times.
    pub(super) fn write(&self, sql: &mut Sql, after: Option<i64>, scans: Scans) {
        let (params, groups, from, to) = match self {
            Set::Rows(condition) => return condition.write_rids(sql, after, scans),
            Set::Text(query) => {
                let words = sql.new_alias();
                sql.push("SELECT ")
                    .column(words, ".rid FROM resource_text ")
                    .alias(words);
                write_found(sql.push(" WHERE "), words, query);
                if let Some(after) = after {
                    sql.push(" AND ").column(words, ".rid < ").bind(after);
                }
                return;
            }
            Set::Any(arms) => {
                for (n, arm) in arms.iter().enumerate() {
                    sql.push(if n == 0 { "(" } else { " UNION ALL (" });
                    if let Scans::Limited(limit) = scans {
                        let rid = arm.write_set(sql, true, after, Some(limit));
                        sql.push(" ORDER BY ").column(rid, ".rid DESC LIMIT ").bind(limit);
                    } else {
                        arm.write_set(sql, false, after, None);
                    }
                    sql.push(")");
                }
                return;
            }
            Set::Record(record) => return record.write_rids(sql, after),
            Set::Group(group) => {
                group.write_set(sql, false, after, None);
                return;
            }
            Set::Containers(group) => {
                let contained = sql.new_alias();
                sql.push("SELECT ")
                    .column(contained, ".container AS rid FROM contained ")
                    .alias(contained)
                    .push(" WHERE true");
                if let Some(types) = group.types {
                    write_type(sql.push(" AND "), contained, types);
                }
                if let Some(after) = after {
                    sql.push(" AND ").column(contained, ".container < ").bind(after);
                }
                write_in(sql.push(" AND ").column(contained, ".rid"), std::slice::from_ref(group));
                return;
            }
            Set::Chain { params, targets } => (&params[..], &targets[..], ".rid", ".target"),
            Set::Has { params, source } => (*params, std::slice::from_ref(source), ".target", ".rid"),
        };
        let reference = sql.new_alias();
        sql.push("SELECT ")
            .column(reference, from)
            .push(" AS rid FROM idx_reference ")
            .alias(reference)
            .push(" WHERE ");
        write_params(sql, reference, params);
        // The indexes on targets leave out what has none.
        sql.push(" AND ").column(reference, ".target IS NOT NULL");
        if let Some(after) = after {
            sql.push(" AND ").column(reference, from).push(" < ").bind(after);
        }
        write_in(sql.push(" AND ").column(reference, to), groups);
    }

    /// Whether the resource of `outer` is in the set.
    fn write_test(&self, sql: &mut Sql, outer: Alias, home: Home) {
        let (params, groups, from, to) = match self {
            Set::Rows(condition) => return condition.write_presence(sql, outer),
            Set::Record(record) => return record.write_test(sql, outer, home, false),
            Set::Text(query) => {
                let words = sql.new_alias();
                sql.push("EXISTS (SELECT FROM resource_text ")
                    .alias(words)
                    .push(" WHERE ")
                    .column(words, ".rid = ")
                    .column(outer, ".rid");
                write_found(sql.push(" AND "), words, query);
                sql.push(")");
                return;
            }
            Set::Any(arms) => return write_any(sql, arms, outer),
            Set::Group(_) | Set::Containers(_) => {
                sql.column(outer, ".rid IN (");
                self.write(sql, None, Scans::Merged);
                sql.push(")");
                return;
            }
            Set::Chain { params, targets } => (&params[..], &targets[..], ".rid", ".target"),
            Set::Has { params, source } => (*params, std::slice::from_ref(source), ".target", ".rid"),
        };
        let reference = sql.new_alias();
        sql.push("EXISTS (SELECT FROM idx_reference ")
            .alias(reference)
            .push(" WHERE ");
        write_params(sql, reference, params);
        sql.push(" AND ")
            .column(reference, from)
            .push(" = ")
            .column(outer, ".rid");
        write_in(sql.push(" AND ").column(reference, to), groups);
        sql.push(")");
    }
}

/// Whether the words of `table` are what is searched for.
pub(super) fn write_found(sql: &mut Sql, table: Alias, query: &text::Query) {
    sql.column(table, ".words @@ ")
        .bind(query.tsquery.clone())
        .push("::text::tsquery");
}
