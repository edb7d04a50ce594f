//! Reading the body of a request: never more than the limit, never longer than the time for it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::time::Instant;

use crate::fhir::content::ContentStream;
use crate::fhir::error::{FhirError, Result};
use crate::fhir::resource;
use crate::fhir::server::FhirServer;

/// A client that is told 413 while it still sends sees a broken connection instead of the answer, so up to this many
/// further bytes are taken and thrown away.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// The whole body.
///
/// # Errors
/// 413 beyond the limit of the settings, 408 when it has not come in time, 400 when the connection breaks.
pub async fn read(server: &FhirServer, headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let limit = server.settings.max_body_bytes;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let reading = async {
        if declared.is_some_and(|length| length > limit) {
            discard(body).await;
            return Err(FhirError::too_large(limit));
        }
        let mut body = Limited::new(body, limit);
        match BodyExt::collect(&mut body).await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FhirError::too_large(limit)),
            Err(_) => Err(FhirError::bad_request("The body ended before it was complete.")),
        }
    };
    match tokio::time::timeout(server.settings.body_timeout, reading).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_slow()),
    }
}

/// Bytes a second that a client has to keep up with after the time for a body is over.
const SLOWEST: u64 = 16 * 1024;

/// The body, piece by piece, for content of any length up to the limit for that. Each piece must come in the time for a body, and
/// all of them at a pace.
///
/// # Errors
/// 413 for a body that says that it is too long. In the stream 413, 408, and 400 when the connection breaks.
pub async fn stream(server: &FhirServer, headers: &HeaderMap, body: Body) -> Result<ContentStream> {
    let limit = server.settings.max_content_bytes;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        discard(body).await;
        return Err(too_long(limit));
    }
    Ok(paced(
        server,
        body.into_data_stream().map(|piece| piece.map_err(|_| ())).boxed(),
    ))
}

/// Holds pieces of content to the limit and to the time for them.
pub fn paced(server: &FhirServer, pieces: BoxStream<'static, Result<Bytes, ()>>) -> ContentStream {
    let (limit, patience) = (server.settings.max_content_bytes, server.settings.body_timeout);
    let begun = Instant::now();
    let state = (pieces, 0_u64);
    stream::try_unfold(state, move |(mut pieces, mut taken)| async move {
        let pace = begun + patience + Duration::from_secs(taken / SLOWEST);
        let deadline = pace.min(Instant::now() + patience);
        let piece = match tokio::time::timeout_at(deadline, pieces.next()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(()))) => return Err(FhirError::bad_request("The body ended before it was complete.")),
            Ok(Some(Ok(piece))) => piece,
        };
        taken += piece.len() as u64;
        match taken > limit {
            true => Err(too_long(limit)),
            false => Ok(Some((piece, (pieces, taken)))),
        }
    })
    .boxed()
}

fn too_long(limit: u64) -> FhirError {
    FhirError::too_large(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn too_slow() -> FhirError {
    FhirError::timeout("The body did not arrive in the time that this server waits for it.")
}

async fn discard(mut body: Body) {
    let mut discarded = 0;
    while discarded < MAX_DISCARDED_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// The body as a JSON object. That it is a resource of the right type is for the interaction to say.
pub async fn read_json(server: &FhirServer, headers: &HeaderMap, body: Body) -> Result<Value> {
    let bytes = read(server, headers, body).await?;
    resource::parse(&bytes)
}

/// Checks that a body is a resource of the type that the URL says.
pub fn check_type(resource: &Value, resource_type: &str) -> Result<()> {
    match resource {
        Value::Object(members) => match members.get("resourceType").and_then(Value::as_str) {
            Some(name) if name == resource_type => Ok(()),
            Some(name) => {
                let name = crate::fhir::error::excerpt(name);
                let text = format!("The body is a resource of type '{name}', the URL says {resource_type}.");
                Err(FhirError::bad_request(text).at("resourceType"))
            }
            None => Err(FhirError::malformed("The body has no resourceType.").at("resourceType")),
        },
        _ => Err(FhirError::malformed(
            "The body must be a JSON object with a resourceType.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_type_of_the_body_is_that_of_the_url() {
        assert!(check_type(&json!({"resourceType": "Patient"}), "Patient").is_ok());
        for body in [
            json!({"resourceType": "Group"}),
            json!({"resourceType": 1}),
            json!({}),
            json!([]),
            json!("Patient"),
        ] {
            assert_eq!(check_type(&body, "Patient").unwrap_err().status, 400, "{body}");
        }
    }
}
