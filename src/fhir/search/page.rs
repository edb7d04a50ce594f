//! A page of results as a Bundle (<https://hl7.org/fhir/R4/bundle.html#searchset>).

use super::parse::CURSOR;
use super::{Cursor, Search, SearchPage, explain};
use crate::fhir::error::FhirError;
use crate::fhir::resource;
use crate::fhir::searchset::{Searchset, link_url};
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;

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
    let mut bundle = Searchset::new(server, page.total, page.matches.iter().chain(&page.included));
    links(&mut bundle, server, search, page);
    for resource in &page.matches {
        bundle.matched(resource, page.facts.get(&resource.rid), projection)?;
    }
    for resource in &page.included {
        bundle.entry(resource, "include", projection)?;
    }
    let issues: Vec<_> = search.warnings.iter().chain(&page.warnings).cloned().collect();
    bundle.outcome(&issues);
    if let Some(statements) = &page.explained {
        bundle.outcome_entry(&resource::to_json(&explain::parameters(server, statements)));
    }
    Ok(bundle.finish())
}

/// `self` as the search was understood, `first`, and `next` where there is more.
fn links(bundle: &mut Searchset<'_>, server: &FhirServer, search: &Search, page: &SearchPage) {
    let at = |cursor: Option<&Cursor>| {
        let mut url = server.settings.base_url.clone();
        if !search.path.is_empty() {
            url.push('/');
            url.push_str(&search.path);
        }
        let cursor = cursor.map(Cursor::to_string);
        let pairs = search
            .honoured
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        link_url(url, pairs.chain(cursor.as_deref().map(|cursor| (CURSOR, cursor))))
    };
    bundle.link("self", &at(search.cursor.as_ref()));
    if search.count > 0 {
        bundle.link("first", &at(None));
    }
    if let Some(next) = &page.next {
        bundle.link("next", &at(Some(next)));
    }
}
