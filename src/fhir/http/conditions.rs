//! Headers that make an interaction conditional on a version or a time
//! (<https://hl7.org/fhir/R4/http.html#concurrency>, <https://hl7.org/fhir/R4/http.html#cread>).

use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::resource::StoredResource;

/// The conditions of one read, as the client wrote them.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
}

impl Conditions {
    pub fn from_headers(headers: &HeaderMap) -> Result<Conditions> {
        Ok(Conditions {
            if_none_match: text(headers, &header::IF_NONE_MATCH)?,
            if_modified_since: text(headers, &header::IF_MODIFIED_SINCE)?,
        })
    }

    /// Whether the client already has this version, so that 304 is the answer. `If-None-Match` is compared weakly and
    /// rules out `If-Modified-Since`, which counts whole seconds and is ignored when it is not a date (RFC 9110, 13.1).
    pub fn are_met_by(&self, stored: &StoredResource) -> bool {
        if let Some(tags) = &self.if_none_match {
            return tags.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || opaque(tag).is_some_and(|tag| tag.parse() == Ok(stored.version))
            });
        }
        let since = self
            .if_modified_since
            .as_deref()
            .and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        since.is_some_and(|since: Timestamp| stored.last_updated.as_second() <= since.as_second())
    }
}

/// The version that `If-Match` names, when the header is there.
pub fn if_match(headers: &HeaderMap) -> Result<Option<i32>> {
    text(headers, &header::IF_MATCH)?
        .map(|tag| version_of_etag(&tag))
        .transpose()
}

/// Whether the header `If-None-Match: *` asks that a PUT creates and never replaces.
pub fn if_none_match_any(headers: &HeaderMap) -> Result<bool> {
    match text(headers, &header::IF_NONE_MATCH)?.as_deref() {
        None => Ok(false),
        Some("*") => Ok(true),
        Some(_) => Err(FhirError::bad_request("With a write, If-None-Match can only be *.").at("http.If-None-Match")),
    }
}

/// The criteria in `If-None-Exist`, without a leading question mark.
pub fn if_none_exist(headers: &HeaderMap) -> Result<Option<String>> {
    let criteria = text(headers, &HeaderName::from_static("if-none-exist"))?;
    Ok(criteria.map(|criteria| criteria.trim_start_matches('?').to_owned()))
}

/// The version in an ETag of ours: `W/"3"`, and `"3"` or `3` as some clients write it.
///
/// # Errors
/// 412 for anything else: no version of ours has such a tag.
pub fn version_of_etag(tag: &str) -> Result<i32> {
    let tag = tag.trim();
    opaque(tag).unwrap_or(tag).parse().map_err(|_| {
        let text = format!(
            "'{}' is no version of this server: send the ETag of a response, as W/\"3\".",
            excerpt(tag)
        );
        FhirError::precondition_failed(text).at("http.If-Match")
    })
}

/// The ETag of a version.
pub fn etag(version: i32) -> String {
    format!("W/\"{version}\"")
}

/// What stands between the quotes of an entity tag.
fn opaque(tag: &str) -> Option<&str> {
    tag.strip_prefix("W/")
        .unwrap_or(tag)
        .strip_prefix('"')?
        .strip_suffix('"')
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(_) => Err(FhirError::bad_request("The header has characters beyond ASCII.").at(format!("http.{name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::resource::Method;

    fn stored() -> StoredResource {
        StoredResource {
            rid: 1,
            resource_type: "Patient",
            id: "p".into(),
            version: 3,
            last_updated: "2026-01-31T10:00:00.750Z".parse().unwrap(),
            deleted: false,
            method: Method::Put,
            json: String::new(),
            content: None,
        }
    }

    #[test]
    fn a_read_is_conditional_on_tag_or_time() {
        let met = |tag: Option<&str>, since: Option<&str>| {
            Conditions {
                if_none_match: tag.map(str::to_owned),
                if_modified_since: since.map(str::to_owned),
            }
            .are_met_by(&stored())
        };
        assert!(met(Some("W/\"3\""), None));
        assert!(met(Some("W/\"1\", \"3\""), None));
        assert!(met(Some("*"), None));
        assert!(!met(Some("W/\"2\""), Some("Sat, 31 Jan 2026 10:00:00 GMT")));
        assert!(met(None, Some("Sat, 31 Jan 2026 10:00:00 GMT")));
        assert!(!met(None, Some("Sat, 31 Jan 2026 09:59:59 GMT")));
        assert!(!met(None, Some("yesterday")));
        assert!(!met(None, None));
    }

    #[test]
    fn versions_are_read_from_tags() {
        for tag in ["W/\"3\"", "\"3\"", "3", " W/\"3\" "] {
            assert_eq!(version_of_etag(tag).unwrap(), 3);
        }
        for tag in ["", "W/\"x\"", "*", "W/\"3", "W/\"99999999999\""] {
            assert_eq!(version_of_etag(tag).unwrap_err().status, 412, "{tag}");
        }
    }
}
