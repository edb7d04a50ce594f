//! Search against a real database: what matches, in which order, on which page. Without HTTP, which has tests of its own.

mod bad_input;
mod chains;
mod composite;
mod conditions;
mod contained;
mod every_parameter;
mod explain;
mod filter;
mod includes;
mod limits;
mod matching;
mod paging;
mod plans;
mod sort;
mod system;
mod terminology;
mod text;

use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::fhir::error::{FhirError, IssueType};
use medconsult::fhir::http::query::Query;
use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search::{SearchPage, page_bundle, parse, search};
use medconsult::fhir::summary::Projection;
use serde_json::{Value, json};

use crate::bench::Bench;

impl Bench {
    /// Stores resources, in order, each under its own id.
    async fn store(&self, resources: impl IntoIterator<Item = Value>) {
        for resource in resources {
            self.clock.advance(SignedDuration::from_secs(1));
            self.put(resource).await;
        }
    }

    async fn put(&self, resource: Value) {
        self.apply(Write::Update {
            target: instance(&resource),
            resource,
            if_match: None,
            if_none_match_any: false,
        })
        .await;
    }

    async fn delete(&self, resource_type: &str, id: &str) {
        let target = Target::Instance {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
        };
        self.apply(Write::Delete { target, if_match: None }).await;
    }

    async fn apply(&self, write: Write) {
        let outcome = commit(&self.server, &Caller::sandbox(), vec![Op { write, full_url: None }]).await;
        outcome.map_err(|error| error.error).unwrap();
    }

    async fn page(&self, query: &str, handling: Handling) -> Result<(SearchPage, Value), FhirError> {
        let (resource_type, query) = query.split_once('?').unwrap_or((query, ""));
        let search_for = parse(&self.server, resource_type, &Query::parse(query)?.0, handling)?;
        let page = search(&self.server, &Caller::sandbox(), &search_for).await?;
        let bundle = page_bundle(&self.server, &search_for, &page, &Projection::Whole)?;
        Ok((page, serde_json::from_str(&bundle).expect("the Bundle is JSON")))
    }

    async fn bundle(&self, query: &str) -> Value {
        self.page(query, Handling::Strict)
            .await
            .unwrap_or_else(|error| panic!("{query}: {}", error.to_json()))
            .1
    }

    /// Ids of the matches on the first page, in order.
    async fn find(&self, query: &str) -> Vec<String> {
        ids(&self.bundle(query).await, "match")
    }

    /// The same, sorted and joined.
    async fn found(&self, query: &str) -> String {
        let mut ids = self.find(query).await;
        ids.sort();
        ids.join(" ")
    }

    async fn check(&self, expected: &[(&str, &str)]) {
        for (query, ids) in expected {
            assert_eq!(self.found(query).await, *ids, "{query}");
        }
    }

    /// What a refused search is told.
    async fn refusal(&self, query: &str) -> String {
        match self.page(query, Handling::Strict).await {
            Ok(_) => panic!("{query} was not refused"),
            Err(error) => {
                let too_costly = error.issues[0].code == IssueType::TooCostly;
                assert_eq!(error.status.as_u16(), if too_costly { 422 } else { 400 }, "{query}");
                error.issues[0].diagnostics.clone()
            }
        }
    }

    /// Every page from `query` on, by following `next`.
    async fn pages(&self, query: &str) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut query = query.to_owned();
        loop {
            let bundle = self.bundle(&query).await;
            pages.push(ids(&bundle, "match"));
            match link(&bundle, "next") {
                Some(next) => query = next.strip_prefix("http://localhost/fhir/").unwrap().to_owned(),
                None => return pages,
            }
        }
    }
}

fn instance(resource: &Value) -> Target {
    Target::Instance {
        resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
        id: resource["id"].as_str().unwrap().to_owned(),
    }
}

fn ids(bundle: &Value, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let of_mode = entries.iter().filter(|entry| entry["search"]["mode"] == mode);
    of_mode
        .map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned())
        .collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array().unwrap();
    let link = links.iter().find(|link| link["relation"] == relation)?;
    Some(link["url"].as_str().unwrap().to_owned())
}

/// A Patient of the given id with further elements.
fn patient(id: &str, elements: Value) -> Value {
    resource("Patient", id, elements)
}

/// An Observation of the given id with further elements.
fn observation(id: &str, elements: Value) -> Value {
    let mut observation = resource("Observation", id, json!({"status": "final", "code": {"text": "code"}}));
    for (name, value) in elements.as_object().unwrap() {
        observation[name] = value.clone();
    }
    observation
}

fn resource(resource_type: &str, id: &str, elements: Value) -> Value {
    let mut resource = json!({"resourceType": resource_type, "id": id});
    for (name, value) in elements.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}
