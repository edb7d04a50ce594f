//! HL7's suites, held against `conformance/exceptions.toml`: every case passes or is named there with a reason.

use std::path::{Path, PathBuf};

use medconsult::conformance::{Exceptions, SuiteRecord, SuiteResult, examples, fhirpath, patch};

use crate::app::spawn_app_with;

/// The folder of suites that are no part of the project: `MEDCONSULT_SHARED`, or `shared` beside the checkout.
fn shared(folder: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MEDCONSULT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    existing(shared.join("data").join(folder))
}

fn existing(folder: PathBuf) -> Option<PathBuf> {
    if folder.is_dir() {
        return Some(folder);
    }
    skipped!("{} is not there", folder.display());
    None
}

#[track_caller]
fn assert_as_recorded(result: &SuiteResult, cases: usize) {
    let record = SuiteRecord::new(result, &Exceptions::built_in());
    assert_eq!(record.total, cases, "the suite has another number of cases");
    assert!(
        record.is_as_recorded(),
        "{:#?}\nstale: {:?}",
        record.unexpected,
        record.stale
    );
}

#[tokio::test]
async fn official_examples_round_trip() {
    let package = std::env::var_os("MEDCONSULT_HL7_PACKAGE")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/hl7/node_modules/hl7.fhir.r4.examples")
        });
    let Some(package) = existing(package) else { return };
    let examples = examples::read(&package).unwrap();
    let app = spawn_app_with(|config| config.http.max_body_bytes = examples::LARGEST_BYTES).await;
    let base = format!("{}/fhir", app.address);
    assert_as_recorded(&examples::run(&base, &examples).await, 718);
}

#[test]
fn fhirpath_suite() {
    let Some(folder) = shared("fhirpath-r4") else { return };
    assert_as_recorded(&fhirpath::run(&folder).unwrap(), 935);
}

#[test]
fn fhirpath_patch_suite() {
    let Some(folder) = shared("patch") else { return };
    assert_as_recorded(&patch::run_fhirpath(&folder).unwrap(), 33);
}

#[test]
fn json_patch_suite() {
    let Some(folder) = shared("patch") else { return };
    assert_as_recorded(&patch::run_json(&folder).unwrap(), 16);
}
