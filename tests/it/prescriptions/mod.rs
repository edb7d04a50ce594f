//! A practice in Berlin: Dr. Dora Bell prescribes for Ada; Nurse Emil may not. Without HTTP, so that callers are whoever they say
//! they are and the clock stands where a test wants it: Sunday, 1 March 2026, 10:00 UTC.

mod checking;
mod http;
mod printing;
mod rules;
mod signing;

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use medconsult::base::Clock;
use medconsult::base::crypto::Vault;
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Hooks, OperationInput};
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::step_up::{Assurance, Proof, SigningIsProved};
use medconsult::fhir::summary::Projection;
use medconsult::jobs::{Registry, Worker};
use medconsult::prescriptions::authority::RoleCode;
use medconsult::prescriptions::formulary::Formulary;
use medconsult::prescriptions::guard::Prescriptions;
use medconsult::prescriptions::office::Office;
use medconsult::prescriptions::printer::Printer;
use medconsult::prescriptions::reprint::{self, Reprints};
use medconsult::prescriptions::signer::Signer;
use medconsult::prescriptions::{operations, record, verify};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::TestDatabase;
use crate::bench::{Bench, bench_through};

const BASE: &str = "https://medconsult.example/fhir";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/practitioner-role";

/// Looks for fonts once for all tests.
static PRINTER: LazyLock<Arc<Printer>> = LazyLock::new(|| Arc::new(Printer::new(None)));

struct Practice {
    bench: Bench,
    office: Arc<Office>,
}

fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1985-12-10", "gender": "female",
        "name": [{"family": "Lovelace", "given": ["Ada"]}],
        "address": [{"line": ["Ockham Park 1"], "postalCode": "10117", "city": "Berlin", "country": "Germany"}]})
}

fn practitioner(id: &str, name: &str) -> Value {
    json!({"resourceType": "Practitioner", "id": id, "name": [{"prefix": ["Dr."], "given": [name], "family": "Bell"}],
        "telecom": [{"system": "phone", "value": "+49 30 555 0100", "use": "work"}],
        "extension": [{"url": format!("{BASE}/StructureDefinition/time-zone"), "valueCode": "Europe/Berlin"}],
        "qualification": [{"code": {"text": "Doctor of Medicine"}, "identifier": [{"value": "8821-77"}]}]})
}

fn organization() -> Value {
    json!({"resourceType": "Organization", "id": "practice", "name": "Praxis am Markt",
        "telecom": [{"system": "email", "value": "praxis@clinic.example"}],
        "address": [{"line": ["Marktplatz 5"], "postalCode": "10115", "city": "Berlin", "country": "Germany"}]})
}

fn role(id: &str, practitioner: &str, code: &str) -> Value {
    json!({"resourceType": "PractitionerRole", "id": id, "active": true,
        "practitioner": {"reference": format!("Practitioner/{practitioner}")},
        "organization": {"reference": "Organization/practice"},
        "code": [{"coding": [{"system": ROLES, "code": code}]}]})
}

/// A draft of Dr. Dora's for Ada, once a day.
fn draft(id: &str, sheet: &str, medicine: &str) -> Value {
    json!({"resourceType": "MedicationRequest", "id": id,
        "meta": {"profile": [format!("{BASE}/StructureDefinition/prescription")]},
        "status": "draft", "intent": "order",
        "medicationCodeableConcept": {"text": medicine},
        "subject": {"reference": "Patient/ada"}, "requester": {"reference": "Practitioner/dora"},
        "authoredOn": "2026-03-01T09:55:00Z",
        "groupIdentifier": {"system": format!("{BASE}/sid/prescription"), "value": sheet},
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}]},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "tablet"}}]}],
        "dispenseRequest": {"numberOfRepeatsAllowed": 1, "quantity": {"value": 30, "unit": "tablet"}}})
}

impl Practice {
    async fn open() -> Practice {
        let database = TestDatabase::new().await;
        let pool = PgPool::connect_with(database.options()).await.unwrap();
        let key = Vault::new_key();
        let office = Arc::new(Office {
            formulary: Formulary::built_in(),
            signer: Signer::new(pool, move || Ok(Vault::new(&key)?)),
            printer: PRINTER.clone(),
            prescribers: vec![RoleCode::read(&format!("{ROLES}|doctor")).unwrap()],
            valid_days: 90,
        });
        // The guards judge by a clock of their own: it stands where that of the server does.
        let (clock, _) = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
        let hooks = Hooks {
            intakes: vec![],
            consequences: vec![],
            guards: vec![
                Box::new(SigningIsProved::new(clock.clone(), jiff::SignedDuration::from_mins(5))),
                Box::new(Prescriptions {
                    office: office.clone(),
                    clock,
                }),
            ],
            reactions: vec![Box::new(Reprints)],
            operations: operations::all(&office),
        };
        let practice = Practice {
            bench: bench_through(database.options(), database, hooks).await,
            office,
        };
        for resource in [
            patient("ada"),
            practitioner("dora", "Dora"),
            practitioner("emil", "Emil"),
            organization(),
            role("dora", "dora", "doctor"),
            role("emil", "emil", "nurse"),
        ] {
            practice.put(resource).await.unwrap();
        }
        practice
    }

    async fn put(&self, resource: Value) -> Result<Value, FhirError> {
        self.put_as(&Caller::sandbox(), resource).await
    }

    async fn put_as(&self, caller: &Caller, resource: Value) -> Result<Value, FhirError> {
        Ok(self.write(caller, vec![put(resource)]).await?.remove(0))
    }

    async fn write(&self, caller: &Caller, writes: Vec<Write>) -> Result<Vec<Value>, FhirError> {
        let ops = writes.into_iter().map(|write| Op { write, full_url: None }).collect();
        let outcomes = commit(&self.bench.server, caller, ops)
            .await
            .map_err(|error| error.error)?;
        let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Ok(outcomes.iter().map(|outcome| json(&outcome.stored.json)).collect())
    }

    /// The current content, `None` for what is not there.
    async fn get(&self, reference: &str) -> Option<Value> {
        let (resource_type, id) = reference.split_once('/').unwrap();
        let found = self
            .bench
            .server
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap()?;
        (!found.deleted).then(|| serde_json::from_str(&found.json).unwrap())
    }

    async fn status(&self, id: &str) -> String {
        let found = self.get(&format!("MedicationRequest/{id}")).await.unwrap();
        found["status"].as_str().unwrap().to_owned()
    }

    /// Changes the status of a prescription, as an update.
    async fn moved(&self, id: &str, status: &str) -> Result<Value, FhirError> {
        let mut content = self.get(&format!("MedicationRequest/{id}")).await.unwrap();
        content["status"] = json!(status);
        self.put(content).await
    }

    async fn count(&self, resource_type: &str) -> i64 {
        let mut lease = self.bench.server.store.fixed().await.unwrap();
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM resource WHERE NOT deleted AND type = (SELECT id FROM resource_type WHERE name = $1)",
        )
        .bind(resource_type)
        .fetch_one(&mut *lease)
        .await
        .unwrap();
        lease.release();
        count
    }

    async fn call(&self, caller: &Caller, name: &str, parameters: Value) -> Result<Value, FhirError> {
        let server = &self.bench.server;
        let mut operations = server.hooks.operations.iter();
        let operation = operations
            .find(|operation| operation.definition()["code"] == name)
            .unwrap();
        let parameters = json!({"resourceType": "Parameters", "parameter": parameters});
        let parameters = Parameters::from_resource(parameters)?;
        parameters.check(operation.definition(), false)?;
        let input = OperationInput {
            resource_type: Some("MedicationRequest"),
            id: None,
            version: None,
            parameters,
            projection: Projection::Whole,
            preferences: Preferences::default(),
        };
        let answer = operation.call(server, caller, input).await?;
        Ok(serde_json::from_str(&answer.body.unwrap()).unwrap())
    }

    async fn check(&self, prescriptions: &[Value]) -> Result<Vec<Value>, FhirError> {
        let parameters: Vec<Value> = prescriptions
            .iter()
            .map(|resource| json!({"name": "prescription", "resource": resource}))
            .collect();
        let bundle = self.call(&Caller::sandbox(), "check", json!(parameters)).await?;
        Ok(resources(&bundle, "DetectedIssue"))
    }

    async fn sign_as(&self, caller: &Caller, ids: &[&str], more: &[Value]) -> Result<Value, FhirError> {
        let mut parameters: Vec<Value> = ids
            .iter()
            .map(|id| json!({"name": "prescription", "valueReference": {"reference": format!("MedicationRequest/{id}")}}))
            .collect();
        parameters.extend_from_slice(more);
        self.call(caller, "sign", json!(parameters)).await
    }

    async fn sign(&self, ids: &[&str]) -> Result<Value, FhirError> {
        self.sign_as(&self.dora().await, ids, &[]).await
    }

    /// Stores drafts of one sheet and has them signed.
    async fn signed(&self, sheet: &str, medicines: &[(&str, &str)]) -> Value {
        for (id, medicine) in medicines {
            self.put(draft(id, sheet, medicine)).await.unwrap();
        }
        let ids: Vec<&str> = medicines.iter().map(|(id, _)| *id).collect();
        self.sign(&ids).await.unwrap()
    }

    /// Somebody who has signed in, and showed a second factor a minute ago.
    async fn person(&self, role: Role, fhir_user: &str) -> Caller {
        self.proved(role, fhir_user, Assurance::TwoFactors, 60).await
    }

    async fn proved(&self, role: Role, fhir_user: &str, assurance: Assurance, seconds: i64) -> Caller {
        let (resource_type, id) = fhir_user.split_once('/').unwrap();
        let found = self
            .bench
            .server
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap();
        let rid = found.unwrap().rid;
        let at = self.now() - jiff::SignedDuration::from_secs(seconds);
        Caller::granted(Granted {
            client: "app".to_owned(),
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: "person".to_owned(),
                holders: Holders {
                    all: vec![rid],
                    patients: if role == Role::Patient { vec![rid] } else { Vec::new() },
                },
            }),
            scopes: vec![ScopeGrant {
                context: ScopeContext::User,
                resource_type: None,
                permissions: Permissions::ALL,
                filter: None,
            }],
            proof: Some(Proof { at, assurance }),
            ..Granted::default()
        })
    }

    /// Dr. Dora, whom the bench's policies let see everything.
    async fn dora(&self) -> Caller {
        self.person(Role::Practitioner, "Practitioner/dora").await.practice()
    }

    fn now(&self) -> Timestamp {
        self.bench.server.clock.now()
    }

    /// Runs what is due.
    async fn run_jobs(&self) {
        let server = &self.bench.server;
        let registry = reprint::register(Registry::new(), server, &self.office);
        let pool = PgPool::connect_with(self.bench.database.options()).await.unwrap();
        let worker = Worker::new(pool, server.clock.clone(), &server.ids, Arc::new(registry), 1);
        worker.run_due().await.unwrap();
    }

    /// The prints of a sheet that are current.
    async fn current_documents(&self, sheet: &str) -> Vec<Value> {
        let identifier = format!("{BASE}/sid/prescription|{sheet}");
        let criteria = [("identifier", identifier.as_str()), ("status", "current")];
        let found = record::find(&self.bench.server, &Caller::sandbox(), "DocumentReference", &criteria).await;
        found.unwrap().into_iter().map(|record| record.content).collect()
    }

    /// The PDF of a DocumentReference.
    async fn pdf(&self, document: &Value) -> Vec<u8> {
        use base64::Engine;
        let url = document["content"][0]["attachment"]["url"].as_str().unwrap();
        let binary = self.get(url).await.unwrap();
        let data = binary["data"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD.decode(data).unwrap()
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

/// The resources of a type in a Bundle.
fn resources(bundle: &Value, resource_type: &str) -> Vec<Value> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let resources = entries.map(|entry| entry["resource"].clone());
    resources
        .filter(|resource| resource["resourceType"] == resource_type)
        .collect()
}

/// Status and texts of a refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, FhirError>) -> (u16, String) {
    let error = result.unwrap_err();
    let texts = error.issues.iter().map(|issue| issue.diagnostics.clone());
    (error.status.as_u16(), texts.collect::<Vec<_>>().join(" | "))
}
