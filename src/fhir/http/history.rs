//! history: `GET [base]/[type]/[id]/_history`, `[base]/[type]/_history` and `[base]/_history`
//! (<https://hl7.org/fhir/R4/http.html#history>), newest first.
//!
//! | parameter | |
//! |---|---|
//! | `_since` | versions made at this instant or later |
//! | `_at` | versions that were current at some time in this date, month, year or instant |
//! | `_count` | versions on a page; 0 for the total alone |
//! | `_summary`, `_elements` | of each resource |

use std::fmt::Write as _;

use axum::extract::State;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::Answer;
use super::conditions::etag;
use super::extract::{Ask, InstancePath, Server, TypePath};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::resource::{Method, StoredResource, instant};
use crate::fhir::server::FhirServer;
use crate::fhir::store::{HistoryPage, HistoryQuery, HistoryScope};
use crate::fhir::summary::Projection;
use crate::fhir::trail::{Event, Kind};
use crate::knowledge::fhirpath::values::DateTime;

/// Where the next page starts: in links only.
const CURSOR: &str = "_cursor";

/// Characters that need no encoding in the query of a link.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':')
    .remove(b',');

pub async fn history(server: &FhirServer, caller: &Caller, scope: HistoryScope<'_>, ask: Ask) -> Result<Answer> {
    let (kind, path) = match scope {
        HistoryScope::System => (Kind::HistorySystem, "_history".to_owned()),
        HistoryScope::Type(name) => (Kind::HistoryType, format!("{name}/_history")),
        HistoryScope::Instance { resource_type, id } => {
            (Kind::HistoryInstance, format!("{resource_type}/{id}/_history"))
        }
    };
    let answer = async {
        ask.check_parameters(&["_since", "_at", "_count", CURSOR])?;
        let query = read_query(server, &ask)?;
        let mut page = server.history(caller, scope, &query).await?;
        content::give_back(server, page.entries.iter_mut().collect()).await?;
        let answer = bundle(server, &path, &ask, &page).map(Answer::with_body)?;
        Ok(answer.showing(&page.entries))
    };
    let answer = answer.await;
    let event = || {
        let event = Event::new(kind).request(ask.query.behind(path.clone()));
        match scope {
            HistoryScope::Instance { resource_type, id } => event.resource(resource_type, id, None),
            HistoryScope::System | HistoryScope::Type(_) => event,
        }
    };
    server.trail.record(caller, event, answer).await
}

fn read_query(server: &FhirServer, ask: &Ask) -> Result<HistoryQuery> {
    let settings = &server.settings;
    let count = match ask.query.get("_count") {
        None => settings.default_count,
        Some(text) => count(text)?.min(settings.max_count),
    };
    let count = if ask.projection == Projection::Count { 0 } else { count };
    let since = ask
        .query
        .get("_since")
        .map(|text| period(text, "_since"))
        .transpose()?
        .map(|(low, _)| low);
    let at = ask.query.get("_at").map(|text| period(text, "_at")).transpose()?;
    let cursor = ask
        .query
        .get(CURSOR)
        .map(str::parse)
        .transpose()
        .map_err(|error: FhirError| error.at("http._cursor"))?;
    Ok(HistoryQuery {
        since,
        at,
        count,
        cursor,
    })
}

/// A number of entries; one that is too large for the machine is simply large.
fn count(text: &str) -> Result<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = format!("_count is a number, 0 or more, not '{}'.", excerpt(text));
        return Err(FhirError::bad_value(text).at("http._count"));
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

/// The time that a date, partial or not, covers: from its first instant to the first one after it. Without an offset it
/// is in UTC.
fn period(text: &str, parameter: &str) -> Result<(Timestamp, Timestamp)> {
    // An unencoded plus sign of an offset arrives as a space.
    let date = DateTime::parse(&text.replace(' ', "+"));
    date.map(|date| date.bounds(0)).ok_or_else(|| {
        let text = format!(
            "{parameter} is a date or an instant such as 2026-01-31T10:00:00Z, not '{}'.",
            excerpt(text)
        );
        FhirError::bad_value(text).at(format!("http.{parameter}"))
    })
}

/// The Bundle of one page, as text around the stored resources.
fn bundle(server: &FhirServer, path: &str, ask: &Ask, page: &HistoryPage) -> Result<String> {
    let base = &server.settings.base_url;
    let size = page.entries.iter().map(|entry| entry.json.len() + 512).sum::<usize>() + 1024;
    let mut text = String::with_capacity(size);
    text.push_str(r#"{"resourceType":"Bundle","type":"history","meta":{"lastUpdated":""#);
    text.push_str(&instant(server.clock.now()));
    text.push_str("\"}");
    // Writing to a String cannot fail.
    if let Some(total) = page.total {
        let _ = write!(text, r#","total":{total}"#);
    }
    // Ids, type names and encoded queries need no JSON escapes.
    let _ = write!(
        text,
        r#","link":[{{"relation":"self","url":"{base}/{path}{}"}}"#,
        link_query(ask, None)
    );
    if let Some(next) = page.next {
        let _ = write!(
            text,
            r#",{{"relation":"next","url":"{base}/{path}{}"}}"#,
            link_query(ask, Some(next.to_string()))
        );
    }
    text.push(']');
    for (index, entry) in page.entries.iter().enumerate() {
        text.push_str(if index == 0 { r#","entry":["# } else { "," });
        push_entry(&mut text, server, entry, &ask.projection)?;
    }
    if !page.entries.is_empty() {
        text.push(']');
    }
    text.push('}');
    Ok(text)
}

/// The query of a link to a page: what was asked, at another place.
fn link_query(ask: &Ask, cursor: Option<String>) -> String {
    let is_next = cursor.is_some();
    let kept = ask.query.0.iter().filter(|(name, _)| !is_next || name != CURSOR);
    let kept = kept.map(|(name, value)| (name.as_str(), value.clone()));
    let mut query = String::new();
    for (name, value) in kept.chain(cursor.map(|cursor| (CURSOR, cursor))) {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.extend(utf8_percent_encode(name, IN_QUERY));
        query.push('=');
        query.extend(utf8_percent_encode(&value, IN_QUERY));
    }
    query
}

/// One version with the interaction that made it.
fn push_entry(text: &mut String, server: &FhirServer, entry: &StoredResource, projection: &Projection) -> Result<()> {
    let base = &server.settings.base_url;
    let StoredResource {
        resource_type,
        id,
        version,
        ..
    } = entry;
    let _ = write!(text, r#"{{"fullUrl":"{base}/{resource_type}/{id}""#);
    if !entry.deleted {
        text.push_str(r#","resource":"#);
        match projection.is_whole() {
            true => text.push_str(&entry.json),
            false => text.push_str(&projection.apply_to_text(&entry.json, server.definitions)?),
        }
    }
    let status = match (entry.method, version) {
        (Method::Delete, _) => "204 No Content",
        (_, 1) => "201 Created",
        _ => "200 OK",
    };
    let method = entry.method.as_str();
    let _ = match entry.method {
        Method::Post => write!(text, r#","request":{{"method":"{method}","url":"{resource_type}"}}"#),
        _ => write!(
            text,
            r#","request":{{"method":"{method}","url":"{resource_type}/{id}"}}"#
        ),
    };
    let _ = write!(
        text,
        r#","response":{{"status":"{status}","etag":{},"lastModified":"{}"}}}}"#,
        serde_json::Value::from(etag(*version)),
        instant(entry.last_updated)
    );
    Ok(())
}

/// `GET [base]/[type]/[id]/_history`
pub async fn handle_instance(State(server): Server, caller: Caller, path: InstancePath, ask: Ask) -> Result<Answer> {
    let scope = HistoryScope::Instance {
        resource_type: path.resource_type,
        id: &path.id,
    };
    history(&server, &caller, scope, ask).await
}

/// `GET [base]/[type]/_history`
pub async fn handle_type(State(server): Server, caller: Caller, path: TypePath, ask: Ask) -> Result<Answer> {
    history(&server, &caller, HistoryScope::Type(path.0), ask).await
}

/// `GET [base]/_history`
pub async fn handle_system(State(server): Server, caller: Caller, ask: Ask) -> Result<Answer> {
    history(&server, &caller, HistoryScope::System, ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_date_covers_all_its_instants() {
        let cover = |text: &str| {
            let (low, high) = period(text, "_at").unwrap();
            (low.to_string(), high.to_string())
        };
        assert_eq!(
            cover("2026-02"),
            ("2026-02-01T00:00:00Z".into(), "2026-03-01T00:00:00Z".into())
        );
        assert_eq!(cover("2026-01-31T10:00:00 02:00").0, "2026-01-31T08:00:00Z");
        assert_eq!(period("soon", "_at").unwrap_err().status, 400);
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(count("0").unwrap(), 0);
        assert_eq!(count("99999999999999").unwrap(), u32::MAX);
        for text in ["", "-1", "ten", "1.5", "1e3"] {
            assert_eq!(count(text).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn links_repeat_the_question() {
        let ask = Ask {
            query: super::super::query::Query::parse("_since=2026-01-31T10%3A00%3A00%2B02%3A00&_cursor=old").unwrap(),
            ..Ask::default()
        };
        assert_eq!(
            link_query(&ask, Some("new".into())),
            "?_since=2026-01-31T10:00:00%2B02:00&_cursor=new"
        );
        assert_eq!(link_query(&Ask::default(), None), "");
    }
}
