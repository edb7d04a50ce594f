//! One resource per class of fault, each with where it must be found. HL7's own examples are in `tests/it/examples.rs`.

use serde_json::{Value, json};

use super::{FindingCode, Validator};
use crate::knowledge::definitions::Definitions;

fn findings(resource: &Value) -> Vec<(FindingCode, String, String)> {
    let findings = Validator::new(Definitions::r4()).validate(resource);
    findings
        .into_iter()
        .map(|f| (f.code, f.expression, f.message))
        .collect()
}

/// The resource has exactly one fault: this code, there, and the message contains `words`.
#[track_caller]
fn refused(resource: Value, code: FindingCode, expression: &str, words: &str) {
    let found = findings(&resource);
    assert_eq!(found.len(), 1, "{resource} gave {found:#?}");
    assert_eq!((found[0].0, found[0].1.as_str()), (code, expression), "{}", found[0].2);
    assert!(found[0].2.contains(words), "{:?} does not say {words:?}", found[0].2);
}

#[track_caller]
fn accepted(resource: Value) {
    assert_eq!(findings(&resource), [], "{resource}");
}

fn patient(element: &str, value: Value) -> Value {
    json!({"resourceType": "Patient", element: value})
}

fn observation(more: Value) -> Value {
    let mut observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}});
    for (name, value) in more.as_object().unwrap() {
        observation[name] = value.clone();
    }
    observation
}

use FindingCode::{CodeInvalid, Required, Structure, Value as BadValue};

#[test]
fn unknown_elements() {
    refused(
        patient("nmae", json!([])),
        Structure,
        "Patient.nmae",
        "Did you mean name?",
    );
    refused(
        patient("name", json!([{"givn": ["x"]}])),
        Structure,
        "Patient.name[0].givn",
        "Did you mean given?",
    );
    refused(
        patient("_name", json!([{"id": "x"}])),
        Structure,
        "Patient._name",
        "only primitive elements do",
    );
    refused(
        patient("contact", json!([{"shoe": 1}])),
        Structure,
        "Patient.contact[0].shoe",
        "Patient.contact has no",
    );
    refused(
        observation(json!({"value": 1})),
        Structure,
        "Observation.value",
        "as in valueQuantity",
    );
    refused(
        observation(json!({"valueUri": "x"})),
        Structure,
        "Observation.valueUri",
        "written with its type",
    );
    refused(
        patient("photo", json!([{"resourceType": "Patient"}])),
        Structure,
        "Patient.photo[0].resourceType",
        "not a",
    );
    refused(patient("a b", json!(1)), Structure, "Patient", "no element a b");
}

#[test]
fn cardinality() {
    refused(
        json!({"resourceType": "Observation", "code": {"text": "x"}}),
        Required,
        "Observation.status",
        "required",
    );
    refused(
        json!({"resourceType": "Observation", "status": "final"}),
        Required,
        "Observation.code",
        "required",
    );
    refused(
        patient("link", json!([{"type": "seealso"}])),
        Required,
        "Patient.link[0].other",
        "required",
    );
    refused(
        patient("name", json!({"family": "x"})),
        Structure,
        "Patient.name",
        "must be a list",
    );
    refused(
        patient("birthDate", json!(["2020"])),
        Structure,
        "Patient.birthDate",
        "only once",
    );
    refused(
        patient("name", json!([[{"family": "x"}]])),
        Structure,
        "Patient.name[0]",
        "list within a list",
    );
    refused(
        patient("maritalStatus", json!([{"text": "x"}])),
        Structure,
        "Patient.maritalStatus",
        "only once",
    );
    accepted(json!({"resourceType": "Observation", "code": {"text": "x"},
        "_status": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                                   "valueCode": "unknown"}]}}));
}

#[test]
fn choices() {
    let two = json!({"valueString": "x", "valueBoolean": true});
    refused(
        observation(two),
        Structure,
        "Observation.value",
        "keep one of valueString, valueBoolean",
    );
    let two = json!({"valueString": "x", "_valueBoolean": {"id": "a"}});
    refused(observation(two), Structure, "Observation.value", "one type only");
    let none = json!({"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"display": "x"}});
    refused(
        none,
        Required,
        "MedicationRequest.medication",
        "medicationCodeableConcept, medicationReference",
    );
    let extension = json!([{"url": "x", "valueString": "x", "valueInteger": 1}]);
    refused(
        patient("extension", extension),
        Structure,
        "Patient.extension[0].value",
        "one type only",
    );
    accepted(observation(json!({"valueString": "x", "_valueString": {"id": "a"}})));
    let bad = json!({"valueQuantity": {"value": "1"}});
    refused(
        observation(bad),
        BadValue,
        "Observation.value.value",
        "without quotation marks",
    );
}

#[test]
fn empty_things() {
    refused(patient("name", json!([])), Structure, "Patient.name", "empty list");
    refused(
        patient("name", json!([{}])),
        Structure,
        "Patient.name[0]",
        "empty object",
    );
    refused(
        patient("maritalStatus", json!({})),
        Structure,
        "Patient.maritalStatus",
        "empty object",
    );
    refused(
        patient("_birthDate", json!({})),
        Structure,
        "Patient.birthDate",
        "empty object",
    );
    refused(
        patient("birthDate", json!("")),
        BadValue,
        "Patient.birthDate",
        "empty string",
    );
    refused(
        patient("birthDate", json!(null)),
        Structure,
        "Patient.birthDate",
        "null",
    );
    refused(patient("name", json!([null])), Structure, "Patient.name[0]", "null");
}

#[test]
fn primitives() {
    for date in [
        "2020-02-30",
        "2019-02-29",
        "1900-02-29",
        "2020-13",
        "20",
        "2020-1-1",
        "2020-01-01T00:00:00Z",
    ] {
        refused(
            patient("birthDate", json!(date)),
            BadValue,
            "Patient.birthDate",
            "a date that exists",
        );
    }
    for date in ["2020-02-29", "2000-02-29", "2020-02", "2020"] {
        accepted(patient("birthDate", json!(date)));
    }
    refused(
        patient("birthDate", json!(2020)),
        BadValue,
        "Patient.birthDate",
        "a date that exists",
    );
    refused(
        patient("active", json!("true")),
        BadValue,
        "Patient.active",
        "without quotation marks",
    );
    refused(
        patient("deceasedDateTime", json!("2020-01-01T10:00Z")),
        BadValue,
        "Patient.deceased",
        "time zone",
    );
    refused(patient("id", json!("a".repeat(65))), BadValue, "Patient.id", "1 to 64");
    refused(patient("id", json!("a_b")), BadValue, "Patient.id", "1 to 64");
    refused(
        patient("language", json!(" en")),
        BadValue,
        "Patient.language",
        "no spaces at its ends",
    );
    refused(
        patient("implicitRules", json!("a b")),
        BadValue,
        "Patient.implicitRules",
        "white space",
    );
    refused(
        patient("name", json!([{"family": " \n"}])),
        BadValue,
        "Patient.name[0].family",
        "visible",
    );
    refused(
        patient("name", json!([{"family": "\u{1}x"}])),
        BadValue,
        "Patient.name[0].family",
        "control",
    );
    refused(
        patient("name", json!([{"family": {"a": 1}}])),
        BadValue,
        "Patient.name[0].family",
        "a string",
    );
    refused(
        patient("maritalStatus", json!("M")),
        Structure,
        "Patient.maritalStatus",
        "of type CodeableConcept",
    );
    refused(
        patient("photo", json!([{"data": "AAA"}])),
        BadValue,
        "Patient.photo[0].data",
        "Base64",
    );
    refused(
        patient("meta", json!({"lastUpdated": "2020"})),
        BadValue,
        "Patient.meta.lastUpdated",
        "a moment",
    );
    refused(
        patient("text", json!({"status": "empty", "div": "x"})),
        BadValue,
        "Patient.text.div",
        "XHTML",
    );
}

#[test]
fn numbers() {
    let with = |text: &str| -> Value {
        serde_json::from_str(&format!(
            r#"{{"resourceType":"Patient","multipleBirthInteger":{text}}}"#
        ))
        .unwrap()
    };
    for text in ["0", "-5", "2147483647", "-2147483648"] {
        accepted(with(text));
    }
    for text in [
        "1.0",
        "1.5",
        "1e2",
        "-0",
        "2147483648",
        "-2147483649",
        "99999999999999999999999",
        "\"1\"",
    ] {
        refused(
            with(text),
            BadValue,
            "Patient.multipleBirth",
            "a whole number between -2147483648",
        );
    }
    let with = |text: &str| -> Value {
        let text = format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},
            "valueQuantity":{{"value":{text}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    for text in [
        "0",
        "-0.00",
        "1e-7",
        "1E400",
        "3.14159265358979323846264338327950288419716939937510",
    ] {
        accepted(with(text));
    }
    let attachment = |size: &str| -> Value {
        serde_json::from_str(&format!(r#"{{"resourceType":"Patient","photo":[{{"size":{size}}}]}}"#)).unwrap()
    };
    accepted(attachment("0"));
    refused(attachment("-1"), BadValue, "Patient.photo[0].size", "between 0 and");
    let telecom = json!([{"value": "x", "rank": 0}]);
    refused(
        patient("telecom", telecom),
        BadValue,
        "Patient.telecom[0].rank",
        "between 1 and",
    );
}

#[test]
fn codes() {
    refused(
        patient("gender", json!("femal")),
        CodeInvalid,
        "Patient.gender",
        "male, female, other, unknown",
    );
    let system = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let condition =
        |status: Value| json!({"resourceType": "Condition", "subject": {"display": "x"}, "clinicalStatus": status});
    accepted(condition(
        json!({"coding": [{"system": "urn:x", "code": "y"}, {"system": system, "code": "active"}]}),
    ));
    for status in [
        json!({"coding": [{"system": system, "code": "activ"}]}),
        json!({"coding": [{"code": "active"}]}),
        json!({"text": "active"}),
    ] {
        refused(
            condition(status),
            CodeInvalid,
            "Condition.clinicalStatus",
            "active, recurrence, relapse",
        );
    }
    accepted(condition(
        json!({"text": "x", "extension": [{"url": "urn:why", "valueCode": "unknown"}]}),
    ));
    let simple = json!({"referenceRange": [{"low": {"value": 1, "comparator": "<"}}]});
    refused(
        observation(simple),
        Structure,
        "Observation.referenceRange[0].low.comparator",
        "not allowed here",
    );
}

#[test]
fn nulls_stand_only_where_the_sibling_has_something() {
    let why = json!({"extension": [{"url": "urn:why", "valueCode": "unknown"}]});
    accepted(patient("name", json!([{"given": [null, "a"], "_given": [why, null]}])));
    accepted(patient("name", json!([{"given": ["a"], "_given": [{"id": "x"}]}])));
    accepted(patient("name", json!([{"_given": [why]}])));
    refused(
        patient("name", json!([{"given": [null, "a"]}])),
        Structure,
        "Patient.name[0].given[0]",
        "_given",
    );
    let both = json!([{"given": [null, "a"], "_given": [null, why]}]);
    let found = findings(&patient("name", both));
    assert_eq!(
        found.iter().map(|f| f.1.as_str()).collect::<Vec<_>>(),
        ["Patient.name[0].given[0]"; 2]
    );
    refused(
        patient("contact", json!([null])),
        Structure,
        "Patient.contact[0]",
        "null",
    );
}

#[test]
fn resources_within_are_checked_as_their_own_type() {
    let bad = json!({"resourceType": "Patient", "birthDate": "2020-02-30"});
    refused(
        patient("contained", json!([bad])),
        BadValue,
        "Patient.contained[0].birthDate",
        "a date",
    );
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": bad}]});
    refused(bundle, BadValue, "Bundle.entry[0].resource.birthDate", "a date");
    let parameters =
        json!({"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "resource": bad}]}]});
    refused(
        parameters,
        BadValue,
        "Parameters.parameter[0].part[0].resource.birthDate",
        "a date",
    );
    let nested = json!([{"resourceType": "Group", "type": "person", "actual": true, "contained": [{"resourceType": "Basic", "code": {"text": "x"}}]}]);
    refused(
        patient("contained", nested),
        Structure,
        "Patient.contained[0].contained",
        "must not contain others",
    );
    refused(
        patient("contained", json!([{"id": "x"}])),
        Required,
        "Patient.contained[0]",
        "resourceType is required",
    );
    let unknown = json!([{"resourceType": "Patien"}]);
    refused(
        patient("contained", unknown),
        BadValue,
        "Patient.contained[0]",
        "Did you mean Patient?",
    );
    refused(
        patient("contained", json!(["x"])),
        Structure,
        "Patient.contained[0]",
        "must be a resource",
    );
    for name in ["HumanName", "DomainResource", "Resource"] {
        refused(
            patient("contained", json!([{"resourceType": name}])),
            BadValue,
            "Patient.contained[0]",
            "not one of",
        );
    }
}

#[test]
fn what_is_no_resource() {
    refused(json!([]), Structure, "", "JSON object");
    refused(json!({}), Required, "Resource", "resourceType is required");
    refused(json!({"resourceType": "Foo"}), BadValue, "Resource", "not one of R4's");
    refused(
        json!({"resourceType": "HumanName", "family": "x"}),
        BadValue,
        "Resource",
        "not one of R4's",
    );
    refused(json!({"resourceType": 5}), BadValue, "Resource", "not one of R4's");
}

#[test]
fn faults_are_reported_together_but_not_without_end() {
    let found = findings(&json!({"resourceType": "Patient", "gender": "x", "birthDate": "x", "nam": []}));
    assert_eq!(found.len(), 3);
    let names: Vec<Value> = (0..1000).map(|_| json!({"given": ["", ""]})).collect();
    assert_eq!(findings(&patient("name", Value::Array(names))).len(), 100);
}

#[test]
fn every_concrete_type_has_a_schema() {
    for t in Definitions::r4().resource_types() {
        let found = findings(&json!({"resourceType": t.name, "no-such-element": 1}));
        assert!(
            found
                .iter()
                .any(|f| f.2 == format!("{} has no element no-such-element.", t.name)),
            "{found:?}"
        );
    }
}
