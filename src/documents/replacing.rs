//! A document that says that it replaces another one (`relatesTo.code` = `replaces`) supersedes it, in the same transaction.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{DOCUMENT, claims};
use crate::fhir::access::Permissions;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{Op, Target, Write};
use crate::fhir::error::FhirError;
use crate::fhir::hooks::Consequence;
use crate::fhir::server::FhirServer;

/// See the [module](self).
#[derive(Debug)]
pub struct Replacing;

impl Consequence for Replacing {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "DocumentReference"
    }

    /// Prescriptions, for example, are printed anew together with a word about the former sheet.
    fn yields(&self) -> bool {
        true
    }

    fn follows<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        write: &'a Write,
    ) -> BoxFuture<'a, Result<Vec<Op>, FhirError>> {
        Box::pin(async move {
            let (Write::Create { resource, .. } | Write::Update { resource, .. }) = write else {
                return Ok(Vec::new());
            };
            if !claims(resource, DOCUMENT) || resource["status"] != "current" {
                return Ok(Vec::new());
            }
            let mut ops = Vec::new();
            for id in replaced(resource) {
                ops.extend(supersede(server, caller, resource, id).await?);
            }
            Ok(ops)
        })
    }
}

/// The ids of the documents that this one replaces.
fn replaced(document: &Value) -> impl Iterator<Item = &str> {
    let relations = document["relatesTo"].as_array().into_iter().flatten();
    let targets = relations.filter(|relation| relation["code"] == "replaces");
    targets.filter_map(|relation| {
        relation["target"]["reference"]
            .as_str()?
            .strip_prefix("DocumentReference/")
    })
}

async fn supersede(server: &FhirServer, caller: &Caller, document: &Value, id: &str) -> Result<Option<Op>, FhirError> {
    let place = "DocumentReference.relatesTo";
    let found = server.read(caller, "DocumentReference", id).await?;
    let Some(stored) = found.filter(|found| !found.deleted) else {
        return Err(FhirError::unprocessable("There is no such document to replace.").at(place));
    };
    let mut old: Value =
        serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
    if old["status"] == "superseded" {
        // Whoever writes a document again that replaced it finds it so.
        return match replaced_before(server, caller, document, id).await? {
            true => Ok(None),
            false => Err(FhirError::conflict("It has been replaced already: replace what replaced it.").at(place)),
        };
    }
    if old["subject"]["reference"] != document["subject"]["reference"] {
        return Err(FhirError::unprocessable("It is a document of somebody else.").at(place));
    }
    if !server.may(caller, Permissions::UPDATE, &stored).await? {
        return Err(FhirError::forbidden("This document is not yours to replace.").at(place));
    }
    old["status"] = json!("superseded");
    Ok(Some(Op {
        write: Write::Update {
            target: Target::Instance {
                resource_type: "DocumentReference".to_owned(),
                id: id.to_owned(),
            },
            resource: old,
            if_match: Some(stored.version),
            if_none_match_any: false,
        },
        full_url: None,
    }))
}

/// Whether the document, as it is there now, replaces that one.
async fn replaced_before(server: &FhirServer, caller: &Caller, document: &Value, id: &str) -> Result<bool, FhirError> {
    let Some(own) = document["id"].as_str() else {
        return Ok(false);
    };
    let found = server.read(caller, "DocumentReference", own).await?;
    let stored: Option<Value> = found.and_then(|found| serde_json::from_str(&found.json).ok());
    Ok(stored.is_some_and(|stored| replaced(&stored).any(|replaced| replaced == id)))
}
