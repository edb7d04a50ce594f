//! CodeableConcepts: their codes, and what they are called.

use serde_json::Value;

/// Its codes in one system.
pub fn codes<'v>(concept: &'v Value, system: &'v str) -> impl Iterator<Item = &'v str> {
    let codings = concept["coding"].as_array().into_iter().flatten();
    codings
        .filter(move |coding| coding["system"] == system)
        .filter_map(|coding| coding["code"].as_str())
}

/// What people call it: its text, else the name of a code, else a code.
pub fn words(concept: &Value) -> Option<&str> {
    let of_codings = |name: &'static str| {
        let mut codings = concept["coding"].as_array().into_iter().flatten();
        codings.find_map(move |coding| coding[name].as_str())
    };
    let text = concept["text"].as_str().or_else(|| of_codings("display"));
    text.or_else(|| of_codings("code"))
        .filter(|text| !text.trim().is_empty())
}

/// Everything that it is called.
pub fn all_words(concept: &Value) -> impl Iterator<Item = &str> {
    let codings = concept["coding"].as_array().into_iter().flatten();
    let displays = codings.filter_map(|coding| coding["display"].as_str());
    concept["text"].as_str().into_iter().chain(displays)
}
