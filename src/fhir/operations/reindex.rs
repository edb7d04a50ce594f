//! `$reindex` and `$reindex-status`: index rows made anew, and how far that is. Operations of this server's own.
//!
//! | | status |
//! |---|---|
//! | ordered; the answer names the run | 200 |
//! | a type, parameter or run that is not there; an unknown input | 400 |

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::fhir::caller::{Caller, Permissions};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::resource::instant;
use crate::fhir::search::reindex::runs::Run;
use crate::fhir::search::reindex::{Reason, order};
use crate::fhir::server::FhirServer;
use crate::knowledge::profiles;

/// Orders the index rows of all resources, or of some types, to be made anew; all of them or those of named parameters.
/// Searches go on meanwhile as before.
#[derive(Debug)]
pub struct Reindex;

/// Tells how far such runs are, and those that a SearchParameter or an upgrade caused: all that have not ended and the
/// last twenty, or one.
#[derive(Debug)]
pub struct ReindexStatus;

impl Operation for Reindex {
    fn definition(&self) -> &Value {
        profiles::operation("reindex")
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        _: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            let run = Wanted::read(&input)?.order(server).await?;
            tell(server, Some(run)).await
        })
    }
}

impl Operation for ReindexStatus {
    fn definition(&self) -> &Value {
        profiles::operation("reindex-status")
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            caller.require(Permissions::LOOK)?;
            let number = |text: &str| {
                text.parse()
                    .map_err(|_| FhirError::bad_value("'run' is the number of a run."))
            };
            let run = input.parameters.text("run").map(number).transpose()?;
            tell(server, run).await
        })
    }
}

/// What `$reindex` was asked for; an empty list means all.
struct Wanted<'i> {
    types: Vec<&'i str>,
    parameters: Vec<&'i str>,
}

impl<'i> Wanted<'i> {
    fn read(input: &'i OperationInput) -> Result<Wanted<'i>, FhirError> {
        let mut types: Vec<&str> = input.parameters.texts("type").collect();
        if let Some(here) = input.resource_type {
            if !types.is_empty() {
                return Err(FhirError::bad_request("The URL names the type already."));
            }
            types.push(here);
        }
        Ok(Wanted {
            types,
            parameters: input.parameters.texts("parameter").collect(),
        })
    }

    async fn order(&self, server: &FhirServer) -> Result<i64, FhirError> {
        let registry = server.search.current();
        let mut types: BTreeSet<i16> = BTreeSet::new();
        let mut params: Vec<i16> = Vec::new();
        for ty in server.definitions.resource_types() {
            let Some(number) = server.store.types().id(&ty.name) else {
                continue;
            };
            if !self.types.is_empty() && !self.types.contains(&ty.name.as_str()) {
                continue;
            }
            let found = registry.parameters(&ty.name).filter(|parameter| {
                let names = [parameter.definition.code.as_str(), parameter.definition.url.as_str()];
                self.parameters.iter().any(|named| names.contains(named))
            });
            let before = params.len();
            params.extend(found.map(|parameter| parameter.id));
            if self.parameters.is_empty() || params.len() > before {
                types.insert(number);
            }
        }
        if let Some(name) = self.types.iter().find(|name| server.store.types().id(name).is_none()) {
            return Err(FhirError::bad_value(format!(
                "'{}' is no resource type of R4.",
                excerpt(name)
            )));
        }
        if types.is_empty() {
            let names: Vec<_> = self.parameters.iter().map(|name| excerpt(name)).collect();
            let text = format!(
                "No such type is indexed by a search parameter '{}'.",
                names.join("' or '")
            );
            return Err(FhirError::bad_value(text));
        }
        let only = (!self.parameters.is_empty()).then_some(params.as_slice());
        let mut lease = server.store.fixed().await?;
        let mut transaction = lease.begin().await?;
        let run = order(
            &mut transaction,
            server.clock.now(),
            Reason::Request,
            &types,
            only,
            None,
        )
        .await?;
        transaction.commit().await?;
        lease.release();
        Ok(run)
    }
}

async fn tell(server: &FhirServer, run: Option<i64>) -> Result<Answer, FhirError> {
    let mut lease = server.store.fixed().await?;
    let runs = Run::list(&mut lease, run).await?;
    lease.release();
    if runs.is_empty() && run.is_some() {
        return Err(FhirError::bad_value("There is no run of that number."));
    }
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| json!({"name": "run", "part": parts(run)}))
        .collect();
    let mut answer = json!({"resourceType": "Parameters"});
    if !runs.is_empty() {
        answer["parameter"] = Value::Array(runs);
    }
    Ok(Answer::with_value(&answer))
}

fn parts(run: &Run) -> Vec<Value> {
    let mut parts = vec![
        json!({"name": "id", "valueString": run.id.to_string()}),
        json!({"name": "reason", "valueCode": run.reason}),
        json!({"name": "state", "valueCode": run.state()}),
        json!({"name": "percent", "valueInteger": run.percent()}),
        json!({"name": "done", "valueDecimal": run.done}),
    ];
    parts.extend(run.total.map(|total| json!({"name": "total", "valueDecimal": total})));
    parts.extend(run.types.iter().map(|ty| json!({"name": "type", "valueCode": ty})));
    parts.extend(
        run.parameters
            .iter()
            .map(|code| json!({"name": "parameter", "valueString": code})),
    );
    let at = |name: &str, at: Timestamp| json!({"name": name, "valueInstant": instant(at)});
    parts.push(at("ordered", run.ordered));
    parts.extend(run.started.map(|started| at("started", started)));
    parts.extend(run.ended.map(|finished| at("ended", finished)));
    parts.extend(
        run.failure
            .iter()
            .map(|failure| json!({"name": "failure", "valueString": failure})),
    );
    parts
}
