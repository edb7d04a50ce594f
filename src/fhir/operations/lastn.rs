//! `$lastn` on Observation: the latest of each kind (<https://hl7.org/fhir/R4/observation-operation-lastn.html>).
//!
//! | parameter | |
//! |---|---|
//! | `patient` or `subject` | whose; one is needed |
//! | `category`, or any with a code | of which kinds; one is needed |
//! | `max` | how many of each kind; 1 if not given |
//! | any other search parameter | a filter |
//!
//! Observations are of one kind when they share a code, be it by way of others; without a code, when they have the same
//! text. Ties with the last that fits come too, so there may be more than `max`.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::search;
use crate::fhir::searchset::{Searchset, link_url};
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;

/// The operation.
#[derive(Debug)]
pub struct LastN;

static DEFINITION: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "resourceType": "OperationDefinition",
        "id": "lastn",
        "url": "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
        "name": "LastN",
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": "lastn",
        "resource": ["Observation"],
        "system": false,
        "type": true,
        "instance": false,
        "parameter": [
            {"name": "max", "use": "in", "min": 0, "max": "1", "type": "positiveInt"},
            {"name": "return", "use": "out", "min": 1, "max": "1", "type": "Bundle"}
        ]
    })
});

/// Parameters of a search that order or size its answer, which this operation does by itself.
const OF_RESULTS: [&str; 8] = [
    "_count",
    "_cursor",
    "_explain",
    "_include",
    "_revinclude",
    "_score",
    "_sort",
    "_total",
];

impl Operation for LastN {
    fn definition(&self) -> &Value {
        &DEFINITION
    }

    fn takes_search_parameters(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move { last_n(server, caller, &input).await })
    }
}

async fn last_n(server: &FhirServer, caller: &Caller, input: &OperationInput) -> Result<Answer, FhirError> {
    let pairs = input.parameters.pairs();
    let criteria: Vec<(String, String)> = pairs.iter().filter(|(name, _)| name != "max").cloned().collect();
    check(&criteria)?;
    if input.projection == Projection::Count {
        let text = "_summary=count counts matches; only a search has them.";
        return Err(FhirError::not_supported(text).at("http._summary"));
    }
    // A number that is too large for the machine is simply large.
    let max = input
        .parameters
        .text("max")
        .map_or(1, |max| max.parse().unwrap_or(u32::MAX));
    let search = search::parse(server, "Observation", &criteria, input.preferences.handling)?;
    let found = search::last_of_each(server, caller, &search, max).await?;

    let mut bundle = Searchset::new(server, Some(found.len() as u64), &found);
    let own = format!("{}/Observation/$lastn", server.settings.base_url);
    let projection = input.projection.pair();
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pairs = pairs.chain(projection.as_ref().map(|(name, value)| (*name, value.as_str())));
    bundle.link("self", &link_url(own, pairs));
    for observation in &found {
        bundle.entry(observation, "match", &input.projection)?;
    }
    bundle.outcome(&search.warnings);
    Ok(Answer::with_body(bundle.finish()).showing(&found))
}

/// Refuses what would not be this operation: no subject, no kind, an order of its own.
fn check(criteria: &[(String, String)]) -> Result<(), FhirError> {
    // `subject:Patient`, `patient.identifier`: a modifier or a chain does not change what a parameter is about.
    let code = |name: &str| name.split([':', '.']).next().unwrap_or_default().to_owned();
    let codes: Vec<String> = criteria.iter().map(|(name, _)| code(name)).collect();
    if let Some(name) = codes.iter().find(|code| OF_RESULTS.contains(&code.as_str())) {
        let text = format!("$lastn takes no {name}: it has an order and a number of its own.");
        return Err(FhirError::not_supported(text).at(format!("http.{name}")));
    }
    if !codes.iter().any(|code| matches!(code.as_str(), "patient" | "subject")) {
        return Err(FhirError::bad_request(
            "$lastn needs the parameter 'patient' or 'subject': whose observations?",
        ));
    }
    let names_kind = |code: &String| {
        code == "category"
            || ["code", "combo-code", "component-code"]
                .iter()
                .any(|prefix| code.starts_with(prefix))
    };
    if !codes.iter().any(names_kind) {
        return Err(FhirError::bad_request(
            "$lastn needs the parameter 'category' or one with a code, such as 'code': the latest of what?",
        ));
    }
    Ok(())
}
