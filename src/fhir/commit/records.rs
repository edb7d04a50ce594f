//! What the trail tells of a commit.

use super::transaction::Pending;
use super::{CommitError, Effect, Op, Outcome, Target, Write};
use crate::fhir::caller::Caller;
use crate::fhir::resource::Method;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};

/// One record for each version that is about to be stored. It names the version before as well: both may belong to a patient,
/// and not to the same one.
pub(super) fn of_changes(server: &FhirServer, caller: &Caller, pending: &[Pending]) -> Vec<Event> {
    if !server.trail.is_on() || !caller.is_recorded() {
        return Vec::new();
    }
    let event = |p: &Pending| {
        let kind = match p.method {
            Method::Post if p.before.is_none() => Kind::Create,
            Method::Post | Method::Put => Kind::Update,
            Method::Patch => Kind::Patch,
            Method::Delete => Kind::Delete,
        };
        let former = p.current.as_ref().filter(|current| current.is_live());
        let former = former
            .map(|current| current.stored.version)
            .filter(|former| *former != p.version);
        let versions = former.into_iter().chain(p.after.is_some().then_some(p.version));
        Event::new(kind)
            .by(caller)
            .resource(p.resource_type, &p.id, Some(p.version))
            .showing(versions.map(|version| (p.rid, version)))
    };
    pending.iter().filter(|p| p.op != Pending::OWN).map(event).collect()
}

/// One record for each op that had nothing to write. A client that is answered with what was there is shown it.
pub(super) fn of_unwritten<'o>(caller: &Caller, outcomes: impl IntoIterator<Item = &'o Outcome>) -> Vec<Event> {
    if !caller.is_recorded() {
        return Vec::new();
    }
    let event = |outcome: &Outcome| {
        let Outcome { effect, stored } = outcome;
        let kind = match effect {
            Effect::Unchanged => Kind::Update,
            Effect::Existing => Kind::Create,
            Effect::NothingToDelete => Kind::Delete,
            Effect::Created | Effect::Updated | Effect::Deleted => return None,
        };
        let version = (stored.version > 0).then_some(stored.version);
        let event = Event::new(kind)
            .by(caller)
            .resource(stored.resource_type, &stored.id, version)
            .detail("result", "nothing was changed");
        Some(event.showing((!stored.deleted).then(|| stored.into())))
    };
    outcomes.into_iter().filter_map(event).collect()
}

/// What was asked for, to be recorded if it is refused.
pub(super) struct Asked(Vec<Event>);

/// What a commit was asked for; nothing where nothing is recorded.
pub(super) fn of_ops(server: &FhirServer, caller: &Caller, ops: &[Op]) -> Asked {
    if !server.trail.is_on() || !caller.is_recorded() {
        return Asked(Vec::new());
    }
    let event = |op: &Op| {
        let (kind, target) = match &op.write {
            Write::Create { resource, .. } => {
                let resource_type = resource["resourceType"].as_str().unwrap_or_default();
                return Event::new(Kind::Create).by(caller).resource(resource_type, "", None);
            }
            Write::Update { target, .. } => (Kind::Update, target),
            Write::Patch { target, .. } => (Kind::Patch, target),
            Write::Delete { target, .. } => (Kind::Delete, target),
        };
        let event = Event::new(kind).by(caller);
        match target {
            Target::Instance { resource_type, id } => event.resource(resource_type, id, None),
            Target::Criteria { resource_type, query } => event
                .resource(resource_type, "", None)
                .request(format!("{resource_type}?{query}")),
        }
    };
    Asked(ops.iter().map(event).collect())
}

impl Asked {
    /// The record of the op that is the reason why nothing was stored, or of all.
    pub(super) fn refused(&mut self, failed: &CommitError) -> Option<Event> {
        let event = match (failed.op, self.0.len()) {
            (_, 0) => return None,
            (Some(op), _) if op < self.0.len() => self.0.swap_remove(op),
            (_, 1) => self.0.swap_remove(0),
            (_, count) => {
                let who = std::mem::take(&mut self.0[0].who);
                let event = Event::new(Kind::Transaction).detail("entries", count.to_string());
                Event { who, ..event }
            }
        };
        Some(event.ended_by(&failed.error))
    }
}
