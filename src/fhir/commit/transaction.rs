//! A commit inside its transaction: decide what each op comes to, let the hooks have their say, write.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::authority::{Authority, Made};
use super::binaries::{self, BINARY, Contents};
use super::prepare::{Action, Prepared, Step, check_marked, check_profiles, overlap};
use super::provenance::{self, Written};
use super::resolve::{Current, Found, instant_after, instant_of, matches_all};
use super::{AtOp, CommitError, Effect, Outcome, Stop, records, write};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft};
use crate::fhir::references::{self, LinkKind};
use crate::fhir::resource::{self, Method, StoredResource};
use crate::fhir::server::FhirServer;
use crate::fhir::store::Ids;
use crate::jobs;

/// A version that is going to be stored.
pub struct Pending {
    /// Index of its op, or [`Pending::OWN`].
    pub op: usize,
    pub resource_type: &'static str,
    pub type_id: i16,
    pub id: String,
    /// 0 until a new resource is given one.
    pub rid: i64,
    pub version: i32,
    pub last_updated: Timestamp,
    pub method: Method,
    pub effect: Effect,
    /// The row it replaces: a live resource, a deletion or a placeholder.
    pub current: Option<Current>,
    /// Content of the live resource that it replaces.
    pub before: Option<Value>,
    /// `None` for a delete.
    pub after: Option<Value>,
    pub base: Option<String>,
    may_hold_conditional: bool,
    /// Patches and guards make content that nobody has validated yet.
    is_unchecked: bool,
    /// Conditional references: type and criteria.
    looks_for: Vec<(String, String)>,
}

impl Pending {
    /// In place of the index of an op: what the server adds by itself.
    pub const OWN: usize = usize::MAX;

    /// The first version of what `step` creates.
    pub fn new(step: &Step, id: String, now: Timestamp) -> Pending {
        Pending {
            op: step.op,
            resource_type: step.resource_type,
            type_id: step.type_id,
            id,
            rid: 0,
            version: 1,
            last_updated: now,
            method: Method::Post,
            effect: Effect::Created,
            current: None,
            before: None,
            after: None,
            base: step.base.clone(),
            may_hold_conditional: step.may_hold_conditional,
            is_unchecked: false,
            looks_for: Vec::new(),
        }
    }

    /// What the server itself adds.
    pub fn appended(
        (resource_type, type_id): (&'static str, i16),
        id: String,
        rid: i64,
        now: Timestamp,
        after: Value,
    ) -> Pending {
        Pending {
            op: Pending::OWN,
            resource_type,
            type_id,
            id,
            rid,
            version: 1,
            last_updated: now,
            method: Method::Post,
            effect: Effect::Created,
            current: None,
            before: None,
            after: Some(after),
            base: None,
            may_hold_conditional: false,
            is_unchecked: false,
            looks_for: Vec::new(),
        }
    }

    /// Whether it is a Binary that a patch made, whose content may be there as base64.
    pub fn is_patched_binary(&self) -> bool {
        self.resource_type == BINARY && self.method == Method::Patch
    }

    /// The current version with other labels.
    pub fn relabelled(
        (resource_type, type_id): (&'static str, i16),
        current: Current,
        before: Value,
        after: Value,
    ) -> Pending {
        Pending {
            op: 0,
            resource_type,
            type_id,
            id: current.stored.id.clone(),
            rid: current.stored.rid,
            version: current.stored.version,
            last_updated: current.stored.last_updated,
            method: current.stored.method,
            effect: Effect::Updated,
            current: Some(current),
            before: Some(before),
            after: Some(after),
            base: None,
            may_hold_conditional: false,
            is_unchecked: true,
            looks_for: Vec::new(),
        }
    }

    /// The version that follows `current`.
    fn after(step: &Step, current: &Current, method: Method, now: Timestamp) -> Result<Pending, FhirError> {
        Ok(Pending {
            rid: current.stored.rid,
            version: current.stored.version + 1,
            last_updated: instant_after(now, Some(current)),
            method,
            effect: if current.is_live() {
                Effect::Updated
            } else {
                Effect::Created
            },
            before: current.content()?,
            current: Some(current.clone()),
            ..Pending::new(step, current.stored.id.clone(), now)
        })
    }
}

/// What a commit comes to.
#[derive(Default)]
struct Decision {
    pending: Vec<Pending>,
    /// Outcomes of ops that write nothing.
    outcomes: Vec<(usize, Outcome)>,
    /// A conditional create, and the one before it with the same criteria: the first one creates, the second one finds.
    same_as: Vec<(usize, usize)>,
}

impl Prepared {
    /// Stores all ops in a transaction.
    pub(super) async fn store(&mut self, server: &FhirServer, caller: &Caller) -> Result<Vec<Outcome>, Stop> {
        let mut lease = server.store.fixed().await?;
        let mut ids = Ids::new(&server.store);
        let mut transaction = lease.begin().await?;
        match self.run(server, caller, &mut transaction, &mut ids).await {
            Ok(outcomes) => {
                transaction.commit().await?;
                lease.release();
                ids.publish();
                Ok(outcomes)
            }
            Err(stop) => {
                if transaction.rollback().await.is_ok() {
                    lease.release();
                }
                Err(stop)
            }
        }
    }

    async fn run(
        &mut self,
        server: &FhirServer,
        caller: &Caller,
        transaction: &mut PgConnection,
        ids: &mut Ids<'_>,
    ) -> Result<Vec<Outcome>, Stop> {
        let found = self.resolve(server, caller, transaction).await?;
        let authority = Authority {
            server,
            caller,
            own: self.own,
        };
        authority.check_found(transaction, &self.steps, &found).await?;
        self.unfold_patched(&found)?;
        let Decision {
            mut pending,
            mut outcomes,
            same_as,
        } = self.decide(server, &found)?;
        let there = pending.iter().filter(|p| p.rid != 0);
        let there: Vec<_> = there.map(|p| (p.rid, p.resource_type)).collect();
        let ties = authority.ties(transaction, &there).await?;
        self.contents.fold(server, &self.links, &mut pending)?;
        binaries::recognise(transaction, &mut pending).await?;
        let new_rids = pending.iter().filter(|p| p.rid == 0).count();
        let mut new_rids = server.store.new_rids(transaction, new_rids).await?.into_iter();
        for p in &mut pending {
            if p.rid == 0 {
                p.rid = new_rids.next().unwrap_or_default();
            }
            ids.set_target(p.resource_type, &p.id, p.rid);
        }
        for p in &mut pending {
            self.rewrite_links(server, p).at_op(p.op)?;
        }
        let binaries = binaries_of(&pending);
        let mut changes = Vec::new();
        let mut written = Written::default();
        let mut made = Vec::new();
        let mut resolved = HashMap::new();
        while !pending.is_empty() {
            let mut wave = next_wave(&mut pending);
            resolve_references(server, caller, transaction, &mut wave, &mut resolved).await?;
            ask_guards(server, caller, transaction, &mut wave, (self.own, &binaries)).await?;
            outcomes.extend(take_unchanged(&mut wave));
            if provenance::is_wanted(server, caller) {
                wave.iter().for_each(|p| written.push(p));
            }
            if pending.is_empty()
                && let Some(provenance) = written.provenance(server, caller)
            {
                let rid = server
                    .store
                    .new_rids(transaction, 1)
                    .await?
                    .first()
                    .copied()
                    .unwrap_or_default();
                wave.push(own_provenance(server, ids, rid, provenance)?);
            }
            let stored = write::write(server, caller, transaction, ids, &mut wave, true).await?;
            for (p, stored) in wave.into_iter().zip(stored) {
                made.extend((!stored.deleted).then_some(Made {
                    op: p.op,
                    rid: p.rid,
                    resource_type: p.resource_type,
                }));
                let is_watched = server.hooks.concern(p.resource_type);
                outcomes.push((
                    p.op,
                    Outcome {
                        effect: p.effect,
                        stored,
                    },
                ));
                changes.extend(is_watched.then(|| change_of(p)));
            }
        }
        authority.check_made(transaction, &self.steps, &made, &ties).await?;
        follow_up(server, caller, transaction, &changes).await?;
        authority.hide_unreadable(transaction, &mut outcomes).await?;
        let mut by_op: HashMap<usize, Outcome> = outcomes.into_iter().collect();
        for (op, first) in same_as {
            if let Some(Outcome { stored, .. }) = by_op.get(&first) {
                by_op.insert(
                    op,
                    Outcome {
                        effect: Effect::Existing,
                        stored: stored.clone(),
                    },
                );
            }
        }
        let unwritten = records::of_unwritten(caller, by_op.values());
        server.trail.write(transaction, &unwritten).await?;
        let in_order = (0..self.steps.len()).map(|op| by_op.remove(&op));
        in_order
            .collect::<Option<_>>()
            .ok_or_else(|| FhirError::internal("an op has no outcome").into())
    }

    fn decide(&mut self, server: &FhirServer, found: &Found) -> Result<Decision, CommitError> {
        let now = instant_of(server);
        let mut decision = Decision::default();
        let mut creators: HashMap<usize, usize> = HashMap::new();
        for step in &self.steps {
            if let (Action::Create(_), Some(criteria), None) = (&step.action, step.criteria, found.row(step)) {
                if let Some(&first) = creators.get(&criteria) {
                    decision.same_as.push((step.op, first));
                    continue;
                }
                creators.insert(criteria, step.op);
            }
            match decide(server, &self.contents, step, found, now).at_op(step.op)? {
                Ok(pending) => decision.pending.push(pending),
                Err(outcome) => decision.outcomes.push((step.op, outcome)),
            }
        }
        let mut seen = HashSet::new();
        for p in &decision.pending {
            if !seen.insert((p.type_id, p.id.as_str())) {
                return Err(overlap(p.resource_type, &p.id)).at_op(p.op);
            }
            self.links.set_identity(p.op, p.resource_type, &p.id);
        }
        for (op, outcome) in &decision.outcomes {
            if !outcome.stored.id.is_empty() {
                self.links
                    .set_identity(*op, outcome.stored.resource_type, &outcome.stored.id);
            }
        }
        for &(op, first) in &decision.same_as {
            if let Some(p) = decision.pending.iter().find(|p| p.op == first) {
                self.links.set_identity(op, p.resource_type, &p.id);
            }
        }
        Ok(decision)
    }

    /// Rewrites the links whose target is known only now, and notes conditional references.
    fn rewrite_links(&self, server: &FhirServer, pending: &mut Pending) -> Result<(), FhirError> {
        let is_patch = pending.method == Method::Patch;
        let patch_may_hold_links = is_patch && !self.links.is_empty();
        if !(pending.may_hold_conditional || self.links.has_unknown || patch_may_hold_links) {
            return Ok(());
        }
        let Some(resource) = &mut pending.after else {
            return Ok(());
        };
        let base = pending.base.as_deref();
        let looks_for = &mut pending.looks_for;
        let mut unknown_type = None;
        references::rewrite(server.definitions, resource, &mut |kind, text| {
            if kind == LinkKind::Reference
                && let Some((resource_type, criteria)) = references::conditional(text)
            {
                if server.store.types().id(resource_type).is_none() {
                    unknown_type = Some(resource_type.to_owned());
                }
                looks_for.push((resource_type.to_owned(), criteria.to_owned()));
                return None;
            }
            self.links.resolve(base, kind, text)
        });
        match unknown_type {
            Some(name) => Err(FhirError::unknown_type(&name)),
            None => Ok(()),
        }
    }
}

/// The Binaries that are going to be stored, by id.
fn binaries_of(pending: &[Pending]) -> HashMap<String, Value> {
    let binaries = pending.iter().filter(|p| p.resource_type == BINARY);
    binaries
        .filter_map(|p| Some((p.id.clone(), p.after.clone()?)))
        .collect()
}

/// A Provenance on its way into the statement that stores what it is about.
pub(super) fn own_provenance(
    server: &FhirServer,
    ids: &mut Ids<'_>,
    rid: i64,
    provenance: Value,
) -> Result<Pending, FhirError> {
    const NAME: &str = "Provenance";
    let type_id = server.store.types().id(NAME);
    let type_id = type_id.ok_or_else(|| FhirError::unknown_type(NAME))?;
    let id = server.ids.next().to_string();
    ids.set_target(NAME, &id, rid);
    Ok(Pending::appended(
        (NAME, type_id),
        id,
        rid,
        instant_of(server),
        provenance,
    ))
}

/// What one step comes to: a version to store, or an outcome without one.
fn decide(
    server: &FhirServer,
    contents: &Contents,
    step: &Step,
    found: &Found,
    now: Timestamp,
) -> Result<Result<Pending, Outcome>, FhirError> {
    let row = found.row(step);
    let live = row.filter(|row| row.is_live());
    match &step.action {
        Action::Delete => {
            check_if_match(step, live)?;
            let Some(live) = live else {
                let stored = row.filter(|row| row.stored.version > 0).map(|row| row.stored.clone());
                let stored = stored.unwrap_or_else(|| nothing(step));
                return Ok(Err(Outcome {
                    effect: Effect::NothingToDelete,
                    stored,
                }));
            };
            Ok(Ok(Pending {
                effect: Effect::Deleted,
                ..Pending::after(step, live, Method::Delete, now)?
            }))
        }
        Action::Create(_) if live.is_some() => {
            let stored = live.map_or_else(|| nothing(step), |live| live.stored.clone());
            Ok(Err(Outcome {
                effect: Effect::Existing,
                stored,
            }))
        }
        Action::Create(resource) => {
            let id = step.id.clone().unwrap_or_default();
            let after = with_id(resource, &id);
            Ok(Ok(Pending {
                after: Some(after),
                ..Pending::new(step, id, now)
            }))
        }
        Action::Update(resource) => decide_update(server, step, found, resource, now).map(Ok),
        Action::Patch(patch) => {
            let Some(live) = live else {
                return Err(match (row.filter(|row| row.stored.version > 0), &step.id) {
                    (Some(row), _) => FhirError::gone(step.resource_type, &row.stored.id),
                    (None, Some(id)) => FhirError::not_found(step.resource_type, id),
                    (None, None) => {
                        FhirError::no_such_address("Nothing matches the criteria, so there is nothing to patch.")
                    }
                });
            };
            check_if_match(step, Some(live))?;
            let mut pending = Pending::after(step, live, Method::Patch, now)?;
            let mut after = pending.before.clone().unwrap_or_default();
            if step.resource_type == BINARY {
                contents.unfold(&mut after);
            }
            patch.apply(&mut after, server.definitions, now)?;
            pending.after = Some(after);
            pending.is_unchecked = true;
            Ok(Ok(pending))
        }
    }
}

/// <https://hl7.org/fhir/R4/http.html#upsert>, <https://hl7.org/fhir/R4/http.html#cond-update>
fn decide_update(
    server: &FhirServer,
    step: &Step,
    found: &Found,
    resource: &Value,
    now: Timestamp,
) -> Result<Pending, FhirError> {
    let matched = found.id(step).filter(|_| step.criteria.is_some());
    if let (Some(matched), Some(in_body)) = (matched, &step.id)
        && matched != in_body
    {
        let text = "The criteria match a resource with another id than the one in the body.";
        return Err(FhirError::bad_request(text).at(format!("{}.id", step.resource_type)));
    }
    let row = found.row(step).or_else(|| found.row_of_body(step));
    let live = row.filter(|row| row.is_live());
    if step.criteria.is_some() && matched.is_none() && live.is_some() {
        return Err(FhirError::conflict(
            "Nothing matches the criteria, and the id in the body belongs to another resource.",
        ));
    }
    check_if_match(step, live)?;
    if step.if_none_match_any && live.is_some() {
        return Err(FhirError::precondition_failed(
            "If-None-Match: * asks that the resource is not there; it is.",
        ));
    }
    let mut pending = match row {
        Some(row) => Pending::after(step, row, Method::Put, now)?,
        None => {
            let id = step.id.clone().unwrap_or_else(|| server.ids.next().to_string());
            Pending {
                method: Method::Put,
                ..Pending::new(step, id, now)
            }
        }
    };
    pending.after = Some(with_id(resource, &pending.id));
    Ok(pending)
}

fn check_if_match(step: &Step, live: Option<&Current>) -> Result<(), FhirError> {
    match (step.if_match, live.map(|live| live.stored.version)) {
        (None, _) => Ok(()),
        (Some(wanted), Some(version)) if wanted == version => Ok(()),
        (Some(wanted), Some(version)) => Err(FhirError::precondition_failed(format!(
            "The current version is {version}, not {wanted}. Read it, apply your change to it and try again."
        ))),
        (Some(_), None) => Err(FhirError::precondition_failed(
            "If-Match names a version of a resource that is not there.",
        )),
    }
}

fn with_id(resource: &Value, id: &str) -> Value {
    let mut resource = resource.clone();
    if let Value::Object(object) = &mut resource {
        object.insert("id".to_owned(), Value::String(id.to_owned()));
    }
    resource
}

fn nothing(step: &Step) -> StoredResource {
    StoredResource {
        rid: 0,
        resource_type: step.resource_type,
        id: step.id.clone().unwrap_or_default(),
        version: 0,
        last_updated: Timestamp::UNIX_EPOCH,
        deleted: true,
        method: Method::Delete,
        json: String::new(),
        content: None,
    }
}

/// Takes what can be written next. A conditional reference is resolved after the other entries took effect
/// (<https://hl7.org/fhir/R4/http.html#trules>), so an entry waits for those whose type it looks for. Where entries wait
/// for each other, they look at what is there by then.
fn next_wave(pending: &mut Vec<Pending>) -> Vec<Pending> {
    let unwritten: HashSet<&str> = pending.iter().map(|p| p.resource_type).collect();
    let must_wait = |p: &Pending| {
        p.looks_for
            .iter()
            .any(|(wanted, _)| unwritten.contains(wanted.as_str()))
    };
    let waits: Vec<bool> = pending.iter().map(must_wait).collect();
    if waits.iter().all(|waits| *waits) {
        return std::mem::take(pending);
    }
    let mut waits = waits.into_iter();
    pending.extract_if(.., |_| !waits.next().unwrap_or(false)).collect()
}

/// Puts literal references in place of conditional ones.
async fn resolve_references(
    server: &FhirServer,
    caller: &Caller,
    transaction: &mut PgConnection,
    wave: &mut [Pending],
    resolved: &mut HashMap<(String, String), String>,
) -> Result<(), Stop> {
    let mut wanted = Vec::new();
    let mut op_of = Vec::new();
    for p in wave.iter() {
        for criteria in &p.looks_for {
            if !resolved.contains_key(criteria) && !wanted.contains(criteria) {
                wanted.push(criteria.clone());
                op_of.push(p.op);
            }
        }
    }
    if !wanted.is_empty() {
        let found = matches_all(transaction, server, caller, &wanted)
            .await
            .map_err(|(index, error)| {
                Stop::from(CommitError {
                    op: index.map(|index| op_of[index]),
                    error,
                })
            })?;
        for ((criteria, ids), op) in wanted.into_iter().zip(found).zip(op_of) {
            let literal = match ids.as_slice() {
                [id] => Ok(format!("{}/{id}", criteria.0)),
                [] => Err(FhirError::precondition_failed(format!(
                    "The conditional reference to a {} matches nothing.",
                    criteria.0
                ))),
                _ => Err(FhirError::multiple_matches(format!(
                    "The conditional reference to a {} matches several resources.",
                    criteria.0
                ))),
            };
            resolved.insert(criteria, literal.at_op(op)?);
        }
    }
    for p in wave.iter_mut().filter(|p| !p.looks_for.is_empty()) {
        let Some(resource) = &mut p.after else { continue };
        references::rewrite(server.definitions, resource, &mut |kind, text| {
            let (resource_type, criteria) = references::conditional(text).filter(|_| kind == LinkKind::Reference)?;
            resolved.get(&(resource_type.to_owned(), criteria.to_owned())).cloned()
        });
    }
    Ok(())
}

/// Lets the guards refuse or amend, validates what nobody has validated yet, and holds the result against its profiles.
/// The first `own` ops are the caller's, others the practice's; `binaries` are those of the whole commit.
pub async fn ask_guards(
    server: &FhirServer,
    caller: &Caller,
    transaction: &mut PgConnection,
    wave: &mut [Pending],
    (own, binaries): (usize, &HashMap<String, Value>),
) -> Result<(), Stop> {
    let practice = caller.practice();
    for p in wave {
        let by = if p.op < own { caller } else { &practice };
        for guard in server
            .hooks
            .guards
            .iter()
            .filter(|guard| guard.watches(p.resource_type))
        {
            let draft = Draft {
                resource_type: p.resource_type,
                id: &p.id,
                before: p.before.as_ref(),
                after: p.after.as_mut(),
                binaries,
            };
            guard.before(transaction, by, draft).await.at_op(p.op)?;
            p.is_unchecked = true;
        }
        if let Some(after) = &p.after {
            if p.is_unchecked {
                check_marked(server, after).at_op(p.op)?;
            }
            check_profiles(after).at_op(p.op)?;
        }
    }
    Ok(())
}

/// Takes out the updates that would say what is there already.
fn take_unchanged(wave: &mut Vec<Pending>) -> Vec<(usize, Outcome)> {
    let is_unchanged = |p: &mut Pending| match (&p.before, &p.after) {
        (Some(before), Some(after)) => resource::same_content(before, after),
        _ => false,
    };
    let unchanged = wave.extract_if(.., is_unchanged);
    let outcome = |p: Pending| {
        let stored = p.current?.stored;
        Some((
            p.op,
            Outcome {
                effect: Effect::Unchanged,
                stored,
            },
        ))
    };
    unchanged.filter_map(outcome).collect()
}

pub fn change_of(p: Pending) -> Change {
    Change {
        resource_type: p.resource_type,
        id: p.id,
        rid: p.rid,
        version: p.version,
        effect: p.effect,
        before: p.before,
        after: p.after,
    }
}

/// What comes after the last write and before the commit: the jobs of the reactions, and the guards' last word.
pub async fn follow_up(
    server: &FhirServer,
    caller: &Caller,
    transaction: &mut PgConnection,
    changes: &[Change],
) -> Result<(), Stop> {
    if changes.is_empty() {
        return Ok(());
    }
    for guard in &server.hooks.guards {
        let watched: Vec<&Change> = changes
            .iter()
            .filter(|change| guard.watches(change.resource_type))
            .collect();
        if !watched.is_empty() {
            guard.after_all(transaction, caller, watched).await?;
        }
    }
    let mut new_jobs = Vec::new();
    for reaction in &server.hooks.reactions {
        let watched = changes.iter().filter(|change| reaction.watches(change.resource_type));
        new_jobs.extend(watched.filter_map(|change| reaction.job(change)));
    }
    jobs::enqueue(transaction, server.clock.now(), &new_jobs).await?;
    Ok(())
}
