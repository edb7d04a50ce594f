//! `Appointment/[id]/$confirm`: the practitioner agrees. An AppointmentResponse does the same, and leaves a record of its
//! own ([`answers`](crate::scheduling::answers)).
//!
//! | | status |
//! |---|---|
//! | approved, or pending payment | 200 |
//! | a patient, or another practitioner | 403 |
//! | nobody waits for it | 409 |

use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::summary::Projection;
use crate::scheduling::authority;
use crate::scheduling::desk::Desk;
use crate::scheduling::visit;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let id = input.id.as_deref().unwrap_or_default();
    let (stored, content, _) = authority::visit(desk.server, desk.caller, id).await?;
    authority::require_practice(desk.caller, visit::actor(&content, "Practitioner"))?;
    let known = desk.known(stored, content).await?;
    let stored = desk.store(desk.agree(&known).await?, 0).await?;
    Answer::with_resource(desk.server, stored, &Projection::Whole)
}
