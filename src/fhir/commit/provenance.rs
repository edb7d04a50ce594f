//! Who is behind what an application wrote on behalf of a person: one Provenance for a commit, stored with it
//! (<https://hl7.org/fhir/R4/provenance.html>).
//!
//! The person is the author, the application the one who entered it. A back end that acts in its own name leaves none: it
//! carries over what others have written, and knows better than we do who they are. Neither does a commit that brings a
//! Provenance itself.

use serde_json::{Value, json};

use super::Effect;
use super::transaction::Pending;
use crate::fhir::caller::Caller;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;

const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";

/// Whether this caller's commits come with one.
pub(super) fn is_wanted(server: &FhirServer, caller: &Caller) -> bool {
    server.settings.provenance && caller.grant().is_some_and(|granted| granted.account.is_some())
}

/// What a commit has written.
#[derive(Default)]
pub(super) struct Written {
    /// `Patient/1/_history/2`
    versions: Vec<String>,
    /// `CREATE`, `UPDATE` or `DELETE`, as long as all writes were one of them.
    activity: Option<&'static str>,
    has_own: bool,
}

impl Written {
    pub(super) fn push(&mut self, p: &Pending) {
        let activity = match p.effect {
            Effect::Created => "CREATE",
            Effect::Deleted => "DELETE",
            _ => "UPDATE",
        };
        self.activity = match self.versions.is_empty() {
            true => Some(activity),
            false => self.activity.filter(|known| *known == activity),
        };
        self.versions
            .push(format!("{}/{}/_history/{}", p.resource_type, p.id, p.version));
        self.has_own |= p.resource_type == "Provenance";
    }

    /// The Provenance of all that was written, if there is to be one.
    pub(super) fn provenance(&self, server: &FhirServer, caller: &Caller) -> Option<Value> {
        let granted = caller.grant().filter(|_| is_wanted(server, caller))?;
        if self.versions.is_empty() || self.has_own {
            return None;
        }
        let root = server.settings.base_url.strip_suffix("/fhir");
        let root = root.unwrap_or(&server.settings.base_url);
        let person = match &granted.user {
            Some(user) => json!({"reference": user.fhir_user}),
            None => json!({"identifier": {"system": format!("{root}/auth/accounts"), "value": granted.account}}),
        };
        let application = json!({"identifier": {"system": format!("{root}/auth/clients"), "value": granted.client}});
        let part = |code: &str| json!({"coding": [{"system": PARTICIPANT, "code": code}]});
        let targets: Vec<Value> = self
            .versions
            .iter()
            .map(|version| json!({"reference": version}))
            .collect();
        let mut provenance = json!({
            "resourceType": "Provenance",
            "target": targets,
            "recorded": instant(server.clock.now()),
            "agent": [
                {"type": part("author"), "who": person},
                {"type": part("enterer"), "who": application, "onBehalfOf": person}
            ]
        });
        if let Some(activity) = self.activity {
            let system = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
            provenance["activity"] = json!({"coding": [{"system": system, "code": activity}]});
        }
        Some(provenance)
    }
}
