//! The one door for writes, and what it leaves to be read: without HTTP, so that races are as tight as they get.

mod conditions;
mod effort;
mod hooks;
mod races;
mod transactions;
mod versions;

use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{CommitError, Op, Outcome, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::resource::StoredResource;
use medconsult::fhir::store::{HistoryPage, HistoryQuery, HistoryScope};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::bench::Bench;

impl Bench {
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, CommitError> {
        let ops = writes.into_iter().map(|write| Op { write, full_url: None }).collect();
        self.clock.advance(SignedDuration::from_secs(1));
        commit(&self.server, &Caller::sandbox(), ops).await
    }

    async fn write(&self, write: Write) -> Result<Outcome, FhirError> {
        self.commit(vec![write])
            .await
            .map(|mut outcomes| outcomes.remove(0))
            .map_err(|error| error.error)
    }

    async fn read(&self, resource_type: &str, id: &str) -> Option<StoredResource> {
        self.server.read(&Caller::sandbox(), resource_type, id).await.unwrap()
    }

    async fn history(&self, scope: HistoryScope<'_>, query: HistoryQuery) -> HistoryPage {
        self.server.history(&Caller::sandbox(), scope, &query).await.unwrap()
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.options()).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap()
    }
}

fn create(resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: None,
    }
}

fn create_if_none(criteria: &str, resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: Some(criteria.to_owned()),
    }
}

fn instance(resource: &Value) -> Target {
    Target::Instance {
        resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
        id: resource["id"].as_str().unwrap().to_owned(),
    }
}

fn update(resource: Value) -> Write {
    update_if(resource, None)
}

fn update_if(resource: Value, if_match: Option<i32>) -> Write {
    Write::Update {
        target: instance(&resource),
        resource,
        if_match,
        if_none_match_any: false,
    }
}

fn delete(resource_type: &str, id: &str) -> Write {
    let target = Target::Instance {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
    };
    Write::Delete { target, if_match: None }
}

fn patient(id: &str, family: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": family}], "identifier": [{"system": "urn:mrn", "value": id}]})
}

fn named(full_url: &str, write: Write) -> Op {
    Op {
        write,
        full_url: Some(full_url.to_owned()),
    }
}

fn content(stored: &StoredResource) -> Value {
    serde_json::from_str(&stored.json).unwrap()
}

const MRN: &str = "identifier=urn:mrn|42";

fn page(count: u32) -> HistoryQuery {
    HistoryQuery {
        count,
        ..HistoryQuery::default()
    }
}
