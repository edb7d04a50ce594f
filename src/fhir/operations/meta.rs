//! `$meta`, `$meta-add`, `$meta-delete`: profiles, tags and security labels
//! (<https://hl7.org/fhir/R4/resource-operation-meta.html>, <https://hl7.org/fhir/R4/resource-operation-meta-add.html>,
//! <https://hl7.org/fhir/R4/resource-operation-meta-delete.html>).
//!
//! | on | `$meta` answers |
//! |---|---|
//! | the system, a type | every label that some resource carries which the caller may search |
//! | an instance, a version | its `meta` as it is |
//!
//! The other two are for an instance or a version. They change it where it stands: no version is made.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::fhir::access::{Permissions, judge};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{LabelChange, LabelTarget, change_labels};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;

/// `$meta`
#[derive(Debug)]
pub struct Meta;

/// `$meta-add`
#[derive(Debug)]
pub struct MetaAdd;

/// `$meta-delete`
#[derive(Debug)]
pub struct MetaDelete;

static META: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "resourceType": "OperationDefinition",
        "id": "meta",
        "url": "http://hl7.org/fhir/OperationDefinition/Resource-meta",
        "name": "Meta",
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": "meta",
        "resource": ["Resource"],
        "system": true,
        "type": true,
        "instance": true,
        "parameter": [{"name": "return", "use": "out", "min": 1, "max": "1", "type": "Meta"}]
    })
});

static META_ADD: LazyLock<Value> = LazyLock::new(|| changing("meta-add", "MetaAdd"));

static META_DELETE: LazyLock<Value> = LazyLock::new(|| changing("meta-delete", "MetaDelete"));

fn changing(code: &str, name: &str) -> Value {
    json!({
        "resourceType": "OperationDefinition",
        "id": code,
        "url": format!("http://hl7.org/fhir/OperationDefinition/Resource-{code}"),
        "name": name,
        "status": "active",
        "kind": "operation",
        "affectsState": true,
        "code": code,
        "resource": ["Resource"],
        "system": false,
        "type": false,
        "instance": true,
        "parameter": [
            {"name": "meta", "use": "in", "min": 1, "max": "1", "type": "Meta"},
            {"name": "return", "use": "out", "min": 1, "max": "1", "type": "Meta"}
        ]
    })
}

impl Operation for Meta {
    fn definition(&self) -> &Value {
        &META
    }

    fn takes_versions(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            let meta = match (input.resource_type, &input.id) {
                (Some(resource_type), Some(id)) => {
                    of_instance(server, caller, resource_type, id, input.version.as_deref()).await?
                }
                (resource_type, _) => in_use(server, caller, resource_type).await?,
            };
            Ok(answer(meta))
        })
    }
}

impl Operation for MetaAdd {
    fn definition(&self) -> &Value {
        &META_ADD
    }

    fn takes_versions(&self) -> bool {
        true
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move { change(server, caller, &input, LabelChange::Add).await })
    }
}

impl Operation for MetaDelete {
    fn definition(&self) -> &Value {
        &META_DELETE
    }

    fn takes_versions(&self) -> bool {
        true
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move { change(server, caller, &input, LabelChange::Remove).await })
    }
}

/// A Meta is no resource, so it comes inside of one.
fn answer(meta: Value) -> Answer {
    Answer::with_value(&json!({
        "resourceType": "Parameters",
        "parameter": [{"name": "return", "valueMeta": meta}]
    }))
}

async fn change(
    server: &FhirServer,
    caller: &Caller,
    input: &OperationInput,
    change: LabelChange,
) -> Result<Answer, FhirError> {
    let (resource_type, id) = (
        input.resource_type.unwrap_or_default(),
        input.id.as_deref().unwrap_or_default(),
    );
    let version = match &input.version {
        None => None,
        Some(text) => Some(version_number(text).ok_or_else(|| FhirError::version_not_found(resource_type, id, text))?),
    };
    let labels = labels_of(input.parameters.value("meta"))?;
    let target = LabelTarget {
        resource_type,
        id,
        version,
    };
    change_labels(server, caller, target, change, labels).await.map(answer)
}

/// The labels in the Meta that a client sent. What else is in it (a client may send back what it read) is no label and
/// stays as it is.
fn labels_of(meta: Option<&Value>) -> Result<&Map<String, Value>, FhirError> {
    let place = "Parameters.parameter.where(name = 'meta').value";
    let Some(Value::Object(meta)) = meta else {
        return Err(FhirError::malformed("A Meta is a JSON object.").at(place));
    };
    let mut count = 0;
    for (kind, is_label) in [
        ("profile", Value::is_string as fn(&Value) -> bool),
        ("security", has_code),
        ("tag", has_code),
    ] {
        let labels = match meta.get(kind) {
            None => continue,
            Some(Value::Array(labels)) if labels.iter().all(is_label) => labels,
            Some(_) => {
                let text =
                    "Profiles are URLs; tags and security labels are Codings with a code, by which they are known.";
                return Err(FhirError::bad_value(text).at(format!("{place}.{kind}")));
            }
        };
        count += labels.len();
    }
    match count {
        0 => Err(FhirError::bad_request("The Meta names no profile, tag or security label.").at(place)),
        _ => Ok(meta),
    }
}

fn has_code(label: &Value) -> bool {
    label["code"].is_string()
}

/// Version ids are our own numbers, written without sign and leading zeros.
fn version_number(text: &str) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

async fn of_instance(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &'static str,
    id: &str,
    version: Option<&str>,
) -> Result<Value, FhirError> {
    let (stored, unknown) = match version {
        None => (
            server.read(caller, resource_type, id).await?,
            FhirError::not_found(resource_type, id),
        ),
        Some(text) => {
            let unknown = FhirError::version_not_found(resource_type, id, text);
            match version_number(text) {
                None => (None, unknown),
                Some(number) => (server.vread(caller, resource_type, id, number).await?, unknown),
            }
        }
    };
    let stored = stored.ok_or(unknown)?;
    if stored.deleted {
        return Err(FhirError::gone(resource_type, id));
    }
    let mut content: Value =
        serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    Ok(content["meta"].take())
}

/// Every label that some resource, or some of a type, carries. The index rows say which there are; codes stand in them
/// without case and displays not at all, so each is read from the newest resource that has it.
async fn in_use(server: &FhirServer, caller: &Caller, resource_type: Option<&str>) -> Result<Value, FhirError> {
    let registry = server.search.current();
    let codes = ["_profile", "_security", "_tag"];
    let judge = judge::of_types(server, caller, Permissions::SEARCH, resource_type)?;
    let params = |name: &str| {
        let parameters = codes.iter().filter_map(|code| registry.parameter(name, code));
        parameters.map(|parameter| parameter.id).collect::<Vec<_>>()
    };
    let params: Vec<i16> = judge.types.iter().flat_map(|name| params(name)).collect();
    let mut lease = server.store.planned().await?;
    let metas = judge.labels(&mut lease, params).await?;
    lease.release();

    let mut result = Map::new();
    for kind in ["profile", "security", "tag"] {
        // In an order that does not change from call to call.
        let mut labels: BTreeMap<String, &Value> = BTreeMap::new();
        for meta in &metas {
            for label in meta[kind].as_array().into_iter().flatten() {
                let key = match label {
                    Value::Object(coding) => format!("{:?}|{:?}", coding.get("system"), coding.get("code")),
                    other => other.to_string(),
                };
                labels.entry(key).or_insert(label);
            }
        }
        if !labels.is_empty() {
            result.insert(kind.to_owned(), labels.into_values().cloned().collect());
        }
    }
    Ok(Value::Object(result))
}
