//! What happened in the last weeks, and what is to come.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::stage::Stage;
use super::{payments, people, text};
use crate::fhir::caller::Caller;

/// When the story begins, before the present.
pub const BEGINS: SignedDuration = SignedDuration::from_hours(50 * 24);

/// Patients who have no account: the practice books for them.
const WITHOUT_ACCOUNTS: [&str; 5] = ["jonas", "priya", "emily", "omar", "lena"];

/// What people have uploaded.
const FILES: [(&str, &[u8]); 3] = [
    ("blood-count.pdf", include_bytes!("documents/blood-count.pdf")),
    ("referral.pdf", include_bytes!("documents/referral.pdf")),
    ("insurance-card.png", include_bytes!("documents/insurance-card.png")),
];

/// A visit of the story.
struct Visit {
    patient: &'static str,
    practitioner: &'static str,
    service: &'static str,
    /// Days from today, and the hour on the practitioner's clock from which a time is looked for.
    day: i32,
    hour: i8,
    /// What the patient says.
    reason: &'static str,
    end: End,
    /// What the practitioner prescribes at its end.
    prescribed: Option<Medicine>,
}

/// A medicine with how it is taken.
#[derive(Clone, Copy)]
struct Medicine {
    name: &'static str,
    unit: &'static str,
    /// How many units each time, and how many times a day.
    dose: (u32, u32),
    /// How many units are in the pack.
    pack: u32,
    repeats: u32,
}

/// How a visit of the story ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It took place, and this is what the practitioner noted.
    Held(&'static str),
    /// Nobody came.
    Missed,
    /// The patient called it off two hours before.
    CalledOff,
    /// The practitioner did not take it, and said why.
    Rejected(&'static str),
    /// It waits for the practitioner.
    Waits,
    /// Everybody has agreed, and it is to come.
    Agreed,
}

const fn visit(
    (patient, practitioner, service): (&'static str, &'static str, &'static str),
    (day, hour): (i32, i8),
    reason: &'static str,
    end: End,
) -> Visit {
    Visit {
        patient,
        practitioner,
        service,
        day,
        hour,
        reason,
        end,
        prescribed: None,
    }
}

const fn with(medicine: Medicine, visit: Visit) -> Visit {
    Visit {
        prescribed: Some(medicine),
        ..visit
    }
}

/// In the order of their times.
const PAST: [Visit; 10] = [
    with(
        Medicine {
            name: "Ramipril 5 mg tablets",
            unit: "tablet",
            dose: (1, 1),
            pack: 100,
            repeats: 1,
        },
        visit(
            ("nora", "bell", "first-visit"),
            (-42, 9),
            "Tired since the summer, and a headache on most mornings.",
            End::Held("Blood pressure too high at home and here. Ramipril 5 mg in the morning; measure twice a day."),
        ),
    ),
    with(
        Medicine {
            name: "Pantoprazole 20 mg tablets",
            unit: "tablet",
            dose: (1, 1),
            pack: 28,
            repeats: 0,
        },
        visit(
            ("jonas", "bell", "follow-up"),
            (-38, 11),
            "The heartburn is back.",
            End::Held("Better when he eats early. Goes on with pantoprazole for four weeks."),
        ),
    ),
    visit(
        ("yuki", "tanabe", "report-talk"),
        (-33, 10),
        "The patch test.",
        End::Held("Reacts to nickel. A cream for two weeks, and gloves for the work in the kitchen."),
    ),
    visit(
        ("emily", "rivera", "follow-up"),
        (-28, 10),
        "My pulse feels uneven on stairs.",
        End::Held("Heart rate well controlled. No change."),
    ),
    visit(
        ("nora", "rivera", "specialist-visit"),
        (-21, 9),
        "Dr. Bell would like to know about my heart.",
        End::Held("Echocardiogram without findings. Goal for the blood pressure: below 135/85 at home."),
    ),
    visit(
        ("lena", "bell", "first-visit"),
        (-16, 15),
        "Migraine, more often than before.",
        End::Missed,
    ),
    with(
        Medicine {
            name: "Budesonide 200 microgram inhaler",
            unit: "puff",
            dose: (2, 2),
            pack: 120,
            repeats: 2,
        },
        visit(
            ("mateo", "bell", "follow-up"),
            (-12, 14),
            "How is my asthma doing?",
            End::Held("Peak flow rises. Inhaler technique is good. See again in three months."),
        ),
    ),
    visit(
        ("nora", "bell", "follow-up"),
        (-8, 17),
        "The values of last week.",
        End::CalledOff,
    ),
    visit(
        ("omar", "bell", "report-talk"),
        (-5, 10),
        "An X-ray of my knee.",
        End::Rejected("This is for an orthopaedist: I have written a referral for you."),
    ),
    visit(
        ("nora", "bell", "follow-up"),
        (-3, 9),
        "The values of the last weeks.",
        End::Held("Blood pressure falls slowly. Goes on as before, HbA1c in three months."),
    ),
];

/// What is in Dr. Bell's calendar today. Those whose time has come have been held, or wait outside.
const TODAY: [Visit; 7] = [
    visit(
        ("jonas", "bell", "follow-up"),
        (0, 8),
        "Stomach again.",
        End::Held("Goes well. Ends pantoprazole."),
    ),
    visit(
        ("priya", "bell", "follow-up"),
        (0, 10),
        "My blood count.",
        End::Held("Iron is back to normal."),
    ),
    visit(
        ("emily", "bell", "follow-up"),
        (0, 11),
        "A letter for my insurance.",
        End::Held("Letter is written."),
    ),
    visit(
        ("omar", "bell", "follow-up"),
        (0, 13),
        "The knee, after physiotherapy.",
        End::Held("Much better."),
    ),
    visit(
        ("lena", "bell", "follow-up"),
        (0, 15),
        "A plan for my migraine.",
        End::Held("A diary for four weeks."),
    ),
    visit(
        ("mateo", "bell", "follow-up"),
        (0, 18),
        "A cough at night.",
        End::Held("A peak flow diary for a week."),
    ),
    visit(
        ("priya", "bell", "follow-up"),
        (0, 20),
        "One more question.",
        End::Held("Answered."),
    ),
];

const TO_COME: [Visit; 9] = [
    visit(
        ("omar", "bell", "follow-up"),
        (1, 9),
        "The knee, once more.",
        End::Agreed,
    ),
    visit(
        ("jonas", "bell", "report-talk"),
        (1, 16),
        "The gastroscopy.",
        End::Waits,
    ),
    visit(
        ("nora", "bell", "follow-up"),
        (2, 9),
        "Blood pressure, as agreed.",
        End::Agreed,
    ),
    visit(
        ("mateo", "bell", "report-talk"),
        (3, 10),
        "My lung function test.",
        End::Waits,
    ),
    visit(
        ("priya", "rao", "follow-up"),
        (4, 10),
        "The vaccinations of my daughter.",
        End::Agreed,
    ),
    visit(
        ("emily", "rivera", "report-talk"),
        (5, 10),
        "The long-term ECG.",
        End::Waits,
    ),
    visit(
        ("lena", "bell", "report-talk"),
        (6, 11),
        "My migraine diary.",
        End::Waits,
    ),
    visit(
        ("nora", "rivera", "specialist-visit"),
        (9, 9),
        "The yearly look at my heart.",
        End::Waits,
    ),
    visit(
        ("nora", "tanabe", "report-talk"),
        (16, 10),
        "A mole that has changed.",
        End::Agreed,
    ),
];

/// Tells the story, from its beginning to `now`. The clock of the stage stands at its beginning.
///
/// # Errors
/// When something in it is refused, which a test would have told, or the database does not answer.
pub async fn tell(stage: &mut Stage<'_>, now: Timestamp) -> Result<()> {
    let hash = people::password_hash(stage.auth).await?;
    for person in people::PEOPLE {
        let account = person.open_account(stage.auth, &hash).await?;
        stage.introduce(person.name, &account.profile);
        stage.accounts.insert(person.name, account);
    }
    for name in WITHOUT_ACCOUNTS {
        stage.introduce(name, &format!("Patient/{name}"));
    }
    furnish(stage, now).await?;
    for visit in &PAST {
        stage.live_through(visit, now).await.with_context(|| visit.reason)?;
    }
    let records = text::resources(include_str!("records.json"), &stage.names, now)?;
    stage.store(&Caller::server(), records).await?;
    for (name, content) in FILES {
        stage.names.insert(name.to_owned(), STANDARD.encode(content));
    }
    let documents = text::resources(include_str!("documents.json"), &stage.names, now)?;
    stage.store(&Caller::server(), documents).await?;
    today(stage, now).await?;
    stage.wait_until(now).await?;
    for visit in &TO_COME {
        stage.live_through(visit, now).await.with_context(|| visit.reason)?;
    }
    ask_for_another_time(stage, now).await?;
    let admin = people::ADMIN.open_account(stage.auth, &hash).await?;
    stage.introduce(people::ADMIN.name, &admin.profile);
    stage.wait_until(now).await
}

/// Organization, services, prices, calendars, and what is known of everybody.
async fn furnish(stage: &Stage<'_>, now: Timestamp) -> Result<()> {
    let practice = Caller::server();
    for file in [include_str!("practice.json"), include_str!("patients.json")] {
        let resources = text::resources(file, &stage.names, now)?;
        stage.store(&practice, resources).await?;
    }
    for role in text::resources(include_str!("roles.json"), &stage.names, now)? {
        let practitioner = role["practitioner"]["reference"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        stage.store_where(role, format!("practitioner={practitioner}")).await?;
    }
    Ok(())
}

/// All visits of today are booked in the morning, and go their way as far as it is time.
async fn today(stage: &Stage<'_>, now: Timestamp) -> Result<()> {
    let zone = TimeZone::get("Europe/Berlin")?;
    let midnight = now.to_zoned(zone.clone()).date().to_zoned(zone)?.timestamp();
    stage.wait_until(midnight).await?;
    let mut booked = Vec::new();
    for visit in &TODAY {
        booked.push((visit, stage.book(visit, now).await.with_context(|| visit.reason)?));
    }
    for (visit, appointment) in booked {
        let (start, end) = (at(&appointment, "start")?, at(&appointment, "end")?);
        let id = appointment["id"].as_str().unwrap_or_default();
        if start <= now {
            stage.wait_until(start).await?;
            stage.set_status(visit, id, "arrived").await?;
        }
        if let End::Held(note) = visit.end
            && end <= now
        {
            stage.hold(visit, id, note).await?;
        }
    }
    Ok(())
}

/// Mateo cannot come so soon, and asks Dr. Bell for another day.
async fn ask_for_another_time(stage: &Stage<'_>, now: Timestamp) -> Result<()> {
    let soon = Visit {
        reason: "A repeat of my inhaler.",
        end: End::Agreed,
        ..visit(("mateo", "bell", "follow-up"), (0, 0), "", End::Agreed)
    };
    let first = now + SignedDuration::from_hours(2);
    let proposal = stage.proposal(&soon, first).await?;
    let booked = stage.take(&soon, proposal).await?;
    let later = stage.proposal(&soon, now + SignedDuration::from_hours(72)).await?;
    let caller = stage.as_person("mateo").await?;
    let address = format!("Appointment/{}/$reschedule", booked["id"].as_str().unwrap_or_default());
    let parameters = json!([
        {"name": "appointment-resource", "resource": later},
        {"name": "comment", "valueString": "I have to work on that day."}]);
    stage.call(&caller, &address, parameters).await?;
    Ok(())
}

impl Stage<'_> {
    fn introduce(&mut self, name: &str, reference: &str) {
        let id = reference.rsplit('/').next().unwrap_or_default().to_owned();
        self.names.insert(name.to_owned(), reference.to_owned());
        self.names.insert(format!("{name}.id"), id);
    }

    /// From its booking to its end.
    async fn live_through(&self, visit: &Visit, now: Timestamp) -> Result<()> {
        // Booked some days before, as far as the story has not got beyond that.
        let days = visit.day.saturating_sub(4);
        let earlier = now.checked_add(SignedDuration::from_hours(24 * i64::from(days)))?;
        if visit.day < 0 {
            self.wait_until(earlier).await?;
        }
        let mut appointment = self.book(visit, now).await?;
        let id = appointment["id"].as_str().unwrap_or_default().to_owned();
        if payments::comes_first(visit.service) {
            appointment = payments::pay(self, &appointment, visit.service).await?;
        }
        let is_pending = appointment["status"] == "pending";
        if is_pending && visit.end != End::Waits {
            let answer = match visit.end {
                End::Rejected(_) => "declined",
                _ => "accepted",
            };
            appointment = self.answer(visit, &id, answer).await?;
        }
        if appointment["status"] == "pending" && visit.end != End::Waits {
            payments::pay(self, &appointment, visit.service).await?;
        }
        let (start, end) = (at(&appointment, "start")?, at(&appointment, "end")?);
        match visit.end {
            End::Held(note) => {
                self.wait_until(start).await?;
                self.set_status(visit, &id, "arrived").await?;
                self.wait_until(end).await?;
                self.hold(visit, &id, note).await?;
            }
            End::Missed => {
                self.wait_until(end).await?;
                self.set_status(visit, &id, "noshow").await?;
            }
            End::CalledOff => {
                self.wait_until(start - SignedDuration::from_hours(2)).await?;
                let patient = self.as_person(visit.patient).await?;
                let parameters = json!([{"name": "comment", "valueString": "I have a cold and stay in bed."}]);
                self.call(&patient, &format!("Appointment/{id}/$cancel"), parameters)
                    .await?;
            }
            End::Rejected(_) | End::Waits | End::Agreed => {}
        }
        Ok(())
    }

    /// The patient finds a time and books it.
    async fn book(&self, visit: &Visit, now: Timestamp) -> Result<Value> {
        let practitioner = self.names.get(visit.practitioner).context("nobody")?;
        let (_, schedule) = practitioner.split_once('/').context("nobody")?;
        let zone = self.zone_of(schedule).await?;
        let day = now.to_zoned(zone.clone()).date().checked_add(visit.day.days())?;
        let from = day
            .to_datetime(Time::new(visit.hour, 0, 0, 0)?)
            .to_zoned(zone)?
            .timestamp();
        let proposal = self.proposal(visit, from).await?;
        self.take(visit, proposal).await
    }

    /// The zone that a practitioner has chosen.
    async fn zone_of(&self, practitioner: &str) -> Result<TimeZone> {
        let found = self.read("Practitioner", practitioner).await?;
        let extensions = found["extension"].as_array().into_iter().flatten();
        let mut zones = extensions.filter_map(|extension| extension["valueCode"].as_str());
        Ok(TimeZone::get(zones.next().context("no zone")?)?)
    }

    /// The first time that is free from then on.
    async fn proposal(&self, visit: &Visit, from: Timestamp) -> Result<Value> {
        let caller = self.as_person(visit.patient).await?;
        let service = format!("HealthcareService/{}", visit.service);
        let parameters = json!([
            {"name": "practitioner", "valueReference": self.reference(visit.practitioner)},
            {"name": "service", "valueReference": {"reference": service}},
            {"name": "start", "valueDateTime": from.to_string()},
            {"name": "_count", "valuePositiveInt": 1}]);
        let mut found = self.call(&caller, "Appointment/$find", parameters).await?;
        let proposal = found["entry"][0]["resource"].take();
        anyhow::ensure!(proposal.is_object(), "no time is free");
        Ok(proposal)
    }

    async fn take(&self, visit: &Visit, mut proposal: Value) -> Result<Value> {
        let caller = self.as_person(visit.patient).await?;
        proposal["description"] = json!(visit.reason);
        proposal["reasonCode"] = json!([{"text": visit.reason}]);
        let parameters = json!([
            {"name": "appointment-resource", "resource": proposal},
            {"name": "patient-reference", "valueReference": self.reference(visit.patient)}]);
        let mut booked = self.call(&caller, "Appointment/$book", parameters).await?;
        Ok(booked["entry"][0]["resource"].take())
    }

    /// The practitioner agrees or does not.
    async fn answer(&self, visit: &Visit, id: &str, answer: &str) -> Result<Value> {
        let caller = self.as_person(visit.practitioner).await?;
        let mut response = json!({
            "resourceType": "AppointmentResponse",
            "appointment": {"reference": format!("Appointment/{id}")},
            "actor": self.reference(visit.practitioner),
            "participantStatus": answer
        });
        if let End::Rejected(why) = visit.end {
            response["comment"] = json!(why);
        }
        self.store_one(&caller, response).await?;
        self.read("Appointment", id).await
    }

    /// Where the visit stands, by the practitioner's hand.
    async fn set_status(&self, visit: &Visit, id: &str, status: &str) -> Result<()> {
        let caller = self.as_person(visit.practitioner).await?;
        let mut appointment = self.read("Appointment", id).await?;
        appointment["status"] = json!(status);
        self.store_one(&caller, appointment).await?;
        Ok(())
    }

    /// The visit took place: it is fulfilled, with an Encounter and what was noted.
    async fn hold(&self, visit: &Visit, id: &str, note: &str) -> Result<()> {
        let appointment = self.read("Appointment", id).await?;
        self.wait_until(at(&appointment, "end")?).await?;
        self.set_status(visit, id, "fulfilled").await?;
        let caller = self.as_person(visit.practitioner).await?;
        let (patient, practitioner) = (self.reference(visit.patient), self.reference(visit.practitioner));
        let encounter = self
            .store_one(
                &caller,
                json!({
                    "resourceType": "Encounter",
                    "status": "finished",
                    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR", "display": "virtual"},
                    "subject": patient,
                    "participant": [{"individual": practitioner}],
                    "appointment": [{"reference": format!("Appointment/{id}")}],
                    "period": {"start": appointment["start"], "end": appointment["end"]},
                    "reasonCode": [{"text": visit.reason}],
                    "serviceProvider": {"reference": "Organization/practice"}
                }),
            )
            .await?;
        let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{note}</p></div>");
        let composition = json!({
            "resourceType": "Composition",
            "status": "final",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}], "text": "Visit note"},
            "subject": patient,
            "encounter": {"reference": format!("Encounter/{}", encounter["id"].as_str().unwrap_or_default())},
            "date": appointment["end"],
            "author": [practitioner],
            "title": "Visit note",
            "section": [{"title": "Assessment and plan", "text": {"status": "generated", "div": div}}]
        });
        self.store_one(&caller, composition).await?;
        if let Some(medicine) = visit.prescribed {
            self.prescribe(visit, medicine, id).await?;
        }
        Ok(())
    }

    /// The practitioner writes a prescription and signs it.
    async fn prescribe(&self, visit: &Visit, medicine: Medicine, id: &str) -> Result<()> {
        let caller = self.as_person(visit.practitioner).await?;
        let (units, times) = medicine.dose;
        let number = id.rsplit('-').next().unwrap_or_default().to_uppercase();
        let draft = json!({
            "resourceType": "MedicationRequest",
            "meta": {"profile": ["https://medconsult.example/fhir/StructureDefinition/prescription"]},
            "status": "draft",
            "intent": "order",
            "medicationCodeableConcept": {"text": medicine.name},
            "subject": self.reference(visit.patient),
            "requester": self.reference(visit.practitioner),
            "authoredOn": self.now().to_string(),
            "groupIdentifier": {"system": "https://medconsult.example/fhir/sid/prescription", "value": format!("L-{number}")},
            "dosageInstruction": [{
                "timing": {"repeat": {"frequency": times, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": units, "unit": medicine.unit}}]
            }],
            "dispenseRequest": {
                "numberOfRepeatsAllowed": medicine.repeats,
                "quantity": {"value": medicine.pack, "unit": medicine.unit}
            }
        });
        let draft = self.store_one(&caller, draft).await?;
        let reference = format!("MedicationRequest/{}", draft["id"].as_str().unwrap_or_default());
        let parameters = json!([{"name": "prescription", "valueReference": {"reference": reference}}]);
        self.call(&caller, "MedicationRequest/$sign", parameters).await?;
        Ok(())
    }
}

fn at(appointment: &Value, name: &str) -> Result<Timestamp> {
    let text = appointment[name].as_str().context("a visit without a time")?;
    Ok(text.parse()?)
}
