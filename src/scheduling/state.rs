//! The states of an Appointment and the moves between them.
//!
//! R4 has one status for several of ours, and tells them apart by what the participants have said
//! (<https://hl7.org/fhir/R4/appointment.html#status>):
//!
//! | state | `status` | patient | practitioner |
//! |---|---|---|---|
//! | proposed | `proposed` | | |
//! | held: a time is kept while the patient decides | `pending` | `needs-action` | |
//! | pending payment | `pending` | `tentative` | |
//! | requested | `pending` | `accepted` | `needs-action` |
//! | approved | `booked` | `accepted` | `accepted` |
//! | arrived, checked in | `arrived`, `checked-in` | | |
//! | completed | `fulfilled` | | |
//! | rejected | `cancelled` | | `declined` |
//! | cancelled | `cancelled` | | any other |
//! | no-show | `noshow` | | |
//! | waiting list | `waitlist` | | |
//! | entered in error | `entered-in-error` | | |
//!
//! Pure. Who may make a move is another question: [`authority`](super::authority).

use serde_json::Value;

use super::names::REASONS;
use super::visit;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Proposed,
    Waitlist,
    Held,
    PendingPayment,
    Requested,
    Approved,
    Arrived,
    CheckedIn,
    Completed,
    Rejected,
    Cancelled,
    NoShow,
    EnteredInError,
}

use State::{
    Approved, Arrived, Cancelled, CheckedIn, Completed, EnteredInError, Held, NoShow, PendingPayment, Proposed,
    Rejected, Requested, Waitlist,
};

impl State {
    /// The state of an Appointment; `None` where the status is none of R4's, which validation refuses.
    pub fn of(appointment: &Value) -> Option<State> {
        let said = |kind| visit::participant(appointment, kind).and_then(|found| found["status"].as_str());
        let state = match appointment["status"].as_str()? {
            "proposed" => Proposed,
            "waitlist" => Waitlist,
            "pending" => match said("Patient") {
                Some("needs-action") => Held,
                Some("tentative") => PendingPayment,
                _ => Requested,
            },
            "booked" => Approved,
            "arrived" => Arrived,
            "checked-in" => CheckedIn,
            "fulfilled" => Completed,
            "cancelled" if said("Practitioner") == Some("declined") => Rejected,
            "cancelled" => Cancelled,
            "noshow" => NoShow,
            "entered-in-error" => EnteredInError,
            _ => return None,
        };
        Some(state)
    }

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Proposed => "proposed",
            Waitlist => "on the waiting list",
            Held => "held",
            PendingPayment => "pending payment",
            Requested => "requested",
            Approved => "approved",
            Arrived => "arrived",
            CheckedIn => "checked in",
            Completed => "completed",
            Rejected => "rejected",
            Cancelled => "cancelled",
            NoShow => "a no-show",
            EnteredInError => "entered in error",
        }
    }

    /// The code of the derived tag, for an Appointment of this state; what is proposed or was an error has none.
    pub fn label(self, appointment: &Value) -> Option<&'static str> {
        Some(match self {
            Proposed | EnteredInError => return None,
            Waitlist => "waiting-list",
            Held => "held",
            PendingPayment => "pending-payment",
            Requested => "requested",
            Approved => "approved",
            Arrived | CheckedIn => "waiting-room",
            Completed => "completed",
            Rejected => "rejected",
            Cancelled => {
                let codings = appointment["cancelationReason"]["coding"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let own = codings.filter(|coding| coding["system"] == REASONS);
                let told = ["payment-expired", "hold-expired", "rescheduled"];
                let mut told = own.filter_map(|coding| told.into_iter().find(|code| coding["code"] == *code));
                told.next().unwrap_or("cancelled")
            }
            NoShow => "no-show",
        })
    }

    /// The states that may follow.
    pub fn next(self) -> &'static [State] {
        match self {
            Proposed | Waitlist => &[
                Proposed,
                Waitlist,
                Held,
                Requested,
                PendingPayment,
                Approved,
                Cancelled,
                EnteredInError,
            ],
            Held => &[Requested, PendingPayment, Approved, Rejected, Cancelled, EnteredInError],
            Requested => &[PendingPayment, Approved, Rejected, Cancelled, EnteredInError],
            // Who pays before it is approved waits for the approval.
            PendingPayment => &[Requested, Approved, Rejected, Cancelled, EnteredInError],
            Approved => &[Arrived, CheckedIn, Completed, NoShow, Cancelled, EnteredInError],
            Arrived => &[CheckedIn, Completed, NoShow, Cancelled, EnteredInError],
            CheckedIn => &[Completed, Cancelled, EnteredInError],
            Completed | Rejected | Cancelled | NoShow => &[EnteredInError],
            EnteredInError => &[],
        }
    }

    pub fn may_become(self, next: State) -> bool {
        self == next || self.next().contains(&next)
    }

    /// Whether its time is taken, and by a Slot of which status.
    pub fn slot_status(self) -> Option<&'static str> {
        match self {
            Held | PendingPayment | Requested => Some("busy-tentative"),
            Approved | Arrived | CheckedIn | Completed | NoShow => Some("busy"),
            Proposed | Waitlist | Rejected | Cancelled | EnteredInError => None,
        }
    }

    /// Whether it lapses when nobody does anything.
    pub fn lapses(self) -> bool {
        matches!(self, Held | PendingPayment | Requested)
    }

    /// Whether the visit is still to come, so that it can be moved or cancelled.
    pub fn is_open(self) -> bool {
        matches!(self, Held | PendingPayment | Requested | Approved)
    }

    /// A sentence that names the legal moves.
    pub fn moves(self) -> String {
        let names: Vec<&str> = self.next().iter().map(|state| state.name()).collect();
        match names.as_slice() {
            [] => format!("An appointment that is {} stays so.", self.name()),
            names => format!(
                "An appointment that is {} can become {}.",
                self.name(),
                names.join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALL: [State; 13] = [
        Proposed,
        Waitlist,
        Held,
        PendingPayment,
        Requested,
        Approved,
        Arrived,
        CheckedIn,
        Completed,
        Rejected,
        Cancelled,
        NoShow,
        EnteredInError,
    ];

    fn appointment(status: &str, patient: &str, practitioner: &str) -> Value {
        json!({"resourceType": "Appointment", "status": status, "participant": [
            {"actor": {"reference": "Patient/p"}, "status": patient},
            {"actor": {"reference": "Practitioner/d"}, "status": practitioner}]})
    }

    #[test]
    fn a_state_is_what_status_and_participants_say() {
        for (status, patient, practitioner, expected) in [
            ("pending", "accepted", "needs-action", Requested),
            ("pending", "tentative", "accepted", PendingPayment),
            // Payment comes first where both are open.
            ("pending", "tentative", "needs-action", PendingPayment),
            ("pending", "needs-action", "needs-action", Held),
            ("booked", "accepted", "accepted", Approved),
            ("cancelled", "accepted", "declined", Rejected),
            ("cancelled", "accepted", "accepted", Cancelled),
            ("fulfilled", "accepted", "accepted", Completed),
            ("noshow", "accepted", "accepted", NoShow),
        ] {
            assert_eq!(State::of(&appointment(status, patient, practitioner)), Some(expected));
        }
        assert_eq!(State::of(&json!({"status": "unheard-of"})), None);
    }

    #[test]
    fn nothing_comes_back_from_an_end() {
        for end in [Completed, Rejected, Cancelled, NoShow, EnteredInError] {
            for state in ALL {
                let expected = state == end || state == EnteredInError;
                assert_eq!(end.may_become(state), expected, "{end:?} to {state:?}");
            }
        }
    }

    #[test]
    fn what_lapses_holds_its_time_only_tentatively() {
        for state in ALL {
            assert_eq!(
                state.lapses(),
                state.slot_status() == Some("busy-tentative"),
                "{state:?}"
            );
            assert!(state.may_become(state));
        }
        assert!(!Approved.may_become(Requested) && !Approved.may_become(Rejected));
        assert!(PendingPayment.may_become(Requested) && !Requested.may_become(Held));
    }

    #[test]
    fn a_refusal_can_name_the_legal_moves() {
        assert_eq!(
            CheckedIn.moves(),
            "An appointment that is checked in can become completed, cancelled, entered in error."
        );
        assert_eq!(
            EnteredInError.moves(),
            "An appointment that is entered in error stays so."
        );
    }
}
