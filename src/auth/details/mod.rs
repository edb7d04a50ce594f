//! What people say about themselves: names, how to reach them, their picture, language and time zone, and which mails they
//! want. It stands in their own resources, a Person and its Patient or Practitioner, and is written there as every other
//! change is, by [`commit`]: with a version, a record of who did it, and all that watches those types.
//!
//! | what | where |
//! |---|---|
//! | names | `name`, the official one; both resources |
//! | phone | `telecom`, the first phone; both |
//! | address | `address`, the first; both |
//! | picture | `photo`, which leads to a Binary that only those may see who may see the resource |
//! | language | `communication`: the preferred one of a Patient, the first of a Practitioner |
//! | time zone | our extension `time-zone` |
//! | mails | our extension `notification-preference`, once per event that the person does not want |

pub mod picture;
mod record;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use self::picture::Picture;
use super::accounts::{Account, tidy_name};
use super::sessions::Session;
use super::{AuthServer, bearer};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{CommitError, Op, Target, Write, commit};
use crate::fhir::error::FhirError;

const TIME_ZONE: &str = "https://medconsult.example/fhir/StructureDefinition/time-zone";
const PREFERENCE: &str = "https://medconsult.example/fhir/StructureDefinition/notification-preference";
/// Languages, as in their HTML names (<https://www.rfc-editor.org/rfc/rfc5646>).
const LANGUAGES: &str = "urn:ietf:bcp:47";

/// Languages that can be chosen, each with its own name for itself.
pub const SPOKEN: [(&str, &str); 24] = [
    ("ar", "العربية"),
    ("bg", "български"),
    ("bn", "বাংলা"),
    ("cs", "čeština"),
    ("da", "dansk"),
    ("de", "Deutsch"),
    ("el", "ελληνικά"),
    ("en", "English"),
    ("es", "español"),
    ("fi", "suomi"),
    ("fr", "français"),
    ("hi", "हिन्दी"),
    ("hr", "hrvatski"),
    ("it", "italiano"),
    ("ja", "日本語"),
    ("nl", "Nederlands"),
    ("no", "norsk"),
    ("pl", "polski"),
    ("pt", "português"),
    ("ru", "русский"),
    ("sr", "српски"),
    ("sv", "svenska"),
    ("tr", "Türkçe"),
    ("zh", "中文"),
];

/// Events that mails tell about and need not, by their codes of the system `mail-event`, in words. What protects the account
/// is always told.
pub const MAILS: [(&str, &str); 12] = [
    ("appointment-requested", "a visit is asked for"),
    ("appointment-approved", "a visit is agreed on"),
    ("appointment-rejected", "a visit is declined"),
    ("appointment-rescheduled", "a visit is moved"),
    ("reschedule-requested", "somebody asks to move a visit"),
    ("reschedule-declined", "a visit cannot be moved"),
    ("appointment-cancelled", "a visit is cancelled"),
    ("payment-succeeded", "a payment has arrived"),
    ("payment-failed", "a payment failed"),
    ("payment-refunded", "money is paid back"),
    ("document-added", "there is a new document"),
    ("prescription-added", "there is a new prescription"),
];

/// What a person may say about themselves. Empty where they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub given: String,
    pub family: String,
    pub phone: String,
    /// Street and number; lines are separated by line breaks.
    pub street: String,
    pub postal_code: String,
    pub city: String,
    pub country: String,
    /// One of [`SPOKEN`].
    pub language: String,
    /// A name of the IANA database.
    pub time_zone: String,
    /// Codes of [`MAILS`] that are not wanted.
    pub unwanted: Vec<String>,
}

/// Why details were not stored.
#[derive(Debug)]
pub enum NotSaved {
    /// Somebody else changed the record in between.
    Crossed,
    Fhir(FhirError),
    Database(sqlx::Error),
}

impl From<FhirError> for NotSaved {
    fn from(error: FhirError) -> NotSaved {
        match error.status.as_u16() {
            409 | 412 => NotSaved::Crossed,
            _ => NotSaved::Fhir(error),
        }
    }
}

impl From<CommitError> for NotSaved {
    fn from(error: CommitError) -> NotSaved {
        error.error.into()
    }
}

impl From<sqlx::Error> for NotSaved {
    fn from(error: sqlx::Error) -> NotSaved {
        NotSaved::Database(error)
    }
}

/// A resource that stands for a person, as it is.
struct Own {
    resource: Value,
    version: i32,
}

/// The person themselves, at a page of ours: what they may do is judged by the page, and recorded under their name.
async fn caller(auth: &AuthServer, session: &Session) -> Result<Caller, FhirError> {
    Ok(bearer::person(auth, session).await?.practice())
}

/// The resources of this person: the profile, then the Person.
async fn own(auth: &AuthServer, caller: &Caller, account: &Account) -> Result<[Own; 2], FhirError> {
    let (profile_type, profile_id) = account.profile.split_once('/').unwrap_or_default();
    let read = async |resource_type: &str, id: &str| {
        let stored = auth.fhir.read(caller, resource_type, id).await?;
        let stored = stored.filter(|stored| !stored.deleted);
        let stored = stored.ok_or_else(|| FhirError::not_found(resource_type, id))?;
        Ok::<Own, FhirError>(Own {
            resource: serde_json::from_str(&stored.json).map_err(FhirError::internal)?,
            version: stored.version,
        })
    };
    Ok([
        read(profile_type, profile_id).await?,
        read("Person", &account.person).await?,
    ])
}

impl Own {
    fn update(self) -> Op {
        Op {
            write: Write::Update {
                target: Target::Instance {
                    resource_type: text(&self.resource["resourceType"]).to_owned(),
                    id: text(&self.resource["id"]).to_owned(),
                },
                resource: self.resource,
                if_match: Some(self.version),
                if_none_match_any: false,
            },
            full_url: None,
        }
    }
}

impl Details {
    /// What is known about the person of this session, and whether there is a picture.
    ///
    /// # Errors
    /// Those of the store; 404 where the records of the account are gone.
    pub async fn of(auth: &AuthServer, session: &Session) -> Result<(Details, bool), FhirError> {
        let [profile, _] = own(auth, &caller(auth, session).await?, &session.account).await?;
        let has_picture = photo_of(&profile.resource).is_some();
        Ok((Details::read(&profile.resource, &session.account), has_picture))
    }

    /// Puts what was filled in into its form; what cannot be right is told by field.
    ///
    /// # Errors
    /// The fields, each with a sentence.
    pub fn tidied(self) -> Result<Details, Vec<(&'static str, &'static str)>> {
        let mut wrong = Vec::new();
        let mut checked = |field, is_right: bool, sentence| {
            if !is_right {
                wrong.push((field, sentence));
            }
        };
        let line = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        let (given, family) = (tidy_name(&self.given), tidy_name(&self.family));
        checked("given", given.is_some(), "Fill in your given name.");
        checked("family", family.is_some(), "Fill in your family name.");
        let phone = line(&self.phone);
        let digits = phone.bytes().filter(u8::is_ascii_digit).count();
        let is_number =
            phone.chars().all(|c| c.is_ascii_digit() || "+-/(). ".contains(c)) && (5..=20).contains(&digits);
        checked(
            "phone",
            phone.is_empty() || is_number,
            "A phone number has digits, as in +49 30 123456.",
        );
        let street: Vec<String> = self.street.lines().map(line).filter(|line| !line.is_empty()).collect();
        let is_short = |text: &str| text.chars().count() <= 100 && !text.chars().any(char::is_control);
        checked(
            "street",
            street.len() <= 3 && street.iter().all(|text| is_short(text)),
            "At most three lines of 100 characters.",
        );
        let [postal_code, city, country] = [&self.postal_code, &self.city, &self.country].map(|value| line(value));
        for (field, value) in [("postal_code", &postal_code), ("city", &city), ("country", &country)] {
            checked(field, is_short(value), "At most 100 characters.");
        }
        let is_spoken = SPOKEN.iter().any(|(code, _)| *code == self.language);
        checked(
            "language",
            self.language.is_empty() || is_spoken,
            "Choose one of the list.",
        );
        let is_zone = zones().any(|zone| zone == self.time_zone);
        checked(
            "time_zone",
            self.time_zone.is_empty() || is_zone,
            "Choose one of the list.",
        );
        let known = |code: &&String| MAILS.iter().any(|(known, _)| known == code);
        let tidied = Details {
            given: given.unwrap_or_default(),
            family: family.unwrap_or_default(),
            phone,
            street: street.join("\n"),
            postal_code,
            city,
            country,
            unwanted: self.unwanted.iter().filter(known).cloned().collect(),
            ..self
        };
        if wrong.is_empty() { Ok(tidied) } else { Err(wrong) }
    }

    /// Stores them in the records of the person, in one commit, and the names with the account.
    ///
    /// # Errors
    /// [`NotSaved`]
    pub async fn save(&self, auth: &AuthServer, session: &Session) -> Result<(), NotSaved> {
        let caller = caller(auth, session).await?;
        let [mut profile, mut person] = own(auth, &caller, &session.account).await?;
        self.write(&mut profile.resource, true);
        self.write(&mut person.resource, false);
        commit(&auth.fhir, &caller, vec![profile.update(), person.update()]).await?;
        // For our own pages and id_tokens. If the server stops in between, saving again sets it right.
        sqlx::query("UPDATE account SET given = $2, family = $3 WHERE id = $1")
            .bind(&session.account.id)
            .bind(&self.given)
            .bind(&self.family)
            .execute(&auth.pool)
            .await?;
        Ok(())
    }
}

/// Every time zone that can be chosen.
pub fn zones() -> impl Iterator<Item = String> {
    // Names without a place are there for old programs.
    let is_place = |name: &String| name.contains('/') && !name.starts_with("Etc/") && TimeZone::get(name).is_ok();
    jiff::tz::db().available().map(|name| name.to_string()).filter(is_place)
}

/// The picture of the person of this session.
///
/// # Errors
/// Those of the store.
pub async fn picture_of(auth: &AuthServer, session: &Session) -> Result<Option<Picture>, FhirError> {
    let caller = caller(auth, session).await?;
    let [profile, _] = own(auth, &caller, &session.account).await?;
    let Some(id) = photo_of(&profile.resource) else {
        return Ok(None);
    };
    let stored = auth.fhir.read(&caller, "Binary", &id).await?;
    let binary: Option<Value> = stored.and_then(|stored| serde_json::from_str(&stored.json).ok());
    Ok(binary.as_ref().and_then(|binary| {
        // Only what `picture::clean` makes is served as what it says it is.
        let kinds = ["image/jpeg", "image/png"];
        Some(Picture {
            content_type: kinds.into_iter().find(|kind| binary["contentType"] == *kind)?,
            bytes: STANDARD.decode(text(&binary["data"])).ok()?,
        })
    }))
}

/// The id of the Binary that is the picture.
fn photo_of(profile: &Value) -> Option<String> {
    let url = profile["photo"][0]["url"].as_str()?;
    Some(url.strip_prefix("Binary/")?.to_owned())
}

/// Stores another picture, or none, in place of the one that there is.
///
/// # Errors
/// [`NotSaved`]
pub async fn save_picture(auth: &AuthServer, session: &Session, picture: Option<&Picture>) -> Result<(), NotSaved> {
    let caller = caller(auth, session).await?;
    let [mut profile, mut person] = own(auth, &caller, &session.account).await?;
    let old = photo_of(&profile.resource);
    let mut ops = Vec::new();
    let new = picture.map(|picture| (auth.ids.next().to_string(), picture));
    if let Some((id, picture)) = &new {
        let photo = json!({
            "contentType": picture.content_type,
            "url": format!("Binary/{id}"),
            "size": picture.bytes.len(),
            "creation": auth.clock.now().to_string(),
        });
        profile.resource["photo"] = json!([photo]);
        person.resource["photo"] = photo;
        ops.push(Op {
            write: Write::Update {
                target: Target::Instance {
                    resource_type: "Binary".to_owned(),
                    id: id.clone(),
                },
                resource: json!({
                    "resourceType": "Binary", "id": id, "contentType": picture.content_type,
                    // Whoever may see the person may see the picture.
                    "securityContext": {"reference": session.account.profile},
                    "data": STANDARD.encode(&picture.bytes),
                }),
                if_match: None,
                if_none_match_any: false,
            },
            full_url: None,
        });
    } else {
        for own in [&mut profile, &mut person] {
            own.resource.as_object_mut().map(|resource| resource.remove("photo"));
        }
    }
    ops.extend([profile.update(), person.update()]);
    ops.extend(old.map(|id| Op {
        write: Write::Delete {
            target: Target::Instance {
                resource_type: "Binary".to_owned(),
                id,
            },
            if_match: None,
        },
        full_url: None,
    }));
    commit(&auth.fhir, &caller, ops).await?;
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn details() -> Details {
        Details {
            given: "Ada".to_owned(),
            family: "King".to_owned(),
            phone: "+49 30 123456".to_owned(),
            street: "Some Street 1\nBack house".to_owned(),
            postal_code: "10115".to_owned(),
            city: "Berlin".to_owned(),
            country: "Germany".to_owned(),
            language: "de".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            unwanted: vec!["payment-succeeded".to_owned()],
        }
    }

    #[test]
    fn what_was_filled_in_is_tidied_or_told() {
        let mut untidy = details();
        untidy.street = " Some  Street 1 \r\n\r\n Back house".to_owned();
        untidy.unwanted.push("account-created".to_owned());
        assert_eq!(untidy.tidied(), Ok(details()));
        let wrong = Details {
            given: " ".to_owned(),
            phone: "call me".to_owned(),
            street: "a\nb\nc\nd".to_owned(),
            city: "x".repeat(101),
            language: "tlh".to_owned(),
            time_zone: "Mars/Olympus".to_owned(),
            ..details()
        };
        let fields: Vec<&str> = wrong
            .tidied()
            .unwrap_err()
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        assert_eq!(fields, ["given", "phone", "street", "city", "language", "time_zone"]);
        let only_names = Details {
            given: "Ada".to_owned(),
            family: "King".to_owned(),
            ..Details::default()
        };
        assert!(only_names.tidied().is_ok());
    }

    #[test]
    fn zones_are_places() {
        let zones: Vec<String> = zones().collect();
        assert!(zones.len() > 300 && zones.iter().any(|zone| zone == "Europe/Berlin"));
        assert!(!zones.iter().any(|zone| zone == "EST" || zone == "Etc/GMT+1"));
    }
}
