//! Token parameters by what terminology says of their codes (<https://hl7.org/fhir/R4/search.html#modifiers>).
//!
//! | in the query | finds |
//! |---|---|
//! | `code:in=http://…/ValueSet/x` (with `\|version`, or `ValueSet/id`) | a code of that value set |
//! | `code:not-in=…` | no code of it, or no code at all |
//! | `code:below=system\|code` | that code or one somewhere below it |
//! | `code:above=system\|code` | that code or one somewhere above it |
//!
//! Index rows are those of [`token`]: codes are compared with their system. An element of type `code` has none; it is
//! taken for a code of the systems that its binding names, and where no binding tells, of any.

use std::collections::{BTreeMap, HashMap};

use super::reference::Locator;
use super::{Branch, split, token, unescape};
use crate::fhir::terminology::{Codes, Concepts};

/// Longest canonical URL or system that is looked for, in bytes.
const MAX_NAME: usize = 1_000;

/// What a code without a system is taken for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bare {
    /// A code of one of these systems; of none, if there are none.
    Of(Vec<String>),
    /// A code of any system.
    OfAny,
}

/// One searched set of codes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    pub concepts: Concepts,
    pub bare: Bare,
}

/// Reads the value of `:in` and `:not-in`. What can be taken for a resource of this server is, as R4 has it.
///
/// # Errors
/// A sentence for the client when this names no value set.
pub fn parse_value_set(text: &str, locator: Locator<'_>) -> Result<Concepts, String> {
    let text = unescape(text);
    let name = match locator.local(&text) {
        Some(("ValueSet", id)) => format!("ValueSet/{id}"),
        Some(_) => return Err("What :in and :not-in refer to must be a ValueSet".into()),
        None if text.contains(':') => text.into_owned(),
        None => return Err("A value set is named by its canonical URL or as ValueSet/id".into()),
    };
    within_limit(&name)?;
    Ok(Concepts::ValueSet(name))
}

/// Reads the value of `:above` and `:below`: `system|code`, or a code alone where the binding tells its system.
///
/// # Errors
/// A sentence for the client when it is neither.
pub fn parse_code(text: &str, above: bool, bare: &Bare) -> Result<Concepts, String> {
    let parts = split(text, '|');
    let (system, code) = match (&parts[..], bare) {
        ([system, code], _) if !system.is_empty() && !code.is_empty() => (unescape(system).into_owned(), *code),
        ([code], Bare::Of(systems)) if systems.len() == 1 && !code.is_empty() => (systems[0].clone(), *code),
        _ => return Err("What is searched above or below has the form system|code".into()),
    };
    within_limit(&system)?;
    let code = unescape(code).into_owned();
    Ok(match above {
        true => Concepts::Above { system, code },
        false => Concepts::Below { system, code },
    })
}

fn within_limit(name: &str) -> Result<(), String> {
    match name.len() <= MAX_NAME {
        true => Ok(()),
        false => Err(format!(
            "The name of a value set or code system has at most {MAX_NAME} bytes"
        )),
    }
}

/// The systems that must be looked up before [`branches`].
pub fn systems(matches: &[Match]) -> impl Iterator<Item = &str> {
    matches.iter().flat_map(|m| match &m.bare {
        Bare::Of(systems) => systems.iter().map(String::as_str).collect(),
        Bare::OfAny => Vec::new(),
    })
}

/// The scans of `idx_token` that find any of `matches`, whose codes have been looked up.
pub fn branches<'m>(
    matches: &[Match],
    codes: &HashMap<Concepts, Codes>,
    systems: &HashMap<String, i32>,
) -> Vec<Branch<'m>> {
    let mut listed: BTreeMap<Option<Vec<i32>>, Vec<String>> = BTreeMap::new();
    let mut branches = Vec::new();
    for Match { concepts, bare } in matches {
        let bare: Option<Vec<i32>> = match bare {
            Bare::Of(uris) => Some(uris.iter().filter_map(|uri| systems.get(uri).copied()).collect()),
            Bare::OfAny => None,
        };
        let may_be_bare = |system: i32| bare.as_ref().is_none_or(|systems| systems.contains(&system));
        match codes.get(concepts) {
            // Nothing in this search was left unresolved, or it would not have come this far.
            None => {}
            Some(Codes::Listed(codes)) => {
                for (system, code) in codes {
                    let mut allowed = vec![*system];
                    allowed.extend((*system != 0 && may_be_bare(*system)).then_some(0));
                    listed.entry(Some(allowed)).or_default().push(code.clone());
                }
            }
            Some(&Codes::ValueSet { set }) => {
                branches.push(in_value_set(set));
                branches.extend(bare_in_value_set(set, bare));
            }
            Some(Codes::Below { set, system, code }) => {
                let mut allowed = vec![*system];
                allowed.extend(may_be_bare(*system).then_some(0));
                branches.push(below(*set, allowed, code.clone()));
            }
        }
    }
    branches.extend(token::by_systems(listed));
    branches
}

fn in_value_set<'m>(set: i32) -> Branch<'m> {
    Branch::new(move |sql, t| {
        sql.push("(").column(t, ".code, ").column(t, ".system) IN ");
        sql.push("(SELECT v.code, v.system FROM value_set_code v WHERE v.code_set = ")
            .bind(set)
            .push(")");
    })
}

/// The same for codes without a system; `None` where none can be meant.
fn bare_in_value_set<'m>(set: i32, systems: Option<Vec<i32>>) -> Option<Branch<'m>> {
    if systems.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    Some(Branch::new(move |sql, t| {
        sql.column(t, ".system = 0 AND ").column(t, ".code IN ");
        sql.push("(SELECT v.code FROM value_set_code v WHERE v.code_set = ")
            .bind(set);
        if let Some(systems) = &systems {
            sql.push(" AND v.system = ANY(").bind(systems.clone()).push(")");
        }
        sql.push(")");
    }))
}

fn below<'m>(set: i32, systems: Vec<i32>, code: String) -> Branch<'m> {
    Branch::new(move |sql, t| {
        sql.column(t, ".system = ANY(")
            .bind(systems.clone())
            .push(") AND ")
            .column(t, ".code IN ");
        sql.push("(SELECT c.descendant FROM code_closure c WHERE c.code_set = ")
            .bind(set);
        sql.push(" AND c.ancestor = ").bind(code.clone()).push(")");
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::definitions::Definitions;

    fn value_set(text: &str) -> Result<Concepts, String> {
        let locator = Locator {
            definitions: Definitions::r4(),
            base_url: "http://here/fhir",
        };
        parse_value_set(text, locator)
    }

    #[test]
    fn a_value_set_is_named_by_url_or_by_id() {
        let named = |name: &str| Ok(Concepts::ValueSet(name.to_owned()));
        assert_eq!(value_set("http://x/vs|1.0"), named("http://x/vs|1.0"));
        assert_eq!(value_set(r"http://x/vs\|1.0"), named("http://x/vs|1.0"));
        assert_eq!(value_set("urn:oid:1.2.3"), named("urn:oid:1.2.3"));
        assert_eq!(value_set("ValueSet/7"), named("ValueSet/7"));
        assert_eq!(value_set("http://here/fhir/ValueSet/7"), named("ValueSet/7"));
        for text in ["Patient/7", "seven", "", &format!("http://{}", "x".repeat(1_000))] {
            assert!(value_set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_code_needs_its_system_unless_the_binding_tells_it() {
        let below = |system: &str, code: &str| {
            Ok(Concepts::Below {
                system: system.to_owned(),
                code: code.to_owned(),
            })
        };
        let one = Bare::Of(vec!["s".into()]);
        assert_eq!(parse_code("t|a", false, &one), below("t", "a"));
        assert_eq!(parse_code("a", false, &one), below("s", "a"));
        assert_eq!(parse_code(r"t|a\|b", false, &one), below("t", "a|b"));
        for bare in [Bare::Of(vec![]), Bare::Of(vec!["s".into(), "t".into()]), Bare::OfAny] {
            assert!(parse_code("a", false, &bare).is_err());
        }
        for text in ["|a", "s|", "", "a|b|c"] {
            assert!(parse_code(text, false, &one).is_err(), "{text}");
        }
    }
}
