//! What content passes before it is stored.
//!
//! The file of a document is what its type says, of a type that is taken, and a picture shows and tells nothing else. The scanner, if
//! there is one, looks at the content of every Binary.

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::is_document_content;
use super::kinds::{self, HEAD};
use super::scanner::Scanner;
use crate::base::pictures::Format;
use crate::fhir::content::ContentStream;
use crate::fhir::error::FhirError;
use crate::fhir::hooks;

/// Longest picture, in bytes: it is taken apart in memory.
const LONGEST_PICTURE: usize = 32 * 1024 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Intake {
    /// Media types that are taken.
    pub types: Vec<String>,
    pub scanner: Option<Scanner>,
}

impl hooks::Intake for Intake {
    fn take<'a>(
        &'a self,
        binary: &'a Value,
        content: ContentStream,
    ) -> BoxFuture<'a, Result<ContentStream, FhirError>> {
        Box::pin(async move {
            let content = match is_document_content(binary) {
                true => self.judge(binary, content).await?,
                false => content,
            };
            match &self.scanner {
                Some(scanner) => scanner.watch(content).await,
                None => Ok(content),
            }
        })
    }
}

impl Intake {
    async fn judge(&self, binary: &Value, mut content: ContentStream) -> Result<ContentStream, FhirError> {
        let declared = binary["contentType"].as_str().unwrap_or_default();
        let mut head = Vec::with_capacity(HEAD);
        gather(&mut content, &mut head, HEAD).await?;
        kinds::check(&head[..head.len().min(HEAD)], declared, &self.types)?;
        let Some(format) = Format::of(&kinds::media_type(declared)) else {
            let head = stream::once(async move { Ok(Bytes::from(head)) });
            return Ok(head.chain(content).boxed());
        };
        gather(&mut content, &mut head, LONGEST_PICTURE + 1).await?;
        if head.len() > LONGEST_PICTURE {
            return Err(FhirError::too_large(LONGEST_PICTURE));
        }
        let clean = format.clean(head).ok_or_else(|| {
            FhirError::unprocessable("This picture is broken: it cannot be read to its end.").at("Binary.data")
        })?;
        let clean = Bytes::from(clean.bytes);
        Ok(stream::once(async move { Ok(clean) }).boxed())
    }
}

/// Takes content until there are so many bytes of it, or it ends.
async fn gather(content: &mut ContentStream, into: &mut Vec<u8>, wanted: usize) -> Result<(), FhirError> {
    while into.len() < wanted
        && let Some(piece) = content.next().await
    {
        into.extend_from_slice(&piece?);
    }
    Ok(())
}
