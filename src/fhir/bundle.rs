//! batch and transaction: what a Bundle asks, and the Bundle that answers it
//! (<https://hl7.org/fhir/R4/http.html#transaction>).
//!
//! The writes of a transaction are one [`commit`]; its reads run after it, on what it left. A batch is so many single
//! requests: each fails or succeeds for itself, and some run at the same time.
//!
//! | entry | becomes |
//! |---|---|
//! | `POST [type]` with or without `ifNoneExist` | create |
//! | `PUT [type]/[id]` or `PUT [type]?criteria` | update |
//! | `PATCH`, the same; the resource is a Parameters or a Binary | patch |
//! | `DELETE`, the same | delete |
//! | `GET` or `HEAD` of anything, `POST [type]/_search?…` | what the URL stands for |
//!
//! In an error, `Bundle.entry[i]` says which entry is the reason.

use axum::http::StatusCode;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::caller::Caller;
use super::commit::{self, CommitError, Op, Target, Write, check_content};
use super::error::{FhirError, Result, excerpt};
use super::http::{self, Answer, Conditions, conditions};
use super::patch::Patch;
use super::preferences::{Preferences, Returned};
use super::resource::instant;
use super::server::FhirServer;

/// Entries of a batch that run at the same time. More would let one client take all connections.
const BATCH_CONCURRENCY: usize = 4;

/// Runs a batch or a transaction and answers the response Bundle as JSON text.
///
/// # Errors
/// For a transaction, that of the first entry that cannot be done; nothing is stored then. For a batch, only that the
/// Bundle itself is not one.
pub async fn process(server: &FhirServer, caller: &Caller, bundle: Value, preferences: &Preferences) -> Result<String> {
    let (is_transaction, requests) = read_bundle(server, bundle)?;
    let answers = match is_transaction {
        true => transaction(server, caller, requests, preferences).await?,
        false => batch(server, caller, requests, preferences).await,
    };
    let response_type = if is_transaction {
        "transaction-response"
    } else {
        "batch-response"
    };
    let mut text = format!(r#"{{"resourceType":"Bundle","type":"{response_type}""#);
    for (index, answer) in answers.iter().enumerate() {
        text.push_str(if index == 0 { r#","entry":["# } else { "," });
        answer.write(&mut text);
    }
    text.push_str(if answers.is_empty() { "}" } else { "]}" });
    Ok(text)
}

/// One entry.
struct Request {
    full_url: Option<String>,
    method: String,
    url: String,
    resource: Option<Value>,
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_none_exist: Option<String>,
    if_modified_since: Option<String>,
}

/// What a [`Request`] comes to.
enum Task {
    Write(Op),
    Read {
        url: String,
        conditions: Conditions,
        is_head: bool,
    },
}

/// Takes the Bundle apart: whether it is a transaction, and its entries.
fn read_bundle(server: &FhirServer, mut bundle: Value) -> Result<(bool, Vec<Request>)> {
    let is_transaction = match bundle["type"].as_str() {
        Some("transaction") => true,
        Some("batch") => false,
        _ => {
            let text =
                "A Bundle that is sent to the base is a 'batch' or a 'transaction'. To store one, send it to /Bundle.";
            return Err(FhirError::bad_request(text).at("Bundle.type"));
        }
    };
    // Not by index: looking at a member that is not there would make it.
    let entries = bundle
        .get_mut("entry")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    let mut resources: Vec<Option<Value>> = Vec::new();
    for (index, entry) in entries.enumerate() {
        if entry.get("request").is_none() {
            return Err(no_request(index));
        }
        resources.push(entry.as_object_mut().and_then(|entry| entry.shift_remove("resource")));
    }
    // What is in the entries is checked when it is written; here it is about the envelope.
    check_content(server, &bundle)?;
    let entries = bundle
        .get_mut("entry")
        .and_then(Value::as_array_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    let requests = entries
        .into_iter()
        .zip(resources)
        .enumerate()
        .map(|(index, (mut entry, resource))| {
            let mut request = entry["request"].take();
            let mut text = |name: &str| match request[name].take() {
                Value::String(text) => Some(text),
                _ => None,
            };
            let (Some(method), Some(url)) = (text("method"), text("url")) else {
                return Err(no_request(index));
            };
            let [if_match, if_none_match, if_none_exist, if_modified_since] =
                ["ifMatch", "ifNoneMatch", "ifNoneExist", "ifModifiedSince"].map(&mut text);
            let full_url = entry["fullUrl"].as_str().map(str::to_owned);
            Ok(Request {
                full_url,
                method,
                url,
                resource,
                if_match,
                if_none_match,
                if_none_exist,
                if_modified_since,
            })
        });
    Ok((is_transaction, requests.collect::<Result<_>>()?))
}

fn no_request(index: usize) -> FhirError {
    let text = "An entry of a batch or transaction says in 'request' what is to be done: method and url.";
    FhirError::bad_request(text).at(format!("Bundle.entry[{index}].request"))
}

impl Request {
    fn task(self, server: &FhirServer) -> Result<Task> {
        let base = server.settings.base_url.as_str();
        let relative = self.url.strip_prefix(base).unwrap_or(&self.url).trim_start_matches('/');
        let (path, query) = relative
            .split_once('?')
            .map_or((relative, ""), |(path, query)| (path, query));
        let is_read = matches!(self.method.as_str(), "GET" | "HEAD");
        if is_read {
            let if_none_match = self.if_none_match;
            let conditions = Conditions {
                if_none_match,
                if_modified_since: self.if_modified_since,
            };
            return Ok(Task::Read {
                url: relative.to_owned(),
                conditions,
                is_head: self.method == "HEAD",
            });
        }
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        if let ("POST", &[resource_type, "_search"]) = (self.method.as_str(), &segments[..]) {
            let url = format!("{resource_type}?{query}");
            return Ok(Task::Read {
                url,
                conditions: Conditions::default(),
                is_head: false,
            });
        }
        let target = match segments[..] {
            [resource_type, id] if !id.starts_with(['$', '_']) && query.is_empty() => Target::Instance {
                resource_type: resource_type.to_owned(),
                id: id.to_owned(),
            },
            [resource_type] if !resource_type.is_empty() => Target::Criteria {
                resource_type: resource_type.to_owned(),
                query: query.to_owned(),
            },
            _ => return Err(not_an_address(&self.method, &self.url)),
        };
        let if_match = self.if_match.as_deref().map(conditions::version_of_etag).transpose()?;
        let resource = |resource: Option<Value>| {
            resource.ok_or_else(|| FhirError::bad_request(format!("{} needs a resource.", excerpt(&self.method))))
        };
        let write = match (self.method.as_str(), target) {
            ("POST", Target::Criteria { resource_type, query }) if query.is_empty() => {
                let resource = resource(self.resource)?;
                check_type(&resource, &resource_type)?;
                Write::Create {
                    resource,
                    if_none_exist: self.if_none_exist,
                }
            }
            ("POST", _) => return Err(not_an_address(&self.method, &self.url)),
            (_, Target::Criteria { query, .. }) if query.is_empty() => {
                return Err(FhirError::bad_request(format!(
                    "{} needs an id ([type]/[id]) or criteria ([type]?name=value) in its url.",
                    excerpt(&self.method)
                )));
            }
            ("PUT", target) => Write::Update {
                target,
                resource: resource(self.resource)?,
                if_match,
                if_none_match_any: self.if_none_match.as_deref() == Some("*"),
            },
            ("PATCH", target) => Write::Patch {
                target,
                patch: Patch::from_resource(resource(self.resource)?)?,
                if_match,
            },
            ("DELETE", target) => Write::Delete { target, if_match },
            _ => {
                return Err(FhirError::method_not_allowed(format!(
                    "There is no method '{}'.",
                    excerpt(&self.method)
                )));
            }
        };
        Ok(Task::Write(Op {
            write,
            full_url: self.full_url,
        }))
    }
}

fn not_an_address(method: &str, url: &str) -> FhirError {
    FhirError::not_supported(format!(
        "{} of '{}' is nothing that a Bundle can ask for here.",
        excerpt(method),
        excerpt(url)
    ))
}

fn check_type(resource: &Value, resource_type: &str) -> Result<()> {
    match resource["resourceType"].as_str() {
        Some(own) if own != resource_type => Err(FhirError::bad_request(format!(
            "The url is of type {}, the resource of type {}.",
            excerpt(resource_type),
            excerpt(own)
        ))
        .at("resourceType")),
        _ => Ok(()),
    }
}

/// What an entry is answered with.
struct Answered {
    answer: Answer,
    /// Whether the body is an OperationOutcome about the request, and not what it asked for.
    is_outcome: bool,
}

impl Answered {
    fn failed(error: &FhirError) -> Answered {
        let answer = Answer {
            status: error.status,
            ..Answer::with_body(error.to_json())
        };
        Answered {
            answer,
            is_outcome: true,
        }
    }

    fn write(&self, text: &mut String) {
        let Answer {
            status,
            body,
            version,
            last_modified,
            location,
            ..
        } = &self.answer;
        text.push('{');
        let outcome = body.as_ref().filter(|_| self.is_outcome);
        if let Some(resource) = body.as_ref().filter(|_| !self.is_outcome) {
            if let Some(url) = location
                .as_deref()
                .and_then(|location| location.split("/_history/").next())
            {
                push_member(text, "fullUrl", url);
                text.push(',');
            }
            text.push_str("\"resource\":");
            text.push_str(resource);
            text.push(',');
        }
        text.push_str("\"response\":{");
        push_member(text, "status", &status.to_string());
        let etag = version.map(conditions::etag);
        let last_modified = last_modified.map(instant);
        for (name, value) in [
            ("location", location),
            ("etag", &etag),
            ("lastModified", &last_modified),
        ] {
            if let Some(value) = value {
                text.push(',');
                push_member(text, name, value);
            }
        }
        if let Some(outcome) = outcome {
            text.push_str(",\"outcome\":");
            text.push_str(outcome);
        }
        text.push_str("}}");
    }
}

fn push_member(text: &mut String, name: &str, value: &str) {
    text.push_str(&Value::from(name).to_string());
    text.push(':');
    text.push_str(&Value::from(value).to_string());
}

async fn batch(
    server: &FhirServer,
    caller: &Caller,
    requests: Vec<Request>,
    preferences: &Preferences,
) -> Vec<Answered> {
    let answers = requests.into_iter().enumerate().map(|(index, request)| async move {
        let resource_type = request
            .resource
            .as_ref()
            .and_then(|resource| resource["resourceType"].as_str());
        let resource_type = resource_type.map(str::to_owned);
        match single(server, caller, request, preferences).await {
            Ok(answered) => answered,
            Err(error) => Answered::failed(&located(error, index, resource_type.as_deref())),
        }
    });
    stream::iter(answers).buffered(BATCH_CONCURRENCY).collect().await
}

async fn single(server: &FhirServer, caller: &Caller, request: Request, preferences: &Preferences) -> Result<Answered> {
    match request.task(server)? {
        Task::Read {
            url,
            conditions,
            is_head,
        } => read(server, caller, &url, conditions, is_head, preferences).await,
        Task::Write(op) => {
            let mut outcomes = commit::commit(server, caller, vec![op])
                .await
                .map_err(|failed| failed.error)?;
            let outcome = outcomes
                .pop()
                .ok_or_else(|| FhirError::internal("a write has no outcome"))?;
            let answer = Answer::of_write(server, outcome, preferences).await?;
            Ok(written(answer, preferences))
        }
    }
}

async fn transaction(
    server: &FhirServer,
    caller: &Caller,
    requests: Vec<Request>,
    preferences: &Preferences,
) -> Result<Vec<Answered>> {
    let types: Vec<Option<String>> = requests
        .iter()
        .map(|request| {
            request
                .resource
                .as_ref()?
                .get("resourceType")?
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    let located = |error, index: usize| located(error, index, types[index].as_deref());
    let mut ops = Vec::with_capacity(requests.len());
    let mut written_by = Vec::with_capacity(requests.len());
    let mut reads = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        match request.task(server).map_err(|error| located(error, index))? {
            Task::Write(op) => {
                ops.push(op);
                written_by.push(index);
            }
            Task::Read {
                url,
                conditions,
                is_head,
            } => reads.push((index, url, conditions, is_head)),
        }
    }
    for (index, url, ..) in &reads {
        // A read that nobody can understand refuses the transaction while it still can be refused. What is not there may
        // come with the writes.
        let rehearsing = caller.rehearsing();
        let tried = http::get(server, &rehearsing, url, Conditions::default(), *preferences).await;
        let resource_type = url.split(['/', '?']).next().unwrap_or_default();
        let may_come = server.store.types().id(resource_type).is_some();
        if let Err(error) = tried.map(drop)
            && !(may_come && matches!(error.status, StatusCode::NOT_FOUND | StatusCode::GONE))
        {
            return Err(located(error, *index));
        }
    }
    let mut answers: Vec<Option<Answered>> = types.iter().map(|_| None).collect();
    if !ops.is_empty() {
        let outcomes = commit::commit(server, caller, ops)
            .await
            .map_err(|CommitError { op, error }| match op {
                Some(op) => located(error, written_by[op]),
                None => error,
            })?;
        for (outcome, &index) in outcomes.into_iter().zip(&written_by) {
            let answer = Answer::of_write(server, outcome, preferences).await?;
            answers[index] = Some(written(answer, preferences));
        }
    }
    for (index, url, conditions, is_head) in reads {
        // The writes are committed: what a read meets now is told in its entry.
        let answered = read(server, caller, &url, conditions, is_head, preferences).await;
        answers[index] = Some(answered.unwrap_or_else(|error| Answered::failed(&located(error, index))));
    }
    answers
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| FhirError::internal("an entry has no answer"))
}

async fn read(
    server: &FhirServer,
    caller: &Caller,
    url: &str,
    conditions: Conditions,
    is_head: bool,
    preferences: &Preferences,
) -> Result<Answered> {
    let mut answer = http::get(server, caller, url, conditions, *preferences).await?;
    if is_head {
        answer.body = None;
    }
    Ok(Answered {
        answer,
        is_outcome: false,
    })
}

fn written(answer: Answer, preferences: &Preferences) -> Answered {
    Answered {
        answer,
        is_outcome: preferences.returned == Returned::OperationOutcome,
    }
}

/// Points an error at the entry that is its reason: `Patient.name` becomes `Bundle.entry[2].resource.name`.
fn located(mut error: FhirError, index: usize, resource_type: Option<&str>) -> FhirError {
    let entry = format!("Bundle.entry[{index}]");
    for issue in &mut error.issues {
        for expression in &mut issue.expression {
            let within = resource_type.and_then(|name| expression.strip_prefix(name)?.strip_prefix('.'));
            *expression = match within.or((expression == "resourceType").then_some("resourceType")) {
                Some(path) => format!("{entry}.resource.{path}"),
                None if expression.starts_with("Bundle.") => continue,
                None => entry.clone(),
            };
        }
    }
    error.at(entry)
}
