//! Binary: a resource that can also be sent and fetched as the bytes it stands for
//! (<https://hl7.org/fhir/R4/binary.html#rest>), in any length: they pass through piece by piece.
//!
//! A read gives the bytes unless the client names a FHIR format. A create or update with any other Content-Type than
//! FHIR's makes a Binary of the body; `X-Security-Context` names the resource whose access rules hold for it.
//!
//! | read of bytes | status |
//! |---|---|
//! | all of them | 200 |
//! | a part of them (`Range`) | 206 |
//! | the client has this version | 304 |
//! | erased for good | 410 |
//! | no byte of what `Range` asks for | 416 |

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::answer::{Answer, http_date};
use super::conditions::etag;
use super::extract::Ask;
use super::query::Query;
use super::range::Range;
use super::{body, negotiation};
use crate::base::objects::ObjectId;
use crate::fhir::access::{self, Permissions};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FHIR_JSON, FhirError, Result};
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;

const SECURITY_CONTEXT: HeaderName = HeaderName::from_static("x-security-context");

/// Whether a read asks for the bytes of a Binary.
pub fn wants_content(query: Option<&str>, headers: &HeaderMap) -> Result<bool> {
    let query = Query::parse(query.unwrap_or_default())?;
    Ok(!negotiation::wants_resource(headers, query.get("_format")))
}

/// A stored Binary, without its content, as a read answers it: as its bytes, or as FHIR's JSON.
pub async fn answer(
    server: &FhirServer,
    mut stored: StoredResource,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response> {
    if wants_content(query, headers)? {
        let ask = Ask::new(query, headers)?;
        return match ask.conditions.are_met_by(&stored) {
            true => Ok(Answer::not_modified(&stored).into_response()),
            false => bytes_of(server, &stored, headers).await,
        };
    }
    let ask = Ask::checked(query, headers)?;
    ask.check_parameters(&[])?;
    if ask.conditions.are_met_by(&stored) {
        return Ok(Answer::not_modified(&stored).into_response());
    }
    if let Some(held) = stored.content
        && ask.projection.is_whole()
        && server
            .objects
            .facts(held.id)
            .await
            .is_ok_and(|facts| facts.size > content::INLINE)
    {
        let (content, length) = content::as_json(server, &stored.json, held.id).await?;
        let mut response = Answer::of_version(&stored).into_response();
        *response.body_mut() = Body::from_stream(content);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
        headers.insert(header::CONTENT_LENGTH, length.into());
        return Ok(response);
    }
    content::give_back(server, vec![&mut stored]).await?;
    Ok(Answer::with_resource(server, stored, ask.resource_projection()?)?.into_response())
}

/// The bytes of a stored Binary, or the part of them that is asked for, under its own content type.
///
/// # Errors
/// 410 when they were erased, 503 when they cannot be reached.
pub async fn bytes_of(server: &FhirServer, stored: &StoredResource, headers: &HeaderMap) -> Result<Response> {
    let binary: Value =
        serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("a stored resource is not JSON"))?;
    let inline = match stored.content {
        Some(_) => Vec::new(),
        None => content::decode(binary["data"].as_str().unwrap_or_default())?,
    };
    let size = match stored.content {
        Some(held) => server.objects.facts(held.id).await?.size,
        None => inline.len() as u64,
    };
    let range = Range::asked(headers, size, &[&etag(stored.version), &http_date(stored.last_updated)]);
    let part = match range {
        Range::Whole => 0..size,
        Range::Part(part) => part,
        Range::Outside => return Ok(outside(size)),
    };
    let body = match stored.content {
        Some(held) => Body::from_stream(content::read(server, held.id, part.clone()).await?),
        None => {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            Body::from(Bytes::from(inline).slice(index(part.start)..index(part.end)))
        }
    };
    let mut response = Answer::of_version(stored).into_response();
    *response.body_mut() = body;
    let is_part = part != (0..size);
    if is_part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let content_type = binary["contentType"].as_str().unwrap_or_default();
    let context = binary["securityContext"]["reference"].as_str();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What stands in a resource need not be fit for a header.
    let fallback = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap_or(fallback));
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_DISPOSITION, disposition(content_type, &stored.id));
    if is_part {
        set(
            header::CONTENT_RANGE,
            format!("bytes {}-{}/{size}", part.start, part.end - 1),
        );
    }
    if let Some(context) = context {
        set(SECURITY_CONTEXT, context.to_owned());
    }
    Ok(response)
}

fn outside(size: u64) -> Response {
    let text = format!("The content has {size} bytes; none of them is in the range that was asked for.");
    let mut response = FhirError::range_not_satisfiable(text).into_response();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

/// How a browser is to treat it: what it can show without running anything is shown, the rest is saved.
fn disposition(content_type: &str, id: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (way, extension) = match media_type {
        "application/pdf" => ("inline", "pdf"),
        "image/jpeg" => ("inline", "jpg"),
        "image/png" => ("inline", "png"),
        "image/webp" => ("inline", "webp"),
        "image/gif" => ("inline", "gif"),
        "text/plain" => ("inline", "txt"),
        "image/tiff" => ("attachment", "tif"),
        "application/dicom" => ("attachment", "dcm"),
        "application/xml" | "text/xml" => ("attachment", "xml"),
        "text/calendar" => ("attachment", "ics"),
        _ => ("attachment", "bin"),
    };
    // An id needs no escapes.
    format!("{way}; filename=\"{id}.{extension}\"")
}

/// Makes a Binary of a body that is not FHIR's: all of it but the content, which is in the store when this returns.
///
/// # Errors
/// 403 for who may write no Binary at all, before any byte is taken; what intakes refuse; 413, 408; 503 when the store is away.
pub async fn receive(
    server: &FhirServer,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    id: Option<&str>,
) -> Result<(Value, Option<ObjectId>)> {
    let letter = match id {
        Some(_) => Permissions::UPDATE,
        None => Permissions::CREATE,
    };
    access::require(server, caller, letter, "Binary")?;
    let text = |name: &HeaderName| -> Result<Option<String>> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let text = value
            .to_str()
            .map_err(|_| FhirError::bad_value("The header is not text.").at(format!("http.{name}")))?;
        Ok(Some(text.trim().to_owned()))
    };
    let content_type = text(&header::CONTENT_TYPE)?.unwrap_or_default();
    let mut binary = content::envelope(&content_type, text(&SECURITY_CONTEXT)?.as_deref());
    if let Some(id) = id {
        binary["id"] = Value::from(id);
    }
    let is_empty = axum::body::HttpBody::is_end_stream(&body);
    if is_empty {
        return Ok((binary, None));
    }
    let content = body::stream(server, headers, body).await?;
    let object = content::place(server, &binary, content).await?;
    Ok((binary, Some(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_nothing_is_shown() {
        assert_eq!(disposition("application/pdf", "7"), "inline; filename=\"7.pdf\"");
        assert_eq!(
            disposition("text/plain; charset=utf-8", "7"),
            "inline; filename=\"7.txt\""
        );
        for (content_type, name) in [
            ("text/html", "7.bin"),
            ("image/svg+xml", "7.bin"),
            ("application/xml", "7.xml"),
            ("", "7.bin"),
        ] {
            assert_eq!(
                disposition(content_type, "7"),
                format!("attachment; filename=\"{name}\"")
            );
        }
    }
}
