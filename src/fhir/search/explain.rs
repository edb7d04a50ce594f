//! `_explain=true`: how a page was found.
//!
//! The Bundle gains an entry, a Parameters resource, that tells for each statement which index rows drove it, how many
//! rows were expected and met at each step, and how long it took. To know that, each statement runs twice. Names of
//! tables, indexes and search parameters are told, values never are: conditions of the plan are read for the numbers of
//! search parameters in them and go no further.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::sql::Sql;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// How one statement was run.
#[derive(Clone, PartialEq, Debug)]
pub struct Explained {
    /// What the statement was for: `matches`, `total`, `included`, …
    pub purpose: &'static str,
    pub planning_milliseconds: f64,
    pub execution_milliseconds: f64,
    /// The plan, each step followed by those it takes its rows from.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    pub depth: usize,
    /// As Postgres calls it: `Index Only Scan`, `Nested Loop`.
    pub kind: String,
    pub table: Option<String>,
    pub index: Option<String>,
    /// Numbers of the search parameters whose rows it reads, as far as the plan tells.
    pub params: Vec<i16>,
    /// Expected each time it runs.
    pub estimated_rows: f64,
    /// Met in all its runs.
    pub rows: u64,
    /// Read in all its runs and left out by a condition that no index answers.
    pub discarded_rows: u64,
    /// How many times it ran; 0 for a step that was never needed.
    pub runs: u64,
    /// In all its runs, with the steps below it.
    pub milliseconds: f64,
    /// Whether it is run for the step above on the side (a sub-select), rather than as its first or second source.
    is_aside: bool,
}

impl Explained {
    /// What drives the statement: the scan that is read first and for whose rows the others are asked.
    pub fn driver(&self) -> Option<&Step> {
        let mut steps = self.steps.iter();
        let mut at = steps.next()?;
        // The first source of a step is the next one in the list that is a level deeper; sub-selects may come before it.
        while let Some(source) =
            steps.find(|step| step.depth <= at.depth || (step.depth == at.depth + 1 && !step.is_aside))
        {
            if source.depth <= at.depth {
                break;
            }
            at = source;
        }
        Some(at)
    }

    /// Rows that were read from tables and indexes, whether they were of use or not.
    pub fn rows_touched(&self) -> u64 {
        let scans = self
            .steps
            .iter()
            .filter(|step| step.table.is_some() || step.index.is_some());
        scans.map(|step| step.rows + step.discarded_rows).sum()
    }

    /// Reads what `EXPLAIN (ANALYZE, FORMAT JSON)` answered.
    fn read(purpose: &'static str, explained: &Value) -> Explained {
        let mut steps = Vec::new();
        collect(&explained[0]["Plan"], 0, &mut steps);
        Explained {
            purpose,
            planning_milliseconds: explained[0]["Planning Time"].as_f64().unwrap_or_default(),
            execution_milliseconds: explained[0]["Execution Time"].as_f64().unwrap_or_default(),
            steps,
        }
    }
}

fn collect(node: &Value, depth: usize, steps: &mut Vec<Step>) {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let text = |name: &str| node[name].as_str().map(str::to_owned);
    let runs = number("Actual Loops");
    // Postgres tells the mean of all runs.
    let all = |name: &str| (number(name) * runs).round() as u64;
    let mut params = Vec::new();
    for condition in ["Index Cond", "Recheck Cond", "Filter"] {
        params.extend(parameters_in(node[condition].as_str().unwrap_or_default()));
    }
    params.sort_unstable();
    params.dedup();
    steps.push(Step {
        depth,
        kind: text("Node Type").unwrap_or_default(),
        table: text("Relation Name"),
        index: text("Index Name"),
        params,
        estimated_rows: number("Plan Rows"),
        rows: all("Actual Rows"),
        discarded_rows: all("Rows Removed by Filter") + all("Rows Removed by Index Recheck"),
        runs: runs as u64,
        milliseconds: number("Actual Total Time") * runs,
        is_aside: matches!(node["Parent Relationship"].as_str(), Some("InitPlan" | "SubPlan")),
    });
    for source in node["Plans"].as_array().into_iter().flatten() {
        collect(source, depth + 1, steps);
    }
}

/// The numbers that a condition compares the column `param` with.
fn parameters_in(condition: &str) -> Vec<i16> {
    let mut found = Vec::new();
    for (at, name) in condition.match_indices("param = ") {
        let value = condition[at + name.len()..].split(')').next().unwrap_or_default();
        // Otherwise it is compared with another column, whose name may hold digits.
        if value.starts_with(|c: char| c == '\'' || c == '-' || c.is_ascii_digit()) || value.starts_with("ANY ('") {
            let numbers = value.split(|c: char| c != '-' && !c.is_ascii_digit());
            found.extend(numbers.filter_map(|number| number.parse::<i16>().ok()));
        }
    }
    found
}

/// The statements of one search, and how they were run if that is asked for.
pub(super) struct Statements<'c> {
    connection: &'c mut PgConnection,
    explained: Option<Vec<Explained>>,
}

impl<'c> Statements<'c> {
    pub fn new(connection: &'c mut PgConnection, explain: bool) -> Statements<'c> {
        Statements {
            connection,
            explained: explain.then(Vec::new),
        }
    }

    /// For what is not part of the search itself.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }

    /// Runs a statement that serves `purpose`.
    pub async fn fetch(&mut self, purpose: &'static str, write: impl Fn() -> Sql) -> Result<Vec<PgRow>, FhirError> {
        if let Some(explained) = &mut self.explained {
            let row = write()
                .explained()
                .query()?
                .persistent(false)
                .fetch_one(&mut *self.connection)
                .await?;
            explained.push(Explained::read(purpose, &row.try_get(0)?));
        }
        Ok(write().query()?.fetch_all(&mut *self.connection).await?)
    }

    /// How they were run, if that was asked for.
    pub fn finish(self) -> Option<Vec<Explained>> {
        self.explained
    }
}

/// The Parameters resource that tells how a page was found.
pub(super) fn parameters(server: &FhirServer, statements: &[Explained]) -> Value {
    let names = names(server);
    let mut parameters: Vec<Value> = statements
        .iter()
        .map(|statement| of_statement(statement, &names))
        .collect();
    if statements.is_empty() {
        let text = "Nothing was read: a criterion names what was never stored.";
        parameters.push(json!({"name": "note", "valueString": text}));
    }
    json!({"resourceType": "Parameters", "parameter": parameters})
}

fn of_statement(statement: &Explained, names: &HashMap<i16, String>) -> Value {
    let mut parts = vec![json!({"name": "purpose", "valueString": statement.purpose})];
    if let Some(driver) = statement.driver() {
        parts.push(json!({"name": "drivenBy", "valueString": place(driver, names)}));
    }
    parts.extend([
        json!({"name": "rowsTouched", "valueDecimal": statement.rows_touched()}),
        json!({"name": "planningMilliseconds", "valueDecimal": statement.planning_milliseconds}),
        json!({"name": "executionMilliseconds", "valueDecimal": statement.execution_milliseconds}),
    ]);
    parts.extend(statement.steps.iter().map(|step| of_step(step, names)));
    json!({"name": "statement", "part": parts})
}

fn of_step(step: &Step, names: &HashMap<i16, String>) -> Value {
    json!({"name": "step", "part": [
        {"name": "depth", "valueInteger": step.depth},
        {"name": "does", "valueString": place(step, names)},
        {"name": "estimatedRows", "valueDecimal": step.estimated_rows},
        {"name": "rows", "valueDecimal": step.rows},
        {"name": "discardedRows", "valueDecimal": step.discarded_rows},
        {"name": "runs", "valueDecimal": step.runs},
        {"name": "milliseconds", "valueDecimal": step.milliseconds}
    ]})
}

/// What a step does, in words: `Index Only Scan by idx_token_value (Observation.code)`.
fn place(step: &Step, names: &HashMap<i16, String>) -> String {
    let mut text = step.kind.clone();
    if let Some(table) = &step.table {
        text.push_str(" of ");
        text.push_str(table);
    }
    if let Some(index) = &step.index {
        text.push_str(" by ");
        text.push_str(index);
    }
    // Rows of contained resources stand under the negated number.
    let name = |param: &i16| match names.get(&param.saturating_abs()) {
        Some(name) if *param < 0 => format!("{name} (contained)"),
        Some(name) => name.clone(),
        None => format!("parameter {param}"),
    };
    if !step.params.is_empty() {
        const SHOWN: usize = 10;
        let mut shown: Vec<String> = step.params.iter().take(SHOWN).map(name).collect();
        if step.params.len() > SHOWN {
            shown.push(format!("{} more", step.params.len() - SHOWN));
        }
        text.push_str(&format!(" ({})", shown.join(", ")));
    }
    text
}

/// `Type.code` of every search parameter, by number.
fn names(server: &FhirServer) -> HashMap<i16, String> {
    let types = server.definitions.resource_types().map(|ty| ty.name.as_str());
    let registry = server.search.current();
    types
        .flat_map(|name| registry.parameters(name).map(move |parameter| (name, parameter)))
        .map(|(name, parameter)| (parameter.id, format!("{name}.{}", parameter.definition.code)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_out_of_conditions_and_values_are_not() {
        assert_eq!(
            parameters_in("((param = '12'::smallint) AND (code = '34'::text))"),
            [12]
        );
        assert_eq!(parameters_in("(param = ANY ('{1,-2}'::smallint[]))"), [1, -2]);
        assert_eq!(parameters_in("((param = 7) AND (rid = t3.rid))"), [7]);
        assert_eq!(parameters_in("(x.param = t2.param)"), [0_i16; 0]);
        assert_eq!(parameters_in("(code = '34'::text)"), [0_i16; 0]);
    }

    #[test]
    fn the_first_source_of_the_first_source_drives() {
        let scan = |relation: &str, index: &str, rows: f64, loops: f64| {
            json!({"Node Type": "Index Scan", "Parent Relationship": relation, "Index Name": index,
                "Plan Rows": 1, "Actual Rows": rows, "Actual Loops": loops, "Rows Removed by Filter": 2})
        };
        let plan = json!([{"Plan": {"Node Type": "Limit", "Actual Loops": 1, "Plans": [
            {"Node Type": "Nested Loop", "Parent Relationship": "Outer", "Actual Loops": 1, "Plans": [
                scan("InitPlan", "aside", 1.0, 1.0), scan("Outer", "first", 3.0, 1.0), scan("Inner", "second", 0.5, 4.0)
            ]}
        ]}, "Execution Time": 1.5}]);
        let explained = Explained::read("matches", &plan);
        assert_eq!(explained.driver().unwrap().index.as_deref(), Some("first"));
        let rows: Vec<u64> = explained.steps.iter().map(|step| step.rows).collect();
        assert_eq!(rows, [0, 0, 1, 3, 2]);
        // Two more were discarded in each run.
        assert_eq!(explained.rows_touched(), 1 + 2 + 3 + 2 + 2 + 8);
        assert_eq!(explained.execution_milliseconds, 1.5);
    }
}
