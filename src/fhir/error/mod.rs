//! What goes wrong, as FHIR says it: an HTTP status and an OperationOutcome
//! (<https://hl7.org/fhir/R4/operationoutcome.html>, <https://hl7.org/fhir/R4/http.html#Status-Codes>).
//!
//! | constructor | status | issue code |
//! |---|---|---|
//! | [`FhirError::bad_request`] | 400 | `invalid` |
//! | [`FhirError::malformed`] | 400 | `structure` |
//! | [`FhirError::bad_value`] | 400 | `value` |
//! | [`FhirError::not_supported`] | 400 | `not-supported` |
//! | [`FhirError::forbidden`] | 403 | `forbidden` |
//! | [`FhirError::not_found`], [`FhirError::unknown_type`], [`FhirError::no_such_address`] | 404 | `not-found` |
//! | [`FhirError::method_not_allowed`] | 405 | `not-supported` |
//! | [`FhirError::not_acceptable`] | 406 | `not-supported` |
//! | [`FhirError::timeout`] | 408 | `timeout` |
//! | [`FhirError::conflict`] | 409 | `conflict` |
//! | [`FhirError::gone`] | 410 | `deleted` |
//! | [`FhirError::precondition_failed`] | 412 | `conflict` |
//! | [`FhirError::multiple_matches`] | 412 | `multiple-matches` |
//! | [`FhirError::too_large`] | 413 | `too-long` |
//! | [`FhirError::unsupported_media_type`] | 415 | `not-supported` |
//! | [`FhirError::unprocessable`] | 422 | `processing` |
//! | [`FhirError::too_costly`] | 422 | `too-costly` |
//! | [`FhirError::throttled`] | 429 | `throttled` |
//! | [`FhirError::internal`] | 500 | `exception` |
//! | [`FhirError::unavailable`] | 503 | `transient` |
//!
//! What the database reports is logged, never shown. What a client sent may be echoed to that client in `diagnostics`;
//! it is never logged: [`FhirError`]'s `Display` holds status and issue codes alone.

mod database;
mod issue;

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub use self::issue::{Issue, IssueType, Severity, operation_outcome};

/// Media type of every FHIR body this server sends.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// An interaction that was refused or failed.
#[derive(Clone, Debug)]
pub struct FhirError {
    pub status: StatusCode,
    /// Never empty.
    pub issues: Vec<Issue>,
    retryable: bool,
    /// What the caller must do to be let in: the value of `WWW-Authenticate`.
    challenge: Option<String>,
}

/// The result of everything that can refuse an interaction.
pub type Result<T, E = FhirError> = std::result::Result<T, E>;

impl FhirError {
    pub fn new(status: StatusCode, issue: Issue) -> FhirError {
        FhirError {
            status,
            issues: vec![issue],
            retryable: false,
            challenge: None,
        }
    }

    /// Several findings at once, such as all of a validation. `issues` must not be empty.
    pub fn with_issues(status: StatusCode, issues: Vec<Issue>) -> FhirError {
        debug_assert!(!issues.is_empty(), "an OperationOutcome needs an issue");
        FhirError {
            status,
            issues,
            retryable: false,
            challenge: None,
        }
    }

    /// Names the element (or `http.` header or parameter) concerned in every issue that has none yet.
    pub fn at(mut self, expression: impl Into<String>) -> FhirError {
        let expression = expression.into();
        for issue in self.issues.iter_mut().filter(|issue| issue.expression.is_empty()) {
            issue.expression.push(expression.clone());
        }
        self
    }

    /// Whether a concurrent transaction made the database give this one up (SQLSTATE 40001 or 40P01): doing the
    /// whole work again may succeed.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// 400: the request breaks a rule of HTTP or of the interaction.
    pub fn bad_request(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::BAD_REQUEST, Issue::error(IssueType::Invalid, diagnostics))
    }

    /// 400: the body is not a JSON resource.
    pub fn malformed(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::BAD_REQUEST, Issue::error(IssueType::Structure, diagnostics))
    }

    /// 400: a parameter, header or element has a value that its type does not allow.
    pub fn bad_value(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::BAD_REQUEST, Issue::error(IssueType::Value, diagnostics))
    }

    /// 400: a thing that FHIR has and this server does not.
    pub fn not_supported(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::BAD_REQUEST,
            Issue::error(IssueType::NotSupported, diagnostics),
        )
    }

    /// 401: the caller must prove who they are, as the challenge says (<https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>).
    pub fn unauthenticated(diagnostics: impl Into<String>, challenge: String) -> FhirError {
        let issue = Issue::error(IssueType::Login, diagnostics);
        FhirError {
            challenge: Some(challenge),
            ..FhirError::new(StatusCode::UNAUTHORIZED, issue)
        }
    }

    /// 403: the caller may not do this.
    pub fn forbidden(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::FORBIDDEN, Issue::error(IssueType::Forbidden, diagnostics))
    }

    /// 404: no resource with that id has ever been here.
    pub fn not_found(resource_type: &str, id: &str) -> FhirError {
        let text = format!("There is no {resource_type} with the id '{}'.", excerpt(id));
        FhirError::new(StatusCode::NOT_FOUND, Issue::error(IssueType::NotFound, text))
    }

    /// 404: the resource is here, this version of it is not.
    pub fn version_not_found(resource_type: &str, id: &str, version: &str) -> FhirError {
        let text = format!("{resource_type}/{} has no version '{}'.", excerpt(id), excerpt(version));
        FhirError::new(StatusCode::NOT_FOUND, Issue::error(IssueType::NotFound, text))
    }

    /// 404: the URL names something that is not a resource type of R4.
    pub fn unknown_type(name: &str) -> FhirError {
        let text = format!(
            "'{}' is not a resource type of FHIR R4; names are case-sensitive.",
            excerpt(name)
        );
        FhirError::new(StatusCode::NOT_FOUND, Issue::error(IssueType::NotFound, text))
    }

    /// 404: the URL is none of the API.
    pub fn no_such_address(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::NOT_FOUND, Issue::error(IssueType::NotFound, diagnostics))
    }

    /// 405: the URL is there, the method is not.
    pub fn method_not_allowed(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Issue::error(IssueType::NotSupported, diagnostics),
        )
    }

    /// 406: the client accepts nothing that the server can write.
    pub fn not_acceptable(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::NOT_ACCEPTABLE,
            Issue::error(IssueType::NotSupported, diagnostics),
        )
    }

    /// 408: the client took too long to send its request.
    pub fn timeout(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::REQUEST_TIMEOUT,
            Issue::error(IssueType::Timeout, diagnostics),
        )
    }

    /// 409: the change contradicts what is stored.
    pub fn conflict(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(StatusCode::CONFLICT, Issue::error(IssueType::Conflict, diagnostics))
    }

    /// 410: the resource was here and has been deleted.
    pub fn gone(resource_type: &str, id: &str) -> FhirError {
        let text = format!(
            "{resource_type}/{} has been deleted; its history is still at _history.",
            excerpt(id)
        );
        FhirError::new(StatusCode::GONE, Issue::error(IssueType::Deleted, text))
    }

    /// 412: `If-Match` or `If-None-Match` does not hold.
    pub fn precondition_failed(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::PRECONDITION_FAILED,
            Issue::error(IssueType::Conflict, diagnostics),
        )
    }

    /// 412: the criteria of a conditional interaction must select one resource and select several.
    pub fn multiple_matches(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::PRECONDITION_FAILED,
            Issue::error(IssueType::MultipleMatches, diagnostics),
        )
    }

    /// 413: the body is larger than the server reads. `limit` is in bytes.
    pub fn too_large(limit: usize) -> FhirError {
        let text = format!("The body is larger than the {limit} bytes that this server accepts.");
        FhirError::new(StatusCode::PAYLOAD_TOO_LARGE, Issue::error(IssueType::TooLong, text))
    }

    /// 415: the body is in a format that the interaction does not take.
    pub fn range_not_satisfiable(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Issue::error(IssueType::Value, diagnostics),
        )
    }

    pub fn unsupported_media_type(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Issue::error(IssueType::NotSupported, diagnostics),
        )
    }

    /// 422: understood, and against a rule of FHIR or of the server.
    pub fn unprocessable(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Issue::error(IssueType::Processing, diagnostics),
        )
    }

    /// 422: allowed in principle, but more than the server is willing to work for one request. The text says what to ask
    /// instead.
    pub fn too_costly(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Issue::error(IssueType::TooCostly, diagnostics),
        )
    }

    /// 429: the caller asks too often. `Retry-After` is for the layer that counts to say.
    pub fn throttled() -> FhirError {
        let text = "Too many requests in a minute. Wait for as long as the header Retry-After says.";
        FhirError::new(StatusCode::TOO_MANY_REQUESTS, Issue::error(IssueType::Throttled, text))
    }

    /// 500: our fault. `cause` is logged and never shown, so it must hold nothing of a resource.
    pub fn internal(cause: impl fmt::Display) -> FhirError {
        tracing::error!(%cause, "internal error");
        FhirError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Issue {
                severity: Severity::Fatal,
                ..Issue::error(
                    IssueType::Exception,
                    "The server failed. The request id in X-Request-Id leads its operator to the cause.",
                )
            },
        )
    }

    /// 503: not now; the same request may succeed later.
    pub fn unavailable(diagnostics: impl Into<String>) -> FhirError {
        FhirError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Issue::error(IssueType::Transient, diagnostics),
        )
    }

    /// JSON text of the OperationOutcome.
    pub fn to_json(&self) -> String {
        operation_outcome(&self.issues)
    }
}

/// What a client sent, cut to a length that fits into a sentence.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

impl fmt::Display for FhirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        self.issues
            .iter()
            .try_for_each(|issue| write!(f, " {}", issue.code.code()))
    }
}

impl FhirError {
    /// Whether it says that something is not there, or no more.
    pub fn is_absence(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE)
    }
}

impl std::error::Error for FhirError {}

impl IntoResponse for FhirError {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, FHIR_JSON)], self.to_json()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let challenge = self
            .challenge
            .and_then(|challenge| HeaderValue::try_from(challenge).ok());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::database::from_sqlstate;
    use super::*;

    #[test]
    fn an_error_is_an_operation_outcome() {
        let error = FhirError::bad_value("Not a date.").at("Patient.birthDate");
        assert_eq!(
            error.to_json(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value","diagnostics":"Not a date.","expression":["Patient.birthDate"]}]}"#
        );
    }

    #[test]
    fn an_outcome_without_issues_says_that_all_is_well() {
        assert_eq!(
            operation_outcome(&[]),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational","diagnostics":"Done."}]}"#
        );
    }

    #[test]
    fn display_holds_no_text_of_the_client() {
        assert_eq!(
            FhirError::not_found("Patient", "jane-doe").to_string(),
            "404 Not Found not-found"
        );
    }

    #[test]
    fn long_client_text_is_cut() {
        assert_eq!(excerpt(&"é".repeat(200)).chars().count(), 81);
        assert_eq!(excerpt("short"), "short");
    }

    #[test]
    fn sqlstates_become_statuses() {
        for (state, status, retryable) in [
            ("40001", StatusCode::SERVICE_UNAVAILABLE, true),
            ("40P01", StatusCode::SERVICE_UNAVAILABLE, true),
            ("23505", StatusCode::CONFLICT, false),
            ("57P01", StatusCode::SERVICE_UNAVAILABLE, false),
            ("57014", StatusCode::SERVICE_UNAVAILABLE, false),
            ("53100", StatusCode::SERVICE_UNAVAILABLE, false),
            ("25006", StatusCode::SERVICE_UNAVAILABLE, false),
            ("42601", StatusCode::INTERNAL_SERVER_ERROR, false),
        ] {
            let error = from_sqlstate(state);
            assert_eq!((error.status, error.is_retryable()), (status, retryable), "{state}");
        }
    }
}
