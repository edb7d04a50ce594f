//! `fhir-schemas/` and the validator against HL7's package: the definitions it holds, and its examples.
//!
//! The package is where `make` puts it, `conformance/hl7/node_modules/`, or where `MEDCONSULT_HL7_PACKAGE` says. Without
//! it these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use medconsult::conformance::examples::DEFINITIONAL;
use medconsult::knowledge::definitions::Definitions;
use medconsult::knowledge::generate;
use medconsult::knowledge::validation::Validator;
use serde_json::Value;

/// The files of the package that are not valid R4, where, and why. The first is an example, the others are definitional.
const INVALID: &[(&str, &str, &str)] = &[
    (
        "Questionnaire-qs1",
        "Questionnaire.item[0].item[0].linkId",
        "linkId is 1..1, and this item has none",
    ),
    (
        "Bundle-v2-valuesets",
        "Bundle.entry[814].resource.concept[74].code",
        "codes with two spaces, see CodeSystem-v2-0550",
    ),
    (
        "CodeSystem-v2-0550",
        "CodeSystem.concept[74].code",
        "a code may hold single spaces only; these hold two",
    ),
    (
        "ImplementationGuide-fhir",
        "ImplementationGuide.name",
        "name and status are 1..1",
    ),
    ("ig-r4", "ImplementationGuide.name", "name and status are 1..1"),
    (
        "SearchParameter-codesystem-extensions-CodeSystem-author",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-codesystem-extensions-CodeSystem-effective",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-codesystem-extensions-CodeSystem-end",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-codesystem-extensions-CodeSystem-keyword",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-codesystem-extensions-CodeSystem-workflow",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-valueset-extensions-ValueSet-author",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-valueset-extensions-ValueSet-effective",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-valueset-extensions-ValueSet-end",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-valueset-extensions-ValueSet-keyword",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-valueset-extensions-ValueSet-workflow",
        "SearchParameter.base",
        BASE,
    ),
    (
        "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject",
        "SearchParameter.id",
        "its id has more than 64 characters",
    ),
];
const BASE: &str = "base is 1..*, and this draft has none";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn package() -> Option<PathBuf> {
    let place = std::env::var_os("MEDCONSULT_HL7_PACKAGE").map(PathBuf::from);
    let place = place.unwrap_or_else(|| root().join("conformance/hl7/node_modules/hl7.fhir.r4.examples"));
    if !place.is_dir() {
        skipped!("HL7's package is not at {} (`make` fetches it)", place.display());
        return None;
    }
    Some(place)
}

#[test]
fn r4_is_there_in_full() {
    let r4 = Definitions::r4();
    assert_eq!(r4.resource_types().count(), 146);
    assert_eq!(r4.search_parameters.len(), 1375);
    let compartments: Vec<&str> = r4.compartments.iter().map(|c| c.code.as_str()).collect();
    assert_eq!(
        compartments,
        ["Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"]
    );
    assert_eq!(
        r4.value_sets["http://hl7.org/fhir/ValueSet/administrative-gender"].len(),
        4
    );

    let patient = r4.resource_type("Patient").unwrap();
    let (element, of_type) = patient.property("deceasedDateTime").unwrap();
    assert_eq!(
        (element.name.as_str(), r4.get(of_type.type_id).name.as_str()),
        ("deceased", "dateTime")
    );
    let (managing, reference) = patient.property("managingOrganization").unwrap();
    assert!(managing.is_summary && managing.max == Some(1));
    assert_eq!(r4.get(reference.targets[0]).name, "Organization");
    assert!(patient.invariants.iter().any(|i| i.key == "dom-2"), "inherited");
    let observation = r4.type_id("Observation.component").map(|id| r4.get(id)).unwrap();
    let (_, range) = observation.property("referenceRange").unwrap();
    assert_eq!(
        r4.get(range.type_id).name,
        "Observation.referenceRange",
        "contentReference"
    );
}

#[test]
fn generating_again_changes_nothing() {
    let Some(package) = package() else { return };
    let folder = root().join("fhir-schemas");
    let files = generate::generate(&package).unwrap();
    for (path, text) in &files {
        let present = fs::read_to_string(folder.join(path)).unwrap_or_default();
        assert!(
            present == *text,
            "fhir-schemas/{path} differs: run `medconsult schemas`"
        );
    }
    let present = fs::read_dir(folder.join("schemas")).unwrap().count();
    let generated = files.keys().filter(|path| path.starts_with("schemas/")).count();
    assert_eq!(
        present, generated,
        "fhir-schemas/schemas/ holds files that nothing generates"
    );
}

/// Every member name in the data files. None of them can hold a sentence: an expression is FHIRPath, a definition a URL.
const FACTS: &[&str] = &[
    "abstract",
    "bare",
    "base",
    "binding",
    "card",
    "caseSensitive",
    "code",
    "codeSystems",
    "codes",
    "compartment",
    "component",
    "definition",
    "elements",
    "expression",
    "hierarchy",
    "include",
    "invariants",
    "key",
    "kind",
    "memberships",
    "modifier",
    "name",
    "parameters",
    "profiles",
    "searchParameters",
    "severity",
    "strength",
    "summary",
    "system",
    "target",
    "type",
    "types",
    "url",
    "valueSet",
    "valueSets",
    "version",
];

#[test]
fn only_facts_are_carried_over() {
    for file in [
        "types",
        "search-parameters",
        "compartments",
        "code-systems",
        "value-sets",
    ] {
        let text = fs::read_to_string(root().join(format!("fhir-schemas/{file}.json"))).unwrap();
        let mut names = BTreeSet::new();
        member_names(&serde_json::from_str(&text).unwrap(), &mut names);
        for name in names {
            assert!(FACTS.contains(&name.as_str()), "{file}.json has {name}");
        }
    }
}

fn member_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                names.insert(name.clone());
                member_names(member, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| member_names(item, names)),
        _ => {}
    }
}

#[test]
fn every_example_of_the_package_is_accepted_or_truly_invalid() {
    let Some(package) = package() else { return };
    let validator = Validator::new(Definitions::r4());
    let mut invalid: BTreeMap<String, String> = BTreeMap::new();
    let (mut examples, mut all) = (0, 0);
    for entry in fs::read_dir(package).unwrap() {
        let path = entry.unwrap().path();
        let resource: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let Some(resource_type) = resource["resourceType"].as_str() else {
            continue;
        };
        all += 1;
        examples += usize::from(!DEFINITIONAL.contains(&resource_type));
        if let Some(finding) = validator.validate(&resource).first() {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            invalid.insert(name, finding.expression.clone());
        }
    }
    assert_eq!((examples, all), (718, 5306));
    let expected: BTreeMap<String, String> = INVALID
        .iter()
        .map(|(name, expression, _)| ((*name).to_owned(), (*expression).to_owned()))
        .collect();
    assert_eq!(invalid, expected);
}
