//! What a caller may write: each op is judged by the resource as it was and as it becomes.
//!
//! | | must be within | else |
//! |---|---|---|
//! | what is updated, patched, deleted | what the caller may update or delete | 403; 404 where they may not even read it |
//! | what is created, and what an update makes | what they may create or update | 403, and nothing is stored |
//! | each Patient that this names | whom they are or look after, if that is what they may write about | the same |
//! | what the answer shows | what they may read | it is stored and not shown |
//!
//! An update of what is not there creates it, and counts as an update. What the commit itself writes ties its caller to
//! nobody: who stores an appointment with somebody does not look after them by that. But a resource that tied them to a patient
//! before, and to nobody else now, still does: who is to see a patient notes on the appointment that the patient did not come.
//!
//! One statement for each kind of op, whatever their number, and none for a caller whose rule says everything.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::prepare::{Action, Prepared, Step};
use super::resolve::Found;
use super::{AtOp, CommitError, Outcome, Stop};
use crate::fhir::access::judge::{self, Judged};
use crate::fhir::access::relations::Tie;
use crate::fhir::access::{self, Permissions, Rule, relations};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;

/// The judge of one commit.
#[derive(Clone, Copy)]
pub struct Authority<'s> {
    pub server: &'s FhirServer,
    pub caller: &'s Caller,
    /// How many of the ops are the caller's; what follows from them is the practice's, and not judged.
    pub own: usize,
}

/// A resource that an op leaves behind.
pub struct Made {
    pub op: usize,
    pub rid: i64,
    pub resource_type: &'static str,
}

impl Action {
    /// The letter that it takes.
    fn letter(&self) -> Permissions {
        match self {
            Action::Create(_) => Permissions::CREATE,
            Action::Update(_) | Action::Patch(_) => Permissions::UPDATE,
            Action::Delete => Permissions::DELETE,
        }
    }
}

impl Authority<'_> {
    fn rule(&self, letter: Permissions, resource_type: &str) -> Rule {
        access::rule(self.server, self.caller, letter, resource_type)
    }

    /// Whether resources must be looked at to know what the caller may do with them.
    pub fn must_judge(&self, prepared: &Prepared) -> bool {
        let own = prepared.steps.iter().filter(|step| step.op < self.own);
        own.into_iter().any(|step| {
            let letters = [step.action.letter(), Permissions::READ];
            letters
                .iter()
                .any(|letter| matches!(self.rule(*letter, step.resource_type), Rule::When(_)))
        })
    }

    fn is_judged(&self, step: &Step) -> bool {
        step.op < self.own && matches!(self.rule(step.action.letter(), step.resource_type), Rule::When(_))
    }

    async fn allowed(
        &self,
        connection: &mut PgConnection,
        letter: Permissions,
        resources: &[(i64, &'static str)],
        ignored: &[i64],
    ) -> Result<HashSet<i64>, FhirError> {
        let judged = Judged {
            letter,
            ignored,
            is_committed: false,
        };
        judge::allowed(self.server, self.caller, connection, judged, resources).await
    }

    /// Judges what is there, before anything is written.
    pub async fn check_found(&self, connection: &mut PgConnection, steps: &[Step], found: &Found) -> Result<(), Stop> {
        let mut living: HashMap<Permissions, Vec<(&Step, &StoredResource)>> = HashMap::new();
        for step in steps.iter().filter(|step| self.is_judged(step)) {
            let row = found.row(step).or_else(|| found.row_of_body(step));
            let stored = row.map(|row| &row.stored).filter(|stored| stored.version > 0);
            match (&step.action, stored) {
                (Action::Create(_), _) => {}
                (_, Some(stored)) if stored.deleted => {
                    let letter = step.action.letter();
                    if !judge::may(self.server, self.caller, connection, letter, stored).await? {
                        return Err(self.refusal(connection, step, stored).await?.into());
                    }
                }
                (_, Some(stored)) => living.entry(step.action.letter()).or_default().push((step, stored)),
                // As for what is there and not theirs.
                (Action::Delete, None) if step.criteria.is_none() => {
                    let id = step.id.as_deref().unwrap_or_default();
                    return Err(FhirError::not_found(step.resource_type, id))
                        .at_op(step.op)
                        .map_err(Stop::from);
                }
                (_, None) => {}
            }
        }
        for (letter, living) in living {
            let resources: Vec<_> = living
                .iter()
                .map(|(_, stored)| (stored.rid, stored.resource_type))
                .collect();
            let allowed = self.allowed(connection, letter, &resources, &[]).await?;
            if let Some((step, stored)) = living.iter().find(|(_, stored)| !allowed.contains(&stored.rid)) {
                return Err(self.refusal(connection, step, stored).await?.into());
            }
        }
        Ok(())
    }

    /// Why a step may not be done to what is there. A client chose the id of what it puts there, and can be told that it is
    /// taken; otherwise what the caller may not read is not there.
    async fn refusal(
        &self,
        connection: &mut PgConnection,
        step: &Step,
        stored: &StoredResource,
    ) -> Result<CommitError, FhirError> {
        let is_hidden = !matches!(step.action, Action::Update(_))
            && !judge::may(self.server, self.caller, connection, Permissions::READ, stored).await?;
        let error = match is_hidden {
            true => FhirError::not_found(step.resource_type, &stored.id),
            false => access::forbidden(step.action.letter(), &format!("this {}", step.resource_type)),
        };
        Ok(CommitError {
            op: Some(step.op),
            error,
        })
    }

    /// How resources (rid and type) tie the caller to patients.
    pub async fn ties(
        &self,
        connection: &mut PgConnection,
        resources: &[(i64, &str)],
    ) -> Result<HashSet<Tie>, FhirError> {
        match self.caller.is_unrestricted() {
            true => Ok(HashSet::new()),
            false => relations::ties_by(self.server, connection, self.caller, resources).await,
        }
    }

    /// Judges what was written, all of it, before it is committed. `former` are the [`ties`](Authority::ties) by what was
    /// there before.
    pub async fn check_made(
        &self,
        connection: &mut PgConnection,
        steps: &[Step],
        made: &[Made],
        former: &HashSet<Tie>,
    ) -> Result<(), Stop> {
        if former.is_empty() {
            return self.judge_made(connection, steps, made).await;
        }
        let resources: Vec<_> = made.iter().map(|made| (made.rid, made.resource_type)).collect();
        let present = self.ties(connection, &resources).await?;
        relations::let_stand(connection, former, &present).await?;
        self.judge_made(connection, steps, made).await?;
        Ok(relations::let_fall(connection).await?)
    }

    async fn judge_made(&self, connection: &mut PgConnection, steps: &[Step], made: &[Made]) -> Result<(), Stop> {
        let ignored: Vec<i64> = made.iter().map(|made| made.rid).collect();
        let letters: HashMap<usize, &Step> = steps.iter().map(|step| (step.op, step)).collect();
        for letter in [Permissions::CREATE, Permissions::UPDATE] {
            let judged = made.iter().filter(|made| {
                let step = letters.get(&made.op);
                step.is_some_and(|step| step.action.letter() == letter && self.is_judged(step))
            });
            let judged: Vec<&Made> = judged.collect();
            if judged.is_empty() {
                continue;
            }
            let resources: Vec<_> = judged
                .iter()
                .map(|written| (written.rid, written.resource_type))
                .collect();
            let allowed = self.allowed(connection, letter, &resources, &ignored).await?;
            if let Some(refused) = judged.iter().find(|made| !allowed.contains(&made.rid)) {
                let what = format!("a {} as this one would be", refused.resource_type);
                return Err(access::forbidden(letter, &what))
                    .at_op(refused.op)
                    .map_err(Stop::from);
            }
        }
        self.check_named(connection, &letters, made).await
    }

    /// Who may write into the records of some patients may name no others in them.
    async fn check_named(
        &self,
        connection: &mut PgConnection,
        steps: &HashMap<usize, &Step>,
        made: &[Made],
    ) -> Result<(), Stop> {
        let is_bound = |made: &Made| {
            let step = steps.get(&made.op);
            let rule = step.map(|step| self.rule(step.action.letter(), step.resource_type));
            matches!(rule, Some(Rule::When(criterion)) if criterion.asks_for_patients())
        };
        let own = || made.iter().filter(|made| made.op < self.own);
        if !own().any(is_bound) {
            return Ok(());
        }
        let resources: Vec<_> = own().map(|made| (made.rid, made.resource_type)).collect();
        let stranger = relations::check_reach(self.server, connection, self.caller, &resources).await?;
        match made.iter().find(|made| Some(made.rid) == stranger) {
            None => Ok(()),
            Some(made) => {
                let text = "It names a patient who is not in this caller's care.";
                Err(FhirError::forbidden(text)).at_op(made.op).map_err(Stop::from)
            }
        }
    }

    /// Leaves out of the outcomes what the caller may not read.
    pub async fn hide_unreadable(
        &self,
        connection: &mut PgConnection,
        outcomes: &mut [(usize, Outcome)],
    ) -> Result<(), FhirError> {
        let judged = |outcome: &Outcome| {
            let stored = &outcome.stored;
            !stored.deleted && matches!(self.rule(Permissions::READ, stored.resource_type), Rule::When(_))
        };
        let resources = outcomes.iter().filter(|(_, outcome)| judged(outcome));
        let resources = resources.map(|(_, outcome)| (outcome.stored.rid, outcome.stored.resource_type));
        let resources: Vec<_> = resources.collect();
        if resources.is_empty() {
            return Ok(());
        }
        let readable = self.allowed(connection, Permissions::READ, &resources, &[]).await?;
        for (_, outcome) in outcomes.iter_mut().filter(|(_, outcome)| judged(outcome)) {
            if !readable.contains(&outcome.stored.rid) {
                outcome.stored.json.clear();
            }
        }
        Ok(())
    }

    /// The same for types of which they may read nothing.
    pub fn hide_unreadable_types(&self, outcomes: &mut [Outcome]) {
        for Outcome { stored, .. } in outcomes {
            if let Rule::Nothing = self.rule(Permissions::READ, stored.resource_type) {
                stored.json.clear();
            }
        }
    }
}
