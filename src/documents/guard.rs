//! What must hold between a document and its file, whoever writes either.
//!
//! | | |
//! |---|---|
//! | a DocumentReference of our profile | its Binary is there, and belongs to it (`securityContext`); types agree |
//! | | `size` and `hash` are those of the file, whatever the client says |
//! | the Binary of a document | its file stays as it is: another file is another document, which replaces it |
//! | any other Binary | cannot become the file of a document, since it was not taken as one |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{DOCUMENT, claims, is_document_content};
use crate::base::objects::{self, ObjectId};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Change, Draft, Guard};

/// See the [module](self).
#[derive(Debug)]
pub struct Documents {
    /// The base of all FHIR URLs, without a slash at the end.
    pub base_url: String,
}

impl Guard for Documents {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(resource_type, "Binary" | "DocumentReference")
    }

    fn before<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            match draft.resource_type {
                "Binary" => check_file(draft.before, draft.after.as_deref()),
                _ => self.check_document(transaction, draft).await,
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async { Ok(()) })
    }
}

fn check_file(before: Option<&Value>, after: Option<&Value>) -> Result<(), FhirError> {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    let is_same_file = before.get("data") == after.get("data");
    match (is_document_content(before), is_document_content(after)) {
        (true, _) if !is_same_file || before["contentType"] != after["contentType"] => Err(FhirError::conflict(
            "This is the file of a document, which stays as it is. Send another document that replaces it.",
        )
        .at("Binary.data")),
        (true, _) if before["securityContext"]["reference"] != after["securityContext"]["reference"] => {
            Err(FhirError::conflict("The file of a document belongs to it for good.").at("Binary.securityContext"))
        }
        (false, true) if is_same_file => Err(FhirError::conflict(
            "This was not sent as the file of a document, and cannot become one. Send it anew.",
        )
        .at("Binary.securityContext")),
        _ => Ok(()),
    }
}

impl Documents {
    async fn check_document(&self, transaction: &mut PgConnection, draft: Draft<'_>) -> Result<(), FhirError> {
        let Some(after) = draft.after.filter(|after| claims(after, DOCUMENT)) else {
            return Ok(());
        };
        if draft
            .before
            .is_some_and(|before| claims(before, DOCUMENT) && before.get("content") == after.get("content"))
        {
            return Ok(());
        }
        let Some(url) = after["content"][0]["attachment"]["url"].as_str() else {
            // The profile asks for it, and says so with all else that is missing.
            return Ok(());
        };
        let refuse = |text: &str| Err(FhirError::unprocessable(text).at("DocumentReference.content.attachment"));
        let Some(id) = self.binary_in(url) else {
            return refuse("The content of a document is a Binary of this server: Binary/[id].");
        };
        let stored;
        let binary = match draft.binaries.get(id) {
            Some(binary) => Some(binary),
            None => {
                stored = find(transaction, id).await?;
                stored.as_ref()
            }
        };
        let Some(binary) = binary else {
            return refuse("There is no such Binary.");
        };
        let context = binary["securityContext"]["reference"].as_str().unwrap_or_default();
        let own = format!("DocumentReference/{}", draft.id);
        if context
            .strip_prefix(&self.base_url)
            .map(|rest| rest.trim_start_matches('/'))
            .unwrap_or(context)
            != own
        {
            return refuse("The securityContext of the Binary has to be this document.");
        }
        let Some(object) = content::marked(binary) else {
            return refuse("The Binary has no content.");
        };
        let content_type = binary["contentType"].clone();
        let attachment = &mut after["content"][0]["attachment"];
        if attachment.get("contentType").is_some_and(|said| *said != content_type) {
            return refuse("The contentType of the attachment is not that of the Binary.");
        }
        attachment["contentType"] = content_type;
        describe(transaction, object.id, attachment).await
    }

    /// The id of the Binary at an address of this server.
    fn binary_in<'u>(&self, url: &'u str) -> Option<&'u str> {
        let relative = match url.strip_prefix(&self.base_url) {
            Some(rest) => rest.strip_prefix('/')?,
            None => url,
        };
        let id = relative.strip_prefix("Binary/")?;
        (!id.is_empty() && !id.contains(['/', '?', '#'])).then_some(id)
    }
}

/// Fills in what only the server knows for certain.
async fn describe(transaction: &mut PgConnection, object: ObjectId, attachment: &mut Value) -> Result<(), FhirError> {
    let facts = objects::facts(transaction, object).await?;
    // R4 counts in 31 bits (https://hl7.org/fhir/R4/datatypes.html#unsignedInt); what is longer has no size.
    match i32::try_from(facts.size) {
        Ok(size) => attachment["size"] = json!(size),
        Err(_) => {
            return Err(FhirError::unprocessable("A document has less than 2 GiB.").at("Binary.data"));
        }
    }
    attachment["hash"] = json!(STANDARD.encode(facts.sha1));
    Ok(())
}

/// The Binary of that id, with its mark, if it is there.
async fn find(transaction: &mut PgConnection, id: &str) -> Result<Option<Value>, FhirError> {
    // Locked, so that it is still there, and the same, when this transaction ends.
    const SQL: &str = "SELECT content::text FROM resource WHERE NOT deleted AND id = $1 \
         AND type = (SELECT id FROM resource_type WHERE name = 'Binary') FOR SHARE";
    let found: Option<String> = sqlx::query_scalar(SQL).bind(id).fetch_optional(transaction).await?;
    Ok(found.and_then(|json| serde_json::from_str(&json).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_named_by_its_address_here() {
        let guard = Documents {
            base_url: "https://clinic.example/fhir".to_owned(),
        };
        for (url, id) in [
            ("Binary/7", Some("7")),
            ("https://clinic.example/fhir/Binary/7", Some("7")),
            ("https://other.example/fhir/Binary/7", None),
            ("https://clinic.example/fhirBinary/7", None),
            ("Binary/7/_history/1", None),
            ("Binary/", None),
            ("Patient/7", None),
        ] {
            assert_eq!(guard.binary_in(url), id, "{url}");
        }
    }

    #[test]
    fn the_file_of_a_document_stays_what_it_is() {
        let binary = |context: &str, data: &str| json!({"contentType": "text/plain", "securityContext": {"reference": context}, "data": data});
        let (document, other) = (binary("DocumentReference/1", "a"), binary("Patient/1", "a"));
        let judged = |before: &Value, after: &Value| {
            check_file(Some(before), Some(after)).map_err(|error| error.status.as_u16())
        };
        assert_eq!(judged(&document, &document), Ok(()));
        assert_eq!(judged(&document, &binary("DocumentReference/1", "b")), Err(409));
        assert_eq!(judged(&document, &other), Err(409));
        assert_eq!(judged(&document, &binary("DocumentReference/2", "a")), Err(409));
        assert_eq!(judged(&other, &document), Err(409));
        assert_eq!(judged(&other, &binary("DocumentReference/1", "b")), Ok(()));
        assert_eq!(judged(&other, &binary("Patient/2", "b")), Ok(()));
        assert_eq!(check_file(None, Some(&document)).ok(), Some(()));
        assert_eq!(check_file(Some(&document), None).ok(), Some(()));
    }
}
