//! Which patient, and which of their visits, an application is to be about.
//!
//! People see whom the practice's rules let them see: the list is a search in their own name. Whoever sees one patient only
//! is not asked.

use maud::{Markup, html};
use serde_json::Value;

use super::PageError;
use super::browser::Submitted;
use crate::auth::accounts::Role;
use crate::auth::launches::Context;
use crate::auth::sessions::Session;
use crate::auth::{AuthServer, bearer};
use crate::fhir::caller::Caller;
use crate::fhir::http;

/// Most patients or visits on a page.
const MOST: usize = 20;
/// Longest text that is searched for, in characters.
const LONGEST_SEARCH: usize = 200;

/// What must be known before an application is let in.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub patient: bool,
    pub encounter: bool,
    /// Whether they may go on without a patient.
    pub optional: bool,
}

/// What was answered on the page before.
#[derive(Debug, Default)]
pub struct Answers<'f> {
    search: &'f str,
    /// `Some("")`: none.
    patient: Option<&'f str>,
    encounter: Option<&'f str>,
}

impl<'f> Answers<'f> {
    pub fn of(form: &'f Submitted) -> Answers<'f> {
        let answer = |name: &str| form.all(name).first().copied();
        Answers {
            search: form.get("search"),
            patient: answer("patient"),
            encounter: answer("encounter"),
        }
    }
}

/// What is known of the context, and which questions are settled, if only by "none".
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub context: Context,
    pub patient_is_settled: bool,
    pub encounter_is_settled: bool,
}

/// A question that is still open: the title of its page, and what is on it. The fields are to be put into a form.
#[derive(Debug)]
pub struct Question {
    pub title: &'static str,
    pub fields: Markup,
}

/// Settles what can be settled, by the answers or by there being no choice; gives the next question.
///
/// # Errors
/// [`PageError::Forbidden`] for an answer that was not on offer; [`PageError::Unavailable`].
pub async fn settle(
    auth: &AuthServer,
    session: &Session,
    wanted: Wanted,
    choice: &mut Choice,
    answers: &Answers<'_>,
) -> Result<Option<Question>, PageError> {
    let person = bearer::person(auth, session).await;
    let caller = person.map_err(|_| PageError::Unavailable)?;
    if wanted.patient && !choice.patient_is_settled {
        match answers.patient {
            Some("") if wanted.optional => {}
            Some(id) => choice.context.patient = Some(visible_patient(auth, &caller, id).await?),
            None => {
                let is_patient = session.account.role == Role::Patient;
                let found = patients(auth, &caller, is_patient, answers.search).await?;
                match &found[..] {
                    [only] if is_patient => choice.context.patient = Some(only.id.clone()),
                    _ => return Ok(Some(ask_patient(&found, is_patient, wanted.optional, answers.search))),
                }
            }
        }
        choice.patient_is_settled = true;
    }
    let Some(patient) = choice.context.patient.clone().filter(|_| wanted.encounter) else {
        return Ok(None);
    };
    if !choice.encounter_is_settled {
        let found = encounters(auth, &caller, &patient).await?;
        match answers.encounter {
            Some("") => {}
            Some(id) if found.iter().any(|line| line.id == id) => choice.context.encounter = Some(id.to_owned()),
            Some(_) => return Err(PageError::Forbidden),
            None if found.is_empty() => {}
            None => return Ok(Some(ask_encounter(&found))),
        }
        choice.encounter_is_settled = true;
    }
    Ok(None)
}

/// A patient or a visit on a page.
struct Line {
    id: String,
    words: String,
}

fn ask_patient(found: &[Line], is_patient: bool, optional: bool, search: &str) -> Question {
    let fields = html! {
        @if !is_patient {
            p {
                label for="search" { "Name, date of birth (as 1980-05-17) or number" }
                input id="search" name="search" type="search" value=(search) autocomplete="off" maxlength=(LONGEST_SEARCH);
            }
            p { button { "Search" } }
            @if found.is_empty() && !search.is_empty() { p role="status" { "Nobody of yours is called so." } }
        }
        ul class="choices" {
            @for line in found { li { button name="patient" value=(line.id) { (line.words) } } }
        }
        @if found.len() == MOST { p class="hint" { "There may be more: search for more words." } }
        @if optional { p { button name="patient" value="" { "Go on without a patient" } } }
    };
    Question {
        title: "Whose record?",
        fields,
    }
}

fn ask_encounter(found: &[Line]) -> Question {
    let fields = html! {
        ul class="choices" {
            @for line in found { li { button name="encounter" value=(line.id) { (line.words) } } }
            li { button name="encounter" value="" { "None of these" } }
        }
    };
    Question {
        title: "Which visit?",
        fields,
    }
}

/// The patients whom a person may see, at most [`MOST`]; for whoever is a patient those whom they are or act for, for staff those
/// who fit all words of the search.
async fn patients(auth: &AuthServer, caller: &Caller, all: bool, search: &str) -> Result<Vec<Line>, PageError> {
    let words: Vec<&str> = search.split_whitespace().collect();
    if !all && words.is_empty() || search.chars().count() > LONGEST_SEARCH {
        return Ok(Vec::new());
    }
    let words = if all { Vec::new() } else { words };
    let found = entries(auth, caller, &patient_query(&words)).await?;
    Ok(found
        .iter()
        .filter_map(|patient| line(patient, &patient_words(patient)))
        .collect())
}

/// The search for patients who fit all words: names, dates of birth, numbers.
fn patient_query(words: &[&str]) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix("Patient?".to_owned(), "Patient?".len());
    query
        .append_pair("_count", &MOST.to_string())
        .append_pair("_sort", "family");
    for word in words {
        // What has a special meaning in a search is meant as it was typed.
        let escape = |letter: char| "\\$,|".contains(letter).then_some('\\').into_iter().chain([letter]);
        let value: String = word.chars().flat_map(escape).collect();
        let name = match word.as_bytes() {
            [year @ .., b'-', _, _, b'-', _, _] if year.len() == 4 => "birthdate",
            word if word.iter().any(u8::is_ascii_digit) => "identifier",
            _ => "name",
        };
        query.append_pair(name, &value);
    }
    query.finish()
}

/// The id of a patient, if the caller may see them.
async fn visible_patient(auth: &AuthServer, caller: &Caller, id: &str) -> Result<String, PageError> {
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if !is_id {
        return Err(PageError::Forbidden);
    }
    match entries(auth, caller, &format!("Patient?_id={id}")).await?.is_empty() {
        true => Err(PageError::Forbidden),
        false => Ok(id.to_owned()),
    }
}

/// The latest visits of a patient.
async fn encounters(auth: &AuthServer, caller: &Caller, patient: &str) -> Result<Vec<Line>, PageError> {
    let query = format!("Encounter?patient={patient}&_sort=-date&_count={MOST}");
    let found = entries(auth, caller, &query).await?;
    Ok(found
        .iter()
        .filter_map(|visit| line(visit, &encounter_words(visit)))
        .collect())
}

/// The matches of a search. Whoever may search nothing of the type finds nothing.
async fn entries(auth: &AuthServer, caller: &Caller, url: &str) -> Result<Vec<Value>, PageError> {
    let answer = http::get(&auth.fhir, caller, url, http::Conditions::default(), Default::default()).await;
    let body = match answer {
        Ok(answer) => answer.body.unwrap_or_default(),
        Err(error) if error.status.is_server_error() => return Err(PageError::Unavailable),
        Err(_) => return Ok(Vec::new()),
    };
    let bundle: Value = serde_json::from_str(&body).map_err(|_| PageError::Unavailable)?;
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let matches = entries.filter(|entry| entry["search"]["mode"] == "match");
    Ok(matches.map(|entry| entry["resource"].clone()).collect())
}

fn line(resource: &Value, words: &str) -> Option<Line> {
    Some(Line {
        id: resource["id"].as_str()?.to_owned(),
        words: words.to_owned(),
    })
}

fn patient_words(patient: &Value) -> String {
    let names = patient["name"].as_array().map_or(&[][..], Vec::as_slice);
    let name = names.iter().find(|name| name["use"] == "official").or(names.first());
    let name = name.map(human_name).filter(|name| !name.is_empty());
    let mut words = name.unwrap_or_else(|| "Without a name".to_owned());
    if let Some(date) = patient["birthDate"].as_str() {
        words.push_str(&format!(", born {date}"));
    }
    words
}

fn human_name(name: &Value) -> String {
    if let Some(text) = name["text"].as_str() {
        return text.to_owned();
    }
    let given = name["given"].as_array().into_iter().flatten().filter_map(Value::as_str);
    given.chain(name["family"].as_str()).collect::<Vec<_>>().join(" ")
}

fn encounter_words(encounter: &Value) -> String {
    let text = |concept: &Value| {
        let coding = &concept["coding"][0];
        let words = concept["text"]
            .as_str()
            .or(coding["display"].as_str())
            .or(coding["code"].as_str());
        words.map(str::to_owned)
    };
    let day = encounter["period"]["start"]
        .as_str()
        .map(|start| start.chars().take(10).collect::<String>());
    let kind = text(&encounter["type"][0]).or(text(&encounter["serviceType"]));
    let class = encounter["class"]["display"]
        .as_str()
        .or(encounter["class"]["code"].as_str());
    let status = encounter["status"].as_str().map(str::to_owned);
    let words = [day, kind.or(class.map(str::to_owned)), status];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_names_dates_or_numbers() {
        assert_eq!(patient_query(&[]), "Patient?_count=20&_sort=family");
        assert_eq!(
            patient_query(&["Ada", "1815-12-10", "M-17", "a,b"]),
            "Patient?_count=20&_sort=family&name=Ada&birthdate=1815-12-10&identifier=M-17&name=a%5C%2Cb"
        );
    }

    #[test]
    fn patients_and_visits_are_told_apart_by_words() {
        let ada = json!({
            "name": [{"family": "Byron"}, {"use": "official", "given": ["Ada", "K."], "family": "Lovelace"}],
            "birthDate": "1815-12-10",
        });
        assert_eq!(patient_words(&ada), "Ada K. Lovelace, born 1815-12-10");
        assert_eq!(patient_words(&json!({"name": [{"text": "A. L."}]})), "A. L.");
        assert_eq!(patient_words(&json!({"name": [{}]})), "Without a name");
        let visit = json!({"status": "finished", "class": {"code": "VR"}, "period": {"start": "2026-03-04T10:00:00Z"}});
        assert_eq!(encounter_words(&visit), "2026-03-04, VR, finished");
        let visit = json!({"status": "planned", "type": [{"coding": [{"display": "Follow-up"}]}]});
        assert_eq!(encounter_words(&visit), "Follow-up, planned");
    }
}
