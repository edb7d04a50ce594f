//! What a write does to the index: the rows that go, and those that come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;

use super::transaction::Pending;
use super::{AtOp, Stop};
use crate::fhir::access::relations::{TieRows, Ties};
use crate::fhir::error::FhirError;
use crate::fhir::search::SearchRegistry;
use crate::fhir::search::contained::{self, ContainedRows};
use crate::fhir::search::index::{IndexRows, ResourceRows};
use crate::fhir::server::FhirServer;
use crate::fhir::store::{Ids, TypeNames};

/// What a write does to the index.
#[derive(Default)]
pub(super) struct Index {
    pub(super) gone: IndexRows,
    pub(super) added: IndexRows,
    pub(super) wiped: Wiped,
    pub(super) ties: TieRows,
}

/// All rows of a resource under a parameter.
#[derive(Default)]
pub(super) struct Wiped {
    pub(super) rid: Vec<i64>,
    pub(super) param: Vec<i16>,
}

/// One resource, or one that it contains, before and after.
struct Change<'v> {
    rid: i64,
    gone: ResourceRows<'v>,
    added: ResourceRows<'v>,
    /// The rids of what is in the same resource, by local id; that of the resource itself under `''`.
    near: Arc<HashMap<&'v str, i64>>,
    ties: TieChange<'v>,
}

/// What becomes of the ties that follow from a resource.
#[derive(Default)]
struct TieChange<'v> {
    /// Whether there may be former ones, which go.
    gone: bool,
    added: Option<Ties<'v>>,
}

/// A row of `contained` as it stands in the database.
pub(super) struct KnownContained {
    rid: i64,
    type_id: i16,
    position: i32,
    local_id: String,
}

impl Index {
    pub(super) async fn of(
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

    pub(super) async fn of_sides<'v>(
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
        let types = server.store.types();
        let mut index = Index::columns(&changes, types, ids);
        if !ids.is_complete() {
            ids.intern(connection).await?;
            index = Index::columns(&changes, types, ids);
        }
        Ok(index)
    }

    fn columns(changes: &[Change<'_>], types: &TypeNames, ids: &mut Ids<'_>) -> Index {
        let mut index = Index::default();
        for change in changes {
            index.gone.push(change.rid, &change.gone, &change.near, ids);
            index.added.push(change.rid, &change.added, &change.near, ids);
            if change.ties.gone {
                index.ties.gone.push(change.rid);
            }
            if let Some(ties) = &change.ties.added {
                index.ties.push(change.rid, ties, types, ids);
            }
        }
        index
    }
}

impl Wiped {
    /// All rows of a resource (its type and rid) and of those in it; `only` those under some parameters.
    pub(super) fn push_all(
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
pub(super) struct Side<'v> {
    rows: ResourceRows<'v>,
    contained: Vec<ContainedRows<'v>>,
    /// `None` where they are not known, or none of this change.
    ties: Option<Ties<'v>>,
}

impl<'v> Side<'v> {
    fn of(
        server: &FhirServer,
        registry: &SearchRegistry,
        p: &Pending,
        content: Option<&'v Value>,
    ) -> Result<Side<'v>, Stop> {
        let Some(content) = content else {
            return Ok(Side {
                ties: Some(Ties::default()),
                ..Side::default()
            });
        };
        Ok(Side::of_content(server, registry, p.resource_type, content).at_op(p.op)?)
    }

    pub(super) fn of_content(
        server: &FhirServer,
        registry: &SearchRegistry,
        resource_type: &str,
        content: &'v Value,
    ) -> Result<Side<'v>, FhirError> {
        Ok(Side {
            rows: registry.rows(resource_type, content)?,
            contained: registry.contained(server.store.types(), content)?,
            ..Side::ties_of(server, registry, resource_type, content)
        })
    }

    /// What a version ties, and nothing else of it.
    pub(super) fn ties_of(
        server: &FhirServer,
        registry: &SearchRegistry,
        resource_type: &str,
        content: &'v Value,
    ) -> Side<'v> {
        let terms = &server.settings.policies.terms;
        Side {
            ties: Ties::of(terms, registry.locator(), resource_type, content),
            ..Side::default()
        }
    }

    /// Keeps the rows of these parameters.
    pub(super) fn retain(&mut self, params: &HashSet<i16>) {
        self.ties = None;
        self.rows.retain(|param| params.contains(&param));
        for inner in &mut self.contained {
            inner.rows.retain(|param| params.contains(&-param));
        }
    }

    /// A version of which nothing is known but where its contained resources stand.
    pub(super) fn known(known: &'v [KnownContained]) -> Side<'v> {
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
            contained: contained.collect(),
            ..Side::default()
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
    let mut ties = TieChange::of(before.ties, after.ties);
    for (rid, before, after) in std::iter::once((rid, before.rows, after.rows)).chain(inner) {
        changes.push(Change {
            rid,
            gone: before.without(&after),
            added: after.without(&before),
            near: near.clone(),
            // Only what stands alone ties anybody: the first of these.
            ties: std::mem::take(&mut ties),
        });
    }
}

impl<'v> TieChange<'v> {
    fn of(before: Option<Ties<'v>>, after: Option<Ties<'v>>) -> TieChange<'v> {
        match (before, after) {
            (_, None) => TieChange::default(),
            (Some(before), Some(after)) if before == after => TieChange::default(),
            (before, after) => TieChange {
                gone: before.is_none_or(|before| !before.is_empty()),
                added: after,
            },
        }
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
pub(super) async fn known_contained(
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
