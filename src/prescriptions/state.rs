//! The states of a prescription (`MedicationRequest.status`), and the moves between them.
//!
//! ```text
//! draft ──$sign──▶ active ◀──▶ on-hold
//!   │                │            │
//!   ▼                ▼            ▼
//! cancelled     completed, stopped, cancelled
//! ```
//!
//! Whatever was written by mistake is marked so (`entered-in-error`), from every state. Only a draft can be changed or
//! deleted.

use serde_json::Value;

use super::names::{PRESCRIPTION_PROFILE, SHEETS};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Draft,
    Active,
    OnHold,
    Completed,
    Stopped,
    Cancelled,
    EnteredInError,
    /// R4 has it for records of others.
    Unknown,
}

use State::{Active, Cancelled, Completed, Draft, EnteredInError, OnHold, Stopped, Unknown};

impl State {
    pub fn of(prescription: &Value) -> Option<State> {
        Some(match prescription["status"].as_str()? {
            "draft" => Draft,
            "active" => Active,
            "on-hold" => OnHold,
            "completed" => Completed,
            "stopped" => Stopped,
            "cancelled" => Cancelled,
            "entered-in-error" => EnteredInError,
            "unknown" => Unknown,
            _ => return None,
        })
    }

    pub fn code(self) -> &'static str {
        match self {
            Draft => "draft",
            Active => "active",
            OnHold => "on-hold",
            Completed => "completed",
            Stopped => "stopped",
            Cancelled => "cancelled",
            EnteredInError => "entered-in-error",
            Unknown => "unknown",
        }
    }

    /// The states that may follow, besides itself.
    pub fn next(self) -> &'static [State] {
        match self {
            Draft => &[Active, Cancelled, EnteredInError],
            Active => &[OnHold, Completed, Stopped, Cancelled, EnteredInError],
            OnHold => &[Active, Completed, Stopped, Cancelled, EnteredInError],
            Completed | Stopped | Cancelled => &[EnteredInError],
            EnteredInError => &[],
            Unknown => &[EnteredInError],
        }
    }

    pub fn may_become(self, next: State) -> bool {
        self == next || self.next().contains(&next)
    }

    /// Whether medicine can be handed out by it, now or when it is resumed.
    pub fn counts(self) -> bool {
        matches!(self, Active | OnHold)
    }

    /// What is legal, as a sentence for who tried something else.
    pub fn moves(self) -> String {
        let names: Vec<&str> = self.next().iter().map(|state| state.code()).collect();
        match (self, names.as_slice()) {
            (_, []) => format!("A prescription that is {} stays so.", self.code()),
            (Draft, _) => {
                "A draft can become active (by MedicationRequest/$sign), cancelled, entered-in-error.".to_owned()
            }
            (_, names) => format!(
                "A prescription that is {} can become {}.",
                self.code(),
                names.join(", ")
            ),
        }
    }
}

/// Whether it is on one of our sheets. A signed one is known by its number too, so that nobody gets rid of the rules by
/// leaving out the profile.
pub fn is_ours(resource: &Value) -> bool {
    let mut profiles = resource["meta"]["profile"].as_array().into_iter().flatten();
    resource["groupIdentifier"]["system"] == SHEETS || profiles.any(|profile| profile == PRESCRIPTION_PROFILE)
}

/// The number of its sheet.
pub fn sheet(prescription: &Value) -> Option<&str> {
    let number = &prescription["groupIdentifier"];
    number["value"].as_str().filter(|_| number["system"] == SHEETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 8] = [
        Draft,
        Active,
        OnHold,
        Completed,
        Stopped,
        Cancelled,
        EnteredInError,
        Unknown,
    ];

    #[test]
    fn codes_lead_back() {
        for state in ALL {
            assert_eq!(
                State::of(&serde_json::json!({"status": state.code()})),
                Some(state),
                "{state:?}"
            );
        }
        assert_eq!(State::of(&serde_json::json!({"status": "signed"})), None);
    }

    #[test]
    fn what_has_ended_stays_ended_and_nothing_becomes_a_draft_again() {
        for state in ALL {
            assert_eq!(state.may_become(Draft), state == Draft, "{state:?}");
            if matches!(state, Completed | Stopped | Cancelled | EnteredInError) {
                assert!(!state.may_become(Active) && !state.may_become(OnHold), "{state:?}");
            }
        }
        assert!(OnHold.may_become(Active) && Active.may_become(Stopped) && !Draft.may_become(Stopped));
    }

    #[test]
    fn a_refusal_names_the_legal_moves() {
        assert_eq!(
            Active.moves(),
            "A prescription that is active can become on-hold, completed, stopped, cancelled, entered-in-error."
        );
        assert_eq!(
            EnteredInError.moves(),
            "A prescription that is entered-in-error stays so."
        );
        assert!(Draft.moves().contains("$sign"));
    }
}
