//! Who is told of an event: a CommunicationRequest for each person, and a mail that waits in the outbox.
//!
//! Both are made of a cause, `appointment-approved/Appointment/7/3/Patient/1`: the event, the version that it happened in, and the
//! person. The id of the request follows from it, and it is the key of the mail; so whatever runs twice, a person is told
//! once.
//!
//! Who has no account is not told: there is no address that they have proved to read.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::events::{self, Role};
use super::letters::COMPOSER;
use super::names::{CATEGORIES, CAUSES, EVENTS, MODES, REQUEST_PROFILE};
use super::outcome::NOTE;
use super::{Messaging, not_now};
use crate::base::crypto;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Target, Write, commit};
use crate::fhir::preferences::Handling;
use crate::fhir::resource::instant;
use crate::fhir::search;
use crate::jobs::JobError;
use crate::mail::NewMail;
use crate::mail::outbox::Content;

/// For how long a mail is worth trying. After that the visit was, and the document has been found.
const LIFE: SignedDuration = SignedDuration::from_hours(4 * 24);
/// What says that it is older than this is carried over from elsewhere, and no news.
const NEWS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An event, as its job has it.
struct Told<'p> {
    event: &'p str,
    /// `Type/id` of what it happened to.
    about: &'p str,
    version: i32,
    once: Option<&'p str>,
}

/// Makes what is to be made for one event. Twice, it is made once.
pub(super) async fn tell(messaging: &Messaging, payload: &Value) -> Result<(), JobError> {
    let malformed = || JobError::Fail("the event cannot be read".to_owned());
    let told = Told {
        event: payload["event"].as_str().ok_or_else(malformed)?,
        about: payload["about"].as_str().ok_or_else(malformed)?,
        version: payload["version"]
            .as_i64()
            .and_then(|version| i32::try_from(version).ok())
            .ok_or_else(malformed)?,
        once: payload["once"].as_str(),
    };
    let Some(then) = messaging.read_version(told.about, told.version).await? else {
        return Ok(());
    };
    if !is_news(&then, messaging.fhir.clock.now()) {
        return Ok(());
    }
    let whole = whole(messaging, &told, &then).await?;
    let whom = payload["whom"].as_array().into_iter().flatten();
    for role in whom.filter_map(|name| Role::of_name(name.as_str()?)) {
        for person in people(messaging, &then, whole.as_ref(), role).await? {
            let address = messaging.addresses.address_of(&person).await?;
            if address.is_some() {
                ask_for_mail(messaging, &told, (&then, whole.as_ref()), (&person, role)).await?;
            }
        }
    }
    Ok(())
}

/// What a payment is for: its Invoice. Patients can read that, and not what comes from the payment service.
async fn whole(messaging: &Messaging, told: &Told<'_>, then: &Value) -> Result<Option<Value>, JobError> {
    let reference = match told.about.split('/').next() {
        Some("PaymentNotice") => &then["request"]["reference"],
        Some("PaymentReconciliation") => &then["detail"][0]["request"]["reference"],
        _ => return Ok(None),
    };
    match reference.as_str() {
        Some(reference) if events::is_of(reference, "Invoice") => messaging.read(reference).await,
        _ => Ok(None),
    }
}

/// The people on that side, as `Type/id`.
async fn people(
    messaging: &Messaging,
    then: &Value,
    whole: Option<&Value>,
    role: Role,
) -> Result<Vec<String>, JobError> {
    let one = |reference: &Value| {
        let reference = reference
            .as_str()
            .filter(|text| events::is_of(text, role.resource_type()));
        reference.map(str::to_owned).into_iter().collect()
    };
    Ok(match (then["resourceType"].as_str().unwrap_or_default(), role) {
        ("Appointment", role) => events::participants(then, role).map(str::to_owned).collect(),
        ("Task", Role::Practitioner) => one(&then["owner"]["reference"]),
        ("Task", Role::Patient) => one(&then["for"]["reference"]),
        ("PaymentNotice" | "PaymentReconciliation", _) => {
            whole.map_or_else(Vec::new, |w| one(&w["subject"]["reference"]))
        }
        ("DocumentReference", Role::Practitioner) => readers(messaging, then).await?,
        (_, _) => one(&then["subject"]["reference"]),
    })
}

/// Which practitioners a patient brings a document to: those of the visit that it is for, else those who care for the patient,
/// else those of the visits to come.
async fn readers(messaging: &Messaging, document: &Value) -> Result<Vec<String>, JobError> {
    let mut found = Vec::new();
    for related in document["context"]["related"].as_array().into_iter().flatten() {
        let reference = related["reference"].as_str().unwrap_or_default();
        if events::is_of(reference, "Appointment")
            && let Some(visit) = messaging.read(reference).await?
        {
            found.extend(events::participants(&visit, Role::Practitioner).map(str::to_owned));
        }
    }
    let patient = document["subject"]["reference"].as_str().unwrap_or_default();
    if found.is_empty()
        && let Some(patient) = messaging.read(patient).await?
    {
        let general = patient["generalPractitioner"].as_array().into_iter().flatten();
        let references = general.filter_map(|general| general["reference"].as_str());
        found.extend(
            references
                .filter(|text| events::is_of(text, "Practitioner"))
                .map(str::to_owned),
        );
    }
    if found.is_empty() {
        for visit in visits_to_come(messaging, patient).await? {
            found.extend(events::participants(&visit, Role::Practitioner).map(str::to_owned));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

async fn visits_to_come(messaging: &Messaging, patient: &str) -> Result<Vec<Value>, JobError> {
    let server = &messaging.fhir;
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let criteria = [
        pair("patient", patient.to_owned()),
        pair("status", "pending,booked,arrived,checked-in".to_owned()),
        pair("date", format!("ge{}", server.clock.now().strftime("%F"))),
        pair("_count", "10".to_owned()),
    ];
    let search = search::parse(server, "Appointment", &criteria, Handling::Strict).map_err(|error| not_now(&error))?;
    let page = search::search(server, &Caller::server(), &search).await;
    let page = page.map_err(|error| not_now(&error))?;
    Ok(page
        .matches
        .iter()
        .filter_map(|found| serde_json::from_str(&found.json).ok())
        .collect())
}

/// Stores the request, and lets its mail wait.
async fn ask_for_mail(
    messaging: &Messaging,
    told: &Told<'_>,
    (then, whole): (&Value, Option<&Value>),
    (person, role): (&str, Role),
) -> Result<(), JobError> {
    let cause = match told.once {
        Some(once) => format!("{}/{once}/{person}", told.event),
        None => format!("{}/{}/{}/{person}", told.event, told.about, told.version),
    };
    let id = id_of(&cause);
    let about = whole.and_then(|whole| Some(format!("Invoice/{}", whole["id"].as_str()?)));
    let mut request = json!({
        "resourceType": "CommunicationRequest",
        "id": id,
        "meta": {"profile": [REQUEST_PROFILE]},
        "identifier": [{"system": CAUSES, "value": cause}],
        "status": "active",
        "category": [{"coding": [{"system": CATEGORIES, "code": "notification"}]}],
        "medium": [{"coding": [{"system": MODES, "code": "EMAILWRIT"}]}],
        "about": [{"reference": about.unwrap_or_else(|| told.about.to_owned())}],
        "authoredOn": instant(messaging.fhir.clock.now()),
        "recipient": [{"reference": person}],
        "reasonCode": [{"coding": [{"system": EVENTS, "code": told.event}]}],
    });
    if let Some(patient) = patient_of(then, whole) {
        request["subject"] = json!({"reference": patient});
    }
    let op = Op {
        write: Write::Update {
            target: Target::Instance {
                resource_type: "CommunicationRequest".to_owned(),
                id: id.clone(),
            },
            resource: request,
            if_match: None,
            if_none_match_any: true,
        },
        full_url: None,
    };
    match commit(&messaging.fhir, &Caller::server(), vec![op]).await {
        Ok(_) => {}
        // It is there: this job has run before.
        Err(failed) if failed.error.status.as_u16() == 412 => {}
        Err(failed) => return Err(not_now(&failed.error)),
    }
    let mail = NewMail {
        key: &cause,
        lane: person,
        urgent: false,
        life: LIFE,
        content: Content::Cause {
            composer: COMPOSER.to_owned(),
            cause: json!({
                "event": told.event, "about": told.about, "version": told.version,
                "person": person, "role": role.name(), "request": id,
            }),
        },
        report: Some(NOTE),
    };
    let mut transaction = messaging.pool.begin().await?;
    messaging.outbox.add(&mut transaction, &mail).await?;
    Ok(transaction.commit().await?)
}

/// The id of the request, and of the Communication that answers it.
pub(super) fn id_of(cause: &str) -> String {
    let digest = crypto::digest(cause);
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("mail-{hex}")
}

/// The patient whom it is about, in whose record the request stands.
fn patient_of<'v>(then: &'v Value, whole: Option<&'v Value>) -> Option<&'v str> {
    if then["resourceType"] == "Appointment" {
        return events::participants(then, Role::Patient).next();
    }
    let named = [
        &then["subject"],
        &then["for"],
        &whole.unwrap_or(&Value::Null)["subject"],
    ];
    let mut references = named.into_iter().filter_map(|named| named["reference"].as_str());
    references.find(|reference| events::is_of(reference, "Patient"))
}

/// Whether what a record says of its own time is lately: histories that are carried over from another system, and visits that
/// are over, are no news.
fn is_news(then: &Value, now: Timestamp) -> bool {
    let at = |name: &str| then[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match then["resourceType"].as_str() {
        Some("Appointment") => at("end").or(at("start")).is_none_or(|end| now < end),
        _ => {
            let said = ["date", "created", "authoredOn"].into_iter().find_map(at);
            said.is_none_or(|said| now.duration_since(said) < NEWS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_has_one_id() {
        let id = id_of("appointment-approved/Appointment/7/3/Patient/1");
        assert_eq!(id.len(), 37);
        assert_eq!(id, id_of("appointment-approved/Appointment/7/3/Patient/1"));
        assert_ne!(id, id_of("appointment-approved/Appointment/7/4/Patient/1"));
    }

    #[test]
    fn what_is_long_over_is_no_news() {
        let now: Timestamp = "2026-03-30T12:00:00Z".parse().unwrap();
        let visit = |end: &str| json!({"resourceType": "Appointment", "end": end});
        assert!(is_news(&visit("2026-03-30T14:30:00+02:00"), now));
        assert!(!is_news(&visit("2026-03-30T13:30:00+02:00"), now));
        let document = |date: &str| json!({"resourceType": "DocumentReference", "date": date});
        assert!(is_news(&document("2026-03-24T12:00:00Z"), now) && !is_news(&document("2026-03-23T12:00:00Z"), now));
        assert!(is_news(&json!({"resourceType": "DocumentReference"}), now));
    }
}
