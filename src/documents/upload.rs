//! `DocumentReference/$upload`: a file and what is said about it, stored as Binary and DocumentReference in one transaction.
//!
//! It takes a form (`multipart/form-data`, <https://www.rfc-editor.org/rfc/rfc7578>) with the file as `file`, which streams in any
//! length, or Parameters with a Binary. Patients upload into their own record, practitioners into those of their patients.
//!
//! | | status |
//! |---|---|
//! | stored; the DocumentReference | 201 |
//! | a field that is missing, or that there is not | 400 |
//! | somebody else's record | 403, 404 |
//! | too long | 413 |
//! | not of a type that is taken, or not what it is said to be, or malware | 422 |
//! | store or scanner away | 503 |

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::{CATEGORIES, CONTENT, DOCUMENT};
use crate::base::objects::ObjectId;
use crate::fhir::access::{Permissions, Role, require};
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Write, commit_placed};
use crate::fhir::content;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::http::body::paced;
use crate::fhir::http::extract::{Ask, OperationPath};
use crate::fhir::http::operation;
use crate::fhir::parameters::Parameters;
use crate::fhir::preferences::Preferences;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind};
use crate::knowledge::profiles;

/// Longest value of a field beside the file, in bytes.
const LONGEST_FIELD: usize = 4 * 1024;
/// Most fields of a form.
const MOST_FIELDS: usize = 40;

/// The LOINC code that a document of a category has unless somebody says another.
const TYPES: [(&str, &str, &str); 7] = [
    ("lab-report", "11502-2", "Laboratory report"),
    ("imaging", "18748-4", "Diagnostic imaging study"),
    ("prescription", "57833-6", "Prescription for medication Document"),
    ("insurance", "64290-0", "Health insurance card"),
    ("referral", "57133-1", "Referral note"),
    ("identity", "51851-4", "Administrative note"),
    ("other", "34109-9", "Note"),
];

static DEFINITION: LazyLock<&'static Value> = LazyLock::new(|| profiles::operation("documentreference-upload"));

/// See the [module](self).
#[derive(Debug)]
pub struct Upload;

impl Operation for Upload {
    fn definition(&self) -> &Value {
        &DEFINITION
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
        Box::pin(async move {
            let file = input.parameters.value("file").cloned().unwrap_or_default();
            let content_type = file["contentType"].as_str().unwrap_or_default();
            let Some(data) = file["data"].as_str().filter(|data| !data.is_empty()) else {
                return Err(
                    FhirError::bad_request("The file is a Binary with contentType and data.")
                        .at("Parameters.parameter.where(name = 'file')"),
                );
            };
            may_upload(server, caller)?;
            let bytes = content::decode(data)?;
            let object = content::place_bytes(server, &binary(content_type), bytes).await?;
            store(
                server,
                caller,
                &input.parameters,
                (content_type, object),
                &input.preferences,
            )
            .await
        })
    }
}

/// `POST [base]/DocumentReference/$upload`: a form here, Parameters where those of all operations are read.
pub async fn handle(State(server): State<Arc<FhirServer>>, caller: Caller, ask: Ask, request: Request) -> Response {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("multipart/form-data")
        });
    if !is_form {
        let path = OperationPath {
            resource_type: Some("DocumentReference"),
            name: "upload".to_owned(),
            ..OperationPath::default()
        };
        let (parts, body) = request.into_parts();
        return operation::handle_post(State(server), caller, path, ask, parts.headers, body)
            .await
            .into_response();
    }
    let answer = by_form(&server, &caller, request, &ask.preferences).await;
    let event = || Event::new(Kind::Operation).request("DocumentReference/$upload");
    server.trail.record(&caller, event, answer).await.into_response()
}

async fn by_form(
    server: &FhirServer,
    caller: &Caller,
    request: Request,
    preferences: &Preferences,
) -> Result<Answer, FhirError> {
    may_upload(server, caller)?;
    let broken = || FhirError::bad_request("The form is not multipart/form-data as RFC 7578 has it.");
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| broken())?;
    let mut fields = Vec::new();
    let mut file: Option<(String, ObjectId)> = None;
    let mut title = None;
    while let Some(field) = form.next_field().await.map_err(|_| broken())? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            fields.push((name, text_of(server, field).await?));
            if fields.len() > MOST_FIELDS {
                return Err(FhirError::bad_request("The form has too many fields."));
            }
            continue;
        }
        if file.is_some() {
            return Err(FhirError::bad_request(
                "The form has more than one file; send one form for each.",
            ));
        }
        let content_type = field.content_type().unwrap_or_default().to_owned();
        title = field.file_name().map(title_of).filter(|title| !title.is_empty());
        // The parser of forms lends its fields, and the store takes what lives on its own: pieces cross over one by one.
        let (pieces, mut taken) = tokio::sync::mpsc::channel::<Result<Bytes, ()>>(1);
        let taken = stream::poll_fn(move |cx| taken.poll_recv(cx)).boxed();
        let binary = binary(&content_type);
        let (placed, ()) = tokio::join!(content::place(server, &binary, paced(server, taken)), async move {
            let mut field = field;
            loop {
                let piece = match field.chunk().await {
                    Ok(None) => return,
                    Ok(Some(piece)) => Ok(piece),
                    Err(_) => Err(()),
                };
                let is_broken = piece.is_err();
                if pieces.send(piece).await.is_err() || is_broken {
                    return;
                }
            }
        });
        file = Some((content_type, placed?));
    }
    let Some((content_type, object)) = file else {
        return Err(FhirError::bad_request(
            "The form has no file: its field is called 'file'.",
        ));
    };
    if let Some(title) = title
        && !fields.iter().any(|(name, _)| name == "title")
    {
        fields.push(("title".to_owned(), title));
    }
    let parameters = Parameters::from_query(&fields);
    check_fields(&parameters, &fields)?;
    store(server, caller, &parameters, (&content_type, object), preferences).await
}

/// Holds the fields of a form against the definition, in which the file is one of them.
fn check_fields(parameters: &Parameters, fields: &[(String, String)]) -> Result<(), FhirError> {
    let mut definition = (*DEFINITION).clone();
    if let Some(list) = definition["parameter"].as_array_mut() {
        list.retain(|parameter| parameter["name"] != "file");
        // In a form a Coding is its code, or system|code.
        for parameter in list.iter_mut().filter(|parameter| parameter["type"] == "Coding") {
            parameter["type"] = json!("string");
        }
    }
    debug_assert!(parameters.pairs().len() == fields.len());
    parameters.check(&definition, false)
}

async fn text_of(server: &FhirServer, mut field: axum::extract::multipart::Field<'_>) -> Result<String, FhirError> {
    let broken = || FhirError::bad_request("A field of the form cannot be read.");
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(piece) = field.chunk().await.map_err(|_| broken())? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LONGEST_FIELD {
                return Err(FhirError::too_large(LONGEST_FIELD));
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(server.settings.body_timeout, reading).await;
    read.map_err(|_| FhirError::timeout("The form did not arrive in the time that this server waits for it."))??;
    String::from_utf8(bytes).map_err(|_| broken())
}

/// What a file is called, without where it lay and without what no title needs.
fn title_of(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The Binary of a file, for what passes before it is stored.
fn binary(content_type: &str) -> Value {
    let mut binary = content::envelope(content_type, None);
    binary["meta"] = json!({"profile": [CONTENT]});
    binary
}

/// Refuses who may write no document at all, before their file is taken.
fn may_upload(server: &FhirServer, caller: &Caller) -> Result<(), FhirError> {
    require(server, caller, Permissions::CREATE, "DocumentReference")?;
    require(server, caller, Permissions::CREATE, "Binary")
}

async fn store(
    server: &FhirServer,
    caller: &Caller,
    parameters: &Parameters,
    (content_type, object): (&str, ObjectId),
    preferences: &Preferences,
) -> Result<Answer, FhirError> {
    const DOCUMENT_NAME: &str = "urn:uuid:7b7ae0a4-9a0b-4a4c-8f5e-000000000001";
    const BINARY_NAME: &str = "urn:uuid:7b7ae0a4-9a0b-4a4c-8f5e-000000000002";
    let document = document(server, caller, parameters, content_type, BINARY_NAME)?;
    let mut binary = binary(content_type);
    binary["securityContext"] = json!({"reference": DOCUMENT_NAME});
    let create = |resource: Value, name: &str| Op {
        write: Write::Create {
            resource,
            if_none_exist: None,
        },
        full_url: Some(name.to_owned()),
    };
    let ops = vec![create(binary, BINARY_NAME), create(document, DOCUMENT_NAME)];
    let outcomes = commit_placed(server, caller, ops, HashMap::from([(0, object)]))
        .await
        .map_err(|failed| failed.error)?;
    let outcome = outcomes
        .into_iter()
        .nth(1)
        .ok_or_else(|| FhirError::internal("a commit of two writes has two outcomes"))?;
    let mut answer = Answer::of_write(server, outcome, preferences).await?;
    answer.status = StatusCode::CREATED;
    Ok(answer)
}

fn document(
    server: &FhirServer,
    caller: &Caller,
    parameters: &Parameters,
    content_type: &str,
    binary: &str,
) -> Result<Value, FhirError> {
    let category = parameters.text("category").unwrap_or_default();
    let Some((_, code, display)) = TYPES.iter().find(|(name, ..)| *name == category) else {
        let names: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
        let text = format!(
            "'{}' is no category; there are {}.",
            excerpt(category),
            names.join(", ")
        );
        return Err(FhirError::bad_value(text).at(place("category")));
    };
    let coding = match (parameters.value("type"), parameters.text("type")) {
        (Some(coding), _) => coding.clone(),
        (None, Some(text)) => match text.split_once('|') {
            Some((system, code)) => json!({"system": system, "code": code}),
            None => json!({"system": "http://loinc.org", "code": text}),
        },
        (None, None) => json!({"system": "http://loinc.org", "code": code, "display": display}),
    };
    let (subject, author) = people(caller, parameters)?;
    let mut attachment = Map::new();
    attachment.insert("contentType".to_owned(), json!(content_type));
    attachment.insert("url".to_owned(), json!(binary));
    let mut document = json!({
        "resourceType": "DocumentReference",
        "meta": {"profile": [DOCUMENT]},
        "status": "current",
        "type": {"coding": [coding]},
        "category": [{"coding": [{"system": CATEGORIES, "code": category}]}],
        "subject": {"reference": subject},
        "date": instant(server.clock.now()),
        "author": [{"reference": author}],
    });
    if let Some(title) = parameters.text("title") {
        document["description"] = json!(title);
        attachment.insert("title".to_owned(), json!(title));
    }
    document["content"] = json!([{"attachment": attachment}]);
    let related: Vec<Value> = parameters
        .references("related")
        .map(|related| json!({"reference": related}))
        .collect();
    if !related.is_empty() {
        document["context"] = json!({"related": related});
    }
    if let Some(old) = parameters.references("replaces").next() {
        document["relatesTo"] = json!([{"code": "replaces", "target": {"reference": old}}]);
    }
    Ok(document)
}

/// Whose record it goes into, and who is its author.
fn people(caller: &Caller, parameters: &Parameters) -> Result<(String, String), FhirError> {
    let user = caller.user();
    let named = |name: &str| parameters.references(name).next().map(str::to_owned);
    let own = user
        .filter(|user| user.role == Role::Patient)
        .map(|user| user.fhir_user.clone());
    let subject = named("subject").or_else(|| own.clone().filter(|own| own.starts_with("Patient/")));
    let Some(subject) = subject else {
        return Err(FhirError::bad_request("The document needs a subject: a Patient.").at(place("subject")));
    };
    let author = match (own, named("author"), user) {
        (Some(own), Some(author), _) if author != own => {
            let text = "Whoever uploads a document as a patient is its author.";
            return Err(FhirError::forbidden(text).at(place("author")));
        }
        (_, Some(author), _) => author,
        (_, None, Some(user)) => user.fhir_user.clone(),
        (_, None, None) => {
            return Err(FhirError::bad_request("The document needs an author.").at(place("author")));
        }
    };
    Ok((subject, author))
}

fn place(name: &str) -> String {
    format!("Parameters.parameter.where(name = '{name}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_no_path() {
        assert_eq!(title_of("C:\\Users\\me\\scan.pdf"), "scan.pdf");
        assert_eq!(title_of("../../etc/passwd"), "passwd");
        assert_eq!(title_of("a\u{7}b.png"), "ab.png");
    }

    #[test]
    fn every_category_has_a_type() {
        let categories: Value =
            serde_json::from_str(include_str!("../../profiles/code-systems/document-category.json")).unwrap();
        let codes: Vec<&str> = categories["concept"]
            .as_array()
            .unwrap()
            .iter()
            .map(|concept| concept["code"].as_str().unwrap())
            .collect();
        assert_eq!(codes, TYPES.map(|(name, ..)| name));
    }
}
