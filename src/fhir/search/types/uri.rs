//! Uri parameters (<https://hl7.org/fhir/R4/search.html#uri>): matched whole, with case and without any rewriting.
//!
//! A canonical with a version (`http://…|2.0`) is found by its bare URL as well as by URL and version.

use std::borrow::Cow;

use serde_json::Value;

use super::{Branch, MAX_BRANCHES, key, unescape};

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

/// The searched URI as it stands in the index. A bar needs no escape here: it belongs to a canonical.
///
/// # Errors
/// A sentence for the client when there is none.
pub fn parse(text: &str) -> Result<String, String> {
    let uri = unescape(text);
    if uri.is_empty() {
        return Err("A URI to search for must not be empty".into());
    }
    Ok(key(uri).into_owned())
}

/// The scans of `idx_uri` that find any of `uris`.
pub fn branches<'m>(uris: &[String]) -> Vec<Branch<'m>> {
    if uris.len() > MAX_BRANCHES {
        let uris = uris.to_vec();
        return vec![Branch::new(move |sql, t| {
            sql.column(t, ".uri = ANY(").bind(uris.clone()).push(")");
        })];
    }
    let one = |uri: String| {
        Branch::ordered(move |sql, t| {
            sql.column(t, ".uri = ").bind(uri.clone());
        })
    };
    uris.iter().cloned().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
