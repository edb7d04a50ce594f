//! Proposed Appointments: what `$find` answers, and how `$hold` and `$book` know one again.
//!
//! Nothing is stored for a proposal. Its id says it all: the calendar, the service and the beginning. It is not signed,
//! because nothing is believed: whether that time can be booked is judged anew when somebody wants it.

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sqlx::Row;

use super::availability::{Opening, instant};
use super::directory::{Directory, Offer};
use super::names::{HL7_TIME_ZONE, PROPOSAL_PROFILE, WINDOW};
use super::visit;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// What the id of a proposal says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalId {
    /// rid of the Schedule.
    calendar: i64,
    /// rid of the HealthcareService; 0 for none.
    service: i64,
    pub start: i64,
}

impl ProposalId {
    pub fn new(offer: &Offer, start: i64) -> ProposalId {
        ProposalId {
            calendar: offer.calendar,
            service: offer.service,
            start,
        }
    }

    /// As an id of FHIR: `p-` and three numbers.
    pub fn text(self) -> String {
        format!("p-{:x}-{:x}-{:x}", self.calendar, self.service, self.start)
    }

    /// `None` for any other id.
    pub fn read(id: &str) -> Option<ProposalId> {
        let mut numbers = id.strip_prefix("p-")?.split('-').map(|number| {
            // Digits only: a number may be written with a sign, too.
            let is_plain = number.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| i64::from_str_radix(number, 16).ok())?
        });
        let read = ProposalId {
            calendar: numbers.next()??,
            service: numbers.next()??,
            start: numbers.next()??,
        };
        numbers.next().is_none().then_some(read)
    }

    /// What it proposes, if that is offered at all.
    ///
    /// # Errors
    /// 409 when it is not, or no more.
    pub async fn offer(self, server: &FhirServer, caller: &Caller, directory: &Directory) -> Result<Offer, FhirError> {
        const SQL: &str = "SELECT s.id, h.id FROM resource s LEFT JOIN resource h \
             ON h.rid = $2 AND h.type = (SELECT id FROM resource_type WHERE name = 'HealthcareService') \
             WHERE s.rid = $1 AND s.type = (SELECT id FROM resource_type WHERE name = 'Schedule')";
        let mut lease = server.store.fixed().await?;
        let row = sqlx::query(SQL)
            .bind(self.calendar)
            .bind(self.service)
            .fetch_optional(&mut *lease)
            .await?;
        lease.release();
        let gone = || FhirError::conflict("This can no longer be booked. Ask Appointment/$find what can.");
        let row = row.ok_or_else(gone)?;
        let (schedule, service): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let offer = directory.offer(server, caller, &schedule, service.as_deref()).await?;
        match offer.service == self.service {
            true => Ok(offer),
            false => Err(gone()),
        }
    }
}

/// The Appointment that an opening could become, with its times on the clock of `zone`.
pub fn proposal(offer: &Offer, opening: Opening, zone: &TimeZone) -> Value {
    let terms = &*offer.terms;
    let time = terms.rules.rhythm.visit(opening.start);
    let local = |seconds: i64| {
        instant(seconds)
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%dT%H:%M:%S%:z")
            .to_string()
    };
    let hour = instant(opening.start).to_zoned(zone.clone()).hour();
    let mut appointment = json!({
        "resourceType": "Appointment",
        "id": ProposalId::new(offer, opening.start).text(),
        "meta": {"profile": [PROPOSAL_PROFILE]},
        "extension": [{"url": WINDOW, "extension": [
            {"url": "window", "valueString": format!("{:x}-{:x}", offer.calendar, opening.window)},
            {"url": "partOfDay", "valueCode": part_of_day(hour)}
        ]}],
        "status": "proposed"
    });
    describe(&mut appointment, offer);
    appointment["start"] = json!(local(time.start));
    if let Some(name) = zone.iana_name() {
        appointment["_start"] = json!({"extension": [{"url": HL7_TIME_ZONE, "valueCode": name}]});
    }
    appointment["end"] = json!(local(time.end));
    appointment["minutesDuration"] = json!((time.end - time.start) / 60);
    appointment["participant"] = participants(offer, "needs-action");
    appointment
}

/// Says what an Appointment is for.
pub fn describe(appointment: &mut Value, offer: &Offer) {
    let terms = &*offer.terms;
    for (name, value) in [("serviceType", &terms.service_type), ("specialty", &terms.specialty)] {
        if let Some(value) = value {
            appointment[name] = value.clone();
        }
    }
}

/// The practitioner, with what is known of their answer, and the service.
pub fn participants(offer: &Offer, practitioner: &str) -> Value {
    let terms = &*offer.terms;
    let practitioner = visit::taking_part(&terms.practitioner, Some("PPRF"), practitioner);
    let service = terms
        .service
        .iter()
        .map(|service| visit::taking_part(service, None, "accepted"));
    [practitioner].into_iter().chain(service).collect()
}

fn part_of_day(hour: i8) -> &'static str {
    match hour {
        5..12 => "morning",
        12..17 => "afternoon",
        17..22 => "evening",
        _ => "night",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_is_proposed() {
        let id = ProposalId {
            calendar: 1 << 40,
            service: 0,
            start: 1_775_000_000,
        };
        let text = id.text();
        assert!(text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        assert_eq!(ProposalId::read(&text), Some(id));
    }

    #[test]
    fn other_ids_are_none_of_a_proposal() {
        for id in [
            "018f3c6e-0000-7000-8000-000000000001",
            "p-1-2",
            "p-1-2-3-4",
            "p--1-2",
            "p-x-2-3",
            "p-1-2-ffffffffffffffff",
            "p-+1-2-3",
        ] {
            assert_eq!(ProposalId::read(id), None, "{id}");
        }
    }
}
