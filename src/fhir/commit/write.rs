//! Versions and index rows, written by one statement: [`changes`](super::changes) says which rows, [`statement`] how.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use super::binaries::{self, BINARY};
use super::changes::{Index, Side, Wiped, known_contained};
use super::prepare::{Action, Prepared};
use super::provenance::{self, Written};
use super::resolve::instant_of;
use super::statement::{OUTDATED, Shape, TieShape, Versions, bind_families, bind_ties, families_of, statement};
use super::transaction::{Pending, own_provenance};
use super::{Outcome, Stop, records};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::FhirError;
use crate::fhir::resource::{self, StoredResource};
use crate::fhir::search::SearchRegistry;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;

impl Prepared {
    /// Stores creates that depend on nothing, by one statement that commits itself.
    pub(super) async fn store_plain(&mut self, server: &FhirServer, caller: &Caller) -> Result<Vec<Outcome>, Stop> {
        let mut lease = server.store.fixed().await?;
        let mut ids = Ids::new(&server.store);
        let is_own_wanted = provenance::is_wanted(server, caller);
        let count = self.steps.len() + usize::from(is_own_wanted);
        let mut rids = server.store.new_rids(&mut lease, count).await?;
        let own_rid = if is_own_wanted { rids.pop() } else { None };
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
        if let Some(rid) = own_rid {
            let mut written = Written::default();
            pending.iter().for_each(|p| written.push(p));
            let provenance = written.provenance(server, caller);
            if let Some(provenance) = provenance {
                pending.push(own_provenance(server, &mut ids, rid, provenance)?);
            }
        }
        match write(server, caller, &mut lease, &mut ids, &mut pending, false).await {
            Ok(stored) => {
                lease.release();
                ids.publish();
                let mut outcomes: Vec<_> = pending.iter().zip(stored).collect();
                outcomes.retain(|(p, _)| p.op != Pending::OWN);
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
    caller: &Caller,
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
        true => pending.iter().filter(|p| has_words(p)).map(|p| p.rid).collect(),
        false => Vec::new(),
    };
    let records = server.trail.rows(&records::of_changes(server, caller, pending));
    let shape = Shape {
        creates: !new.rid.is_empty(),
        // Somebody else may be creating the same id this moment. Only an id of the client's choice can be that unlucky.
        may_collide: is_transaction,
        updates: !changed.rid.is_empty(),
        wipes: !index.wiped.rid.is_empty(),
        gone: families_of(&index.gone),
        added: families_of(&index.added),
        ties: TieShape::of(&index.ties),
        notes: !noted.is_empty(),
        records: records.is_some(),
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
    query = bind_ties(query, &index.ties, shape.ties);
    if shape.notes {
        query = query.bind(&noted[..]);
    }
    if let Some(rows) = &records {
        query = query.bind(&rows.event[..]).bind(&rows.mac[..]);
    }
    if shape.updates {
        query = changed.bind(query);
    }
    if shape.creates {
        query = new.bind(query);
    }
    let written = query.execute(&mut *connection).await.map_err(refusal)?.rows_affected();
    let expected = if shape.creates {
        new.rid.len()
    } else {
        changed.rid.len()
    };
    if written != expected as u64 {
        return Err(Stop::Crossed);
    }
    binaries::keep(connection, pending).await?;
    if records.is_some() {
        server.trail.announce();
    }
    pending.iter().zip(texts).map(|(p, text)| stored(p, text)).collect()
}

/// What is to be made anew of resources that are there.
#[derive(Clone, Copy)]
pub enum Anew<'a> {
    Everything,
    /// The index rows of some parameters.
    Parameters(&'a HashSet<i16>),
    /// What they say about who cares for whom.
    Ties,
}

/// Makes what follows from resources of one type anew, replacing whatever is there.
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
    what: Anew<'_>,
) -> Result<bool, FhirError> {
    let rids: Vec<i64> = resources.iter().map(|(rid, _)| *rid).collect();
    let known = match what {
        Anew::Ties => HashMap::new(),
        _ => known_contained(connection, rids.clone()).await?,
    };
    let mut wiped = Wiped::default();
    let mut sides = Vec::with_capacity(resources.len());
    for (rid, content) in resources {
        let known = known.get(rid).map_or(&[][..], Vec::as_slice);
        let after = match what {
            Anew::Everything => {
                wiped.push_all(server, registry, (resource_type, *rid), known, None);
                Side::of_content(server, registry, resource_type, content)?
            }
            Anew::Parameters(only) => {
                wiped.push_all(server, registry, (resource_type, *rid), known, Some(only));
                let mut after = Side::of_content(server, registry, resource_type, content)?;
                after.retain(only);
                after
            }
            Anew::Ties => Side::ties_of(server, registry, resource_type, content),
        };
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
        ties: TieShape::of(&index.ties),
        notes: false,
        records: false,
    };
    let mut query = sqlx::query(AssertSqlSafe(statement(shape)))
        .bind(server.index_version)
        .bind(registry.generation());
    if shape.wipes {
        query = query.bind(&wiped.rid[..]).bind(&wiped.param[..]);
    }
    query = bind_families(query, &index.gone, shape.gone);
    query = bind_families(query, &index.added, shape.added);
    query = bind_ties(query, &index.ties, shape.ties);
    // Rows of some parameters say nothing about the rules behind the others.
    let marked = match what {
        Anew::Everything => rids,
        Anew::Parameters(_) | Anew::Ties => Vec::new(),
    };
    match query.bind(marked).execute(connection).await {
        Ok(_) => Ok(true),
        Err(error) if is_outdated(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// AuditEvents hold codes and addresses; nobody looks for words in them.
fn has_words(p: &Pending) -> bool {
    p.resource_type != "AuditEvent"
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

fn stored(p: &Pending, text: Option<Text>) -> Result<StoredResource, Stop> {
    let json = text.map(|text| text.json).unwrap_or_default();
    let (json, content) = match p.resource_type {
        BINARY => content::apart(json)?,
        _ => (json, None),
    };
    Ok(StoredResource {
        rid: p.rid,
        resource_type: p.resource_type,
        id: p.id.clone(),
        version: p.version,
        last_updated: p.last_updated,
        deleted: p.after.is_none(),
        method: p.method,
        json,
        content,
    })
}

pub(super) struct Text {
    pub(super) json: String,
    /// Whether jsonb gives every number back as it is.
    pub(super) is_exact: bool,
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
