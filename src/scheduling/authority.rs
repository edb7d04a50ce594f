//! Who may move which visit.
//!
//! The operations of this room write *as the practice*, since a patient may not write Slots, nor a practitioner the
//! calendar of another. So each of them judges first, by what is here:
//!
//! | | patient | practitioner of the visit | other practitioner | administrator | back end |
//! |---|---|---|---|---|---|
//! | hold, book for a patient | whom they may read | whom they may read | whom they may read | anyone | by its scopes |
//! | confirm, reject, approve a move | – | yes | – | yes | by its scopes |
//! | cancel | their own | yes | – | yes | by its scopes |
//! | reschedule | their own; late only by asking | yes | – | yes | by its scopes |
//! | block a calendar | – | their own | – | yes | by its scopes |
//!
//! On top of that the token's scopes must allow what is done: `.c` on Appointment to hold and book, `.u` to move.
//!
//! What somebody may not read is not there for them: 404, whatever they wanted to do with it.

use serde_json::Value;

use super::visit;
use crate::fhir::access::Role;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;

/// On which side of a visit somebody stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Patient,
    Practice,
}

/// Whether this is a patient's own doing, rather than the practice's on their behalf.
pub fn is_patient(caller: &Caller) -> bool {
    !caller.is_unrestricted() && caller.user().is_some_and(|user| user.role == Role::Patient)
}

/// `Patient/…` of a caller who is a patient, or whose token is about one.
pub fn own_patient(caller: &Caller) -> Option<String> {
    let granted = caller.grant()?;
    let launched = granted.patient.as_ref().map(|id| format!("Patient/{id}"));
    let user = granted.user.as_ref().map(|user| user.fhir_user.clone());
    launched.or(user.filter(|user| user.starts_with("Patient/")))
}

/// On which side of the visit the caller stands.
///
/// # Errors
/// 403 for a practitioner with whom it is not. Patients see no visits but their own, so the one they read is theirs.
pub fn side(caller: &Caller, practitioner: Option<&str>) -> Result<Side, FhirError> {
    let Some(user) = caller.user() else {
        return Ok(Side::Practice);
    };
    match user.role {
        Role::Patient => Ok(Side::Patient),
        Role::Admin => Ok(Side::Practice),
        Role::Practitioner if practitioner == Some(user.fhir_user.as_str()) => Ok(Side::Practice),
        Role::Practitioner => Err(FhirError::forbidden(
            "This is another practitioner's. They, or an administrator, can do this.",
        )),
    }
}

/// On which side of a visit the caller stands: of several practitioners who take part, each is on the practice's.
///
/// # Errors
/// As for [`side`].
pub fn side_of(caller: &Caller, appointment: &Value) -> Result<Side, FhirError> {
    let own = caller.user().map(|user| user.fhir_user.as_str());
    let own = own.filter(|own| visit::takes_part(appointment, own));
    side(caller, own.or_else(|| visit::actor(appointment, "Practitioner")))
}

/// Refuses who is not on the practice's side.
///
/// # Errors
/// 403
pub fn require_practice(caller: &Caller, practitioner: Option<&str>) -> Result<(), FhirError> {
    match side(caller, practitioner)? {
        Side::Practice => Ok(()),
        Side::Patient => Err(FhirError::forbidden("The practitioner does this, not the patient.")),
    }
}

/// What is at an address for this caller, perhaps a deletion.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn find(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    id: &str,
) -> Result<Option<StoredResource>, FhirError> {
    server.read(caller, resource_type, id).await
}

/// What the caller may read of that address, with its content.
///
/// # Errors
/// 404 for what they may not read or is not there, 410 for what is there no more.
pub async fn read(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    id: &str,
) -> Result<(StoredResource, Value), FhirError> {
    let found = find(server, caller, resource_type, id).await?;
    let found = found.ok_or_else(|| FhirError::not_found(resource_type, id))?;
    if found.deleted {
        return Err(FhirError::gone(resource_type, id));
    }
    let content = serde_json::from_str(&found.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    Ok((found, content))
}

/// A visit that the caller may read, and the side on which they stand.
///
/// # Errors
/// 404, 410, 403
pub async fn visit(server: &FhirServer, caller: &Caller, id: &str) -> Result<(StoredResource, Value, Side), FhirError> {
    let (stored, content) = read(server, caller, "Appointment", id).await?;
    let side = side_of(caller, &content)?;
    Ok((stored, content, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::caller::{Granted, User};

    fn person(role: Role, fhir_user: &str) -> Caller {
        Caller::granted(Granted {
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: String::new(),
                holders: Default::default(),
            }),
            ..Granted::default()
        })
    }

    #[test]
    fn a_visit_is_moved_by_its_practitioner_and_not_by_another() {
        let practitioner = Some("Practitioner/d");
        assert_eq!(
            side(&person(Role::Practitioner, "Practitioner/d"), practitioner).unwrap(),
            Side::Practice
        );
        assert_eq!(
            side(&person(Role::Admin, "Practitioner/a"), practitioner).unwrap(),
            Side::Practice
        );
        assert_eq!(side(&Caller::sandbox(), practitioner).unwrap(), Side::Practice);
        let other = person(Role::Practitioner, "Practitioner/e");
        assert_eq!(side(&other, practitioner).unwrap_err().status, 403);
        assert_eq!(side(&other, None).unwrap_err().status, 403);
        let patient = person(Role::Patient, "Patient/p");
        assert_eq!(require_practice(&patient, practitioner).unwrap_err().status, 403);
    }

    #[test]
    fn what_the_practice_does_for_a_patient_is_not_the_patients_doing() {
        let patient = person(Role::Patient, "Patient/p");
        assert!(is_patient(&patient) && !is_patient(&patient.practice()));
        assert_eq!(own_patient(&patient).as_deref(), Some("Patient/p"));
        assert_eq!(own_patient(&person(Role::Admin, "Practitioner/a")), None);
    }
}
