//! What a caller may see and do: refusals 35 to 37 of the list, path by path.
//!
//! Two patients, Ann and Bob, with the same things in their records, a practitioner who looks after Ann alone, and the
//! practice's directory. What is asked in a caller's name goes through the functions that the routes call.

mod break_glass;
mod explain;
mod operations;
mod reads;
mod relations;
mod searches;
mod writes;

use std::collections::BTreeSet;

use medconsult::fhir::access::scope::resource_type;
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::bundle;
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::commit::{self, Op, Outcome, Target, Write};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::http::{self, Answer, Conditions};
use medconsult::fhir::preferences::Preferences;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::app::{Ask, TestApp, spawn_app_with};

struct World {
    app: TestApp,
    connection: PgConnection,
}

/// Everything that one patient has, each id beginning with theirs.
fn record_of(id: &str, performer: &str) -> Vec<Value> {
    let about = json!({"reference": format!("Patient/{id}")});
    let coded = |code: &str| json!({"coding": [{"system": "http://loinc.org", "code": code}]});
    let category = |code: &str| {
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        json!([{"coding": [{"system": system, "code": code}]}])
    };
    let observation = |name: &str, kind: &str, code: &str| {
        json!({
            "resourceType": "Observation", "id": format!("{id}-{name}"), "status": "final", "subject": about,
            "code": coded(code), "category": category(kind), "performer": [{"reference": performer}],
            "effectiveDateTime": "2026-03-01", "meta": {"tag": [{"system": "http://tags.example", "code": format!("{id}-tag")}]}
        })
    };
    vec![
        json!({"resourceType": "Patient", "id": id, "name": [{"family": format!("Family-{id}")}], "gender": "female"}),
        observation("lab", "laboratory", "718-7"),
        observation("vital", "vital-signs", "8867-4"),
        json!({
            "resourceType": "Condition", "id": format!("{id}-condition"), "subject": about, "code": coded("x"),
            "asserter": {"reference": performer}
        }),
        json!({
            "resourceType": "MedicationRequest", "id": format!("{id}-medication"), "status": "active", "intent": "order",
            "subject": about, "medicationReference": {"reference": "#inside"},
            "contained": [{"resourceType": "Medication", "id": "inside", "code": coded("aspirin")}]
        }),
        json!({
            "resourceType": "DocumentReference", "id": format!("{id}-document"), "status": "current", "subject": about,
            "content": [{"attachment": {"url": format!("Binary/{id}-binary")}}]
        }),
        json!({
            "resourceType": "Binary", "id": format!("{id}-binary"), "contentType": "text/plain", "data": "aGVsbG8=",
            "securityContext": {"reference": format!("DocumentReference/{id}-document")}
        }),
    ]
}

impl World {
    async fn new() -> World {
        let app = spawn_app_with(|config| config.fhir.profiles = true).await;
        app.app.worker().run_due().await.unwrap();
        let connection = app.connection().await;
        let mut world = World { app, connection };
        for practitioner in ["doc", "other"] {
            world
                .store(json!({"resourceType": "Practitioner", "id": practitioner, "active": true}))
                .await;
        }
        for (patient, performer) in [("ann", "Practitioner/doc"), ("bob", "Practitioner/other")] {
            for resource in record_of(patient, performer) {
                world.store(resource).await;
            }
        }
        let (doc, ann) = (
            world.rid("Practitioner", "doc").await,
            world.rid("Patient", "ann").await,
        );
        world.tie(doc, ann, 1).await;
        world
    }

    /// Stores a resource, by nobody in particular.
    async fn store(&self, resource: Value) {
        let path = format!("{}/{}", text(&resource["resourceType"]), text(&resource["id"]));
        let answer = self.app.put(&path).fhir(&resource).answer().await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    }

    async fn rid(&mut self, resource_type: &str, id: &str) -> i64 {
        let sql = "SELECT r.rid FROM resource r JOIN resource_type t ON t.id = r.type WHERE t.name = $1 AND r.id = $2";
        sqlx::query_scalar(sql)
            .bind(resource_type)
            .bind(id)
            .fetch_one(&mut self.connection)
            .await
            .unwrap()
    }

    /// Lets a holder look after a patient from now on.
    async fn tie(&mut self, holder: i64, patient: i64, source: i64) {
        let sql = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
             VALUES ($1, $2, $3, now() - interval '1 hour', 'infinity')";
        let query = sqlx::query(sql).bind(holder).bind(patient).bind(source);
        query.execute(&mut self.connection).await.unwrap();
    }

    /// A person whose token has these scopes, as `context/Type.letters?filter`.
    async fn person(&mut self, role: Role, fhir_user: &str, patient: Option<&str>, scopes: &[&str]) -> Caller {
        let (kind, id) = fhir_user.split_once('/').unwrap();
        let rid = self.rid(kind, id).await;
        Caller::granted(Granted {
            token: "token".to_owned(),
            client: "app".to_owned(),
            account: Some(id.to_owned()),
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: String::new(),
                holders: Holders {
                    all: vec![rid],
                    patients: if kind == "Patient" { vec![rid] } else { Vec::new() },
                },
            }),
            patient: patient.map(str::to_owned),
            scopes: scopes.iter().map(|scope| grant(scope)).collect(),
            proof: None,
        })
    }

    async fn ann(&mut self) -> Caller {
        self.person(Role::Patient, "Patient/ann", None, &["user/*.cruds"]).await
    }

    /// Ann, with an app that was launched for her.
    async fn anns_app(&mut self, scopes: &[&str]) -> Caller {
        self.person(Role::Patient, "Patient/ann", Some("ann"), scopes).await
    }

    async fn doc(&mut self) -> Caller {
        self.person(Role::Practitioner, "Practitioner/doc", None, &["user/*.cruds"])
            .await
    }

    async fn try_get(&self, caller: &Caller, url: &str) -> Result<Answer, FhirError> {
        http::get(
            &self.app.app.fhir,
            caller,
            url,
            Conditions::default(),
            Preferences::default(),
        )
        .await
    }

    /// What is at `url`, which must be there for the caller.
    async fn get(&self, caller: &Caller, url: &str) -> Value {
        let answer = self.try_get(caller, url).await;
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {}", error.to_json()));
        serde_json::from_str(&answer.body.unwrap()).unwrap()
    }

    /// Status and text of a refusal.
    async fn refusal(&self, caller: &Caller, url: &str) -> (u16, String) {
        match self.try_get(caller, url).await {
            Ok(answer) => panic!("{url} was answered: {:?}", answer.body),
            Err(error) => (error.status.as_u16(), error.to_json()),
        }
    }

    /// The ids of what a search or history holds.
    async fn found(&self, caller: &Caller, url: &str) -> BTreeSet<String> {
        ids(&self.get(caller, url).await)
    }

    async fn write(&self, caller: &Caller, write: Write) -> Result<Outcome, FhirError> {
        let ops = vec![Op { write, full_url: None }];
        match commit::commit(&self.app.app.fhir, caller, ops).await {
            Ok(mut outcomes) => Ok(outcomes.remove(0)),
            Err(error) => Err(error.error),
        }
    }

    async fn bundle(&self, caller: &Caller, bundle: Value) -> Result<Value, FhirError> {
        let text = bundle::process(&self.app.app.fhir, caller, bundle, &Preferences::default()).await?;
        Ok(serde_json::from_str(&text).unwrap())
    }
}

fn back_end(scopes: &[&str]) -> Caller {
    Caller::granted(Granted {
        token: "token".to_owned(),
        client: "laboratory".to_owned(),
        scopes: scopes.iter().map(|scope| grant(scope)).collect(),
        ..Granted::default()
    })
}

fn grant(scope: &str) -> ScopeGrant {
    let (scope, filter) = scope
        .split_once('?')
        .map_or((scope, None), |(scope, filter)| (scope, Some(filter)));
    let (context, rest) = scope.split_once('/').unwrap();
    let (name, letters) = rest.split_once('.').unwrap();
    ScopeGrant {
        context: match context {
            "patient" => ScopeContext::Patient,
            "user" => ScopeContext::User,
            _ => ScopeContext::System,
        },
        resource_type: (name != "*").then(|| resource_type(name).unwrap()),
        permissions: Permissions::parse(letters).unwrap(),
        filter: filter.map(str::to_owned),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn ids(bundle: &Value) -> BTreeSet<String> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let resources = entries.iter().filter(|entry| entry["search"]["mode"] != "outcome");
    resources
        .map(|entry| text(&entry["resource"]["id"]).to_owned())
        .collect()
}

fn set<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

fn create(resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: None,
    }
}

fn update(resource: Value) -> Write {
    Write::Update {
        target: at(text(&resource["resourceType"]), text(&resource["id"])),
        resource,
        if_match: None,
        if_none_match_any: false,
    }
}

fn delete(resource_type: &str, id: &str) -> Write {
    Write::Delete {
        target: at(resource_type, id),
        if_match: None,
    }
}

fn at(resource_type: &str, id: &str) -> Target {
    Target::Instance {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
    }
}

fn observation(id: &str, patient: &str, category: &str) -> Value {
    let system = "http://terminology.hl7.org/CodeSystem/observation-category";
    json!({
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": "self-reported"},
        "category": [{"coding": [{"system": system, "code": category}]}],
        "subject": {"reference": format!("Patient/{patient}")}, "performer": [{"reference": format!("Patient/{patient}")}]
    })
}
