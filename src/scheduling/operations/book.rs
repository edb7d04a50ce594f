//! `Appointment/$book`: asks for a time (IHE ITI-117,
//! <https://profiles.ihe.net/ITI/Scheduling/OperationDefinition-appointment-book.html>).
//!
//! Whether it is booked then, or waits for an approval or a payment, is the policy of the service. As IHE has it, an
//! Appointment with the status `cancelled` cancels.
//!
//! | | status |
//! |---|---|
//! | booked or asked for | 200 |
//! | taken, never offered, or no longer held | 409 |
//! | `force` by a patient or a practitioner | 403 |

use super::{Pointed, bundle, pointed, wish};
use crate::fhir::access::Role;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::scheduling::authority;
use crate::scheduling::booking::{Standing, begin};
use crate::scheduling::desk::Desk;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let force = input.parameters.text("force") == Some("true");
    if force && desk.caller.user().is_some_and(|user| user.role != Role::Admin) {
        let text = "Only those who run the practice book outside of its hours.";
        return Err(FhirError::forbidden(text).at("Parameters.parameter.where(name = 'force')"));
    }
    let stored = match pointed(&input)? {
        (Pointed::Proposal(id), details) => {
            let wish = wish(desk, &input, details).await?;
            let offer = id.offer(desk.server, desk.caller, desk.directory).await?;
            let patient = wish.patient["reference"].as_str().unwrap_or_default();
            match desk.require_free(&offer, id.start, None, force).await {
                Ok(()) => {
                    let standing = Standing::booked(&offer.terms.policy);
                    let ops = begin(desk.server, &offer, id.start, &wish, standing);
                    desk.store(ops, 1).await?
                }
                Err(error) => match desk.own_hold(&offer, id.start, patient).await? {
                    Some(held) => desk.store(desk.decide(&held, &wish).await?, 0).await?,
                    None => return Err(error),
                },
            }
        }
        (Pointed::Visit(id), Some(details)) if details["status"] == "cancelled" => {
            let (stored, content, side) = authority::visit(desk.server, desk.caller, &id).await?;
            let known = desk.known(stored, content).await?;
            let ops = desk.call_off(&known, side, None, input.parameters.text("comment"))?;
            desk.store(ops, 0).await?
        }
        (Pointed::Visit(id), details) => {
            let (stored, content) = authority::read(desk.server, desk.caller, "Appointment", &id).await?;
            let known = desk.known(stored, content).await?;
            // Whom it was held for is settled; whatever else is told now counts.
            let mut wish = wish(desk, &input, Some(&known.content)).await?;
            wish.details = details.cloned();
            desk.store(desk.decide(&known, &wish).await?, 0).await?
        }
    };
    bundle(desk, &[("match", stored)])
}
