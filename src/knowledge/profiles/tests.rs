use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::knowledge::validation::Validator;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that end in `suffix`, by their path from there without the suffix.
fn files_below(folder: &Path, suffix: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Some(name) = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .strip_suffix(suffix)
            {
                found.insert(name.to_owned(), path.clone());
            }
        }
    }
    found
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Code and expression of each, in order.
fn summary(findings: &[Finding]) -> Vec<(&'static str, String)> {
    let code = |finding: &Finding| match finding.code {
        FindingCode::Structure => "structure",
        FindingCode::Required => "required",
        FindingCode::Value => "value",
        FindingCode::CodeInvalid => "code-invalid",
        FindingCode::Invariant => "invariant",
    };
    let mut all: Vec<_> = findings.iter().map(|f| (code(f), f.expression.clone())).collect();
    all.sort();
    all
}

#[test]
fn every_file_of_the_folder_is_in_the_package() {
    let mut files = files_below(&root().join("profiles"), ".json");
    assert!(files.remove("package").is_some());
    files.retain(|name, _| !name.starts_with("examples/"));
    let listed: Vec<&str> = files::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), listed);
}

#[test]
fn the_package_says_what_it_is() {
    let package = read(&root().join("profiles/package.json"));
    assert_eq!(package["version"], files::VERSION);
    assert_eq!(format!("{}/", package["canonical"].as_str().unwrap()), BASE);
    assert_eq!(package["fhirVersions"], json!(["4.0.1"]));
}

#[test]
fn every_definition_is_valid_and_called_after_its_file() {
    let folders = BTreeMap::from([
        ("code-systems", "CodeSystem"),
        ("extensions", "StructureDefinition"),
        ("naming-systems", "NamingSystem"),
        ("operations", "OperationDefinition"),
        ("questionnaires", "Questionnaire"),
        ("search-parameters", "SearchParameter"),
        ("structures", "StructureDefinition"),
        ("value-sets", "ValueSet"),
    ]);
    let validator = Validator::new(Definitions::r4());
    for File { name, resource, .. } in Package::medconsult().files() {
        let findings = validator.validate(resource);
        assert!(findings.is_empty(), "{name}: {findings:?}");
        let (folder, plain) = name.split_once('/').unwrap();
        let resource_type = text(resource, "resourceType");
        assert_eq!(resource_type, folders[folder], "{name}");
        assert_eq!(resource["id"], format!("mc-{plain}"), "{name}");
        // Whether an operation is there is asked of a running server.
        assert!(folder == "operations" || resource["status"] == "active", "{name}");
        assert_eq!(folder == "extensions", resource["type"] == "Extension", "{name}");
        if resource_type != "NamingSystem" {
            assert_eq!(resource["version"], files::VERSION, "{name}");
            assert_eq!(resource["url"], format!("{BASE}{resource_type}/{plain}"), "{name}");
        }
    }
}

#[test]
fn every_definition_is_in_the_documentation() {
    let documents = ["docs/profiles.md", "docs/search.md"].map(|path| fs::read_to_string(root().join(path)).unwrap());
    for File { name, resource, .. } in Package::medconsult().files() {
        let (folder, plain) = name.split_once('/').unwrap();
        let shown = match folder {
            "search-parameters" => text(resource, "code").to_owned(),
            "naming-systems" => text(&resource["uniqueId"][0], "value").to_owned(),
            "questionnaires" => format!("{name}.json"),
            "value-sets" => continue,
            _ => format!("`{plain}`"),
        };
        assert!(
            documents.iter().any(|document| document.contains(&shown)),
            "{name} is not documented"
        );
    }
}

#[test]
fn every_profile_and_extension_has_an_example_that_passes_and_one_that_is_refused() {
    let package = Package::medconsult();
    let validator = Validator::new(Definitions::r4());
    let mut examples = files_below(&root().join("profiles/examples"), ".json");
    let mut take = |name: String| {
        examples
            .remove(&name)
            .unwrap_or_else(|| panic!("there is no example {name}"))
    };
    for file in of_type(package.files(), "StructureDefinition") {
        let (_, name) = file.name.split_once('/').unwrap();
        let valid = read(&take(format!("{name}.valid")));
        let invalid = read(&take(format!("{name}.invalid")));
        let outcome = read(&take(format!("{name}.invalid.outcome")));
        for example in [&valid, &invalid] {
            let findings = validator.validate(example);
            assert!(findings.is_empty(), "{name}, by R4 alone: {findings:?}");
            let claims = match file.resource["type"] == "Extension" {
                true => &example["extension"][0]["url"],
                false => &example["meta"]["profile"][0],
            };
            assert_eq!(claims, &file.resource["url"], "{name}");
        }
        let findings = package.check(&valid);
        assert!(findings.is_empty(), "{name}: {findings:#?}");
        let mut refused: Vec<(&str, String)> = outcome["issue"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| (text(issue, "code"), issue["expression"][0].as_str().unwrap().to_owned()))
            .collect();
        refused.sort();
        let findings = package.check(&invalid);
        assert_eq!(summary(&findings), refused, "{name}: {findings:#?}");
    }
    assert!(examples.is_empty(), "examples of nothing: {:?}", examples.keys());
}

/// The canonical URLs and identifier systems of ours that a text names.
fn names(text: &str) -> BTreeSet<String> {
    let end = |c: char| !(c.is_ascii_alphanumeric() || "/-".contains(c));
    let found = text.match_indices(BASE).map(|(start, _)| {
        let rest = &text[start + BASE.len()..];
        rest[..rest.find(end).unwrap_or(rest.len())].to_owned()
    });
    // The base itself, and what a name is put together from, is no name.
    found.filter(|name| !name.is_empty() && !name.ends_with('/')).collect()
}

#[test]
fn every_name_that_is_used_is_defined() {
    let package = Package::medconsult();
    let mut defined: BTreeSet<String> = BTreeSet::new();
    let mut of_terminology: BTreeSet<String> = BTreeSet::new();
    let mut used_by = BTreeMap::new();
    for file in package.files() {
        let own = match file.resource["resourceType"] == "NamingSystem" {
            true => text(&file.resource["uniqueId"][0], "value"),
            false => url(&file.resource),
        };
        let own = own.strip_prefix(BASE).unwrap().to_owned();
        let mut used = names(file.text);
        used.remove(&own);
        if matches!(
            text(&file.resource, "resourceType"),
            "CodeSystem" | "ValueSet" | "NamingSystem"
        ) {
            of_terminology.insert(own.clone());
        }
        assert!(defined.insert(own), "{} is there twice", file.name);
        used_by.insert(format!("profiles/{}", file.name), used);
    }
    for (name, path) in files_below(&root().join("profiles/examples"), ".json") {
        used_by.insert(
            format!("profiles/examples/{name}"),
            names(&fs::read_to_string(path).unwrap()),
        );
    }
    for (name, path) in files_below(&root().join("src"), ".rs") {
        // This file and the tests beside it may name what does not exist.
        if !name.ends_with("/tests") {
            used_by.insert(format!("src/{name}"), names(&fs::read_to_string(path).unwrap()));
        }
    }
    for (file, used) in &used_by {
        let unknown: Vec<_> = used.difference(&defined).collect();
        assert!(
            unknown.is_empty(),
            "{file} names {unknown:?}, which the package does not define"
        );
    }
    let used: BTreeSet<String> = used_by.into_values().flatten().collect();
    let unused: Vec<_> = of_terminology.difference(&used).collect();
    assert!(unused.is_empty(), "defined, and used by nothing: {unused:?}");
}

const SHOE: &str = "https://medconsult.example/fhir/StructureDefinition/shoe";

fn profile(elements: Value) -> Value {
    json!({
        "resourceType": "StructureDefinition", "url": SHOE, "type": "Patient",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": elements}
    })
}

fn parsed(structure: &Value) -> Result<Package, PackageError> {
    let text: &'static str = structure.to_string().leak();
    Package::parse(&[("shoe", text)], Definitions::r4())
}

/// What the profile says of a Patient that claims it.
fn judge(elements: Value, mut patient: Value) -> Vec<(&'static str, String)> {
    let package = parsed(&profile(elements)).unwrap();
    patient["resourceType"] = json!("Patient");
    patient["meta"] = json!({"profile": [SHOE]});
    summary(&package.check(&patient))
}

#[test]
fn what_would_not_be_enforced_is_refused() {
    for (element, reason) in [
        (
            json!({"id": "Patient.name", "path": "Patient.name", "maxLength": 9}),
            "maxLength is not understood",
        ),
        (
            json!({"id": "Patient.shoe", "path": "Patient.shoe", "min": 1}),
            "Patient has no element shoe",
        ),
        (
            json!({"id": "Patient.gender", "path": "Patient.gender", "max": "2"}),
            "more than R4 allows",
        ),
        (
            json!({"id": "Patient.gender", "path": "Patient.name", "max": "1"}),
            "another path",
        ),
        (
            json!({"id": "Patient.name:a", "path": "Patient.name", "sliceName": "a", "min": 0, "max": "1"}),
            "told apart",
        ),
        (
            json!({"id": "Patient.gender", "path": "Patient.gender", "patternString": "x"}),
            "patternString is of another type than code",
        ),
        (
            json!({"id": "Patient.deceased[x]", "path": "Patient.deceased[x]", "type": [{"code": "Period"}]}),
            "does not let it have the type Period",
        ),
        (
            json!({"id": "Patient.name", "path": "Patient.name", "type": [{"code": "HumanName", "profile": ["http://a"]}]}),
            "a profile on the type",
        ),
        (
            json!({"id": "Patient.generalPractitioner", "path": "Patient.generalPractitioner",
                "type": [{"code": "Reference", "targetProfile": ["http://a/StructureDefinition/x"]}]}),
            "is not known",
        ),
        (
            json!({"id": "Patient.maritalStatus", "path": "Patient.maritalStatus",
                "binding": {"strength": "required", "valueSet": "http://a/vs"}}),
            "The value set http://a/vs is not known",
        ),
        (
            json!({"id": "Patient", "path": "Patient",
                "constraint": [{"key": "k", "severity": "error", "human": "x", "expression": "shoe.exists()"}]}),
            "shoe",
        ),
        (
            json!({"id": "Patient", "path": "Patient",
                "constraint": [{"key": "k", "severity": "warning", "human": "x", "expression": "true"}]}),
            "enforced nowhere",
        ),
        (
            json!({"id": "Patient", "path": "Patient",
                "constraint": [{"key": "k", "severity": "error", "human": "x", "expression": "birthDate < today()"}]}),
            "asks for today()",
        ),
        (
            json!({"id": "Patient.name", "path": "Patient.name",
                "slicing": {"discriminator": [{"type": "exists", "path": "use"}], "rules": "open"}}),
            "discriminator of type exists",
        ),
    ] {
        let error = parsed(&profile(json!([element]))).unwrap_err().to_string();
        assert!(error.starts_with("profiles/shoe.json: Patient"), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let mut derived = profile(json!([]));
    derived["baseDefinition"] = json!("http://a/StructureDefinition/x");
    let error = parsed(&derived).unwrap_err().to_string();
    assert!(error.contains("a profile on a profile"), "{error}");
}

#[test]
fn extensions_in_place_of_a_value_count_as_one() {
    let elements = json!([{"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1}]);
    assert_eq!(
        judge(
            elements.clone(),
            json!({"_birthDate": {"extension": [{"url": "http://a", "valueCode": "b"}]}})
        ),
        []
    );
    assert_eq!(
        judge(elements, json!({})),
        [("required", "Patient.birthDate".to_owned())]
    );
}

#[test]
fn rules_reach_into_lists_and_choices() {
    let elements = json!([
        {"id": "Patient.name", "path": "Patient.name", "min": 1, "max": "1"},
        {"id": "Patient.name.given", "path": "Patient.name.given", "min": 2},
        {"id": "Patient.deceased[x]", "path": "Patient.deceased[x]", "type": [{"code": "dateTime"}]},
        {"id": "Patient.contact.name", "path": "Patient.contact.name", "min": 1}
    ]);
    let patient = json!({"name": [{"given": ["A", "B"]}, {"given": ["A"]}], "deceasedBoolean": true, "contact": [{"gender": "male"}]});
    assert_eq!(
        judge(elements, patient),
        [
            ("required", "Patient.contact[0].name".to_owned()),
            ("required", "Patient.name[1].given".to_owned()),
            ("structure", "Patient.deceased".to_owned()),
            ("structure", "Patient.name".to_owned()),
        ]
    );
}

#[test]
fn closed_slices_let_nothing_else_in() {
    let mut elements = json!([
        {"id": "Patient.telecom", "path": "Patient.telecom",
            "slicing": {"discriminator": [{"type": "value", "path": "system"}], "rules": "closed"}},
        {"id": "Patient.telecom:mail", "path": "Patient.telecom", "sliceName": "mail", "min": 1, "max": "1"},
        {"id": "Patient.telecom:mail.system", "path": "Patient.telecom.system", "fixedCode": "email"},
        {"id": "Patient.telecom:mail.value", "path": "Patient.telecom.value", "min": 1}
    ]);
    let patient = json!({"telecom": [{"system": "email"}, {"system": "phone", "value": "1"}]});
    let value = ("required", "Patient.telecom[0].value".to_owned());
    let other = ("structure", "Patient.telecom[1]".to_owned());
    assert_eq!(judge(elements.clone(), patient.clone()), [value.clone(), other]);
    elements[0]["slicing"]["rules"] = json!("open");
    assert_eq!(judge(elements, patient), [value]);
}

#[test]
fn only_what_is_claimed_is_asked_for() {
    let package = Package::medconsult();
    let claims = |profile: &str| json!({"resourceType": "Slot", "meta": {"profile": [profile]}});
    let slot = format!("{BASE}StructureDefinition/slot");
    for free in [
        json!({"resourceType": "Slot"}),
        claims("http://hl7.org/fhir/us/core/StructureDefinition/x"),
    ] {
        assert_eq!(package.check(&free), []);
    }
    for (claimed, reason) in [
        (format!("{slot}|2.0.0"), "version 1.0.0"),
        (format!("{BASE}StructureDefinition/slots"), "no such profile"),
        (format!("{BASE}StructureDefinition/appointment"), "on Appointment"),
    ] {
        let findings = package.check(&claims(&claimed));
        assert_eq!(summary(&findings), [("value", "Slot.meta.profile[0]".to_owned())]);
        assert!(findings[0].message.contains(reason), "{findings:?}");
    }
    assert!(
        package
            .check(&claims(&format!("{slot}|1.0.0")))
            .iter()
            .all(|finding| finding.code != FindingCode::Value)
    );
    assert!(
        package
            .check_against(&json!({"resourceType": "Slot"}), "http://a")
            .is_none()
    );
    let other = package.check_against(&json!({"resourceType": "Basic"}), &slot).unwrap();
    assert_eq!(summary(&other), [("value", "Basic".to_owned())]);
}

#[test]
fn extensions_of_ours_are_ours_to_define() {
    let package = Package::medconsult();
    let with = |resource_type: &str, extension: Value| {
        summary(&package.check(&json!({"resourceType": resource_type, "extension": [extension]})))
    };
    let zone = |value: Value| json!({"url": format!("{BASE}StructureDefinition/time-zone"), "valueCode": value});
    assert_eq!(with("Patient", zone(json!("Europe/Vienna"))), []);
    assert_eq!(
        with("Organization", zone(json!("Europe/Vienna"))),
        [("structure", "Organization.extension[0]".to_owned())]
    );
    let unknown = json!({"url": format!("{BASE}StructureDefinition/shoe"), "valueCode": "x"});
    assert_eq!(
        with("Patient", unknown),
        [("structure", "Patient.extension[0]".to_owned())]
    );
    assert_eq!(with("Patient", json!({"url": "http://other", "valueCode": "x"})), []);
}
