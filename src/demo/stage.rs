//! Acting as one of the people, at some time.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth::AuthServer;
use crate::auth::accounts::{Account, Role};
use crate::auth::bearer;
use crate::base::clock::ManualClock;
use crate::fhir::access::{Permissions, ScopeContext, ScopeGrant};
use crate::fhir::caller::{Caller, Granted};
use crate::fhir::commit::{Op, Target, Write, commit};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::OperationInput;
use crate::fhir::parameters::Parameters;
use crate::fhir::preferences::Preferences;
use crate::fhir::step_up::{Assurance, Proof};
use crate::fhir::summary::Projection;
use crate::jobs::Worker;

/// What the records of the demo name as the application in people's hands.
const APPLICATION: &str = "demo";

/// A server whose clock is moved by hand, and those who act on it.
pub struct Stage<'a> {
    pub auth: &'a AuthServer,
    pub worker: &'a Worker,
    pub hand: &'a ManualClock,
    /// By what the story calls them.
    pub accounts: BTreeMap<&'static str, Account>,
    /// What the files of the story name: `nora` is `Patient/…`, `nora.id` the id alone.
    pub names: BTreeMap<String, String>,
}

impl Stage<'_> {
    pub fn now(&self) -> Timestamp {
        self.auth.clock.now()
    }

    /// Lets time pass until then, unless it has passed already, and does what has become due by then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wait_until(&self, then: Timestamp) -> Result<()> {
        let gap = then.duration_since(self.now());
        if gap.is_positive() {
            self.hand.advance(gap);
        }
        self.worker.run_due().await?;
        Ok(())
    }

    /// The reference of somebody.
    pub fn reference(&self, name: &str) -> Value {
        json!({"reference": self.names.get(name).map_or("", String::as_str)})
    }

    /// Somebody who has signed in and proved who they are, in full possession of their rights. Who has no account is spoken
    /// for by the practice.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn as_person(&self, name: &str) -> Result<Caller> {
        let Some(account) = self.accounts.get(name) else {
            return Ok(Caller::server());
        };
        let (user, _) =
            bearer::user_of(self.auth, account.role, account.profile.clone(), account.person.clone()).await?;
        let assurance = match account.role {
            Role::Patient => Assurance::OneFactor,
            Role::Practitioner | Role::Admin => Assurance::TwoFactors,
        };
        Ok(Caller::granted(Granted {
            token: self.auth.ids.next().to_string(),
            client: APPLICATION.to_owned(),
            account: Some(account.id.clone()),
            user: Some(user),
            patient: None,
            scopes: vec![ScopeGrant {
                context: ScopeContext::User,
                resource_type: None,
                permissions: Permissions::ALL,
                filter: None,
            }],
            proof: Some(Proof {
                at: self.now(),
                assurance,
            }),
        }))
    }

    /// Stores resources together; those with an id under that id. Gives them as they were stored.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn store(&self, caller: &Caller, resources: Vec<Value>) -> Result<Vec<Value>> {
        let count = resources.len();
        let first = resources.first().map(|first| first["resourceType"].to_string());
        let ops = resources.into_iter().map(op).collect();
        let outcomes = commit(&self.auth.fhir, caller, ops)
            .await
            .map_err(|error| refused(error.error))
            .with_context(|| format!("a {} at {}", first.unwrap_or_default(), self.now()))?;
        ensure!(outcomes.len() >= count, "a write was lost");
        let read = outcomes.iter().map(|outcome| match outcome.stored.json.as_str() {
            // Stored, and no longer theirs to read.
            "" => Ok(Value::Null),
            json => Ok(serde_json::from_str(json)?),
        });
        read.collect()
    }

    /// What is stored there.
    ///
    /// # Errors
    /// When there is nothing.
    pub async fn read(&self, resource_type: &str, id: &str) -> Result<Value> {
        let found = self.auth.fhir.read(&Caller::server(), resource_type, id).await?;
        let found = found.filter(|found| !found.deleted);
        let found = found.with_context(|| format!("there is no {resource_type}/{id}"))?;
        Ok(serde_json::from_str(&found.json)?)
    }

    /// Stores one resource.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn store_one(&self, caller: &Caller, resource: Value) -> Result<Value> {
        Ok(self.store(caller, vec![resource]).await?.swap_remove(0))
    }

    /// Stores a resource in place of the only one that fits `query`, or beside those that are there.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn store_where(&self, resource: Value, query: String) -> Result<()> {
        let resource_type = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let write = Write::Update {
            target: Target::Criteria { resource_type, query },
            resource,
            if_match: None,
            if_none_match_any: false,
        };
        let ops = vec![Op { write, full_url: None }];
        commit(&self.auth.fhir, &Caller::server(), ops)
            .await
            .map_err(|error| refused(error.error))?;
        Ok(())
    }

    /// Calls an operation: `Appointment/$find`, `Appointment/7/$confirm`.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub async fn call(&self, caller: &Caller, address: &str, parameters: Value) -> Result<Value> {
        let server = &self.auth.fhir;
        let (path, name) = address.split_once('$').context("this is no operation")?;
        let mut path = path.trim_end_matches('/').split('/');
        let resource_type = path.next().and_then(|name| server.store.types().known(name));
        let resource_type = resource_type.context("this is no type")?;
        let operation = server.hooks.operations.iter().find(|operation| {
            let definition = operation.definition();
            let mut types = definition["resource"].as_array().into_iter().flatten();
            definition["code"] == name && types.any(|known| known == resource_type)
        });
        let operation = operation.with_context(|| format!("there is no operation {address}"))?;
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
        let answer = operation
            .call(server, caller, input)
            .await
            .map_err(refused)
            .with_context(|| format!("{address} at {}", self.now()))?;
        Ok(match answer.body {
            Some(body) => serde_json::from_str(&body)?,
            None => Value::Null,
        })
    }
}

/// With the sentences of the refusal, which are about nobody who lives.
fn refused(error: FhirError) -> Error {
    let sentences: Vec<&str> = error.issues.iter().map(|issue| issue.diagnostics.as_str()).collect();
    anyhow!("{}: {}", error.status, sentences.join(" "))
}

fn op(resource: Value) -> Op {
    let id = resource["id"].as_str().map(str::to_owned);
    let write = match id {
        Some(id) => Write::Update {
            target: Target::Instance {
                resource_type: resource["resourceType"].as_str().unwrap_or_default().to_owned(),
                id,
            },
            resource,
            if_match: None,
            if_none_match_any: false,
        },
        None => Write::Create {
            resource,
            if_none_exist: None,
        },
    };
    Op { write, full_url: None }
}
