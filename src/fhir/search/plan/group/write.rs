//! Groups as SQL: written as sets, or as tests of what something else has found.

use super::{Group, Home, Set, Test};
use crate::fhir::search::criterion::Criterion;
use crate::fhir::search::plan::criteria::{Scans, write_params, write_type, write_updated};
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::search::text;
use crate::fhir::search::types::date;

impl Group<'_> {
    /// `SELECT rid …` of all that belong to the group, below `after` and only the `newest` so many if given. A resource
    /// may come several times unless it is `distinct`. Answers the table whose `rid` is selected.
    pub(in crate::fhir::search::plan) fn write_set(
        &self,
        sql: &mut Sql,
        distinct: bool,
        after: Option<i64>,
        newest: Option<i64>,
    ) -> Alias {
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
    pub(in crate::fhir::search::plan) fn write_live(&self, sql: &mut Sql, resource: Alias) {
        if let Some(types) = self.types {
            write_type(sql.push(" AND "), resource, types);
        }
        // What is contained is there as long as its container is.
        if self.home == Home::Alone {
            sql.push(" AND NOT ").column(resource, ".deleted");
        }
    }

    /// ` AND …` for all that is asked of the resource itself.
    pub(in crate::fhir::search::plan) fn write_columns(&self, sql: &mut Sql, resource: Alias) {
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
    pub(in crate::fhir::search::plan) fn write_tests(
        &self,
        sql: &mut Sql,
        outer: Alias,
        beside: bool,
        after: Option<i64>,
    ) {
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
                Test::Allowed { allowed, probing } => {
                    allowed.write_test(sql.push(" AND "), outer, self.home, *probing);
                }
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
    pub(in crate::fhir::search::plan) fn write_as_test(&self, sql: &mut Sql, outer: Alias) {
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
    pub(in crate::fhir::search::plan) fn write(&self, sql: &mut Sql, after: Option<i64>, scans: Scans) {
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
fn write_found(sql: &mut Sql, table: Alias, query: &text::Query) {
    sql.column(table, ".words @@ ")
        .bind(query.tsquery.clone())
        .push("::text::tsquery");
}
