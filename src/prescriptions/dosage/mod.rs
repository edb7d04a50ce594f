//! What a structured dosage (<https://hl7.org/fhir/R4/dosage.html>) says, as an English sentence.
//!
//! The structure is what was prescribed; the sentence is written from it, by whoever stores a prescription, in place of
//! any text that came along. So the two cannot contradict each other. What contradicts *itself* (three times a day, at
//! bedtime) is refused.
//!
//! Numbers are written so that nobody misreads them: no zero at the end (`5 mg`, never `5.0 mg`), commas from a thousand on,
//! `micrograms` and `units` in full
//! ([ISMP's list of error-prone abbreviations](https://www.ismp.org/recommendations/error-prone-abbreviations-list)).
//!
//! | file | concern |
//! |---|---|
//! | [`amount`] | doses, rates, limits |
//! | [`timing`] | when and how often |
//! | [`words`] | routes, units, events: what they are called |

pub mod amount;
pub mod timing;
pub mod words;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::amount::Dose;
use self::timing::Timing;
use super::concept;

/// What cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Below the dosage: `timing.repeat.when`
    pub element: &'static str,
    /// A sentence.
    pub text: String,
}

impl Problem {
    fn new(element: &'static str, text: impl Into<String>) -> Problem {
        Problem {
            element,
            text: text.into(),
        }
    }
}

/// The sentences of one dosage.
///
/// # Errors
/// All that contradicts itself, or is told in words alone.
pub fn text(dosage: &Value) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    if ["/modifierExtension", "/timing/modifierExtension"]
        .iter()
        .any(|place| dosage.pointer(place).is_some())
    {
        let text = "An extension that changes the meaning cannot be written out: say it in the elements.";
        problems.push(Problem::new("modifierExtension", text));
    }
    let dose = Dose::read(dosage, &mut problems);
    let timing = Timing::read(&dosage["timing"], &mut problems);
    let needed = needed(dosage);
    if timing.is_empty() && needed.is_none() {
        let text = "How often, or that it is taken when needed, must be told in elements, not in words alone.";
        problems.push(Problem::new("timing", text));
    }
    amount::check_limits(dosage, &dose, &timing, needed.is_some(), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut sentences = vec![first_sentence(dosage, &dose, &timing, needed)];
    sentences.extend(amount::limits(dosage));
    let told = dosage["additionalInstruction"].as_array().into_iter().flatten();
    sentences.extend(told.filter_map(concept::words).map(sentence));
    sentences.extend(dosage["patientInstruction"].as_str().map(sentence));
    Ok(sentences.join(" "))
}

/// `Take 1 tablet by mouth twice a day when needed for pain, with a meal, for 7 days.`
fn first_sentence(dosage: &Value, dose: &Dose, timing: &Timing, needed: Option<String>) -> String {
    let mut text = words::verb(dosage, dose.unit.as_deref());
    let mut add = |part: Option<String>| {
        if let Some(part) = part {
            text.push(' ');
            text.push_str(&part);
        }
    };
    add(dose.words.clone());
    add(words::way(dosage));
    add(dose.rate.clone());
    add(timing.over.clone());
    add(timing.often.clone());
    add(needed);
    for part in &timing.when {
        text.push_str(", ");
        text.push_str(part);
    }
    if let Some(bounds) = &timing.bounds {
        text.push_str(if timing.when.is_empty() { " " } else { ", " });
        text.push_str(bounds);
    }
    sentence(&text)
}

fn needed(dosage: &Value) -> Option<String> {
    let reason = concept::words(&dosage["asNeededCodeableConcept"]);
    let plainly = dosage["asNeededBoolean"] == true;
    match reason {
        Some(reason) => Some(format!("when needed for {reason}")),
        None => plainly.then(|| "when needed".to_owned()),
    }
}

/// With a capital at its beginning and a full stop at its end.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
