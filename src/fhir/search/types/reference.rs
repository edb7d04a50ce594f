//! Reference parameters (<https://hl7.org/fhir/R4/search.html#reference>).
//!
//! A reference to a resource of this server, relative or absolute, with or without version, is indexed as that resource's
//! `rid`; any other as its URL. A canonical with a version is found with and without it. The Identifier of a reference
//! makes a token row under the same parameter, for `:identifier`.
//!
//! A contained resource has a rid of its own, which `#id` leads to: a chain goes into contained resources.
//!
//! A Reference with nothing to compare (a display alone, `#id` of what is not there) makes a row with the URL `''`, so
//! that `:missing` can see it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, key, token, unescape};
use crate::fhir::store::Ids;
use crate::knowledge::definitions::Definitions;

/// What a reference points at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target<'v> {
    /// A resource of this server: type and id.
    Local(&'v str, &'v str),
    /// A resource inside the same one, by its id there; `''` is the one that contains the others.
    Contained(&'v str),
    /// Anything else; `''` for nothing.
    Url(Cow<'v, str>),
}

impl Target<'_> {
    /// The columns `target` and `url`. `contained` knows the rids of what [`Target::Contained`] names.
    pub fn columns(&self, contained: impl Fn(&str) -> Option<i64>, ids: &mut Ids<'_>) -> (Option<i64>, Option<String>) {
        match self {
            Target::Local(resource_type, id) => (Some(ids.target(resource_type, id)), None),
            Target::Contained(id) => match contained(id) {
                Some(rid) => (Some(rid), None),
                None => (None, Some(String::new())),
            },
            Target::Url(url) => (None, Some(url.clone().into_owned())),
        }
    }
}

/// One index row, its target not yet looked up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub param: i16,
    pub target: Target<'v>,
}

/// Rows of `idx_reference`, a Vec per column. Exactly one of `target` and `url` is given.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub param: Vec<i16>,
    pub target: Vec<Option<i64>>,
    pub url: Vec<Option<String>>,
}

/// Tells references to this server from others.
#[derive(Clone, Copy)]
pub struct Locator<'s> {
    pub definitions: &'static Definitions,
    /// The FHIR base of this server, without a slash at its end.
    pub base_url: &'s str,
}

impl Locator<'_> {
    /// Type and id of `Type/id`, `Type/id/_history/version` or either below this server's base.
    pub fn local<'v>(&self, reference: &'v str) -> Option<(&'v str, &'v str)> {
        let below_base = reference
            .strip_prefix(self.base_url)
            .and_then(|rest| rest.strip_prefix('/'));
        let mut parts = below_base.unwrap_or(reference).split('/');
        let (resource_type, id) = (parts.next()?, parts.next()?);
        let rest = (parts.next(), parts.next(), parts.next());
        let whole = matches!(rest, (None, ..) | (Some("_history"), Some(_), None));
        (whole && is_id(id) && self.definitions.resource_type(resource_type).is_some()).then_some((resource_type, id))
    }

    fn target<'v>(&self, reference: &'v str) -> Target<'v> {
        match self.local(reference) {
            Some((resource_type, id)) => Target::Local(resource_type, id),
            None => match reference.strip_prefix('#') {
                Some(id) => Target::Contained(id),
                None => Target::Url(key(Cow::Borrowed(reference))),
            },
        }
    }
}

/// <https://hl7.org/fhir/R4/datatypes.html#id>
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

pub fn index<'v>(
    param: i16,
    locator: Locator<'_>,
    value: &'v Value,
    rows: &mut Vec<Row<'v>>,
    tokens: &mut Vec<token::Row<'v>>,
) {
    if let Value::String(uri) = value {
        if let Some((bare, _version)) = uri.rsplit_once('|') {
            rows.push(Row {
                param,
                target: locator.target(bare),
            });
        }
        rows.push(Row {
            param,
            target: locator.target(uri),
        });
        return;
    }
    let reference = value.get("reference").and_then(Value::as_str).unwrap_or_default();
    rows.push(Row {
        param,
        target: locator.target(reference),
    });
    if let Some(identifier) = value.get("identifier") {
        tokens.push(token::identifier(param, identifier));
    }
}

/// One searched reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// A resource of this server.
    Local(String, String),
    /// An id of any of these types.
    Id(Vec<String>, String),
    Url(String),
}

/// Reads `id`, `Type/id`, a URL or a canonical. `types` are the types that the parameter, or the modifier `:[type]`,
/// allows; a reference to another one matches nothing.
///
/// # Errors
/// A sentence for the client when this is no reference.
pub fn parse(text: &str, types: &[String], locator: Locator<'_>) -> Result<Match, String> {
    let text = unescape(text);
    if let Some((resource_type, id)) = locator.local(&text) {
        if !types.is_empty() && !types.iter().any(|allowed| allowed == resource_type) {
            return Ok(Match::Id(Vec::new(), id.to_owned()));
        }
        return Ok(Match::Local(resource_type.to_owned(), id.to_owned()));
    }
    if is_id(&text) {
        return Ok(Match::Id(types.to_vec(), text.into_owned()));
    }
    if text.contains(':') || text.contains('/') {
        return Ok(Match::Url(key(text).into_owned()));
    }
    Err("A reference to search for has the form id, Type/id or an absolute URL".into())
}

/// The resources of this server that must be looked up before [`branches`].
pub fn targets(matches: &[Match]) -> impl Iterator<Item = (&str, &str)> {
    matches.iter().flat_map(|m| match m {
        Match::Local(resource_type, id) => vec![(resource_type.as_str(), id.as_str())],
        Match::Id(types, id) => types
            .iter()
            .map(|resource_type| (resource_type.as_str(), id.as_str()))
            .collect(),
        Match::Url(_) => vec![],
    })
}

/// The scans of `idx_reference` that find any of `matches`. What is not in `rids` was never referred to.
pub fn branches<'m>(matches: &[Match], rids: &HashMap<(String, String), i64>) -> Vec<Branch<'m>> {
    let targets: Vec<i64> = targets(matches)
        .filter_map(|(resource_type, id)| rids.get(&(resource_type.to_owned(), id.to_owned())).copied())
        .collect();
    let urls: Vec<String> = matches
        .iter()
        .filter_map(|m| match m {
            Match::Url(url) => Some(url.clone()),
            _ => None,
        })
        .collect();
    if targets.len() + urls.len() > MAX_BRANCHES {
        return vec![
            Branch::new(move |sql, t| {
                sql.column(t, ".target = ANY(").bind(targets.clone()).push(")");
            }),
            Branch::new(move |sql, t| {
                sql.column(t, ".url = ANY(").bind(urls.clone()).push(")");
            }),
        ];
    }
    let by_target = targets.into_iter().map(|rid| {
        Branch::ordered(move |sql, t| {
            sql.column(t, ".target = ").bind(rid);
        })
    });
    let by_url = urls.into_iter().map(|url| {
        Branch::ordered(move |sql, t| {
            sql.column(t, ".url = ").bind(url.clone());
        })
    });
    by_target.chain(by_url).collect()
}
