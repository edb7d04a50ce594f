//! What holds of prescriptions, whoever writes and by whichever way.
//!
//! - One begins as a draft, on a sheet with a number, and its text is what its structure says.
//! - It becomes active by a signature alone: a Provenance of the same transaction whose signature, by the practice's key, is
//!   of just this content. `$sign` makes it; nobody else can.
//! - A number is signed once.
//! - What is signed stays as it was signed. Its status moves as [`State`] allows; anything else is another prescription, that
//!   replaces it.
//! - Sheets are printed by the server.

use std::collections::HashMap;

use axum::http::StatusCode;
use futures::future::BoxFuture;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use std::sync::Arc;

use super::dosage;
use super::names::SHEETS;
use super::office::Office;
use super::state::{self, State};
use crate::base::Clock;
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::hooks::{Change, Draft, Guard};

/// The elements that change with the status, and those that are no content.
const MOVES: [&str; 4] = ["status", "statusReason", "meta", "id"];

/// The longest number of a sheet.
const LONGEST_NUMBER: usize = 40;

/// See the [module](self).
pub struct Prescriptions {
    pub office: Arc<Office>,
    pub clock: Clock,
}

impl Guard for Prescriptions {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "MedicationRequest" | "Provenance" | "DocumentReference")
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            match draft.resource_type {
                "MedicationRequest" => judge(draft.before, draft.after),
                "DocumentReference" if !caller.is_unrestricted() => {
                    let is_sheet = draft.before.is_some_and(is_sheet) || draft.after.as_deref().is_some_and(is_sheet);
                    match is_sheet {
                        true => Err(FhirError::conflict(
                            "Sheets are printed by the server: by MedicationRequest/$sign, and when a status changes.",
                        )),
                        false => Ok(()),
                    }
                }
                _ => Ok(()),
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let begun: HashMap<String, &Change> = changes
                .iter()
                .filter(|change| becomes_active(change))
                .map(|change| {
                    let reference = format!("MedicationRequest/{}/_history/{}", change.id, change.version);
                    (reference, *change)
                })
                .collect();
            if begun.is_empty() {
                return Ok(());
            }
            let mut signed = 0;
            for provenance in changes.iter().filter(|change| change.resource_type == "Provenance") {
                signed += self.settle(transaction, provenance, &begun).await?;
            }
            match signed == begun.len() {
                true => Ok(()),
                false => Err(FhirError::conflict(
                    "A prescription becomes active by being signed: MedicationRequest/$sign.",
                )
                .at("MedicationRequest.status")),
            }
        })
    }
}

impl Prescriptions {
    /// How many of `begun` this Provenance is a signature of; notes the number of their sheet.
    async fn settle(
        &self,
        transaction: &mut PgConnection,
        provenance: &Change,
        begun: &HashMap<String, &Change>,
    ) -> Result<usize, FhirError> {
        let now = self.clock.now();
        let nothing = Value::Null;
        let content = provenance.after.as_ref().unwrap_or(&nothing);
        let Some(data) = content["signature"][0]["data"].as_str() else {
            return Ok(0);
        };
        let targets = content["target"].as_array().into_iter().flatten();
        let targets = targets.filter_map(|target| begun.get(target["reference"].as_str()?));
        let signed: Vec<(&str, &Value)> = targets
            .filter_map(|change| Some((change.id.as_str(), change.after.as_ref()?)))
            .collect();
        let number = signed.first().and_then(|(_, content)| state::sheet(content));
        let (Some(number), true) = (
            number,
            signed.iter().all(|(_, content)| state::sheet(content) == number),
        ) else {
            return Ok(0);
        };
        let is_signed = self.office.signer.has_signed(data, &signed, now).await;
        let is_signed = is_signed.map_err(|error| {
            tracing::error!(%error, "the key of prescriptions cannot be used");
            FhirError::unavailable("Prescriptions cannot be signed at the moment.")
        })?;
        if !is_signed {
            return Ok(0);
        }
        let noted = sqlx::query(
            "INSERT INTO prescription_sheet (number, provenance, signed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(number)
        .bind(&provenance.id)
        .bind(now.to_sqlx())
        .execute(transaction)
        .await?;
        match noted.rows_affected() {
            1 => Ok(signed.len()),
            _ => Err(
                FhirError::conflict("There is a signed sheet with this number already: take another one.")
                    .at("MedicationRequest.groupIdentifier"),
            ),
        }
    }
}

/// Whether it was not signed before and counts as signed now.
fn becomes_active(change: &Change) -> bool {
    let was = change
        .before
        .as_ref()
        .filter(|before| state::is_ours(before))
        .and_then(State::of);
    let after = change.after.as_ref().filter(|after| state::is_ours(after));
    let is_signed = |state: State| matches!(state, State::Active | State::OnHold | State::Completed | State::Stopped);
    change.resource_type == "MedicationRequest"
        && was.is_none_or(|state| state == State::Draft)
        && after.and_then(State::of).is_some_and(is_signed)
}

fn is_sheet(document: &Value) -> bool {
    let mut identifiers = document["identifier"].as_array().into_iter().flatten();
    identifiers.any(|identifier| identifier["system"] == SHEETS)
}

/// Holds a MedicationRequest against the one that it replaces, and writes its text.
fn judge(before: Option<&Value>, after: Option<&mut Value>) -> Result<(), FhirError> {
    let refuse = |text: String| Err(FhirError::conflict(text).at("MedicationRequest.status"));
    let ours = before.filter(|before| state::is_ours(before));
    let former = ours.and_then(State::of);
    let Some(after) = after else {
        return match former {
            None | Some(State::Draft) => Ok(()),
            Some(state) => refuse(format!("Only a draft can be deleted. {}", state.moves())),
        };
    };
    if ours.is_none() && !state::is_ours(after) {
        return Ok(());
    }
    let Some(state) = State::of(after) else {
        // Validation says what is wrong with the status.
        return Ok(());
    };
    match former {
        None if state != State::Draft => refuse(format!("A prescription begins as a draft. {}", State::Draft.moves())),
        None | Some(State::Draft) if former.is_none_or(|former| former.may_become(state)) => {
            check_number(after)?;
            write_text(after)
        }
        Some(former) if !former.may_become(state) => {
            refuse(format!("It cannot become {}. {}", state.code(), former.moves()))
        }
        Some(_) if ours.is_some_and(|before| !same_content(before, after)) => Err(FhirError::conflict(
            "A signed prescription is not changed: stop or cancel it, or write another one whose priorPrescription it is.",
        )),
        _ => Ok(()),
    }
}

/// Whether nothing but the status differs.
fn same_content(before: &Value, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
        return false;
    };
    let content = |members: &serde_json::Map<String, Value>| {
        members.keys().filter(|name| !MOVES.contains(&name.as_str())).count()
    };
    content(before) == content(after)
        && before
            .iter()
            .all(|(name, value)| MOVES.contains(&name.as_str()) || after.get(name) == Some(value))
}

/// A number is printed, read aloud and typed in. What has none is for the profile to refuse.
fn check_number(prescription: &Value) -> Result<(), FhirError> {
    let Some(number) = state::sheet(prescription) else {
        return Ok(());
    };
    let is_plain = number.len() <= LONGEST_NUMBER
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_alphanumeric() || "-./".contains(c));
    match is_plain {
        true => Ok(()),
        false => Err(FhirError::unprocessable(format!(
            "The number of a sheet has up to {LONGEST_NUMBER} letters, digits and - . /"
        ))
        .at("MedicationRequest.groupIdentifier.value")),
    }
}

/// Writes what each dosage says in place of whatever was said.
fn write_text(prescription: &mut Value) -> Result<(), FhirError> {
    let mut issues = Vec::new();
    let dosages = prescription["dosageInstruction"].as_array_mut().into_iter().flatten();
    for (index, dosage) in dosages.enumerate() {
        match dosage::text(dosage) {
            Ok(text) => {
                if let Some(members) = dosage.as_object_mut() {
                    members.insert("text".to_owned(), Value::from(text));
                }
            }
            Err(problems) => issues.extend(problems.into_iter().map(|problem| {
                let element = format!("MedicationRequest.dosageInstruction[{index}].{}", problem.element);
                Issue::error(IssueType::BusinessRule, problem.text).at(element)
            })),
        }
    }
    match issues.is_empty() {
        true => Ok(()),
        false => Err(FhirError::with_issues(StatusCode::UNPROCESSABLE_ENTITY, issues)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prescription(status: &str) -> Value {
        json!({"resourceType": "MedicationRequest", "status": status,
            "groupIdentifier": {"system": SHEETS, "value": "R-1"},
            "dosageInstruction": [{"text": "as you like", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "tablet"}}]}]})
    }

    #[test]
    fn the_text_is_what_the_structure_says() {
        let mut draft = prescription("draft");
        judge(None, Some(&mut draft)).unwrap();
        assert_eq!(draft["dosageInstruction"][0]["text"], "Take 1 tablet once a day.");
        draft["dosageInstruction"][0]["timing"]["repeat"]["when"] = json!(["MORN", "EVE"]);
        let error = judge(None, Some(&mut draft)).unwrap_err();
        assert_eq!(error.status, 422);
        assert_eq!(
            error.issues[0].expression,
            ["MedicationRequest.dosageInstruction[0].timing.repeat.when"]
        );
    }

    #[test]
    fn it_moves_as_its_states_allow() {
        for (before, after, allowed) in [
            (None, "draft", true),
            (None, "active", false),
            (Some("draft"), "active", true),
            (Some("draft"), "stopped", false),
            (Some("active"), "stopped", true),
            (Some("stopped"), "active", false),
            (Some("active"), "draft", false),
        ] {
            let answer = judge(before.map(prescription).as_ref(), Some(&mut prescription(after)));
            assert_eq!(answer.is_ok(), allowed, "{before:?} to {after}");
        }
        assert!(judge(Some(&prescription("draft")), None).is_ok());
        assert_eq!(judge(Some(&prescription("active")), None).unwrap_err().status, 409);
    }

    #[test]
    fn what_is_signed_stays_even_without_its_profile() {
        let signed = prescription("active");
        let mut other = prescription("active");
        other["note"] = json!([{"text": "twice as much"}]);
        assert_eq!(judge(Some(&signed), Some(&mut other)).unwrap_err().status, 409);
        let mut elsewhere = signed.clone();
        elsewhere["groupIdentifier"] = json!({"system": "urn:x", "value": "R-1"});
        assert_eq!(judge(Some(&signed), Some(&mut elsewhere)).unwrap_err().status, 409);
        let mut stopped = prescription("stopped");
        stopped["statusReason"] = json!({"text": "Rash"});
        assert!(judge(Some(&signed), Some(&mut stopped)).is_ok());
        // Somebody else's records are theirs.
        let mut foreign = json!({"status": "active"});
        assert!(judge(None, Some(&mut foreign)).is_ok());
    }

    #[test]
    fn numbers_are_plain() {
        for (number, allowed) in [("R-2026/1.b", true), ("R 1", false), ("", false), ("é", false)] {
            let mut draft = prescription("draft");
            draft["groupIdentifier"]["value"] = json!(number);
            assert_eq!(judge(None, Some(&mut draft)).is_ok(), allowed, "{number}");
        }
    }
}
