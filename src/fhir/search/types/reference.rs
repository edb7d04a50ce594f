//! Reference parameters (<https://hl7.org/fhir/R4/search.html#reference>).
//!
//! A reference to a resource of this server, relative or absolute, with or without version, is indexed as that resource's
//! `rid`; any other as its URL. A canonical with a version is found with and without it. The Identifier of a reference
//! makes a token row under the same parameter, for `:identifier`.
//!
//! | in the query | finds references to |
//! |---|---|
//! | `location:below=7` | that location, and those that are part of it, or of a part of it, … |
//! | `location:above=7` | that location, and those that it is part of |
//! | `definition:below=http://x.org/q` | that canonical in any version |
//! | `definition:below=http://x.org/q\|1` | version 1, and 1.0, 1.2.3, … |
//!
//! A contained resource has a rid of its own, which `#id` leads to: a chain goes into contained resources.
//!
//! A Reference with nothing to compare (a display alone, `#id` of what is not there) makes a row with the URL `''`, so
//! that `:missing` can see it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, key, token, unescape, uri};
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
    /// A canonical with a version, or a span of them.
    Version(uri::Match),
    /// A resource of this server, and all above or below it.
    Tree {
        resource_type: String,
        id: String,
        /// The parameter by which a resource of this type refers to the one above it.
        parent: i16,
        above: bool,
    },
}

/// Reads `id`, `Type/id`, a URL or a canonical. `types` are the types that the parameter, or the modifier `:[type]`,
/// allows, none meaning any; a reference to another one matches nothing.
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
        if types.is_empty() {
            return Err("This parameter names no types, so that the value must: Type/id or an absolute URL".into());
        }
        return Ok(Match::Id(types.to_vec(), text.into_owned()));
    }
    if text.contains(':') || text.contains('/') {
        return Ok(Match::Url(key(text).into_owned()));
    }
    Err("A reference to search for has the form id, Type/id or an absolute URL".into())
}

/// Reads the value of `:above` and `:below`. `parent` tells by which parameter a type refers to its own.
///
/// # Errors
/// A sentence for the client when this is no reference, or one to something without a hierarchy.
pub fn parse_tree(
    text: &str,
    types: &[String],
    locator: Locator<'_>,
    above: bool,
    parent: impl Fn(&str) -> Option<i16>,
) -> Result<Vec<Match>, String> {
    let tree = |resource_type: &str, id: &str| {
        Some(Match::Tree {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            parent: parent(resource_type)?,
            above,
        })
    };
    let trees: Vec<Match> = match parse(text, types, locator)? {
        Match::Local(resource_type, id) => tree(&resource_type, &id).into_iter().collect(),
        Match::Id(types, id) => types
            .iter()
            .filter_map(|resource_type| tree(resource_type, &id))
            .collect(),
        Match::Url(_) if above => return Err("A canonical URL can be searched below, but not above".into()),
        Match::Url(url) if url.contains('|') => uri::versions_below(&url).into_iter().map(Match::Version).collect(),
        whole => vec![whole],
    };
    match trees.is_empty() {
        false => Ok(trees),
        true => Err("Resources of the type referred to do not stand above or below each other".into()),
    }
}

/// The resources of this server that must be looked up before [`branches`].
pub fn targets(matches: &[Match]) -> impl Iterator<Item = (&str, &str)> {
    matches.iter().flat_map(|m| match m {
        Match::Local(resource_type, id) => vec![(resource_type.as_str(), id.as_str())],
        Match::Id(types, id) => types
            .iter()
            .map(|resource_type| (resource_type.as_str(), id.as_str()))
            .collect(),
        Match::Tree { resource_type, id, .. } => vec![(resource_type.as_str(), id.as_str())],
        Match::Url(_) | Match::Version(_) => vec![],
    })
}

/// The scans of `idx_reference` that find any of `matches`. What is not in `rids` was never referred to.
pub fn branches<'m>(matches: &[Match], rids: &HashMap<(String, String), i64>) -> Vec<Branch<'m>> {
    let rid = |(resource_type, id): (&str, &str)| rids.get(&(resource_type.to_owned(), id.to_owned())).copied();
    let (mut plain, mut versions) = (Vec::new(), Vec::new());
    let mut trees: BTreeMap<(i16, bool), Vec<i64>> = BTreeMap::new();
    for m in matches {
        match m {
            Match::Tree {
                resource_type,
                id,
                parent,
                above,
            } => trees
                .entry((*parent, *above))
                .or_default()
                .extend(rid((resource_type, id))),
            Match::Version(canonical) => versions.push(canonical.clone()),
            Match::Local(..) | Match::Id(..) | Match::Url(_) => plain.push(m),
        }
    }
    let mut branches = plain_branches(&plain, rid);
    branches.extend(
        trees
            .into_iter()
            .map(|((parent, above), roots)| tree(roots, parent, above)),
    );
    if !versions.is_empty() {
        branches.extend(uri::branches_over(&versions, ".url"));
    }
    branches
}

fn plain_branches<'m>(matches: &[&Match], rid: impl Fn((&str, &str)) -> Option<i64>) -> Vec<Branch<'m>> {
    let targets: Vec<i64> = matches
        .iter()
        .flat_map(|m| targets(std::slice::from_ref(m)))
        .filter_map(rid)
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

/// References to any of `roots` and all above or below them. The walk is over when it finds nothing new, so a hierarchy
/// that bites its own tail ends it. Postgres walks once and then compares with what was found.
fn tree<'m>(roots: Vec<i64>, parent: i16, above: bool) -> Branch<'m> {
    Branch::new(move |sql, t| {
        sql.column(t, ".target = ANY(ARRAY(WITH RECURSIVE walk(rid) AS (SELECT unnest(")
            .bind(roots.clone());
        sql.push(match above {
            true => ") UNION SELECT x.target FROM walk JOIN idx_reference x ON x.rid = walk.rid",
            false => ") UNION SELECT x.rid FROM walk JOIN idx_reference x ON x.target = walk.rid",
        });
        sql.push(" AND x.param = ").bind(parent);
        sql.push(" WHERE x.target IS NOT NULL) SELECT walk.rid FROM walk))");
    })
}
