//! Plans against the FHIRPath engine, and against what the specification says that a parameter finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::*;
use crate::knowledge::fhirpath::values::DateTime;
use crate::knowledge::fhirpath::{Environment, Expression, Item, Resolver};

/// Every parameter with an expression that applies to the type, by code.
fn parameters(definitions: &'static Definitions, resource_type: TypeId) -> Vec<(&'static str, &'static str)> {
    let applies = |base: &String| {
        definitions
            .type_id(base)
            .is_some_and(|base| definitions.is_a(resource_type, base))
    };
    let parameters = definitions
        .search_parameters
        .iter()
        .filter(|parameter| parameter.base.iter().any(applies));
    parameters
        .filter_map(|parameter| Some((parameter.code.as_str(), parameter.expression.as_deref()?)))
        .collect()
}

fn plan(definitions: &'static Definitions, resource_type: TypeId) -> ExtractionPlan<&'static str> {
    match ExtractionPlan::compile(definitions, resource_type, parameters(definitions, resource_type)) {
        Ok(plan) => plan,
        Err(error) => panic!("{}: {error}", definitions.get(resource_type).name),
    }
}

/// What one expression finds, as `type value` lines.
fn found(expression: &str, resource: &Value) -> Vec<String> {
    let definitions = Definitions::r4();
    let type_id = definitions.type_id(resource["resourceType"].as_str().unwrap()).unwrap();
    let plan = ExtractionPlan::compile(definitions, type_id, [((), expression)]).unwrap();
    let mut lines = Vec::new();
    plan.walk(resource, &mut |(), found| {
        lines.push(line(definitions, found.type_id, found.value))
    });
    lines
}

fn line(definitions: &Definitions, type_id: TypeId, value: &Value) -> String {
    format!("{} {value}", definitions.get(type_id).name)
}

/// The same with numbers that are equal written alike.
fn plain_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.to_string().contains('.') => {
            json!(number.to_string().trim_end_matches('0').trim_end_matches('.'))
        }
        Value::Array(values) => values.iter().map(plain_numbers).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| (name.clone(), plain_numbers(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn every_parameter_of_r4_compiles_and_one_needs_the_engine() {
    let definitions = Definitions::r4();
    let mut computed = BTreeSet::new();
    let mut count = 0;
    for resource_type in definitions.resource_types() {
        let plan = plan(definitions, resource_type.id);
        count += parameters(definitions, resource_type.id).len();
        computed.extend(
            plan.computed
                .iter()
                .map(|computed| format!("{}.{}", resource_type.name, computed.key())),
        );
    }
    assert_eq!(computed, BTreeSet::from(["Patient.deceased".to_owned()]));
    assert!(count > 1372, "the parameters of Resource apply to every type: {count}");
}

#[test]
fn choices_are_found_with_their_type() {
    let observation =
        json!({"resourceType": "Observation", "valueQuantity": {"value": 1}, "effectiveDateTime": "2014"});
    assert_eq!(
        found("(Observation.value as Quantity)", &observation),
        [r#"Quantity {"value":1}"#]
    );
    assert_eq!(
        found("Observation.value.ofType(Quantity)", &observation),
        [r#"Quantity {"value":1}"#]
    );
    assert!(found("Observation.value.as(CodeableConcept)", &observation).is_empty());
    assert_eq!(found("Observation.effective", &observation), [r#"dateTime "2014""#]);
}

#[test]
fn only_the_branches_of_the_type_are_taken() {
    let patient = json!({"resourceType": "Patient", "id": "p", "birthDate": "1970-01-01"});
    assert_eq!(
        found(
            "Person.birthDate | Patient.birthDate | RelatedPerson.birthDate",
            &patient
        ),
        [r#"date "1970-01-01""#]
    );
    assert_eq!(found("Resource.id", &patient), [r#"id "p""#]);
}

#[test]
fn conditions_choose_among_values() {
    let patient = json!({"resourceType": "Patient",
        "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}, {"value": "3"}],
        "extension": [{"url": "u", "valueString": "x"}, {"url": "v", "valueString": "y"}]});
    let emails = found("Patient.telecom.where(system='email')", &patient);
    assert_eq!(emails, [r#"ContactPoint {"system":"email","value":"2"}"#]);
    assert_eq!(found("Patient.extension('v').value", &patient), [r#"string "y""#]);

    let account =
        json!({"resourceType": "Account", "subject": [{"reference": "Patient/1"}, {"reference": "Device/2"}]});
    let patients = found("Account.subject.where(resolve() is Patient)", &account);
    assert_eq!(patients, [r#"Reference {"reference":"Patient/1"}"#]);
}

#[test]
fn resources_in_resources_have_their_own_type() {
    let message = json!({"resourceType": "Bundle", "entry": [
        {"resource": {"resourceType": "MessageHeader", "id": "m"}}, {"resource": {"resourceType": "Patient", "id": "p"}}]});
    assert_eq!(
        found("Bundle.entry[0].resource", &message),
        [r#"MessageHeader {"resourceType":"MessageHeader","id":"m"}"#]
    );
    assert_eq!(
        found("Bundle.entry.resource.ofType(Patient).id", &message),
        [r#"id "p""#]
    );
}

#[test]
fn contained_resources_are_not_entered() {
    let patient = json!({"resourceType": "Patient", "gender": "male",
        "contained": [{"resourceType": "Patient", "gender": "female"}]});
    assert_eq!(found("Patient.gender", &patient), [r#"code "male""#]);
}

#[test]
fn what_the_engine_computes_is_found_too() {
    let deceased = "Patient.deceased.exists() and Patient.deceased != false";
    assert_eq!(
        found(
            deceased,
            &json!({"resourceType": "Patient", "deceasedDateTime": "2014"})
        ),
        ["boolean true"]
    );
    assert_eq!(found(deceased, &json!({"resourceType": "Patient"})), ["boolean false"]);
}

/// What one composite finds: per instance, the values of its components as `type value` lines.
fn instances(expression: &str, components: &[&str], resource: &Value) -> Vec<Vec<String>> {
    let definitions = Definitions::r4();
    let type_id = definitions.type_id(resource["resourceType"].as_str().unwrap()).unwrap();
    let plan = CompositePlan::compile(definitions, type_id, [((), expression, components.to_vec())]).unwrap();
    let mut instances = Vec::new();
    plan.walk(Within::outermost(resource), &mut |(), values| {
        let lines = values
            .iter()
            .map(|values| {
                let lines: Vec<String> = values
                    .iter()
                    .map(|found| line(definitions, found.type_id, &plain_numbers(found.value)))
                    .collect();
                lines.join(", ")
            })
            .collect();
        instances.push(lines);
    });
    instances
}

#[test]
fn the_components_of_a_composite_come_from_one_instance() {
    let pressure = json!({"resourceType": "Observation", "code": {"text": "pressure"}, "component": [
        {"code": {"text": "systolic"}, "valueQuantity": {"value": 120}},
        {"code": {"text": "diastolic"}, "valueQuantity": {"value": 80}},
        {"code": {"text": "position"}, "valueString": "sitting"}]});
    assert_eq!(
        instances("Observation.component", &["code", "value.as(Quantity)"], &pressure),
        [
            [r#"CodeableConcept {"text":"systolic"}"#, r#"Quantity {"value":120}"#],
            [r#"CodeableConcept {"text":"diastolic"}"#, r#"Quantity {"value":80}"#],
        ]
    );
    let day = json!({"resourceType": "Observation", "code": {"text": "day"}, "valueDateTime": "2014"});
    assert_eq!(
        instances("Observation", &["code", "value.as(DateTime) | value.as(Period)"], &day),
        [[r#"CodeableConcept {"text":"day"}"#, r#"dateTime "2014""#]],
        "R4 writes DateTime where it means dateTime"
    );
}

#[test]
fn a_component_may_start_at_the_resource() {
    let sequence = json!({"resourceType": "MolecularSequence",
        "referenceSeq": {"chromosome": {"text": "one"}}, "variant": [{"start": 1, "end": 3}]});
    assert_eq!(
        instances(
            "MolecularSequence.variant",
            &["%resource.referenceSeq.chromosome", "start", "end"],
            &sequence
        ),
        [[r#"CodeableConcept {"text":"one"}"#, "integer 1", "integer 3"]]
    );
}

#[test]
fn malformed_resources_are_survived() {
    let plan = plan(Definitions::r4(), Definitions::r4().type_id("Patient").unwrap());
    for resource in [
        json!(null),
        json!([]),
        json!({"name": 1, "telecom": [null, [], {"system": {}}], "deceasedBoolean": []}),
    ] {
        plan.walk(&resource, &mut |_, _| {});
    }
}

#[test]
fn what_cannot_be_compiled_is_explained() {
    let definitions = Definitions::r4();
    let patient = definitions.type_id("Patient").unwrap();
    let error = |expression| {
        ExtractionPlan::compile(definitions, patient, [((), expression)])
            .unwrap_err()
            .to_string()
    };
    assert!(error("Patient.name.nick").contains("names the element `nick`, which HumanName does not have"));
    assert!(error("Patient.(").contains("is not FHIRPath"));
}

/// Stands in for a store that has whatever a reference names.
struct AnythingExists(HashMap<String, Value>);

impl Resolver for AnythingExists {
    fn resolve(&self, reference: &str) -> Option<&Value> {
        let segments: Vec<&str> = reference.split("/_history/").next()?.split('/').collect();
        self.0.get(*segments.get(segments.len().checked_sub(2)?)?)
    }
}

impl AnythingExists {
    fn new(definitions: &Definitions) -> Self {
        let resource = |name: &String| (name.clone(), json!({"resourceType": name}));
        AnythingExists(definitions.resource_types().map(|ty| resource(&ty.name)).collect())
    }
}

/// HL7's examples, which `make` fetches.
fn examples() -> Option<Vec<Value>> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/conformance/hl7/node_modules/hl7.fhir.r4.examples"
    );
    let texts = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|file| std::fs::read(file.ok()?.path()).ok());
    let resources = texts.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    Some(resources.filter(|value| value.get("resourceType").is_some()).collect())
}

/// Every value that every parameter finds in every example, by plan and by engine. They are compared as sets:
/// the engine's union drops equal values (1.0 and 1.00), and its order is that of the expression.
#[test]
fn plans_find_what_the_engine_finds() {
    let Some(examples) = examples() else {
        println!("SKIPPED: HL7's examples are not there; `make` fetches them into conformance/hl7/");
        return;
    };
    let definitions = Definitions::r4();
    let resolver = AnythingExists::new(definitions);
    let now = DateTime::parse("2020-01-01T00:00:00Z").unwrap();
    let mut by_type: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for example in &examples {
        by_type
            .entry(example["resourceType"].as_str().unwrap_or_default())
            .or_default()
            .push(example);
    }
    let mut compared = 0;
    let mut differences = Vec::new();
    for (type_name, resources) in by_type {
        let Some(resource_type) = definitions.resource_type(type_name) else {
            continue;
        };
        let plan = plan(definitions, resource_type.id);
        let expressions: Vec<(&str, Expression)> = parameters(definitions, resource_type.id)
            .into_iter()
            .map(|(code, expression)| (code, Expression::compile(expression, definitions).unwrap()))
            .collect();
        let environment = Environment::new(now).with_resolver(&resolver);
        for resource in resources {
            let mut by_plan: HashMap<&str, BTreeSet<String>> = HashMap::new();
            plan.walk(resource, &mut |code, found| {
                by_plan
                    .entry(code)
                    .or_default()
                    .insert(line(definitions, found.type_id, &plain_numbers(found.value)));
            });
            let focus = Item::resource(resource, definitions).unwrap();
            for (code, expression) in &expressions {
                let items = expression.evaluate(&focus, &environment).unwrap();
                let by_engine: BTreeSet<String> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Element(element) if element.value.is_null() => None,
                        Item::Element(element) => {
                            Some(line(definitions, element.type_id, &plain_numbers(element.value)))
                        }
                        Item::Boolean(answer) => Some(format!("boolean {answer}")),
                        other => Some(format!("{other:?}")),
                    })
                    .collect();
                let by_plan = by_plan.remove(code).unwrap_or_default();
                if by_plan != by_engine {
                    differences.push(format!(
                        "{type_name}/{} {code}:\n  plan   {by_plan:?}\n  engine {by_engine:?}",
                        resource["id"]
                    ));
                }
                compared += 1;
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    println!("{compared} pairs of resource and parameter agree");
}

/// Every instance of every composite in every example, by plan and by engine; as sets, for the reason above.
#[test]
fn composites_find_what_the_engine_finds() {
    let Some(examples) = examples() else {
        println!("SKIPPED: HL7's examples are not there; `make` fetches them into conformance/hl7/");
        return;
    };
    let definitions = Definitions::r4();
    let now = DateTime::parse("2020-01-01T00:00:00Z").unwrap();
    let mut compared = 0;
    for parameter in &definitions.search_parameters {
        let Some(expression) = parameter
            .expression
            .as_deref()
            .filter(|_| !parameter.components.is_empty())
        else {
            continue;
        };
        let components: Vec<&str> = parameter.components.iter().map(|c| c.expression.as_str()).collect();
        let compile = |expression: &str| Expression::compile(expression, definitions).unwrap();
        let by_engine = compile(expression);
        // The engine takes `DateTime` for FHIRPath's own type, which no element has.
        let parts: Vec<Expression> = components
            .iter()
            .map(|component| compile(&component.replace("DateTime", "dateTime")))
            .collect();
        for resource in &examples {
            let type_name = resource["resourceType"].as_str().unwrap_or_default();
            if !parameter.base.iter().any(|base| base == type_name) {
                continue;
            }
            let focus = Item::resource(resource, definitions).unwrap();
            let environment = Environment::new(now).within(focus.clone());
            let expected: BTreeSet<Vec<String>> = by_engine
                .evaluate(&focus, &environment)
                .unwrap()
                .iter()
                .map(|instance| {
                    let values = |part: &Expression| {
                        let items = part.evaluate(instance, &environment).unwrap();
                        let elements = items.iter().filter_map(Item::as_element);
                        let lines: Vec<String> = elements
                            .map(|element| line(definitions, element.type_id, &plain_numbers(element.value)))
                            .collect();
                        lines.join(", ")
                    };
                    parts.iter().map(values).collect()
                })
                .filter(|values: &Vec<String>| values.iter().all(|value| !value.is_empty()))
                .collect();
            let by_plan: BTreeSet<Vec<String>> = instances(expression, &components, resource).into_iter().collect();
            assert_eq!(by_plan, expected, "{type_name}/{} {}", resource["id"], parameter.code);
            compared += expected.len();
        }
    }
    assert!(compared > 100, "the examples hold instances of composites: {compared}");
}
