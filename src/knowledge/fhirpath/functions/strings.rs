//! <http://hl7.org/fhirpath/N1/#string-manipulation>, and `encode`, `escape`, `trim`, `split`, `join` of the version that
//! the official suite tests. Positions and lengths count characters.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::{Regex, RegexBuilder};

use super::{ANYTHING, At, Function, Gives, INTEGER, OneItem, Parameter, Result, STRING};
use crate::knowledge::fhirpath::arithmetic::integer;
use crate::knowledge::fhirpath::item::{Collection, Item};
use crate::knowledge::fhirpath::types::SystemType;

const A_BOOLEAN: Gives = Gives::One(SystemType::Boolean);
const AN_INTEGER: Gives = Gives::One(SystemType::Integer);
const A_STRING: Gives = Gives::One(SystemType::String);
const ONE_STRING: &[Parameter] = &[Parameter::Value(STRING)];
const TWO_STRINGS: &[Parameter] = &[Parameter::Value(STRING), Parameter::Value(STRING)];

/// Bounds the memory of a compiled regular expression, in bytes.
const MAX_REGEX: usize = 1024 * 1024;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::item("length", AN_INTEGER, |at| {
        Ok(at.input_text()?.and_then(|text| integer(text.chars().count() as i64)))
    })
    .on(STRING),
    Function::item("upper", A_STRING, |at| mapped(at, |text| text.to_uppercase())).on(STRING),
    Function::item("lower", A_STRING, |at| mapped(at, |text| text.to_lowercase())).on(STRING),
    Function::item("trim", A_STRING, |at| mapped(at, |text| text.trim().to_owned())).on(STRING),
    Function::item("startsWith", A_BOOLEAN, |at| {
        tested(at, |text, part| text.starts_with(part))
    })
    .on(STRING)
    .taking(ONE_STRING),
    Function::item("endsWith", A_BOOLEAN, |at| {
        tested(at, |text, part| text.ends_with(part))
    })
    .on(STRING)
    .taking(ONE_STRING),
    Function::item("contains", A_BOOLEAN, |at| tested(at, |text, part| text.contains(part)))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("indexOf", AN_INTEGER, |at| found(at, |text, part| text.find(part)))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("lastIndexOf", AN_INTEGER, |at| found(at, |text, part| text.rfind(part)))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("substring", A_STRING, substring)
        .on(STRING)
        .taking(&[Parameter::Value(INTEGER), Parameter::Value(INTEGER)])
        .requiring(1),
    Function::item("replace", A_STRING, replace)
        .on(STRING)
        .taking(TWO_STRINGS),
    Function::item("matches", A_BOOLEAN, matches)
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("matchesFull", A_BOOLEAN, matches)
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("replaceMatches", A_STRING, replace_matches)
        .on(STRING)
        .taking(TWO_STRINGS),
    Function::items("toChars", Gives::Many(SystemType::String), to_chars).on(STRING),
    Function::items("split", Gives::Many(SystemType::String), split)
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("join", A_STRING, join)
        .on(ANYTHING)
        .taking(ONE_STRING)
        .requiring(0),
    Function::item("encode", A_STRING, |at| coded(at, encode))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("decode", A_STRING, |at| coded(at, decode))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("escape", A_STRING, |at| coded(at, escape))
        .on(STRING)
        .taking(ONE_STRING),
    Function::item("unescape", A_STRING, |at| coded(at, unescape))
        .on(STRING)
        .taking(ONE_STRING),
];

fn string<'a>(text: impl Into<Cow<'a, str>>) -> OneItem<'a> {
    Ok(Some(Item::String(text.into())))
}

fn mapped<'a>(at: &At<'_, '_, 'a>, map: fn(&str) -> String) -> OneItem<'a> {
    match at.input_text()? {
        Some(text) => {
            at.check_size(text.len())?;
            string(map(&text))
        }
        None => Ok(None),
    }
}

fn tested<'a>(at: &At<'_, '_, 'a>, test: fn(&str, &str) -> bool) -> OneItem<'a> {
    let (Some(text), Some(part)) = (at.input_text()?, at.text_argument(0)?) else {
        return Ok(None);
    };
    Ok(Some(Item::Boolean(test(&text, &part))))
}

/// The number of characters before what `find` finds, -1 if it finds nothing.
fn found<'a>(at: &At<'_, '_, 'a>, find: fn(&str, &str) -> Option<usize>) -> OneItem<'a> {
    let (Some(text), Some(part)) = (at.input_text()?, at.text_argument(0)?) else {
        return Ok(None);
    };
    Ok(integer(
        find(&text, &part).map_or(-1, |byte| text[..byte].chars().count() as i64),
    ))
}

fn substring<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(text), Some(start)) = (at.input_text()?, at.integer_argument(0)?) else {
        return Ok(None);
    };
    let length = match at.arguments() {
        1 => None,
        _ => at.integer_argument(1)?,
    };
    let Ok(start) = usize::try_from(start) else {
        return Ok(None);
    };
    if start >= text.chars().count() {
        return Ok(None);
    }
    let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(0));
    string(text.chars().skip(start).take(length).collect::<String>())
}

fn replace<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(text), Some(pattern), Some(substitution)) =
        (at.input_text()?, at.text_argument(0)?, at.text_argument(1)?)
    else {
        return Ok(None);
    };
    let growth = text
        .matches(pattern.as_ref())
        .count()
        .saturating_mul(substitution.len());
    at.check_size(text.len().saturating_add(growth))?;
    string(text.replace(pattern.as_ref(), &substitution))
}

/// A regular expression in single-line mode: the dot matches line breaks, too.
pub fn compile_regex(pattern: &str, is_full: bool) -> std::result::Result<Regex, String> {
    let pattern = if is_full {
        format!(r"\A(?:{pattern})\z")
    } else {
        pattern.to_owned()
    };
    RegexBuilder::new(&pattern)
        .dot_matches_new_line(true)
        .size_limit(MAX_REGEX)
        .build()
        .map_err(|_| "this is no regular expression that is understood here".to_owned())
}

/// The expression in the first argument: compiled beforehand if it is a literal.
fn regex<'a>(at: &At<'_, '_, 'a>) -> Result<Option<Cow<'a, Regex>>> {
    if let Some(regex) = &at.call.regex {
        return Ok(Some(Cow::Borrowed(regex)));
    }
    let Some(pattern) = at.text_argument(0)? else {
        return Ok(None);
    };
    // Compiling costs by far more than an item: a hostile expression could ask for it thousands of times.
    at.evaluation.spend(1_000 + pattern.len(), at.call.position)?;
    let compiled = compile_regex(&pattern, at.call.function.name == "matchesFull");
    compiled
        .map(|regex| Some(Cow::Owned(regex)))
        .map_err(|message| at.error(message))
}

fn matches<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(text), Some(regex)) = (at.input_text()?, regex(at)?) else {
        return Ok(None);
    };
    at.check_size(text.len())?;
    Ok(Some(Item::Boolean(regex.is_match(&text))))
}

/// `$1` or `${name}` in the substitution stand for what a group matched. An empty expression replaces nothing.
fn replace_matches<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(text), Some(regex), Some(substitution)) = (at.input_text()?, regex(at)?, at.text_argument(1)?) else {
        return Ok(None);
    };
    if regex.as_str().is_empty() {
        return string(text);
    }
    // A dollar may insert the whole match; the text's own length for each match is more than enough.
    let each = substitution.len() + if substitution.contains('$') { text.len() } else { 0 };
    at.check_size(
        text.len()
            .saturating_add(regex.find_iter(&text).count().saturating_mul(each)),
    )?;
    string(
        regex
            .replace_all(&text, numbered_groups(&substitution).as_str())
            .into_owned(),
    )
}

/// `$1st` means group 1 followed by “st”; the `regex` crate would look for a group named `1st`.
fn numbered_groups(substitution: &str) -> String {
    let mut result = String::with_capacity(substitution.len() + 4);
    let mut rest = substitution;
    while let Some(at) = rest.find('$') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        result += &rest[..at];
        match digits {
            0 => result.push('$'),
            _ => result = result + "${" + &rest[at + 1..end] + "}",
        }
        rest = &rest[end..];
    }
    result + rest
}

fn to_chars<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    if let Some(text) = at.input_text()? {
        at.evaluation.spend(text.len(), at.call.position)?;
        out.extend(text.chars().map(|character| Item::String(character.to_string().into())));
    }
    Ok(())
}

fn split<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let (Some(text), Some(separator)) = (at.input_text()?, at.text_argument(0)?) else {
        return Ok(());
    };
    at.evaluation.spend(text.len(), at.call.position)?;
    if separator.is_empty() {
        out.push(Item::String(text));
        return Ok(());
    }
    out.extend(
        text.split(separator.as_ref())
            .map(|part| Item::String(part.to_owned().into())),
    );
    Ok(())
}

fn join<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let separator = match at.arguments() {
        0 => None,
        _ => at.text_argument(0)?,
    }
    .unwrap_or_default();
    let input = at.input()?;
    if input.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::with_capacity(input.len());
    for item in &input {
        match at.evaluation.text(item) {
            Some(text) => parts.push(text),
            None if at.evaluation.is_valueless(item) => {}
            None => return Err(at.wrong_input(item, "String")),
        }
    }
    at.check_size(parts.iter().map(|part| part.len() + separator.len()).sum())?;
    string(parts.join(&separator))
}

/// Applies a coding whose name is the argument. `None` from `code` means that the text is malformed: an empty result.
fn coded<'a>(at: &At<'_, '_, 'a>, code: fn(&str, &str) -> Coded) -> OneItem<'a> {
    let (Some(text), Some(format)) = (at.input_text()?, at.text_argument(0)?) else {
        return Ok(None);
    };
    at.check_size(text.len().saturating_mul(2))?;
    match code(&text, &format) {
        Coded::Text(text) => string(text),
        Coded::Malformed => Ok(None),
        Coded::UnknownFormat => Err(at.error(format!("{}() does not know this format", at.call.function.name))),
    }
}

enum Coded {
    Text(String),
    Malformed,
    UnknownFormat,
}

fn encode(text: &str, format: &str) -> Coded {
    match format {
        "hex" => Coded::Text(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
        "base64" => Coded::Text(STANDARD.encode(text)),
        "urlbase64" => Coded::Text(URL_SAFE.encode(text)),
        _ => Coded::UnknownFormat,
    }
}

fn decode(text: &str, format: &str) -> Coded {
    let bytes = match format {
        "hex" => from_hex(text),
        "base64" => STANDARD.decode(text).ok(),
        "urlbase64" => URL_SAFE.decode(text).ok(),
        _ => return Coded::UnknownFormat,
    };
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map_or(Coded::Malformed, Coded::Text)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair[0] * 16 + pair[1]).collect())
}

const ENTITIES: [(&str, char); 5] = [
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&amp;", '&'),
];

fn escape(text: &str, format: &str) -> Coded {
    match format {
        "html" => Coded::Text(text.chars().fold(String::new(), |mut escaped, character| {
            match ENTITIES.iter().find(|(_, plain)| *plain == character) {
                Some((entity, _)) => escaped.push_str(entity),
                None => escaped.push(character),
            }
            escaped
        })),
        "json" => {
            let quoted = serde_json::Value::from(text).to_string();
            Coded::Text(quoted[1..quoted.len() - 1].to_owned())
        }
        _ => Coded::UnknownFormat,
    }
}

fn unescape(text: &str, format: &str) -> Coded {
    match format {
        "html" => {
            let mut plain = String::with_capacity(text.len());
            let mut rest = text;
            while let Some(at) = rest.find('&') {
                plain += &rest[..at];
                let (length, character) = ENTITIES
                    .iter()
                    .find(|(entity, _)| rest[at..].starts_with(entity))
                    .map_or((1, '&'), |(entity, character)| (entity.len(), *character));
                plain.push(character);
                rest = &rest[at + length..];
            }
            Coded::Text(plain + rest)
        }
        // A quote that was not escaped is taken as it is, hence not simply read as JSON.
        "json" => {
            let body = text.replace("\\\"", "\"").replace('"', "\\\"");
            serde_json::from_str(&format!("\"{body}\"")).map_or(Coded::Malformed, Coded::Text)
        }
        _ => Coded::UnknownFormat,
    }
}
