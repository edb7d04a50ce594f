//! String parameters (<https://hl7.org/fhir/R4/search.html#string>): matched from the start, without case, accents,
//! punctuation and differences of white space. `:exact` takes the string as it is, but for the two ways in which Unicode
//! writes an accented letter; `:contains` finds it anywhere.
//!
//! A HumanName or an Address is indexed by each of its parts. A string too long for one index entry is indexed by its
//! start, and by further overlapping pieces that only `:contains` looks at.

use std::borrow::Cow;

use serde_json::Value;
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::{Branch, unescape};
use crate::fhir::search::sql::{Alias, Sql};

/// Longest normalised text of one row, in bytes.
const MAX_PIECE: usize = 2_000;
/// How much of its predecessor a piece repeats, hence the longest text that can be searched for, in bytes.
pub const MAX_SEARCHED: usize = 500;
/// Starts every piece but the first. Normalised text has no control characters, so nothing starts with it.
const CONTINUATION: char = '\u{1}';

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    /// Normalised.
    pub norm: Cow<'v, str>,
    /// As written, composed (NFC); empty in a continuation.
    pub exact: Cow<'v, str>,
}

/// Rows of `idx_string`, a Vec per column.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub norm: Vec<String>,
    pub exact: Vec<String>,
}

pub fn index<'v>(param: i16, type_name: &str, value: &'v Value, rows: &mut Vec<Row<'v>>) {
    let parts: &[&str] = match type_name {
        "HumanName" => &["text", "family", "given", "prefix", "suffix"],
        "Address" => &["text", "line", "city", "district", "state", "postalCode", "country"],
        _ => {
            if let Value::String(text) = value {
                push(param, text, rows);
            }
            return;
        }
    };
    for part in parts.iter().filter_map(|part| value.get(part)) {
        match part {
            Value::String(text) => push(param, text, rows),
            Value::Array(texts) => texts
                .iter()
                .filter_map(Value::as_str)
                .for_each(|text| push(param, text, rows)),
            _ => {}
        }
    }
}

/// Adds the row of one text, or its rows where it is long.
pub fn push<'v>(param: i16, exact: &'v str, rows: &mut Vec<Row<'v>>) {
    let (norm, exact) = (normalise(exact), composed(exact));
    if norm.len() <= MAX_PIECE {
        rows.push(Row { param, norm, exact });
        return;
    }
    let mut start = 0;
    while start < norm.len() {
        let end = norm.floor_char_boundary(start + MAX_PIECE);
        let piece = &norm[start..end];
        if start == 0 {
            rows.push(Row {
                param,
                norm: Cow::Owned(piece.to_owned()),
                exact: exact.clone(),
            });
        } else {
            rows.push(Row {
                param,
                norm: Cow::Owned(format!("{CONTINUATION}{piece}")),
                exact: Cow::Borrowed(""),
            });
        }
        if end == norm.len() {
            return;
        }
        start = norm.floor_char_boundary(end - MAX_SEARCHED);
    }
}

/// Lower-case, decomposed and without combining characters, without punctuation and symbols, white space folded.
///
/// Vowel signs of Indic and other scripts combine too, but are letters and stay.
pub fn normalise(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let mut norm = String::with_capacity(text.len());
    let letters = text.nfkd().filter(|&c| !is_combining_mark(c) || c.is_alphabetic());
    for c in letters.flat_map(char::to_lowercase).nfkd() {
        if c.is_whitespace() {
            if !norm.is_empty() && !norm.ends_with(' ') {
                norm.push(' ');
            }
        } else if c.is_alphanumeric() {
            match c {
                'ß' => norm.push_str("ss"),
                'ς' => norm.push('σ'),
                c => norm.push(c),
            }
        }
    }
    if norm.ends_with(' ') {
        norm.pop();
    }
    Cow::Owned(norm)
}

/// Canonically equivalent texts are one text (<https://www.unicode.org/reports/tr15/>): é is é, written as one character
/// or as two.
fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// No modifier.
    Starts,
    /// `:exact`
    Exact,
    /// `:contains`
    Contains,
    /// `eq` of a filter.
    Whole,
    /// `ew` of a filter.
    Ends,
}

/// One searched string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    pub mode: Mode,
    pub norm: String,
    pub exact: String,
}

/// # Errors
/// A sentence for the client when the text is empty or too long.
pub fn parse(text: &str, mode: Mode) -> Result<Match, String> {
    let exact = composed(&unescape(text)).into_owned();
    let norm = normalise(&exact).into_owned();
    if exact.is_empty() {
        return Err("A string to search for must not be empty".into());
    }
    if mode != Mode::Exact && norm.len() > MAX_SEARCHED {
        return Err(format!(
            "A string to search for may have at most {MAX_SEARCHED} bytes; only :exact takes a longer one"
        ));
    }
    Ok(Match { mode, norm, exact })
}

/// The scans of `idx_string` that find any of `matches`, all of one mode.
pub fn branches<'m>(matches: &[Match]) -> Vec<Branch<'m>> {
    // What consists of punctuation alone has nothing left once normalised. It is looked for as it was written, else it
    // would match everything.
    let (plain, bare): (Vec<&Match>, Vec<&Match>) = matches.iter().partition(|m| !m.norm.is_empty());
    let mut branches: Vec<Branch> = bare.into_iter().cloned().map(as_written).collect();
    match plain[..] {
        [] => {}
        [one] => {
            let one = one.clone();
            branches.push(Branch::new(move |sql, t| match one.mode {
                Mode::Starts => starts(sql, t, &one.norm),
                Mode::Exact => {
                    sql.column(t, ".norm = ")
                        .bind(piece(&one.norm).to_owned())
                        .push(" AND ");
                    sql.column(t, ".exact = ").bind(one.exact.clone());
                }
                Mode::Contains => {
                    sql.column(t, ".norm LIKE ").bind(format!("%{}%", one.norm));
                }
                Mode::Whole => _ = sql.column(t, ".norm = ").bind(one.norm.clone()),
                Mode::Ends => _ = sql.column(t, ".norm LIKE ").bind(format!("%{}", one.norm)),
            }));
        }
        _ => branches.push(any(plain.into_iter().cloned().collect())),
    }
    branches
}

/// All of a list in one scan.
fn any<'m>(matches: Vec<Match>) -> Branch<'m> {
    match matches[0].mode {
        Mode::Starts => {
            let low: Vec<String> = matches.into_iter().map(|m| m.norm).collect();
            let high: Vec<String> = low.iter().map(|norm| after(norm)).collect();
            Branch {
                joins: Some(Box::new(move |sql, _| {
                    sql.push(", unnest(")
                        .bind(low.clone())
                        .push("::text[], ")
                        .bind(high.clone())
                        .push("::text[]) AS v(low, high)");
                })),
                condition: Box::new(|sql, t| {
                    sql.column(t, ".norm >= v.low AND ").column(t, ".norm < v.high");
                }),
                is_ordered: false,
            }
        }
        Mode::Exact => Branch::new(move |sql, t| {
            let norms: Vec<String> = matches.iter().map(|m| piece(&m.norm).to_owned()).collect();
            let exacts: Vec<String> = matches.iter().map(|m| m.exact.clone()).collect();
            sql.column(t, ".norm = ANY(")
                .bind(norms)
                .push(") AND ")
                .column(t, ".exact = ANY(")
                .bind(exacts)
                .push(")");
        }),
        Mode::Contains => Branch::new(move |sql, t| {
            let patterns: Vec<String> = matches.iter().map(|m| format!("%{}%", m.norm)).collect();
            sql.column(t, ".norm LIKE ANY(").bind(patterns).push(")");
        }),
        Mode::Whole => Branch::new(move |sql, t| {
            let norms: Vec<String> = matches.iter().map(|m| m.norm.clone()).collect();
            sql.column(t, ".norm = ANY(").bind(norms).push(")");
        }),
        Mode::Ends => Branch::new(move |sql, t| {
            let patterns: Vec<String> = matches.iter().map(|m| format!("%{}", m.norm)).collect();
            sql.column(t, ".norm LIKE ANY(").bind(patterns).push(")");
        }),
    }
}

/// `norm` has no wildcards of LIKE: they are punctuation.
fn starts(sql: &mut Sql, t: Alias, norm: &str) {
    sql.column(t, ".norm >= ")
        .bind(norm.to_owned())
        .push(" AND ")
        .column(t, ".norm < ")
        .bind(after(norm));
}

fn as_written<'m>(m: Match) -> Branch<'m> {
    Branch::new(move |sql, t| match m.mode {
        Mode::Starts => {
            sql.push("starts_with(")
                .column(t, ".exact, ")
                .bind(m.exact.clone())
                .push(")");
        }
        Mode::Exact | Mode::Whole => {
            sql.column(t, ".norm = '' AND ")
                .column(t, ".exact = ")
                .bind(m.exact.clone());
        }
        Mode::Contains => {
            sql.push("strpos(")
                .column(t, ".exact, ")
                .bind(m.exact.clone())
                .push(") > 0");
        }
        Mode::Ends => {
            sql.push("right(").column(t, ".exact, length(").bind(m.exact.clone());
            sql.push(")) = ").bind(m.exact.clone());
        }
    })
}

/// The first text, by byte order, after all that start with `norm`.
fn after(norm: &str) -> String {
    format!("{norm}{}", char::MAX)
}

/// What the first row of a string with this normalised text holds.
fn piece(norm: &str) -> &str {
    &norm[..norm.floor_char_boundary(MAX_PIECE)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn case_accents_punctuation_and_spacing_do_not_count() {
        for (text, norm) in [
            ("Müller", "muller"),
            ("Mu\u{308}ller", "muller"),
            ("  O'Brien \t Jr. ", "obrien jr"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("İzmir", "izmir"),
            ("Ångström", "angstrom"),
            ("ﬁne", "fine"),
            ("हिन्दी", "हिनदी"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευσ"),
            ("%_'--", ""),
        ] {
            assert_eq!(normalise(text), norm, "{text}");
        }
    }

    #[test]
    fn every_part_of_a_name_is_indexed() {
        let name = json!({"use": "official", "family": "Núñez", "given": ["Ana", "María"], "suffix": ["MD"]});
        let mut rows = Vec::new();
        index(1, "HumanName", &name, &mut rows);
        assert_eq!(
            rows.iter().map(|row| row.norm.as_ref()).collect::<Vec<_>>(),
            ["nunez", "ana", "maria", "md"]
        );
        assert_eq!(rows[0].exact, "Núñez");
    }

    #[test]
    fn a_long_string_is_covered_by_overlapping_pieces() {
        let value = json!("é".repeat(3_000));
        let mut rows = Vec::new();
        index(1, "string", &value, &mut rows);
        assert!(rows.len() == 2 && rows.iter().all(|row| row.norm.len() <= MAX_PIECE + 1));
        assert!(rows[1].norm.starts_with(CONTINUATION) && rows[1].exact.is_empty());
    }

    #[test]
    fn empty_and_overlong_strings_are_refused() {
        assert!(parse("", Mode::Starts).is_err());
        assert!(parse(&"a".repeat(501), Mode::Contains).is_err());
        assert!(parse(&"a".repeat(501), Mode::Exact).is_ok());
    }
}
