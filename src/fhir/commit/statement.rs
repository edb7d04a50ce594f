//! The statement of a write.
//!
//! Each table has a part in the statement (a data-modifying CTE) whose rows come as one array per column, so the text of
//! the statement depends on which tables it touches and not on how many rows: each text is planned once per connection.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Encode, Postgres, Type};

use super::transaction::Pending;
use super::write::Text;
use crate::fhir::access::relations::TieRows;
use crate::fhir::search::index::IndexRows;
use crate::fhir::store::Micros;

/// Rows of `resource`, a Vec per column.
#[derive(Default)]
pub(super) struct Versions<'a> {
    pub(super) rid: Vec<i64>,
    last_updated: Vec<Micros>,
    version: Vec<i32>,
    type_id: Vec<i16>,
    method: Vec<i16>,
    id: Vec<&'a str>,
    content: Vec<Option<Jsonb<'a>>>,
    exact: Vec<Option<&'a str>>,
}

/// The columns of [`Versions`], in the order of [`Versions::bind`].
const VERSION_COLUMNS: Columns = &[
    ("rid", "bigint[]"),
    ("last_updated", "timestamptz[]"),
    ("version", "integer[]"),
    ("type", "smallint[]"),
    ("method", "smallint[]"),
    ("id", "text[]"),
    ("content", "jsonb[]"),
    ("exact", "text[]"),
];

impl<'a> Versions<'a> {
    pub(super) fn of(pending: &[(&'a Pending, &'a Option<Text>)]) -> Versions<'a> {
        let mut rows = Versions::default();
        for (p, text) in pending {
            rows.rid.push(p.rid);
            rows.last_updated.push(p.last_updated.into());
            rows.version.push(p.version);
            rows.type_id.push(p.type_id);
            rows.method.push(p.method.number());
            rows.id.push(&p.id);
            rows.content.push(text.as_ref().map(|text| Jsonb(&text.json)));
            rows.exact.push(
                text.as_ref()
                    .filter(|text| !text.is_exact)
                    .map(|text| text.json.as_str()),
            );
        }
        rows
    }

    pub(super) fn bind<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(&self.rid[..])
            .bind(&self.last_updated[..])
            .bind(&self.version[..])
            .bind(&self.type_id[..])
            .bind(&self.method[..])
            .bind(&self.id[..])
            .bind(&self.content[..])
            .bind(&self.exact[..])
    }
}

/// JSON text on its way into a jsonb column, without being parsed here once more.
struct Jsonb<'a>(&'a str);

impl Type<Postgres> for Jsonb<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(3802))
    }
}

impl PgHasArrayType for Jsonb<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(3807))
    }
}

impl Encode<'_, Postgres> for Jsonb<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The version of jsonb's binary form, then the text.
        buffer.push(1);
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The condition that the registry still has the generation that the index rows were made by. A change of the registry
/// waits for all statements that write resources and keeps new ones waiting, so this cannot cross one.
const IS_PRESENT: &str = "(SELECT generation = $2 OR search_registry_has_changed() FROM search_registry WHERE is_only)";

/// The SQLSTATE that `search_registry_has_changed()` raises.
pub(super) const OUTDATED: &str = "MC001";

type Columns = &'static [(&'static str, &'static str)];

/// The index tables and their columns, in the order of [`bind_families`]. A composite has one entry for the columns that
/// nearly all need, and one for all columns.
const FAMILIES: [(&str, Columns); 9] = [
    (
        "idx_token",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("code", "text[]"),
            ("system", "integer[]"),
        ],
    ),
    (
        "idx_reference",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("target", "bigint[]"),
            ("url", "text[]"),
        ],
    ),
    (
        "idx_string",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("norm", "text[]"),
            ("exact", "text[]"),
        ],
    ),
    (
        "idx_date",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("low", "timestamptz[]"),
            ("high", "timestamptz[]"),
        ],
    ),
    (
        "idx_quantity",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("low", "text[]::numeric[]"),
            ("high", "text[]::numeric[]"),
            ("system", "integer[]"),
            ("code", "text[]"),
        ],
    ),
    (
        "idx_uri",
        &[("rid", "bigint[]"), ("param", "smallint[]"), ("uri", "text[]")],
    ),
    (
        "idx_composite",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("code1", "text[]"),
            ("system1", "integer[]"),
            ("code2", "text[]"),
            ("system2", "integer[]"),
            ("low2", "text[]::numeric[]"),
            ("high2", "text[]::numeric[]"),
        ],
    ),
    (
        "idx_composite",
        &[
            ("rid", "bigint[]"),
            ("param", "smallint[]"),
            ("code1", "text[]"),
            ("system1", "integer[]"),
            ("low1", "text[]::numeric[]"),
            ("high1", "text[]::numeric[]"),
            ("since1", "timestamptz[]"),
            ("until1", "timestamptz[]"),
            ("target1", "bigint[]"),
            ("code2", "text[]"),
            ("system2", "integer[]"),
            ("low2", "text[]::numeric[]"),
            ("high2", "text[]::numeric[]"),
            ("since2", "timestamptz[]"),
            ("until2", "timestamptz[]"),
            ("target2", "bigint[]"),
            ("code3", "text[]"),
            ("system3", "integer[]"),
            ("low3", "text[]::numeric[]"),
            ("high3", "text[]::numeric[]"),
            ("since3", "timestamptz[]"),
            ("until3", "timestamptz[]"),
            ("target3", "bigint[]"),
        ],
    ),
    (
        "contained",
        &[
            ("rid", "bigint[]"),
            ("container", "bigint[]"),
            ("type", "smallint[]"),
            ("position", "integer[]"),
            ("local_id", "text[]"),
        ],
    ),
];

/// The first so many of [`FAMILIES`] are every table with rows of parameters, each once.
const TABLES: usize = 7;

/// The names of the tables with rows of parameters.
pub fn index_tables() -> impl Iterator<Item = &'static str> {
    FAMILIES[..TABLES].iter().map(|(table, _)| *table)
}

/// Which of [`FAMILIES`] have rows, a bit for each.
pub(super) fn families_of(rows: &IndexRows) -> u16 {
    let present = [
        !rows.token.rid.is_empty(),
        !rows.reference.rid.is_empty(),
        !rows.string.rid.is_empty(),
        !rows.date.rid.is_empty(),
        !rows.quantity.rid.is_empty(),
        !rows.uri.rid.is_empty(),
        !rows.pair.rid.is_empty(),
        !rows.wide.rid.is_empty(),
        !rows.contained.rid.is_empty(),
    ];
    present
        .iter()
        .enumerate()
        .map(|(bit, present)| u16::from(*present) << bit)
        .sum()
}

pub(super) fn bind_families<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    rows: &'q IndexRows,
    families: u16,
) -> Query<'q, Postgres, PgArguments> {
    let IndexRows {
        token,
        reference,
        string,
        date,
        quantity,
        uri,
        pair,
        wide,
        contained,
    } = rows;
    let has = |bit: u16| families & (1 << bit) != 0;
    if has(0) {
        query = query
            .bind(&token.rid[..])
            .bind(&token.param[..])
            .bind(&token.code[..])
            .bind(&token.system[..]);
    }
    if has(1) {
        query = query.bind(&reference.rid[..]).bind(&reference.param[..]);
        query = query.bind(&reference.target[..]).bind(&reference.url[..]);
    }
    if has(2) {
        query = query
            .bind(&string.rid[..])
            .bind(&string.param[..])
            .bind(&string.norm[..])
            .bind(&string.exact[..]);
    }
    if has(3) {
        query = query
            .bind(&date.rid[..])
            .bind(&date.param[..])
            .bind(&date.low[..])
            .bind(&date.high[..]);
    }
    if has(4) {
        query = query
            .bind(&quantity.rid[..])
            .bind(&quantity.param[..])
            .bind(&quantity.low[..]);
        query = query
            .bind(&quantity.high[..])
            .bind(&quantity.system[..])
            .bind(&quantity.code[..]);
    }
    if has(5) {
        query = query.bind(&uri.rid[..]).bind(&uri.param[..]).bind(&uri.uri[..]);
    }
    if has(6) {
        query = query.bind(&pair.rid[..]).bind(&pair.param[..]);
        query = query.bind(&pair.code1[..]).bind(&pair.system1[..]);
        query = query.bind(&pair.code2[..]).bind(&pair.system2[..]);
        query = query.bind(&pair.low2[..]).bind(&pair.high2[..]);
    }
    if has(7) {
        query = query.bind(&wide.rid[..]).bind(&wide.param[..]);
        for component in &wide.components {
            query = query.bind(&component.code[..]).bind(&component.system[..]);
            query = query.bind(&component.low[..]).bind(&component.high[..]);
            query = query.bind(&component.since[..]).bind(&component.until[..]);
            query = query.bind(&component.target[..]);
        }
    }
    if has(8) {
        query = query.bind(&contained.rid[..]).bind(&contained.container[..]);
        query = query.bind(&contained.type_id[..]).bind(&contained.position[..]);
        query = query.bind(&contained.local_id[..]);
    }
    query
}

/// Which parts about ties a statement has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct TieShape {
    gone: bool,
    relations: bool,
    denials: bool,
}

impl TieShape {
    pub(super) fn of(rows: &TieRows) -> TieShape {
        TieShape {
            gone: !rows.gone.is_empty(),
            relations: !rows.relation.source.is_empty(),
            denials: !rows.denial.source.is_empty(),
        }
    }
}

const RELATION_COLUMNS: Columns = &[
    ("holder", "bigint[]"),
    ("patient", "bigint[]"),
    ("source", "bigint[]"),
    ("starts", "timestamptz[]"),
    ("ends", "timestamptz[]"),
];

const DENIAL_COLUMNS: Columns = &[
    ("patient", "bigint[]"),
    ("holder", "bigint[]"),
    ("type", "smallint[]"),
    ("source", "bigint[]"),
    ("starts", "timestamptz[]"),
    ("ends", "timestamptz[]"),
    ("except_holders", "text[]"),
    ("except_types", "text[]"),
];

pub(super) fn bind_ties<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    rows: &'q TieRows,
    shape: TieShape,
) -> Query<'q, Postgres, PgArguments> {
    let TieRows { gone, relation, denial } = rows;
    if shape.gone {
        query = query.bind(&gone[..]);
    }
    if shape.relations {
        query = query.bind(&relation.holder[..]).bind(&relation.patient[..]);
        query = query.bind(&relation.source[..]);
        query = query.bind(&relation.starts[..]).bind(&relation.ends[..]);
    }
    if shape.denials {
        query = query.bind(&denial.patient[..]).bind(&denial.holder[..]);
        query = query.bind(&denial.type_id[..]).bind(&denial.source[..]);
        query = query.bind(&denial.starts[..]).bind(&denial.ends[..]);
        query = query.bind(&denial.except_holders[..]).bind(&denial.except_types[..]);
    }
    query
}

/// Which parts a statement has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) creates: bool,
    pub(super) may_collide: bool,
    pub(super) updates: bool,
    pub(super) wipes: bool,
    pub(super) gone: u16,
    pub(super) added: u16,
    pub(super) ties: TieShape,
    /// Whether words are to be collected.
    pub(super) notes: bool,
    /// Whether the trail is to tell of it.
    pub(super) records: bool,
}

/// The text for a shape. Few of them occur, and each is made once.
pub(super) fn statement(shape: Shape) -> Arc<str> {
    static TEXTS: LazyLock<Mutex<HashMap<Shape, Arc<str>>>> = LazyLock::new(Mutex::default);
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    texts
        .entry(shape)
        .or_insert_with(|| Statement::of(shape).into())
        .clone()
}

#[derive(Default)]
struct Statement {
    text: String,
    parameters: usize,
    parts: usize,
}

impl Statement {
    /// `$1` is the index version, `$2` the generation of the registry; the others follow in the order in which [`write`]
    /// binds them. The last part is the one whose rows are counted, and whose condition refuses the whole statement when
    /// the registry has another generation.
    fn of(shape: Shape) -> String {
        let mut sql = Statement {
            parameters: 2,
            ..Statement::default()
        };
        if shape.wipes {
            sql.wipe();
        }
        for (_, (table, columns)) in FAMILIES
            .iter()
            .enumerate()
            .filter(|(bit, _)| shape.gone & (1 << bit) != 0)
        {
            let same: Vec<String> = columns
                .iter()
                .map(|(column, _)| format!("t.{column} IS NOT DISTINCT FROM n.{column}"))
                .collect();
            let rows = sql.rows(columns);
            // The first two, rid and param, as equalities: an index answers those.
            let (first, second) = (columns[0].0, columns[1].0);
            let same = same[2..].join(" AND ");
            sql.part(&format!(
                "DELETE FROM {table} t USING {rows} \
                 WHERE t.{first} = n.{first} AND t.{second} = n.{second} AND {same}"
            ));
        }
        for (_, (table, columns)) in FAMILIES
            .iter()
            .enumerate()
            .filter(|(bit, _)| shape.added & (1 << bit) != 0)
        {
            let names = columns.iter().map(|(column, _)| *column).collect::<Vec<_>>().join(", ");
            let rows = sql.rows(columns);
            sql.part(&format!("INSERT INTO {table} ({names}) SELECT {names} FROM {rows}"));
        }
        sql.ties(shape.ties);
        if shape.notes {
            let rows = sql.rows(&[("rid", "bigint[]")]);
            sql.part(&format!("INSERT INTO text_pending (rid) SELECT rid FROM {rows}"));
        }
        if shape.records {
            let rows = sql.rows(&[("event", "text[]"), ("mac", "bytea[]")]);
            sql.part(&format!(
                "INSERT INTO audit_pending (event, mac) SELECT event, mac FROM {rows}"
            ));
        }
        if shape.updates {
            sql.update(!shape.creates);
        }
        if shape.creates {
            sql.create(shape.may_collide);
        }
        if !shape.creates && !shape.updates {
            sql.mark();
        }
        sql.text
    }

    /// The rows of the next parameters, as `n`.
    fn rows(&mut self, columns: Columns) -> String {
        let mut arrays = Vec::with_capacity(columns.len());
        for (_, array_type) in columns {
            self.parameters += 1;
            arrays.push(format!("${}::{array_type}", self.parameters));
        }
        let names: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
        format!("unnest({}) AS n ({})", arrays.join(", "), names.join(", "))
    }

    /// Adds a part that is not the last one.
    fn part(&mut self, sql: &str) {
        let comma = if self.parts == 0 { "WITH " } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{comma}p{} AS ({sql})", self.parts);
        self.parts += 1;
    }

    /// Removes every row of a resource whose rows other rules made.
    fn wipe(&mut self) {
        let rows = self.rows(&[("rid", "bigint[]"), ("param", "smallint[]")]);
        for (table, _) in &FAMILIES[..TABLES] {
            self.part(&format!(
                "DELETE FROM {table} t USING {rows} WHERE t.rid = n.rid AND t.param = n.param"
            ));
        }
    }

    /// Replaces what follows from the same sources. Neither table has unique indexes, so the order does not matter.
    fn ties(&mut self, shape: TieShape) {
        if shape.gone {
            let rows = self.rows(&[("source", "bigint[]")]);
            for table in ["care_relation", "consent_denial"] {
                self.part(&format!("DELETE FROM {table} t USING {rows} WHERE t.source = n.source"));
            }
        }
        if shape.relations {
            let rows = self.rows(RELATION_COLUMNS);
            self.part(&format!(
                "INSERT INTO care_relation (holder, patient, source, starts, ends) \
                 SELECT holder, patient, source, starts, ends FROM {rows}"
            ));
        }
        if shape.denials {
            let rows = self.rows(DENIAL_COLUMNS);
            self.part(&format!(
                "INSERT INTO consent_denial \
                 (patient, holder, type, source, starts, ends, except_holders, except_types) \
                 SELECT patient, holder, type, source, starts, ends, except_holders::bigint[], except_types::smallint[] \
                 FROM {rows}"
            ));
        }
    }

    /// Moves the current version into the history, as it was before this statement, and puts the new one in its place.
    /// One with other labels is no new version: the former one is not kept.
    fn update(&mut self, is_last: bool) {
        let rows = self.rows(VERSION_COLUMNS);
        self.part(&format!(
            "INSERT INTO resource_history (rid, last_updated, version, type, method, deleted, content, exact) \
             SELECT r.rid, r.last_updated, r.version, r.type, r.method, r.deleted, r.content, r.exact \
             FROM {rows} JOIN resource r ON r.rid = n.rid WHERE r.version > 0 AND r.version < n.version"
        ));
        let update = format!(
            "UPDATE resource r SET last_updated = n.last_updated, version = n.version, index_version = $1, \
             method = n.method, deleted = n.content IS NULL, content = n.content, exact = n.exact \
             FROM {rows} WHERE r.rid = n.rid"
        );
        if is_last {
            self.last(&format!("{update} AND {IS_PRESENT}"))
        } else {
            self.part(&update)
        }
    }

    fn create(&mut self, may_collide: bool) {
        let rows = self.rows(VERSION_COLUMNS);
        let collision = if may_collide {
            " ON CONFLICT (type, id) DO NOTHING"
        } else {
            ""
        };
        self.last(&format!(
            "INSERT INTO resource \
             (rid, last_updated, version, index_version, type, method, deleted, id, content, exact) \
             SELECT rid, last_updated, version, $1, type, method, content IS NULL, id, content, exact \
             FROM {rows} WHERE {IS_PRESENT}{collision}"
        ));
    }

    /// Notes by which rules the rows of resources were made.
    fn mark(&mut self) {
        let rows = self.rows(&[("rid", "bigint[]")]);
        self.last(&format!(
            "UPDATE resource r SET index_version = $1 FROM {rows} \
             WHERE r.rid = n.rid AND r.index_version <> $1 AND {IS_PRESENT}"
        ));
    }

    fn last(&mut self, sql: &str) {
        if self.parts > 0 {
            self.text.push(' ');
        }
        self.text.push_str(sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_numbers_its_parameters_without_gaps() {
        for (creates, updates, wipes) in [
            (true, false, false),
            (false, true, false),
            (true, true, true),
            (false, true, true),
            (false, false, true),
        ] {
            for families in 0..512 {
                let shape = Shape {
                    creates,
                    may_collide: creates,
                    updates,
                    wipes,
                    gone: families,
                    added: 511 - families,
                    ties: TieShape {
                        gone: families % 2 == 0,
                        relations: families % 3 == 0,
                        denials: families % 5 == 0,
                    },
                    notes: creates,
                    records: updates,
                };
                let text = Statement::of(shape);
                let numbers = text.split('$').skip(1).map(|rest| {
                    rest.bytes()
                        .take_while(u8::is_ascii_digit)
                        .fold(0, |n, digit| n * 10 + usize::from(digit - b'0'))
                });
                let numbers: std::collections::BTreeSet<usize> = numbers.collect();
                assert!(numbers.iter().copied().eq(1..=numbers.len()), "{text}");
            }
        }
    }
}
