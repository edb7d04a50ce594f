//! Versions and index rows, written by one statement.
//!
//! Each table has a part in the statement (a data-modifying CTE) whose rows come as one array per column, so the text of
//! the statement depends on which tables it touches and not on how many rows: each text is planned once per connection.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Encode, PgConnection, Postgres, Type};

use super::prepare::{Action, Prepared};
use super::resolve::instant_of;
use super::transaction::Pending;
use super::{AtOp, Outcome, Stop};
use crate::fhir::error::FhirError;
use crate::fhir::resource::{self, StoredResource};
use crate::fhir::search::SearchRegistry;
use crate::fhir::search::contained::{self, ContainedRows};
use crate::fhir::search::index::{IndexRows, ResourceRows};
use crate::fhir::server::FhirServer;
use crate::fhir::store::{Ids, Micros};

impl Prepared {
    /// Stores creates that depend on nothing, by one statement that commits itself.
    pub(super) async fn store_plain(&mut self, server: &FhirServer) -> Result<Vec<Outcome>, Stop> {
        let mut lease = server.store.fixed().await?;
        let mut ids = Ids::new(&server.store);
        let rids = server.store.new_rids(&mut lease, self.steps.len()).await?;
        let now = instant_of(server);
        let mut pending = Vec::with_capacity(self.steps.len());
        for (step, rid) in self.steps.iter_mut().zip(rids) {
            let mut new = Pending::new(step, step.id.clone().unwrap_or_default(), now);
            new.rid = rid;
            if let Action::Create(resource) = &mut step.action {
                new.after = Some(std::mem::take(resource));
            }
            ids.set_target(new.resource_type, &new.id, rid);
            pending.push(new);
        }
        match write(server, &mut lease, &mut ids, &mut pending, false).await {
            Ok(stored) => {
                lease.release();
                ids.publish();
                let mut outcomes: Vec<_> = pending.iter().zip(stored).collect();
                outcomes.sort_by_key(|(p, _)| p.op);
                Ok(outcomes
                    .into_iter()
                    .map(|(p, stored)| Outcome {
                        effect: p.effect,
                        stored,
                    })
                    .collect())
            }
            Err(stop) => {
                // For the next attempt.
                for (step, p) in self.steps.iter_mut().zip(pending) {
                    step.action = Action::Create(p.after.unwrap_or_default());
                }
                Err(stop)
            }
        }
    }
}

/// Stores `pending` and answers what was stored, in the same order. Outside of a transaction, only what is new.
pub async fn write(
    server: &FhirServer,
    connection: &mut PgConnection,
    ids: &mut Ids<'_>,
    pending: &mut [Pending],
    is_transaction: bool,
) -> Result<Vec<StoredResource>, Stop> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let mut texts = Vec::with_capacity(pending.len());
    for p in pending.iter_mut() {
        let text = p.after.as_mut().map(|after| {
            resource::stamp(after, &p.id, p.version, p.last_updated);
            Text {
                json: resource::to_json(after),
                is_exact: resource::survives_jsonb(after),
            }
        });
        texts.push(text);
    }
    let registry = server.search.current();
    let index = Index::of(server, &registry, connection, ids, pending).await?;
    let (new, changed): (Vec<_>, Vec<_>) = pending.iter().zip(&texts).partition(|(p, _)| p.current.is_none());
    let (new, changed) = (Versions::of(&new), Versions::of(&changed));
    let noted: Vec<i64> = match server.settings.full_text {
        true => pending.iter().map(|p| p.rid).collect(),
        false => Vec::new(),
    };
    let shape = Shape {
        creates: !new.rid.is_empty(),
        // Somebody else may be creating the same id this moment. Only an id of the client's choice can be that unlucky.
        may_collide: is_transaction,
        updates: !changed.rid.is_empty(),
        wipes: !index.wiped.rid.is_empty(),
        gone: families_of(&index.gone),
        added: families_of(&index.added),
        notes: !noted.is_empty(),
    };
    let sql = statement(shape);
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(server.index_version)
        .bind(registry.generation());
    if shape.wipes {
        query = query.bind(&index.wiped.rid[..]).bind(&index.wiped.param[..]);
    }
    query = bind_families(query, &index.gone, shape.gone);
    query = bind_families(query, &index.added, shape.added);
    if shape.notes {
        query = query.bind(&noted[..]);
    }
    if shape.updates {
        query = changed.bind(query);
    }
    if shape.creates {
        query = new.bind(query);
    }
    let written = query.execute(connection).await.map_err(refusal)?.rows_affected();
    let expected = if shape.creates {
        new.rid.len()
    } else {
        changed.rid.len()
    };
    if written != expected as u64 {
        return Err(Stop::Crossed);
    }
    Ok(pending.iter().zip(texts).map(|(p, text)| stored(p, text)).collect())
}

/// Makes the index rows of resources of one type anew: those of all parameters or `only` those of some, replacing whatever
/// is there.
///
/// The caller has locked the resources. Answers whether it was done: not if the registry has another generation by now.
///
/// # Errors
/// 500 when a search parameter cannot be compiled, 503 when the database does not answer.
pub async fn reindex(
    server: &FhirServer,
    registry: &SearchRegistry,
    connection: &mut PgConnection,
    ids: &mut Ids<'_>,
    (resource_type, resources): (&str, &[(i64, Value)]),
    only: Option<&HashSet<i16>>,
) -> Result<bool, FhirError> {
    let rids: Vec<i64> = resources.iter().map(|(rid, _)| *rid).collect();
    let known = known_contained(connection, rids.clone()).await?;
    let mut wiped = Wiped::default();
    let mut sides = Vec::with_capacity(resources.len());
    for (rid, content) in resources {
        let known = known.get(rid).map_or(&[][..], Vec::as_slice);
        wiped.push_all(server, registry, (resource_type, *rid), known, only);
        let mut after = Side::of_content(server, registry, resource_type, content)?;
        if let Some(only) = only {
            after.retain(only);
        }
        sides.push((*rid, known, Side::known(known), after));
    }
    let index = Index::of_sides(server, connection, ids, sides).await?;
    let shape = Shape {
        creates: false,
        may_collide: false,
        updates: false,
        wipes: !wiped.rid.is_empty(),
        gone: families_of(&index.gone),
        added: families_of(&index.added),
        notes: false,
    };
    let mut query = sqlx::query(AssertSqlSafe(statement(shape)))
        .bind(server.index_version)
        .bind(registry.generation());
    if shape.wipes {
        query = query.bind(&wiped.rid[..]).bind(&wiped.param[..]);
    }
    query = bind_families(query, &index.gone, shape.gone);
    query = bind_families(query, &index.added, shape.added);
    // Rows of some parameters say nothing about the rules behind the others.
    let marked = if only.is_none() { rids } else { Vec::new() };
    match query.bind(marked).execute(connection).await {
        Ok(_) => Ok(true),
        Err(error) if is_outdated(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn refusal(error: sqlx::Error) -> Stop {
    if is_outdated(&error) {
        Stop::Outdated
    } else {
        error.into()
    }
}

/// Whether a statement was refused because it named another generation of the registry than the present one.
fn is_outdated(error: &sqlx::Error) -> bool {
    let state = error.as_database_error().and_then(|error| error.code());
    state.as_deref() == Some(OUTDATED)
}

fn stored(p: &Pending, text: Option<Text>) -> StoredResource {
    StoredResource {
        rid: p.rid,
        resource_type: p.resource_type,
        id: p.id.clone(),
        version: p.version,
        last_updated: p.last_updated,
        deleted: text.is_none(),
        method: p.method,
        json: text.map(|text| text.json).unwrap_or_default(),
    }
}

struct Text {
    json: String,
    /// Whether jsonb gives every number back as it is.
    is_exact: bool,
}

/// What a write does to the index.
#[derive(Default)]
struct Index {
    gone: IndexRows,
    added: IndexRows,
    wiped: Wiped,
}

/// All rows of a resource under a parameter.
#[derive(Default)]
struct Wiped {
    rid: Vec<i64>,
    param: Vec<i16>,
}

/// One resource, or one that it contains, before and after.
struct Change<'v> {
    rid: i64,
    gone: ResourceRows<'v>,
    added: ResourceRows<'v>,
    /// The rids of what is in the same resource, by local id; that of the resource itself under `''`.
    near: Arc<HashMap<&'v str, i64>>,
}

/// A row of `contained` as it stands in the database.
struct KnownContained {
    rid: i64,
    type_id: i16,
    position: i32,
    local_id: String,
}

impl Index {
    async fn of(
        server: &FhirServer,
        registry: &SearchRegistry,
        connection: &mut PgConnection,
        ids: &mut Ids<'_>,
        pending: &[Pending],
    ) -> Result<Index, Stop> {
        let containers = pending.iter().filter(|p| is_stale(server, p) || p.has_contained());
        let known = known_contained(connection, containers.map(|p| p.rid).collect()).await?;
        let mut wiped = Wiped::default();
        let mut sides = Vec::with_capacity(pending.len());
        for p in pending {
            let after = Side::of(server, registry, p, p.after.as_ref())?;
            let known = known.get(&p.rid).map_or(&[][..], Vec::as_slice);
            let before = if is_stale(server, p) {
                // Other rules made its rows, so they cannot be told from its content.
                wiped.push_all(server, registry, (p.resource_type, p.rid), known, None);
                Side::known(known)
            } else {
                Side::of(server, registry, p, p.before.as_ref())?
            };
            sides.push((p.rid, known, before, after));
        }
        let index = Index::of_sides(server, connection, ids, sides).await?;
        Ok(Index { wiped, ..index })
    }

    async fn of_sides<'v>(
        server: &FhirServer,
        connection: &mut PgConnection,
        ids: &mut Ids<'_>,
        sides: Vec<(i64, &'v [KnownContained], Side<'v>, Side<'v>)>,
    ) -> Result<Index, FhirError> {
        let new_contained = sides
            .iter()
            .map(|(_, known, _, after)| after.new_contained(known))
            .sum();
        let mut new_rids = server.store.new_rids(connection, new_contained).await?.into_iter();
        let mut changes = Vec::with_capacity(sides.len());
        for (rid, known, before, after) in sides {
            push_changes(&mut changes, rid, known, before, after, &mut new_rids);
        }
        let mut index = Index::columns(&changes, ids);
        if !ids.is_complete() {
            ids.intern(connection).await?;
            index = Index::columns(&changes, ids);
        }
        Ok(index)
    }

    fn columns(changes: &[Change<'_>], ids: &mut Ids<'_>) -> Index {
        let mut index = Index::default();
        for change in changes {
            index.gone.push(change.rid, &change.gone, &change.near, ids);
            index.added.push(change.rid, &change.added, &change.near, ids);
        }
        index
    }
}

impl Wiped {
    /// All rows of a resource (its type and rid) and of those in it; `only` those under some parameters.
    fn push_all(
        &mut self,
        server: &FhirServer,
        registry: &SearchRegistry,
        (resource_type, rid): (&str, i64),
        known: &[KnownContained],
        only: Option<&HashSet<i16>>,
    ) {
        let is_wanted = |param: &i16| only.is_none_or(|only| only.contains(param));
        self.push(rid, registry.all_numbers(resource_type).filter(is_wanted));
        for inner in known {
            let name = server.store.types().name(inner.type_id).unwrap_or_default();
            let params = registry.all_numbers(name).filter(is_wanted);
            self.push(inner.rid, params.map(|param| -param));
        }
    }

    fn push(&mut self, rid: i64, params: impl Iterator<Item = i16>) {
        for param in params {
            self.rid.push(rid);
            self.param.push(param);
        }
    }
}

/// A version of a resource, as the index sees it.
#[derive(Default)]
struct Side<'v> {
    rows: ResourceRows<'v>,
    contained: Vec<ContainedRows<'v>>,
}

impl<'v> Side<'v> {
    fn of(
        server: &FhirServer,
        registry: &SearchRegistry,
        p: &Pending,
        content: Option<&'v Value>,
    ) -> Result<Side<'v>, Stop> {
        let Some(content) = content else {
            return Ok(Side::default());
        };
        Ok(Side::of_content(server, registry, p.resource_type, content).at_op(p.op)?)
    }

    fn of_content(
        server: &FhirServer,
        registry: &SearchRegistry,
        resource_type: &str,
        content: &'v Value,
    ) -> Result<Side<'v>, FhirError> {
        Ok(Side {
            rows: registry.rows(resource_type, content)?,
            contained: registry.contained(server.store.types(), content)?,
        })
    }

    /// Keeps the rows of these parameters.
    fn retain(&mut self, params: &HashSet<i16>) {
        self.rows.retain(|param| params.contains(&param));
        for inner in &mut self.contained {
            inner.rows.retain(|param| params.contains(&-param));
        }
    }

    /// A version of which nothing is known but where its contained resources stand.
    fn known(known: &'v [KnownContained]) -> Side<'v> {
        let contained = known.iter().enumerate().map(|(n, inner)| ContainedRows {
            row: contained::Row {
                type_id: inner.type_id,
                position: inner.position,
                local_id: &inner.local_id,
            },
            occurrence: known[..n]
                .iter()
                .filter(|other| other.local_id == inner.local_id)
                .count(),
            rows: ResourceRows::default(),
        });
        Side {
            rows: ResourceRows::default(),
            contained: contained.collect(),
        }
    }

    fn new_contained(&self, known: &[KnownContained]) -> usize {
        self.contained
            .iter()
            .filter(|inner| rid_of(inner, known).is_none())
            .count()
    }
}

/// The rid that a contained resource has had until now.
fn rid_of(inner: &ContainedRows<'_>, known: &[KnownContained]) -> Option<i64> {
    let same = known.iter().filter(|known| known.local_id == inner.row.local_id);
    same.map(|known| known.rid).nth(inner.occurrence)
}

/// What a resource and those in it gain and lose.
fn push_changes<'v>(
    changes: &mut Vec<Change<'v>>,
    rid: i64,
    known: &'v [KnownContained],
    before: Side<'v>,
    after: Side<'v>,
    new_rids: &mut impl Iterator<Item = i64>,
) {
    let mut near: HashMap<&str, i64> = known
        .iter()
        .rev()
        .map(|inner| (inner.local_id.as_str(), inner.rid))
        .collect();
    near.insert("", rid);
    let mut inner: Vec<(i64, ResourceRows<'v>, ResourceRows<'v>)> = Vec::new();
    for before in before.contained {
        if let Some(rid) = rid_of(&before, known) {
            inner.push((rid, before.with_row(), ResourceRows::default()));
        }
    }
    for after in after.contained {
        let rid = rid_of(&after, known).or_else(|| new_rids.next()).unwrap_or_default();
        near.entry(after.row.local_id).or_insert(rid);
        match inner.iter_mut().find(|(known, ..)| *known == rid) {
            Some((_, _, rows)) => *rows = after.with_row(),
            None => inner.push((rid, ResourceRows::default(), after.with_row())),
        }
    }
    let near = Arc::new(near);
    for (rid, before, after) in std::iter::once((rid, before.rows, after.rows)).chain(inner) {
        changes.push(Change {
            rid,
            gone: before.without(&after),
            added: after.without(&before),
            near: near.clone(),
        });
    }
}

/// Whether the rows of the version before were made by other rules than these.
fn is_stale(server: &FhirServer, p: &Pending) -> bool {
    let current = p.current.as_ref().filter(|current| current.is_live());
    current.is_some_and(|current| current.index_version != server.index_version)
}

impl Pending {
    /// Whether the version before holds other resources.
    fn has_contained(&self) -> bool {
        let before = self.before.as_ref();
        before.is_some_and(|before| before.get("contained").is_some())
    }
}

/// The contained resources of these containers, by the rid of their container and in order.
async fn known_contained(
    connection: &mut PgConnection,
    containers: Vec<i64>,
) -> Result<HashMap<i64, Vec<KnownContained>>, sqlx::Error> {
    let mut known: HashMap<i64, Vec<KnownContained>> = HashMap::new();
    if containers.is_empty() {
        return Ok(known);
    }
    let rows: Vec<(i64, i64, i16, i32, String)> = sqlx::query_as(
        "SELECT container, rid, type, position, local_id FROM contained WHERE container = ANY ($1) ORDER BY position",
    )
    .bind(containers)
    .fetch_all(connection)
    .await?;
    for (container, rid, type_id, position, local_id) in rows {
        known.entry(container).or_default().push(KnownContained {
            rid,
            type_id,
            position,
            local_id,
        });
    }
    Ok(known)
}

/// Rows of `resource`, a Vec per column.
#[derive(Default)]
struct Versions<'a> {
    rid: Vec<i64>,
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
    fn of(pending: &[(&'a Pending, &'a Option<Text>)]) -> Versions<'a> {
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

    fn bind<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
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
const OUTDATED: &str = "MC001";

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
fn families_of(rows: &IndexRows) -> u16 {
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

fn bind_families<'q>(
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

/// Which parts a statement has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    creates: bool,
    may_collide: bool,
    updates: bool,
    wipes: bool,
    gone: u16,
    added: u16,
    /// Whether words are to be collected.
    notes: bool,
}

/// The text for a shape. Few of them occur, and each is made once.
fn statement(shape: Shape) -> Arc<str> {
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
        if shape.notes {
            let rows = sql.rows(&[("rid", "bigint[]")]);
            sql.part(&format!("INSERT INTO text_pending (rid) SELECT rid FROM {rows}"));
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

/// Folds what index rows depend on besides the resource into one number: the rules and the server's own base URL, which
/// decides whether an absolute reference is local.
pub fn index_version(rules: i32, base_url: &str) -> i32 {
    // FNV-1a: short, and the same in every version of the program.
    let hash = base_url.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    rules.wrapping_mul(31).wrapping_add(hash.cast_signed())
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
                    notes: creates,
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
