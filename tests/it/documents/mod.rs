//! Files: the content of Binaries, where it lies, how it comes and goes; and the documents of patients.

mod binaries;
mod files;
mod presigned;
mod s3;
mod scanner;
mod storage;
mod streaming;
mod upload;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::server::FhirServer;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::app::{Answer, Ask, TestApp};

const DOCUMENT: &str = "https://medconsult.example/fhir/StructureDefinition/document";
const CONTENT: &str = "https://medconsult.example/fhir/StructureDefinition/document-content";
const CATEGORIES: &str = "https://medconsult.example/fhir/CodeSystem/document-category";

const PDF: &[u8] = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj\n<<>>\nendobj\n";

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes that no pattern of the server could make by chance.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64 + 7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

impl TestApp {
    /// Sends bytes as a Binary, and answers its address.
    async fn send(&self, content_type: &str, context: Option<&str>, bytes: impl Into<reqwest::Body>) -> String {
        let mut request = self.post("Binary").header("content-type", content_type);
        if let Some(context) = context {
            request = request.header("x-security-context", context);
        }
        let answer = request.header("prefer", "return=minimal").body(bytes).answer().await;
        let answer = answer.expect(201);
        let location = answer.header("location").strip_prefix(&self.base).unwrap();
        location
            .trim_start_matches('/')
            .split("/_history")
            .next()
            .unwrap()
            .to_owned()
    }

    /// A form for `DocumentReference/$upload`.
    async fn upload(&self, fields: &[(&str, &str)], content_type: &str, file: &[u8]) -> Answer {
        let (header, body) = form(fields, content_type, file);
        self.post("DocumentReference/$upload")
            .header("content-type", header)
            .body(body)
            .answer()
            .await
    }

    /// The folder of this server's objects.
    fn objects(&self) -> PathBuf {
        self.app.config.objects.folder.clone()
    }

    async fn put_patient_called(&self, id: &str) {
        let patient = json!({"resourceType": "Patient", "id": id});
        self.put(&format!("Patient/{id}")).fhir(&patient).answer().await;
    }
}

/// Content-Type and body of a form with a file.
fn form(fields: &[(&str, &str)], content_type: &str, file: &[u8]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----a-line-that-no-file-has";
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"scan of today\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(files_below(&path)),
            path => files.push(path),
        }
    }
    files
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A transaction that stores a document and its file, as an application sends it.
fn document_bundle(subject: &str, content_type: &str, file: &[u8]) -> Value {
    json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:5a0e0c10-0000-4000-8000-000000000001",
            "resource": document(subject, "urn:uuid:5a0e0c10-0000-4000-8000-000000000002"),
            "request": {"method": "POST", "url": "DocumentReference"}},
        {"fullUrl": "urn:uuid:5a0e0c10-0000-4000-8000-000000000002",
            "resource": {"resourceType": "Binary", "meta": {"profile": [CONTENT]}, "contentType": content_type,
                "securityContext": {"reference": "urn:uuid:5a0e0c10-0000-4000-8000-000000000001"},
                "data": base64(file)},
            "request": {"method": "POST", "url": "Binary"}}
    ]})
}

fn document(subject: &str, binary: &str) -> Value {
    json!({
        "resourceType": "DocumentReference", "meta": {"profile": [DOCUMENT]}, "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11502-2"}]},
        "category": [{"coding": [{"system": CATEGORIES, "code": "lab-report"}]}],
        "subject": {"reference": subject}, "author": [{"reference": subject}], "date": "2026-03-01T10:00:00Z",
        "content": [{"attachment": {"url": binary}}]
    })
}

/// The ids of DocumentReference and Binary that [`document_bundle`] made.
fn made_by(answer: &Value) -> (String, String) {
    let address = |n: usize| {
        let location = answer["entry"][n]["response"]["location"].as_str().unwrap();
        let place = location.split("/_history").next().unwrap();
        let parts: Vec<&str> = place.rsplit('/').take(2).collect();
        format!("{}/{}", parts[1], parts[0])
    };
    (address(0), address(1))
}

/// Somebody whose token allows everything that their role does.
async fn person(connection: &mut PgConnection, role: Role, fhir_user: &str) -> Caller {
    let (kind, id) = fhir_user.split_once('/').unwrap();
    let sql = "SELECT r.rid FROM resource r JOIN resource_type t ON t.id = r.type WHERE t.name = $1 AND r.id = $2";
    let rid: i64 = sqlx::query_scalar(sql)
        .bind(kind)
        .bind(id)
        .fetch_one(connection)
        .await
        .unwrap();
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
        patient: None,
        scopes: vec![ScopeGrant {
            context: ScopeContext::User,
            resource_type: None,
            permissions: Permissions::ALL,
            filter: None,
        }],
        proof: None,
    })
}

/// The object that a Binary's current version names.
async fn object_of(server: &Arc<FhirServer>, address: &str) -> medconsult::base::objects::ObjectId {
    let (resource_type, id) = address.split_once('/').unwrap();
    let stored = server.look(&Caller::sandbox(), resource_type, id).await.unwrap();
    stored.unwrap().content.expect("it has content").id
}
