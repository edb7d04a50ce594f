//! Who cares for whom, as the resources say it, and what patients refuse.
//!
//! | resource | ties | to | while |
//! |---|---|---|---|
//! | Appointment | its Practitioners and PractitionerRoles | its Patients | not cancelled, missed or entered in error, by its time |
//! | Encounter | its participants, the same | its subject | not cancelled or entered in error, by its period |
//! | CareTeam | its participants, RelatedPersons and Organizations too | its subject | active, by its period and theirs |
//! | Consent | whom it permits ([`consent`]) | its patient | active, by the periods of its provisions |
//! | Patient | its general practitioners | itself | active |
//! | RelatedPerson | itself | its patient | active, by its period |
//!
//! How far a time reaches beyond its ends is for the policies to say ([`Terms`]). The rows stand in `care_relation` and
//! `consent_denial`; the statement that stores a resource replaces those that follow from it, so there is no moment in which
//! one is there without the other. A holder is whom the resource names: that a practitioner also stands behind a
//! PractitionerRole is for [`holders`] to know when they ask.

mod consent;
mod holders;
mod reach;
mod rebuild;
mod upkeep;

use serde_json::Value;

pub use self::holders::holders;
pub use self::reach::{Tie, check_reach, let_fall, let_stand, ties_by};
pub use self::rebuild::take_charge;
pub use self::upkeep::RolesUpkeep;
use super::policy::{Term, Terms};
use crate::fhir::search::types::date::Span;
use crate::fhir::search::types::reference::Locator;
use crate::fhir::store::{Ids, Micros, TypeNames};

/// Raise it whenever the same resource would make other rows than before.
const RULES: u32 = 1;

const ALWAYS: Span = Span {
    low: Micros(i64::MIN),
    high: Micros(i64::MAX),
};

/// Type and id of a resource of this server.
type Name<'v> = (&'v str, &'v str);

/// What one resource says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ties<'v> {
    relations: Vec<Relation<'v>>,
    denials: Vec<Denial<'v>>,
}

/// `holder` cares for a patient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Relation<'v> {
    holder: Name<'v>,
    patient: &'v str,
    span: Span,
}

/// A patient keeps something from somebody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Denial<'v> {
    patient: &'v str,
    /// `None`: everybody but `except_holders`.
    holder: Option<Name<'v>>,
    /// `None`: every type but `except_types`.
    resource_type: Option<&'v str>,
    span: Span,
    except_holders: Vec<Name<'v>>,
    except_types: Vec<&'v str>,
}

impl<'v> Ties<'v> {
    /// What `resource` says under these terms; `None` for a type that never says anything.
    pub fn of(terms: &Terms, locator: Locator<'_>, resource_type: &str, resource: &'v Value) -> Option<Ties<'v>> {
        if !Terms::TYPES.contains(&resource_type) {
            return None;
        }
        let mut ties = Ties::default();
        let Some(term) = terms.of(resource_type) else {
            return Some(ties);
        };
        let reader = Reader {
            locator,
            term,
            resource,
        };
        match resource_type {
            "Appointment" => reader.appointment(&mut ties),
            "Encounter" => reader.encounter(&mut ties),
            "CareTeam" => reader.care_team(&mut ties),
            "Consent" => consent::read(&reader, &mut ties),
            "Patient" => reader.patient(&mut ties),
            _ => reader.related_person(&mut ties),
        }
        ties.relations.sort_unstable();
        ties.relations.dedup();
        Some(ties)
    }

    pub fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.denials.is_empty()
    }
}

/// A resource that is being read.
struct Reader<'v, 's> {
    locator: Locator<'s>,
    term: Term,
    resource: &'v Value,
}

/// Whom an Appointment and an Encounter tie.
const PROFESSIONALS: &[&str] = &["Practitioner", "PractitionerRole"];

impl<'v> Reader<'v, '_> {
    fn text(&self, name: &str) -> &'v str {
        self.resource.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// What a Reference names, if it is one of these types and on this server.
    fn name(&self, reference: Option<&'v Value>, types: &[&str]) -> Option<Name<'v>> {
        let text = reference?.get("reference")?.as_str()?;
        self.locator.local(text).filter(|(ty, _)| types.contains(ty))
    }

    fn patient_of(&self, element: &str) -> Option<&'v str> {
        self.name(self.resource.get(element), &["Patient"]).map(|(_, id)| id)
    }

    /// The time of the resource, and what the terms add to it.
    fn stretch(&self, span: Span) -> Span {
        let micros = |duration: jiff::SignedDuration| duration.as_secs().saturating_mul(1_000_000);
        let (low, high) = (span.low.0, span.high.0);
        // The ends of all time stay where they are.
        Span {
            low: Micros(low.saturating_sub(micros(self.term.before))),
            high: Micros(high.saturating_add(micros(self.term.after))),
        }
    }

    /// <https://hl7.org/fhir/R4/appointment.html>
    fn appointment(&self, ties: &mut Ties<'v>) {
        if matches!(self.text("status"), "cancelled" | "noshow" | "entered-in-error") {
            return;
        }
        let participants = items(self.resource.get("participant"));
        let actors: Vec<Name<'v>> = participants
            .filter(|participant| participant["status"] != "declined")
            .filter_map(|participant| {
                self.name(
                    participant.get("actor"),
                    &["Patient", "Practitioner", "PractitionerRole"],
                )
            })
            .collect();
        let instant = |name: &str| Span::parse(self.text(name));
        let span = match (instant("start"), instant("end")) {
            (None, None) => {
                let requested = items(self.resource.get("requestedPeriod")).filter_map(Span::period);
                requested.reduce(hull).unwrap_or(ALWAYS)
            }
            (start, end) => Span {
                low: start.or(end).map_or(ALWAYS.low, |start| start.low),
                high: end.or(start).map_or(ALWAYS.high, |end| end.high),
            },
        };
        let span = self.stretch(span);
        for (_, patient) in actors.iter().filter(|(ty, _)| *ty == "Patient") {
            for holder in actors.iter().filter(|(ty, _)| *ty != "Patient") {
                ties.tie(*holder, patient, span);
            }
        }
    }

    /// <https://hl7.org/fhir/R4/encounter.html>
    fn encounter(&self, ties: &mut Ties<'v>) {
        let status = self.text("status");
        let Some(patient) = self.patient_of("subject") else {
            return;
        };
        if matches!(status, "cancelled" | "entered-in-error") {
            return;
        }
        let mut span = self.period(self.resource);
        if status == "finished" && span.high == ALWAYS.high && span.low != ALWAYS.low {
            // It is over, and nobody wrote down when.
            span.high = span.low;
        }
        for participant in items(self.resource.get("participant")) {
            if let Some(holder) = self.name(participant.get("individual"), PROFESSIONALS) {
                ties.tie(holder, patient, self.stretch(span));
            }
        }
    }

    /// <https://hl7.org/fhir/R4/careteam.html>
    fn care_team(&self, ties: &mut Ties<'v>) {
        let Some(patient) = self.patient_of("subject") else {
            return;
        };
        if !matches!(self.text("status"), "active" | "") {
            return;
        }
        for participant in items(self.resource.get("participant")) {
            let types = &["Practitioner", "PractitionerRole", "RelatedPerson", "Organization"];
            if let Some(holder) = self.name(participant.get("member"), types) {
                let span = overlap(self.period(self.resource), self.period(participant));
                ties.tie(holder, patient, self.stretch(span));
            }
        }
    }

    /// <https://hl7.org/fhir/R4/patient.html>
    fn patient(&self, ties: &mut Ties<'v>) {
        let id = self.text("id");
        if self.resource["active"] == false || id.is_empty() {
            return;
        }
        for practitioner in items(self.resource.get("generalPractitioner")) {
            if let Some(holder) = self.name(Some(practitioner), PROFESSIONALS) {
                ties.tie(holder, id, ALWAYS);
            }
        }
    }

    /// <https://hl7.org/fhir/R4/relatedperson.html>
    fn related_person(&self, ties: &mut Ties<'v>) {
        let id = self.text("id");
        if self.resource["active"] == false || id.is_empty() {
            return;
        }
        if let Some(patient) = self.patient_of("patient") {
            ties.tie(("RelatedPerson", id), patient, self.stretch(self.period(self.resource)));
        }
    }

    fn period(&self, of: &Value) -> Span {
        of.get("period").and_then(Span::period).unwrap_or(ALWAYS)
    }
}

impl<'v> Ties<'v> {
    /// A time that is none, or that ends before it begins, ties nobody.
    fn tie(&mut self, holder: Name<'v>, patient: &'v str, span: Span) {
        if span.low < span.high {
            self.relations.push(Relation { holder, patient, span });
        }
    }
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn overlap(a: Span, b: Span) -> Span {
    Span {
        low: a.low.max(b.low),
        high: a.high.min(b.high),
    }
}

fn hull(a: Span, b: Span) -> Span {
    Span {
        low: a.low.min(b.low),
        high: a.high.max(b.high),
    }
}

/// Rows of both tables, a Vec per column, and the sources whose former rows go.
#[derive(Default, Debug)]
pub struct TieRows {
    pub gone: Vec<i64>,
    pub relation: RelationColumns,
    pub denial: DenialColumns,
}

/// Rows of `care_relation`.
#[derive(Default, Debug)]
pub struct RelationColumns {
    pub holder: Vec<i64>,
    pub patient: Vec<i64>,
    pub source: Vec<i64>,
    pub starts: Vec<Micros>,
    pub ends: Vec<Micros>,
}

/// Rows of `consent_denial`. The last two are arrays as Postgres writes them, since it has no arrays of arrays.
#[derive(Default, Debug)]
pub struct DenialColumns {
    pub patient: Vec<i64>,
    pub holder: Vec<i64>,
    pub type_id: Vec<i16>,
    pub source: Vec<i64>,
    pub starts: Vec<Micros>,
    pub ends: Vec<Micros>,
    pub except_holders: Vec<String>,
    pub except_types: Vec<String>,
}

impl TieRows {
    /// Adds what a resource says. What `ids` does not know yet becomes 0: intern it and push again into fresh rows.
    pub fn push(&mut self, source: i64, ties: &Ties<'_>, types: &TypeNames, ids: &mut Ids<'_>) {
        for relation in &ties.relations {
            let (resource_type, id) = relation.holder;
            self.relation.holder.push(ids.target(resource_type, id));
            self.relation.patient.push(ids.target("Patient", relation.patient));
            self.relation.source.push(source);
            self.relation.starts.push(relation.span.low);
            self.relation.ends.push(relation.span.high);
        }
        for denial in &ties.denials {
            let type_id = |name: &str| types.id(name).unwrap_or_default();
            let holders = denial
                .except_holders
                .iter()
                .map(|(ty, id)| ids.target(ty, id).to_string());
            self.denial.except_holders.push(array(holders));
            let excepted = denial.except_types.iter().map(|name| type_id(name).to_string());
            self.denial.except_types.push(array(excepted));
            let holder = denial.holder.map_or(0, |(ty, id)| ids.target(ty, id));
            self.denial.holder.push(holder);
            self.denial.patient.push(ids.target("Patient", denial.patient));
            self.denial.type_id.push(denial.resource_type.map_or(0, type_id));
            self.denial.source.push(source);
            self.denial.starts.push(denial.span.low);
            self.denial.ends.push(denial.span.high);
        }
    }
}

fn array(numbers: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", numbers.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fhir::access::policy::Policies;
    use crate::knowledge::definitions::Definitions;

    /// `holder patient from until`, a day each, without the ends of all time.
    fn ties(resource: &Value) -> Vec<String> {
        let locator = Locator {
            definitions: Definitions::r4(),
            base_url: "http://here/fhir",
        };
        let terms = Policies::default().terms;
        let ties = Ties::of(&terms, locator, resource["resourceType"].as_str().unwrap(), resource).unwrap();
        let day = |at: Micros| match at.0 {
            i64::MIN | i64::MAX => "-".to_owned(),
            _ => at.timestamp().to_string()[..10].to_owned(),
        };
        let line = |tie: &Relation<'_>| {
            let (low, high) = (day(tie.span.low), day(tie.span.high));
            format!("{}/{} {} {low} {high}", tie.holder.0, tie.holder.1, tie.patient)
        };
        ties.relations.iter().map(line).collect()
    }

    fn with(mut resource: Value, name: &str, value: Value) -> Value {
        resource[name] = value;
        resource
    }

    #[test]
    fn an_appointment_ties_its_professionals_to_its_patients() {
        let actor = |reference: &str| json!({"actor": {"reference": reference}, "status": "accepted"});
        let appointment = json!({
            "resourceType": "Appointment", "status": "booked", "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T10:30:00Z",
            "participant": [actor("Patient/p"), actor("Practitioner/a"), actor("PractitionerRole/r"), actor("Location/l"),
                            actor("RelatedPerson/mother"), {"actor": {"reference": "Practitioner/no"}, "status": "declined"}],
        });
        // A year of 365.25 days before, ten after.
        let expected = [
            "Practitioner/a p 2025-03-01 2036-02-29",
            "PractitionerRole/r p 2025-03-01 2036-02-29",
        ];
        assert_eq!(ties(&appointment), expected);
        for status in ["cancelled", "noshow", "entered-in-error"] {
            assert_eq!(
                ties(&with(appointment.clone(), "status", json!(status))),
                [""; 0],
                "{status}"
            );
        }
        let requested = json!({
            "resourceType": "Appointment", "status": "proposed",
            "participant": [actor("Patient/p"), actor("http://here/fhir/Practitioner/a"), actor("http://there/Practitioner/b")],
        });
        assert_eq!(ties(&requested), ["Practitioner/a p - -"]);
    }

    #[test]
    fn an_encounter_ties_its_participants_to_its_subject() {
        let encounter = json!({
            "resourceType": "Encounter", "status": "in-progress", "subject": {"reference": "Patient/p"},
            "period": {"start": "2026-03-01"},
            "participant": [{"individual": {"reference": "Practitioner/a"}}, {"individual": {"reference": "RelatedPerson/m"}}],
        });
        assert_eq!(ties(&encounter), ["Practitioner/a p 2025-02-28 -"]);
        let finished = with(encounter.clone(), "status", json!("finished"));
        assert_eq!(ties(&finished), ["Practitioner/a p 2025-02-28 2036-02-29"]);
        assert_eq!(
            ties(&with(encounter.clone(), "status", json!("entered-in-error"))),
            [""; 0]
        );
        assert_eq!(
            ties(&with(encounter, "subject", json!({"reference": "Group/g"}))),
            [""; 0]
        );
    }

    #[test]
    fn a_care_team_ties_its_members_while_both_periods_last() {
        let team = json!({
            "resourceType": "CareTeam", "status": "active", "subject": {"reference": "Patient/p"},
            "period": {"start": "2026-01-01", "end": "2026-12-31"},
            "participant": [
                {"member": {"reference": "Practitioner/a"}, "period": {"start": "2026-06-01"}},
                {"member": {"reference": "Organization/o"}},
                {"member": {"reference": "Practitioner/gone"}, "period": {"end": "2025-12-30"}},
            ],
        });
        assert_eq!(
            ties(&team),
            [
                "Organization/o p 2026-01-01 2027-01-01",
                "Practitioner/a p 2026-06-01 2027-01-01"
            ]
        );
        assert_eq!(ties(&with(team, "status", json!("inactive"))), [""; 0]);
    }

    #[test]
    fn patients_and_related_persons_tie_by_themselves() {
        let patient = json!({"resourceType": "Patient", "id": "p",
            "generalPractitioner": [{"reference": "Practitioner/a"}, {"reference": "Organization/o"}]});
        assert_eq!(ties(&patient), ["Practitioner/a p - -"]);
        assert_eq!(ties(&with(patient, "active", json!(false))), [""; 0]);
        let mother = json!({"resourceType": "RelatedPerson", "id": "m", "patient": {"reference": "Patient/p"},
            "period": {"end": "2030-05-05"}});
        assert_eq!(ties(&mother), ["RelatedPerson/m p - 2030-05-06"]);
        assert_eq!(ties(&with(mother, "active", json!(false))), [""; 0]);
    }
}
