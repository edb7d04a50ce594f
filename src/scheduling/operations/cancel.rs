//! `Appointment/[id]/$cancel`: it does not take place. Its time is free again in the same transaction.
//!
//! | | status |
//! |---|---|
//! | cancelled; rejected, where the practice had not agreed yet and gives no reason | 200 |
//! | another practitioner | 403 |
//! | it has begun, is over, or is cancelled already | 409 |

use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::fhir::summary::Projection;
use crate::scheduling::authority;
use crate::scheduling::desk::Desk;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let id = input.id.as_deref().unwrap_or_default();
    let (stored, content, side) = authority::visit(desk.server, desk.caller, id).await?;
    let known = desk.known(stored, content).await?;
    let reason = input.parameters.value("reason");
    let ops = desk.call_off(&known, side, reason, input.parameters.text("comment"))?;
    let stored = desk.store(ops, 0).await?;
    Answer::with_resource(desk.server, stored, &Projection::Whole)
}
