//! Token parameters (<https://hl7.org/fhir/R4/search.html#token>): codes, identifiers and their like, matched whole.
//!
//! | value | code | system |
//! |---|---|---|
//! | Coding, CodeableConcept (each coding) | `code` without case | `system` |
//! | code | itself without case | none; the system that its binding implies is understood in a query |
//! | Identifier | `value` as it is | `system` |
//! | ContactPoint | `value` without case | none |
//! | boolean | `true` or `false`, searched without case | none |
//! | string, id, uri, … | itself as it is | none |
//!
//! Codes are compared without case because most code systems leave open whether case matters, and the specification
//! prefers a code too many to one too few then. An Identifier's value is case-sensitive by its definition. Units, where
//! case does matter (`mg`, `Mg`), are quantities.
//!
//! A value that has neither code nor system makes a row with the code `''`, so that `:missing` can see it.
//!
//! Two modifiers have rows of their own, in the tables of other families under the parameter's number. `:text` looks at
//! what a person reads: `CodeableConcept.text`, `Coding.display` and `Identifier.type.text` are string rows. `:of-type`
//! looks for an Identifier by a code of its type and its value: uri rows that join these and the system of the code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, key, split, string, unescape, uri};

/// One index row, its system not yet interned (`""` is none).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    pub code: Cow<'v, str>,
    pub system: &'v str,
}

/// Rows of `idx_token`, a Vec per column.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub code: Vec<String>,
    pub system: Vec<i32>,
}

/// How the codes of a parameter's values stand in the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// Lower-case.
    Folded,
    /// As written.
    Exact,
    /// The parameter covers values of both sorts.
    Mixed,
}

/// The case in which a value of this FHIR type is indexed.
pub fn case_of(type_name: &str) -> Case {
    match type_name {
        "Coding" | "CodeableConcept" | "code" | "ContactPoint" | "boolean" => Case::Folded,
        _ => Case::Exact,
    }
}

pub fn index<'v>(param: i16, type_name: &str, value: &'v Value, rows: &mut Vec<Row<'v>>) {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    match type_name {
        "CodeableConcept" => {
            let codings = codings(value);
            for coding in codings {
                index(param, "Coding", coding, rows);
            }
            if codings.is_empty() {
                rows.push(Row {
                    param,
                    code: Cow::Borrowed(""),
                    system: "",
                });
            }
        }
        "Coding" => rows.push(Row {
            param,
            code: folded(text("code")),
            system: text("system"),
        }),
        "Identifier" => rows.push(identifier(param, value)),
        "ContactPoint" => rows.push(Row {
            param,
            code: folded(text("value")),
            system: "",
        }),
        _ => match value {
            Value::String(code) if type_name == "code" => rows.push(Row {
                param,
                code: folded(code),
                system: "",
            }),
            Value::String(code) => rows.push(Row {
                param,
                code: key(Cow::Borrowed(code)),
                system: "",
            }),
            Value::Bool(yes) => rows.push(Row {
                param,
                code: Cow::Borrowed(if *yes { "true" } else { "false" }),
                system: "",
            }),
            Value::Number(number) => rows.push(Row {
                param,
                code: Cow::Owned(number.to_string()),
                system: "",
            }),
            _ => {}
        },
    }
}

/// The row of an Identifier: of a token parameter, or of a reference parameter for its `:identifier` modifier.
pub fn identifier(param: i16, identifier: &Value) -> Row<'_> {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str).unwrap_or_default();
    Row {
        param,
        code: key(Cow::Borrowed(text("value"))),
        system: text("system"),
    }
}

/// The text that a person reads beside a code, for `:text`.
pub fn texts<'v>(param: i16, type_name: &str, value: &'v Value, rows: &mut Vec<string::Row<'v>>) {
    let mut push = |text: Option<&'v Value>| {
        if let Some(text) = text.and_then(Value::as_str) {
            string::push(param, text, rows);
        }
    };
    match type_name {
        "CodeableConcept" => {
            push(value.get("text"));
            for coding in codings(value) {
                push(coding.get("display"));
            }
        }
        "Coding" => push(value.get("display")),
        "Identifier" => push(value.get("type").and_then(|ty| ty.get("text"))),
        _ => {}
    }
}

/// Ends the value of an identifier and the code of its type where they are joined: neither can hold it.
const END: char = '\u{1f}';

/// The rows of an Identifier for `:of-type`: one for each code of its type.
pub fn of_type<'v>(param: i16, identifier: &'v Value, rows: &mut Vec<uri::Row<'v>>) {
    let text = |value: &'v Value, name: &str| value.get(name).and_then(Value::as_str);
    let (Some(ty), Some(value)) = (identifier.get("type"), text(identifier, "value")) else {
        return;
    };
    for coding in codings(ty) {
        if let Some(code) = text(coding, "code") {
            let joined = typed(code, value) + &key(Cow::Borrowed(text(coding, "system").unwrap_or_default()));
            rows.push(uri::Row {
                param,
                uri: Cow::Owned(joined),
            });
        }
    }
}

/// How an identifier of a type begins in the index; the system of the type follows.
fn typed(code: &str, value: &str) -> String {
    let mut typed = key(Cow::Owned(format!("{value}{END}{}", code.to_lowercase()))).into_owned();
    typed.push(END);
    typed
}

fn codings(concept: &Value) -> &[Value] {
    concept
        .get("coding")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice)
}

/// A code as it stands in the index where case does not count.
pub fn folded(code: &str) -> Cow<'_, str> {
    if code.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return key(Cow::Borrowed(code));
    }
    key(Cow::Owned(code.to_lowercase()))
}

/// Which systems a searched token allows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum System {
    /// `code`
    Any,
    /// `|code`
    None,
    /// `system|code` or `system|`
    Named(String),
    /// As `Named`, and the system is also what a bare `code` element of this parameter means by its binding.
    Implied(String),
}

/// One searched token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    pub system: System,
    /// As they may stand in the index; empty for `system|`.
    pub codes: Vec<String>,
}

/// Reads `code`, `system|code`, `|code` or `system|`, escapes included.
///
/// `implied` tells whether a system is what the parameter's bare codes mean.
///
/// # Errors
/// A sentence for the client when the value says nothing.
pub fn parse(text: &str, case: Case, implied: impl Fn(&str) -> bool) -> Result<Match, String> {
    let parts = split(text, '|');
    let (system, code) = match parts[..] {
        [code] => (System::Any, unescape(code)),
        ["", code] => (System::None, unescape(code)),
        [system, code] => match unescape(system).into_owned() {
            system if implied(&system) => (System::Implied(system), unescape(code)),
            system => (System::Named(system), unescape(code)),
        },
        _ => {
            return Err(
                "A token has the form code, system|code, |code or system|; write \\| for a bar inside it".into(),
            );
        }
    };
    if code.is_empty() && matches!(system, System::Any | System::None) {
        return Err("A token needs a code or a system".into());
    }
    let mut codes = Vec::new();
    if !code.is_empty() {
        if case != Case::Exact {
            codes.push(folded(&code).into_owned());
        }
        if case != Case::Folded {
            codes.push(key(Cow::Borrowed(&code)).into_owned());
        }
        codes.dedup();
    }
    Ok(Match { system, codes })
}

/// One searched identifier of a type, as it may stand in the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfType {
    /// Of a type of this system, or of none.
    Whole(String),
    /// Of a type of any system: what it begins with.
    Start(String),
}

/// Reads `system|code|value` of `:of-type`, where the system may be empty for "none", or be left out for any.
///
/// # Errors
/// A sentence for the client when a part is missing.
pub fn parse_of_type(text: &str) -> Result<OfType, String> {
    let parts = split(text, '|');
    let (system, code, value) = match parts[..] {
        [code, value] => (None, code, value),
        [system, code, value] => (Some(system), code, value),
        _ => (None, "", ""),
    };
    if code.is_empty() || value.is_empty() {
        return Err(
            "A value for :of-type has the form system|code|value or code|value: the type of the identifier, and its value"
                .into(),
        );
    }
    let typed = typed(&unescape(code), &unescape(value));
    Ok(match system {
        Some(system) => OfType::Whole(typed + &key(unescape(system))),
        None => OfType::Start(typed),
    })
}

/// The scans of `idx_uri` that find any of `matches`.
pub fn branches_of_type<'m>(matches: &[OfType]) -> Vec<Branch<'m>> {
    let uri = |m: &OfType| match m.clone() {
        OfType::Whole(uri) => uri::Match::Is(uri),
        OfType::Start(low) => {
            let high = format!("{low}{}", char::MAX);
            uri::Match::Within(low, high)
        }
    };
    uri::branches(&matches.iter().map(uri).collect::<Vec<_>>())
}

/// The systems that must be looked up before [`branches`].
pub fn systems(matches: &[Match]) -> impl Iterator<Item = &str> {
    matches.iter().filter_map(|m| match &m.system {
        System::Named(uri) | System::Implied(uri) => Some(uri.as_str()),
        System::Any | System::None => None,
    })
}

/// The scans of `idx_token` that find any of `matches`. A system that is not in `systems` was never stored, and has none.
pub fn branches<'m>(matches: &[Match], systems: &HashMap<String, i32>) -> Vec<Branch<'m>> {
    // Codes by the systems that they may be of (`None`: any), and the systems whose every code will do.
    let mut codes: BTreeMap<Option<Vec<i32>>, Vec<String>> = BTreeMap::new();
    let mut whole: Vec<i32> = Vec::new();
    for Match {
        system,
        codes: searched,
    } in matches
    {
        let allowed = match system {
            System::Any => None,
            System::None => Some(vec![0]),
            System::Named(uri) => match systems.get(uri) {
                Some(&id) => Some(vec![id]),
                None => continue,
            },
            System::Implied(uri) => Some(systems.get(uri).copied().into_iter().chain([0]).collect()),
        };
        match allowed {
            Some(ids) if searched.is_empty() => whole.extend(ids),
            allowed => codes.entry(allowed).or_default().extend(searched.iter().cloned()),
        }
    }
    let mut branches = by_systems(codes);
    if !whole.is_empty() {
        branches.push(Branch::new(move |sql, t| {
            sql.column(t, ".system = ANY(")
                .bind(whole.clone())
                .push(") AND ")
                .column(t, ".code <> ''");
        }));
    }
    branches
}

/// The scans that find any of these codes, by the systems that they may be of (`None`: any).
pub(super) fn by_systems<'m>(codes: BTreeMap<Option<Vec<i32>>, Vec<String>>) -> Vec<Branch<'m>> {
    let each = codes.values().map(Vec::len).sum::<usize>() <= MAX_BRANCHES;
    let mut branches = Vec::new();
    for (systems, codes) in codes {
        if each {
            branches.extend(codes.into_iter().map(|code| one_code(code, systems.clone())));
        } else {
            branches.push(any_code(codes, systems));
        }
    }
    branches
}

fn one_code<'m>(code: String, systems: Option<Vec<i32>>) -> Branch<'m> {
    Branch::ordered(move |sql, t| {
        sql.column(t, ".code = ").bind(code.clone());
        match systems.as_deref() {
            None => {}
            Some(&[system]) => {
                sql.push(" AND ").column(t, ".system = ").bind(system);
            }
            Some(systems) => {
                sql.push(" AND ")
                    .column(t, ".system = ANY(")
                    .bind(systems.to_vec())
                    .push(")");
            }
        }
    })
}

fn any_code<'m>(codes: Vec<String>, systems: Option<Vec<i32>>) -> Branch<'m> {
    Branch::new(move |sql, t| {
        sql.column(t, ".code = ANY(").bind(codes.clone()).push(")");
        if let Some(systems) = &systems {
            sql.push(" AND ")
                .column(t, ".system = ANY(")
                .bind(systems.clone())
                .push(")");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(type_name: &str, value: Value) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        index(1, type_name, &value, &mut rows);
        rows.into_iter()
            .map(|row| (row.system.to_owned(), row.code.into_owned()))
            .collect()
    }

    #[test]
    fn every_type_that_a_token_applies_to_is_indexed() {
        let pair = |system: &str, code: &str| (system.to_owned(), code.to_owned());
        assert_eq!(
            rows("Coding", json!({"system": "s", "code": "AbC"})),
            [pair("s", "abc")]
        );
        assert_eq!(rows("Coding", json!({"display": "words"})), [pair("", "")]);
        assert_eq!(
            rows(
                "CodeableConcept",
                json!({"coding": [{"system": "s", "code": "a"}, {"code": "b"}], "text": "t"})
            ),
            [pair("s", "a"), pair("", "b")]
        );
        assert_eq!(rows("CodeableConcept", json!({"text": "t"})), [pair("", "")]);
        assert_eq!(
            rows("Identifier", json!({"system": "s", "value": "MRN-1"})),
            [pair("s", "MRN-1")]
        );
        assert_eq!(
            rows("ContactPoint", json!({"system": "email", "value": "A@b.c"})),
            [pair("", "a@b.c")]
        );
        assert_eq!(rows("boolean", json!(true)), [pair("", "true")]);
        assert_eq!(rows("code", json!("final")), [pair("", "final")]);
        assert_eq!(rows("id", json!("Ab")), [pair("", "Ab")]);
    }

    #[test]
    fn the_four_forms_of_a_token() {
        let parse = |text| parse(text, Case::Folded, |system| system == "implied").unwrap();
        assert_eq!(
            parse("A"),
            Match {
                system: System::Any,
                codes: vec!["a".into()]
            }
        );
        assert_eq!(
            parse("s|A"),
            Match {
                system: System::Named("s".into()),
                codes: vec!["a".into()]
            }
        );
        assert_eq!(
            parse("|A"),
            Match {
                system: System::None,
                codes: vec!["a".into()]
            }
        );
        assert_eq!(
            parse("s|"),
            Match {
                system: System::Named("s".into()),
                codes: vec![]
            }
        );
        assert_eq!(
            parse("implied|a"),
            Match {
                system: System::Implied("implied".into()),
                codes: vec!["a".into()]
            }
        );
        assert_eq!(
            parse(r"s|a\|b"),
            Match {
                system: System::Named("s".into()),
                codes: vec!["a|b".into()]
            }
        );
    }

    #[test]
    fn a_token_that_says_nothing_is_refused() {
        for text in ["", "|", "a|b|c"] {
            assert!(parse(text, Case::Folded, |_| false).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_person_reads_is_found_beside_the_codes() {
        let of = |type_name: &str, value: Value| {
            let mut rows = Vec::new();
            texts(1, type_name, &value, &mut rows);
            rows.into_iter().map(|row| row.norm.into_owned()).collect::<Vec<_>>()
        };
        let concept = json!({"coding": [{"code": "a", "display": "First"}, {"code": "b"}], "text": "In words"});
        assert_eq!(of("CodeableConcept", concept), ["in words", "first"]);
        assert_eq!(of("Coding", json!({"code": "a", "display": "Éclair"})), ["eclair"]);
        assert_eq!(
            of("Identifier", json!({"type": {"text": "Passport"}, "value": "1"})),
            ["passport"]
        );
        assert!(of("code", json!("final")).is_empty());
    }

    #[test]
    fn an_identifier_is_found_by_each_code_of_its_type() {
        let identifier = json!({"type": {"coding": [{"system": "s", "code": "MR"}, {"code": "x"}]}, "value": "No.1"});
        let mut rows = Vec::new();
        of_type(1, &identifier, &mut rows);
        let rows: Vec<&str> = rows.iter().map(|row| row.uri.as_ref()).collect();
        assert_eq!(rows, ["No.1\u{1f}mr\u{1f}s", "No.1\u{1f}x\u{1f}"]);
        assert_eq!(parse_of_type("s|Mr|No.1").unwrap(), OfType::Whole(rows[0].into()));
        assert_eq!(parse_of_type("|x|No.1").unwrap(), OfType::Whole(rows[1].into()));
        assert_eq!(
            parse_of_type("MR|No.1").unwrap(),
            OfType::Start("No.1\u{1f}mr\u{1f}".into())
        );
        for incomplete in ["MR", "s||1", "s|MR|", "|MR|", "a|b|c|d", ""] {
            assert!(parse_of_type(incomplete).is_err(), "{incomplete}");
        }
    }

    #[test]
    fn identifiers_keep_their_case_and_mixed_parameters_try_both() {
        assert_eq!(parse("MRN", Case::Exact, |_| false).unwrap().codes, ["MRN"]);
        assert_eq!(parse("MRN", Case::Mixed, |_| false).unwrap().codes, ["mrn", "MRN"]);
        assert_eq!(parse("mrn", Case::Mixed, |_| false).unwrap().codes, ["mrn"]);
    }
}
