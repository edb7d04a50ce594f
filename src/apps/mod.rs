//! The apps of `apps/`, as far as the server has to do with them: it serves their files, lets them in as it lets in any SMART
//! app, and tells them what changes. They speak FHIR like everybody else.
//!
//! | file | concern |
//! |---|---|
//! | here | which apps there are, and what they may ask for |
//! | [`files`] | `/apps/…`: what was built, with the headers that it needs |
//! | [`landing`] | `/`: what this is, and the way in |
//! | [`changes`] | `/fhir/$changes`: what was changed elsewhere |

pub mod changes;
pub mod files;
pub mod landing;

use anyhow::{Context, Result, anyhow};
use sqlx::PgPool;

use crate::auth::clients::{self, NewClient, NewProof};
use crate::auth::scopes::{ScopeError, Scopes};
use crate::base::Clock;

/// An app of ours, as it is registered at the start. It is a public client: everybody can read its code.
#[derive(Debug)]
pub struct OwnApp {
    /// The folder below `apps/`, and the path below `/apps/`.
    pub folder: &'static str,
    pub client: &'static str,
    /// As people see it in their list of applications.
    pub name: &'static str,
    /// The most it may ask for.
    pub scopes: &'static str,
    /// Whether it can be opened from within MedConsult, about a patient.
    pub can_be_launched: bool,
    /// Whether it may open other applications for the patient that it is about.
    pub launches_others: bool,
}

/// Tokens of all of them end with the session in the browser (`online_access`).
pub const OWN_APPS: [OwnApp; 3] = [
    OwnApp {
        folder: "patient",
        client: "medconsult-patient",
        name: "MedConsult",
        // The record of one patient; of everything else what it takes to find a practitioner.
        scopes: "openid fhirUser profile launch/patient online_access patient/*.rs patient/Appointment.cu patient/Binary.c \
                 patient/Consent.cu patient/DocumentReference.cu patient/Patient.u patient/QuestionnaireResponse.cu patient/Task.u \
                 user/ChargeItemDefinition.rs user/HealthcareService.rs user/Location.rs user/Organization.rs user/Practitioner.rs \
                 user/PractitionerRole.rs user/Questionnaire.rs user/Schedule.rs user/Slot.rs",
        can_be_launched: false,
        launches_others: false,
    },
    OwnApp {
        folder: "practitioner",
        client: "medconsult-practitioner",
        name: "MedConsult for practitioners",
        scopes: "openid fhirUser profile launch online_access user/*.rs user/AllergyIntolerance.cu user/Appointment.cu \
                 user/AppointmentResponse.c user/Binary.c user/Composition.cu user/Condition.cu user/DetectedIssue.cu \
                 user/DocumentReference.cu user/Encounter.cu user/MedicationRequest.cud user/Observation.cu user/Provenance.c \
                 user/Schedule.cu user/Slot.cud user/Task.cu",
        can_be_launched: true,
        launches_others: true,
    },
    OwnApp {
        folder: "admin",
        client: "medconsult-admin",
        name: "MedConsult administration",
        scopes: "openid fhirUser profile online_access user/*.rs user/Appointment.u user/ChargeItemDefinition.cu \
                 user/HealthcareService.cu user/Organization.cu user/Practitioner.cu user/PractitionerRole.cu user/Schedule.cu",
        can_be_launched: false,
        launches_others: false,
    },
];

/// Registers those of our apps that are served, as this release has them. One that an operator disabled stays so.
///
/// # Errors
/// When the database does not answer.
pub async fn register(database: &PgPool, clock: &Clock, root: &str, files: &files::Files) -> Result<()> {
    for app in OWN_APPS.iter().filter(|app| files.has(app.folder)) {
        let address = format!("{root}/apps/{}/", app.folder);
        let scopes =
            Scopes::parse(app.scopes).map_err(|ScopeError(text)| anyhow!("the scopes of {}: {text}", app.client))?;
        let client = NewClient {
            id: app.client,
            name: app.name,
            scopes: &scopes,
            redirect_uris: std::slice::from_ref(&address),
            launch_url: app.can_be_launched.then_some(address.as_str()),
            launches: app.launches_others,
            proof: NewProof::Public,
        };
        let kept = clients::keep_own(database, clock.now(), &client).await;
        kept.with_context(|| format!("cannot register {}", app.client))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_our_apps_can_be_read_and_are_for_people() {
        for app in &OWN_APPS {
            let scopes = Scopes::parse(app.scopes).unwrap_or_else(|ScopeError(text)| panic!("{}: {text}", app.client));
            assert!(scopes.are_for_apps(), "{}", app.client);
        }
    }
}
