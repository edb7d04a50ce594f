//! Conditions on index rows and on columns of the resource, as SQL.

use super::Numbers;
use crate::fhir::search::criterion::{Matches, Part, Types};
use crate::fhir::search::registry::Family;
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::search::types::{Branch, Prefix, composite, concept, date, quantity, reference, string, token, uri};

/// A criterion over index rows, ready to be written.
pub(super) struct Condition<'s> {
    params: Vec<i16>,
    family: Family,
    pub(super) branches: Vec<Branch<'s>>,
}

/// `param = …`, of which a list keeps no order of an index.
pub(super) fn write_params(sql: &mut Sql, table: Alias, params: &[i16]) {
    match params {
        [param] => _ = sql.column(table, ".param = ").bind(*param),
        params => _ = sql.column(table, ".param = ANY(").bind(params.to_vec()).push(")"),
    }
}

/// Of an inequality on rid the planner learns nothing through a join, so each scan is told.
fn write_after(sql: &mut Sql, table: Alias, after: Option<i64>) {
    if let Some(after) = after {
        sql.push(" AND ").column(table, ".rid < ").bind(after);
    }
}

pub(super) fn write_type(sql: &mut Sql, resource: Alias, types: &Types) {
    match types {
        Types::One(ty) => _ = sql.column(resource, ".type = ").bind(ty.id),
        Types::All(_) => _ = sql.push("true"),
        Types::Many(_) => _ = sql.column(resource, ".type = ANY(").bind(types.ids()).push(")"),
    }
}

/// The ways to match, over the rows of the family of `matches`.
fn branches_of<'s>(matches: &'s Matches, numbers: &Numbers) -> Vec<Branch<'s>> {
    match matches {
        Matches::Any(_) => vec![Branch::ordered(|sql, _| _ = sql.push("true"))],
        Matches::Token(tokens) => token::branches(tokens, &numbers.systems),
        Matches::Concept(concepts) => concept::branches(concepts, &numbers.codes, &numbers.systems),
        Matches::Reference(references) => reference::branches(references, &numbers.rids),
        Matches::String(strings) => string::branches(strings),
        Matches::Date(dates) => date::branches(dates),
        Matches::Quantity(quantities) => quantity::branches(quantities, &numbers.systems),
        Matches::Uri(uris) => uri::branches(uris),
        Matches::OfType(identifiers) => token::branches_of_type(identifiers),
        Matches::Composite(values) => {
            let part = |part: &'s Matches| (part.family(), branches_of(part, numbers));
            let branches = |parts: &'s Vec<Matches>| composite::branches(parts.iter().map(part).collect());
            values.iter().flat_map(branches).collect()
        }
        Matches::Part { family, part, texts } => texts.iter().map(|text| text_part(*family, *part, text)).collect(),
        Matches::Other(matches) => {
            let branches = branches_of(matches, numbers);
            vec![Branch::new(move |sql, t| {
                sql.push("(false");
                for branch in &branches {
                    (branch.condition)(sql.push(" OR "), t);
                }
                // A URL does not equal a resource of this server, though the comparison with its absence is unknown.
                sql.push(") IS NOT TRUE");
            })]
        }
    }
}

/// How the branches of a condition are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scans {
    /// By one scan, whose size the planner can judge against other criteria.
    Merged,
    /// By a scan each.
    Each,
    /// By a scan each, of which so many newest resources are enough.
    Limited(i64),
}

impl<'s> Condition<'s> {
    pub(super) fn new(params: Vec<i16>, matches: &'s Matches, numbers: &Numbers) -> Condition<'s> {
        Condition {
            params,
            family: matches.family(),
            branches: branches_of(matches, numbers),
        }
    }

    /// `SELECT rid …`, with further `UNION ALL SELECT rid …` for branches that have a scan of their own.
    pub(super) fn write_rids(&self, sql: &mut Sql, after: Option<i64>, scans: Scans) {
        if scans == Scans::Merged && self.branches.iter().all(|branch| branch.joins.is_none()) {
            let table = sql.new_alias();
            sql.push("SELECT ")
                .column(table, ".rid FROM")
                .push(self.family.table())
                .alias(table);
            sql.push(" WHERE ");
            write_params(sql, table, &self.params);
            sql.push(" AND (");
            for (n, branch) in self.branches.iter().enumerate() {
                sql.push(if n == 0 { "(" } else { " OR (" });
                (branch.condition)(sql, table);
                sql.push(")");
            }
            sql.push(")");
            write_after(sql, table, after);
            return;
        }
        for (n, branch) in self.branches.iter().enumerate() {
            sql.push(if n == 0 { "" } else { " UNION ALL " });
            let table = sql.new_alias();
            sql.push(if let Scans::Limited(_) = scans {
                "(SELECT DISTINCT "
            } else {
                "SELECT "
            })
            .column(table, ".rid");
            self.write_branch(sql, branch, table);
            write_after(sql, table, after);
            if let Scans::Limited(limit) = scans {
                sql.push(" ORDER BY ")
                    .column(table, ".rid DESC LIMIT ")
                    .bind(limit)
                    .push(")");
            }
        }
    }

    /// Whether an index has the rows of each branch in order of rid.
    pub(super) fn is_ordered(&self) -> bool {
        self.params.len() == 1 && self.branches.iter().all(|branch| branch.is_ordered)
    }

    /// ` AND NOT EXISTS (…)` for each branch, for the resource of `outer`.
    ///
    /// Where nothing narrows the outer resources down (`beside` them, below `after`), nearly all of them may have to be
    /// passed over. Then the rows are read beside them in the same order, which the `OFFSET` makes the planner do: it is
    /// an eighth of what looking each one up costs.
    pub(super) fn write_absence(&self, sql: &mut Sql, outer: Alias, beside: bool, after: Option<i64>) {
        for branch in &self.branches {
            let table = sql.new_alias();
            if beside && self.is_ordered() {
                let rows = sql.new_alias();
                sql.push(" AND NOT EXISTS (SELECT FROM (SELECT ").column(table, ".rid");
                self.write_branch(sql, branch, table);
                write_after(sql, table, after);
                sql.push(" ORDER BY ").column(table, ".rid DESC OFFSET 0) ").alias(rows);
                sql.push(" WHERE ").column(rows, ".rid = ");
            } else {
                sql.push(" AND NOT EXISTS (SELECT");
                self.write_branch(sql, branch, table);
                sql.push(" AND ").column(table, ".rid = ");
            }
            sql.column(outer, ".rid").push(")");
        }
    }

    /// Whether there is such a row for the resource of `outer`.
    pub(super) fn write_presence(&self, sql: &mut Sql, outer: Alias) {
        for (n, branch) in self.branches.iter().enumerate() {
            sql.push(if n == 0 {
                "(EXISTS (SELECT"
            } else {
                " OR EXISTS (SELECT"
            });
            let table = sql.new_alias();
            self.write_branch(sql, branch, table);
            sql.push(" AND ")
                .column(table, ".rid = ")
                .column(outer, ".rid")
                .push(")");
        }
        sql.push(")");
    }

    fn write_branch(&self, sql: &mut Sql, branch: &Branch<'_>, table: Alias) {
        sql.push(" FROM").push(self.family.table()).alias(table);
        if let Some(joins) = &branch.joins {
            joins(sql, table);
        }
        sql.push(" WHERE ");
        write_params(sql, table, &self.params);
        sql.push(" AND ");
        (branch.condition)(sql, table);
    }
}

fn text_part(family: Family, part: Part, text: &str) -> Branch<'_> {
    let column = value_column(family);
    Branch::new(move |sql, t| match part {
        Part::Starts => {
            sql.column(t, column).push(" >= ").bind(text.to_owned()).push(" AND ");
            sql.column(t, column).push(" < ").bind(format!("{text}{}", char::MAX));
        }
        Part::Contains => {
            sql.push("strpos(")
                .column(t, column)
                .push(", ")
                .bind(text.to_owned())
                .push(") > 0");
        }
        Part::Ends => {
            sql.push("right(")
                .column(t, column)
                .push(", length(")
                .bind(text.to_owned());
            sql.push(")) = ").bind(text.to_owned());
        }
    })
}

/// The column that rows of a family are ordered by.
pub(super) fn value_column(family: Family) -> &'static str {
    match family {
        Family::Token => ".code",
        Family::Reference => ".target",
        Family::String => ".norm",
        Family::Date | Family::Quantity => ".low",
        Family::Uri => ".uri",
        // Nothing is sorted by a composite: `parse` refuses it.
        Family::Composite => ".code1",
    }
}

/// `last_updated` is an instant: the rules of `types::date` for a value without extent.
pub(super) fn write_updated(sql: &mut Sql, resource: Alias, m: date::Match) {
    let (low, high) = (m.span.low, m.span.high);
    match m.prefix {
        Prefix::Eq | Prefix::Ap => {
            sql.push("(").column(resource, ".last_updated >= ").bind(low);
            sql.push(" AND ")
                .column(resource, ".last_updated < ")
                .bind(high)
                .push(")");
        }
        Prefix::Ne => {
            sql.push("(").column(resource, ".last_updated < ").bind(low);
            sql.push(" OR ")
                .column(resource, ".last_updated >= ")
                .bind(high)
                .push(")");
        }
        Prefix::Gt | Prefix::Sa => _ = sql.column(resource, ".last_updated >= ").bind(high),
        Prefix::Ge => _ = sql.column(resource, ".last_updated >= ").bind(low),
        Prefix::Lt | Prefix::Eb => _ = sql.column(resource, ".last_updated < ").bind(low),
        Prefix::Le => _ = sql.column(resource, ".last_updated < ").bind(high),
    }
}
