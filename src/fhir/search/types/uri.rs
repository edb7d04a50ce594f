//! Uri parameters (<https://hl7.org/fhir/R4/search.html#uri>): matched whole, with case and without any rewriting.
//!
//! A canonical with a version (`http://…|2.0`) is found by its bare URL as well as by URL and version.
//!
//! | in the query | finds |
//! |---|---|
//! | `url:below=http://x.org/fhir` | that URL, and those that go on with `/`, `?` or `#` |
//! | `url:below=http://x.org/fhir/` | those that begin with it |
//! | `url:below=http://x.org/q\|1` | version 1, and 1.0, 1.2.3, … |
//! | `url:above=http://x.org/fhir/q` | that URL, `http://x.org/fhir/`, `http://x.org/fhir`, `http://x.org/`, `http://x.org` |
//! | `url:above=http://x.org/q\|1.2` | versions 1.2 and 1 |
//!
//! Only URLs form a hierarchy. R4 leaves URNs out of it, so `:above` and `:below` refuse them.

use std::borrow::Cow;

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, key, unescape};

/// Longest URL, in bytes, that something is searched above or below of.
const MAX_URL: usize = 900;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    pub uri: Cow<'v, str>,
}

/// Rows of `idx_uri`, a Vec per column.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub uri: Vec<String>,
}

pub fn index<'v>(param: i16, type_name: &str, value: &'v Value, rows: &mut Vec<Row<'v>>) {
    let Some(uri) = value.as_str() else { return };
    if type_name == "canonical"
        && let Some((bare, _version)) = uri.rsplit_once('|')
    {
        rows.push(Row {
            param,
            uri: key(Cow::Borrowed(bare)),
        });
    }
    rows.push(Row {
        param,
        uri: key(Cow::Borrowed(uri)),
    });
}

/// One searched URI, as it stands in the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    Is(String),
    /// From the first one on and before the second.
    Within(String, String),
}

/// Reads a URI that is matched whole. A bar needs no escape here: it belongs to a canonical.
///
/// # Errors
/// A sentence for the client when there is none.
pub fn parse(text: &str) -> Result<Match, String> {
    let uri = unescape(text);
    if uri.is_empty() {
        return Err("A URI to search for must not be empty".into());
    }
    Ok(Match::Is(key(uri).into_owned()))
}

/// Reads the value of `:below`: all that it finds.
///
/// # Errors
/// A sentence for the client when this is no URL.
pub fn parse_below(text: &str) -> Result<Vec<Match>, String> {
    let url = unescape(text);
    check_url(&url)?;
    if let Some(beginning) = url.strip_suffix('/') {
        return Ok(vec![Match::Within(url.clone().into_owned(), format!("{beginning}0"))]);
    }
    if url.contains('|') {
        return Ok(versions_below(&url));
    }
    // The character that follows each of the three in the order of the index ends its span.
    let spans = [("/", "0"), ("?", "@"), ("#", "$")];
    let spans = spans.map(|(from, to)| Match::Within(format!("{url}{from}"), format!("{url}{to}")));
    Ok(std::iter::once(Match::Is(url.into_owned())).chain(spans).collect())
}

/// A canonical with a version, and with all versions that go on from it: `1` and `1.0`, but not `10`.
pub(super) fn versions_below(canonical: &str) -> Vec<Match> {
    vec![
        Match::Is(canonical.to_owned()),
        Match::Within(format!("{canonical}."), format!("{canonical}/")),
    ]
}

/// Reads the value of `:above`: all that it finds.
///
/// # Errors
/// A sentence for the client when this is no URL.
pub fn parse_above(text: &str) -> Result<Vec<Match>, String> {
    let url = unescape(text);
    check_url(&url)?;
    let mut above = vec![Match::Is(url.clone().into_owned())];
    if let Some((bare, version)) = url.rsplit_once('|') {
        let shorter = version.match_indices('.').map(|(at, _)| &version[..at]);
        above.extend(shorter.map(|version| Match::Is(format!("{bare}|{version}"))));
        return Ok(above);
    }
    let authority = url.find("://").map_or(0, |at| at + 3);
    let mut rest = &url[..];
    while let Some(at) = rest[authority..].rfind(['/', '?', '#']) {
        let (shorter, cut) = rest.split_at(authority + at);
        if cut.starts_with('/') && cut.len() > 1 {
            above.push(Match::Is(format!("{shorter}/")));
        }
        above.push(Match::Is(shorter.to_owned()));
        rest = shorter;
    }
    Ok(above)
}

fn check_url(url: &str) -> Result<(), String> {
    // Longer ones do not stand in the index as they are.
    if url.len() > MAX_URL {
        return Err(format!("A URL to search above or below has at most {MAX_URL} bytes"));
    }
    match url.find("://") {
        Some(at) if at > 0 => Ok(()),
        _ => Err("Only URLs stand above and below each other: a URN or a relative one does not".into()),
    }
}

/// The scans of `idx_uri` that find any of `uris`.
pub fn branches<'m>(matches: &[Match]) -> Vec<Branch<'m>> {
    branches_over(matches, ".uri")
}

/// The same over another column that holds URIs.
pub(super) fn branches_over<'m>(matches: &[Match], column: &'static str) -> Vec<Branch<'m>> {
    if matches.len() <= MAX_BRANCHES {
        return matches.iter().cloned().map(|m| one(m, column)).collect();
    }
    let (mut whole, mut spans) = (Vec::new(), (Vec::new(), Vec::new()));
    for m in matches.iter().cloned() {
        match m {
            Match::Is(uri) => whole.push(uri),
            Match::Within(from, to) => {
                spans.0.push(from);
                spans.1.push(to);
            }
        }
    }
    let mut branches = vec![Branch::new(move |sql, t| {
        sql.column(t, column).push(" = ANY(").bind(whole.clone()).push(")");
    })];
    if !spans.0.is_empty() {
        branches.push(Branch {
            joins: Some(Box::new(move |sql, _| {
                sql.push(", unnest(")
                    .bind(spans.0.clone())
                    .push(", ")
                    .bind(spans.1.clone());
                sql.push(") AS v(low, high)");
            })),
            condition: Box::new(move |sql, t| {
                sql.column(t, column).push(" >= v.low AND ");
                sql.column(t, column).push(" < v.high");
            }),
            is_ordered: false,
        });
    }
    branches
}

fn one<'m>(m: Match, column: &'static str) -> Branch<'m> {
    match m {
        Match::Is(uri) => Branch::ordered(move |sql, t| {
            sql.column(t, column).push(" = ").bind(uri.clone());
        }),
        Match::Within(from, to) => Branch::new(move |sql, t| {
            sql.column(t, column).push(" >= ").bind(from.clone()).push(" AND ");
            sql.column(t, column).push(" < ").bind(to.clone());
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn is(uris: &[&str]) -> Vec<Match> {
        uris.iter().map(|uri| Match::Is((*uri).to_owned())).collect()
    }

    #[test]
    fn below_a_url_is_what_goes_on_from_it() {
        let found = |searched: &str, uri: &str| {
            parse_below(searched).unwrap().iter().any(|m| match m {
                Match::Is(whole) => whole == uri,
                Match::Within(from, to) => (from.as_str()..to.as_str()).contains(&uri),
            })
        };
        for below in [
            "http://x/f",
            "http://x/f/",
            "http://x/f/a/b",
            "http://x/f?q",
            "http://x/f#a",
        ] {
            assert!(found("http://x/f", below), "{below}");
        }
        for other in [
            "http://x/",
            "http://x/fg",
            "http://x/f0",
            "http://x/f|1",
            "http://x/F/a",
        ] {
            assert!(!found("http://x/f", other), "{other}");
        }
        assert!(found("http://x/f/", "http://x/f/a") && !found("http://x/f/", "http://x/f"));
        assert!(found("http://x/f|1", "http://x/f|1") && found("http://x/f|1", "http://x/f|1.0"));
        assert!(!found("http://x/f|1", "http://x/f|10") && !found("http://x/f|1", "http://x/f"));
    }

    #[test]
    fn above_a_url_is_each_beginning_of_it() {
        assert_eq!(
            parse_above("http://x/f/a?b").unwrap(),
            is(&[
                "http://x/f/a?b",
                "http://x/f/a",
                "http://x/f/",
                "http://x/f",
                "http://x/",
                "http://x"
            ])
        );
        assert_eq!(
            parse_above("http://x/f/").unwrap(),
            is(&["http://x/f/", "http://x/f", "http://x/", "http://x"])
        );
        assert_eq!(
            parse_above("http://x/f|1.2.3").unwrap(),
            is(&["http://x/f|1.2.3", "http://x/f|1", "http://x/f|1.2"])
        );
    }

    #[test]
    fn only_urls_have_a_hierarchy() {
        for text in ["urn:oid:1.2.3", "urn:uuid:a", "x", "", "://", "/a/b"] {
            assert!(parse_below(text).is_err() && parse_above(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_canonical_is_found_with_and_without_its_version() {
        let value = json!("http://x.org/q|2.0");
        let mut rows = Vec::new();
        index(1, "canonical", &value, &mut rows);
        assert_eq!(
            rows.iter().map(|row| row.uri.as_ref()).collect::<Vec<_>>(),
            ["http://x.org/q", "http://x.org/q|2.0"]
        );
    }
}
