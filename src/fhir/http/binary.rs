//! Binary: a resource that can also be sent and fetched as the bytes it stands for
//! (<https://hl7.org/fhir/R4/binary.html#rest>).
//!
//! A read gives the bytes unless the client names a FHIR format. A create or update with any other Content-Type than
//! FHIR's makes a Binary of the body; `X-Security-Context` names the resource whose access rules hold for it.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::extract::Ask;
use super::negotiation;
use super::query::Query;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::resource::StoredResource;

const SECURITY_CONTEXT: HeaderName = HeaderName::from_static("x-security-context");

/// Whether a read asks for the bytes of a Binary.
pub fn wants_content(resource_type: &str, query: Option<&str>, headers: &HeaderMap) -> Result<bool> {
    if resource_type != "Binary" {
        return Ok(false);
    }
    let query = Query::parse(query.unwrap_or_default())?;
    Ok(!negotiation::wants_resource(headers, query.get("_format")))
}

/// The bytes of a stored Binary under its own content type.
pub fn content(stored: StoredResource, ask: &Ask) -> Result<Response> {
    if ask.conditions.are_met_by(&stored) {
        return Ok(Answer::not_modified(&stored).into_response());
    }
    let binary: Value =
        serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("a stored resource is not JSON"))?;
    // base64Binary may be broken into lines.
    let mut data = binary["data"].as_str().unwrap_or_default().to_owned();
    data.retain(|character| !character.is_ascii_whitespace());
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| FhirError::unprocessable("The data of this Binary is not base64."))?;
    let content_type = binary["contentType"].as_str().unwrap_or_default();
    let content_type =
        HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));

    let mut response = Answer {
        body: None,
        ..Answer::of_version(&stored)
    }
    .into_response();
    *response.body_mut() = Body::from(bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(context) = binary["securityContext"]["reference"].as_str()
        && let Ok(context) = HeaderValue::from_str(context)
    {
        headers.insert(SECURITY_CONTEXT, context);
    }
    Ok(response)
}

/// The Binary resource that a body of another type stands for.
pub fn from_content(headers: &HeaderMap, bytes: &Bytes, id: Option<&str>) -> Result<Value> {
    let text = |name: &HeaderName| -> Result<Option<String>> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let text = value
            .to_str()
            .map_err(|_| FhirError::bad_value("The header is not text.").at(format!("http.{name}")))?;
        Ok(Some(text.trim().to_owned()))
    };
    let mut binary = json!({"resourceType": "Binary", "contentType": text(&header::CONTENT_TYPE)?});
    if let Some(id) = id {
        binary["id"] = json!(id);
    }
    if let Some(context) = text(&SECURITY_CONTEXT)? {
        binary["securityContext"] = json!({"reference": context});
    }
    if !bytes.is_empty() {
        binary["data"] = json!(STANDARD.encode(bytes));
    }
    Ok(binary)
}
