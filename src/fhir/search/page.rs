//! A page of results as a Bundle (<https://hl7.org/fhir/R4/bundle.html#searchset>).
//!
//! Written as text around the stored JSON of each resource, which is not parsed again unless a part of it was asked for.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::criterion::Types;
use super::parse::CURSOR;
use super::{Search, SearchPage};
use crate::fhir::error::{FhirError, operation_outcome};
use crate::fhir::resource::{StoredResource, instant};
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;

/// What a query value needs encoded; what searches are full of stays readable.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b'*');

/// The Bundle of `page`, of which each resource is answered in the part that `projection` names.
///
/// # Errors
/// 500 when what is stored cannot be read.
pub fn page_bundle(
    server: &FhirServer,
    search: &Search,
    page: &SearchPage,
    projection: &Projection,
) -> Result<String, FhirError> {
    let resources = || page.matches.iter().chain(&page.included);
    let size: usize = resources().map(|resource| resource.json.len() + 250).sum();
    let mut bundle = String::with_capacity(size + 1_000);
    bundle.push_str(r#"{"resourceType":"Bundle","meta":{"lastUpdated":""#);
    bundle.push_str(&instant(server.clock.now()));
    bundle.push_str(r#""},"type":"searchset""#);
    if let Some(total) = page.total {
        // Writing to a String cannot fail.
        let _ = write!(bundle, r#","total":{total}"#);
    }
    links(&mut bundle, server, search, page);

    let base = &server.settings.base_url;
    let mut first = true;
    let mut separate = |bundle: &mut String| {
        bundle.push_str(if first { r#","entry":[{"# } else { ",{" });
        first = false;
    };
    for (resources, mode) in [(&page.matches, "match"), (&page.included, "include")] {
        for resource in resources {
            separate(&mut bundle);
            entry(&mut bundle, base, resource, mode, projection, server)?;
        }
    }
    let issues: Vec<_> = search.warnings.iter().chain(&page.warnings).cloned().collect();
    if !issues.is_empty() {
        separate(&mut bundle);
        let _ = write!(
            bundle,
            r#""resource":{},"search":{{"mode":"outcome"}}}}"#,
            operation_outcome(&issues)
        );
    }
    bundle.push_str(if first { "}" } else { "]}" });
    Ok(bundle)
}

/// The rest of an entry after its opening brace.
fn entry(
    bundle: &mut String,
    base: &str,
    resource: &StoredResource,
    mode: &str,
    projection: &Projection,
    server: &FhirServer,
) -> Result<(), FhirError> {
    let _ = write!(
        bundle,
        r#""fullUrl":"{base}/{}/{}","resource":"#,
        resource.resource_type, resource.id
    );
    if projection.is_whole() {
        bundle.push_str(&resource.json);
    } else {
        bundle.push_str(&projection.apply_to_text(&resource.json, server.definitions)?);
    }
    let _ = write!(bundle, r#","search":{{"mode":"{mode}"}}}}"#);
    Ok(())
}

/// `self` as the search was understood, `first`, and `next` where there is more.
fn links(bundle: &mut String, server: &FhirServer, search: &Search, page: &SearchPage) {
    let mut first = server.settings.base_url.clone();
    if let Types::One(ty) = &search.types {
        let _ = write!(first, "/{}", ty.name);
    }
    for (n, (name, value)) in search.honoured.iter().enumerate() {
        first.push(if n == 0 { '?' } else { '&' });
        let _ = write!(
            first,
            "{}={}",
            utf8_percent_encode(name, QUERY),
            utf8_percent_encode(value, QUERY)
        );
    }
    let separator = if search.honoured.is_empty() { '?' } else { '&' };
    let at = |cursor: &super::Cursor| format!("{first}{separator}{CURSOR}={cursor}");
    let here = search.cursor.as_ref().map_or_else(|| first.clone(), at);
    bundle.push_str(r#","link":["#);
    // URLs are ASCII without quotes and backslashes once encoded.
    let _ = write!(bundle, r#"{{"relation":"self","url":"{here}"}}"#);
    if search.count > 0 {
        let _ = write!(bundle, r#",{{"relation":"first","url":"{first}"}}"#);
    }
    if let Some(next) = &page.next {
        let _ = write!(bundle, r#",{{"relation":"next","url":"{}"}}"#, at(next));
    }
    bundle.push(']');
}
