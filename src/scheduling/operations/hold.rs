//! `Appointment/$hold`: keeps a time for some minutes (IHE ITI-116,
//! <https://profiles.ihe.net/ITI/Scheduling/OperationDefinition-appointment-hold.html>).
//!
//! | | status |
//! |---|---|
//! | held, now or by the same patient before | 200 |
//! | taken, or never offered | 409 |

use super::{bundle, proposed, wish};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::http::Answer;
use crate::scheduling::authority;
use crate::scheduling::booking::{Standing, begin};
use crate::scheduling::desk::Desk;

pub async fn run(desk: Desk<'_>, input: OperationInput) -> Result<Answer, FhirError> {
    let (id, details) = proposed(&input)?;
    let wish = wish(desk, &input, details).await?;
    let offer = id.offer(desk.server, desk.caller, desk.directory).await?;
    if let Err(error) = desk.require_free(&offer, id.start, None, false).await {
        // Who goes back and forth between two pages meets their own hold.
        let patient = wish.patient["reference"].as_str().unwrap_or_default();
        return match desk.own_hold(&offer, id.start, patient).await? {
            Some(held) => {
                let (stored, _) =
                    authority::read(desk.server, &desk.caller.practice(), "Appointment", &held.id).await?;
                bundle(desk, &[("match", stored)])
            }
            None => Err(error),
        };
    }
    let standing = Standing::held(&offer.terms.policy);
    let ops = begin(desk.server, &offer, id.start, &wish, standing);
    let stored = desk.store(ops, 1).await?;
    bundle(desk, &[("match", stored)])
}
