//! `docs/conformance.md`: which suites ran, what passed, and every exception with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::SuiteResult;

/// A published case that we do not pass, and why that is right.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    pub case: String,
    pub reason: String,
}

/// `conformance/exceptions.toml`: suite → exceptions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Exceptions(pub BTreeMap<String, Vec<Exception>>);

impl Exceptions {
    /// The exceptions as compiled into the program.
    ///
    /// # Panics
    /// When the file is not valid TOML; a unit test reads it.
    pub fn built_in() -> Exceptions {
        toml::from_str(include_str!("../../conformance/exceptions.toml")).expect("conformance/exceptions.toml is valid")
    }

    fn reason(&self, suite: &str, case: &str) -> Option<&str> {
        self.0
            .get(suite)?
            .iter()
            .find(|e| e.case == case)
            .map(|e| e.reason.as_str())
    }
}

/// A suite's result held against its exceptions.
#[derive(Debug)]
pub struct SuiteRecord {
    pub suite: &'static str,
    pub title: &'static str,
    pub total: usize,
    pub passed: usize,
    /// Cases that fail and are named as exceptions: (name, reason).
    pub excepted: Vec<(String, String)>,
    /// Cases that fail though nothing excuses them: (name, what was seen).
    pub unexpected: Vec<(String, String)>,
    /// Exceptions whose case passes or does not exist.
    pub stale: Vec<String>,
}

impl SuiteRecord {
    pub fn new(result: &SuiteResult, exceptions: &Exceptions) -> SuiteRecord {
        let mut record = SuiteRecord {
            suite: result.suite,
            title: result.title,
            total: result.cases.len(),
            passed: 0,
            excepted: Vec::new(),
            unexpected: Vec::new(),
            stale: Vec::new(),
        };
        for case in &result.cases {
            match (&case.failure, exceptions.reason(result.suite, &case.name)) {
                (None, _) => record.passed += 1,
                (Some(_), Some(reason)) => record.excepted.push((case.name.clone(), reason.to_owned())),
                (Some(why), None) => record.unexpected.push((case.name.clone(), why.clone())),
            }
        }
        for exception in exceptions.0.get(result.suite).into_iter().flatten() {
            if !record.excepted.iter().any(|(name, _)| *name == exception.case) {
                record.stale.push(exception.case.clone());
            }
        }
        record
    }

    /// Whether nothing came out otherwise than the record says.
    pub fn is_as_recorded(&self) -> bool {
        self.unexpected.is_empty() && self.stale.is_empty()
    }
}

/// All suites of one run.
#[derive(Debug, Default)]
pub struct Record {
    pub suites: Vec<SuiteRecord>,
    /// Suites whose cases were not found: (title, where they were looked for).
    pub absent: Vec<(String, String)>,
}

impl Record {
    pub fn is_as_recorded(&self) -> bool {
        self.suites.iter().all(SuiteRecord::is_as_recorded)
    }

    /// The page `docs/conformance.md`.
    pub fn to_markdown(&self) -> String {
        let mut page = String::from(
            "# Conformance: what passes\n\nWritten by `make conformance`; `conformance/README.md` says how to run it \
             against any server.\n\n| suite | cases | pass | exceptions |\n|---|--:|--:|--:|\n",
        );
        for suite in &self.suites {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                suite.title,
                suite.total,
                suite.passed,
                suite.excepted.len()
            );
        }
        for suite in self.suites.iter().filter(|s| !s.excepted.is_empty()) {
            let _ = write!(
                page,
                "\n## Exceptions: {}\n\n| case | why it is right not to pass it |\n|---|---|\n",
                suite.title
            );
            for (name, reason) in &suite.excepted {
                let _ = writeln!(page, "| {} | {} |", cell(name), cell(reason));
            }
        }
        for suite in self.suites.iter().filter(|s| !s.unexpected.is_empty()) {
            let _ = write!(
                page,
                "\n## Failures: {}\n\n| case | what was seen |\n|---|---|\n",
                suite.title
            );
            for (name, why) in &suite.unexpected {
                let _ = writeln!(page, "| {} | {} |", cell(name), cell(why));
            }
        }
        page
    }
}

/// Text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::CaseResult;

    fn suite(cases: Vec<CaseResult>) -> SuiteResult {
        SuiteResult {
            suite: "s",
            title: "S",
            cases,
        }
    }

    fn excepting(case: &str) -> Exceptions {
        let exception = Exception {
            case: case.into(),
            reason: "disputed".into(),
        };
        Exceptions(BTreeMap::from([("s".to_owned(), vec![exception])]))
    }

    #[test]
    fn a_failing_case_needs_an_exception() {
        let result = suite(vec![CaseResult::passed("a"), CaseResult::failed("b", "saw 2")]);
        assert!(!SuiteRecord::new(&result, &Exceptions::default()).is_as_recorded());
        let record = SuiteRecord::new(&result, &excepting("b"));
        assert!(record.is_as_recorded());
        assert_eq!((record.total, record.passed), (2, 1));
    }

    #[test]
    fn an_exception_that_passes_is_stale() {
        let record = SuiteRecord::new(&suite(vec![CaseResult::passed("a")]), &excepting("a"));
        assert_eq!(record.stale, ["a"]);
        assert!(!record.is_as_recorded());
    }

    #[test]
    fn the_exceptions_of_the_program_are_readable() {
        for exception in Exceptions::built_in().0.values().flatten() {
            assert!(exception.reason.len() > 20, "{} needs a reason", exception.case);
        }
    }
}
