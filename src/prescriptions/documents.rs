//! A printed sheet among the patient's documents: a DocumentReference and the Binary with the PDF. A later print replaces it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest as hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff_sqlx::ToSqlx;
use serde_json::{Value, json};

use super::names::{CONTENT_PROFILE, DOCUMENT_CATEGORIES, DOCUMENT_PROFILE, LOINC, SHEETS};
use super::record::Record;
use super::sheet::Paper;
use super::state::State;
use crate::base::crypto::{digest, random_token};
use crate::fhir::commit::{Op, Target, Write};
use crate::fhir::error::FhirError;
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;

/// A print that is about to be made: its ids and its secret address.
pub struct Print {
    pub document: String,
    binary: String,
    secret: String,
}

/// What a document says of its print.
pub struct About<'a> {
    pub number: &'a str,
    pub patient: &'a str,
    pub practitioner: &'a str,
    pub organization: &'a str,
    pub provenance: &'a str,
    /// `MedicationRequest/…` of each medicine.
    pub prescriptions: &'a [String],
    pub paper: Paper,
    /// The status of each medicine as it is printed.
    pub states: &'a [State],
    /// The print that this one replaces.
    pub replaces: Option<&'a Record>,
}

impl Print {
    pub fn new(server: &FhirServer) -> Print {
        Print {
            document: server.ids.next().to_string(),
            binary: server.ids.next().to_string(),
            secret: random_token(),
        }
    }

    /// The address of the page that tells whether the sheet is valid.
    pub fn url(&self, server: &FhirServer) -> String {
        let base = server.settings.base_url.as_str();
        format!("{}/verify/{}", base.strip_suffix("/fhir").unwrap_or(base), self.secret)
    }

    /// Notes the address, before the document is there: until then the page knows nothing of it.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn announce(&self, server: &FhirServer, about: &About<'_>) -> Result<(), FhirError> {
        let states: Vec<&str> = about.states.iter().map(|state| state.code()).collect();
        let mut lease = server.store.fixed().await?;
        sqlx::query(
            "INSERT INTO prescription_print (hash, number, document, paper, states, printed_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(digest(&self.secret).as_slice())
        .bind(about.number)
        .bind(&self.document)
        .bind(about.paper.code())
        .bind(states)
        .bind(server.clock.now().to_sqlx())
        .execute(&mut *lease)
        .await?;
        lease.release();
        Ok(())
    }

    /// The writes that store it.
    pub fn ops(&self, server: &FhirServer, about: &About<'_>, pdf: &[u8]) -> Vec<Op> {
        let document = format!("DocumentReference/{}", self.document);
        let now = server.clock.now();
        let mut related = vec![json!({"reference": about.provenance})];
        related.extend(
            about
                .prescriptions
                .iter()
                .map(|reference| json!({"reference": reference})),
        );
        let mut reference = json!({
            "resourceType": "DocumentReference",
            "id": self.document,
            "meta": {"profile": [DOCUMENT_PROFILE]},
            "identifier": [{"system": SHEETS, "value": about.number}],
            "status": "current",
            "docStatus": "final",
            "type": {"coding": [{"system": LOINC, "code": "57833-6", "display": "Prescription for medication"}]},
            "category": [{"coding": [{"system": DOCUMENT_CATEGORIES, "code": "prescription"}]}],
            "subject": {"reference": about.patient},
            "date": instant(now),
            "author": [{"reference": about.practitioner}],
            "custodian": {"reference": about.organization},
            "content": [{"attachment": {
                "contentType": "application/pdf",
                "url": format!("Binary/{}", self.binary),
                "size": pdf.len(),
                "hash": STANDARD.encode(hash(&SHA1_FOR_LEGACY_USE_ONLY, pdf)),
                "title": format!("Prescription {}", about.number),
                "creation": instant(now),
            }}],
            "context": {"related": related},
        });
        let binary = json!({
            "resourceType": "Binary",
            "id": self.binary,
            "meta": {"profile": [CONTENT_PROFILE]},
            "contentType": "application/pdf",
            "securityContext": {"reference": document},
            "data": STANDARD.encode(pdf),
        });
        let mut ops = Vec::new();
        if let Some(former) = about.replaces {
            reference["relatesTo"] = json!([{"code": "replaces", "target": {"reference": former.reference()}}]);
            let mut superseded = former.content.clone();
            superseded["status"] = json!("superseded");
            ops.push(put(superseded, Some(former.stored.version)));
        }
        ops.push(put(reference, None));
        ops.push(put(binary, None));
        ops
    }
}

/// Stores a resource under the id that it has.
pub fn put(resource: Value, if_match: Option<i32>) -> Op {
    let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
    Op {
        write: Write::Update {
            target: Target::Instance {
                resource_type: text("resourceType"),
                id: text("id"),
            },
            if_match,
            if_none_match_any: false,
            resource,
        },
        full_url: None,
    }
}
