//! Who may sign a prescription, and as what.
//!
//! The practitioner in whose name it is written (`requester`), as long as the practice lets them prescribe: they have an active
//! PractitionerRole with one of the codes that the deployment names (`prescriptions.prescribers`). Practitioners cannot give
//! that to themselves, since PractitionerRoles are written by administrators. Its organization is the practice of the sheet.
//!
//! | | |
//! |---|---|
//! | a patient, an administrator, a back end in its own name | 403 |
//! | another practitioner than the requester | 403 |
//! | one without such a role | 403 |

use jiff::civil::Date;
use serde_json::Value;

use super::day;
use super::record::{self, Record};
use crate::fhir::access::Role;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// A code that lets somebody prescribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCode {
    pub system: String,
    pub code: String,
}

impl RoleCode {
    /// Reads `system|code`.
    pub fn read(text: &str) -> Option<RoleCode> {
        let (system, code) = text.split_once('|')?;
        let is_whole = !system.is_empty() && !code.is_empty();
        is_whole.then(|| RoleCode {
            system: system.to_owned(),
            code: code.to_owned(),
        })
    }
}

/// Who signs.
pub struct Prescriber {
    pub practitioner: Record,
    pub organization: Record,
}

impl Prescriber {
    /// # Errors
    /// 403 for who may not prescribe, 422 where the practice is not known.
    pub async fn of(
        server: &FhirServer,
        caller: &Caller,
        requester: &str,
        codes: &[RoleCode],
    ) -> Result<Prescriber, FhirError> {
        let practice = caller.practice();
        let practitioner = match requester.split_once('/') {
            Some(("PractitionerRole", id)) => {
                let role = record::read(server, &practice, "PractitionerRole", id).await?;
                role.content["practitioner"]["reference"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            }
            _ => requester.to_owned(),
        };
        require_self(caller, &practitioner)?;
        let today = server.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let criteria = [("practitioner", practitioner.as_str()), ("active", "true")];
        let roles = record::find(server, &practice, "PractitionerRole", &criteria).await?;
        let role = roles
            .into_iter()
            .find(|role| may_prescribe(&role.content, codes, today));
        let role = role.ok_or_else(|| {
            FhirError::forbidden(
                "The practice does not let this practitioner prescribe: that takes an active PractitionerRole with a code \
                 that the settings name.",
            )
        })?;
        let organization = role.content["organization"]["reference"].as_str().ok_or_else(|| {
            FhirError::unprocessable("The prescriber's role names no practice.").at("PractitionerRole.organization")
        })?;
        Ok(Prescriber {
            organization: record::follow(server, &practice, organization, "Organization").await?,
            practitioner: record::follow(server, &practice, &practitioner, "Practitioner").await?,
        })
    }
}

fn require_self(caller: &Caller, practitioner: &str) -> Result<(), FhirError> {
    let refuse = |text: &str| Err(FhirError::forbidden(text).at("MedicationRequest.requester"));
    match caller.user() {
        Some(user) if user.role != Role::Practitioner => refuse("Prescriptions are signed by practitioners."),
        Some(user) if user.fhir_user == practitioner => Ok(()),
        Some(_) => refuse("This is another practitioner's: each signs their own."),
        // Whoever has an open sandbox to themselves may be anybody in it.
        None if caller.grant().is_none() => Ok(()),
        None => refuse("Prescriptions are signed by people, not by programs."),
    }
}

fn may_prescribe(role: &Value, codes: &[RoleCode], today: Date) -> bool {
    let concepts = role["code"].as_array().into_iter().flatten();
    let mut codings = concepts.flat_map(|concept| concept["coding"].as_array().into_iter().flatten());
    let is_code = |coding: &Value| {
        codes
            .iter()
            .any(|code| coding["system"] == code.system.as_str() && coding["code"] == code.code.as_str())
    };
    role["active"] == true && is_during(&role["period"], today) && codings.any(is_code)
}

/// Whether a Period, if there is one, has begun and not ended.
pub fn is_during(period: &Value, today: Date) -> bool {
    let bound = |name: &str| period[name].as_str().and_then(day::date);
    bound("start").is_none_or(|start| start <= today) && bound("end").is_none_or(|end| today <= end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::caller::{Granted, User};
    use serde_json::json;

    #[test]
    fn practitioners_sign_their_own() {
        let person = |role: Role, fhir_user: &str| {
            Caller::granted(Granted {
                user: Some(User {
                    role,
                    fhir_user: fhir_user.to_owned(),
                    person: String::new(),
                    holders: Default::default(),
                }),
                ..Granted::default()
            })
        };
        assert!(require_self(&person(Role::Practitioner, "Practitioner/d"), "Practitioner/d").is_ok());
        assert!(require_self(&Caller::sandbox(), "Practitioner/d").is_ok());
        for caller in [
            person(Role::Practitioner, "Practitioner/e"),
            person(Role::Admin, "Practitioner/d"),
            person(Role::Patient, "Patient/p"),
            Caller::granted(Granted::default()),
            // The practice acts for them, and stays who they are.
            person(Role::Patient, "Patient/p").practice(),
        ] {
            assert_eq!(require_self(&caller, "Practitioner/d").unwrap_err().status, 403);
        }
    }

    #[test]
    fn a_role_lets_prescribe_while_it_is_active() {
        let codes = [RoleCode::read("urn:roles|doctor").unwrap()];
        let today: Date = "2026-03-01".parse().unwrap();
        let role = |code: &str, active: bool, end: &str| json!({"active": active, "period": {"end": end}, "code": [{"coding": [{"system": "urn:roles", "code": code}]}]});
        assert!(may_prescribe(&role("doctor", true, "2026-03-01"), &codes, today));
        assert!(!may_prescribe(&role("nurse", true, "2026-03-01"), &codes, today));
        assert!(!may_prescribe(&role("doctor", false, "2026-03-01"), &codes, today));
        assert!(!may_prescribe(&role("doctor", true, "2026-02-28"), &codes, today));
        assert_eq!((RoleCode::read("doctor"), RoleCode::read("|x")), (None, None));
    }
}
