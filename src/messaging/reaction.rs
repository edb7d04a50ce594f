//! From a change to a job.

use serde_json::json;

use super::events::{self, Role};
use crate::fhir::commit::Effect;
use crate::fhir::hooks::{Change, Reaction};
use crate::jobs::NewJob;

/// The job that tells people of an event.
pub const TELL: &str = "messaging.tell";

/// Notices events.
pub struct Events;

impl Reaction for Events {
    fn watches(&self, resource_type: &str) -> bool {
        events::TYPES.contains(&resource_type)
    }

    fn job(&self, change: &Change) -> Option<NewJob> {
        if change.effect == Effect::Deleted {
            return None;
        }
        let event = events::of_change(change.resource_type, change.before.as_ref(), change.after.as_ref())?;
        let whom: Vec<&str> = event.whom.into_iter().map(Role::name).collect();
        Some(NewJob::new(
            TELL,
            json!({
                "event": event.code,
                "about": format!("{}/{}", change.resource_type, change.id),
                "version": change.version,
                "whom": whom,
                "once": event.once,
            }),
        ))
    }
}
