//! From text to words.
//!
//! A word is a run of letters and digits, lower-case and without accents, as strings are compared. Scripts that put no
//! space between words (Chinese, Japanese, Thai, …) are cut into single characters, which a query joins to a phrase again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::fhir::search::types::string::normalise;

/// Longest word, in bytes; of a longer one only so much counts.
const MAX_WORD: usize = 200;

/// Positions that PostgreSQL tells apart; what comes later is at the last one.
const MAX_POSITION: usize = 16_383;

/// Positions kept of one word: more of them change no ranking.
const MAX_POSITIONS: usize = 64;

/// Bytes of the words of one resource with their positions, of which PostgreSQL takes a million. That is some hundred
/// thousand different words, which no record has; of a longer text the rest is not found.
const MAX_BYTES: usize = 900_000;

/// The words of a text, in order.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut push = |run: &str| {
        let mut word = normalise(run).into_owned();
        word.truncate(word.floor_char_boundary(MAX_WORD));
        if !word.is_empty() {
            words.push(word);
        }
    };
    let mut start = None;
    for (at, c) in text.char_indices() {
        let is_single = stands_alone(c);
        // An accent that is a character of its own belongs to the letter before it.
        let continues = !is_single && (c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c));
        if continues {
            start.get_or_insert(at);
            continue;
        }
        if let Some(start) = start.take() {
            push(&text[start..at]);
        }
        if is_single {
            push(&text[at..at + c.len_utf8()]);
        }
    }
    if let Some(start) = start {
        push(&text[start..]);
    }
    words
}

/// Whether a character is of a script without spaces.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{a4cf}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && c.is_alphanumeric()
}

/// The words of a resource as the text of a `tsvector`: those of its narrative first, with weight A, then those of its
/// elements. Addresses (URLs, references, ids) and base64 are no text; neither are the names of elements.
pub fn vector(resource: &Value) -> String {
    let mut collected = Collected::default();
    if let Some(div) = resource.pointer("/text/div").and_then(Value::as_str) {
        collected.add(&plain(div), "A");
    }
    collected.add_elements(resource);
    let mut vector = String::with_capacity(2 * collected.bytes);
    for (word, places) in &collected.places {
        // Words are letters and digits, so nothing in them needs quoting. Writing to a String cannot fail.
        let _ = write!(vector, "'{word}':{} ", places.join(","));
    }
    vector
}

/// Words with their places.
#[derive(Default)]
struct Collected {
    /// For each word, its places as they stand in a tsvector.
    places: HashMap<String, Vec<String>>,
    position: usize,
    bytes: usize,
}

impl Collected {
    fn add(&mut self, text: &str, weight: &str) {
        for word in words(text) {
            self.position += 1;
            let place = format!("{}{weight}", self.position.min(MAX_POSITION));
            let size = self.places.get(&word).map_or(word.len() + 8, |_| 2);
            if self.bytes + size > MAX_BYTES {
                return;
            }
            let places = self.places.entry(word).or_default();
            if places.len() < MAX_POSITIONS {
                places.push(place);
                self.bytes += size;
            }
        }
        // What stands in different elements is no phrase.
        self.position += 1;
    }

    fn add_elements(&mut self, value: &Value) {
        match value {
            Value::String(text) if !is_address(text) => self.add(text, ""),
            Value::Number(number) => self.add(number.as_str(), ""),
            Value::Array(values) => values.iter().for_each(|value| self.add_elements(value)),
            Value::Object(object) => {
                // The narrative is in already. `data` is base64 wherever R4 has it as a text.
                let is_text =
                    |name: &str| !matches!(name, "resourceType" | "id" | "meta" | "div" | "data" | "reference");
                let elements = object.iter().filter(|(name, _)| is_text(name));
                elements.for_each(|(_, value)| self.add_elements(value));
            }
            _ => {}
        }
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("urn:") || text.starts_with("http://") || text.starts_with("https://")
}

/// Elements that format a part of a word at most: they end none.
const INLINE: [&str; 12] = [
    "b", "i", "u", "em", "strong", "span", "small", "big", "sub", "sup", "font", "a",
];

/// XHTML without its tags.
fn plain(xhtml: &str) -> String {
    let mut plain = String::with_capacity(xhtml.len());
    let mut rest = xhtml;
    while let Some(open) = rest.find('<') {
        plain.push_str(&unescaped(&rest[..open]));
        let tag = &rest[open + 1..];
        let end = tag.find('>').unwrap_or(tag.len());
        let name = tag[..end].trim_start_matches('/');
        let name = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        if !INLINE.contains(&name) {
            plain.push('\n');
        }
        rest = tag.get(end + 1..).unwrap_or_default();
    }
    plain.push_str(&unescaped(rest));
    plain
}

fn unescaped(text: &str) -> Cow<'_, str> {
    quick_xml::escape::unescape(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        for (text, expected) in [
            (
                "Well-being, O'Brien & sons",
                &["well", "being", "o", "brien", "sons"][..],
            ),
            ("Crème brûlée", &["creme", "brulee"]),
            ("Cre\u{300}me", &["creme"]),
            ("8480-6 mm[Hg]", &["8480", "6", "mm", "hg"]),
            ("STRASSE Straße", &["strasse", "strasse"]),
            ("頭痛 2 days", &["頭", "痛", "2", "days"]),
            ("हिन्दी", &["हिनदी"]),
            ("--", &[]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        assert_eq!(words(&"x".repeat(300))[0].len(), MAX_WORD);
    }

    #[test]
    fn a_narrative_is_read_without_its_tags() {
        assert_eq!(
            words(&plain(
                "<div><p>Acute <b>bron</b>chitis</p><p>fever &lt; 39&#xb0;</p><br/>x</div>"
            )),
            ["acute", "bronchitis", "fever", "39", "x"]
        );
        assert_eq!(plain("a < b"), "a \n", "what is no XHTML is survived");
    }

    #[test]
    fn a_vector_has_the_narrative_first_and_no_addresses() {
        let resource = json!({"resourceType": "Condition", "id": "c", "meta": {"versionId": "9"},
            "text": {"status": "generated", "div": "<div>Asthma</div>"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "J45", "display": "Asthma"}]},
            "subject": {"reference": "Patient/p"}, "note": [{"text": "mild asthma"}]});
        let mut vector: Vec<String> = vector(&resource).split_whitespace().map(str::to_owned).collect();
        vector.sort();
        assert_eq!(vector, ["'asthma':1A,7,10", "'generated':3", "'j45':5", "'mild':9"]);
    }

    #[test]
    fn a_vector_stays_within_what_the_database_takes() {
        let many: Vec<String> = (0..200_000).map(|n| format!("word{n}")).collect();
        let vector = vector(&json!({"note": many.join(" "), "again": "word1 ".repeat(1_000)}));
        let words = vector.split_whitespace().count();
        assert!((40_000..60_000).contains(&words), "{words}");
    }
}
