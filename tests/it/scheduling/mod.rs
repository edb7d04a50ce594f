//! A practice with two practitioners, without HTTP, so that the clock stands where a test wants it and callers are whoever
//! they say they are.
//!
//! It is Sunday, 1 March 2026, 10:00 UTC. Dr. Dora works in Berlin on weekdays from 9 to 12, Dr. Emil in Auckland every day
//! from 9 to 11.

mod authority;
mod blocking;
mod booking;
mod calendars;
mod finding;
mod http;
mod races;
mod rescheduling;
mod speed;
mod tokens;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Hooks, OperationInput};
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::summary::Projection;
use medconsult::jobs::{Registry, Worker};
use medconsult::scheduling::answers::{AnsweredOnce, Answers};
use medconsult::scheduling::directory::Directory;
use medconsult::scheduling::guard::Calendars;
use medconsult::scheduling::{expiry, operations};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};

use crate::bench::{Bench, bench_with};

const BASE: &str = "https://medconsult.example/fhir";

struct Practice {
    bench: Bench,
}

fn hooks() -> Hooks {
    let directory = Arc::new(Directory::default());
    Hooks {
        intakes: vec![],
        consequences: vec![Box::new(Answers(directory.clone()))],
        guards: vec![Box::new(Calendars), Box::new(AnsweredOnce)],
        reactions: vec![],
        operations: operations::all(&directory),
    }
}

/// An extension with parts.
fn extension(name: &str, parts: Value) -> Value {
    json!({"url": format!("{BASE}/StructureDefinition/{name}"), "extension": parts})
}

fn minutes(part: &str, value: i64) -> Value {
    json!({"url": part, "valueDuration": {"value": value, "system": "http://unitsofmeasure.org", "code": "min"}})
}

fn weekly(days: &[&str], start: &str, end: &str) -> Value {
    let mut parts: Vec<Value> = days
        .iter()
        .map(|day| json!({"url": "daysOfWeek", "valueCode": day}))
        .collect();
    parts.push(json!({"url": "start", "valueTime": start}));
    parts.push(json!({"url": "end", "valueTime": end}));
    json!({"url": "availability", "extension": parts})
}

fn schedule(id: &str, practitioner: &str, services: &[&str], parts: Value) -> Value {
    let mut actors = vec![json!({"reference": format!("Practitioner/{practitioner}"), "display": practitioner})];
    actors.extend(
        services
            .iter()
            .map(|service| json!({"reference": format!("HealthcareService/{service}")})),
    );
    json!({"resourceType": "Schedule", "id": id, "active": true, "actor": actors,
        "specialty": [{"coding": [{"system": "http://snomed.info/sct", "code": if id == "dora" {"394579002"} else {"394582007"}}]}],
        "extension": [extension("scheduling-parameters", parts)]})
}

fn service(id: &str, policy: &[(&str, Value)]) -> Value {
    let price = json!({"url": "price", "valueCanonical": "https://clinic.example/prices/visit"});
    let mut parts: Vec<Value> = policy
        .iter()
        .map(|(name, value)| {
            let mut part = value.clone();
            part["url"] = json!(name);
            part
        })
        .collect();
    parts.push(price);
    json!({"resourceType": "HealthcareService", "id": id, "active": true, "name": id,
        "type": [{"coding": [{"system": "http://example.org/services", "code": id}]}],
        "extension": [extension("booking-policy", json!(parts))]})
}

fn code(value: &str) -> Value {
    json!({"valueCode": value})
}

const WEEKDAYS: [&str; 5] = ["mon", "tue", "wed", "thu", "fri"];
const EVERY_DAY: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Practice {
    async fn open() -> Practice {
        let practice = Practice {
            bench: bench_with(hooks()).await,
        };
        for resource in [
            json!({"resourceType": "Patient", "id": "ada"}),
            json!({"resourceType": "Patient", "id": "ben"}),
            json!({"resourceType": "Practitioner", "id": "dora"}),
            json!({"resourceType": "Practitioner", "id": "emil"}),
            service("visit", &[("approval", code("manual")), ("payment", code("none"))]),
            service("quick", &[("approval", code("auto")), ("payment", code("none"))]),
            service(
                "paid",
                &[("approval", code("manual")), ("payment", code("before-approval"))],
            ),
            service(
                "billed",
                &[("approval", code("manual")), ("payment", code("after-approval"))],
            ),
            schedule(
                "dora",
                "dora",
                &["visit", "quick", "paid", "billed"],
                json!([{"url": "timezone", "valueCode": "Europe/Berlin"}, weekly(&WEEKDAYS, "09:00:00", "12:00:00")]),
            ),
            schedule(
                "emil",
                "emil",
                &["quick", "visit"],
                json!([{"url": "timezone", "valueCode": "Pacific/Auckland"}, weekly(&EVERY_DAY, "09:00:00", "11:00:00")]),
            ),
        ] {
            practice.put(resource).await.unwrap();
        }
        practice
    }

    fn advance(&self, minutes: i64) {
        self.bench.clock.advance(SignedDuration::from_mins(minutes));
    }

    /// Stores a resource under its id, as the practice.
    async fn put(&self, resource: Value) -> Result<Value, FhirError> {
        self.put_as(&Caller::sandbox(), resource).await
    }

    async fn put_as(&self, caller: &Caller, resource: Value) -> Result<Value, FhirError> {
        Ok(self.write(caller, vec![put(resource)]).await?.remove(0))
    }

    async fn create(&self, caller: &Caller, resource: Value) -> Result<Value, FhirError> {
        let create = Write::Create {
            resource,
            if_none_exist: None,
        };
        Ok(self.write(caller, vec![create]).await?.remove(0))
    }

    async fn write(&self, caller: &Caller, writes: Vec<Write>) -> Result<Vec<Value>, FhirError> {
        let ops = writes.into_iter().map(|write| Op { write, full_url: None }).collect();
        let outcomes = commit(&self.bench.server, caller, ops)
            .await
            .map_err(|error| error.error)?;
        let json = |text: &str| {
            if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(text).unwrap()
            }
        };
        Ok(outcomes.iter().map(|outcome| json(&outcome.stored.json)).collect())
    }

    /// The current content, `None` for what is not there.
    async fn get(&self, resource_type: &str, id: &str) -> Option<Value> {
        let found = self
            .bench
            .server
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap()?;
        (!found.deleted).then(|| serde_json::from_str(&found.json).unwrap())
    }

    /// Calls `Type/$name` or `Type/id/$name`.
    async fn call(&self, caller: &Caller, address: &str, parameters: Value) -> Result<Value, FhirError> {
        let server = &self.bench.server;
        let (path, name) = address.split_once('$').unwrap();
        let mut path = path.trim_end_matches('/').split('/');
        let resource_type = server.store.types().known(path.next().unwrap()).unwrap();
        let operation = server.hooks.operations.iter().find(|operation| {
            let definition = operation.definition();
            let types = definition["resource"].as_array().unwrap();
            definition["code"] == name && types.iter().any(|ty| ty == resource_type)
        });
        let operation = operation.unwrap_or_else(|| panic!("no operation {address}"));
        let parameters = json!({"resourceType": "Parameters", "parameter": parameters});
        let parameters = Parameters::from_resource(parameters)?;
        parameters.check(operation.definition(), false)?;
        let input = OperationInput {
            resource_type: Some(resource_type),
            id: path.next().map(str::to_owned),
            version: None,
            parameters,
            projection: Projection::Whole,
            preferences: Preferences::default(),
        };
        let answer = operation.call(server, caller, input).await?;
        Ok(serde_json::from_str(&answer.body.unwrap()).unwrap())
    }

    /// The proposals that `$find` answers, as the patient Ada.
    async fn find(&self, parameters: Value) -> Vec<Value> {
        let bundle = self
            .call(&Caller::sandbox(), "Appointment/$find", parameters)
            .await
            .unwrap();
        matches(&bundle)
    }

    /// The proposal of a service in a calendar that begins at `start`.
    async fn proposal(&self, practitioner: &str, service: &str, start: &str) -> String {
        let end = start.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(1);
        let found = self
            .find(json!([
                {"name": "practitioner", "valueReference": {"reference": format!("Practitioner/{practitioner}")}},
                {"name": "service", "valueReference": {"reference": format!("HealthcareService/{service}")}},
                {"name": "start", "valueDateTime": start},
                {"name": "end", "valueDateTime": end.to_string()}]))
            .await;
        assert_eq!(found.len(), 1, "one proposal at {start}");
        format!("Appointment/{}", found[0]["id"].as_str().unwrap())
    }

    /// `$hold` or `$book` of what is proposed, for Ada, by the practice.
    async fn take(&self, operation: &str, proposal: &str) -> Result<Value, FhirError> {
        let parameters = json!([
            {"name": "appointment-reference", "valueReference": {"reference": proposal}},
            {"name": "patient-reference", "valueReference": {"reference": "Patient/ada"}}]);
        let bundle = self
            .call(&Caller::sandbox(), &format!("Appointment/${operation}"), parameters)
            .await?;
        Ok(matches(&bundle).remove(0))
    }

    /// A visit of Ada's with Dr. Dora.
    async fn booked(&self, service: &str, start: &str) -> Value {
        let proposal = self.proposal("dora", service, start).await;
        self.take("book", &proposal).await.unwrap()
    }

    /// Somebody who has signed in.
    async fn person(&self, role: Role, fhir_user: &str) -> Caller {
        let (resource_type, id) = fhir_user.split_once('/').unwrap();
        let found = self
            .bench
            .server
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap();
        let rid = found.unwrap().rid;
        let patients = if role == Role::Patient { vec![rid] } else { Vec::new() };
        Caller::granted(Granted {
            client: "app".to_owned(),
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: "person".to_owned(),
                holders: Holders {
                    all: vec![rid],
                    patients,
                },
            }),
            scopes: vec![ScopeGrant {
                context: ScopeContext::User,
                resource_type: None,
                permissions: Permissions::ALL,
                filter: None,
            }],
            ..Granted::default()
        })
    }

    async fn ada(&self) -> Caller {
        self.person(Role::Patient, "Patient/ada").await
    }

    async fn dora(&self) -> Caller {
        self.person(Role::Practitioner, "Practitioner/dora").await
    }

    /// Runs what is due by the clock.
    async fn run_jobs(&self) {
        let server = &self.bench.server;
        let registry = expiry::register(Registry::new(), server).unwrap();
        let pool = PgPool::connect_with(self.bench.database.options()).await.unwrap();
        let worker = Worker::new(pool, server.clock.clone(), &server.ids, Arc::new(registry), 1);
        worker.run_due().await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut connection = self.bench.database.options().connect().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    /// How many Slots are there, and how much of the calendars is taken.
    async fn taken(&self) -> (i64, i64) {
        let slots = "SELECT count(*) FROM resource WHERE NOT deleted AND \
                     type = (SELECT id FROM resource_type WHERE name = 'Slot')";
        (
            self.count(slots).await,
            self.count("SELECT count(*) FROM calendar_entry").await,
        )
    }
}

fn put(resource: Value) -> Write {
    Write::Update {
        target: Target::Instance {
            resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
            id: resource["id"].as_str().unwrap().to_owned(),
        },
        resource,
        if_match: None,
        if_none_match_any: false,
    }
}

fn delete(reference: &str) -> Write {
    let (resource_type, id) = reference.split_once('/').unwrap();
    Write::Delete {
        target: Target::Instance {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
        },
        if_match: None,
    }
}

/// The matches of a searchset.
fn matches(bundle: &Value) -> Vec<Value> {
    entries(bundle, "match")
}

fn entries(bundle: &Value, mode: &str) -> Vec<Value> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let of_mode = entries.filter(|entry| entry["search"]["mode"] == mode);
    of_mode.map(|entry| entry["resource"].clone()).collect()
}

fn id(resource: &Value) -> &str {
    resource["id"].as_str().unwrap()
}

/// As a client without our profiles would write it.
fn unclaimed(resource: &Value) -> Value {
    let mut resource = resource.clone();
    resource.as_object_mut().unwrap().remove("meta");
    resource
}

/// The derived tag.
fn label(appointment: &Value) -> &str {
    appointment["meta"]["tag"][0]["code"].as_str().unwrap_or_default()
}

/// What the patient and the practitioner have said.
fn said(appointment: &Value) -> (&str, &str) {
    let participants = appointment["participant"].as_array().unwrap();
    let of = |name: &str| {
        let found = participants
            .iter()
            .find(|participant| participant["actor"]["reference"].as_str().unwrap().starts_with(name));
        found.unwrap()["status"].as_str().unwrap()
    };
    (of("Patient/"), of("Practitioner/"))
}

/// Status and text of a refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, FhirError>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.status.as_u16(), error.issues[0].diagnostics.clone())
}
