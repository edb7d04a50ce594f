//! Findings as DetectedIssues (<https://hl7.org/fhir/R4/detectedissue.html>), and the reasons for prescribing in spite of them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::checks::Finding;
use super::formulary::Severity;
use super::names::{ACT_CODES, FINDINGS, ISSUE_PROFILE};
use crate::base::crypto::digest;
use crate::fhir::error::{FhirError, Issue, IssueType};
use crate::fhir::resource::instant;

/// The name by which the same finding is known again: of a kind, about the same resources, said in the same words.
pub fn key(finding: &Finding) -> String {
    let mut implicated = finding.implicated.clone();
    implicated.sort_unstable();
    let text = format!("{}\n{}\n{}", finding.kind.code(), implicated.join(" "), finding.detail);
    let hash = digest(&text);
    hash[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A finding as a resource.
pub fn resource(finding: &Finding, patient: &str, author: Option<&str>, now: Timestamp) -> Value {
    let implicated: Vec<Value> = finding
        .implicated
        .iter()
        .map(|reference| json!({"reference": reference}))
        .collect();
    let mut issue = json!({
        "resourceType": "DetectedIssue",
        "meta": {"profile": [ISSUE_PROFILE]},
        "identifier": [{"system": FINDINGS, "value": key(finding)}],
        "status": "final",
        "code": {"coding": [{"system": ACT_CODES, "code": finding.kind.code(), "display": finding.kind.display()}]},
        "severity": finding.severity.code(),
        "patient": {"reference": patient},
        "identifiedDateTime": instant(now),
        "implicated": implicated,
        "detail": finding.detail,
    });
    if let Some(source) = &finding.source {
        issue["evidence"] = json!([{"code": [{"text": source}]}]);
    }
    if let Some(author) = author {
        issue["author"] = json!({"reference": author});
    }
    issue
}

/// Reasons, as they came with the DetectedIssues of a check: the key of each and what was said.
pub struct Reasons(Vec<(String, String)>);

impl Reasons {
    /// Reads `mitigation.action.text` of each; who says it and when is the server's to write.
    ///
    /// # Errors
    /// 422 for an issue that no check has found, or one without a reason.
    pub fn read<'v>(issues: impl Iterator<Item = &'v Value>) -> Result<Reasons, FhirError> {
        let read = issues.map(|issue| {
            let mut identifiers = issue["identifier"].as_array().into_iter().flatten();
            let key = identifiers.find(|identifier| identifier["system"] == FINDINGS);
            let key = key.and_then(|identifier| identifier["value"].as_str());
            let reason = issue["mitigation"][0]["action"]["text"].as_str().map(str::trim);
            match (key, reason.filter(|reason| !reason.is_empty())) {
                (Some(key), Some(reason)) => Ok((key.to_owned(), reason.to_owned())),
                (None, _) => Err(
                    FhirError::unprocessable("Send the DetectedIssues that $check has answered.")
                        .at("DetectedIssue.identifier"),
                ),
                (_, None) => Err(FhirError::unprocessable(
                    "Say why it is prescribed all the same: mitigation.action.text.",
                )
                .at("DetectedIssue.mitigation")),
            }
        });
        read.collect::<Result<_, _>>().map(Reasons)
    }

    fn of(&self, finding: &Finding) -> Option<&str> {
        let key = key(finding);
        let found = self.0.iter().find(|(known, _)| *known == key);
        found.map(|(_, reason)| reason.as_str())
    }
}

/// The resources of all findings, with the reasons that `author` has given.
///
/// # Errors
/// 422 with every finding of high severity that nobody gave a reason for.
pub fn settle(
    findings: &[Finding],
    reasons: &Reasons,
    patient: &str,
    author: &str,
    now: Timestamp,
) -> Result<Vec<Value>, FhirError> {
    let open = findings
        .iter()
        .filter(|finding| finding.severity == Severity::High && reasons.of(finding).is_none());
    let refused: Vec<Issue> = open
        .map(|finding| {
            let text = format!("{} ({})", finding.detail, finding.kind.display());
            let issue = Issue::error(IssueType::BusinessRule, text);
            finding
                .implicated
                .iter()
                .fold(issue, |issue, reference| issue.at(reference.clone()))
        })
        .collect();
    if !refused.is_empty() {
        return Err(FhirError::with_issues(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            refused,
        ));
    }
    let resources = findings.iter().map(|finding| {
        let mut issue = resource(finding, patient, Some(author), now);
        if let Some(reason) = reasons.of(finding) {
            issue["mitigation"] = json!([{
                "action": {"text": reason},
                "date": instant(now),
                "author": {"reference": author},
            }]);
        }
        issue
    });
    Ok(resources.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prescriptions::checks::Kind;

    fn finding(severity: Severity) -> Finding {
        Finding {
            kind: Kind::Interaction,
            severity,
            implicated: vec!["MedicationRequest/a".to_owned(), "MedicationRequest/b".to_owned()],
            detail: "A with B: bleeding.".to_owned(),
            source: Some("A label".to_owned()),
        }
    }

    #[test]
    fn a_reason_belongs_to_one_finding() {
        let now = Timestamp::UNIX_EPOCH;
        let high = finding(Severity::High);
        let mut issue = resource(&high, "Patient/p", None, now);
        let nothing = Reasons::read([].into_iter()).unwrap();
        let refused = settle(
            std::slice::from_ref(&high),
            &nothing,
            "Patient/p",
            "Practitioner/d",
            now,
        )
        .unwrap_err();
        assert_eq!(refused.status, 422);
        assert_eq!(
            refused.issues[0].expression,
            ["MedicationRequest/a", "MedicationRequest/b"]
        );
        issue["mitigation"] =
            json!([{"action": {"text": "INR twice a week"}, "author": {"reference": "Practitioner/x"}}]);
        let reasons = Reasons::read([&issue].into_iter()).unwrap();
        let settled = settle(
            std::slice::from_ref(&high),
            &reasons,
            "Patient/p",
            "Practitioner/d",
            now,
        )
        .unwrap();
        let mitigation = &settled[0]["mitigation"][0];
        assert_eq!(mitigation["action"]["text"], "INR twice a week");
        // Whatever was sent, the author is who signs.
        assert_eq!(mitigation["author"]["reference"], "Practitioner/d");
        // Another finding is another one.
        let other = Finding {
            detail: "A with C: bleeding.".to_owned(),
            ..high
        };
        assert!(settle(&[other], &reasons, "Patient/p", "Practitioner/d", now).is_err());
        assert!(
            settle(
                &[finding(Severity::Moderate)],
                &nothing,
                "Patient/p",
                "Practitioner/d",
                now
            )
            .is_ok()
        );
    }

    #[test]
    fn reasons_must_be_given_and_belong_to_a_finding() {
        let issue = resource(&finding(Severity::High), "Patient/p", None, Timestamp::UNIX_EPOCH);
        assert!(Reasons::read([&issue].into_iter()).is_err());
        let foreign = json!({"resourceType": "DetectedIssue", "mitigation": [{"action": {"text": "because"}}]});
        assert!(Reasons::read([&foreign].into_iter()).is_err());
    }
}
