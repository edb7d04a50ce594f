//! Composite parameters (<https://hl7.org/fhir/R4/search.html#composite>): `code$value`, true of one place in a resource.
//!
//! Every instance that the parameter's expression selects makes a row per combination of its components' values (a
//! component with two codings and a quantity in two units makes four). A value is matched by the rules of its own type:
//! each [`Part`] stands in the columns that its family has in its own table, and the conditions of that family's branches
//! are written over those columns, renamed.

use std::borrow::Cow;
use std::sync::Arc;

use super::reference::{Locator, Target};
use super::{Branch, Writer, date, quantity, reference, string, token, uri};
use crate::fhir::search::registry::Family;
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::store::{Ids, Micros};
use crate::knowledge::definitions::Definitions;
use crate::knowledge::extraction::Found;

/// Components that a composite may have; R4 has three at most.
pub const MAX_COMPONENTS: usize = 3;

/// Most rows of one resource. Combinations multiply, so a resource could be made that needs millions.
pub const MAX_ROWS: usize = 10_000;

/// Most values of one composite in a search: each is a condition of its own.
pub const MAX_VALUES: usize = 200;

/// One component's value as it is compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part<'v> {
    Token {
        code: Cow<'v, str>,
        system: &'v str,
    },
    /// Normalised. Modifiers do not apply to composites, so what was written is not needed.
    String(Cow<'v, str>),
    /// Numbers too.
    Quantity {
        code: Cow<'v, str>,
        system: &'v str,
        low: String,
        high: String,
    },
    Date(date::Span),
    Reference(Target<'v>),
    Uri(Cow<'v, str>),
}

/// One index row: as many parts as the parameter has components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    pub parts: Vec<Part<'v>>,
}

impl Row<'_> {
    /// Whether [`PairColumns`] hold all of it, as of nearly all composites: a token, and what is no date or reference.
    pub fn is_pair(&self) -> bool {
        matches!(
            self.parts[..],
            [
                Part::Token { .. },
                Part::Token { .. } | Part::Quantity { .. } | Part::String(_) | Part::Uri(_)
            ]
        )
    }
}

/// Adds the rows of one instance. `values` are those of the components, which are of these `families`.
pub fn index<'v>(
    param: i16,
    families: &[Family],
    values: &[&[Found<'v>]],
    locator: Locator<'_>,
    rows: &mut Vec<Row<'v>>,
) {
    let mut combinations: Vec<Vec<Part<'v>>> = vec![Vec::new()];
    for (family, values) in families.iter().zip(values) {
        let parts: Vec<Part<'v>> = values
            .iter()
            .flat_map(|found| parts(*family, *found, locator))
            .collect();
        // What is beyond the bound is refused as a whole, so it need not be made.
        if combinations.len() * parts.len() + rows.len() > MAX_ROWS {
            rows.extend(
                combinations
                    .into_iter()
                    .cycle()
                    .take(MAX_ROWS + 1)
                    .map(|parts| Row { param, parts }),
            );
            return;
        }
        combinations = combinations
            .iter()
            .flat_map(|start| {
                parts.iter().map(|part| {
                    let mut longer = start.clone();
                    longer.push(part.clone());
                    longer
                })
            })
            .collect();
    }
    rows.extend(combinations.into_iter().map(|parts| Row { param, parts }));
}

/// What a value is compared as. Nothing where no search can match it, as a coding without a code.
fn parts<'v>(family: Family, Found { value, type_id }: Found<'v>, locator: Locator<'_>) -> Vec<Part<'v>> {
    let definitions: &Definitions = locator.definitions;
    let type_name = definitions.get(type_id).name.as_str();
    match family {
        Family::Token => {
            let mut rows = Vec::new();
            token::index(0, type_name, value, &mut rows);
            let coded = rows.into_iter().filter(|row| !row.code.is_empty());
            coded
                .map(|token::Row { code, system, .. }| Part::Token { code, system })
                .collect()
        }
        Family::String => {
            let mut rows = Vec::new();
            string::index(0, type_name, value, &mut rows);
            rows.into_iter().map(|row| Part::String(row.norm)).collect()
        }
        Family::Quantity => {
            let mut rows = Vec::new();
            quantity::index(0, type_name, value, &mut rows);
            rows.into_iter()
                .map(
                    |quantity::Row {
                         code,
                         system,
                         low,
                         high,
                         ..
                     }| Part::Quantity {
                        code,
                        system,
                        low,
                        high,
                    },
                )
                .collect()
        }
        Family::Date => {
            let mut rows = Vec::new();
            date::index(0, type_name, value, &mut rows);
            rows.into_iter().map(|row| Part::Date(row.span)).collect()
        }
        Family::Reference => {
            let (mut rows, mut identifiers) = (Vec::new(), Vec::new());
            reference::index(0, locator, value, &mut rows, &mut identifiers);
            rows.into_iter().map(|row| Part::Reference(row.target)).collect()
        }
        Family::Uri => {
            let mut rows = Vec::new();
            uri::index(0, type_name, value, &mut rows);
            rows.into_iter().map(|row| Part::Uri(row.uri)).collect()
        }
        Family::Composite => Vec::new(),
    }
}

/// The rows of `idx_composite` that need few of its columns, a Vec per column.
#[derive(Default, Debug)]
pub struct PairColumns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub code1: Vec<String>,
    pub system1: Vec<i32>,
    pub code2: Vec<String>,
    pub system2: Vec<Option<i32>>,
    pub low2: Vec<Option<String>>,
    pub high2: Vec<Option<String>>,
}

impl PairColumns {
    /// Adds a row for which [`Row::is_pair`] holds.
    pub fn push(&mut self, rid: i64, row: &Row<'_>, ids: &mut Ids<'_>) {
        let mut columns = row.parts.iter().map(|part| Columns::of(part, |_| None, ids));
        let (Some(first), Some(second)) = (columns.next(), columns.next()) else {
            return;
        };
        self.rid.push(rid);
        self.param.push(row.param);
        self.code1.push(first.code.unwrap_or_default());
        self.system1.push(first.system.unwrap_or_default());
        self.code2.push(second.code.unwrap_or_default());
        self.system2.push(second.system);
        self.low2.push(second.low);
        self.high2.push(second.high);
    }
}

/// Any rows of `idx_composite`, a Vec per column.
#[derive(Default, Debug)]
pub struct WideColumns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub components: [ComponentColumns; MAX_COMPONENTS],
}

/// The columns of one component.
#[derive(Default, Debug)]
pub struct ComponentColumns {
    pub code: Vec<Option<String>>,
    pub system: Vec<Option<i32>>,
    pub low: Vec<Option<String>>,
    pub high: Vec<Option<String>>,
    pub since: Vec<Option<Micros>>,
    pub until: Vec<Option<Micros>>,
    pub target: Vec<Option<i64>>,
}

impl WideColumns {
    /// Adds a row. `contained` knows the rids of what `#id` names.
    pub fn push(&mut self, rid: i64, row: &Row<'_>, contained: impl Fn(&str) -> Option<i64>, ids: &mut Ids<'_>) {
        self.rid.push(rid);
        self.param.push(row.param);
        for (place, columns) in self.components.iter_mut().enumerate() {
            let part = row.parts.get(place);
            let part = part.map_or_else(Columns::default, |part| Columns::of(part, &contained, ids));
            columns.code.push(part.code);
            columns.system.push(part.system);
            columns.low.push(part.low);
            columns.high.push(part.high);
            columns.since.push(part.span.map(|span| span.low));
            columns.until.push(part.span.map(|span| span.high));
            columns.target.push(part.target);
        }
    }
}

/// One part in columns.
#[derive(Default)]
struct Columns {
    code: Option<String>,
    system: Option<i32>,
    low: Option<String>,
    high: Option<String>,
    span: Option<date::Span>,
    target: Option<i64>,
}

impl Columns {
    fn of(part: &Part<'_>, contained: impl Fn(&str) -> Option<i64>, ids: &mut Ids<'_>) -> Columns {
        let none = Columns::default();
        match part {
            Part::Token { code, system } => Columns {
                code: Some(code.to_string()),
                system: Some(ids.system(system)),
                ..none
            },
            Part::String(text) | Part::Uri(text) => Columns {
                code: Some(text.to_string()),
                ..none
            },
            Part::Quantity {
                code,
                system,
                low,
                high,
            } => Columns {
                code: Some(code.to_string()),
                system: Some(ids.system(system)),
                low: Some(low.clone()),
                high: Some(high.clone()),
                ..none
            },
            Part::Date(span) => Columns {
                span: Some(*span),
                ..none
            },
            Part::Reference(target) => {
                let (target, url) = target.columns(contained, ids);
                Columns {
                    code: url,
                    target,
                    ..none
                }
            }
        }
    }
}

/// The scans of `idx_composite` for one searched value: for each component, in order, its family and what matches it. None
/// when one of them has nothing that could match.
///
/// Each way in which the second component can match has a scan of its own, because it bounds the index by value.
pub fn branches<'m>(components: Vec<(Family, Vec<Branch<'m>>)>) -> Vec<Branch<'m>> {
    if components.iter().any(|(_, branches)| branches.is_empty()) {
        return Vec::new();
    }
    let ways = components.get(1).map_or(1, |(_, branches)| branches.len());
    let components = Arc::new(components);
    (0..ways).map(|way| branch(components.clone(), way)).collect()
}

/// `way` is the branch of the second component.
fn branch<'m>(components: Arc<Vec<(Family, Vec<Branch<'m>>)>>, way: usize) -> Branch<'m> {
    let families: Vec<Family> = components.iter().map(|(family, _)| *family).collect();
    // The index by value has the number of the second component before its code: a range of numbers is a range of the
    // index, and where there is no number, knowing so keeps the code within reach.
    let lacks_number = families.get(1).is_some_and(|family| *family != Family::Quantity);
    let joins: Writer<'m> = Box::new(move |sql, t| {
        for (place, family) in families.iter().enumerate() {
            write_renamed(sql, t, place, *family);
        }
    });
    Branch {
        joins: Some(joins),
        condition: Box::new(move |sql, t| {
            if lacks_number {
                sql.column(t, ".low2 IS NULL AND ");
            }
            for (place, (_, branches)) in components.iter().enumerate() {
                let branches = match place {
                    1 => &branches[way..=way],
                    _ => &branches[..],
                };
                sql.push(if place == 0 { "(" } else { " AND (" });
                for (n, branch) in branches.iter().enumerate() {
                    sql.push(if n == 0 { "(" } else { " OR (" });
                    (branch.condition)(sql, t.part(place));
                    sql.push(")");
                }
                sql.push(")");
            }
        }),
        is_ordered: false,
    }
}

/// The columns of the component at `place`, under the names that they have in the table of its family.
fn write_renamed(sql: &mut Sql, t: Alias, place: usize, family: Family) {
    let columns: &[(&str, [&str; MAX_COMPONENTS])] = match family {
        Family::Token => &[
            ("code", [".code1", ".code2", ".code3"]),
            ("system", [".system1", ".system2", ".system3"]),
        ],
        Family::String => &[
            ("norm", [".code1", ".code2", ".code3"]),
            ("exact", [".code1", ".code2", ".code3"]),
        ],
        Family::Quantity => &[
            ("code", [".code1", ".code2", ".code3"]),
            ("system", [".system1", ".system2", ".system3"]),
            ("low", [".low1", ".low2", ".low3"]),
            ("high", [".high1", ".high2", ".high3"]),
        ],
        Family::Date => &[
            ("low", [".since1", ".since2", ".since3"]),
            ("high", [".until1", ".until2", ".until3"]),
        ],
        Family::Reference => &[
            ("target", [".target1", ".target2", ".target3"]),
            ("url", [".code1", ".code2", ".code3"]),
        ],
        Family::Uri => &[("uri", [".code1", ".code2", ".code3"])],
        Family::Composite => &[],
    };
    for (n, (name, column)) in columns.iter().enumerate() {
        sql.push(if n == 0 { ", LATERAL (SELECT " } else { ", " });
        sql.column(t, column[place]).push(" AS ").push(name);
    }
    sql.push(") ").alias(t.part(place));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::definitions::Definitions;
    use serde_json::{Value, json};

    fn rows(families: &[Family], values: &[(&str, Value)]) -> Vec<Row<'static>> {
        let definitions = Definitions::r4();
        let values: Vec<Vec<Found<'static>>> = values
            .iter()
            .map(|(type_name, values)| {
                let values = values.as_array().unwrap().iter();
                let found = |value: &Value| Found {
                    value: Box::leak(Box::new(value.clone())),
                    type_id: definitions.type_id(type_name).unwrap(),
                };
                values.map(found).collect()
            })
            .collect();
        let values: Vec<&[Found<'static>]> = values.iter().map(Vec::as_slice).collect();
        let locator = Locator {
            definitions,
            base_url: "",
        };
        let mut rows = Vec::new();
        index(1, families, &values, locator, &mut rows);
        rows
    }

    #[test]
    fn an_instance_makes_a_row_for_each_combination_that_a_search_can_name() {
        let coded = json!([{"coding": [{"system": "s", "code": "A"}, {"system": "t", "code": "b"}, {"display": "c"}]}]);
        let weight = json!([{"value": 5, "unit": "kg", "code": "kg", "system": "http://unitsofmeasure.org"}]);
        let rows = rows(
            &[Family::Token, Family::Quantity],
            &[("CodeableConcept", coded), ("Quantity", weight)],
        );
        let told: Vec<(&str, &str, &str)> = rows
            .iter()
            .map(|row| match &row.parts[..] {
                [Part::Token { code, system }, Part::Quantity { code: unit, .. }] => {
                    (*system, code.as_ref(), unit.as_ref())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            [("s", "a", "kg"), ("s", "a", "g"), ("t", "b", "kg"), ("t", "b", "g")],
            "as written and in UCUM's base unit; a coding without a code cannot be named"
        );
        assert!(rows.iter().all(Row::is_pair));
    }

    #[test]
    fn what_has_no_value_that_could_match_makes_no_row() {
        let families = [Family::Token, Family::Token];
        let text_only = json!([{"text": "words"}]);
        let rows = rows(&families, &[("CodeableConcept", text_only), ("boolean", json!([true]))]);
        assert!(rows.is_empty());
    }

    #[test]
    fn combinations_beyond_the_bound_are_noticed_without_making_them() {
        let codes: Vec<Value> = (0..2_000).map(|n| json!(n.to_string())).collect();
        let families = [Family::Token, Family::Token];
        let rows = rows(&families, &[("string", json!(codes)), ("string", json!(codes))]);
        assert!(rows.len() > MAX_ROWS && rows.len() < 4 * MAX_ROWS);
    }
}
