//! What an interaction answers, before it becomes an HTTP response or an entry of a Bundle.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;

use super::conditions::etag;
use crate::fhir::commit::{Effect, Outcome};
use crate::fhir::content;
use crate::fhir::error::{FHIR_JSON, Issue, Result, operation_outcome};
use crate::fhir::preferences::{Preferences, Returned};
use crate::fhir::resource::{self, StoredResource};
use crate::fhir::server::FhirServer;
use crate::fhir::summary::Projection;
use crate::fhir::trail::Shown;

/// The result of an interaction that worked.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// JSON text of a resource.
    pub body: Option<String>,
    /// The version spoken of: the ETag.
    pub version: Option<i32>,
    pub last_modified: Option<Timestamp>,
    /// URL of the version that was written: `[base]/Patient/1/_history/2`.
    pub location: Option<String>,
    /// The resources that it shows, for the trail.
    pub shown: Vec<Shown>,
}

impl Answer {
    /// 200 with a resource that has no version: a Bundle, an OperationOutcome, a CapabilityStatement.
    pub fn with_body(body: String) -> Answer {
        Answer {
            status: StatusCode::OK,
            body: Some(body),
            version: None,
            last_modified: None,
            location: None,
            shown: Vec::new(),
        }
    }

    /// The same answer, said to show these.
    #[must_use]
    pub fn showing<'r>(mut self, resources: impl IntoIterator<Item = &'r StoredResource>) -> Answer {
        self.shown.extend(resources.into_iter().map(Shown::from));
        self
    }

    /// 200 with a resource that was made for this answer.
    pub fn with_value(resource: &Value) -> Answer {
        Answer::with_body(resource::to_json(resource))
    }

    /// 200 with one version of a resource, or the part of it that was asked for.
    pub fn with_resource(server: &FhirServer, stored: StoredResource, projection: &Projection) -> Result<Answer> {
        let answer = Answer::of_version(&stored);
        let body = match projection.is_whole() {
            true => stored.json,
            false => projection.apply_to_text(&stored.json, server.definitions)?,
        };
        Ok(Answer {
            body: Some(body),
            ..answer
        })
    }

    /// 200 with the headers that one version has, and no body.
    pub fn of_version(stored: &StoredResource) -> Answer {
        Answer {
            status: StatusCode::OK,
            body: None,
            version: Some(stored.version),
            last_modified: Some(stored.last_updated),
            location: None,
            shown: vec![stored.into()],
        }
    }

    /// 304: the client has this version.
    pub fn not_modified(stored: &StoredResource) -> Answer {
        Answer {
            status: StatusCode::NOT_MODIFIED,
            ..Answer::of_version(stored)
        }
    }

    /// The answer to a write (<https://hl7.org/fhir/R4/http.html#create>, `#update`, `#delete`).
    ///
    /// | effect | status |
    /// |---|---|
    /// | created | 201 |
    /// | updated, unchanged, found by `If-None-Exist` | 200 |
    /// | deleted, nothing to delete | 204, or 200 with an OperationOutcome if that is preferred |
    ///
    /// # Errors
    /// 503 when the content of a Binary is to be shown and cannot be reached. The write is done all the same.
    pub async fn of_write(server: &FhirServer, outcome: Outcome, preferences: &Preferences) -> Result<Answer> {
        let Outcome { effect, mut stored } = outcome;
        if preferences.returned == Returned::Representation {
            content::give_back(server, vec![&mut stored]).await?;
        }
        let (status, text) = match effect {
            Effect::Created => (StatusCode::CREATED, "The resource has been created."),
            Effect::Updated => (StatusCode::OK, "The resource has been updated."),
            Effect::Unchanged => (
                StatusCode::OK,
                "The resource was already as it was sent; no version was made.",
            ),
            Effect::Existing => (
                StatusCode::OK,
                "A resource that meets If-None-Exist is there; none was created.",
            ),
            Effect::Deleted => (StatusCode::NO_CONTENT, "The resource has been deleted."),
            Effect::NothingToDelete => (StatusCode::NO_CONTENT, "There was nothing to delete."),
        };
        let is_delete = matches!(effect, Effect::Deleted | Effect::NothingToDelete);
        let body = match preferences.returned {
            Returned::OperationOutcome => Some(operation_outcome(&[Issue::information(text)])),
            // What the client may not read is not shown, whatever it prefers.
            Returned::Representation if !is_delete && !stored.json.is_empty() => Some(stored.json),
            Returned::Representation | Returned::Minimal => None,
        };
        let status = if is_delete && body.is_some() {
            StatusCode::OK
        } else {
            status
        };
        // Version 0: there never was anything.
        let has_version = stored.version > 0;
        let location = (!is_delete).then(|| {
            let base = &server.settings.base_url;
            format!(
                "{base}/{}/{}/_history/{}",
                stored.resource_type, stored.id, stored.version
            )
        });
        Ok(Answer {
            status,
            body,
            version: has_version.then_some(stored.version),
            last_modified: has_version.then_some(stored.last_updated),
            location,
            // The write itself is recorded.
            shown: Vec::new(),
        })
    }
}

/// A time as HTTP writes it, in whole seconds.
pub fn http_date(time: Timestamp) -> String {
    // Only years beyond 9999 cannot be written, and those no timestamp of ours has.
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .unwrap_or_default()
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::with_capacity(8);
        let mut set = |name, value: String| {
            // Ids, numbers and dates are visible ASCII; a configured base URL that is not would show up here first.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        if let Some(version) = self.version {
            set(header::ETAG, etag(version));
        }
        if let Some(time) = self.last_modified {
            set(header::LAST_MODIFIED, http_date(time));
        }
        if let Some(location) = self.location {
            set(header::LOCATION, location);
        }
        let body = match self.body {
            Some(json) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
                Body::from(json)
            }
            None => Body::empty(),
        };
        (self.status, headers, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(
            http_date("2026-01-31T10:00:00.75Z".parse().unwrap()),
            "Sat, 31 Jan 2026 10:00:00 GMT"
        );
    }
}
