//! Whether a resource is part of the record of patients whom the caller may reach, as SQL.
//!
//! Few patients are a set, which drives or is joined like any other. Where a caller looks after many, the set would be long
//! and nearly every candidate in it: then each candidate is asked, and the order of another index is kept.

use super::Numbers;
use super::criteria::write_params;
use super::group::Home;
use crate::fhir::search::criterion::Patients;
use crate::fhir::search::sql::{Alias, Sql};
use crate::fhir::store::Micros;

/// Resources that refer to some patients by some parameters, or are those patients.
pub(super) struct Record {
    params: Vec<i16>,
    pub(super) itself: bool,
    patients: Reached,
}

enum Reached {
    Rids(Vec<i64>),
    Tied { ties: Ties, by: By },
}

/// What ties the caller to a patient.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Care,
    BrokenGlass,
    Either,
}

/// Who is tied to patients, and when.
#[derive(Clone)]
pub(super) struct Ties {
    holders: Vec<i64>,
    /// Resources that tie nobody: what a commit writes does not justify itself.
    ignored: Vec<i64>,
    now: Micros,
}

/// That no patient whom a resource is about refuses it to the caller.
pub(super) struct Allowed {
    params: Vec<i16>,
    itself: bool,
    ties: Ties,
    patient_type: i16,
    /// Whether a broken glass overrides the refusal.
    broken_glass: bool,
}

impl Record {
    /// `None` where no patient is reached.
    pub(super) fn new(params: Vec<i16>, itself: bool, of: &Patients, numbers: &Numbers) -> Option<Record> {
        let reach = &numbers.reach;
        let patients = match of {
            Patients::One(id) => Reached::Rids(vec![numbers.rid("Patient", id)?]),
            Patients::Own if reach.own.is_empty() => return None,
            Patients::Own => Reached::Rids(reach.own.clone()),
            _ if reach.holders.is_empty() => return None,
            of => Reached::Tied {
                ties: Ties::new(numbers),
                by: match of {
                    Patients::BreakGlass => By::BrokenGlass,
                    Patients::CaredForOrBreakGlass => By::Either,
                    _ => By::Care,
                },
            },
        };
        Some(Record {
            params,
            itself,
            patients,
        })
    }

    /// `SELECT rid …`, below `after` if given.
    pub(super) fn write_rids(&self, sql: &mut Sql, after: Option<i64>) {
        if !self.params.is_empty() {
            let row = sql.new_alias();
            sql.push("SELECT ").column(row, ".rid FROM idx_reference ").alias(row);
            if let Reached::Tied { ties, by } = &self.patients {
                let relation = sql.new_alias();
                sql.push(", care_relation ").alias(relation).push(" WHERE ");
                ties.write(sql, relation, *by);
                sql.push(" AND ")
                    .column(row, ".target = ")
                    .column(relation, ".patient AND ");
            } else {
                sql.push(" WHERE ");
            }
            write_params(sql, row, &self.params);
            // The indexes on targets leave out what has none.
            sql.push(" AND ").column(row, ".target IS NOT NULL");
            if let Reached::Rids(rids) = &self.patients {
                write_one_of(sql.push(" AND ").column(row, ".target"), rids);
            }
            write_after(sql, row, ".rid", after);
        }
        if !self.itself {
            return;
        }
        sql.push(if self.params.is_empty() { "" } else { " UNION ALL " });
        let patient = sql.new_alias();
        match &self.patients {
            Reached::Rids(rids) => {
                sql.push("SELECT ")
                    .column(patient, ".rid FROM unnest(")
                    .bind(rids.clone());
                sql.push("::bigint[]) AS ").alias(patient).push(" (rid) WHERE true");
                write_after(sql, patient, ".rid", after);
            }
            Reached::Tied { ties, by } => {
                sql.push("SELECT ")
                    .column(patient, ".patient AS rid FROM care_relation ")
                    .alias(patient);
                ties.write(sql.push(" WHERE "), patient, *by);
                write_after(sql, patient, ".patient", after);
            }
        }
    }

    /// Whether the resource of `outer` is in it; `probing`, by looking it up and in no other way.
    pub(super) fn write_test(&self, sql: &mut Sql, outer: Alias, home: Home, probing: bool) {
        sql.push("(false");
        if !self.params.is_empty() {
            let row = sql.new_alias();
            sql.push(" OR EXISTS (SELECT FROM idx_reference ").alias(row);
            if let Reached::Tied { ties, by } = &self.patients {
                let relation = sql.new_alias();
                sql.push(" JOIN care_relation ").alias(relation).push(" ON ");
                ties.write(sql, relation, *by);
                sql.push(" AND ").column(relation, ".patient = ").column(row, ".target");
            }
            write_params(sql.push(" WHERE "), row, &self.params);
            sql.push(" AND ").column(row, ".rid = ").column(outer, ".rid");
            if let Reached::Rids(rids) = &self.patients {
                write_one_of(sql.push(" AND ").column(row, ".target"), rids);
            }
            // Which the planner may not turn into a join.
            sql.push(if probing { " OFFSET 0)" } else { ")" });
        }
        if self.itself {
            sql.push(" OR EXISTS (SELECT FROM (SELECT ");
            write_itself(sql, outer, home);
            let patient = sql.new_alias();
            sql.push(") ").alias(patient).push(" (rid) WHERE ");
            match &self.patients {
                Reached::Rids(rids) => write_one_of(sql.column(patient, ".rid"), rids),
                Reached::Tied { ties, by } => {
                    let relation = sql.new_alias();
                    sql.push("EXISTS (SELECT FROM care_relation ").alias(relation);
                    ties.write(sql.push(" WHERE "), relation, *by);
                    sql.push(" AND ")
                        .column(relation, ".patient = ")
                        .column(patient, if probing { ".rid OFFSET 0)" } else { ".rid)" });
                }
            }
            sql.push(")");
        }
        sql.push(")");
    }
}

impl Allowed {
    pub(super) fn new(params: Vec<i16>, itself: bool, of: &Patients, numbers: &Numbers) -> Allowed {
        Allowed {
            params,
            itself,
            ties: Ties::new(numbers),
            patient_type: numbers.reach.patient_type,
            broken_glass: *of == Patients::CaredForOrBreakGlass,
        }
    }

    /// Whether none of them refuses it; `probing` as for a [`Record`].
    pub(super) fn write_test(&self, sql: &mut Sql, outer: Alias, home: Home, probing: bool) {
        // Most callers are refused nothing, which one look-up for the whole statement tells.
        let denial = sql.new_alias();
        sql.push("(NOT EXISTS (SELECT FROM consent_denial ").alias(denial);
        self.write_concerns(sql.push(" WHERE "), denial);
        sql.push(") OR NOT (false");
        if !self.params.is_empty() {
            let (row, parameter, denial) = (sql.new_alias(), sql.new_alias(), sql.new_alias());
            sql.push(" OR EXISTS (SELECT FROM idx_reference ").alias(row);
            sql.push(" JOIN consent_denial ").alias(denial).push(" ON ");
            sql.column(denial, ".patient = ").column(row, ".target");
            sql.push(" JOIN search_parameter ").alias(parameter).push(" ON ");
            sql.column(parameter, ".id = ").column(row, ".param WHERE ");
            write_params(sql, row, &self.params);
            sql.push(" AND ").column(row, ".rid = ").column(outer, ".rid AND ");
            self.write_denies(sql, denial, &|sql| _ = sql.column(parameter, ".type"));
            sql.push(if probing { " OFFSET 0)" } else { ")" });
        }
        if self.itself {
            let denial = sql.new_alias();
            sql.push(" OR EXISTS (SELECT FROM consent_denial ").alias(denial);
            sql.push(" WHERE ").column(denial, ".patient = (SELECT ");
            write_itself(sql, outer, home);
            sql.push(") AND ");
            self.write_denies(sql, denial, &|sql| _ = sql.bind(self.patient_type).push("::smallint"));
            sql.push(")");
        }
        sql.push(")");
        if self.broken_glass {
            let by_glass = Record {
                params: self.params.clone(),
                itself: self.itself,
                patients: Reached::Tied {
                    ties: self.ties.clone(),
                    by: By::BrokenGlass,
                },
            };
            by_glass.write_test(sql.push(" OR "), outer, home, probing);
        }
        sql.push(")");
    }

    /// Whether a row of `consent_denial` holds now, and against the caller. 0 is everybody.
    fn write_concerns(&self, sql: &mut Sql, denial: Alias) {
        let Ties { holders, now, .. } = &self.ties;
        let or_everybody: Vec<i64> = holders.iter().copied().chain([0]).collect();
        sql.column(denial, ".holder = ANY(").bind(or_everybody);
        sql.push(") AND ").column(denial, ".starts <= ").bind(*now);
        sql.push(" AND ").column(denial, ".ends > ").bind(*now);
        sql.push(" AND (").column(denial, ".holder <> 0 OR NOT ");
        sql.column(denial, ".except_holders && ")
            .bind(holders.clone())
            .push(")");
    }

    /// The same, for a type.
    fn write_denies(&self, sql: &mut Sql, denial: Alias, write_type: &dyn Fn(&mut Sql)) {
        self.write_concerns(sql, denial);
        sql.push(" AND (").column(denial, ".type = ");
        write_type(sql);
        sql.push(" OR ").column(denial, ".type = 0 AND ");
        write_type(sql);
        sql.push(" <> ALL(").column(denial, ".except_types))");
    }
}

impl Ties {
    fn new(numbers: &Numbers) -> Ties {
        Ties {
            holders: numbers.reach.holders.clone(),
            ignored: numbers.reach.ignored.clone(),
            now: numbers.reach.now,
        }
    }

    /// Whether a row of `care_relation` holds now, for the caller.
    fn write(&self, sql: &mut Sql, relation: Alias, by: By) {
        sql.column(relation, ".holder = ANY(").bind(self.holders.clone());
        sql.push(") AND ").column(relation, ".starts <= ").bind(self.now);
        sql.push(" AND ").column(relation, ".ends > ").bind(self.now);
        match by {
            By::Care => _ = sql.push(" AND ").column(relation, ".source <> 0"),
            By::BrokenGlass => _ = sql.push(" AND ").column(relation, ".source = 0"),
            By::Either => {}
        }
        if !self.ignored.is_empty() {
            sql.push(" AND ")
                .column(relation, ".source <> ALL(")
                .bind(self.ignored.clone());
            sql.push(")");
        }
    }
}

/// The rid of the resource of `outer`: of a version, that of the resource it is a version of.
fn write_itself(sql: &mut Sql, outer: Alias, home: Home) {
    match home {
        Home::Alone | Home::Contained => _ = sql.column(outer, ".rid"),
        Home::Version => {
            let version = sql.new_alias();
            sql.push("(SELECT ")
                .column(version, ".resource FROM version ")
                .alias(version);
            sql.push(" WHERE ").column(version, ".rid = ").column(outer, ".rid)");
        }
    }
}

fn write_one_of(sql: &mut Sql, rids: &[i64]) {
    match rids {
        [rid] => _ = sql.push(" = ").bind(*rid),
        rids => _ = sql.push(" = ANY(").bind(rids.to_vec()).push(")"),
    }
}

fn write_after(sql: &mut Sql, table: Alias, column: &'static str, after: Option<i64>) {
    if let Some(after) = after {
        sql.push(" AND ").column(table, column).push(" < ").bind(after);
    }
}
