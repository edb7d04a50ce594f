//! A Bundle of type `searchset` (<https://hl7.org/fhir/R4/bundle.html#searchset>), as searches and some operations answer.
//!
//! Written as text around the stored JSON of each resource, which is not parsed again unless a part of it was asked for.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{FhirError, Issue, operation_outcome};
use super::resource::{StoredResource, instant};
use super::server::FhirServer;
use super::summary::Projection;

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

/// What a search knows of a match beside the resource.
#[derive(Clone, Default, Debug)]
pub struct MatchFacts {
    /// Where a contained resource is: `MedicationRequest/7#m1`. None for a resource with an address of its own.
    pub place: Option<String>,
    /// How well it matches the text that was searched for, from 0 to 1, as JSON.
    pub score: Option<String>,
}

/// A Bundle that is being written: its links, then its entries.
pub struct Searchset<'s> {
    server: &'s FhirServer,
    text: String,
    has_link: bool,
    has_entry: bool,
}

impl<'s> Searchset<'s> {
    /// Begins a Bundle of `total` matches, if they were counted, that will hold `resources`.
    pub fn new<'r>(
        server: &'s FhirServer,
        total: Option<u64>,
        resources: impl IntoIterator<Item = &'r StoredResource>,
    ) -> Searchset<'s> {
        let size: usize = resources.into_iter().map(|resource| resource.json.len() + 250).sum();
        let mut text = String::with_capacity(size + 1_000);
        text.push_str(r#"{"resourceType":"Bundle","meta":{"lastUpdated":""#);
        text.push_str(&instant(server.clock.now()));
        text.push_str(r#""},"type":"searchset""#);
        if let Some(total) = total {
            // Writing to a String cannot fail.
            let _ = write!(text, r#","total":{total}"#);
        }
        Searchset {
            server,
            text,
            has_link: false,
            has_entry: false,
        }
    }

    /// Adds a link to a URL that [`link_url`] made. Links come before entries.
    pub fn link(&mut self, relation: &str, url: &str) {
        debug_assert!(!self.has_entry, "links come before entries");
        self.text.push_str(if self.has_link { "," } else { r#","link":["# });
        self.has_link = true;
        // A URL is ASCII without quotes and backslashes once encoded.
        let _ = write!(self.text, r#"{{"relation":"{relation}","url":"{url}"}}"#);
    }

    /// Adds a resource, or the part of it that `projection` names.
    ///
    /// # Errors
    /// 500 when what is stored cannot be read.
    pub fn entry(&mut self, resource: &StoredResource, mode: &str, projection: &Projection) -> Result<(), FhirError> {
        let place = format!("{}/{}", resource.resource_type, resource.id);
        self.entry_at(&place, resource, projection)?;
        let _ = write!(self.text, r#","search":{{"mode":"{mode}"}}}}"#);
        Ok(())
    }

    /// Adds a match, with what only a search knows of it.
    ///
    /// # Errors
    /// 500 when what is stored cannot be read.
    pub fn matched(
        &mut self,
        resource: &StoredResource,
        facts: Option<&MatchFacts>,
        projection: &Projection,
    ) -> Result<(), FhirError> {
        let Some(facts) = facts else {
            return self.entry(resource, "match", projection);
        };
        match &facts.place {
            Some(place) => self.entry_at(place, resource, projection)?,
            None => self.entry_at(
                &format!("{}/{}", resource.resource_type, resource.id),
                resource,
                projection,
            )?,
        }
        self.text.push_str(r#","search":{"mode":"match""#);
        if let Some(score) = &facts.score {
            let _ = write!(self.text, r#","score":{score}"#);
        }
        self.text.push_str("}}");
        Ok(())
    }

    /// An entry up to its `search`; `place` is the address below the base.
    fn entry_at(&mut self, place: &str, resource: &StoredResource, projection: &Projection) -> Result<(), FhirError> {
        self.begin_entry();
        let base = &self.server.settings.base_url;
        let _ = write!(self.text, r#""fullUrl":"{base}/{place}","resource":"#);
        match projection.is_whole() {
            true => self.text.push_str(&resource.json),
            false => self
                .text
                .push_str(&projection.apply_to_text(&resource.json, self.server.definitions)?),
        }
        Ok(())
    }

    /// Adds what the client should know about this answer, if there is anything.
    pub fn outcome(&mut self, issues: &[Issue]) {
        if !issues.is_empty() {
            self.outcome_entry(&operation_outcome(issues));
        }
    }

    /// Adds a resource about this answer, as JSON text.
    pub fn outcome_entry(&mut self, json: &str) {
        self.begin_entry();
        let _ = write!(self.text, r#""resource":{json},"search":{{"mode":"outcome"}}}}"#);
    }

    /// The finished Bundle.
    pub fn finish(mut self) -> String {
        self.end_links();
        self.text.push_str(if self.has_entry { "]}" } else { "}" });
        self.text
    }

    fn begin_entry(&mut self) {
        self.end_links();
        self.text.push_str(if self.has_entry { ",{" } else { r#","entry":[{"# });
        self.has_entry = true;
    }

    fn end_links(&mut self) {
        if self.has_link {
            self.text.push(']');
            self.has_link = false;
        }
    }
}

/// The address `url` with the pairs of a query, encoded.
pub fn link_url<'p>(mut url: String, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    for (n, (name, value)) in pairs.into_iter().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        // Writing to a String cannot fail.
        let _ = write!(
            url,
            "{}={}",
            utf8_percent_encode(name, QUERY),
            utf8_percent_encode(value, QUERY)
        );
    }
    url
}
