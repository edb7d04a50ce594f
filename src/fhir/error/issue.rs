//! What an OperationOutcome consists of (<https://hl7.org/fhir/R4/operationoutcome.html>).

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// <https://hl7.org/fhir/R4/valueset-issue-severity.html>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

impl Severity {
    pub fn code(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Information => "information",
        }
    }
}

/// <https://hl7.org/fhir/R4/valueset-issue-type.html>: all of its codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssueType {
    Invalid,
    Structure,
    Required,
    Value,
    Invariant,
    Security,
    Login,
    Unknown,
    Expired,
    Forbidden,
    Suppressed,
    Processing,
    NotSupported,
    Duplicate,
    MultipleMatches,
    NotFound,
    Deleted,
    TooLong,
    CodeInvalid,
    Extension,
    TooCostly,
    BusinessRule,
    Conflict,
    Transient,
    LockError,
    NoStore,
    Exception,
    Timeout,
    Incomplete,
    Throttled,
    Informational,
}

impl IssueType {
    pub fn code(self) -> &'static str {
        match self {
            IssueType::Invalid => "invalid",
            IssueType::Structure => "structure",
            IssueType::Required => "required",
            IssueType::Value => "value",
            IssueType::Invariant => "invariant",
            IssueType::Security => "security",
            IssueType::Login => "login",
            IssueType::Unknown => "unknown",
            IssueType::Expired => "expired",
            IssueType::Forbidden => "forbidden",
            IssueType::Suppressed => "suppressed",
            IssueType::Processing => "processing",
            IssueType::NotSupported => "not-supported",
            IssueType::Duplicate => "duplicate",
            IssueType::MultipleMatches => "multiple-matches",
            IssueType::NotFound => "not-found",
            IssueType::Deleted => "deleted",
            IssueType::TooLong => "too-long",
            IssueType::CodeInvalid => "code-invalid",
            IssueType::Extension => "extension",
            IssueType::TooCostly => "too-costly",
            IssueType::BusinessRule => "business-rule",
            IssueType::Conflict => "conflict",
            IssueType::Transient => "transient",
            IssueType::LockError => "lock-error",
            IssueType::NoStore => "no-store",
            IssueType::Exception => "exception",
            IssueType::Timeout => "timeout",
            IssueType::Incomplete => "incomplete",
            IssueType::Throttled => "throttled",
            IssueType::Informational => "informational",
        }
    }
}

/// One finding of an OperationOutcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    pub severity: Severity,
    pub code: IssueType,
    /// Simple FHIRPath of the elements concerned, `Patient.name[0].given[1]`; for a fault of the request itself
    /// `http.` and the header or parameter, as the specification asks. May be empty.
    pub expression: Vec<String>,
    /// A sentence a person can act on.
    pub diagnostics: String,
}

impl Issue {
    pub fn error(code: IssueType, diagnostics: impl Into<String>) -> Issue {
        Issue {
            severity: Severity::Error,
            code,
            expression: Vec::new(),
            diagnostics: diagnostics.into(),
        }
    }

    pub fn warning(code: IssueType, diagnostics: impl Into<String>) -> Issue {
        Issue {
            severity: Severity::Warning,
            code,
            expression: Vec::new(),
            diagnostics: diagnostics.into(),
        }
    }

    pub fn information(diagnostics: impl Into<String>) -> Issue {
        Issue {
            severity: Severity::Information,
            code: IssueType::Informational,
            expression: Vec::new(),
            diagnostics: diagnostics.into(),
        }
    }

    /// Names the element concerned.
    pub fn at(mut self, expression: impl Into<String>) -> Issue {
        self.expression.push(expression.into());
        self
    }
}

impl Serialize for Issue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut issue = serializer.serialize_struct("Issue", 4)?;
        issue.serialize_field("severity", self.severity.code())?;
        issue.serialize_field("code", self.code.code())?;
        issue.serialize_field("diagnostics", &self.diagnostics)?;
        if !self.expression.is_empty() {
            issue.serialize_field("expression", &self.expression)?;
        }
        issue.end()
    }
}

/// JSON text of an OperationOutcome with these issues; with none, it says that all is well (the resource must have one).
pub fn operation_outcome(issues: &[Issue]) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OperationOutcome<'a> {
        resource_type: &'static str,
        issue: Cow<'a, [Issue]>,
    }
    let issue = match issues {
        [] => Cow::Owned(vec![Issue::information("Done.")]),
        issues => Cow::Borrowed(issues),
    };
    serde_json::to_string(&OperationOutcome {
        resource_type: "OperationOutcome",
        issue,
    })
    .expect("strings and lists always serialise")
}
